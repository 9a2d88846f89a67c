"""docs/test-hard.md: the last result of each stage of the long tests, with the commit at which it was seen.

A run writes the rows of its own stages and leaves the others as they were, so that a stage can be repeated alone.
"""

import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.stages import ROOT, Stage

PAGE = ROOT / "docs" / "test-hard.md"
ORDER = ("sqlite", "postgres", "browser")
ROW = re.compile(r"^\| (\w+) +\|.*\|$", re.MULTILINE)
HEAD = """# The long tests

The last result of each stage of `make test-hard`, and the commit at which it was seen. `python -m tests.everything
postgres --hard` repeats one stage alone.

| stage | result | passed | failed | skipped | minutes | on | commit |
|-------|--------|-------:|-------:|--------:|--------:|----|--------|
"""


def written(before: str, stages: Sequence[Stage], *, on: str, commit: str, not_found: Sequence[str] = ()) -> str:
    """The page after a run: rows of its stages anew, those of other stages from the page before."""
    rows = {match[1]: match[0] for match in ROW.finditer(before) if match[1] in ORDER and "`" in match[0]}
    for stage in stages:
        counts = stage.counts
        rows[stage.name] = (
            f"| {stage.name} | {stage.result} | {counts.passed} | {counts.failed} | {counts.skipped} "
            f"| {stage.seconds / 60:.1f} | {on} | `{commit}` |"
        )
    missing = "".join(f"\n* Not found on {on}: {line}" for line in not_found)
    return HEAD + "\n".join(rows[name] for name in ORDER if name in rows) + "\n" + (f"{missing}\n" if missing else "")


def keep(stages: Sequence[Stage], *, not_found: Sequence[str], page: Path = PAGE) -> None:
    """Write the page after a run."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    commit = described.stdout.strip() or "unknown"
    told = written(before, stages, on=time.strftime("%Y-%m-%d"), commit=commit, not_found=not_found)
    page.write_text(told, encoding="utf-8")
