"""Importing job runs, beside the least that putting them into the tables could cost.

* ours: an export is kept, compressed; then it is read, checked, merged and charged, once as news and once again;
* baseline: psycopg writes the rows that the import made (`write_row` of a COPY) into identical copies of every table
  that the import fills, with all columns, indexes, constraints and foreign keys, in one transaction.

Counted is the time that processors spent, in this process and in its database session (no parallel workers): what else
the machine does matters little to it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any, Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from allocations.importing import working
from allocations.importing.receiving import receive
from allocations.models import UsageImport
from allocations.staging import execute, is_postgres, number, rows
from centre.models import Cluster
from tests.benchmarks import job_runs

FIRST_LIMIT: Final = 2.5
AGAIN_LIMIT: Final = 1.5
"""Times the baseline, for a first import and for the same file again."""
MEMORY_LIMIT: Final = 300
"""Megabytes of the importing process at its peak."""
TABLES: Final = (
    *("allocations_usageimport", "allocations_jobrun", "allocations_runobservation", "allocations_quarantinedrecord"),
    *("allocations_ledgerentry", "allocations_runcharge", "allocations_dailyusage", "centre_event"),
)
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_CHUNK: Final = 20_000


@dataclass(frozen=True)
class Spent:
    """Seconds of processor time, here and in the database session."""

    client: float
    server: float

    @property
    def both(self) -> float:
        return self.client + self.server


@dataclass(frozen=True)
class Measured:
    """What one size cost: seconds of processor time, and the peak memory of the import in megabytes."""

    runs: int
    stored: int
    keeping: Spent
    first: Spent
    again: Spent
    baseline: Spent
    megabytes: int

    @property
    def keeps_the_limits(self) -> bool:
        return (
            self.megabytes <= MEMORY_LIMIT
            and self.first.both <= FIRST_LIMIT * self.baseline.both
            and self.again.both <= AGAIN_LIMIT * self.baseline.both
        )


def measure(*, runs: int, stored: int, scratch: Path) -> Measured:
    """On PostgreSQL: import so many runs where so many are stored, copy their rows, import the same file again.

    Raises RuntimeError when the import did not find what the file says, to the second.
    """
    execute("SET max_parallel_workers_per_gather = 0")  # a session's own time is all of its time
    execute("SET maintenance_work_mem = '512MB'")  # for what is stored beforehand
    cluster = job_runs.centre()
    if stored:
        with without_indexes("public"):
            job_runs.store(cluster, stored)
    last = {table: number(f"SELECT MAX(id) FROM {table}") for table in TABLES}
    make_copies()
    execute("VACUUM ANALYZE")
    export = job_runs.write_export(scratch / "export.txt", runs)
    forget_peak_memory()
    keeping, first = imported(export, cluster)
    megabytes = peak_memory()
    baseline = copied(last)
    _keeping, again = imported(export, cluster, again=True)
    return Measured(runs, stored, keeping, first, again, baseline, megabytes)


def alone(*, runs: int, scratch: Path) -> tuple[Spent, Spent, Spent, int]:
    """On any database, without a baseline: what keeping, the first import and the same file again cost; megabytes."""
    cluster = job_runs.centre()
    export = job_runs.write_export(scratch / "export.txt", runs)
    forget_peak_memory()
    keeping, first = imported(export, cluster)
    megabytes = peak_memory()
    _keeping, again = imported(export, cluster, again=True)
    return keeping, first, again, megabytes


def imported(export: job_runs.Written, cluster: Cluster, *, again: bool = False) -> tuple[Spent, Spent]:
    """What it cost to keep a file, and to import it as the worker does."""
    at = timezone.now()
    meter = Meter()
    with export.path.open("rb") as stream:
        usage_import, _is_new = receive(
            stream=stream,
            file_name=export.path.name,
            cluster=cluster,
            source=UsageImport.Source.COMMAND,
            at=at,
            as_of=export.exported_at,
            claimed_by=working.this_worker(),
        )
    keeping = meter.read()
    working.work_on(usage_import, at=at)
    working_time = meter.read()
    usage_import.refresh_from_db()
    found = (usage_import.accepted, usage_import.unchanged, usage_import.charged_gpu_seconds, usage_import.unmatched)
    if found != ((0, export.runs, 0, 0) if again else (export.runs, 0, export.gpu_seconds, 0)):
        raise RuntimeError(f"The import found something else than the file says: {found} of {export}.")
    return keeping, working_time


class Meter:
    """Processor time since it was last read."""

    def __init__(self) -> None:
        self._session = number("SELECT pg_backend_pid()") if is_postgres() else None
        self._client, self._server = process_time(), self._of_the_session()

    def read(self) -> Spent:
        client, server = process_time(), self._of_the_session()
        spent = Spent(client - self._client, server - self._server)
        self._client, self._server = client, server
        return spent

    def _of_the_session(self) -> float:
        """User and system time of the session's process, which runs on this machine (proc(5), fields 14 and 15)."""
        if self._session is None:
            return 0.0
        fields = Path(f"/proc/{self._session}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


def forget_peak_memory() -> None:
    with suppress(OSError):  # where the kernel does not let us, the peak includes what came before
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The most memory that this process held, in megabytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def make_copies() -> None:
    """The schema `beside`: each table with all that hangs on it, and with the rows that it holds now.

    A foreign key to a table that is copied too leads to the copy.
    """
    execute("CREATE SCHEMA beside")
    keys = [
        (table, *key)
        for table in TABLES
        for key in rows(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'f' AND conrelid = %s::regclass ORDER BY conname",
            [table],
        )
    ]
    for table in TABLES:
        execute(f"CREATE TABLE beside.{table} (LIKE public.{table} INCLUDING ALL)")
    with without_indexes("beside"):
        for table in TABLES:
            execute(f"INSERT INTO beside.{table} SELECT * FROM public.{table}")
    execute("SET search_path = beside, public")
    for table, name, definition in keys:
        execute(f"ALTER TABLE beside.{table} ADD CONSTRAINT {name} {not_valid(definition)}")
    execute("SET search_path = public")


@contextmanager
def without_indexes(schema: str) -> Iterator[None]:
    """Fill the tables without their foreign keys and indexes (primary keys excepted), and make these afterwards."""
    execute("SET search_path = public")
    again = []
    for table in TABLES:
        for name, definition in rows(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype IN ('u', 'f') AND conrelid = %s::regclass",
            [f"{schema}.{table}"],
        ):
            again.append(f"ALTER TABLE {schema}.{table} ADD CONSTRAINT {name} {not_valid(definition)}")
            execute(f"ALTER TABLE {schema}.{table} DROP CONSTRAINT {name}")
        for index, definition in rows(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
            "WHERE NOT indisprimary AND indrelid = %s::regclass",
            [f"{schema}.{table}"],
        ):
            again.append(definition)
            execute(f"DROP INDEX {index}")
    yield
    for statement in again:
        execute(statement)


def not_valid(definition: str) -> str:
    """A foreign key that is not asked about rows that stand already; of new rows it holds as ever."""
    return definition if definition.startswith("UNIQUE") else f"{definition} NOT VALID"


def copied(last: dict[str, int]) -> Spent:
    """What it costs to write the rows after these into the copies. Reading them is not counted."""
    meter, client = Meter(), 0.0
    reader = connection.copy()  # a session of its own
    try:
        with transaction.atomic(), connection.cursor() as cursor, reader.cursor() as source:
            source.execute("BEGIN")
            for table in TABLES:
                source.execute(
                    f"DECLARE new_rows CURSOR FOR SELECT * FROM {table} WHERE id > %s ORDER BY id",
                    [last[table]],
                )
                with cursor.copy(f"COPY beside.{table} FROM STDIN") as copy:
                    while chunk := next_rows(source):
                        began = process_time()
                        for row in chunk:
                            copy.write_row(row)
                        client += process_time() - began
                source.execute("CLOSE new_rows")
    finally:
        reader.close()
    return Spent(client, meter.read().server)


def next_rows(source: CursorWrapper) -> list[tuple[Any, ...]]:
    source.execute(f"FETCH {_CHUNK} FROM new_rows")
    return list(source.fetchall())


def table(results: Sequence[Measured]) -> str:
    """The results as a Markdown table, which reads well in a terminal too."""
    lines = [
        "| processor seconds | client | database | together | / baseline | limit | a run (µs) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for result in results:
        where = f", beside {result.stored:,} stored" if result.stored else ""
        for name, spent, limit in (
            (f"**{result.runs:,} runs{where}**: baseline", result.baseline, None),
            ("first import", result.first, FIRST_LIMIT),
            ("same file again", result.again, AGAIN_LIMIT),
            ("keeping the compressed file", result.keeping, None),
        ):
            ratio = f"**{spent.both / result.baseline.both:.2f}**" if limit else ""
            lines.append(
                f"| {name} | {spent.client:,.1f} | {spent.server:,.1f} | {spent.both:,.1f} | {ratio} "
                f"| {f'≤ {limit}' if limit else ''} | {spent.both * 1e6 / result.runs:,.0f} |"
            )
    return "\n".join(lines)


def memory(results: Sequence[Measured]) -> str:
    """How much memory the importing process held, as a sentence."""
    held = ", ".join(f"{result.megabytes} MB ({result.runs:,} runs)" for result in results)
    return f"The importing process held at most {held}; the limit is {MEMORY_LIMIT} MB."


def sentence(alone: tuple[Spent, Spent, Spent, int], runs: int) -> str:
    """The figures of a database without a baseline, as a sentence."""
    keeping, first, again, megabytes = alone
    return (
        f"{runs:,} runs: {first.both:,.1f} processor seconds for the first import, {again.both:,.1f} for the same "
        f"file again, {keeping.both:,.1f} for keeping the file; {megabytes} MB."
    )
