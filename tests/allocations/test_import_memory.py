"""How much memory an import takes, whatever comes: the command itself in a process of its own, fed by a pipe.

The peak is what the kernel counted of that process (Linux). A database server's memory is its own affair.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.db import connection

from tests.allocations import streams
from tests.allocations.books import small_centre

ROOT = Path(__file__).resolve().parents[2]
MB = 1 << 20
LIMIT = 300
"""What an import may take at most (MB), for a file of 1 GB."""
LIMIT_OF_SMALL = 200
"""The same for the small files; the command with its libraries takes some 80 of it."""
IMPORT = ("manage.py", "import_usage", "--cluster", "hgx", "--as-of", "2026-11-20T00:00:00+08:00", "-")
HOLD_ALL_ROWS = """
import sys
from zoneinfo import ZoneInfo
import django
django.setup()
from allocations.slurm.sacct import open_export
rows = list(open_export(sys.stdin.buffer, zone=ZoneInfo("Asia/Hong_Kong"), cluster="hgx"))
print(len(rows))
"""
pytestmark = pytest.mark.page  # on PostgreSQL in the long version
TELLING = """
import atexit, re, runpy, sys
from pathlib import Path

told, sys.argv = Path(sys.argv[1]), sys.argv[2:]
def tell():
    lines = Path("/proc/self/status").read_text().splitlines()
    told.write_text(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


atexit.register(tell)
if sys.argv[0] == "-c":
    exec(sys.argv[1])
else:
    sys.path.insert(0, "")
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
Shape = Callable[[int], Iterator[bytes]]


def database_url() -> str:
    """The test's own database, as a process of its own is told of it."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    server = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(server._replace(path=f"/{name}"))


def peak(command: Sequence[str], pieces: Iterator[bytes], **environment: str) -> tuple[int, str]:
    """The greatest resident memory (MB) of a Python command that is fed these pieces, and what it printed.

    The command's process tells it itself in the end: what `wait4` says begins with the memory of the process that
    started it, which in a long run of tests is more than an import's.
    """
    with tempfile.NamedTemporaryFile() as told:
        with subprocess.Popen(
            [sys.executable, "-c", TELLING, told.name, *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            feeder = threading.Thread(target=fed, args=(process.stdin, pieces))
            feeder.start()
            printed = process.stdout.read().decode()
            process.wait()
            feeder.join()
        return int(told.read()) // 1024, printed


def fed(pipe: Any, pieces: Iterator[bytes]) -> None:
    with suppress(BrokenPipeError):  # who has seen enough hangs up
        for piece in pieces:
            pipe.write(piece)
        pipe.close()


def numbers(printed: str) -> dict[str, int]:
    lines = [line.partition(": ") for line in printed.splitlines()]
    return {name: int(number) for name, _colon, number in lines if number.lstrip("-").isdigit()}


def small(shape: Shape, megabytes: int) -> Any:
    return pytest.param(shape, megabytes, LIMIT_OF_SMALL, id=f"{shape.__name__}-{megabytes}")


def large(shape: Shape) -> Any:
    return pytest.param(shape, 1_000, LIMIT, id=f"{shape.__name__}-1000", marks=pytest.mark.hard)


BAD = (streams.short_bad_lines, streams.long_bad_lines)
ONE_OR_TWO = (streams.one_line_without_end, streams.a_name_of_many_lines)


@pytest.mark.parametrize(
    ("shape", "megabytes", "limit"),
    [
        small(streams.usual, 30),
        small(streams.every_value_long_and_new, 30),
        small(streams.short_bad_lines, 15),
        small(streams.long_bad_lines, 40),
        small(streams.one_line_without_end, 100),
        small(streams.a_name_of_many_lines, 30),
        *map(large, (streams.usual, streams.every_value_long_and_new, *BAD, *ONE_OR_TWO)),
    ],
)
def test_memory_does_not_grow_with_the_file(
    committed: None, tmp_path: Path, shape: Shape, megabytes: int, limit: int
) -> None:
    small_centre(accounts=("lab", "clinic"))
    most, printed = peak(
        IMPORT, shape(megabytes * MB), DATABASE_URL=database_url(), VAR_DIR=str(tmp_path), HTTPS="false"
    )
    told = numbers(printed)
    assert told["read"] == told["accepted"] + told["quarantined"], printed
    if shape in BAD:
        assert told["accepted"] == 0
    elif shape in ONE_OR_TWO:
        assert told["read"] == 2
    else:
        assert told["quarantined"] == 0
    assert most < limit


def test_first_line_without_end_is_refused_at_once(committed: None, tmp_path: Path) -> None:
    small_centre()
    most, printed = peak(
        IMPORT, streams.no_line_at_all(200 * MB), DATABASE_URL=database_url(), VAR_DIR=str(tmp_path), HTTPS="false"
    )
    assert "The first line does not name the fields." in printed
    assert most < LIMIT_OF_SMALL


def test_reader_that_holds_all_rows_is_over_the_limit() -> None:
    """The control: the same file as above, its rows kept."""
    most, printed = peak(["-c", HOLD_ALL_ROWS], streams.usual(60 * MB), PYTHONPATH=str(ROOT))
    assert int(printed) > 100_000
    assert most > LIMIT_OF_SMALL
