"""What `sacct` prints of lives: random windows at random instants, in any order of fields, cut into files."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from zoneinfo import ZoneInfo

from tests.allocations.slurm_life import DAY, Life, Row

NEEDED = ("JobIDRaw", "Account", "Partition", "State", "Submit", "Start", "End", "AllocTRES")
OPTIONAL = ("JobID", "DBIndex", "User", "QOS", "ExitCode", "Eligible", "TimelimitRaw", "NodeList", "Planned")
LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


@dataclass(frozen=True)
class Look:
    """One export: what sacct said at an instant, and in which form."""

    as_of: int
    rows: tuple[Row, ...]
    fields: tuple[str, ...]
    delimiter: str
    iso: bool
    steps: bool

    @property
    def instant(self) -> datetime:
        return datetime.fromtimestamp(self.as_of, UTC)

    def text(self, rows: Sequence[Row], zone: ZoneInfo) -> bytes:
        """A file of some of its rows."""
        lines = [self.delimiter.join(self.fields)]
        for row in rows:
            told = self._told(row, zone)
            lines.append(self.delimiter.join(told[field] for field in self.fields))
            if self.steps and row.start is not None:
                step = {
                    **told,
                    "JobIDRaw": f"{row.raw}.batch",
                    "JobID": f"{row.job_id}.batch",
                    "User": "",
                    "Partition": "",
                }
                lines.append(self.delimiter.join(step[field] for field in self.fields))
        return ("\n".join(lines) + "\n").encode()

    def lines_of(self, rows: Sequence[Row]) -> int:
        """How many records a file of these rows holds."""
        return len(rows) + (sum(row.start is not None for row in rows) if self.steps else 0)

    def _told(self, row: Row, zone: ZoneInfo) -> dict[str, str]:
        def instant(value: int | None, missing: str = "Unknown") -> str:
            if value is None:
                return missing
            return datetime.fromtimestamp(value, zone).strftime("%Y-%m-%dT%H:%M:%S") if self.iso else str(value)

        return {
            "JobIDRaw": str(row.raw),
            "JobID": row.job_id,
            "DBIndex": str(row.db_index),
            "Account": row.account,
            "User": row.user,
            "Partition": row.partition,
            "QOS": "normal",
            "State": row.state,
            "ExitCode": "0:0",
            "Submit": instant(row.submit),
            "Eligible": instant(row.submit),
            "Start": instant(row.start, "None" if row.end is not None else "Unknown"),
            "End": instant(row.end),
            "TimelimitRaw": row.limit,
            "AllocTRES": row.tres,
            "NodeList": row.nodes,
            "Planned": "00:00:10",
            "JobName": row.name,
        }


@dataclass(frozen=True)
class File:
    """A part of an export, as it is handed over."""

    look: Look
    rows: tuple[Row, ...]


def looks_at(lives: Sequence[Life], *, chance: random.Random, most: int, iso: bool) -> list[Look]:
    """Exports of the same Slurm at random instants. Each life is seen through a window of its own.

    Now and then two of them are made in the same second, before and after what happened in it.
    """
    instants = sorted(chance.randint(lives[0].begin, lives[0].begin + 6 * DAY) for _ in range(chance.randint(2, most)))
    happened = [since for life in lives for record in life.records for since, _row in record.told]
    looks = []
    for as_of in instants:
        at, moments = as_of, [False]
        if chance.random() < 0.3:
            at, moments = chance.choice(happened), [True, False]
        for before in moments:
            rows = [
                row
                for life in lives
                for row in life.sacct(
                    since=at - chance.choice((0, DAY // 4, DAY, 3 * DAY, 9 * DAY)), at=at, before=before
                )
            ]
            looks.append(_look(at, rows, chance, iso=iso))
    return looks


def whole_look(lives: Sequence[Life], *, at: int, chance: random.Random, iso: bool = False) -> Look:
    """An export at an instant whose window leaves nothing out."""
    rows = [row for life in lives for row in life.sacct(since=0, at=at)]
    return replace(_look(at, rows, chance, iso=False), iso=iso)


def _look(as_of: int, rows: list[Row], chance: random.Random, *, iso: bool) -> Look:
    left_out = {field for field in OPTIONAL if chance.random() < 0.06}
    fields = [*NEEDED, *(field for field in OPTIONAL if field not in left_out)]
    chance.shuffle(fields)
    fields.insert(chance.choice((len(fields), len(fields), chance.randrange(1, len(fields)))), "JobName")
    delimiter = "~" + "".join(chance.sample(LETTERS, 18)) + "~"
    return Look(as_of, tuple(rows), tuple(fields), delimiter, iso and chance.random() < 0.5, chance.random() < 0.2)


def cut(looks: Sequence[Look], *, chance: random.Random) -> list[File]:
    """The exports as overlapping files, each record in at least one, shuffled; whole files come again."""
    files: list[File] = []
    for look in looks:
        parts: list[list[Row]] = [[] for _ in range(chance.choice((1, 1, 2, 3)))]
        for row in look.rows:
            for part in chance.sample(parts, chance.randint(1, min(2, len(parts)))):
                part.append(row)
        for part in parts:
            chance.shuffle(part)
            files.append(File(look, tuple(part)))
    files += [file for file in files if chance.random() < 0.15]
    chance.shuffle(files)
    return files


def lives_of(seeds: Sequence[int], *, begin: int) -> list[Life]:
    return [Life(number=number, seed=seed, begin=begin) for number, seed in zip(count(1), seeds, strict=False)]


def observed(looks: Sequence[Look]) -> Iterator[tuple[Look, Row]]:
    """Every record of every export."""
    for look in looks:
        for row in look.rows:
            yield look, row
