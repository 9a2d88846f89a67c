"""The lab's own parts, wherever there is no Slurm: what is started is ended, and full hours are where they shall be."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.slurm.collecting import Export
from tests.slurm.lab import zone_with_full_hour_at
from tests.slurm.page import told
from tests.slurm.played import read_records
from tests.slurm.programs import CannotRun, Programs

# A daemon whose child leaves the session and outlives it, as a job's step daemon does
PROGRAM = """
import sys, time
from pathlib import Path
from tests.slurm.daemons import Daemons
folder = Path(sys.argv[1])
daemons = Daemons(logs=folder)
leaving = f"setsid sh -c 'echo $$ > {folder}/left; exec sleep 300' & echo $$ > {folder}/stays; exec sleep 300"
daemons.start("stays", ["sh", "-c", leaving], env={"PATH": "/usr/bin:/bin"}, cwd=folder)
while not (folder / "left").exists() or not (folder / "left").read_text():
    time.sleep(0.05)
daemons.stop_all()
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_nothing_outlives_the_lab(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, timeout=60)
    pids = [int((tmp_path / name).read_text()) for name in ("stays", "left")]
    assert [is_alive(pid) for pid in pids] == [False, False]


@pytest.mark.parametrize("epoch", [1_795_402_162, 1_795_402_163, 1_795_403_599, 1_795_400_000, 1_795_399_200])
def test_the_instant_is_a_full_hour_of_its_zone(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone_with_full_hour_at(epoch))
    time.tzset()
    try:
        assert time.localtime(epoch)[4:6] == (0, 0)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_records_are_read_over_the_lines_of_a_name(tmp_path: Path) -> None:
    names = ("JobIDRaw", "JobID", "State", "Submit", "Start", "End", "AllocTRES", "JobName")
    rows = [
        ("7", "7", "COMPLETED", "90", "100", "160", "billing=1,gres/gpu:h800=2,gres/gpu=2", "one\ntwo|three"),
        ("7", "7", "COMPLETED", "130", "100", "160", "gres/gpu=4", "resized"),
        ("8", "8", "RUNNING", "90", "100", "Unknown", "gres/gpu=1", ""),
        ("9", "9", "PENDING", "90", "Unknown", "Unknown", "", "waits"),
    ]
    path = tmp_path / "export.txt"
    path.write_text("".join("~0a1b~".join(row) + "\n" for row in (names, *rows)))
    records = read_records(Export(path=path, as_of=200, covers_from=0))
    assert [record.fields["JobName"] for record in records] == ["one\ntwo|three", "resized", "", "waits"]
    assert [record.gpu_seconds(200) for record in records] == [120, 120, 100, 0]
    assert [record.gpu_seconds_from_start(200) for record in records] == [120, 240, 100, 0]


def test_programs_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/sacct").touch()
    programs = Programs(tmp_path)
    assert ("sacct" in programs.missing(), "slurmctld" in programs.missing()) == (False, True)
    with pytest.raises(CannotRun, match="slurmctld is not below"):
        programs.path("slurmctld")


def test_states_are_told_with_how_often() -> None:
    assert [told(["REQUEUED", "COMPLETED", "REQUEUED"]), told([])] == ["2 REQUEUED, 1 COMPLETED", "none"]
