"""Exports of the real sacct, made by the very script that a centre runs every night."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

COLLECTOR = Path(__file__).resolve().parents[2] / "deploy" / "collector" / "collect-usage"
KEEP = 'cat > "$KEPT" && printf "%s %s" "$COLLECT_AS_OF" "$COLLECT_FROM" > "$KEPT.window"'


class NotCollected(Exception):
    """The collector did not hand over; the text is its own."""


@dataclass(frozen=True)
class Export:
    """What sacct printed, the instant at which it ran and the beginning of its window (epoch seconds)."""

    path: Path
    as_of: int
    covers_from: int


@dataclass(frozen=True)
class Collector:
    """`deploy/collector/collect-usage` with its memory of the last hand-over in a folder of its own."""

    env: Mapping[str, str]
    state_folder: Path

    def hand_over(self, settings: Mapping[str, str]) -> str:
        """Run it, with settings that say where to hand over; returns what it says. Raises NotCollected."""
        ours = {"COLLECT_SETTINGS": "/dev/null", "COLLECT_STATE_DIR": str(self.state_folder), "COLLECT_ATTEMPTS": "1"}
        done = subprocess.run(
            [str(COLLECTOR)],
            env={**self.env, **ours, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NotCollected(f"exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout + done.stderr

    def export(self, path: Path) -> Export:
        """Keep what it would hand over."""
        self.hand_over({"COLLECT_COMMAND": KEEP, "KEPT": str(path)})
        as_of, covers_from = Path(f"{path}.window").read_text().split()
        return Export(path=path, as_of=int(as_of), covers_from=int(covers_from))
