"""`make test`: every check and every test, each stage with its time, its budget, and what it could not find.

python -m tests.everything              all stages, the usual length
python -m tests.everything browser      only the stages that are named
python -m tests.everything --hard       the long versions; the result is written to docs/test-hard.md

All stages run, also after one has failed. Exit 1 when a stage failed or, where CI=true, when something was not found.
The very last line is the sum over all test stages: `N passed, N failed, N skipped`.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests import chromium, hard_results
from tests.postgres_server import postgres
from tests.stages import Counts, Stage, run_pytest, run_static, summary_line, write_table

ROOT = Path(__file__).resolve().parent.parent
BUDGETS = {"static": 60, "sqlite": 300, "postgres": 270, "browser": 270}
"""Seconds, on two cores; a quarter of an hour in all."""


@dataclass
class Run:
    """One run of the whole: what it is asked for, and what it found out."""

    hard: bool
    scratch: Path
    stages: list[Stage] = field(default_factory=list)
    not_found: list[str] = field(default_factory=list)

    def environment(self, database_url: str = "") -> dict[str, str]:
        """What a stage sees of the environment: nothing of the developer's database, files or key."""
        ours = {
            "VAR_DIR": str(self.scratch),
            "SECRET_KEY": "only-for-checks-" + "y" * 50,
            "DATABASE_URL": database_url or f"sqlite:///{self.scratch / 'checks.sqlite3'}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.hard:
            ours["HYPOTHESIS_PROFILE"] = "nightly"
        return {**os.environ, **ours}

    def static(self) -> Counts:
        return run_static(self.environment())

    def sqlite(self) -> Counts:
        marks = "hard and not browser and not postgres" if self.hard else "not browser and not postgres and not hard"
        return run_pytest("sqlite", marks, self.environment())

    def postgres(self) -> Counts:
        with postgres() as url:
            if url is None:
                self.not_found.append("PostgreSQL: the stage `postgres` did not run (apt-get install postgresql)")
                return Counts(absent=True)
            marks = "(hard or page) and not browser" if self.hard else "not browser and not hard and not page"
            return run_pytest("postgres", marks, self.environment(url))

    def browser(self) -> Counts:
        executable = chromium.found_or_fetched()
        if executable is None:
            self.not_found.append("Chromium: the stage `browser` did not run (apt-get install chromium, or CHROMIUM=)")
            return Counts(absent=True)
        if not chromium.chinese_font_found_or_fetched():
            self.not_found.append("a Chinese font: Chinese pages were not tested as people see them (fonts-noto-cjk)")
        marks = "browser" if self.hard else "browser and not hard"
        counts = run_pytest("browser", marks, {**self.environment(), "CHROMIUM": str(executable)})
        with postgres() as url:
            if url is None:
                self.not_found.append(
                    "PostgreSQL: no journey of the browser was made on it (apt-get install postgresql)"
                )
                return counts
            env = {**self.environment(url), "CHROMIUM": str(executable)}
            return counts + run_pytest("browser-on-postgres", f"{marks} and postgres", env)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run every check and every test.")
    parser.add_argument("--hard", action="store_true", help="the long versions, on both databases and in the browser")
    parser.add_argument("stages", nargs="*", help=f"some of: {' '.join(BUDGETS)}")
    asked = parser.parse_args()
    unknown = set(asked.stages) - set(BUDGETS)
    if unknown:
        parser.error(f"no such stage: {', '.join(sorted(unknown))}; there are {', '.join(BUDGETS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped and folders removed
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # in order with what the stages print
    usual = [name for name in BUDGETS if not (asked.hard and name == "static")]
    scratch = Path(tempfile.mkdtemp(prefix="portal-checks."))
    try:
        run = Run(hard=asked.hard, scratch=scratch)
        for name in asked.stages or usual:
            run.stages.append(timed(name, getattr(run, name), budget=None if asked.hard else BUDGETS[name]))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return tell(run)


def timed(name: str, act: Callable[[], Counts], *, budget: int | None) -> Stage:
    """Run one stage; what breaks a stage itself is told and counts as its failure, and the next stage runs."""
    print(f"\n=== {name} " + "=" * (70 - len(name)))
    began = time.monotonic()
    try:
        counts = act()
    except (OSError, RuntimeError) as error:
        print(f"The stage {name} broke: {error}")
        counts = Counts(broken=True)
    return Stage(name=name, seconds=time.monotonic() - began, budget=budget, counts=counts)


def tell(run: Run) -> int:
    """Print the table, what was over budget or not found, and the sum; the exit code."""
    in_ci = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
    print("\n" + write_table(run.stages))
    for stage in run.stages:
        if stage.budget is not None and stage.seconds > stage.budget:
            print(f"!!! OVER BUDGET: {stage.name} took {stage.seconds:.0f} s of {stage.budget} s")
    for missing in run.not_found:
        print(f"!!! NOT FOUND: {missing}")
    if run.not_found:
        print("!!! This run proves less than it should." + (" In CI that is a failure." if in_ci else ""))
    failed = any(stage.failed for stage in run.stages) or (in_ci and bool(run.not_found))
    if run.hard:
        hard_results.keep(run.stages, not_found=run.not_found)
    print("\nFAILED" if failed else "\nOK")
    print(summary_line(run.stages))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
