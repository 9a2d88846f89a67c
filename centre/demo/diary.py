"""A diary: dated acts, carried out in the order of their days."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import count
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Act(NamedTuple):
    """What happens at an instant; `do` is called with it. `place` keeps acts of one instant in the order written."""

    at: datetime
    place: int
    do: Callable[[datetime], object]


@dataclass
class Diary:
    """Acts on days that are counted from today, in a zone."""

    today: date
    zone: ZoneInfo
    acts: list[Act] = field(default_factory=list)
    _places: "count[int]" = field(default_factory=count)

    def on(self, day: int, hour: int, do: Callable[[datetime], object], *, minute: int = 0) -> None:
        """Note an act for an hour of a day (negative: before today)."""
        self.acts.append(Act(self.instant(day, hour, minute), next(self._places), do))

    def at(self, instant: datetime, do: Callable[[datetime], object]) -> None:
        self.acts.append(Act(instant, next(self._places), do))

    def day(self, day: int) -> date:
        return self.today + timedelta(days=day)

    def instant(self, day: int, hour: int, minute: int = 0) -> datetime:
        then = self.day(day)
        return datetime(then.year, then.month, then.day, hour, minute, tzinfo=self.zone)

    def in_order(self) -> list[Act]:
        return sorted(self.acts, key=lambda act: (act.at, act.place))
