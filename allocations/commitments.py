"""What is promised of the GPU pools over months: GPU time of a period, spread evenly over the days of the period.

The same definition of *committed* as `allocations.shares` has for a day, added up over the days of a month. A stretch
is GPU-seconds from a first to a last day, both included. Each of its days carries the same share, an exact fraction, so
that the months of a stretch add up to the stretch. Which day it is is the cluster's own affair: the days of an
allocation are the accounting days of its pool's cluster, and so are the days of a month here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from math import lcm

from django.db.models import Sum

from allocations.models import Allocation

Stretch = tuple[date, date, int]
"""First day, last day, GPU-seconds."""

DAY = timedelta(days=1)


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month."""

    year: int
    number: int

    @classmethod
    def of(cls, day: date) -> "Month":
        return cls(day.year, day.month)

    def plus(self, months: int) -> "Month":
        """So many months later; earlier below zero."""
        year, before = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(year, before + 1)

    def until(self, other: "Month") -> int:
        """How many months later the other one is; below zero when it is earlier."""
        return (other.year - self.year) * 12 + other.number - self.number

    @property
    def first_on(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def last_on(self) -> date:
        return self.plus(1).first_on - DAY

    @property
    def code(self) -> str:
        """As an address and a CSV have it: 2026-01."""
        return f"{self.year:04d}-{self.number:02d}"


def months_from(first: Month, count: int) -> tuple[Month, ...]:
    """So many months, one after the other."""
    return tuple(first.plus(nth) for nth in range(count))


def days_of(start_on: date, end_on: date) -> int:
    """How many days from the first to the last, both included."""
    return (end_on - start_on).days + 1


def spread(stretches: Iterable[Stretch], months: Sequence[Month]) -> list[Fraction]:
    """GPU-seconds of all stretches in each of the months, which follow one another.

    What lies before the first month and after the last is left out. The shares are added up as whole numbers over one
    common denominator: thousands of fractions with as many denominators would each have to be reduced.
    """
    firsts = [month.first_on for month in months]
    lasts = [month.last_on for month in months]
    begin, end = months[0], len(months) - 1
    parts: list[tuple[int, int, int]] = []  # month, days of the period, GPU-seconds times days in the month
    for start_on, end_on, seconds in stretches:
        length = days_of(start_on, end_on)
        from_month = max(begin.until(Month.of(start_on)), 0)
        to_month = min(begin.until(Month.of(end_on)), end)
        parts.extend(
            (nth, length, seconds * days_of(max(start_on, firsts[nth]), min(end_on, lasts[nth])))
            for nth in range(from_month, to_month + 1)
        )
    common = lcm(*{length for _, length, _ in parts})
    share = {length: common // length for _, length, _ in parts}
    sums = [0] * len(months)
    for nth, length, second_days in parts:
        sums[nth] += second_days * share[length]
    return [Fraction(total, common) for total in sums]


def granted_stretches(*, first_on: date, last_on: date) -> dict[int, list[Stretch]]:
    """What was granted for periods that touch these days, by the number of the pool, in one query.

    As in `AllocationQuerySet.committed_per_pool`, every allocation counts that is not void: one that is suspended or
    closed keeps what it was granted, and what was taken from it is no longer part of that. Equal periods come as one.
    """
    rows = Allocation.objects.not_void().filter(start_on__lte=last_on, end_on__gte=first_on).order_by()
    grouped = rows.values_list("pool", "start_on", "end_on").annotate(granted=Sum("granted_seconds"))
    stretches: dict[int, list[Stretch]] = {}
    for pool, start_on, end_on, granted in grouped:
        stretches.setdefault(pool, []).append((start_on, end_on, int(granted)))
    return stretches
