"""What an allocation would have used by now at an even pace, and what is beyond its need. Plain integers, no database.

Amounts are GPU-seconds. A period counts whole days, its first and last included. Each quotient is rounded down, once.
"""

from datetime import date, timedelta
from typing import NamedTuple

WHOLE_BP = 10_000


class Period(NamedTuple):
    """The days of an allocation, both included."""

    start_on: date
    end_on: date

    @property
    def days(self) -> int:
        return (self.end_on - self.start_on).days + 1

    def days_through(self, day: date) -> int:
        """Days of the period that are over by the end of `day`."""
        return min(max((day - self.start_on).days + 1, 0), self.days)

    def days_from(self, day: date) -> int:
        """Days of the period still to come, `day` included."""
        return min(max((self.end_on - day).days + 1, 0), self.days)


def check_day(period: Period, *, check_at_bp: int) -> date:
    """The first day by whose end so many basis points of the period are over."""
    days_over = -(-period.days * check_at_bp // WHOLE_BP)  # rounded up
    return period.start_on + timedelta(days=days_over - 1)


def planned_through(day: date, *, granted: int, period: Period) -> int:
    """What an even pace would have used by the end of `day`."""
    return granted * period.days_through(day) // period.days


def planned_from(day: date, *, granted: int, period: Period) -> int:
    """What an even pace would still use from `day` to the end of the period: the planned remainder."""
    return granted * period.days_from(day) // period.days


def is_under(*, used: int, planned: int, under_bp: int) -> bool:
    """Whether less was used than so many basis points of what was planned."""
    return used * WHOLE_BP < under_bp * planned


def still_to_use(*, used: int, planned: int, under_bp: int) -> int:
    """How much more must be used until it is no longer under; 0 when it is not."""
    return max(0, -(-under_bp * planned // WHOLE_BP) - used)  # the share rounded up


def beyond_need(*, available: int, remainder: int) -> int:
    """What can be taken so that the planned remainder is left; never more than is available."""
    return max(0, available - remainder)
