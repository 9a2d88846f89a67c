"""How fast an allocation is used, when it runs out at that pace, what an even pace would have used. Plain, no query.

Amounts are GPU-seconds, paces GPU-seconds per day as exact fractions. What is known ends where the books of the cluster
end: with `as_of`, the instant of its latest import, in the cluster's own time. A pace is that of the last full days
before it; what is left counts from that instant on. So an old import makes the forecast old, not wrong; only the day
itself is never before today.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from allocations.planned_use import Period, planned_through

SHORT_DAYS, LONG_DAYS = 7, 30
DAY_SECONDS = 86_400


class Outlook(StrEnum):
    """What can be said of an allocation's end."""

    NOT_BEGUN = "not_begun"  # its first day is still to come
    OVER = "over"  # its last day has passed
    NOTHING_LEFT = "nothing_left"
    NO_BOOKS = "no_books"  # no import says anything of the cluster yet
    TOO_EARLY = "too_early"  # the books do not reach the end of its first day
    NO_USAGE_YET = "no_usage_yet"
    NO_RECENT_USAGE = "no_recent_usage"  # used before, but not on any of the last full days
    RUNS_OUT = "runs_out"  # within the period, at either pace
    MAY_RUN_OUT = "may_run_out"  # within the period at the faster pace only
    LASTS = "lasts"  # until the period ends, at either pace


@dataclass(frozen=True)
class Pace:
    """GPU-seconds used on the last `days` full days; fewer than `window` where the allocation is younger than that."""

    window: int
    days: int
    seconds: int

    @property
    def per_day(self) -> Fraction:
        """GPU-seconds per day; 0 while no full day has passed."""
        return Fraction(self.seconds, self.days) if self.days else Fraction(0)


@dataclass(frozen=True)
class Forecast:
    """When an allocation runs out, and how sure that is.

    `earliest_on` and `latest_on` are the day that takes the last of what is left, at the faster and at the slower
    pace; None where that is beyond the last day of the period. `left_over_least` and `left_over_most` are the
    GPU-seconds still there when the period ends, at the faster and at the slower pace.
    """

    outlook: Outlook
    short: Pace
    long: Pace
    earliest_on: date | None = None
    latest_on: date | None = None
    left_over_least: int = 0
    left_over_most: int = 0

    @property
    def faster(self) -> Pace:
        return max(self.short, self.long, key=lambda pace: pace.per_day)

    @property
    def slower(self) -> Pace:
        return min(self.short, self.long, key=lambda pace: pace.per_day)


def forecast(
    *,
    available: int,
    used: int,
    per_day: Mapping[date, int],
    as_of: datetime | None,
    today: date,
    period: Period,
) -> Forecast:
    """What becomes of an allocation at its own pace.

    `available` and `used` are its totals; `per_day` is what was used on each day, days without use may be left out.
    """
    last_full_on = as_of.date() - timedelta(days=1) if as_of else None
    short, long = (
        pace_over(window, per_day=per_day, last_full_on=last_full_on, period=period)
        for window in (SHORT_DAYS, LONG_DAYS)
    )
    told = plain_outlook(available=available, used=used, as_of=as_of, long=long, today=today, period=period)
    if told is not None or as_of is None:
        return Forecast(told or Outlook.NO_BOOKS, short, long)
    slow, fast = sorted((short.per_day, long.per_day))
    earliest_on, latest_on = (
        run_out_on(available=available, pace=pace, as_of=as_of, today=today, end_on=period.end_on)
        for pace in (fast, slow)
    )
    return Forecast(
        outlook_of(earliest_on, latest_on),
        short,
        long,
        earliest_on,
        latest_on,
        left_over_least=left_over(available=available, pace=fast, as_of=as_of, end_on=period.end_on),
        left_over_most=left_over(available=available, pace=slow, as_of=as_of, end_on=period.end_on),
    )


def pace_over(window: int, *, per_day: Mapping[date, int], last_full_on: date | None, period: Period) -> Pace:
    """What was used on the last full days that lie in the period, at most `window` of them."""
    if last_full_on is None:
        return Pace(window, 0, 0)
    last_on = min(last_full_on, period.end_on)
    first_on = max(last_on - timedelta(days=window - 1), period.start_on)
    days = max((last_on - first_on).days + 1, 0)
    return Pace(window, days, max(sum(s for day, s in per_day.items() if first_on <= day <= last_on), 0))


def plain_outlook(
    *, available: int, used: int, as_of: datetime | None, long: Pace, today: date, period: Period
) -> Outlook | None:
    """What is told in a word because no day can be worked out; None where one can."""
    ordered = (
        (Outlook.OVER, period.end_on < today),
        (Outlook.NOT_BEGUN, period.start_on > today),
        (Outlook.NOTHING_LEFT, available <= 0),
        (Outlook.NO_BOOKS, as_of is None),
        (Outlook.NO_USAGE_YET, used <= 0 and long.seconds == 0),
        (Outlook.TOO_EARLY, long.days == 0),
        (Outlook.NO_RECENT_USAGE, long.seconds == 0),
    )
    return next((outlook for outlook, holds in ordered if holds), None)


def outlook_of(earliest_on: date | None, latest_on: date | None) -> Outlook:
    if earliest_on is None:
        return Outlook.LASTS
    return Outlook.MAY_RUN_OUT if latest_on is None else Outlook.RUNS_OUT


def run_out_on(*, available: int, pace: Fraction, as_of: datetime, today: date, end_on: date) -> date | None:
    """The day that takes the last of `available` GPU-seconds at a pace, never before today; None: not by `end_on`."""
    if pace <= 0:
        return None
    through = share_of_day(as_of) + Fraction(max(available, 0)) / pace
    days = max(-(-through.numerator // through.denominator) - 1, 0)  # a day that is used to its end is the last one
    if days > (end_on - as_of.date()).days:
        return None
    return max(as_of.date() + timedelta(days=days), today)


def left_over(*, available: int, pace: Fraction, as_of: datetime, end_on: date) -> int:
    """GPU-seconds still there at the end of `end_on`, rounded down; 0 when they do not last."""
    days = (end_on - as_of.date()).days + 1 - share_of_day(as_of)
    return max(int((available - pace * max(days, Fraction(0))) // 1), 0)


def planned_by(as_of: datetime, *, granted: int, period: Period) -> int:
    """GPU-seconds that an even use over the period would have used by an instant; the day itself counts in part."""
    before = planned_through(as_of.date() - timedelta(days=1), granted=granted, period=period)
    by_evening = planned_through(as_of.date(), granted=granted, period=period)
    return before + int((by_evening - before) * share_of_day(as_of) // 1)


def share_of_day(instant: datetime) -> Fraction:
    """How much of its day has passed at an instant."""
    return Fraction(instant.hour * 3600 + instant.minute * 60 + instant.second, DAY_SECONDS)
