"""The lease: whoever lost it writes nothing, nobody does what another does, and the queue never stands still."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.conf import settings as portal
from django.db import connection
from django.db.models import F
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from allocations.importing import booking, working
from allocations.importing.receiving import receive
from allocations.models import UsageImport
from allocations.models.imports import MOST_CLAIMS
from centre.models import Cluster, Event
from tests import make
from tests.allocations.books import charged_by_account, small_centre
from tests.allocations.exports import HONG_KONG, spelled
from tests.allocations.stored_books import rows
from tests.postgres.acting import threads

pytestmark = pytest.mark.usefixtures("committed")
ROOT = Path(__file__).resolve().parent.parent.parent
NOON = datetime(2026, 3, 5, 12, tzinfo=HONG_KONG)
RAN = 8 * 7_200
PATIENCE = 60
LATER = working.LEASE + timedelta(seconds=1)
Clock = Callable[[], datetime]


def received(cluster: Cluster, *, number: int = 7) -> UsageImport:
    run = {"JobIDRaw": str(number), "JobID": str(number), "DBIndex": str(number)}
    return receive(
        stream=BytesIO(spelled(run)),
        file_name="week.txt",
        cluster=cluster,
        source=UsageImport.Source.UPLOAD,
        at=timezone.now(),
        as_of=NOON,
    )[0]


def taken_up(*, after: timedelta = timedelta(0), worker: str) -> UsageImport:
    usage_import = working.claim(at=timezone.now() + after, worker=worker)
    assert usage_import is not None
    return usage_import


def row(usage_import: UsageImport) -> tuple[object, ...]:
    """State, claims and worker, as they are stored."""
    ((*told,),) = rows("SELECT state, claims, worker FROM allocations_usageimport WHERE id = %s", usage_import.pk)
    return tuple(told)


@contextmanager
def aside() -> Iterator[Callable[[Callable[[], object]], "Future[object]"]]:
    """Something that goes on beside the test, with a connection of its own."""

    def with_own_connection(act: Callable[[], object]) -> object:
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        yield lambda act: pool.submit(with_own_connection, act)


def test_worker_that_slept_past_its_lease_finds_another_at_work_and_writes_nothing() -> None:
    received(small_centre())
    slow = taken_up(worker="slow")
    assert working.claim(at=timezone.now() + working.LEASE / 2, worker="quick") is None
    quick = taken_up(after=LATER, worker="quick")
    with pytest.raises(working.ClaimLost):
        working.work_on(slow, at=timezone.now())
    assert (row(quick), charged_by_account()) == (("running", 2, "quick"), {})
    working.work_on(quick, at=timezone.now())
    with pytest.raises(working.ClaimLost):
        working.work_on(slow, at=timezone.now())
    assert (row(quick), charged_by_account()) == (("done", 2, "quick"), {"lab": RAN})
    assert Event.objects.filter(act="import_usage").count() == 1


@pytest.mark.parametrize("moment", range(1, 7))
def test_import_is_done_once_whenever_its_worker_falls_asleep(moment: int) -> None:
    """The clock is asked at every step of an import; at one of them the worker sleeps until its lease has run out."""
    received(small_centre())
    slow = taken_up(worker="slow")
    asked = 0

    def others_come() -> object:
        return working.work_through(clock=lambda: timezone.now() + LATER, worker="quick")

    with aside() as beside:

        def clock() -> datetime:
            nonlocal asked
            asked += 1
            if asked == moment:
                beside(others_come).result(PATIENCE)
            return timezone.now()

        try:
            booking.book(slow, clock=clock)
            ended = "slow"
        except working.ClaimLost:
            ended = "quick"
    assert row(slow) == ("done", 1 if ended == "slow" else 2, ended)
    assert charged_by_account() == {"lab": RAN}
    assert Event.objects.filter(act="import_usage").count() == 1


def test_workers_at_the_same_moment_take_up_different_imports() -> None:
    cluster = small_centre()
    waiting = {str(received(cluster, number=number).pk) for number in range(1, 6)}

    def take_up(name: str) -> str:
        usage_import = working.claim(at=timezone.now(), worker=name)
        return "" if usage_import is None else str(usage_import.pk)

    with threads(8) as at_once:
        got = at_once([partial(take_up, f"worker {number}") for number in range(8)])
    taken = [pk for pk in got if pk]
    # one that looks while the others hold their rows goes away: what is left is taken by the next look
    while usage_import := working.claim(at=timezone.now(), worker="late"):
        taken.append(str(usage_import.pk))
    assert sorted(taken) == sorted(waiting)


def test_import_that_kills_its_worker_each_time_fails_and_the_next_is_taken_up() -> None:
    cluster = small_centre()
    killer, good = received(cluster, number=1), received(cluster, number=2)
    for _ in range(MOST_CLAIMS):
        assert taken_up(worker="dies") == killer
        UsageImport.objects.filter(pk=killer.pk).update(lease_until=timezone.now())
    assert taken_up(worker="next") == good
    killer.refresh_from_db()
    assert (killer.state, killer.error) == ("failed", "It was begun 8 times and never came to an end.")
    assert Event.objects.get(act="fail_import").reason == killer.error
    assert working.try_again(usage_import=killer, by=make.person(), at=timezone.now()) is True
    assert taken_up(worker="next") == killer
    assert row(killer) == ("running", 1, "next")


@pytest.mark.parametrize("harm", ["unreadable", "cut off"])
def test_worker_that_fails_late_undoes_nothing_of_the_one_that_has_the_import_now(harm: str) -> None:
    """The kept file is a pipe for a while, so that the slow worker stands in the middle of its work."""
    usage_import = received(small_centre())
    path = Path(portal.USAGE_FILES_DIR) / usage_import.stored_as
    whole = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    slow = taken_up(worker="slow")
    with aside() as beside:
        its = beside(partial(working.work_on, slow, at=timezone.now()))
        pipe = writing_end(path)
        quick = taken_up(after=LATER, worker="quick")
        if harm == "cut off":
            rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        with os.fdopen(pipe, "wb") as end:
            end.write(whole if harm == "cut off" else b"rubbish")
        failed = its.exception(PATIENCE)
    assert type(failed).__name__ == {"unreadable": "UnreadableExport", "cut off": "OperationalError"}[harm]
    assert (row(quick), charged_by_account()) == (("running", 2, "quick"), {})
    path.unlink()
    path.write_bytes(whole)
    working.work_on(quick, at=timezone.now())
    assert (row(quick), charged_by_account()) == (("done", 2, "quick"), {"lab": RAN})


def test_work_goes_on_after_an_import_that_cannot_be_done() -> None:
    cluster = small_centre()
    damaged, gone, good = (received(cluster, number=number) for number in (1, 2, 3))
    folder = Path(portal.USAGE_FILES_DIR)
    (folder / damaged.stored_as).write_bytes(b"rubbish")
    (folder / gone.stored_as).unlink()
    assert working.work_through(clock=timezone.now, worker="w") == [damaged, gone, good]
    assert [row(each)[0] for each in (damaged, gone, good)] == ["failed", "received", "done"]
    assert charged_by_account() == {"lab": RAN}
    assert working.work_through(clock=timezone.now, worker="w") == []
    assert working.work_through(clock=lambda: timezone.now() + timedelta(minutes=2), worker="w") == [gone]


def wait_until(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def writing_end(pipe: Path) -> int:
    """The pipe, open for writing, as soon as somebody wants to read it."""
    ends: list[int] = []

    def is_read() -> bool:
        with suppress(OSError):  # there is no reader yet
            ends.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return bool(ends)

    wait_until(is_read)
    return ends[0]


def db_worker(*options: str) -> "subprocess.Popen[bytes]":
    """The worker of the portal as it is started in earnest, on this test's database."""
    where = connection.get_connection_params()
    asked = urlencode({name: where[name] for name in ("host", "port", "user", "password") if where.get(name)})
    command = [sys.executable, "manage.py", "db_worker", "--no-startup-delay", "--interval", "0.1", *options]
    ours = {"DATABASE_URL": f"postgres:///{where['dbname']}?{asked}", "USAGE_FILES_DIR": str(portal.USAGE_FILES_DIR)}
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **ours}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def test_import_of_a_killed_worker_is_taken_up_by_a_new_one_after_the_lease() -> None:
    usage_import = received(small_centre())
    path = Path(portal.USAGE_FILES_DIR) / usage_import.stored_as
    whole = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    first = db_worker()
    try:
        wait_until(lambda: rows("SELECT state, phase FROM allocations_usageimport") == [("running", "reading")])
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE)
    path.unlink()
    path.write_bytes(whole)
    assert db_worker("--batch").wait(PATIENCE) == 0
    assert (row(usage_import)[:2], charged_by_account()) == (("running", 1), {})  # the lease stands

    UsageImport.objects.update(lease_until=F("received_at"))  # as if its time had passed
    DBTaskResult.objects.update(run_after=F("enqueued_at"))
    assert db_worker("--batch").wait(PATIENCE) == 0
    assert (row(usage_import)[:2], charged_by_account()) == (("done", 2), {"lab": RAN})
