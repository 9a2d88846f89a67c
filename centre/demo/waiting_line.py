"""Lets the invented runs wait for one another, so that a pool never runs more GPUs than it has in service."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

from centre.demo.work import AT, UNKNOWN, gpus_of

_NEVER: Final = 1 << 62
_SUBMIT, _START, _END = AT["Submit"], AT["Start"], AT["End"]


@dataclass
class _Line:
    """One pool's line, first come first served: who runs until when, and who waits."""

    in_service: Callable[[int], int]
    running: list[tuple[int, int]] = field(default_factory=list)
    waiting: deque[list[str]] = field(default_factory=deque)
    taken: int = 0

    def advance(self, instant: int) -> None:
        """End what ends until then, and let those that wait follow."""
        while self.running and self.running[0][0] <= instant:
            ended, gpus = heappop(self.running)
            self.taken -= gpus
            while self.waiting and self.taken + gpus_of(self.waiting[0]) <= self.in_service(ended):
                self.begin(self.waiting.popleft(), ended)

    def begin(self, row: list[str], instant: int) -> None:
        """Start a run at that instant; its end moves along."""
        later = instant - int(row[_START])
        row[_START] = str(instant)
        end = _NEVER if row[_END] == UNKNOWN else int(row[_END]) + later
        if row[_END] != UNKNOWN:
            row[_END] = str(end)
        heappush(self.running, (end, gpus_of(row)))
        self.taken += gpus_of(row)


def queued(rows: Sequence[list[str]], *, in_service: Mapping[str, Callable[[int], int]]) -> list[list[str]]:
    """The records with their starts put off where the pool was full; `in_service`: by pool, GPUs at an epoch second.

    Records of a run that was broken off and began again stay where they are. What begins or ends later than the last
    export now is for `work.as_seen` to show as waiting or running.
    """
    lines = {pool: _Line(gpus) for pool, gpus in in_service.items()}
    several = _repeated(row[AT["JobIDRaw"]] for row in rows)
    moving = [list(row) for row in rows]
    for row in sorted((row for row in moving if row[_START] != UNKNOWN), key=lambda row: int(row[_START])):
        if row[_END] == row[_START] or not gpus_of(row):
            continue
        line, start = lines[row[AT["Partition"]]], int(row[_START])
        line.advance(start)
        full = bool(line.waiting) or line.taken + gpus_of(row) > line.in_service(start)
        if full and row[AT["JobIDRaw"]] not in several:
            line.waiting.append(row)
        else:
            line.begin(row, start)
    for line in lines.values():
        line.advance(_NEVER - 1)
        for row in line.waiting:  # more than ever fits: never begun
            row[_START] = row[_END] = UNKNOWN
    return moving


def _repeated(names: Iterable[str]) -> set[str]:
    return {name for name, times in Counter(names).items() if times > 1}
