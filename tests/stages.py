"""How one stage of `make test` is run and counted."""

import os
import secrets
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / ".cache" / "reports"
BIN = Path(sys.executable).parent
PROCESSES = str(min(4, os.cpu_count() or 1))


@dataclass(frozen=True)
class Counts:
    """Tests of one stage. `broken`: it failed besides, or without, a failed test. `absent`: it could not run."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: bool = False
    absent: bool = False

    def __add__(self, other: "Counts") -> "Counts":
        """Of two runs that make up one stage."""
        return Counts(
            passed=self.passed + other.passed,
            failed=self.failed + other.failed,
            skipped=self.skipped + other.skipped,
            broken=self.broken or other.broken,
            absent=self.absent or other.absent,
        )


@dataclass(frozen=True)
class Stage:
    name: str
    seconds: float
    budget: int | None
    counts: Counts

    @property
    def failed(self) -> bool:
        return self.counts.broken or self.counts.failed > 0

    @property
    def result(self) -> str:
        return "NOT RUN" if self.counts.absent else "FAILED" if self.failed else "ok"


def run_pytest(name: str, marks: str, env: Mapping[str, str]) -> Counts:
    """Run the tests with these marks and count them from pytest's own report. No test at all is a failure."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", PROCESSES, "-m", marks, f"--junitxml={report}"]
    done = subprocess.run(command, cwd=ROOT, env=dict(env), stdin=subprocess.DEVNULL, check=False)
    if not report.exists():
        print(f"pytest left no report (exit {done.returncode})")
        return Counts(broken=True)
    counts = counted(report)
    return Counts(counts.passed, counts.failed, counts.skipped, broken=done.returncode != 0)


def counted(report: Path) -> Counts:
    """The sums of a JUnit report. A test counts once, by the worst that is said of it: each process of a run reports a
    file that it cannot read, and a test that passes may still fail while it is taken down.
    """
    failed, skipped, seen = set(), set(), set()
    for case in ET.parse(report).getroot().iter("testcase"):
        name = (case.get("classname"), case.get("name"))
        seen.add(name)
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
        elif case.find("skipped") is not None:
            skipped.add(name)
    skipped -= failed
    return Counts(passed=len(seen - failed - skipped), failed=len(failed), skipped=len(skipped))


def templates() -> list[str]:
    """Every HTML template of the portal."""
    folders = [ROOT / "templates", *(ROOT / app / "templates" for app in ("centre", "allocations", "subsidies"))]
    return sorted(str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*.html"))


def static_checks() -> dict[str, list[str]]:
    """The checks that run no test, by the name under which they are told."""
    manage = [sys.executable, "manage.py"]
    checks = {
        "mypy": [str(BIN / "mypy")],
        "ruff check": [str(BIN / "ruff"), "check", "--output-format", "concise", "."],
        "ruff format": [str(BIN / "ruff"), "format", "--check", "--output-format", "concise", "."],
        "import-linter": [str(BIN / "lint-imports"), "--cache-dir", ".cache/import-linter"],
        "makemigrations --check": [*manage, "makemigrations", "--check", "--dry-run"],
        "check --deploy": [*manage, "check", "--deploy", "--fail-level", "WARNING"],
        "catalogues": [sys.executable, "-m", "tests.catalogues"],
    }
    if found := templates():
        checks["djade"] = [str(BIN / "djade"), "--check", "--target-version", "5.2", *found]
    return checks


def production_like(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a served portal, for `check --deploy`."""
    ours = {
        "DEBUG": "false",
        "ALLOWED_HOSTS": "portal.example.org",
        "PUBLIC_URL": "https://portal.example.org",
        "SECRET_KEY": secrets.token_urlsafe(64),
    }
    return {**env, **ours}


def run_static(env: Mapping[str, str]) -> Counts:
    """Run all static checks, two at a time, and show what those say that fail."""

    def run_one(check: tuple[str, list[str]]) -> bool:
        name, command = check
        began = time.monotonic()
        its_env = production_like(env) if name == "check --deploy" else dict(env)
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=its_env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        said = "" if done.returncode == 0 else "\n" + done.stdout.rstrip()
        print(f"{'ok    ' if done.returncode == 0 else 'FAILED'} {name:24}{time.monotonic() - began:6.1f} s{said}")
        return done.returncode == 0

    with ThreadPoolExecutor(max_workers=2) as pool:
        good = list(pool.map(run_one, static_checks().items()))
    return Counts(broken=not all(good))


def write_table(stages: list[Stage]) -> str:
    """Stages as a Markdown table, which reads well in a terminal too."""
    lines = ["| stage    | result  | passed | failed | skipped | seconds | budget |"]
    lines.append("|----------|---------|-------:|-------:|--------:|--------:|-------:|")
    for stage in stages:
        counts = stage.counts
        lines.append(
            f"| {stage.name:8} | {stage.result:7} | {counts.passed:6} | {counts.failed:6} "
            f"| {counts.skipped:7} | {stage.seconds:7.1f} | {stage.budget or '-':>6} |"
        )
    return "\n".join(lines) + "\n"


def summary_line(stages: list[Stage]) -> str:
    passed, failed, skipped = (
        sum(getattr(stage.counts, kind) for stage in stages) for kind in ("passed", "failed", "skipped")
    )
    return f"{passed} passed, {failed} failed, {skipped} skipped"
