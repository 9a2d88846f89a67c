"""Importers as processes of their own: each claims from the queue as a worker does, or imports what it is handed.

A new process imports this module first of all, which is why it sets Django up.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any
from unittest.mock import patch

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from allocations import merging, staging
from allocations.importing import working
from allocations.importing.receiving import receive
from allocations.ledger import open_allocation
from allocations.models import UsageImport
from allocations.usage import import_usage
from allocations.waiting import charge_waiting_runs
from centre import machines
from centre.models import Cluster, GpuPool, PoolMapping, Project

PATIENCE = 120


@dataclass(frozen=True)
class Hand:
    """Hand a file over: to the queue, or import it at once."""

    cluster: int
    text: bytes
    as_of: datetime
    at_once: bool

    def act(self) -> None:
        told: dict[str, Any] = {
            "stream": BytesIO(self.text),
            "file_name": "life.txt",
            "cluster": Cluster.objects.get(pk=self.cluster),
            "at": timezone.now(),
            "as_of": self.as_of,
        }
        if self.at_once:
            import_usage(**told)
        else:
            receive(**told, source=UsageImport.Source.UPLOAD)


@dataclass(frozen=True)
class Open:
    """Open an allocation, as an officer does between imports."""

    project: int
    pool: int
    account: str
    first: date
    last: date

    def act(self) -> None:
        open_allocation(
            project=Project.objects.get(pk=self.project),
            pool=GpuPool.objects.get(pk=self.pool),
            reference=f"{self.account}/{self.pool}/{self.first}",
            account=self.account,
            funding="internal",
            start_on=self.first,
            end_on=self.last,
            seconds=3_600,
            by=None,
            approved_by=None,
            at=timezone.now(),
            reason="between imports",
            source_kind="onboard",
        )


@dataclass(frozen=True)
class Map:
    """Tell which pool a partition's GPUs belong to; what waited for it is charged."""

    pool: int
    partition: str
    first: date

    @transaction.atomic
    def act(self) -> None:
        pool, at = GpuPool.objects.get(pk=self.pool), timezone.now()
        machines.map_pool(
            pool=pool, kind=PoolMapping.Kind.PARTITION, name=self.partition, from_on=self.first, by=None, at=at
        )
        charge_waiting_runs(clusters=[pool.cluster], at=at)


@dataclass(frozen=True)
class WorkThrough:
    """Work the queue as `manage.py db_worker` does when it is nudged."""

    def act(self) -> None:
        working.work_through(clock=timezone.now, worker=working.this_worker())


Act = Hand | Open | Map | WorkThrough


# The controls: importers that are wrong in one way. They live here, the product has no switch for them.


def without_lock() -> AbstractContextManager[object]:
    """Imports of a cluster do not wait for each other."""
    return patch.object(staging, "lock_cluster", lambda cluster_id: None)


def last_come_wins() -> AbstractContextManager[object]:
    """What is imported last is believed, as an importer does that updates the rows it knows."""
    judge = merging.judge

    def judge_by_order(as_of: int) -> None:
        judge(as_of)
        staging.execute(
            "UPDATE staged SET fate = 'wins' WHERE fate = 'loses' AND run_id IS NOT NULL AND NOT EXISTS "
            "(SELECT 1 FROM staged AS other WHERE other.grp = staged.grp AND other.line <> staged.line)"
        )

    return patch.object(merging, "judge", judge_by_order)


def adding_up() -> AbstractContextManager[object]:
    """Each export's seconds are added to what was charged, as an importer does that takes windows for disjoint."""
    execute = staging.execute

    def without_what_was_charged(sql: str, parameters: Sequence[Any] = ()) -> int:
        return execute(sql.replace("-charge.seconds", "0"), parameters)

    return patch.object(staging, "execute", without_what_was_charged)


def believing_what_runs() -> AbstractContextManager[object]:
    """The later export always wins, also where it says that a run which is over goes on."""
    execute = staging.execute

    def later_first(sql: str, parameters: Sequence[Any] = ()) -> int:
        sql = sql.replace("(staged.finished, %s,", "(true, %s,").replace("> (run.finished,", "> (true,")
        return execute(sql, parameters)

    return patch.object(staging, "execute", later_first)


VARIANTS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "": nullcontext,
    "without lock": without_lock,
    "last come wins": last_come_wins,
    "adding up": adding_up,
    "believing what runs": believing_what_runs,
}


def take_part(channel: Connection, start: Barrier, where: "Where", variant: str) -> None:
    """What a process does: with every list of acts that it is sent, begin with the others and tell what went wrong."""
    where.go()
    with VARIANTS[variant]():
        while (acts := channel.recv()) is not None:
            connection.ensure_connection()
            start.wait()
            channel.send([problem for act in acts if (problem := problem_of(act))])
    connection.close()


def problem_of(act: Act) -> str:
    try:
        act.act()
    except Exception as error:  # noqa: BLE001  the process tells it to the one that judges
        return f"{type(act).__name__}: {type(error).__name__}: {error}"
    return ""


@dataclass(frozen=True)
class Where:
    """Where this process's connection leads and its files lie, for one that is started."""

    database: dict[str, Any]
    files: str

    def go(self) -> None:
        connection.settings_dict.update(self.database)
        settings.USAGE_FILES_DIR = self.files


def here(**options: str) -> Where:
    """The place of this process; `options` of the connection may be others."""
    names = ("NAME", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")
    database = {name: connection.settings_dict[name] for name in names}
    return Where({**database, "OPTIONS": {**database["OPTIONS"], **options}}, str(settings.USAGE_FILES_DIR))


@contextmanager
def importers(size: int, *, variant: str = "") -> Iterator[Callable[[Sequence[Sequence[Act]]], list[str]]]:
    """Processes that, given a list of acts each, begin them at the same moment; what went wrong is returned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.postgres.taking", "tests.postgres.import_processes"])
    start = context.Barrier(size, timeout=PATIENCE)
    channels, processes = [], []
    for _ in range(size):
        ours, theirs = context.Pipe()
        process = context.Process(target=take_part, args=(theirs, start, here(), variant), daemon=True)
        process.start()
        theirs.close()  # a process that breaks is then seen as the end of its channel
        channels.append(ours)
        processes.append(process)

    def act_at_once(acts: Sequence[Sequence[Act]]) -> list[str]:
        for channel, its in zip(channels, acts, strict=True):
            channel.send(its)
        return [problem for channel in channels for problem in channel.recv()]

    yield act_at_once
    for channel in channels:
        channel.send(None)
    for process in processes:
        process.join(PATIENCE)
