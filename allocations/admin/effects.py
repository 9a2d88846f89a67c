"""What an act on the ledger does, before it is done: in one line, and as figures now and afterwards."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _

from allocations.ending_early import Ending, preview_early_end
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from allocations.movements import legs_of
from allocations.unmatched import would_be_charged
from centre.admin.acts import Effect
from centre.admin.confirming import exact_hours
from centre.templatetags.portal import NOTHING

Kind = ChangeRequest.Kind
Total = LedgerEntry.Total


@dataclass(frozen=True)
class Moves:
    """By how many GPU-seconds each total of an allocation changes."""

    allocation: Allocation
    granted: int = 0
    used: int = 0
    held: int = 0


def moves_of(request: ChangeRequest, seconds: int) -> list[Moves]:
    """What becomes of the totals when `seconds` of what is asked are carried out; hours held for it are let go."""
    allocation = request.allocation
    if allocation is None:
        return []
    held = request.hold.seconds if request.hold is not None else 0  # negative, as it takes from what is left
    if request.kind == Kind.TRANSFER and request.to_allocation is not None:
        return [Moves(allocation, granted=-seconds, held=held), Moves(request.to_allocation, granted=seconds)]
    if request.kind == Kind.REVERSAL and request.entry is not None:
        return [_undone(leg) for leg in legs_of(request.entry)]
    if request.kind == Kind.REFUND:
        return [Moves(allocation, used=-seconds)]
    given = {Kind.OPENING: seconds, Kind.TOP_UP: seconds, Kind.TAKE_BACK: -seconds}
    return [Moves(allocation, granted=given[Kind(request.kind)])] if request.kind in given else []


def _undone(entry: LedgerEntry) -> Moves:
    """What the reversal of an entry does."""
    if entry.total == Total.GRANTED:
        return Moves(entry.allocation, granted=-entry.seconds)
    return Moves(entry.allocation, used=entry.seconds)


def effects_of(request: ChangeRequest, seconds: int, *, until_on: date | None = None) -> list[Effect]:
    """The figures of every allocation concerned, now and afterwards; each named where there are two.

    `until_on` is the last day that an extension gives, by default the one asked for.
    """
    if request.kind == Kind.EARLY_END:
        return _shorter(request)
    if request.kind == Kind.EXTENSION:
        return _longer(request, until_on or request.asked_until_on)
    moves = moves_of(request, seconds)
    return [effect for move in moves for effect in _effects(move, named=len(moves) > 1)]


def _longer(request: ChangeRequest, until_on: date | None) -> list[Effect]:
    """The last day and what waits for the added days, so far as it is known now."""
    allocation = request.allocation
    if allocation is None or until_on is None:
        return []
    effects = [Effect(_("Last day"), date_format(allocation.end_on), date_format(until_on))]
    if until_on > allocation.end_on:
        first = allocation.end_on + timedelta(days=1)
        _runs, seconds = would_be_charged(pool=allocation.pool, account=allocation.account, first=first, last=until_on)
        if seconds:
            moves = Moves(allocation, used=seconds)
            effects += _effects(moves, named=False)
    return effects


def _shorter(request: ChangeRequest) -> list[Effect]:
    """The last day, and what an earlier one would do to hours, jobs and requests as they stand."""
    allocation, last_on = request.allocation, request.asked_until_on
    if allocation is None or last_on is None:
        return []
    ending = preview_early_end(allocation, last_on=last_on, besides=request.pk)
    return [
        Effect(_("Last day"), date_format(allocation.end_on), date_format(last_on)),
        Effect(_("Unused GPU-hours"), exact_hours(max(0, allocation.available_seconds)), _rest_in_words(ending)),
        Effect(
            _("Jobs that run now"),
            str(ending.running),
            gettext("They go on; what they use after the new last day is not covered."),
        )
        if ending.running
        else Effect(_("Jobs that run now"), "0", NOTHING),
        *(
            Effect(
                gettext("Waiting: %(what)s") % {"what": headline(waiting, waiting.asked_seconds)},
                gettext("waits for an answer"),
                gettext("lapses when the period is closed, unless it is answered before"),
            )
            for waiting in ending.waiting
        ),
    ]


def _rest_in_words(ending: Ending) -> str:
    """What the rule of the pool makes of what is left, if nothing more is used."""
    if ending.rule is None:
        return gettext("They stay: the GPU pool has no rule for the end of a period, so nothing is closed.")
    forfeited = exact_hours(ending.forfeited)
    if ending.following is None:
        return gettext("If nothing more is used, %(hours)s are forfeited by the rule of the pool.") % {
            "hours": forfeited
        }
    return gettext(
        "If nothing more is used, %(carried)s are carried over to %(following)s and %(hours)s are forfeited."
    ) % {"carried": exact_hours(ending.carried), "following": ending.following.reference, "hours": forfeited}


def _effects(move: Moves, *, named: bool) -> Iterable[Effect]:
    allocation = move.allocation
    figures: list[tuple[Any, int, int]] = [
        (_("Granted (GPU-hours)"), allocation.granted_seconds, move.granted),
        (_("Used (GPU-hours)"), allocation.used_seconds, move.used),
        (_("Held (GPU-hours)"), allocation.held_seconds, move.held),
    ]
    shown = [(label, now, by) for label, now, by in figures if by]
    shown.append((_("Left (GPU-hours)"), allocation.available_seconds, move.granted - move.used - move.held))
    alike = [figure for _label, now, by in shown for figure in (now, by)]
    for label, now, by in shown:
        yield Effect(
            gettext("%(reference)s: %(figure)s") % {"reference": allocation.reference, "figure": label}
            if named
            else label,
            exact_hours(now, *alike),
            exact_hours(now + by, *alike),
        )


HEADLINES: Mapping[Kind, Any] = MappingProxyType(
    {
        Kind.OPENING: _("Give %(hours)s GPU-hours to the new allocation %(reference)s"),
        Kind.TOP_UP: _("Give %(hours)s more GPU-hours to %(reference)s"),
        Kind.TAKE_BACK: _("Take back %(hours)s unused GPU-hours from %(reference)s"),
        Kind.TRANSFER: _("Move %(hours)s GPU-hours from %(reference)s to %(other)s"),
        Kind.EXTENSION: _("Let %(reference)s last until %(day)s"),
        Kind.EARLY_END: _("End %(reference)s early, on %(day)s"),
        Kind.REFUND: ngettext_lazy(
            "Refund %(hours)s GPU-hours of %(count)s job run to %(reference)s",
            "Refund %(hours)s GPU-hours of %(count)s job runs to %(reference)s",
            "count",
        ),
        Kind.REVERSAL: _("Reverse entry %(number)s (%(kind)s, %(hours)s GPU-hours) on %(reference)s"),
    }
)


def headline(request: ChangeRequest, seconds: int | None, *, runs: int = 0, until_on: date | None = None) -> str:
    """The act in one line: “Take back 100 GPU-hours from AG-7”.

    `runs`: how many job runs a refund names; `until_on`: the last day that an extension gives.
    """
    words = HEADLINES.get(Kind(request.kind))
    if words is None:
        return str(request.get_kind_display())
    entry = request.entry
    day = until_on or request.approved_until_on or request.asked_until_on
    said: dict[str, Any] = {
        "hours": exact_hours(entry.seconds if entry else seconds),
        "reference": request.allocation.reference if request.allocation else NOTHING,
        "other": request.to_allocation.reference if request.to_allocation else NOTHING,
        "day": date_format(day) if day else NOTHING,
        "count": runs,
        "number": entry.pk if entry else NOTHING,
        "kind": entry.get_kind_display() if entry else NOTHING,
    }
    return str(words % said)
