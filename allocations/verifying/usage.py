"""Usage: what job runs cost, their charges, the entries on which those hang, and the rollup that pages read."""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import F, Max, Min, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from allocations.models import Allocation, DrawingAccount, JobRun, LedgerEntry, RunCharge, UsageImport
from allocations.verifying.reading import rows
from centre.models import Cluster, GpuPool, PoolMapping

GPUS = re.compile(r"(?:^|,)gres/gpu(:[^=,]+)?=(\d+)")
RUNS_AT_A_TIME = 5_000

Shares = dict[tuple[int, date], int]


def wrong_entries_of_usage() -> Iterator[str]:
    """Each entry of usage against the run charges that hang on it."""
    charges = RunCharge.objects.filter(entry=OuterRef("pk")).order_by()
    entries = LedgerEntry.objects.filter(source_kind="usage").annotate(
        charged=Coalesce(Subquery(charges.values("entry").annotate(sum=Sum("seconds")).values("sum")), 0)
    )
    wrong = entries.exclude(seconds=-F("charged")).order_by("pk")
    for pk, seconds, charged in wrong.values_list("pk", "seconds", "charged").iterator():
        yield f"Entry {pk}: it moves {seconds} GPU-seconds, its run charges say {-charged}."
    astray = RunCharge.objects.filter(
        ~Q(entry__allocation=F("allocation"))
        | ~Q(entry__effective_on=F("day"))
        | ~Q(entry__source_kind="usage")
        | ~Q(entry__recorded_at=F("recorded_at"))
        | Q(seconds__gt=0, entry__kind="refund")
        | Q(seconds__lt=0, entry__kind="charge")
    )
    for pk, entry in astray.order_by("pk").values_list("pk", "entry_id").iterator():
        yield f"Run charge {pk}: entry {entry} is of another allocation, day, kind or instant."
    yield from wrong_imports()


def wrong_imports() -> Iterator[str]:
    """What an import says that it charged, and when, against the entries that name it."""
    of_import = LedgerEntry.objects.filter(source_kind="usage", source_reference__startswith="import-").order_by()
    said = {
        reference: (seconds, first, last)
        for reference, seconds, first, last in of_import.values_list("source_reference").annotate(
            Sum("seconds"), Min("recorded_at"), Max("recorded_at")
        )
    }
    done = UsageImport.objects.filter(state="done").order_by("pk")
    for pk, charged, at in done.values_list("pk", "charged_gpu_seconds", "finished_at").iterator():
        seconds, first, last = said.get(f"import-{pk}", (0, at, at))
        if charged != -seconds:
            yield f"Import {pk}: it says that it charged {charged} GPU-seconds, its entries say {-seconds}."
        if (first, last) != (at, at):
            yield f"Import {pk}: it was recorded at {at}, its entries from {first} to {last}."


def wrong_run_charges() -> Iterator[str]:
    """What each run was charged, by allocation and day, against what the run says it costs."""
    for cluster in Cluster.objects.order_by("pk"):
        books = ClusterBooks(cluster)
        last = 0
        while runs := list(
            JobRun.objects.filter(cluster=cluster, pk__gt=last).order_by("pk").defer("job_name")[:RUNS_AT_A_TIME]
        ):
            last = runs[-1].pk
            charged: dict[int, Shares] = defaultdict(dict)
            of_these = RunCharge.objects.filter(run__cluster=cluster, run__gte=runs[0].pk, run__lte=last).order_by()
            for run, allocation, day, seconds in of_these.values_list("run", "allocation", "day").annotate(
                sum=Sum("seconds")
            ):
                if seconds:
                    charged[run][allocation, day] = seconds
            for job in runs:
                due, unmatched = books.cost_of(job)
                yield from compared(job, due, charged.get(job.pk, {}))
                if unmatched != job.unmatched_seconds:
                    yield (
                        f"Run {job.job_id} (#{job.pk}): {job.unmatched_seconds} GPU-seconds are kept as unmatched, "
                        f"the run says {unmatched}."
                    )


def compared(job: JobRun, due: Shares, charged: Shares) -> Iterator[str]:
    for allocation, day in sorted(due.keys() | charged.keys()):
        is_charged, should_be = charged.get((allocation, day), 0), due.get((allocation, day), 0)
        if is_charged != should_be:
            yield (
                f"Run {job.job_id} (#{job.pk}): {is_charged} GPU-seconds are charged to allocation #{allocation} "
                f"on {day}, the run says {should_be}."
            )


class Taker(NamedTuple):
    """An allocation that takes an account's time on a pool from a day to a day, by name or as a further account."""

    allocation: int
    pool: int
    first: date
    last: date


class ClusterBooks:
    """A cluster's pools and allocations, and what a run costs whom by them."""

    def __init__(self, cluster: Cluster) -> None:
        self.zone = ZoneInfo(cluster.time_zone)
        self.mappings = list(PoolMapping.objects.filter(cluster=cluster))
        self.taken_by: dict[str, list[Taker]] = defaultdict(list)
        pools = set(GpuPool.objects.filter(cluster=cluster).values_list("pk", flat=True))
        for allocation in Allocation.objects.filter(pool__cluster=cluster).exclude(state="void"):
            self.taken_by[allocation.account].append(
                Taker(allocation.pk, allocation.pool_id, allocation.start_on, allocation.end_on)
            )
        for drawing in DrawingAccount.objects.select_related("allocation"):
            drawn_on = drawing.allocation
            if drawing.pool_id in pools and drawing.withdrawn_at is None and drawn_on.state != "void":
                first, last = max(drawing.from_on, drawn_on.start_on), min(drawing.until_on, drawn_on.end_on)
                self.taken_by[drawing.account].append(Taker(drawn_on.pk, drawing.pool_id, first, last))

    def cost_of(self, job: JobRun) -> tuple[Shares, int]:
        """GPU-seconds by (allocation, day), and those that no allocation takes."""
        due: Shares = defaultdict(int)
        unmatched = 0
        if job.start_at is None or job.state == "PENDING":
            return due, 0
        begin, until = max(job.start_at, job.submit_at), job.end_at or job.as_of
        by_type, total = {}, None
        for typed, number in GPUS.findall(job.alloc_tres):
            if typed:
                by_type["gres/gpu" + typed] = int(number)
            else:
                total = int(number)
        untyped = 0 if total is None else total - sum(by_type.values())
        while begin < until:
            day = begin.astimezone(self.zone).date()
            midnight = datetime.combine(day + timedelta(days=1), time.min, tzinfo=self.zone).astimezone(UTC)
            seconds = int((min(until, midnight) - begin).total_seconds())
            for kind, name, gpus in [
                *(("tres", name, number) for name, number in by_type.items()),
                ("partition", job.partition, untyped),
            ]:
                allocation = self.payer(kind, name, job.account, day)
                if allocation is None:
                    unmatched += gpus * seconds
                elif gpus:
                    due[allocation, day] += gpus * seconds
            begin = min(until, midnight)
        return due, unmatched

    def payer(self, kind: str, name: str, account: str, day: date) -> int | None:
        pools = [
            m.pool_id
            for m in self.mappings
            if (m.kind, m.name) == (kind, name) and m.from_on <= day and (m.until_on is None or day <= m.until_on)
        ]
        payers = [
            taker.allocation
            for taker in self.taken_by.get(account, ())
            if taker.pool in pools and taker.first <= day <= taker.last
        ]
        return payers[0] if payers else None


OUTCOMES = """
    CASE WHEN NOT finished THEN 'unfinished'
         WHEN word = 'COMPLETED' THEN 'completed'
         WHEN word IN ('FAILED', 'OUT_OF_MEMORY') THEN 'failed'
         WHEN word IN ('CANCELLED', 'REVOKED') THEN 'cancelled'
         WHEN word IN ('TIMEOUT', 'DEADLINE') THEN 'timed_out'
         WHEN word IN ('NODE_FAIL', 'BOOT_FAIL', 'PREEMPTED', 'REQUEUED', 'RESIZING') THEN 'interrupted'
         ELSE 'other' END
"""
"""How a run ended, of a row with `finished` and the first `word` of its state."""
FIRST_WORD = {
    "postgresql": "SPLIT_PART(state, ' ', 1)",
    "sqlite": "CASE INSTR(state, ' ') WHEN 0 THEN state ELSE SUBSTR(state, 1, INSTR(state, ' ') - 1) END",
}


def wrong_daily_usage() -> Iterator[str]:
    """The rollup that pages read against the run charges.

    A row of 0 may outlive its charges: their run was found to be of another user, or has ended otherwise since. Then an
    export that named the first user, or none, is known.
    """
    found = rows(
        f"""
        WITH run AS (
            SELECT id, user_name, {OUTCOMES} AS outcome FROM (
                SELECT id, user_name, finished, {FIRST_WORD[connection.vendor]} AS word FROM allocations_jobrun
            ) AS worded
        )
        SELECT allocation_id, day, user_name, outcome, kept, said, is_kept FROM (
            SELECT allocation_id, day, user_name, outcome,
                   SUM(kept) AS kept, SUM(said) AS said, SUM(is_kept) AS is_kept, SUM(is_said) AS is_said
            FROM (
                SELECT allocation_id, day, user_name, outcome, seconds AS kept, 0 AS said, 1 AS is_kept, 0 AS is_said
                FROM allocations_dailyusage
                UNION ALL
                SELECT charge.allocation_id, charge.day, run.user_name, run.outcome, 0, SUM(charge.seconds), 0, 1
                FROM allocations_runcharge AS charge JOIN run ON run.id = charge.run_id
                GROUP BY charge.allocation_id, charge.day, run.user_name, run.outcome
            ) AS told GROUP BY allocation_id, day, user_name, outcome
        ) AS sums
        WHERE kept <> said OR is_kept <> 1 OR (is_said = 0 AND NOT EXISTS (
            SELECT 1 FROM allocations_runcharge AS charge JOIN run ON run.id = charge.run_id
            LEFT JOIN allocations_runobservation AS seen
              ON seen.run_id = charge.run_id AND seen.user_name = sums.user_name
            WHERE charge.allocation_id = sums.allocation_id AND charge.day = sums.day
              AND (seen.id IS NOT NULL OR sums.user_name IN ('', run.user_name))))
        ORDER BY allocation_id, day, user_name, outcome
        """  # noqa: S608  no text from outside
    )
    for allocation, day, user, outcome, kept, said, is_kept in found:
        where = f"Daily usage of “{user}” ({outcome}) on allocation #{allocation} on {day}"
        if kept != said:
            yield f"{where}: {kept} GPU-seconds, the run charges say {said}."
        else:
            yield f"{where}: " + ("no run charge explains this row." if is_kept else "its row is missing.")
