"""Merging what an export says into the job runs, set-based, inside one transaction.

`staged` holds one row per good record of the file. Each row finds its run: by job number and submission, or by job
number and database index. The index alone says nothing, because it begins again at 1 when Slurm's accounting database
is rebuilt. Rows of one run form a group whose winner stands against the run's present row. The order is total:
(finished, as of, last instant, digest), greatest wins, so any order of imports ends with the same rows. What an export
leaves out (a user name, a job's name) is not known to it; what is known already stays.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.utils.translation import gettext_noop

from allocations import staging
from allocations.models import UsageImport
from allocations.models.usage import RunContent, outcome_sql
from allocations.posting import add_to_daily_usage
from allocations.recharging import RUN_COLUMNS
from allocations.slurm.sacct import Record

STAGED_TYPES = {
    "line": "bigint PRIMARY KEY",
    "db_index": "text",
    "job_id_raw": "bigint",
    "job_id": "text",
    "account": "text",
    "user_name": "text",
    "partition_name": "text",
    "qos": "text",
    "state": "text",
    "exit_code": "text",
    "submit": "bigint",
    "eligible": "bigint",
    "started": "bigint",
    "ended": "bigint",
    "time_limit": "bigint",
    "alloc_tres": "text",
    "gpus": "bigint",
    "node_list": "text",
    "job_name": "text",
    "finished": "boolean",
    "digest": "text",
    "last_instant": "bigint",
    "grp": "bigint",
}
STAGED = tuple(STAGED_TYPES)
STAGED_COLUMNS = (
    ", ".join(f"{name} {kind}" for name, kind in STAGED_TYPES.items()) + ", run_id bigint, fate text DEFAULT 'new'"
)
KNOWN_COLUMNS = "line bigint, run_id bigint, unchanged boolean"
REPEATED_COLUMNS = "job_id_raw bigint PRIMARY KEY"
BAD = ("line", "text", "reason")
BAD_COLUMNS = "line bigint, text text, reason text"

BEYOND_ITS_EXPORT = gettext_noop("The record speaks of an instant more than a day after the export.")
TWO_RUNS = gettext_noop(
    "The record names two runs that are known apart: one by its database index, one by its job number and submission."
)


def staged_row(record: Record) -> tuple[Any, ...]:
    """A record in the order of `STAGED`; every record begins as a group of its own."""
    line, db_index, job_id_raw, job_id, account, user, partition, qos, state, exit_code = record[:10]
    submit, eligible, start, end, limit, tres, gpus, nodes, name, finished, _pending, digest = record[10:]
    last = end if end is not None else start if start is not None else submit
    return (
        *(line, db_index, job_id_raw, job_id, account, user, partition, qos, state, exit_code, submit, eligible),
        *(start, end, limit, tres, gpus, nodes, name, finished, digest, last, line),
    )


def stage(records: Iterable[Record]) -> None:
    staging.fill("staged", STAGED, map(staged_row, records))


@contextmanager
def tables() -> Iterator[None]:
    """What the merge works with beside `staged`. Large files have narrow tables: nothing wide is written twice.

    `known` names the run (or two) that is known of a record; `repeated` the job numbers that occur more than once, for
    records of one run always agree in it.
    """
    with (
        staging.temporary_table("known", KNOWN_COLUMNS),
        staging.temporary_table("repeated", REPEATED_COLUMNS),
        staging.temporary_table("changed_run", RUN_COLUMNS),
    ):
        yield


def find_runs(cluster_id: int, as_of: int) -> None:
    """Which known run each staged record speaks of. A record that repeats its run's row is done with at once."""
    staging.analyze("staged")
    staging.execute(
        "INSERT INTO repeated (job_id_raw) SELECT job_id_raw FROM staged GROUP BY job_id_raw HAVING COUNT(*) > 1"
    )
    staging.analyze("repeated")
    # One look at each run of that number, by either name of a run. EXISTS, and not a join, for `repeated`: PostgreSQL
    # knows little of the newest runs and would expect one row of the first join, then read `repeated` for each of all.
    staging.execute(
        f"""
        INSERT INTO known (line, run_id, unchanged)
        SELECT staged.line, run.id,
               {repeats_run("staged")} AND %s <= {staging.epoch("run.as_of")}
               AND run.submit_at = {staging.instant("staged.submit")}
               AND (staged.db_index IS NULL OR staged.db_index = run.db_index)
               AND NOT EXISTS (SELECT 1 FROM repeated WHERE repeated.job_id_raw = staged.job_id_raw)
        FROM staged {staging.join_in_order()} allocations_jobrun AS run
          ON run.cluster_id = %s AND run.job_id_raw = staged.job_id_raw
         AND (run.submit_at = {staging.instant("staged.submit")} OR run.db_index = staged.db_index)
        """,  # noqa: S608  no text from outside
        [as_of, as_of, cluster_id],
    )
    staging.analyze("known")
    if staging.number("SELECT COUNT(*) FROM known WHERE unchanged"):
        staging.execute("DELETE FROM staged WHERE line IN (SELECT line FROM known WHERE unchanged)")
    if staging.number("SELECT COUNT(*) FROM known WHERE unchanged IS NOT true"):
        quarantine("line IN (SELECT line FROM known GROUP BY line HAVING COUNT(*) > 1)")
        staging.execute("UPDATE staged SET run_id = known.run_id FROM known WHERE known.line = staged.line")
    if has_repeats():
        group_records_of_one_run()


def repeats_run(record: str) -> str:
    """SQL for: the record says what the run's row says. One parameter: the as-of instant."""
    return f"{record}.digest = run.digest AND ({record}.finished OR %s = {staging.epoch('run.as_of')})"


def has_repeats() -> bool:
    """Whether a job number occurs more than once in the file; else every record is of a run of its own."""
    return bool(staging.number("SELECT COUNT(*) FROM repeated"))


def group_records_of_one_run() -> None:
    """Give records of one run the same group: those that share a run, or a number and a submission or an index."""
    columns = "line bigint PRIMARY KEY, db_index text, job_id_raw bigint, submit bigint, run_id bigint, grp bigint"
    with staging.temporary_table("alike", columns):
        staging.execute(
            """
            INSERT INTO alike (line, db_index, job_id_raw, submit, run_id, grp)
            SELECT line, db_index, job_id_raw, submit, run_id, grp
            FROM staged WHERE job_id_raw IN (SELECT job_id_raw FROM repeated)
            """
        )
        staging.analyze("alike")
        while any(_group_by(names) for names in ("run_id", "db_index, job_id_raw", "job_id_raw, submit")):
            pass  # a group may have become larger, and touch another one
        quarantine(
            """
            line IN (SELECT line FROM alike WHERE grp IN (
                SELECT grp FROM alike GROUP BY grp HAVING MIN(run_id) <> MAX(run_id)))
            """
        )
        # what is known of one record of a group is known of all
        staging.execute(
            """
            UPDATE staged SET grp = found.grp, run_id = found.run_id
            FROM (SELECT line, grp, MIN(run_id) OVER (PARTITION BY grp) AS run_id FROM alike) AS found
            WHERE found.line = staged.line
              AND (staged.grp <> found.grp OR (staged.run_id IS NULL AND found.run_id IS NOT NULL))
            """
        )


def _group_by(columns: str) -> bool:
    """Move records that agree in these columns to the lowest of their groups; whether any moved."""
    same = " AND ".join(f"alike.{column} = low.{column}" for column in columns.split(", "))
    moved = staging.execute(
        f"""
        UPDATE alike SET grp = low.grp
        FROM (SELECT {columns}, MIN(grp) AS grp FROM alike GROUP BY {columns} HAVING COUNT(*) > 1) AS low
        WHERE {same} AND alike.grp <> low.grp
        """  # noqa: S608
    )
    return bool(moved)


def quarantine_beyond(instant: int) -> int | None:
    """Set records aside that speak of what is later than an instant; the latest instant of the others, or None."""
    latest = "GREATEST" if staging.is_postgres() else "MAX"
    last = f"{latest}(submit, COALESCE(started, 0), COALESCE(ended, 0))"
    quarantine(f"{last} > {instant:d}", BEYOND_ITS_EXPORT)
    return staging.number(f"SELECT MAX({last}) FROM staged") or None  # noqa: S608


def quarantine(condition: str, reason: str = TWO_RUNS) -> None:
    """Set staged records aside; by default those that cannot be said to be of one run."""
    staging.execute(
        f"""
        INSERT INTO staged_bad (line, text, reason)
        SELECT line, 'JobIDRaw ' || job_id_raw || ', DBIndex ' || COALESCE(db_index, '') || ', Account ' || account, %s
        FROM staged WHERE {condition}
        """,  # noqa: S608
        [reason],
    )
    staging.execute(f"DELETE FROM staged WHERE {condition}")  # noqa: S608


def judge(as_of: int) -> None:
    """Say of every staged record what becomes of it.

    `new`: the first that is heard of a run; `wins`: it replaces the run's row; `confirms`: the same content of an ended
    run, seen later; `same`: nothing new; `loses`: something else is already known to be truer.
    """
    repeats = has_repeats()
    if repeats:
        staging.execute(
            """
            UPDATE staged SET fate = 'loses' FROM (
                SELECT line, ROW_NUMBER() OVER (
                    PARTITION BY grp ORDER BY finished DESC, last_instant DESC, digest DESC, line) AS place
                FROM staged WHERE job_id_raw IN (SELECT job_id_raw FROM repeated)
            ) AS placed
            WHERE placed.line = staged.line AND placed.place > 1
            """
        )
    e = staging.epoch
    run_last = f"COALESCE({e('run.end_at')}, {e('run.start_at')}, {e('run.submit_at')})"
    staging.execute(
        f"""
        UPDATE staged SET fate = CASE
            WHEN {repeats_run("staged")}
                THEN CASE WHEN %s > {e("run.as_of")} THEN 'confirms' ELSE 'same' END
            WHEN (staged.finished, %s, staged.last_instant, staged.digest)
               > (run.finished, {e("run.as_of")}, {run_last}, run.digest) THEN 'wins'
            ELSE 'loses' END
        FROM allocations_jobrun AS run WHERE run.id = staged.run_id AND staged.fate = 'new'
        """,  # noqa: S608
        [as_of, as_of, as_of],
    )
    staging.analyze("staged (run_id, grp, fate)")  # what is asked for from here on was not known when it was filled
    if repeats:
        # a record that repeats its group's winner to the letter tells nothing new
        staging.execute(
            """
            UPDATE staged SET fate = 'same' FROM staged AS winner
            WHERE staged.fate = 'loses' AND winner.grp = staged.grp
              AND winner.fate IN ('new', 'wins', 'confirms', 'same')
              AND winner.digest = staged.digest AND winner.line <> staged.line
            """
        )


CONTENT = tuple(field.name for field in RunContent._meta.get_fields())


def content_of_staged() -> str:
    """The staged columns in the order of `CONTENT`; one parameter: the as-of instant."""
    staged = {
        "submit_at": staging.instant("staged.submit"),
        "eligible_at": staging.instant("staged.eligible"),
        "start_at": staging.instant("staged.started"),
        "end_at": staging.instant("staged.ended"),
        "partition": "staged.partition_name",
        "time_limit_minutes": "staged.time_limit",
        "as_of": "%s",
    }
    return ", ".join(staged.get(column, f"staged.{column}") for column in CONTENT)


def keep_superseded() -> None:
    """Keep what the runs' rows said that are about to be replaced."""
    columns = ", ".join(f'"{column}"' for column in CONTENT)
    run = ", ".join(f'run."{column}"' for column in CONTENT)
    staging.execute(
        f"""
        INSERT INTO allocations_runobservation (run_id, usage_import_id, {columns})
        SELECT run.id, run.usage_import_id, {run}
        FROM staged JOIN allocations_jobrun AS run ON run.id = staged.run_id
        WHERE staged.fate = 'wins' ORDER BY staged.line
        ON CONFLICT (run_id, as_of, digest) DO NOTHING
        """  # noqa: S608
    )


def keep_lost(usage_import: UsageImport) -> None:
    """Keep what this file says where something truer is known. Call it after the new runs are there."""
    staging.execute(
        f"""
        UPDATE staged SET run_id = run.id
        FROM staged AS winner JOIN allocations_jobrun AS run
          ON run.cluster_id = %s AND run.job_id_raw = winner.job_id_raw
         AND run.submit_at = {staging.instant("winner.submit")}
        WHERE winner.grp = staged.grp AND winner.fate = 'new' AND staged.fate = 'loses'
        """,  # noqa: S608
        [usage_import.cluster_id],
    )
    columns = ", ".join(f'"{column}"' for column in CONTENT)
    staging.execute(
        f"""
        INSERT INTO allocations_runobservation (run_id, usage_import_id, {columns})
        SELECT run.id, %s, {content_of_staged()}
        FROM staged JOIN allocations_jobrun AS run ON run.id = staged.run_id
        WHERE staged.fate = 'loses' AND NOT (run.digest = staged.digest AND (run.finished OR run.as_of = %s))
        ORDER BY staged.line
        ON CONFLICT (run_id, as_of, digest) DO NOTHING
        """,  # noqa: S608
        [usage_import.pk, usage_import.as_of, usage_import.as_of],
    )


def kept(column: str) -> str:
    """SQL for what is known of a run: what the export says, else what was known before."""
    return f"COALESCE(NULLIF(staged.{column}, ''), allocations_jobrun.{column})"


def replace_rows(usage_import: UsageImport) -> None:
    """Put the winning observations into the rows of known runs."""
    i = staging.instant
    staging.execute(
        f"""
        UPDATE allocations_jobrun SET
            db_index = COALESCE(staged.db_index, allocations_jobrun.db_index), job_id_raw = staged.job_id_raw,
            submit_at = {i("staged.submit")}, state = staged.state,
            exit_code = staged.exit_code, account = staged.account,
            job_id = {kept("job_id")}, user_name = {kept("user_name")}, qos = {kept("qos")},
            job_name = {kept("job_name")}, partition = staged.partition_name, eligible_at = {i("staged.eligible")},
            start_at = {i("staged.started")}, end_at = {i("staged.ended")}, time_limit_minutes = staged.time_limit,
            gpus = staged.gpus, alloc_tres = staged.alloc_tres, node_list = staged.node_list,
            finished = staged.finished, as_of = %s, digest = staged.digest,
            usage_import_id = %s
        FROM staged WHERE staged.run_id = allocations_jobrun.id AND staged.fate = 'wins'
        """,  # noqa: S608
        [usage_import.as_of, usage_import.pk],
    )
    staging.execute(
        """
        UPDATE allocations_jobrun SET as_of = %s, db_index = COALESCE(allocations_jobrun.db_index, staged.db_index)
        FROM staged WHERE staged.run_id = allocations_jobrun.id AND staged.fate = 'confirms'
        """,
        [usage_import.as_of],
    )


def add_runs(usage_import: UsageImport) -> int:
    """Insert the runs that nobody knew; returns the greatest run number before them."""
    last = staging.number("SELECT MAX(id) FROM allocations_jobrun")
    columns = ", ".join(f'"{column}"' for column in CONTENT)
    staging.execute(
        f"""
        INSERT INTO allocations_jobrun (cluster_id, unmatched_seconds, first_import_id, usage_import_id, {columns})
        SELECT %s, 0, %s, %s, {content_of_staged()} FROM staged WHERE fate = 'new' ORDER BY line
        """,  # noqa: S608
        [usage_import.cluster_id, usage_import.pk, usage_import.pk, usage_import.as_of],
    )
    return last


def fill_gaps() -> None:
    """Learn from records that lost what the runs' rows still lack: whose run it is, its name, its database index."""
    columns = "run_id bigint PRIMARY KEY, user_name text, job_id text, qos text, job_name text, db_index text"
    with staging.temporary_table("learnt", columns):
        staging.execute(
            """
            INSERT INTO learnt (run_id, user_name, job_id, qos, job_name, db_index)
            SELECT staged.run_id, COALESCE(MIN(NULLIF(staged.user_name, '')), ''), MIN(NULLIF(staged.job_id, '')),
                   MIN(NULLIF(staged.qos, '')), MIN(NULLIF(staged.job_name, '')), MIN(staged.db_index)
            FROM staged JOIN allocations_jobrun AS run ON run.id = staged.run_id
            WHERE staged.fate = 'loses' AND (run.user_name = '' OR run.job_id = '' OR run.qos = ''
                                             OR run.job_name = '' OR run.db_index IS NULL)
            GROUP BY staged.run_id
            """
        )
        for sign, name in (("-", "run.user_name"), ("", "learnt.user_name")):
            add_to_daily_usage(
                f"""
                SELECT charge.allocation_id, charge.day, {name}, {outcome_sql("run")}, {sign}SUM(charge.seconds)
                FROM learnt JOIN allocations_jobrun AS run ON run.id = learnt.run_id
                JOIN allocations_runcharge AS charge ON charge.run_id = run.id
                WHERE run.user_name = '' AND learnt.user_name <> ''
                GROUP BY 1, 2, 3, 4
                """  # noqa: S608  no text from outside
            )
        fields = ("user_name", "job_id", "qos", "job_name")
        filled = ", ".join(f"{f} = COALESCE(NULLIF(allocations_jobrun.{f}, ''), learnt.{f}, '')" for f in fields)
        staging.execute(
            f"""
            UPDATE allocations_jobrun
            SET {filled}, db_index = COALESCE(allocations_jobrun.db_index, learnt.db_index)
            FROM learnt WHERE learnt.run_id = allocations_jobrun.id
            """  # noqa: S608
        )


def note_changed_runs(usage_import: UsageImport, last: int) -> None:
    """Fill `changed_run` with the runs whose charge may differ now."""
    staging.execute(
        """
        INSERT INTO changed_run (run_id)
        SELECT id FROM allocations_jobrun
        WHERE id > %s AND first_import_id = %s AND gpus > 0 AND start_at IS NOT NULL
        UNION ALL
        SELECT run_id FROM staged WHERE fate = 'wins'
        """,
        [last, usage_import.pk],
    )


def regrouped_usage(sign: str) -> str:
    """The daily usage of runs whose user name or outcome changes: taken from the old row (`-`), given to the new."""
    new_name, old_outcome, new_outcome = kept_name("staged"), outcome_sql("run"), outcome_sql("staged")
    name, outcome = ("run.user_name", old_outcome) if sign == "-" else (new_name, new_outcome)
    return f"""
        SELECT charge.allocation_id, charge.day, {name}, {outcome}, {sign}SUM(charge.seconds)
        FROM staged JOIN allocations_jobrun AS run ON run.id = staged.run_id
        JOIN allocations_runcharge AS charge ON charge.run_id = run.id
        WHERE staged.fate = 'wins' AND ({new_name} <> run.user_name OR {old_outcome} <> {new_outcome})
        GROUP BY 1, 2, 3, 4
    """  # noqa: S608


def kept_name(record: str) -> str:
    """SQL for whose run it is once a record has won over the row of its run."""
    return f"COALESCE(NULLIF({record}.user_name, ''), run.user_name)"


def unmatched_runs(usage_import: UsageImport, last: int) -> int:
    """How many runs that this file speaks of hold GPU time that no allocation takes."""
    return staging.number(
        """
        SELECT COUNT(*) FROM allocations_jobrun
        WHERE unmatched_seconds > 0 AND id > %s AND first_import_id = %s
        """,
        [last, usage_import.pk],
    ) + staging.number(
        """
        SELECT COUNT(*) FROM allocations_jobrun
        WHERE unmatched_seconds > 0 AND cluster_id = %s AND id <= %s
          AND id IN (SELECT run_id FROM staged UNION ALL SELECT run_id FROM known WHERE unchanged)
        """,
        [usage_import.cluster_id, last],
    )


def fates() -> dict[str, int]:
    """How many records of the file had which fate."""
    found = dict(staging.rows("SELECT fate, COUNT(*) FROM staged GROUP BY fate"))
    found["same"] = found.get("same", 0) + staging.number("SELECT COUNT(*) FROM known WHERE unchanged")
    return found
