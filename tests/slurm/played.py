"""What a run of the lab leaves for the tests: the exports, Slurm's own sums, and how to ask the cluster once more."""

import json
import re
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.slurm.collecting import Export

GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)")


@dataclass(frozen=True)
class Record:
    """One record of sacct, read by the tests' own few lines; instants are None where sacct has a word for them."""

    fields: dict[str, str]

    def instant(self, name: str) -> int | None:
        return int(self.fields[name]) if self.fields[name].isdigit() else None

    @property
    def state(self) -> str:
        return self.fields["State"].split()[0]

    @property
    def gpus(self) -> int:
        found = GPUS.search(self.fields["AllocTRES"])
        return int(found[1]) if found else 0

    def gpu_seconds(self, as_of: int) -> int:
        """GPUs times the time up to its end, or to the export; a resized job from its change of size on."""
        return self.gpu_seconds_from_start(as_of) - self.gpu_seconds_told_twice(as_of)

    def gpu_seconds_from_start(self, as_of: int) -> int:
        start = self.instant("Start")
        return 0 if start is None or self.state == "PENDING" else self.gpus * ((self.instant("End") or as_of) - start)

    def gpu_seconds_told_twice(self, as_of: int) -> int:
        """Of a resized job: what its RESIZING record has told already."""
        start, submit = self.instant("Start"), self.instant("Submit")
        if start is None or submit is None or self.state == "PENDING":
            return 0
        return self.gpus * max(0, min(submit, self.instant("End") or as_of) - start)


def read_records(export: Export) -> list[Record]:
    """All records of an export: a line that is not cut often enough goes on with the last field of the one before."""
    lines = export.path.read_bytes().decode().removesuffix("\n").split("\n")
    heading = re.fullmatch(r"JobIDRaw(?P<delimiter>~\w+~)JobID.*", lines[0])
    assert heading, lines[0]
    names = lines[0].split(heading["delimiter"])
    cut: list[list[str]] = []
    for line in lines[1:]:
        cells = line.split(heading["delimiter"])
        if len(cells) == len(names):
            cut.append(cells)
        else:
            assert len(cells) == 1, line
            cut[-1][-1] += f"\n{line}"
    return [Record(dict(zip(names, cells, strict=True))) for cells in cut]


@dataclass(frozen=True)
class Played:
    """A history that has been played; `folder` holds its files, `env` lets Slurm's commands find the cluster."""

    folder: Path
    exports: list[Export]
    env: dict[str, str]

    @property
    def sreport(self) -> Path:
        return self.folder / "sreport.txt"

    def slurm_seconds(self) -> dict[str, int]:
        """GPU-seconds by account as sreport says: the rows of users, which the rows of accounts repeat."""
        sums: dict[str, int] = defaultdict(int)
        for line in self.sreport.read_text().splitlines():
            _cluster, account, login, _name, _tres, seconds = line.split("|")
            if login:
                sums[account] += int(seconds)
        return dict(sums)

    def keep(self) -> None:
        exports = [{**asdict(export), "path": str(export.path)} for export in self.exports]
        (self.folder / "played.json").write_text(json.dumps({"exports": exports, "env": self.env}))


def read_played(folder: Path) -> Played:
    kept = json.loads((folder / "played.json").read_text())
    exports = [Export(**{**export, "path": Path(export["path"])}) for export in kept["exports"]]
    return Played(folder=folder, exports=exports, env=kept["env"])
