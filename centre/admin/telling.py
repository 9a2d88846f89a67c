"""What an event of the audit trail changed, as a person reads it: names instead of columns, words instead of values.

The trail keeps plain values (`centre.audit.plain`): GPU-seconds, cents, basis points, ISO days and instants, choices by
their key, rows as “name (#number)”. Nothing here asks the database.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any, Final

from django.apps import apps
from django.db import models
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from centre.admin.confirming import exact_hours
from centre.admin.told import act_in_words, fact_in_words
from centre.models import Event
from centre.templatetags.portal import grouped, hkd, percent, written_instant

WHOLE: Final = frozenset({"conditions", "files", "period"})
"""Facts that are lists themselves, where others are told as [before, after]."""
SAID_TWICE: Final[Mapping[str, str]] = {"gpu_seconds": "gpu_hours"}
NUMBERED: Final = frozenset({"exemption", "rule", "warning"})
"""Rows without a name, by their number."""
SMALL_UNIT: Final = re.compile(r"_(?:seconds|cents|bp)$|^cents_")
ROW: Final = re.compile(r" \(#\d+\)$")
DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")
INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*")


@dataclass(frozen=True)
class Told:
    """One changed fact of an event, as a person reads it."""

    label: str
    before: str
    after: str


def act_told(event: Event) -> str:
    """The act as a person reads it: “Tenant changed”."""
    return act_in_words(event.act)


def changes_told(event: Event, model: type[models.Model]) -> list[Told]:
    """The changes of an event with the names that the screen uses for the columns."""
    return [
        Told(label_of(name, model), in_words(name, before, model), in_words(name, after, model))
        for name, before, after in pairs(event.changes)
    ]


def pairs(changes: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Each fact with what it was (None where it was nothing, or is told by itself) and what it is."""
    for name, change in changes.items():
        if SAID_TWICE.get(name) in changes:
            continue
        is_pair = isinstance(change, list) and len(change) == 2
        if is_pair and name in WHOLE:
            is_pair = change[0] is None or (name != "files" and isinstance(change[1], list) and is_nested(change))
        yield (name, *change) if is_pair else (name, None, change)


def is_nested(change: Sequence[Any]) -> bool:
    """A list that became another; two conditions or days are one list."""
    return all(isinstance(side, list) and all(isinstance(each, list) for each in side) for side in change)


def label_of(name: str, model: type[models.Model]) -> str:
    """What the screen calls a fact. Where the trail keeps small units, the value says them and the name does not."""
    column = columns_of(model).get(name)
    if column is None or SMALL_UNIT.search(name):
        return fact_in_words(name)
    return capfirst(str(column.verbose_name))


@cache
def columns_of(model: type[models.Model]) -> dict[str, "models.Field[Any, Any]"]:
    return {field.name: field for field in model._meta.concrete_fields}


@cache
def choices_of(name: str) -> tuple["models.Field[Any, Any]", ...]:
    """Every column of the portal with this name that has choices."""
    columns = (columns_of(model).get(name) for model in apps.get_models())
    return tuple(column for column in columns if column is not None and column.flatchoices)


def in_words(name: str, value: Any, model: type[models.Model]) -> str:
    """A kept value as the screen says it; nothing for nothing."""
    words = ""
    if value is None or value in ("", [], {}):
        words = ""
    elif isinstance(value, bool):
        words = _("Yes") if value else _("No")
    elif isinstance(value, dict):
        words = ", ".join(f"{key}: {in_words(f'{name}_seconds', each, model)}" for key, each in value.items())
    elif isinstance(value, list):
        words = list_in_words(name, value, model)
    elif isinstance(value, int):
        words = number_in_words(name, value)
    else:
        words = text_in_words(name, str(value), model)
    return words


def list_in_words(name: str, values: Sequence[Any], model: type[models.Model]) -> str:
    told = [in_words(name, each, model) for each in values]
    if name == "period" and len(told) == 2:
        return _("%(first)s to %(last)s") % {"first": told[0], "last": told[1]}
    return ("; " if any(isinstance(each, list) for each in values) else ", ").join(each for each in told if each)


def number_in_words(name: str, value: int) -> str:
    if name.endswith("_seconds"):
        return _("%(hours)s GPU-hours") % {"hours": exact_hours(value)}
    if name.endswith("_cents") or name.startswith("cents_"):
        return hkd(value)
    if name.endswith("_bp"):
        return percent(value)
    if name in NUMBERED:
        return _("no. %(number)s") % {"number": value}
    return str(value) if name in {"entry", "reverses", "corrects"} else grouped(value, 0)


def text_in_words(name: str, value: str, model: type[models.Model]) -> str:
    own = columns_of(model).get(name)
    if name == "gpu_hours":
        return _("%(hours)s GPU-hours") % {"hours": value}
    for column in choices_of(name) if own is None else (own,):
        for key, label in column.flatchoices or ():
            if str(key) == value:
                return str(label)
    if own is not None and isinstance(own, (models.CharField, models.TextField)):
        return value  # what a person wrote, also where it looks like a day
    if DAY.fullmatch(value):
        return date_format(date.fromisoformat(value))
    if INSTANT.fullmatch(value):
        return written_instant(localtime(datetime.fromisoformat(value)))
    return ROW.sub("", value)
