"""What is asked about GPU time, and the answer: approve, decline, withdraw, lapse. Asking is in `allocations.asking`.

A team asks and waits. An officer proposes an act: up to the centre's threshold it is carried out at once, above it it
waits for a second officer. Answering says what was seen (`UPDATE .. WHERE state = 'asked'`), so that of two people who
click at the same time one is told that it is answered already. What an approval does is done in the same transaction,
and a person of the team who asked is written to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any

from django.db import transaction
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from allocations import movements, staging
from allocations.asking import CAN_BE_PROPOSED, MOVES_HOURS, OF_TEAMS, ask, needs_a_second_person, propose
from allocations.carrying_out import carry_out, named
from allocations.models import ChangeRequest
from allocations.posting import TAKES_DECISIONS
from allocations.refusals import (
    AlreadyAnswered,
    AskerGone,
    BenefitsFromIt,
    NoReason,
    NoSuchAnswer,
    NothingAsked,
    NotOfTheProject,
    NotTheAsker,
    OwnRequest,
    RequestError,
    TooManyWaiting,
    belongs_to_it,
    can_be_kept,
    refuse_beneficiary,
    refuse_own,
    refuse_without_asker,
    touched_by,
)
from allocations.request_letters import tell_asker
from centre import audit
from centre.models import Membership, User
from centre.permissions import ProjectRole, TeamAct, team_may

__all__ = [
    "CAN_BE_PART_APPROVED",
    "CAN_BE_PROPOSED",
    "MAY_ANSWER",
    "MOVES_HOURS",
    "OF_TEAMS",
    "TAKES_HOURS",
    "TRANSITIONS",
    "AlreadyAnswered",
    "AskerGone",
    "BenefitsFromIt",
    "NoReason",
    "NoSuchAnswer",
    "NotOfTheProject",
    "NotTheAsker",
    "NothingAsked",
    "OwnRequest",
    "RequestError",
    "TooManyWaiting",
    "answers",
    "approve",
    "ask",
    "belongs_to_it",
    "decline",
    "lapse",
    "lapse_overdue",
    "may_answer",
    "may_withdraw",
    "needs_a_second_person",
    "propose",
    "refuse_beneficiary",
    "waits",
    "withdraw",
]

Kind = ChangeRequest.Kind
State = ChangeRequest.State

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.ASKED: frozenset(
            {State.APPROVED, State.PART_APPROVED, State.DECLINED, State.WITHDRAWN, State.LAPSED, State.CARRIED_OUT}
        ),
        State.APPROVED: frozenset(),
        State.PART_APPROVED: frozenset(),
        State.DECLINED: frozenset(),
        State.WITHDRAWN: frozenset(),
        State.LAPSED: frozenset(),
        State.CARRIED_OUT: frozenset(),
    }
)
"""Where a request may go from where it stands."""

TAKES_HOURS = TAKES_DECISIONS
"""States of an allocation in which something can be asked about it."""
WHY_A_PART = gettext_noop("Say in the answer why only a part is approved; the person who asked reads it.")
CAN_BE_PART_APPROVED = frozenset({Kind.OPENING, Kind.TOP_UP, Kind.TRANSFER, Kind.TAKE_BACK, Kind.EXTENSION})
MAY_ANSWER = "allocations.change_allocation"
MAY_ANSWER_ABOUT_PEOPLE = "allocations.answer_about_people"
"""What lets an officer answer requests: any, or those about the people of a team. See centre.permissions."""


def answers(user: User) -> frozenset[Kind]:
    """The kinds of requests that a person answers for the centre."""
    if user.has_perm(MAY_ANSWER):
        return frozenset(Kind)
    return frozenset({Kind.MEMBERS}) if user.has_perm(MAY_ANSWER_ABOUT_PEOPLE) else frozenset()


def may_answer(user: User, request: ChangeRequest) -> bool:
    """Whether requests of this kind are theirs to answer; nobody answers their own (the verbs see to that)."""
    return request.kind in answers(user)


@dataclass(frozen=True)
class Given:
    """What an approval gives: the state that it leads to, and GPU-seconds or a last day where the kind has one."""

    state: State
    seconds: int | None = None
    until_on: date | None = None


def what_is_given(request: ChangeRequest, *, seconds: int | None, until_on: date | None, answer: str) -> Given:
    """What approving gives when so much of it is said; nothing said: all that was asked for."""
    if request.kind not in CAN_BE_PROPOSED:
        if not answer.strip():
            raise NoReason(_("Say what was done; the person who asked reads it."))
        return Given(State.APPROVED)
    if request.kind in ChangeRequest.OF_DAYS:
        asked: Any = request.asked_until_on
        given: Any = until_on or asked
        if asked is None or request.allocation is None:
            raise NoSuchAnswer(_("This request does not say which day was meant. Decline it and say so."))
        if given > asked and request.kind == Kind.EXTENSION:
            raise NothingAsked(_("Choose %(day)s, as asked for, or an earlier day.") % {"day": date_format(asked)})
    else:
        asked, given = request.asked_seconds, request.asked_seconds if seconds is None else seconds
        if asked is None or request.allocation is None:
            raise NoSuchAnswer(_("This request does not say how many GPU-hours were meant. Decline it and say so."))
        if not 0 < given <= asked:
            raise NothingAsked(_("Give more than 0 GPU-hours, and not more than were asked for."))
    if given == asked:
        state = State.APPROVED
    elif request.kind not in CAN_BE_PART_APPROVED:
        raise NothingAsked(_("This can be approved as a whole, or declined."))
    elif not answer.strip():
        raise NoReason(_(WHY_A_PART))
    else:
        state = State.PART_APPROVED
    is_day = request.kind in ChangeRequest.OF_DAYS
    return Given(state, seconds=None if is_day else given, until_on=given if is_day else None)


@transaction.atomic
def approve(
    *,
    request: ChangeRequest,
    by: User,
    at: datetime,
    seconds: int | None = None,
    until_on: date | None = None,
    answer: str = "",
) -> ChangeRequest:
    """Approve what was asked for, or fewer `seconds` (GPU-seconds) or an earlier `until_on`; it is carried out at once.

    What asks for no GPU-hours and no day (members, something else) is approved with an `answer` that says what was
    done. Approving twice what one has approved gives the first result. Raises OwnRequest, BenefitsFromIt, AskerGone,
    AlreadyAnswered, NothingAsked, NoReason (of a part), NoSuchAnswer; what the verb behind it refuses comes through,
    and then it still waits.
    """
    refuse_unkept(answer)
    given = what_is_given(request, seconds=seconds, until_on=until_on, answer=answer)
    refuse_own(request, by)
    refuse_beneficiary(request, by)
    lock_for(request)
    request.refresh_from_db()
    stands = (request.state, request.answered_by_id, request.approved_seconds, request.approved_until_on)
    if stands == (given.state, by.pk, given.seconds, given.until_on):
        return request
    if waits(request):
        refuse_without_asker(request, at)
    approved = {"approved_seconds": given.seconds, "approved_until_on": given.until_on}
    move(request, to=given.state, by=by, at=at, answer=answer, **approved)
    let_go(request, by=by, at=at)
    entries = carry_out(request, approved_by=by, at=at)
    changes: dict[str, Any] = {"state": [State.ASKED, given.state]}
    changes |= {name: [None, value] for name, value in approved.items() if value is not None}
    if entries:
        changes["entries"] = ", ".join(str(entry.pk) for entry in entries)
    audit.record(act="approve_request", on=request, by=by, at=at, reason=answer, changes=changes)
    tell_asker(request)
    return request


@transaction.atomic
def decline(*, request: ChangeRequest, by: User, at: datetime, answer: str) -> ChangeRequest:
    """Say no, and why; held hours are let go. Raises NoReason, OwnRequest, AlreadyAnswered."""
    refuse_unkept(answer)
    if not answer.strip():
        raise NoReason(_("Say why not; the person who asked reads it."))
    refuse_own(request, by)
    lock_for(request)
    move(request, to=State.DECLINED, by=by, at=at, answer=answer)
    let_go(request, by=by, at=at)
    record_answer(request, "decline_request", by=by, at=at)
    tell_asker(request)
    return request


@transaction.atomic
def withdraw(*, request: ChangeRequest, by: User, at: datetime) -> ChangeRequest:
    """Take a request back; held hours are let go. Raises NotTheAsker, AlreadyAnswered."""
    if not may_withdraw(request, by):
        raise NotTheAsker(_("Only the person who asked can withdraw the request."))
    lock_for(request)
    move(request, to=State.WITHDRAWN, by=by, at=at, answer="")
    let_go(request, by=by, at=at)
    record_answer(request, "withdraw_request", by=by, at=at)
    return request


def may_withdraw(request: ChangeRequest, by: User) -> bool:
    """Whether this person may take the request back: who asked, and of a team's whoever may ask for the project now.

    So hours that somebody held who has left the team are not set aside until the request lapses. What an officer
    proposed, who never was of the team, is not the team's to take back.
    """
    if request.asked_by_id == by.pk:
        return True
    of_project = Membership.objects.filter(project=request.project_id)
    role = of_project.current().filter(user=by).values_list("role", flat=True).first()
    if role is None or request.kind not in OF_TEAMS or not team_may(ProjectRole(role), TeamAct.ASK):
        return False
    return of_project.filter(user=request.asked_by_id).exists()


@transaction.atomic
def lapse(*, request: ChangeRequest, at: datetime, answer: str) -> ChangeRequest:
    """Nobody answered in time, or what it was about is over; held hours are let go. Raises AlreadyAnswered."""
    lock_for(request)
    move(request, to=State.LAPSED, by=None, at=at, answer=answer)
    let_go(request, by=None, at=at)
    record_answer(request, "lapse_request", by=None, at=at)
    tell_asker(request)
    return request


def lapse_overdue(*, at: datetime) -> list[ChangeRequest]:
    """Let every transfer lapse whose hold is overdue on its cluster's day, each by itself; returns those."""
    held = (
        ChangeRequest.objects.waiting()
        .filter(hold__lapses_on__lte=at.date() + timedelta(days=1))
        .select_related("hold", "allocation__pool__cluster")
    )
    lapsed = []
    for request in held:
        if request.hold is None or request.allocation is None or request.hold.lapses_on is None:
            continue
        if movements.accounting_day(request.allocation, at) < request.hold.lapses_on:
            continue
        try:
            lapsed.append(lapse(request=request, at=at, answer=_("Nobody answered in time.")))
        except AlreadyAnswered:
            continue  # somebody answered while this ran
    return lapsed


def refuse_unkept(answer: str) -> None:
    if not can_be_kept(answer):
        raise NoReason(_("The answer holds a character that cannot be kept. Write it anew."))


def waits(request: ChangeRequest) -> bool:
    """Whether the request can still be answered."""
    return bool(TRANSITIONS[State(request.state)])


def move(request: ChangeRequest, *, to: State, by: User | None, at: datetime, answer: str, **fields: Any) -> None:
    """Move the request from waiting to its answer, or raise AlreadyAnswered when it does not wait any more."""
    answered = {"state": to, "answer": answer, "answered_by": by, "answered_at": at, **fields}
    if not ChangeRequest.objects.filter(pk=request.pk, state=State.ASKED).update(**answered):
        raise AlreadyAnswered(_("This request is answered already. Look at it again."))
    for name, value in answered.items():
        setattr(request, name, value)


def lock_for(request: ChangeRequest) -> None:
    """Lock what an answer will touch in the order of the house: the cluster's usage, the allocations, the request."""
    if request.kind == Kind.REFUND or request.kind in ChangeRequest.OF_DAYS:
        staging.lock_cluster(named(request.allocation).pool.cluster_id)
    movements.locked(touched_by(request))


def let_go(request: ChangeRequest, *, by: User | None, at: datetime) -> None:
    """Release the hours that were held while the request waited."""
    if request.hold is not None:
        movements.release(held=request.hold, by=by, at=at, reason=request.reason[:500])


def record_answer(request: ChangeRequest, act: str, *, by: User | None, at: datetime) -> None:
    changes = {"state": [State.ASKED, request.state]}
    audit.record(act=act, on=request, by=by, at=at, reason=request.answer, changes=changes)
