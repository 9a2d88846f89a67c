"""docs/test-slurm.md: the last run against a real Slurm, with what both sides said."""

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.slurm.configuration import CPU_NODES, GPU_NODES, OTHER_NODES
from tests.slurm.jobs import HOSTILE, KINDS
from tests.slurm.played import Played, read_records
from tests.stages import ROOT, Counts


@dataclass(frozen=True)
class Run:
    """One run of `make test-slurm`: the history, the tests' counts and how long it all took."""

    played: Played
    counts: Counts
    versions: str
    submitted: int
    seconds: int


def table(heading: tuple[str, ...], rows: Sequence[tuple[object, ...]], *, numbers_from: int) -> str:
    """A Markdown table; columns from `numbers_from` on hold numbers."""
    rule = ["---:" if column >= numbers_from else "---" for column in range(len(heading))]
    lines = [heading, rule, *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_page(run: Run, path: Path) -> None:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    outcome = "Failed" if run.counts.failed or run.counts.broken else "Passed"
    compared_path = run.played.folder / "compared.json"
    parts = [
        "# The last run against a real Slurm",
        f"{outcome} on {time.strftime('%Y-%m-%d')} at commit `{described.stdout.strip()}` with "
        f"`make test-slurm`: {run.counts.passed} passed, {run.counts.failed} failed, {run.counts.skipped} skipped, in "
        f"{run.seconds} seconds. {run.versions}; {len(GPU_NODES)} nodes of 8 GPUs, {len(OTHER_NODES)} of 4 GPUs of "
        f"another model, {len(CPU_NODES)} without; {run.submitted} submissions.",
    ]
    if compared_path.exists():
        parts += compared_parts(run.played, json.loads(compared_path.read_text()))
    parts += ["## The jobs", "Records as the last export tells them.", kinds_table(run.played)]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def compared_parts(played: Played, compared: dict[str, object]) -> list[str]:
    """The sums of both sides, what the command said, and what each import did."""
    charged, twice, imports = compared["charged"], compared["twice"], compared["imports"]
    assert isinstance(charged, dict)
    assert isinstance(twice, dict)
    assert isinstance(imports, list)
    slurm = played.slurm_seconds()
    sums = [
        (f"`{account}`", charged.get(account, 0), slurm.get(account, 0), twice.get(account, 0))
        for account in sorted(charged.keys() | slurm.keys())
    ]
    names = ("read", "accepted", "unchanged", "quarantined", "unmatched", "charged_gpu_seconds")
    steps = [(number, *(done[name] for name in names)) for number, done in enumerate(imports, start=1)]
    heading = ("Slurm account", "charged", "sreport", "of it counted twice (resized)")
    return [
        "## GPU-seconds by Slurm account",
        table(heading, sums, numbers_from=1),
        "`manage.py reconcile_usage` over the same records and the same report:",
        f"```\n{str(compared['reconciled']).rstrip()}\n```",
        "`sreport -n -P -t seconds cluster AccountUtilizationByUser -T gres/gpu`, after the hour's roll-up:",
        f"```\n{played.sreport.read_text().rstrip()}\n```",
        "## The exports, imported one after the other",
        "Jobs run and wait at the first and the second; all have ended at the third; before the fourth slurmctld lost "
        "its state, and job numbers began at 1 again. All 24 orders of the four give the same books.",
        table(("export", *(name.replace("_", " ") for name in names)), steps, numbers_from=0),
    ]


def kinds_table(played: Played) -> str:
    final = played.exports[-1]
    states: dict[str, list[str]] = defaultdict(list)
    seconds: dict[str, int] = defaultdict(int)
    for record in read_records(final):
        name = record.fields["JobName"]
        kind = name if name in KINDS else HOSTILE
        states[kind].append(record.state)
        seconds[kind] += record.gpu_seconds(final.as_of)
    rows = [(f"`{name}`", kind.what, told(states[name]), seconds[name]) for name, kind in KINDS.items()]
    return table(("name", "what it does", "records", "GPU-seconds"), rows, numbers_from=3)


def told(states: list[str]) -> str:
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"
