"""PROMISE 11: the database stops at once or its disk is full: nothing or a complete import; the next run ends exact."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.allocations.stored_books import rows
from tests.postgres.import_killing import worker
from tests.postgres.import_server import filled_up, own_server, small_disk
from tests.postgres.test_import_killed import Trial, drawn, given_back
from tests.postgres_server import Server

FILLED = ("allocations_jobrun", "allocations_runcharge", "allocations_ledgerentry", "allocations_runobservation")
MOST_LEFT = 1_500_000
"""Bytes; an import of these tests fills about as much."""


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Server]:
    with django_db_blocker.unblock(), own_server() as server:
        yield server


def restart(server: Server, times: int, chance: random.Random) -> None:
    """Stop the server at once while a worker imports, and start it again."""
    trial = Trial(chance)
    for _ in range(times):
        queue, its = trial.queue(), worker()
        trial.wait()
        server.stop_at_once()
        server.launch()
        connection.close()
        ended, _points = its.end()
        assert ended == "ended" or ended.startswith("OperationalError")
        trial.note(queue)
        assert queue.wrong() == []
        assert queue.next_run() == []
    print(f"{times} restarts met the worker: {dict(trial.where)}")


def fill_the_disk(times: int, chance: random.Random, folder: Path) -> None:
    """Let the disk on which the tables and temporary tables lie be full, soon or late in an import."""
    trial = Trial(chance)
    met = 0
    while met < times:
        queue = trial.queue()
        with filled_up(folder, but=chance.randrange(MOST_LEFT)):
            ended, _points = worker(options="-c temp_tablespaces=small").end()
        assert ended == "ended" or "disk space" in ended
        told = given_back(queue)
        assert [error for error in told if "disk space" not in error] == []  # "Check free disk space."
        met += len(told)
        assert queue.wrong() == []
        assert queue.next_run() == []
    print(f"{met} imports met a full disk and were done by the next run")


def test_database_that_stops_at_once_leaves_nothing_or_all(server: Server) -> None:
    restart(server, 2, drawn())


@pytest.mark.hard
def test_database_that_stops_at_once_50_times_leaves_nothing_or_all(server: Server) -> None:
    restart(server, 50, drawn())


@pytest.mark.hard
def test_database_whose_disk_is_full_25_times_leaves_nothing_or_all(server: Server, tmp_path: Path) -> None:
    folder = server.folder / "small"
    with small_disk(folder, kilobytes=64_000) as mounted:
        assert mounted, "only root may mount the small disk of this test"
        if server.owner is not None:
            os.chown(folder, server.owner.pw_uid, server.owner.pw_gid)
        data = folder / "data"
        data.mkdir()
        if server.owner is not None:
            os.chown(data, server.owner.pw_uid, server.owner.pw_gid)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLESPACE small LOCATION '{data}'")
            for table in FILLED:
                cursor.execute(f"ALTER TABLE {table} SET TABLESPACE small")
        try:
            fill_the_disk(25, drawn(), folder)
        finally:
            with connection.cursor() as cursor:
                for table in FILLED:
                    cursor.execute(f"ALTER TABLE {table} SET TABLESPACE pg_default")
                cursor.execute("DROP TABLESPACE small")
            connection.close()
    assert rows("SELECT spcname FROM pg_tablespace WHERE spcname = 'small'") == []
