"""Hours that move after they were given: to another allocation, back to the centre, into a hold and out of it.

Each verb locks the allocations that it touches, in the order of their numbers, writes its entries and its events in one
transaction, and is sent twice without acting twice. A mistake is mended by an entry that names the wrong one.
"""

from collections.abc import Iterable
from datetime import date, datetime

from django.db import transaction
from django.utils.translation import gettext as _

from allocations.models import Allocation, LedgerEntry, RunRefund
from allocations.posting import TOTALS, LedgerError, post
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
    # Without the key: a row that names an allocation, such as a request, can be committed meanwhile.
    rows = Allocation.objects.select_for_update(of=("self",), no_key=True).select_related("pool__cluster")
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
    source_kind: str = "transfer",
    source_reference: str = "",
) -> tuple[LedgerEntry, LedgerEntry]:
    """Move `seconds` GPU-seconds to another allocation of the same pool; returns the entries out and in.

    The two entries find each other by their source and key. Raises OtherPool, NothingToMove, NotEnough, PeriodClosed,
    TwoPeopleNeeded; KeyReused when the key stands for something else.
    """
    refuse_nothing(seconds)
    refuse_other_pool(source, target)
    rows = locked([source, target])
    legs = []
    for allocation, other, signed, way in ((source, target, -seconds, "out"), (target, source, seconds, "in")):
        entry, is_new = post(
            allocation=rows[allocation.pk],
            kind=Kind.TRANSFER,
            seconds=signed,
            effective_on=accounting_day(rows[allocation.pk], at),
            key=f"{key}:{way}",
            at=at,
            asked_by=by,
            approved_by=approved_by,
            reason=reason,
            source_kind=source_kind,
            source_reference=source_reference or key,
        )
        if is_new:
            record_movement("transfer", entry, **{"to" if signed < 0 else "from": other.reference})
        legs.append(entry)
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
    source_kind: str = "take_back",
    source_reference: str = "",
) -> LedgerEntry:
    """Take unused GPU-seconds back for the centre: they go to the pool's reserve.

    Raises NothingToMove, NotEnough, PeriodClosed, TwoPeopleNeeded, KeyReused.
    """
    refuse_nothing(seconds)
    row = locked([allocation])[allocation.pk]
    entry, is_new = post(
        allocation=row,
        kind=Kind.FORFEIT,
        seconds=-seconds,
        effective_on=accounting_day(row, at),
        key=key,
        at=at,
        asked_by=by,
        approved_by=approved_by,
        reason=reason,
        source_kind=source_kind,
        source_reference=source_reference,
    )
    if is_new:
        record_movement("take_back", entry)
    refresh(allocation)
    return entry


@transaction.atomic
def hold(
    *,
    allocation: Allocation,
    seconds: int,
    by: User | None,
    at: datetime,
    key: str,
    reason: str,
    lapses_on: date | None = None,
    source_kind: str = "hold",
    source_reference: str = "",
) -> LedgerEntry:
    """Keep GPU-seconds aside for something that is pending, so that no other decision takes them.

    On `lapses_on` it is let go by itself (None: it stays until it is resolved). Raises NothingToMove, NotEnough,
    PeriodClosed.
    """
    refuse_nothing(seconds)
    row = locked([allocation])[allocation.pk]
    entry, is_new = post(
        allocation=row,
        kind=Kind.HOLD,
        seconds=-seconds,
        effective_on=accounting_day(row, at),
        key=key,
        at=at,
        asked_by=by,
        reason=reason,
        source_kind=source_kind,
        source_reference=source_reference,
        lapses_on=lapses_on,
    )
    if is_new:
        record_movement("hold", entry)
    refresh(allocation)
    return entry


@transaction.atomic
def release(*, held: LedgerEntry, by: User | None, at: datetime, reason: str) -> LedgerEntry:
    """Let go of a hold, all of it. A hold resolves once: the second attempt raises AlreadyResolved."""
    if held.kind != Kind.HOLD:
        raise NotReversible(_("Entry %(number)s is not a hold.") % {"number": held.pk})
    row = locked([held.allocation])[held.allocation_id]
    if LedgerEntry.objects.filter(reverses=held).exists():
        raise AlreadyResolved(_("This hold was released before."))
    entry, _is_new = post(
        allocation=row,
        kind=Kind.RELEASE,
        seconds=-held.seconds,
        effective_on=accounting_day(row, at),
        key=f"release:{held.pk}",
        at=at,
        asked_by=by,
        reason=reason,
        source_kind="hold",
        source_reference=str(held.pk),
        reverses=held,
        follows_from_usage=True,  # letting go is never refused, whatever became of the allocation
    )
    record_movement("release", entry)
    refresh(held.allocation)
    return entry


@transaction.atomic
def reverse(
    *,
    entry: LedgerEntry,
    by: User | None,
    approved_by: User | None,
    at: datetime,
    reason: str,
) -> list[LedgerEntry]:
    """Take an entry back by another one that names it; both legs of a transfer together. Returns the reversals.

    Usage is not reversed here: it follows from the job runs. A hold is released. Raises NotReversible, AlreadyReversed,
    NotEnough when what was given is no longer there, PeriodClosed, TwoPeopleNeeded.
    """
    refuse_irreversible(entry)
    legs = legs_of(entry)
    rows = locked([leg.allocation for leg in legs])
    refuse_reversed(entry)
    reversals = []
    for leg in legs:
        reversal, _is_new = post(
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
        if leg.kind == Kind.REFUND:
            undo_run_refunds(leg, reversal)
        record_movement("reverse", reversal, reverses=leg.pk)
        reversals.append(reversal)
    refresh(*(leg.allocation for leg in legs))
    return reversals


def legs_of(entry: LedgerEntry) -> list[LedgerEntry]:
    """The entry, and with it the other half of a transfer; in the order in which they were written."""
    if entry.kind != Kind.TRANSFER:
        return [entry]
    together = {f"{entry.key.rpartition(':')[0]}:{way}" for way in ("out", "in")}
    return list(LedgerEntry.objects.filter(key__in=together).select_related("allocation").order_by("pk"))


def refuse_nothing(seconds: int) -> None:
    if seconds <= 0:
        raise NothingToMove(_("Say how many GPU-hours: more than none."))


def refuse_other_pool(source: Allocation, target: Allocation) -> None:
    if source.pool_id != target.pool_id or source.pk == target.pk:
        raise OtherPool(_("GPU-hours move only between two allocations of the same GPU pool."))


def refuse_irreversible(entry: LedgerEntry) -> None:
    """NotReversible, with what to do instead."""
    if entry.source_kind == "usage":
        raise NotReversible(_("Usage follows from the job runs; a later import corrects it."))
    if entry.kind in {Kind.HOLD, Kind.RELEASE}:
        raise NotReversible(_("A hold is released, not reversed."))
    if entry.kind == Kind.REVERSAL:
        raise NotReversible(_("A reversal stands; give or take the hours anew."))
    if entry.kind == Kind.CORRECTION or entry.source_kind == "period_end":
        raise NotReversible(_("This follows from the usage and a rule; it changes when they do."))


def refuse_reversed(entry: LedgerEntry) -> None:
    """AlreadyReversed, also when the other half of a transfer was."""
    if LedgerEntry.objects.filter(reverses__in=legs_of(entry)).exists():
        raise AlreadyReversed(_("Entry %(number)s was reversed before.") % {"number": entry.pk})


def undo_run_refunds(refund: LedgerEntry, reversal: LedgerEntry) -> None:
    """The job runs of a reversed refund are refundable anew: the evidence of both is kept, run by run."""
    of_its_runs = RunRefund.objects.filter(
        allocation=refund.allocation_id, run__in=refund.run_refunds.order_by().values("run")
    )
    if of_its_runs.filter(entry__kind=Kind.CORRECTION).exists():
        raise NotReversible(_("The usage behind this refund was corrected since; what is left of it stands."))
    RunRefund.objects.bulk_create(
        [
            RunRefund(
                run_id=run,
                allocation_id=refund.allocation_id,
                day=day,
                seconds=-seconds,
                entry=reversal,
                recorded_at=reversal.recorded_at,
            )
            for run, day, seconds in refund.run_refunds.values_list("run", "day", "seconds")
        ],
        batch_size=1_000,
    )


def record_movement(act: str, entry: LedgerEntry, **more: object) -> None:
    """The event of one entry, on its allocation: it names the entry, its amount and the people behind it."""
    audit.record(
        act=act,
        on=entry.allocation,
        by=entry.asked_by,
        at=entry.recorded_at,
        reason=entry.reason,
        changes={
            "gpu_seconds": entry.seconds,
            "gpu_hours": hours_text(entry.seconds),
            "approved_by": [None, entry.approved_by],
            "entry": [None, entry.pk],
            **more,
        },
    )


def refresh(*allocations: Allocation) -> None:
    for allocation in allocations:
        allocation.refresh_from_db(fields=TOTALS)
