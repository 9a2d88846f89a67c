"""A believable year of job runs: as the text of an export, fast; and as rows that were imported long ago, by SQL.

Most runs are small and short, a few take most of the GPUs; one in a hundred was queued again under its number.
"""

import random
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from allocations.models import Allocation, UsageImport
from allocations.staging import execute
from centre.models import Cluster
from tests import make
from tests.allocations.books import opened

ACCOUNTS: Final = 120
USERS_OF_AN_ACCOUNT: Final = 5
DELIMITER: Final = "~k3v9q2xw7r5t1z8m~"
BEGIN: Final = datetime(2025, 1, 1, tzinfo=UTC)
DAYS: Final = 365
STORED_FROM: Final = date(2022, 1, 1)
STORED_DAYS: Final = 1_000
FIELDS: Final = (
    *("JobIDRaw", "JobID", "DBIndex", "Cluster", "Account", "User", "Partition", "QOS", "State", "ExitCode"),
    *("Submit", "Eligible", "Start", "End", "ElapsedRaw", "TimelimitRaw", "AllocTRES", "NodeList", "JobName"),
)
GPUS: Final = (*(1,) * 55, *(2,) * 10, *(4,) * 8, *(8,) * 16, *(0,) * 8, 16, 32, 64)
MOST_UNFINISHED: Final = 20
STATES: Final = (*("COMPLETED",) * 66, *("FAILED",) * 13, *("CANCELLED by 1000",) * 12, *("TIMEOUT",) * 9)


def centre() -> Cluster:
    """A cluster with one pool, and an allocation for each account that covers every day of all runs."""
    cluster = make.cluster("hgx")
    pool = make.pool(cluster=cluster, tres="gres/gpu:h800", partitions=("batch",), from_on=date(2020, 1, 1))
    for n in range(ACCOUNTS):
        opened(account=f"account-{n}", pool=pool, hours=10_000_000)
    return cluster


class Written(NamedTuple):
    """An export, and what an import of it has to find."""

    path: Path
    runs: int
    exported_at: datetime
    gpu_seconds: int


def write_export(path: Path, runs: int) -> Written:
    """An export of so many runs of one year, the last of which are running or waiting."""
    chance = random.Random(1)
    begin, span = int(BEGIN.timestamp()), DAYS * 86_400
    number, account, user = 20_000_000, 0, 0
    again = 0  # when the run before was queued again: the second from which it waits
    latest = gpu_seconds = 0
    running: list[tuple[int, int]] = []  # GPUs, and since when
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(DELIMITER.join(FIELDS) + "\n")
        for n in range(runs):
            submit = again or begin + n * span // runs
            if not again:
                number += 1
                account, user = int(ACCOUNTS * chance.random() ** 2), chance.randrange(USERS_OF_AN_ACCOUNT)
            start = submit + int(chance.expovariate(1 / 300))
            end = start + int(chance.lognormvariate(5.8, 1.7)) + 1
            gpus, state, node = chance.choice(GPUS), chance.choice(STATES), chance.randrange(1, 250)
            began, ended, again = str(start), str(end), 0
            if runs - n <= MOST_UNFINISHED:
                if n % 2:
                    began, ended, state = "Unknown", "Unknown", "PENDING"
                else:
                    ended, state = "Unknown", "RUNNING"
                    running.append((gpus, start))
                end = start
            elif chance.random() < 0.01:
                again, state = end, "REQUEUED"
            latest, gpu_seconds = max(latest, end), gpu_seconds + gpus * (end - start)
            row = (
                *(str(number), str(number), str(50_000_000 + n), "hgx", f"account-{account}"),
                *(f"user-{account}-{user}", "batch", "normal", state, "0:0"),
                *(str(submit), str(submit), began, ended, str(end - start), "1440"),
                "" if state == "PENDING" else allocated(gpus),
                *(f"hgx{node:03d}", f"eval-{node % 100}"),
            )
            file.write(DELIMITER.join(row) + "\n")
    gpu_seconds += sum(gpus * (latest - since) for gpus, since in running)
    return Written(path, runs, datetime.fromtimestamp(latest, UTC), gpu_seconds)


@cache
def allocated(gpus: int) -> str:
    """AllocTRES as Slurm sorts it."""
    ours = f"gres/gpu:h800={gpus},gres/gpu={gpus}," if gpus else ""
    return f"billing={gpus * 12},cpu={gpus * 12 or 8},{ours}mem={gpus * 240 or 64}G,node={-(-gpus // 8) or 1}"


def store(cluster: Cluster, runs: int) -> None:
    """So many finished runs of earlier years with their charges, entries and daily sums, by set-based SQL."""
    first = Allocation.objects.order_by("pk").values_list("pk", flat=True)[0]
    received = BEGIN - timedelta(days=1)
    earlier = UsageImport.objects.create(
        cluster=cluster,
        state=UsageImport.State.DONE,
        file_name="earlier.txt",
        time_zone=str(cluster.zone),
        as_of=received,
        received_at=received,
    )
    execute(
        """
        INSERT INTO allocations_ledgerentry
            (allocation_id, kind, total, seconds, effective_on, recorded_at, reason, key, source_kind, source_reference)
        SELECT %s + account, 'charge', 'used', -1000, %s::date + day, %s, '',
               'stored:' || account || ':' || day, 'stored', 'stored'
        FROM generate_series(0, %s) AS day, generate_series(0, %s) AS account
        """,
        [first, STORED_FROM, received, STORED_DAYS - 1, ACCOUNTS - 1],
    )
    execute(
        """
        INSERT INTO allocations_dailyusage (allocation_id, day, user_name, outcome, seconds)
        SELECT allocation_id, effective_on, 'user-' || allocation_id || '-' || one, 'completed', 200
        FROM allocations_ledgerentry, generate_series(0, %s) AS one WHERE source_kind = 'stored'
        """,
        [USERS_OF_AN_ACCOUNT - 1],
    )
    execute(
        """
        INSERT INTO allocations_jobrun
            (cluster_id, unmatched_seconds, first_import_id, usage_import_id, db_index, job_id_raw, job_id, submit_at,
             state, exit_code, account, user_name, partition, qos, eligible_at, start_at, end_at, time_limit_minutes,
             gpus, alloc_tres, node_list, job_name, finished, as_of, digest)
        SELECT %s, 0, %s, %s, n::text, n, n::text, submit, 'COMPLETED', '0:0', 'account-' || account,
               'user-' || account || '-' || n %% 5, 'batch', 'normal', submit, submit + interval '1 minute',
               submit + interval '10 minutes', 1440, 1, 'billing=12,cpu=12,gres/gpu:h800=1,gres/gpu=1,mem=240G,node=1',
               'hgx001', 'eval-' || n %% 100, true, %s, md5(n::text)
        FROM (SELECT n, n * 7919 %% %s AS account,
                     %s::timestamptz + n * (interval '1 day' * %s / %s) AS submit
              FROM generate_series(1, %s::bigint) AS n) AS runs
        """,
        [
            *(cluster.pk, earlier.pk, earlier.pk, received, ACCOUNTS),
            *(datetime(2022, 1, 1, tzinfo=UTC), STORED_DAYS - 2, runs, runs),
        ],
    )
    execute("ANALYZE allocations_jobrun")  # else the join below may be planned for no rows
    execute("ANALYZE allocations_ledgerentry")
    execute(
        """
        INSERT INTO allocations_runcharge (run_id, allocation_id, day, seconds, entry_id, recorded_at)
        SELECT run.id, entry.allocation_id, entry.effective_on, 540, entry.id, %s
        FROM allocations_jobrun AS run JOIN allocations_ledgerentry AS entry
          ON entry.source_kind = 'stored' AND entry.effective_on = (run.start_at AT TIME ZONE 'Asia/Hong_Kong')::date
         AND entry.allocation_id = %s + substr(run.account, 9)::int
        """,
        [received, first],
    )
