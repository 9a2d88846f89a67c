"""`make test-slurm`: bring up a Slurm, play the history, compare the portal's books with what Slurm says.

python -m tests.slurm           brings everything down again and removes its scratch folder
python -m tests.slurm --keep    leaves the scratch folder with exports, reports and logs

The result is written to docs/test-slurm.md. Exit 1 when a test fails or the history cannot be played, 2 when this
machine cannot run a Slurm.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.slurm.collecting import Collector, NotCollected
from tests.slurm.jobs import Story, rolled_up
from tests.slurm.lab import Refused, running_lab
from tests.slurm.page import Run, write_page
from tests.slurm.played import Played
from tests.slurm.programs import CannotRun
from tests.stages import REPORTS, ROOT, Counts, counted


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the portal's books with a real Slurm.")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder: exports, reports and logs")
    keep = parser.parse_args().keep
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(143))  # so that the lab is taken down
    scratch = Path(tempfile.mkdtemp(prefix="portal-slurm.", dir="/tmp"))  # short: munge's socket lies below
    scratch.chmod(0o755)  # jobs run as their users
    try:
        return play_and_compare(scratch)
    except CannotRun as error:
        print(f"A real Slurm cannot be run here. {error}")
        return 2
    except (Refused, NotCollected) as error:
        print(f"The history could not be played: {error}")
        return 1
    except KeyboardInterrupt:
        print("Interrupted; everything is down again.")
        return 130
    finally:
        if keep:
            print(f"Kept: {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)


def play_and_compare(scratch: Path) -> int:
    began = time.monotonic()
    with running_lab(scratch / "lab") as lab:
        print(f"  {lab.run('sinfo', '--version').strip()} is up after {time.monotonic() - began:.0f} s", flush=True)
        story = Story(lab, scratch, Collector(env=lab.env, state_folder=scratch / "collector"))
        story.play()
        story.tell("letting slurmdbd roll up the hour")
        rolled_up(lab, scratch / "sreport.txt")
        played = Played(folder=scratch, exports=story.exports, env=lab.env)
        played.keep()
        counts = run_tests(scratch)
        run = Run(
            played=played,
            counts=counts,
            versions=versions(lab.run("sinfo", "--version"), lab.run("mariadb", "--version")),
            submitted=story.submitted,
            seconds=round(time.monotonic() - began),
        )
        write_page(run, ROOT / "docs" / "test-slurm.md")
    print(f"{counts.passed} passed, {counts.failed} failed, {counts.skipped} skipped; see docs/test-slurm.md")
    return 1 if counts.broken or counts.failed else 0


def versions(slurm: str, mariadb: str) -> str:
    words = mariadb.split()
    return f"Slurm {slurm.rsplit(maxsplit=1)[-1]}, MariaDB {words[words.index('Distrib') + 1].split('-')[0]}"


def run_tests(scratch: Path) -> Counts:
    """The tests marked `slurm`, on SQLite, in one process."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / "slurm.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "slurm", "tests/slurm", f"--junitxml={report}"]
    env = {**os.environ, "SLURM_PLAYED": str(scratch), "DATABASE_URL": ""}
    done = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, check=False)
    if not report.exists():
        return Counts(broken=True)
    counts = counted(report)
    return Counts(counts.passed, counts.failed, counts.skipped, broken=done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
