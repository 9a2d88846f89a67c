"""Which days the portal takes: beyond these a year was mistyped, and calendars and time zones end."""

from datetime import date
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

FIRST: Final = date(2000, 1, 1)
LAST: Final = date(2199, 12, 31)


def validate_day(day: date) -> None:
    """Raises ValidationError for a day before `FIRST` or after `LAST`."""
    if not FIRST <= day <= LAST:
        raise ValidationError(
            _("%(day)s is outside the days from %(first)s to %(last)s. Check the year."),
            params={"day": day.isoformat(), "first": FIRST.isoformat(), "last": LAST.isoformat()},
        )
