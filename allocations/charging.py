"""What one job run costs: GPU-seconds per accounting day.

Pure arithmetic on whole numbers; nothing here reads a clock or a database.

    charge of a run = GPUs x (End, or the as-of instant while unfinished,
                              minus the later of Start and Submit), never below 0

* Suspended time counts: the GPUs stay taken.
* After a resize Slurm writes a second record whose Start is the first start;
  counting from the later of Start and Submit bills no second twice.
* The seconds are split at midnight of the cluster's own time zone.
"""

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from django.utils.translation import gettext_noop

MOST_GPUS: Final = 1_000_000
"""No real run holds more; a larger number is a misread one."""

_QUARTER: Final = 900
_USUAL_LENGTH: Final = 200
"""Longer texts are worked out each time: remembered ones would fill the memory."""
_TOTAL: Final = "gres/gpu"
_TYPED: Final = "gres/gpu:"

GPUS_NOT_A_NUMBER: Final = gettext_noop("The number of GPUs is not a plain whole number.")
GPUS_NEGATIVE: Final = gettext_noop("The number of GPUs is negative.")
GPUS_TOO_MANY: Final = gettext_noop("The number of GPUs is larger than any cluster's.")
GPUS_NAMED_TWICE: Final = gettext_noop("The same kind of GPU is counted twice.")
GPUS_WITHOUT_TYPE: Final = gettext_noop("A GPU type is announced but not named.")
GPUS_EXCEED_TOTAL: Final = gettext_noop("The GPUs by type are more than the total.")


def billable_span(
    *, submit: int, start: int | None, end: int | None, as_of: int, pending: bool
) -> tuple[int, int] | None:
    """From when until when a run is charged, in epoch seconds.

    None when there is nothing to charge: it is pending, has not started, or
    ended before its own record began.
    """
    if pending or start is None:
        return None
    begin = max(submit, start)
    until = as_of if end is None else end
    return (begin, until) if until > begin else None


def split_by_day(begin: int, until: int, zone: ZoneInfo) -> list[tuple[date, int]]:
    """Seconds of the span [begin, until) on each accounting day, exact, in order.

    A day runs from midnight to midnight in `zone`, so it may have 23 or 25 hours.
    """
    day, midnight = _day_at(begin // _QUARTER, zone) or _exact_day(begin, zone)
    if until <= midnight:
        return [(day, until - begin)] if until > begin else []
    shares = []
    while begin < until:
        day, midnight = _day_at(begin // _QUARTER, zone) or _exact_day(begin, zone)
        stop = min(until, midnight)
        shares.append((day, stop - begin))
        begin = stop
    return shares


@lru_cache(maxsize=200_000)
def _day_at(quarter: int, zone: ZoneInfo) -> tuple[date, int] | None:
    """Day and next midnight of a quarter of an hour; None when midnight falls inside it."""
    first = _exact_day(quarter * _QUARTER, zone)
    return first if first[1] >= (quarter + 1) * _QUARTER else None


def _exact_day(instant: int, zone: ZoneInfo) -> tuple[date, int]:
    """The accounting day of an instant and the instant at which the next one begins."""
    day = datetime.fromtimestamp(instant, zone).date()
    following = day
    while True:  # a zone that crosses the date line skips a whole day
        following += timedelta(days=1)
        midnight = int(datetime(following.year, following.month, following.day, tzinfo=zone).timestamp())
        if midnight > instant:
            return day, midnight


def gpu_parts(alloc_tres: str) -> tuple[tuple[str, int], ...]:
    """The GPUs of an AllocTRES text, each kind once: `("gres/gpu:h800", 8)`.

    `gres/gpu` is the total and the typed ones are parts of it; what no type
    explains comes as `("", n)`. Without a total it is the sum of the typed ones.
    Raises ValueError with a sentence when the text contradicts itself.
    """
    return _remembered_parts(alloc_tres) if len(alloc_tres) <= _USUAL_LENGTH else _parts(alloc_tres)


def _parts(alloc_tres: str) -> tuple[tuple[str, int], ...]:
    total: int | None = None
    typed: dict[str, int] = {}
    for item in alloc_tres.split(","):
        if not item.startswith(_TOTAL):
            continue
        key, _, number = item.partition("=")
        if key == _TOTAL:
            if total is not None:
                raise ValueError(GPUS_NAMED_TWICE)
            total = _whole(number)
        elif key.startswith(_TYPED):
            if key in typed:
                raise ValueError(GPUS_NAMED_TWICE)
            if key == _TYPED:
                raise ValueError(GPUS_WITHOUT_TYPE)
            typed[key] = _whole(number)
    by_type = sum(typed.values())
    if total is None:
        total = by_type
    if by_type > total:
        raise ValueError(GPUS_EXCEED_TOTAL)
    if total > MOST_GPUS:
        raise ValueError(GPUS_TOO_MANY)
    parts = [(key, number) for key, number in sorted(typed.items()) if number]
    if total > by_type:
        parts.append(("", total - by_type))
    return tuple(parts)


_remembered_parts = lru_cache(maxsize=65_536)(_parts)


def _whole(number: str) -> int:
    """A count of GPUs; ValueError with a sentence when it is not one."""
    if not (number.isascii() and number.isdecimal()):
        negative = number.startswith("-") and number[1:].isascii() and number[1:].isdecimal()
        raise ValueError(GPUS_NEGATIVE if negative else GPUS_NOT_A_NUMBER)
    if len(number) > len(str(MOST_GPUS)) or int(number) > MOST_GPUS:
        raise ValueError(GPUS_TOO_MANY)
    return int(number)
