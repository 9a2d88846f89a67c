"""Which days the portal takes: beyond these a year was mistyped, and calendars and time zones end.

And how many lie between two, where the database has to tell.
"""

from datetime import date
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Func, IntegerField
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


class DaysBetween(Func):
    """`DaysBetween(later, earlier)`: the days from one day to another as a whole number, in a query."""

    arity = 2
    template = "(%(expressions)s)"
    arg_joiner = " - "
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **options: Any) -> Any:
        """SQLite keeps days as text and counts them from noon to noon; the difference of two is whole."""
        later, earlier = self.get_source_expressions()
        one, one_given = compiler.compile(later)
        other, other_given = compiler.compile(earlier)
        return f"CAST(julianday({one}) - julianday({other}) AS INTEGER)", [*one_given, *other_given]
