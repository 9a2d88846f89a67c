"""Suspending an allocation and resuming it: new jobs stop and start again, nothing moves in the books.

Usage is a fact, so what still runs on a suspended allocation is charged as ever, and officers may still give and take
its hours (`posting.TAKES_DECISIONS`). What the scheduler is told follows from the state; see `allocations.scheduling`.
The period goes on, and at its end the pool's rule holds for what is left.

Several allocations are moved in one transaction. Those that stand elsewhere by now are left out and named, so that a
list which somebody looked at a minute ago does what is still possible.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from allocations.models import Allocation
from allocations.movements import locked
from allocations.posting import LedgerError
from allocations.refusals import BenefitsFromIt, NoReason, can_be_kept
from allocations.team_letters import What, tell_teams
from centre import audit
from centre.models import Project, User

State = Allocation.State

MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.OPEN: frozenset({State.SUSPENDED, State.CLOSED}),
        State.SUSPENDED: frozenset({State.OPEN, State.CLOSED}),
        State.CLOSED: frozenset(),
        State.VOID: frozenset(),
    }
)
"""Where an allocation may go from where it stands. Periods are closed by `allocations.closing`, never by hand."""
MOST_OF_A_REASON = 500


class AlreadyDecided(LedgerError):
    """The allocation does not stand where the person saw it standing."""


@dataclass(frozen=True)
class LeftOut:
    """An allocation that was not moved, and why, as a sentence."""

    allocation: Allocation
    why: str


@dataclass
class Moved:
    """What became of several allocations."""

    done: list[Allocation] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def suspend_allocation(*, allocation: Allocation, reason: str, by: User, at: datetime) -> Allocation:
    """Let no new job start on an allocation; the team's leads and managers are written the reason.

    Raises NoReason, and AlreadyDecided when it is not open (any more).
    """
    return _only(suspend_allocations(allocations=[allocation], reason=reason, by=by, at=at), allocation)


def resume_allocation(*, allocation: Allocation, reason: str, by: User, at: datetime) -> Allocation:
    """Let new jobs start again on a suspended allocation; the team's leads and managers are written the reason.

    Raises NoReason, AlreadyDecided when it is not suspended (any more), BenefitsFromIt for an officer who belongs to
    its project.
    """
    refuse_own_project(allocation, by)
    return _only(resume_allocations(allocations=[allocation], reason=reason, by=by, at=at), allocation)


@transaction.atomic
def suspend_allocations(*, allocations: Sequence[Allocation], reason: str, by: User, at: datetime) -> Moved:
    """Suspend those of the allocations that are open, with one letter per person about all of them. Raises NoReason."""
    text = kept_reason(reason)
    moved = Moved()
    for row in locked(allocations).values():
        why = why_not(row, to=State.SUSPENDED)
        if why:
            moved.left_out.append(LeftOut(row, why))
        else:
            moved.done.append(row)
    _move(moved.done, to=State.SUSPENDED, suspended_at=at, suspended_because=text)
    _record("suspend_allocation", moved.done, before=State.OPEN, to=State.SUSPENDED, reason=text, by=by, at=at)
    tell_teams(what=What.SUSPENDED, allocations=moved.done, reason=text)
    return moved


@transaction.atomic
def resume_allocations(*, allocations: Sequence[Allocation], reason: str, by: User, at: datetime) -> Moved:
    """Resume those of the allocations that are suspended, with one letter per person. Raises NoReason.

    Nobody resumes an allocation of a project that they belong to: it is left out.
    """
    text = kept_reason(reason)
    own = own_projects(by, allocations)
    moved = Moved()
    for row in locked(allocations).values():
        why = why_not(row, to=State.OPEN) or (_(NOT_ONES_OWN) if row.project_id in own else "")
        if why:
            moved.left_out.append(LeftOut(row, why))
        else:
            moved.done.append(row)
    _move(moved.done, to=State.OPEN, suspended_at=None, suspended_because="")
    _record("resume_allocation", moved.done, before=State.SUSPENDED, to=State.OPEN, reason=text, by=by, at=at)
    tell_teams(what=What.RESUMED, allocations=moved.done, reason=text)
    return moved


MEANWHILE = gettext_noop("Somebody decided about one of these allocations meanwhile. Look at it again.")
NOT_ONES_OWN = gettext_noop("You belong to this project. An officer who does not has to resume it.")


def why_not(allocation: Allocation, *, to: State) -> str:
    """Why an allocation cannot go there from where it stands, as a sentence; nothing when it can. No query."""
    stands = State(allocation.state)
    if to in MOVES[stands]:
        return ""
    said = {"reference": allocation.reference}
    if stands == State.CLOSED:
        return _("The period of %(reference)s was closed, so nothing can be decided about it any more.") % said
    if stands == State.VOID:
        return _("%(reference)s is void.") % said
    if stands == State.SUSPENDED:
        return _("%(reference)s is suspended already.") % said
    return _("%(reference)s is open already.") % said


def own_projects(by: User, allocations: Iterable[Allocation]) -> frozenset[int]:
    """Which projects of these allocations the person belongs to; one query."""
    projects = {allocation.project_id for allocation in allocations}
    own = Project.objects.belonging_to(by).filter(pk__in=projects)
    return frozenset(own.values_list("pk", flat=True))


def refuse_own_project(allocation: Allocation, by: User) -> None:
    if own_projects(by, [allocation]):
        raise BenefitsFromIt(_(NOT_ONES_OWN))


def kept_reason(reason: str) -> str:
    """The reason as it is kept. Raises NoReason."""
    text = reason.strip()[:MOST_OF_A_REASON]
    if not text:
        raise NoReason(_("Say why; the team reads it."))
    if not can_be_kept(text):
        raise NoReason(_("The reason holds a character that cannot be kept. Write it anew."))
    return text


def _only(moved: Moved, allocation: Allocation) -> Allocation:
    """The one that was moved, also on the row in hand. Raises AlreadyDecided."""
    if not moved.done:
        raise AlreadyDecided(moved.left_out[0].why)
    allocation.refresh_from_db(fields=["state", "suspended_at", "suspended_because"])
    return allocation


def _move(rows: Iterable[Allocation], *, to: State, suspended_at: datetime | None, suspended_because: str) -> None:
    """Write the new state of rows that are locked; the state seen stands in the condition all the same."""
    rows = list(rows)
    moved = Allocation.objects.filter(pk__in=[row.pk for row in rows], state__in=_before(to)).update(
        state=to, suspended_at=suspended_at, suspended_because=suspended_because
    )
    if moved != len(rows):
        raise AlreadyDecided(_(MEANWHILE))
    for row in rows:
        row.state, row.suspended_at, row.suspended_because = to, suspended_at, suspended_because


def _before(to: State) -> list[State]:
    return [state for state, possible in MOVES.items() if to in possible]


def _record(
    act: str, rows: Iterable[Allocation], *, before: State, to: State, reason: str, by: User, at: datetime
) -> None:
    audit.record_all(act=act, on=[(row, {"state": [before, to]}) for row in rows], by=by, at=at, reason=reason)
