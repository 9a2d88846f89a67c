"""What runs should cost, compared with what they were charged: the difference is posted.

One function for every cause. The import calls it for the runs it changed; every verb that changes which allocation
takes a run (an allocation opened, extended, shortened, re-pointed; a pool mapped) calls it for the runs of that
account. It can be repeated at will: where nothing differs, nothing is posted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from allocations import refunds, settling, staging
from allocations.charging import billable_span, gpu_parts, split_by_day
from allocations.models import Allocation, DrawingAccount
from allocations.posting import move_used, post_usage
from allocations.slurm.records import is_waiting
from centre.models import Cluster, PoolMapping

RUN_COLUMNS = "run_id bigint PRIMARY KEY"
SHOULD_COLUMNS = "run_id bigint, allocation_id bigint, day date, seconds bigint"
SHOULD = ("run_id", "allocation_id", "day", "seconds")


@dataclass(frozen=True)
class Span:
    """Something that holds from a day to a day (both included; None: still open)."""

    first: date
    last: date | None
    what: int

    def covers(self, day: date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)


class Matches:
    """Which pool GPUs belong to and which allocation takes an account's time on it, by day; read once."""

    def __init__(self, cluster: Cluster) -> None:
        self._pools: dict[tuple[str, str], list[Span]] = {}
        for kind, name, pool, first, last in PoolMapping.objects.filter(cluster=cluster).values_list(
            "kind", "name", "pool_id", "from_on", "until_on"
        ):
            self._pools.setdefault((kind, name), []).append(Span(first, last, pool))
        self._allocations: dict[tuple[int, str], list[Span]] = {}
        for pool, account, allocation, first, last in (
            Allocation.objects.not_void()
            .filter(pool__cluster=cluster)
            .values_list("pool_id", "account", "pk", "start_on", "end_on")
        ):
            self._allocations.setdefault((pool, account), []).append(Span(first, last, allocation))
        for pool, account, allocation, first, last in DrawingAccount.objects.spans(cluster):
            self._allocations.setdefault((pool, account), []).append(Span(first, last, allocation))

    def allocation(self, *, gres: str, partition: str, account: str, day: date) -> int | None:
        """The allocation that takes typed GPUs by their name, untyped ones by the partition; None: unmatched."""
        kind = (PoolMapping.Kind.TRES.value, gres) if gres else (PoolMapping.Kind.PARTITION.value, partition)
        for pool in self._pools.get(kind, ()):
            if pool.covers(day):
                for allocation in self._allocations.get((pool.what, account), ()):
                    if allocation.covers(day):
                        return allocation.what
        return None


def should_be_charged(
    runs: Iterable[tuple[Any, ...]], matches: Matches, zone: ZoneInfo
) -> Iterator[tuple[int, int | None, date, int]]:
    """(run, allocation or None, day, GPU-seconds) of runs given in the order of `runs_to_charge`."""
    for run_id, account, partition, state, alloc_tres, submit, start, end, as_of in runs:
        span = billable_span(submit=submit, start=start, end=end, as_of=as_of, pending=is_waiting(state))
        if span is None:
            continue
        shares: dict[tuple[int | None, date], int] = {}
        for gres, gpus in gpu_parts(alloc_tres):
            for day, seconds in split_by_day(*span, zone):
                to = matches.allocation(gres=gres, partition=partition, account=account, day=day), day
                shares[to] = shares.get(to, 0) + gpus * seconds
        for (allocation, day), seconds in shares.items():
            yield run_id, allocation, day, seconds


def runs_to_charge() -> str:
    """The runs of the temporary table `changed_run`; two parameters: its least and its greatest run.

    Between these bounds PostgreSQL reads an index in its order; without them it may read every run there ever was.
    """
    e = staging.epoch
    return f"""
        SELECT run.id, run.account, run.partition, run.state, run.alloc_tres,
               {e("run.submit_at")}, {e("run.start_at")}, {e("run.end_at")}, {e("run.as_of")}
        FROM changed_run JOIN allocations_jobrun AS run ON run.id = changed_run.run_id
        WHERE run.id BETWEEN %s AND %s
    """  # noqa: S608  no text from outside


def recharge(*, cluster: Cluster, source_reference: str, at: datetime) -> int:
    """Charge the runs of the temporary table `changed_run(run_id)` as they should be; returns net GPU-seconds posted.

    Call it inside a transaction that holds `staging.lock_cluster`. Runs (or parts) that no allocation takes are left
    with their `unmatched_seconds`.
    """
    (bounds,) = staging.rows("SELECT MIN(run_id), MAX(run_id) FROM changed_run")
    if bounds == (None, None):
        return 0
    matches = Matches(cluster)
    staging.analyze("changed_run")
    with (
        staging.temporary_table("should_charge", SHOULD_COLUMNS),
        staging.temporary_table("usage_delta", SHOULD_COLUMNS),
    ):
        for runs in staging.rows_in_chunks(runs_to_charge(), bounds):
            for shares in staging.in_chunks(should_be_charged(runs, matches, cluster.zone)):
                staging.fill("should_charge", SHOULD, shares)
        staging.analyze("should_charge")
        staging.execute(
            """
            INSERT INTO usage_delta (run_id, allocation_id, day, seconds)
            SELECT run_id, allocation_id, day, SUM(seconds) FROM (
                SELECT run_id, allocation_id, day, seconds FROM should_charge WHERE allocation_id IS NOT NULL
                UNION ALL
                SELECT charge.run_id, charge.allocation_id, charge.day, -charge.seconds
                FROM allocations_runcharge AS charge JOIN changed_run ON changed_run.run_id = charge.run_id
                WHERE charge.run_id BETWEEN %s AND %s
            ) AS compared
            GROUP BY run_id, allocation_id, day HAVING SUM(seconds) <> 0
            """,
            bounds,
        )
        staging.execute(
            """
            UPDATE allocations_jobrun SET unmatched_seconds = now.seconds
            FROM (
                SELECT changed_run.run_id, COALESCE(SUM(should.seconds), 0) AS seconds
                FROM changed_run LEFT JOIN should_charge AS should
                  ON should.run_id = changed_run.run_id AND should.allocation_id IS NULL
                GROUP BY changed_run.run_id
            ) AS now
            WHERE now.run_id = allocations_jobrun.id AND allocations_jobrun.unmatched_seconds <> now.seconds
              AND allocations_jobrun.id BETWEEN %s AND %s
            """,
            bounds,
        )
        posted = post_usage(source_reference=source_reference, at=at)
        # A total never passes below zero on its way: what a refund loses comes before the usage, what it gains after.
        refunds.follow_usage(at=at, gains=False)
        move_used()
        refunds.follow_usage(at=at, gains=True)
        settling.settle_late_usage(at=at)
        return posted


def recharge_account(
    *, cluster: Cluster, account: str, first: date, last: date, source_reference: str, at: datetime
) -> int:
    """Recharge the runs of one Slurm account that may have run between two days; returns net GPU-seconds posted.

    A verb that changed which allocation takes them calls this inside its own transaction.
    """
    begin = datetime(first.year, first.month, first.day, tzinfo=cluster.zone).astimezone(UTC)
    staging.lock_cluster(cluster.pk)
    with staging.temporary_table("changed_run", RUN_COLUMNS):
        staging.execute(
            """
            INSERT INTO changed_run (run_id)
            SELECT id FROM allocations_jobrun
            WHERE cluster_id = %s AND account = %s AND gpus > 0 AND start_at IS NOT NULL
              AND (end_at IS NULL OR end_at >= %s) AND start_at < %s
            """,
            [cluster.pk, account, begin, _day_after(last, cluster.zone)],
        )
        return recharge(cluster=cluster, source_reference=source_reference, at=at)


def _day_after(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which the day is over in the zone."""
    following = date.fromordinal(min(day.toordinal() + 1, date.max.toordinal() - 1))
    return datetime(following.year, following.month, following.day, tzinfo=zone).astimezone(UTC)
