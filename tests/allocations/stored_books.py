"""The books of one cluster as they are stored, read by SQL of the tests' own, in the form of `import_model.Books`."""

from datetime import UTC, date, datetime
from typing import Any

from django.db import connection

from tests.allocations.import_model import Books, RunKey


def rows(sql: str, *values: int | str | datetime) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return list(cursor.fetchall())


def epoch(value: datetime | str | None) -> int | None:
    """A stored instant in epoch seconds; SQLite keeps UTC without saying so."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    assert value.microsecond == 0
    return int(value.timestamp())


def day_of(value: date | str) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value


def stored_books(cluster_id: int) -> Books:
    """What stands in the books of a cluster: its runs, their charges, the entries, the rollup, the totals.

    A pool goes by what its code says after the last hyphen, so that two clusters can be compared.
    """
    books = Books()
    keys: dict[int, RunKey] = {}
    for pk, raw, submit, index, state, account, user, partition, start, end, gpus, tres, finished, as_of, waits in rows(
        "SELECT id, job_id_raw, submit_at, db_index, state, account, user_name, partition, start_at, end_at, gpus, "
        "alloc_tres, finished, as_of, unmatched_seconds FROM allocations_jobrun WHERE cluster_id = %s",
        cluster_id,
    ):
        keys[pk] = key = raw, epoch(submit) or 0
        assert key not in books.runs
        said = (index, state, account, user, partition, epoch(start), epoch(end), gpus, tres, bool(finished))
        books.runs[key] = (*said, epoch(as_of), waits)
    payers = {
        pk: (f"{account}/{pool.rpartition('-')[2]}/{day_of(first)}", used)
        for pk, account, pool, first, used in rows(
            "SELECT a.id, a.account, p.code, a.start_on, a.used_seconds FROM allocations_allocation a "
            "JOIN centre_gpupool p ON p.id = a.pool_id WHERE p.cluster_id = %s",
            cluster_id,
        )
    }
    books.totals |= {name: used for name, used in payers.values() if used}
    marks = ", ".join(str(pk) for pk in payers) or "0"
    for run, payer, day, seconds in rows(
        "SELECT run_id, allocation_id, day, SUM(seconds) FROM allocations_runcharge "
        f"WHERE allocation_id IN ({marks}) GROUP BY run_id, allocation_id, day HAVING SUM(seconds) <> 0"
    ):
        books.charges[keys[run], payers[payer][0], day_of(day)] = int(seconds)
    for payer, day, seconds in rows(
        "SELECT allocation_id, effective_on, -SUM(seconds) FROM allocations_ledgerentry "
        f"WHERE total = 'used' AND allocation_id IN ({marks}) "
        "GROUP BY allocation_id, effective_on HAVING SUM(seconds) <> 0"
    ):
        books.entries[payers[payer][0], day_of(day)] = int(seconds)
    for payer, day, user, seconds in rows(
        "SELECT allocation_id, day, user_name, SUM(seconds) FROM allocations_dailyusage "
        f"WHERE allocation_id IN ({marks}) GROUP BY 1, 2, 3 HAVING SUM(seconds) <> 0"
    ):
        books.daily[payers[payer][0], day_of(day), user] = seconds
    return books


def digests(cluster_id: int) -> dict[RunKey, str]:
    """Which content stands on each run's row, to the letter."""
    found = rows("SELECT job_id_raw, submit_at, digest FROM allocations_jobrun WHERE cluster_id = %s", cluster_id)
    return {(raw, epoch(submit) or 0): digest for raw, submit, digest in found}
