"""Hours that move after they were given: to another allocation, back to the centre, into a hold and out of it.

Each verb locks the allocations that it touches, in the order of their numbers, writes its entries and its event in one
transaction, and is sent twice without acting twice. A mistake is mended by an entry that names the wrong one.
"""

from collections.abc import Iterable
from datetime import date, datetime

from django.db import transaction
from django.utils.translation import gettext as _

from allocations.models import Allocation, LedgerEntry
from allocations.posting import LedgerError, post
from centre import audit
from centre.amounts import hours_text
from centre.models import User

Kind = LedgerEntry.Kind


class OtherPool(LedgerError):
    """Hours move only between allocations of one pool."""


class NothingToMove(LedgerError):
    """An amount of no hours, or of less than none."""


class NotReversible(LedgerError):
    """This entry is mended in another way."""


class AlreadyReversed(LedgerError):
    """The entry was reversed before."""


class AlreadyResolved(LedgerError):
    """The hold was released or used before; it resolves once."""


def locked(allocations: Iterable[Allocation]) -> dict[int, Allocation]:
    """These allocations as they stand, locked in one order, so that two verbs never wait for each other."""
    numbers = {allocation.pk for allocation in allocations}
    rows = Allocation.objects.select_for_update(of=("self",)).select_related("pool__cluster")
    return {row.pk: row for row in rows.filter(pk__in=numbers).order_by("pk")}


def accounting_day(allocation: Allocation, at: datetime) -> date:
    """The day of an instant in the zone of the allocation's cluster."""
    return at.astimezone(allocation.pool.cluster.zone).date()


@transaction.atomic
def transfer(
    *,
    source: Allocation,
    target: Allocation,
    seconds: int,
    by: User | None,
    approved_by: User | None,
    at: datetime,
    key: str,
    reason: str,
) -> tuple[LedgerEntry, LedgerEntry]:
    """Move `seconds` GPU-seconds to another allocation of the same pool; returns the entries out and in.

    Raises OtherPool, NothingToMove, NotEnough, TwoPeopleNeeded; KeyReused when the key stands for something else.
    """
    refuse_nothing(seconds)
    if source.pool_id != target.pool_id or source.pk == target.pk:
        raise OtherPool(_("GPU-hours move only between two allocations of the same GPU pool."))
    rows = locked([source, target])
    legs = [
        post(
            allocation=rows[allocation.pk],
            kind=Kind.TRANSFER,
            seconds=signed,
            effective_on=accounting_day(rows[allocation.pk], at),
            key=f"{key}:{way}",
            at=at,
            asked_by=by,
            approved_by=approved_by,
            reason=reason,
            source_kind="transfer",
            source_reference=key,
        )
        for allocation, signed, way in ((source, -seconds, "out"), (target, seconds, "in"))
    ]
    if legs[0].recorded_at == at:
        record_movement("transfer", source, by=by, at=at, reason=reason, seconds=seconds, to=target.reference)
    refresh(source, target)
    return legs[0], legs[1]


@transaction.atomic
def take_back(
    *,
    allocation: Allocation,
    seconds: int,
    by: User | None,
    approved_by: User | None,
    at: datetime,
    key: str,
    reason: str,
) -> LedgerEntry:
    """Take unused GPU-seconds back for the centre. Raises NothingToMove, NotEnough, TwoPeopleNeeded, KeyReused."""
    refuse_nothing(seconds)
    row = locked([allocation])[allocation.pk]
    entry = post(
        allocation=row,
        kind=Kind.FORFEIT,
        seconds=-seconds,
        effective_on=accounting_day(row, at),
        key=key,
        at=at,
        asked_by=by,
        approved_by=approved_by,
        reason=reason,
        source_kind="take_back",
    )
    if entry.recorded_at == at:
        record_movement("take_back", allocation, by=by, at=at, reason=reason, seconds=seconds)
    refresh(allocation)
    return entry


@transaction.atomic
def hold(*, allocation: Allocation, seconds: int, by: User | None, at: datetime, key: str, reason: str) -> LedgerEntry:
    """Keep GPU-seconds aside for something that is pending, so that nothing else takes them. Raises NotEnough."""
    refuse_nothing(seconds)
    row = locked([allocation])[allocation.pk]
    entry = post(
        allocation=row,
        kind=Kind.HOLD,
        seconds=-seconds,
        effective_on=accounting_day(row, at),
        key=key,
        at=at,
        asked_by=by,
        reason=reason,
        source_kind="hold",
    )
    if entry.recorded_at == at:
        record_movement("hold", allocation, by=by, at=at, reason=reason, seconds=seconds)
    refresh(allocation)
    return entry


@transaction.atomic
def release(*, held: LedgerEntry, by: User | None, at: datetime, reason: str) -> LedgerEntry:
    """Let go of a hold, all of it. A hold resolves once: the second attempt raises AlreadyResolved."""
    if held.kind != Kind.HOLD:
        raise NotReversible(_("Entry %(number)s is not a hold.") % {"number": held.pk})
    row = locked([held.allocation])[held.allocation_id]
    key = f"release:{held.pk}"
    if LedgerEntry.objects.filter(key=key).exists():
        raise AlreadyResolved(_("This hold was released before."))
    entry = post(
        allocation=row,
        kind=Kind.RELEASE,
        seconds=-held.seconds,
        effective_on=accounting_day(row, at),
        key=key,
        at=at,
        asked_by=by,
        reason=reason,
        source_kind="hold",
        source_reference=str(held.pk),
    )
    record_movement("release", held.allocation, by=by, at=at, reason=reason, seconds=entry.seconds)
    refresh(held.allocation)
    return entry


@transaction.atomic
def reverse(
    *, entry: LedgerEntry, by: User | None, approved_by: User | None, at: datetime, reason: str
) -> list[LedgerEntry]:
    """Take an entry back by another one that names it; both legs of a transfer together. Returns the reversals.

    Usage is not reversed here: it follows from the job runs. A hold is released. Raises NotReversible, AlreadyReversed,
    NotEnough when what was given is no longer there, TwoPeopleNeeded.
    """
    refuse_irreversible(entry)
    legs = [entry]
    if entry.kind == Kind.TRANSFER:
        legs = list(
            LedgerEntry.objects.filter(kind=Kind.TRANSFER, source_reference=entry.source_reference).select_related(
                "allocation"
            )
        )
    rows = locked([leg.allocation for leg in legs])
    if LedgerEntry.objects.filter(reverses__in=legs).exists():
        raise AlreadyReversed(_("Entry %(number)s was reversed before.") % {"number": entry.pk})
    reversals = [
        post(
            allocation=rows[leg.allocation_id],
            kind=Kind.REVERSAL,
            seconds=-leg.seconds,
            effective_on=accounting_day(rows[leg.allocation_id], at),
            key=f"reversal:{leg.pk}",
            at=at,
            asked_by=by,
            approved_by=approved_by,
            reason=reason,
            source_kind="reversal",
            source_reference=str(leg.pk),
            reverses=leg,
        )
        for leg in legs
    ]
    for leg in legs:
        record_movement("reverse", leg.allocation, by=by, at=at, reason=reason, seconds=-leg.seconds, entry=leg.pk)
        refresh(leg.allocation)
    return reversals


def refuse_nothing(seconds: int) -> None:
    if seconds <= 0:
        raise NothingToMove(_("Say how many GPU-hours: more than none."))


def refuse_irreversible(entry: LedgerEntry) -> None:
    """NotReversible, with what to do instead."""
    if entry.source_kind == "usage":
        raise NotReversible(_("Usage follows from the job runs; a later import corrects it."))
    if entry.kind in {Kind.HOLD, Kind.RELEASE}:
        raise NotReversible(_("A hold is released, not reversed."))
    if entry.kind == Kind.REVERSAL:
        raise NotReversible(_("A reversal stands; give or take the hours anew."))


def record_movement(
    act: str, allocation: Allocation, *, by: User | None, at: datetime, reason: str, seconds: int, **more: object
) -> None:
    """One event on the allocation that the act was about."""
    audit.record(
        act=act,
        on=allocation,
        by=by,
        at=at,
        reason=reason,
        changes={"gpu_seconds": seconds, "gpu_hours": hours_text(seconds), **more},
    )


def refresh(*allocations: Allocation) -> None:
    for allocation in allocations:
        allocation.refresh_from_db(fields=["granted_seconds", "used_seconds", "held_seconds"])
