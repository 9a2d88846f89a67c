"""Temporary tables that hold what is being imported or recharged, and what SQLite and PostgreSQL say differently.

Everything set-based of the import is one SQL text for both databases; the few words that differ are methods here.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from itertools import islice
from typing import Any, Final

from django.db import connection

CLUSTER_LOCKS: Final = 0x61757367  # a family of advisory locks of our own: one per cluster
CHUNK: Final = 20_000
READ_AT_ONCE: Final = 5_000  # rows that may hold 4,000 characters each
WORK_MEMORY: Final = "64MB"
_SPECIAL: Final = re.compile(r"[\\\t\n\r]")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def is_postgres() -> bool:
    return connection.vendor == "postgresql"


def instant(epoch: str) -> str:
    """SQL for the stored instant of a column of epoch seconds."""
    return f"to_timestamp({epoch})" if is_postgres() else f"datetime({epoch}, 'unixepoch')"


def epoch(column: str) -> str:
    """SQL for the epoch seconds of a stored instant."""
    if is_postgres():
        return f"CAST(EXTRACT(EPOCH FROM {column}) AS bigint)"
    return f"CAST(strftime('%%s', {column}) AS integer)"


def lock_cluster(cluster_id: int) -> None:
    """One import or recharge of a cluster at a time, until the transaction ends (SQLite has one writer anyway).

    It may use more memory than PostgreSQL's cautious default for each sort and join: there are few of them at a time.
    """
    if is_postgres():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [CLUSTER_LOCKS, cluster_id])
            cursor.execute(f"SET LOCAL work_mem = '{WORK_MEMORY}'")


def lock_allocations(table: str) -> None:
    """Lock the allocations that a temporary table names, in one order: two postings never wait for each other.

    With them those to which hours went over when their periods were closed: late usage may take some back.
    """
    if is_postgres():
        execute(
            f"""
            WITH RECURSIVE touched(id) AS (
                SELECT DISTINCT allocation_id FROM {table}
                UNION
                SELECT ended.following_id FROM allocations_periodend AS ended
                JOIN touched ON touched.id = ended.allocation_id WHERE ended.following_id IS NOT NULL
            )
            SELECT id FROM allocations_allocation WHERE id IN (SELECT id FROM touched) ORDER BY id
            FOR NO KEY UPDATE
            """  # noqa: S608  a table of our own
        )


def execute(sql: str, parameters: Sequence[Any] = ()) -> int:
    """Run one statement; the number of rows it changed."""
    with connection.cursor() as cursor:
        cursor.execute(sql, [_stored(value) for value in parameters])
        return int(cursor.rowcount)


def rows(sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, [_stored(value) for value in parameters])
        return list(cursor.fetchall())


def rows_in_chunks(sql: str, parameters: Sequence[Any] = ()) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a query that may be longer than memory; inside a transaction."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, [_stored(value) for value in parameters])
        while chunk := cursor.fetchmany(READ_AT_ONCE):
            yield chunk


def _stored(value: Any) -> Any:
    """A day or an instant in the form in which the database keeps it."""
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, date):
        return connection.ops.adapt_datefield_value(value)
    return value


def analyze(table: str) -> None:
    """Tell PostgreSQL's planner how large a temporary table has become."""
    if is_postgres():
        execute(f"ANALYZE {table}")


def join_in_order() -> str:
    """The word for a join that reads the left table and looks each row up in the right one.

    SQLite, which knows no sizes here, may else read all of the right table, and for each of its rows all of the left.
    """
    return "JOIN" if is_postgres() else "CROSS JOIN"


def number(sql: str, parameters: Sequence[Any] = ()) -> int:
    """The one number that a query gives; 0 for none."""
    return int(rows(sql, parameters)[0][0] or 0)


@contextmanager
def temporary_table(name: str, columns: str) -> Iterator[None]:
    """A temporary table for the length of the block. `columns` is SQL that both databases read."""
    execute(f"DROP TABLE IF EXISTS {name}")
    execute(f"CREATE TEMPORARY TABLE {name} ({columns})")
    try:
        yield
    except BaseException:
        if not connection.in_atomic_block:  # else it goes with the transaction
            execute(f"DROP TABLE IF EXISTS {name}")
        raise
    execute(f"DROP TABLE IF EXISTS {name}")


@contextmanager
def without_locks() -> Iterator[None]:
    """Write into temporary tables without taking the database's write lock.

    SQLite would commit every row by itself; a plain BEGIN groups them and locks nothing of the main database. Inside a
    transaction that somebody else began there is nothing to do.
    """
    if is_postgres() or connection.in_atomic_block:
        yield
        return
    execute("BEGIN DEFERRED")
    try:
        yield
    except BaseException:
        execute("ROLLBACK")
        raise
    execute("COMMIT")


def fill(table: str, columns: Sequence[str], values: Iterable[Sequence[Any]]) -> None:
    """Add rows to a temporary table: by COPY on PostgreSQL, by prepared INSERT on SQLite."""
    names = ", ".join(columns)
    with connection.cursor() as cursor:
        if is_postgres():
            # Django translates the driver's errors of a statement, but not of a COPY
            with connection.wrap_database_errors, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                copy.write("".join(map(_copy_line, values)))
        else:
            marks = ", ".join(["%s"] * len(columns))
            prepared = [[_stored(value) for value in row] for row in values]
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", prepared)  # noqa: S608


def _copy_line(row: Sequence[Any]) -> str:
    texts = [value for value in row if value.__class__ is str]
    if not _SPECIAL.search("".join(texts)):  # almost every row: nothing to escape
        return "\t".join(["\\N" if value is None else str(value) for value in row]) + "\n"
    return "\t".join(["\\N" if value is None else str(value).translate(_ESCAPES) for value in row]) + "\n"


def in_chunks(values: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """The values in lists of at most `size`."""
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
