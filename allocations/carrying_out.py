"""What each kind of request does to the books once it is allowed, and what makes it impossible from the start."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypedDict, TypeVar

from django.utils.translation import gettext as _

from allocations import ending_early, extending, ledger, movements, refunds
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from allocations.posting import NotEnough
from centre.amounts import hours_text
from centre.models import User

Kind = ChangeRequest.Kind
Named = TypeVar("Named")
Act = Callable[[ChangeRequest, Allocation, User | None, datetime], list[LedgerEntry]]


def carry_out(request: ChangeRequest, *, approved_by: User | None, at: datetime) -> list[LedgerEntry]:
    """Do what was asked for, as far as it was approved; returns the entries, none where no hours move.

    `approved_by` is None for an act within the centre's threshold. Raises what the verb refuses.
    """
    act = ACTS.get(Kind(request.kind))  # none: people see to it, outside the books
    return act(request, named(request.allocation), approved_by, at) if act is not None else []


def named(what: Named | None) -> Named:
    """What a request of this kind names; the database sees to it that it does."""
    if what is None:
        raise ValueError("The request does not name what its kind is about.")
    return what


class Behind(TypedDict):
    """Who stands behind what is carried out, when, and why."""

    by: User
    approved_by: User | None
    at: datetime
    reason: str
    source_reference: str


class Booked(Behind):
    """The same for an entry of the books, which carries its key and its source."""

    key: str
    source_kind: str


def behind(request: ChangeRequest, approved_by: User | None, at: datetime) -> Behind:
    return {
        "by": request.asked_by,
        "approved_by": approved_by,
        "at": at,
        "reason": request.reason[:500],
        "source_reference": str(request.pk),
    }


def booked(request: ChangeRequest, approved_by: User | None, at: datetime) -> Booked:
    return {**behind(request, approved_by, at), "key": f"request-{request.pk}", "source_kind": "request"}


def _give(request: ChangeRequest, allocation: Allocation, approved_by: User | None, at: datetime) -> list[LedgerEntry]:
    is_first = request.kind == Kind.OPENING
    entry = ledger.top_up(
        allocation=allocation,
        seconds=request.approved_seconds or 0,
        kind=LedgerEntry.Kind.GRANT if is_first else LedgerEntry.Kind.TOP_UP,
        effective_on=allocation.start_on if is_first else None,
        **booked(request, approved_by, at),
    )
    return [entry]


def _transfer(
    request: ChangeRequest, allocation: Allocation, approved_by: User | None, at: datetime
) -> list[LedgerEntry]:
    legs = movements.transfer(
        source=allocation,
        target=named(request.to_allocation),
        seconds=request.approved_seconds or 0,
        **booked(request, approved_by, at),
    )
    return list(legs)


def _take_back(
    request: ChangeRequest, allocation: Allocation, approved_by: User | None, at: datetime
) -> list[LedgerEntry]:
    seconds = request.approved_seconds or 0
    return [movements.take_back(allocation=allocation, seconds=seconds, **booked(request, approved_by, at))]


def _refund(
    request: ChangeRequest, allocation: Allocation, approved_by: User | None, at: datetime
) -> list[LedgerEntry]:
    runs = dict(request.runs.values_list("run", "seconds"))
    return [refunds.refund(allocation=allocation, runs=runs, **booked(request, approved_by, at))]


def _reverse(
    request: ChangeRequest, allocation: Allocation, approved_by: User | None, at: datetime
) -> list[LedgerEntry]:
    return movements.reverse(
        entry=named(request.entry), by=request.asked_by, approved_by=approved_by, at=at, reason=request.reason[:500]
    )


def _extend(
    request: ChangeRequest, allocation: Allocation, approved_by: User | None, at: datetime
) -> list[LedgerEntry]:
    """The charges of runs that waited for the added days follow from usage: they are no entries of the request."""
    until_on = named(request.approved_until_on)
    extending.extend(allocation=allocation, until_on=until_on, **behind(request, approved_by, at))
    return []


def _end_early(
    request: ChangeRequest, allocation: Allocation, approved_by: User | None, at: datetime
) -> list[LedgerEntry]:
    """What is given back for runs of the days cut off follows from usage, as with a longer period."""
    last_on = named(request.approved_until_on)
    ending_early.end_early(allocation=allocation, last_on=last_on, **behind(request, approved_by, at))
    return []


ACTS: Mapping[Kind, Act] = {
    Kind.OPENING: _give,
    Kind.TOP_UP: _give,
    Kind.TRANSFER: _transfer,
    Kind.TAKE_BACK: _take_back,
    Kind.REFUND: _refund,
    Kind.REVERSAL: _reverse,
    Kind.EXTENSION: _extend,
    Kind.EARLY_END: _end_early,
}


def refuse_impossible(request: ChangeRequest, *, runs: Mapping[int, int], wanted: int) -> None:
    """Refuse at once what could not be carried out as things stand, with the ledger's own sentences.

    `runs` are the GPU-seconds that can be refunded by job run, `wanted` how many runs were chosen.
    """
    if request.kind not in ACTS:
        return
    allocation = named(request.allocation)
    if request.kind == Kind.EXTENSION:
        extending.refuse_extension(allocation, until_on=named(request.asked_until_on), at=request.asked_at)
    if request.kind == Kind.EARLY_END:
        ending_early.refuse_early_end(allocation, last_on=named(request.asked_until_on), at=request.asked_at)
    if request.kind == Kind.TRANSFER and request.to_allocation is not None:
        movements.refuse_other_pool(allocation, request.to_allocation)
    if request.kind == Kind.REVERSAL and request.entry is not None:
        movements.refuse_irreversible(request.entry)
        movements.refuse_reversed(request.entry)
        for leg in movements.legs_of(request.entry):
            if leg.seconds > 0:
                refuse_more_than_left(leg.allocation, leg.seconds)
    if request.kind == Kind.REFUND and (not runs or len(runs) != wanted):
        raise refunds.NothingToRefund(
            _("Choose job runs that are finished, were charged to this allocation and are not refunded yet.")
        )
    if request.kind in {Kind.TAKE_BACK, Kind.TRANSFER}:
        refuse_more_than_left(allocation, request.asked_seconds or 0)


def refuse_more_than_left(allocation: Allocation, seconds: int) -> None:
    """NotEnough when so many GPU-seconds are not left on the allocation as it stands."""
    allocation.refresh_from_db(fields=["granted_seconds", "used_seconds", "held_seconds"])
    refuse_beyond(allocation, seconds)


def refuse_beyond(allocation: Allocation, seconds: int) -> None:
    """NotEnough when so many GPU-seconds are not left by the totals of the row in hand. No query."""
    if seconds > allocation.available_seconds:
        raise NotEnough(
            _("Only %(left)s GPU-hours are left on %(reference)s; this would take %(asked)s.")
            % {
                "left": hours_text(allocation.available_seconds),
                "reference": allocation.reference,
                "asked": hours_text(seconds),
            }
        )
