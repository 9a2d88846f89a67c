"""GPU-hours given back for job runs that came to nothing through no fault of the team, a failed node for example.

A refund names its runs: per run, accounting day and allocation one `RunRefund` stands beside the run charge that it
gives back. The charge stays, for the GPUs were taken. Should the run later turn out to have cost less, what was
refunded in excess is taken back; should it cost more again, it is given again, up to what was decided.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext as _

from allocations import staging
from allocations.models import Allocation, LedgerEntry, RunCharge, RunRefund
from allocations.movements import accounting_day, locked, record_movement, refresh
from allocations.posting import LedgerError, post
from centre.models import User

Kind = LedgerEntry.Kind


class NothingToRefund(LedgerError):
    """No runs, or runs that were not charged to the allocation or are refunded already."""


class RunsChanged(LedgerError):
    """Since the runs were chosen, their usage was corrected or refunded."""


def refundable_by_day(allocation: Allocation, runs: Mapping[int, int]) -> dict[int, dict[date, int]]:
    """What each run was charged to the allocation and not refunded: GPU-seconds by run and accounting day."""
    left: dict[int, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for rows, sign in ((RunCharge.objects, 1), (RunRefund.objects, -1)):
        of_these = rows.filter(allocation=allocation, run__in=list(runs)).order_by()
        for run, day, seconds in of_these.values_list("run", "day").annotate(sum=Sum("seconds")):
            left[run][day] += sign * seconds
    return {run: {day: seconds for day, seconds in days.items() if seconds} for run, days in left.items()}


@transaction.atomic
def refund(
    *,
    allocation: Allocation,
    runs: Mapping[int, int],
    by: User | None,
    approved_by: User | None,
    at: datetime,
    key: str,
    reason: str,
    source_kind: str = "refund",
    source_reference: str = "",
) -> LedgerEntry:
    """Give back what these job runs were charged: `runs` are the GPU-seconds by run as they were seen.

    The same `key` sent twice acts once. Raises NothingToRefund, RunsChanged, PeriodClosed, TwoPeopleNeeded, KeyReused.
    """
    seconds = sum(runs.values())
    if seconds <= 0:
        raise NothingToRefund(_("Choose the job runs that are to be refunded."))
    staging.lock_cluster(allocation.pool.cluster_id)  # no import moves these charges meanwhile
    row = locked([allocation])[allocation.pk]
    by_day = refundable_by_day(row, runs)
    is_as_seen = {run: sum(days.values()) for run, days in by_day.items()} == dict(runs)
    if not is_as_seen and not LedgerEntry.objects.filter(key=key).exists():
        raise RunsChanged(
            _("What these job runs cost has changed since they were chosen. Decline this and choose them anew.")
        )
    entry, is_new = post(
        allocation=row,
        kind=Kind.REFUND,
        seconds=seconds,
        effective_on=accounting_day(row, at),
        key=key,
        at=at,
        asked_by=by,
        approved_by=approved_by,
        reason=reason,
        source_kind=source_kind,
        source_reference=source_reference,
    )
    if not is_new:
        return entry
    RunRefund.objects.bulk_create(
        [
            RunRefund(run_id=run, allocation=row, day=day, seconds=part, entry=entry, recorded_at=at)
            for run, days in sorted(by_day.items())
            for day, part in sorted(days.items())
        ],
        batch_size=1_000,
    )
    record_movement("refund", entry, runs=len(runs))
    refresh(allocation)
    return entry


@dataclass
class Refunded:
    """A day of a run as one refund gave it back: GPU-seconds `decided` (0 once reversed), and what stands of them."""

    decided: int = 0
    stands: int = 0


def follow_usage(*, at: datetime, gains: bool) -> None:
    """After usage was posted from the temporary table `usage_delta`: refunds of its runs keep to what the runs cost.

    Each refunded day of a run counts up to what is charged now, at most what was decided; of several refunds the
    earlier count first. The difference is posted as corrections, each naming one refund, with the people who stood
    behind it: the `gains`, or else the losses.
    """
    refunded = _refunded_of_the_changed_runs()
    if not refunded:
        return
    charged = {(allocation, run, _as_day(day)): int(seconds) for allocation, run, day, seconds in staging.rows(CHARGED)}
    differences: dict[int, list[tuple[int, date, int]]] = defaultdict(list)
    for (allocation, run, day), by_refund in sorted(refunded.items()):
        left = max(0, charged.get((allocation, run, day), 0))
        for number, part in sorted(by_refund.items()):
            counts = min(part.decided, left)
            left -= counts
            if counts != part.stands and (counts > part.stands) == gains:
                differences[number].append((run, day, counts - part.stands))
    rows = LedgerEntry.objects.filter(pk__in=differences).select_related(
        "allocation__pool__cluster", "asked_by", "approved_by"
    )
    for entry in rows.order_by("allocation", "pk"):
        _correct(entry, differences[entry.pk], at=at)


def _refunded_of_the_changed_runs() -> dict[tuple[int, int, date], dict[int, Refunded]]:
    """By allocation, run and day, and by the number of the refund: what it decided, and what stands of it."""
    found: dict[tuple[int, int, date], dict[int, Refunded]] = defaultdict(lambda: defaultdict(Refunded))
    for allocation, run, day, seconds, entry, kind, reverses, source in staging.rows(REFUNDED):
        number = {Kind.REFUND: entry, Kind.REVERSAL: reverses}.get(kind) or int(source)
        part = found[allocation, run, _as_day(day)][number]
        part.stands += seconds
        part.decided += seconds if kind != Kind.CORRECTION else 0
    return found


REFUNDED = """
    SELECT refund.allocation_id, refund.run_id, refund.day, refund.seconds, entry.id, entry.kind, entry.reverses_id,
           entry.source_reference
    FROM allocations_runrefund AS refund JOIN allocations_ledgerentry AS entry ON entry.id = refund.entry_id
    WHERE refund.run_id IN (SELECT run_id FROM usage_delta)
"""
CHARGED = """
    SELECT allocation_id, run_id, day, SUM(seconds) FROM allocations_runcharge
    WHERE run_id IN (SELECT run_id FROM usage_delta)
      AND run_id IN (SELECT run_id FROM allocations_runrefund)
    GROUP BY allocation_id, run_id, day
"""


def _correct(refunded: LedgerEntry, parts: list[tuple[int, date, int]], *, at: datetime) -> None:
    """Post one correction of a refund, with its evidence by run and day."""
    before = LedgerEntry.objects.filter(source_kind="refund_follows", source_reference=str(refunded.pk)).count()
    entry, _is_new = post(
        allocation=refunded.allocation,
        kind=Kind.CORRECTION,
        total=LedgerEntry.Total.USED,
        seconds=sum(seconds for _run, _day, seconds in parts),
        effective_on=accounting_day(refunded.allocation, at),
        key=f"refund-{refunded.pk}-follows-{before + 1}",
        at=at,
        asked_by=refunded.asked_by,
        approved_by=refunded.approved_by,
        reason=refunded.reason,
        source_kind="refund_follows",
        source_reference=str(refunded.pk),
        follows_from_usage=True,
    )
    RunRefund.objects.bulk_create(
        [
            RunRefund(run_id=run, allocation=refunded.allocation, day=day, seconds=part, entry=entry, recorded_at=at)
            for run, day, part in parts
        ],
        batch_size=1_000,
    )
    record_movement("correct_refund", entry, corrects=refunded.pk)


def _as_day(day: date | str) -> date:
    """SQLite gives days back as text."""
    return day if isinstance(day, date) else date.fromisoformat(day)
