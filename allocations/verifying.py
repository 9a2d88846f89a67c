"""Are the books right? Everything is computed a second time, from the evidence up, and each difference is named.

    job runs -> run charges -> ledger entries -> totals of the allocation, and the daily rollup

This module imports none of the code that writes the books: what that code misunderstood must not pass here. It reads
Slurm's resources, parts the days and finds the allocations in its own plain way.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db.models import F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from allocations.models import Allocation, DailyUsage, JobRun, LedgerEntry, RunCharge
from centre.models import Cluster, PoolMapping

GPUS = re.compile(r"(?:^|,)gres/gpu(:[^=,]+)?=(\d+)")
RUNS_AT_A_TIME = 5_000

Shares = dict[tuple[int, date], int]


def differences() -> Iterator[str]:
    """One sentence for each figure that is not what the evidence says; none when the books are right."""
    yield from wrong_totals()
    yield from wrong_entries()
    yield from wrong_run_charges()
    yield from wrong_daily_usage()


def wrong_totals() -> Iterator[str]:
    """The totals on each allocation against the sum of its entries."""

    def sum_of(total: str) -> Coalesce:
        entries = LedgerEntry.objects.filter(allocation=OuterRef("pk"), total=total).order_by()
        return Coalesce(Subquery(entries.values("allocation").annotate(sum=Sum("seconds")).values("sum")), 0)

    for total, sign in (("granted", 1), ("used", -1), ("held", -1)):
        rows = Allocation.objects.order_by("pk").annotate(entries_say=sign * sum_of(total))
        kept_in = f"{total}_seconds"
        for reference, kept, say in rows.exclude(entries_say=F(kept_in)).values_list(
            "reference", kept_in, "entries_say"
        ):
            yield f"Allocation {reference}: {total} is {kept} GPU-seconds, its entries say {say}."


def wrong_entries() -> Iterator[str]:
    """Each entry of usage against the run charges that hang on it."""
    charges = RunCharge.objects.filter(entry=OuterRef("pk")).order_by()
    entries = LedgerEntry.objects.filter(source_kind="usage").annotate(
        charged=Coalesce(Subquery(charges.values("entry").annotate(sum=Sum("seconds")).values("sum")), 0)
    )
    for pk, seconds, charged in entries.exclude(seconds=-F("charged")).values_list("pk", "seconds", "charged"):
        yield f"Entry {pk}: it moves {seconds} GPU-seconds, its run charges say {-charged}."
    astray = RunCharge.objects.filter(
        ~Q(entry__allocation=F("allocation"))
        | ~Q(entry__effective_on=F("day"))
        | ~Q(entry__source_kind="usage")
        | Q(seconds__gt=0, entry__kind="refund")
        | Q(seconds__lt=0, entry__kind="charge")
    )
    for pk, entry in astray.values_list("pk", "entry_id"):
        yield f"Run charge {pk}: entry {entry} is of another allocation, day or kind."


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


class ClusterBooks:
    """A cluster's pools and allocations, and what a run costs whom by them."""

    def __init__(self, cluster: Cluster) -> None:
        self.zone = ZoneInfo(cluster.time_zone)
        self.mappings = list(PoolMapping.objects.filter(cluster=cluster))
        self.allocations_of: dict[str, list[Allocation]] = defaultdict(list)
        for allocation in Allocation.objects.filter(pool__cluster=cluster).exclude(state="void"):
            self.allocations_of[allocation.account].append(allocation)

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
            a.pk for a in self.allocations_of.get(account, ()) if a.pool_id in pools and a.start_on <= day <= a.end_on
        ]
        return payers[0] if payers else None


def wrong_daily_usage() -> Iterator[str]:
    """The rollup that pages read against the run charges."""
    rollup = {
        (allocation, day, user): seconds
        for allocation, day, user, seconds in DailyUsage.objects.values_list(
            "allocation", "day", "user_name", "seconds"
        ).iterator()
        if seconds
    }
    sums = RunCharge.objects.order_by().values_list("allocation", "day", "run__user_name").annotate(sum=Sum("seconds"))
    for allocation, day, user, seconds in sums.iterator():
        kept = rollup.pop((allocation, day, user), 0)
        if kept != seconds:
            yield (
                f"Daily usage of “{user}” on allocation #{allocation} on {day}: {kept} GPU-seconds, "
                f"the run charges say {seconds}."
            )
    for (allocation, day, user), kept in rollup.items():
        yield (
            f"Daily usage of “{user}” on allocation #{allocation} on {day}: {kept} GPU-seconds, the run charges say 0."
        )
