"""`deploy/serve.py`, which `make run` runs: a server, and beside it a worker that is kept alive."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from allocations.importing.receiving import receive
from allocations.models import UsageImport
from tests.allocations.books import charged_by_account, small_centre
from tests.allocations.exports import spelled
from tests.databases import address

SERVE = Path(__file__).resolve().parent.parent / "deploy" / "serve.py"
PATIENCE = 60
"""Seconds."""


def wait_until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.1)


def children(pid: int) -> dict[int, str]:
    """The processes that a process has started, each with its command."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.fixture
def serving(committed: None, tmp_path: Path, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    settings.USAGE_FILES_DIR = tmp_path / "usage"
    server = [sys.executable, "-c", "import time; time.sleep(600)"]
    running = subprocess.Popen(
        [sys.executable, SERVE, *server],
        env={**os.environ, "DATABASE_URL": address(), "USAGE_FILES_DIR": str(tmp_path / "usage")},
        stderr=subprocess.PIPE,
    )
    yield running
    if running.poll() is None:
        for pid in (*children(running.pid), running.pid):
            os.kill(pid, signal.SIGKILL)
        running.wait()


def test_worker_works_beside_the_server_is_started_again_and_ends_with_it(serving: subprocess.Popen[bytes]) -> None:
    cluster = small_centre()

    def imported(number: int) -> None:
        data = spelled({"JobIDRaw": str(number), "DBIndex": str(number)})
        receive(
            stream=BytesIO(data),
            file_name="-",
            cluster=cluster,
            source=UsageImport.Source.UPLOAD,
            at=timezone.now(),
        )
        wait_until(lambda: UsageImport.objects.filter(state=UsageImport.State.DONE).count() == number)

    def workers() -> list[int]:
        return [pid for pid, command in children(serving.pid).items() if "db_worker" in command]

    imported(1)
    [first] = workers()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: workers() not in ([], [first]))
    imported(2)
    assert charged_by_account() == {"lab": 2 * 8 * 7200}
    [second] = workers()

    serving.send_signal(signal.SIGINT)
    _out, told = serving.communicate(timeout=PATIENCE)

    assert (serving.returncode, b"The background worker ended (exit -9); it is started again." in told) == (0, True)
    assert not Path(f"/proc/{second}").exists()
