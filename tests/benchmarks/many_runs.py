"""The large tables of `many_projects`, filled by SQL: runs, their charges, ledger entries and the daily sums.

Entry j of an allocation's e is of import j * imports / e, and holds its share of the allocation's runs. Rows stand in
the tables in the order in which they would have come, so one allocation's lie far apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from allocations.models import Allocation
from allocations.models.usage import outcome_sql
from allocations.staging import execute, number
from centre.models import User

DAYS: Final = 250
RUN_SECONDS: Final = 540
POOLS: Final = ("h800", "h20", "l40s", "a100")
PEOPLE_OF_A_PROJECT: Final = 4
UNFINISHED_ELSEWHERE: Final = 400


@dataclass(frozen=True)
class Amounts:
    """What there is in total, and what each allocation of the first projects has of it; grants are entries, too."""

    entries: int = 1_000_000
    runs: int = 5_000_000
    same_projects: int = 25
    same_entries: int = 500
    same_runs: int = 2_500
    imports_a_day: int = 40

    @property
    def imports(self) -> int:
        return DAYS * self.imports_a_day

    def of_the_rest(self, allocations: int) -> tuple[list[int], list[int]]:
        """Entries and runs of each allocation that is not of the first projects; ValueError where they do not fit."""
        same = self.same_projects * len(POOLS)
        rest = allocations - same
        entries = spread(self.entries - same * self.same_entries, rest)
        runs = spread(self.runs - same * self.same_runs, rest)
        if min(entries) < 2 or max(entries) > self.imports + 1 or min(runs) < max(entries) - 1:
            raise ValueError(f"{self} cannot be spread over {allocations} allocations.")
        return entries, runs


def spread(total: int, parts: int) -> list[int]:
    """A whole number in parts that are as equal as can be."""
    return [total * (n + 1) // parts - total * n // parts for n in range(parts)]


def usage_of(opened: Sequence[Allocation], amounts: Amounts, *, asking: User, approving: User) -> None:
    """Runs, their charges, the entries on which those hang, the daily sums, and the totals that follow from them."""
    entries, runs_of_each = amounts.of_the_rest(len(opened))
    same = amounts.same_projects * len(POOLS)
    entries = [amounts.same_entries] * same + entries
    runs_of_each = [amounts.same_runs] * same + runs_of_each
    unfinished = [1] * same + spread(UNFINISHED_ELSEWHERE, len(opened) - same)
    execute("SET work_mem = '512MB'")
    execute(
        "CREATE TEMP TABLE seeded_allocation (id bigint, place int, charges bigint, runs bigint, unfinished bigint)"
    )
    execute(
        "INSERT INTO seeded_allocation SELECT * FROM unnest(%s::bigint[], %s::int[], %s::bigint[], %s::bigint[], "
        "%s::bigint[])",
        [
            *([allocation.pk for allocation in opened], list(range(len(opened)))),
            *([count - 1 for count in entries], runs_of_each, unfinished),
        ],
    )
    execute(
        """
        INSERT INTO allocations_ledgerentry
            (allocation_id, kind, total, seconds, effective_on, recorded_at, asked_by_id, approved_by_id, reason, key,
             source_kind, source_reference)
        SELECT allocation.id, 'grant', 'granted', granted_seconds, start_on, created_at, %s, %s, 'for a year',
               'grant:' || id, 'test', '' FROM allocations_allocation AS allocation ORDER BY id
        """,
        [asking.pk, approving.pk],
    )
    charges_of(amounts)
    for table in ("allocation", "import", "entry", "run"):
        execute(f"DROP TABLE seeded_{table}")
    execute("RESET work_mem")
    for table in ("ledgerentry", "jobrun"):  # their numbers were given
        execute(f"SELECT setval(pg_get_serial_sequence('allocations_{table}', 'id'), MAX(id)) FROM allocations_{table}")


def charges_of(amounts: Amounts) -> None:
    """Everything that follows from runs."""
    execute(
        """
        CREATE TEMP TABLE seeded_import AS
        SELECT row_number() OVER (ORDER BY as_of) - 1 AS place, id, as_of AS at,
               (as_of AT TIME ZONE 'Asia/Hong_Kong')::date AS day FROM allocations_usageimport
        """
    )
    execute("ANALYZE seeded_import")
    execute("ANALYZE seeded_allocation")
    last = number("SELECT MAX(id) FROM allocations_ledgerentry")
    execute(
        """
        CREATE TEMP TABLE seeded_entry AS
        SELECT row_number() OVER (ORDER BY import.place, allocation.place) + %s AS id, allocation.id AS allocation, j,
               import.id AS import, import.at, import.day,
               (j + 1) * runs / charges - j * runs / charges AS runs
        FROM seeded_allocation AS allocation
        CROSS JOIN LATERAL generate_series(0, charges - 1) AS j
        JOIN seeded_import AS import ON import.place = j * %s / charges
        """,
        [last, amounts.imports],
    )
    execute(
        """
        INSERT INTO allocations_ledgerentry
            (id, allocation_id, kind, total, seconds, effective_on, recorded_at, reason, key, source_kind,
             source_reference)
        SELECT id, allocation, 'charge', 'used', -%s * runs, day, at, '', 'usage:' || import || ':' || allocation,
               'usage', 'import-' || import FROM seeded_entry ORDER BY id
        """,
        [RUN_SECONDS],
    )
    execute("ANALYZE seeded_entry")
    runs_of_entries()
    execute(
        """
        UPDATE allocations_usageimport AS import SET charged_gpu_seconds = charged.sum, accepted = charged.runs,
               read = charged.runs
        FROM (SELECT import, SUM(runs) * %s AS sum, SUM(runs) AS runs FROM seeded_entry GROUP BY import) AS charged
        WHERE charged.import = import.id
        """,
        [RUN_SECONDS],
    )
    execute(
        """
        UPDATE allocations_allocation AS allocation SET used_seconds = seeded.runs * %s
        FROM seeded_allocation AS seeded WHERE seeded.id = allocation.id
        """,
        [RUN_SECONDS],
    )


def runs_of_entries() -> None:
    """Each run began and ended within twenty minutes before its import; the last ones of an allocation still run."""
    execute(
        f"""
        CREATE TEMP TABLE seeded_run AS
        SELECT row_number() OVER (ORDER BY entry.id, i) AS id, entry.id AS entry, entry.allocation, entry.import,
               entry.at, entry.day, i < seeded.runs - seeded.unfinished AS finished, seeded.place,
               entry.at - interval '{RUN_SECONDS} seconds' - interval '1 second' *
                   CASE WHEN i < seeded.runs - seeded.unfinished THEN mod(i, 600) ELSE 0 END AS start_at,
               'user-' || seeded.place / {len(POOLS)} || '-' || mod(i * 7, {PEOPLE_OF_A_PROJECT}) AS user_name,
               CASE WHEN i >= seeded.runs - seeded.unfinished THEN 'RUNNING' WHEN mod(i, 10) < 7 THEN 'COMPLETED'
                    WHEN mod(i, 10) = 7 THEN 'FAILED' WHEN mod(i, 10) = 8 THEN 'CANCELLED by 1000'
                    ELSE 'TIMEOUT' END AS state
        FROM seeded_allocation AS seeded JOIN seeded_entry AS entry ON entry.allocation = seeded.id
        CROSS JOIN LATERAL generate_series(j * seeded.runs / charges, (j + 1) * seeded.runs / charges - 1) AS i
        """
    )
    execute("ANALYZE seeded_run")
    execute(
        f"""
        INSERT INTO allocations_jobrun
            (id, cluster_id, unmatched_seconds, first_import_id, usage_import_id, db_index, job_id_raw, job_id,
             submit_at, state, exit_code, account, user_name, partition, qos, eligible_at, start_at, end_at,
             time_limit_minutes, gpus, alloc_tres, node_list, job_name, finished, as_of, digest)
        SELECT run.id, pool.cluster_id, 0, import, import, run.id::text, run.id, run.id::text, start_at, run.state,
               '0:0', allocation.account, user_name, 'batch', 'normal', start_at, start_at,
               CASE WHEN finished THEN start_at + interval '{RUN_SECONDS} seconds' END, 1440, 1,
               'billing=12,cpu=12,gres/gpu:' || pool.code || '=1,gres/gpu=1,mem=240G,node=1', 'hgx001',
               'eval-' || mod(run.id, 100), finished, at, md5(run.id::text)
        FROM seeded_run AS run JOIN allocations_allocation AS allocation ON allocation.id = run.allocation
        JOIN centre_gpupool AS pool ON pool.id = allocation.pool_id ORDER BY run.id
        """
    )
    execute(
        f"""
        INSERT INTO allocations_runcharge (run_id, allocation_id, day, seconds, entry_id, recorded_at)
        SELECT id, allocation, day, {RUN_SECONDS}, entry, at FROM seeded_run ORDER BY id
        """
    )
    execute(
        f"""
        INSERT INTO allocations_dailyusage (allocation_id, day, user_name, outcome, seconds)
        SELECT allocation, day, user_name, {outcome_sql("run")}, COUNT(*) * {RUN_SECONDS}
        FROM seeded_run AS run GROUP BY 1, 2, 3, 4 ORDER BY day
        """
    )
