"""Columns that the lists of all apps share: one way to write hours, money, days, instants, states and shares."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import django_tables2 as tables
from django.db import models
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.formats import date_format
from django.utils.functional import Promise
from django_tables2.utils import A

from centre.templatetags import portal

NUMBER = {"th": {"class": "num"}, "td": {"class": "num"}, "tf": {"class": "num"}}
WHOLE = {"td": {"class": "whole"}}  # a day or an instant is not broken over two lines


class Table(tables.Table):
    """A list. `title` names it for those who hear the page.

    On a phone each row becomes labelled lines; `compact` sets its cells two to a line, the first two without label;
    `scrolls` keeps rows whole, to be pushed.
    """

    title: str | Promise = ""
    compact = False
    scrolls = False


def show_page(table: Table, request: HttpRequest, *, rows: int) -> None:
    """Sort the list as the address asks (`sort`) and cut it to the page that it asks for (`page`), of `rows` rows.

    Only these two are the reader's to choose. A column that is not there is passed over; a page that cannot be read is
    the first, one that does not exist the last.
    """
    table.request = request
    asked = request.GET.getlist(table.prefixed_order_by_field)
    known = [name for name in asked if name.removeprefix("-") in table.columns.names()]
    if known:
        table.order_by = known
    table.paginate(per_page=rows)
    table.page = table.paginator.get_page(request.GET.get(table.prefixed_page_field))


class NumberColumn(tables.Column):
    """A whole number, grouped, to the right."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("attrs", NUMBER)
        super().__init__(*args, **options)

    def render(self, value: int) -> str:
        return portal.grouped(value, 0)

    def value(self, value: Any) -> Any:
        """What an export gets: the number as it is stored."""
        return value


class HoursColumn(NumberColumn):
    """GPU-seconds, shown as GPU-hours with `places` decimals. The header says the unit."""

    def __init__(self, *args: Any, places: int = 0, **options: Any) -> None:
        self.places = places
        super().__init__(*args, **options)

    def render(self, value: int) -> str:
        return portal.gpu_hours(value, self.places)


class MoneyColumn(NumberColumn):
    """Cents, shown as HK$; `places` as in the filter `hkd`."""

    def __init__(self, *args: Any, places: int | None = None, **options: Any) -> None:
        self.places = places
        super().__init__(*args, **options)

    def render(self, value: int) -> str:
        return portal.hkd(value, self.places)


class PercentColumn(NumberColumn):
    """Basis points, shown as per cent."""

    def render(self, value: int) -> str:
        return portal.percent(value)


class DayColumn(tables.Column):
    """A day."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("attrs", WHOLE)
        super().__init__(*args, **options)

    def render(self, value: date) -> str:
        return date_format(value, "DATE_FORMAT")


class InstantColumn(tables.Column):
    """A day and a time, with the time zone of the portal."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("attrs", WHOLE)
        super().__init__(*args, **options)

    def render(self, value: datetime) -> str:
        return portal.time_element(value)


class BadgeColumn(tables.Column):
    """A state as a badge; `tones` says which tone (ok, warn, bad, quiet, info) belongs to which stored value."""

    def __init__(self, *args: Any, tones: Mapping[Any, str], **options: Any) -> None:
        self.tones = tones
        super().__init__(*args, **options)

    def render(self, value: Any, record: Any, bound_column: Any) -> str:
        stored = A(bound_column.accessor).resolve(record)
        text = value.label if isinstance(value, models.Choices) else value
        return render_to_string("components/badge.html", {"text": text, "tone": self.tones.get(stored, "quiet")})


class ChoiceColumn(tables.Column):
    """A code, shown as the words that stand for it."""

    def __init__(self, *args: Any, choices: Mapping[str, Any], **options: Any) -> None:
        self.choices = choices
        super().__init__(*args, **options)

    def render(self, value: str) -> str:
        return str(self.choices.get(value, value))
