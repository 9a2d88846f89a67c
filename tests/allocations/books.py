"""A small centre into which tests import, and the books of it as plain sums, computed by SQL of the tests' own."""

from collections.abc import Iterable
from datetime import date, datetime
from io import BytesIO
from zoneinfo import ZoneInfo

from django.db import connection
from django.utils import timezone

from allocations.ledger import open_allocation
from allocations.models import Allocation, UsageImport
from allocations.usage import import_usage
from centre.models import Cluster, GpuPool, Project
from tests import make

FIRST, LAST = date(2020, 1, 1), date(2035, 12, 31)


def small_centre(code: str = "hgx", *, accounts: Iterable[str] = ("lab",), first: date = FIRST) -> Cluster:
    """A cluster with one pool of typed h800 GPUs and an open allocation of 1,000 GPU-hours for each account."""
    cluster = make.cluster(code)
    pool = make.pool(cluster=cluster, tres="gres/gpu:h800", partitions=("batch",), from_on=first)
    for account in accounts:
        opened(account=account, pool=pool)
    return cluster


def opened(
    *, account: str, pool: GpuPool, start_on: date = FIRST, end_on: date = LAST, hours: int = 1_000
) -> Allocation:
    """An allocation opened by the verb, as `manage.py onboard` does; its project is made when there is none."""
    project = Project.objects.filter(code=account).first() or make.project(account)
    return open_allocation(
        project=project,
        pool=pool,
        reference=f"{account}-{pool.code}-{start_on}",
        account=account,
        funding=Allocation.Funding.INTERNAL,
        start_on=start_on,
        end_on=end_on,
        seconds=hours * 3600,
        by=None,
        approved_by=None,
        at=timezone.now(),
        reason="for a test",
        source_kind="onboard",
    )


def imported(
    data: bytes, *, cluster: Cluster, as_of: datetime | None = None, zone: ZoneInfo | None = None
) -> UsageImport:
    return import_usage(
        stream=BytesIO(data), file_name="test.txt", cluster=cluster, at=timezone.now(), as_of=as_of, zone=zone
    )


def counts(done: UsageImport) -> tuple[int, int, int, int]:
    """(accepted, unchanged, ignored, quarantined), checked to add up to what was read."""
    kinds = (done.accepted, done.unchanged, done.ignored, done.quarantined)
    assert sum(kinds) == done.read
    return kinds


def query(sql: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def charged_by_account() -> dict[str, int]:
    """GPU-seconds by Slurm account, by the totals on the allocations."""
    rows = query("SELECT account, SUM(used_seconds) FROM allocations_allocation GROUP BY account")
    return {str(account): int(str(seconds)) for account, seconds in rows if seconds}


def charged_by_account_and_day() -> dict[str, int]:
    """GPU-seconds by "account day", by the run charges."""
    rows = query(
        "SELECT a.account, c.day, SUM(c.seconds) FROM allocations_runcharge c "
        "JOIN allocations_allocation a ON a.id = c.allocation_id GROUP BY a.account, c.day"
    )
    return {f"{account} {day}": int(str(seconds)) for account, day, seconds in rows if seconds}


def books() -> dict[str, list[tuple[object, ...]]]:
    """Everything that must not depend on the order, overlap or repetition of imports."""
    return {
        "runs": query(
            "SELECT db_index, job_id_raw, submit_at, state, account, user_name, start_at, end_at, gpus, finished, "
            "as_of, digest, unmatched_seconds FROM allocations_jobrun ORDER BY job_id_raw, submit_at"
        ),
        "charges": query(
            "SELECT r.job_id_raw, r.submit_at, c.allocation_id, c.day, SUM(c.seconds) FROM allocations_runcharge c "
            "JOIN allocations_jobrun r ON r.id = c.run_id "
            "GROUP BY r.job_id_raw, r.submit_at, c.allocation_id, c.day HAVING SUM(c.seconds) <> 0 ORDER BY 1, 2, 3, 4"
        ),
        "usage": query(
            "SELECT allocation_id, effective_on, SUM(seconds) FROM allocations_ledgerentry WHERE total = 'used' "
            "GROUP BY allocation_id, effective_on HAVING SUM(seconds) <> 0 ORDER BY 1, 2"
        ),
        "daily": query(
            "SELECT allocation_id, day, user_name, outcome, seconds FROM allocations_dailyusage "
            "WHERE seconds <> 0 ORDER BY 1, 2, 3, 4"
        ),
        "totals": query(
            "SELECT id, granted_seconds, used_seconds, held_seconds FROM allocations_allocation ORDER BY id"
        ),
    }
