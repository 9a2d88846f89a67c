"""Reads the times of a sacct export into epoch seconds, fast.

A year of job runs has few days, and a day few clock readings: each of them is
worked out once and then looked up.
"""

from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.utils.translation import gettext_noop

BAD_TIME: Final = gettext_noop("Submit, Start or End is not a time that can be read.")
ABSURD_TIME: Final = gettext_noop("Submit, Start or End lies before the year 2000 or after 2199.")

NOT_YET: Final = frozenset(("Unknown", "None", ""))
"""What sacct prints where there is no time."""

_EARLIEST: Final = 946_684_800  # 2000-01-01T00:00:00Z
_LATEST: Final = 7_258_118_400  # 2200-01-01T00:00:00Z


class Instants:
    """Texts to epoch seconds, None for "Unknown", "None" and nothing.

    Reads epoch seconds, ISO times with an offset, and ISO times without one,
    which are in `zone`. `days` and `clock` are open to a caller in a hurry.
    """

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self.days = Days(zone)
        self.clock = Clock()

    def read(self, text: str) -> int | None:
        """The instant of a text; ValueError with a sentence when it is none."""
        if text.isdecimal() and text.isascii() and len(text) <= len(str(_LATEST)):
            instant = int(text)
        elif text in NOT_YET:
            return None
        else:
            try:
                instant = self.days[text[:11]] + self.clock[text[11:]]
            except KeyError:
                instant = self._worked_out(text)
        if not _EARLIEST <= instant < _LATEST:
            raise ValueError(ABSURD_TIME)
        return instant

    def _worked_out(self, text: str) -> int:
        """A time with an offset, or on a day on which the clocks change."""
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=self._zone)
            return int(moment.timestamp())
        except (ValueError, OverflowError):
            raise ValueError(BAD_TIME) from None


class Days(dict[str, int]):
    """`days["2026-11-23T"]`: the epoch seconds of its midnight; KeyError when the clocks change on it."""

    def __init__(self, zone: ZoneInfo) -> None:
        super().__init__()
        self._zone = zone

    def __missing__(self, text: str) -> int:
        try:
            day = date.fromisoformat(text[:10])
            begin = datetime(day.year, day.month, day.day, tzinfo=self._zone)
            noon, end = begin.replace(hour=12), begin + timedelta(days=1)
        except (ValueError, OverflowError):
            raise KeyError(text) from None
        # the first and last days are left out: in some zones they reach beyond the bounds
        steady = 2000 < day.year < 2199 and begin.utcoffset() == noon.utcoffset() == end.utcoffset()
        if text[10:] not in ("T", " ") or text[4] != "-" or not steady:
            raise KeyError(text)
        midnight = self[text] = int(begin.timestamp())
        return midnight


class Clock(dict[str, int]):
    """`clock["13:05:09"]`: seconds since midnight; KeyError for anything else."""

    def __missing__(self, text: str) -> int:
        hours, minutes, seconds = text[:2], text[3:5], text[6:]
        plain = len(text) == 8 and text[2] == text[5] == ":" and (hours + minutes + seconds).isdecimal()
        if not (plain and text.isascii() and int(hours) < 24 and int(minutes) < 60 and int(seconds) < 60):
            raise KeyError(text)
        reading = self[text] = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
        return reading
