"""A worker as a process of its own that dies at a chosen point of its talk with the database, or by the clock."""

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any
from unittest.mock import patch

import django
from django.apps import apps

if not apps.ready:
    django.setup()

from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.utils import timezone

from allocations.importing import working
from allocations.importing.receiving import receive
from allocations.models import UsageImport
from centre.models import Cluster
from tests.postgres.import_processes import Where, here

PATIENCE = 60
KILLED = -signal.SIGKILL
NAMED = "import_worker"
"""What a worker's connections are called at the server, to tell them from those of the test itself."""


@dataclass
class Points:
    """Counts the moments before and after each statement, commit, rename and fsync; dies at one of them."""

    die_at: int
    passed: int = 0

    def pass_one(self) -> None:
        self.passed += 1
        if self.passed == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, execute: Callable[..., Any], *parameters: Any) -> Any:
        return self.around(execute)(*parameters)

    def around(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """An act with a moment before it and one after it."""

        def between_points(*parameters: Any) -> Any:
            self.pass_one()
            result = act(*parameters)
            self.pass_one()
            return result

        return between_points

    @contextmanager
    def counted(self) -> Iterator[None]:
        wrapper = connections["default"]
        with (
            connection.execute_wrapper(self),
            patch.object(wrapper, "_commit", self.around(wrapper._commit)),  # type: ignore[attr-defined]
            patch.object(os, "fsync", self.around(os.fsync)),
            patch.object(os, "rename", self.around(os.rename)),
        ):
            yield


@dataclass(frozen=True)
class Send:
    """A file to hand over, in place of working the queue; onto which disk, and how large a file may become there."""

    cluster: int
    text: bytes
    folder: str = ""
    most_bytes: int = 0

    def receive(self) -> None:
        if self.folder:
            settings.USAGE_FILES_DIR = self.folder
        if self.most_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.most_bytes, self.most_bytes))
        receive(
            stream=BytesIO(self.text),
            file_name="sent.txt",
            cluster=Cluster.objects.get(pk=self.cluster),
            source=UsageImport.Source.COLLECTOR,
            at=timezone.now(),
        )


def work(channel: Connection, where: Where, die_at: int, send: Send | None) -> None:
    """What the process does: work the queue through, or hand a file over; then tell how that ended, and its points."""
    where.go()
    connection.ensure_connection()
    points = Points(die_at)
    channel.send("begins")
    ended = "ended"
    with points.counted():
        try:
            if send is None:
                working.work_through(clock=timezone.now, worker=working.this_worker())
            else:
                send.receive()
        except (DatabaseError, OSError) as error:
            ended = f"{type(error).__name__}: {error}"
    channel.send((ended, points.passed))


@dataclass
class Worker:
    """A started process: `kill` ends it, `end` waits for it to end by itself."""

    process: BaseProcess
    channel: Connection
    began: float = field(default_factory=time.monotonic)

    def kill(self) -> bool:
        """`kill -9`; whether it was still at work."""
        if self.process.is_alive():
            os.kill(self.process.pid or 0, signal.SIGKILL)
        return self.was_killed()

    def was_killed(self) -> bool:
        self.process.join(PATIENCE)
        assert self.process.exitcode in {0, KILLED}, self.process.exitcode
        return self.process.exitcode == KILLED

    def end(self) -> tuple[str, int]:
        """How it ended, and how many points it passed."""
        assert self.channel.poll(PATIENCE), "the worker hangs"
        told: tuple[str, int] = self.channel.recv()
        self.process.join(PATIENCE)
        return told


def worker(*, die_at: int = 0, options: str = "", send: Send | None = None) -> Worker:
    """Start a process that works the queue (or hands a file over); returns when it has a connection and begins.

    `die_at` is the point at which it kills itself, `options` are PostgreSQL's for its connections.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.postgres.taking", "tests.postgres.import_killing"])
    is_postgres = connection.vendor == "postgresql"
    where = here(options=f"-c application_name={NAMED} {options}") if is_postgres else here()
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, where, die_at, send), daemon=True)
    process.start()
    theirs.close()
    assert ours.recv() == "begins"
    return Worker(process, ours)
