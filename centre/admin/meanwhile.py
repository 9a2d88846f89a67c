"""What somebody else changed while a form was open, in words: what it was, what it is now, who did it and when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from centre.models import Event, User
from centre.templatetags.portal import NOTHING, written_instant

EVENTS: Final = 200  # so far back in a record's history is looked for who changed a field
LONG: Final = 300  # characters of a value that are shown

Values = Mapping[str, Any]  # field -> value, as JSON keeps it


@dataclass(frozen=True)
class Meanwhile:
    """One thing that was changed while a form was open. It `clashes` where the form says something else again."""

    label: str
    before: str
    after: str
    clashes: bool
    event: Event | None

    @property
    def who(self) -> str:
        """Nothing where the history does not say it."""
        if self.event is None:
            return ""
        return self.event.actor.get_full_name() if self.event.actor else _("a command of the operator")

    @property
    def when(self) -> str:
        return written_instant(self.event.at) if self.event is not None else ""

    def is_by(self, user: User) -> bool:
        return self.event is not None and self.event.actor == user


@dataclass(frozen=True)
class Below:
    """Rows that belong to a record and are changed on its page; `fact`: what the record's own history calls them."""

    model: type[models.Model]
    fact: str = ""


def events_of(row: models.Model) -> list[Event]:
    """The latest events of a row, the newest first."""
    events = Event.objects.filter(object_type=row._meta.label_lower, object_id=str(row.pk))
    return list(events.select_related("actor").order_by("-id")[:EVENTS])


def field_changed(
    row: models.Model, events: Sequence[Event], name: str, before: Any, after: Any, *, clashes: bool
) -> Meanwhile:
    """A field of the record itself."""
    field: Any = row._meta.get_field(name)
    event = next((event for event in events if name in event.changes), None)
    return Meanwhile(capfirst(str(field.verbose_name)), in_words(field, before), in_words(field, after), clashes, event)


def row_changed(
    below: Below, events: Sequence[Event], number: str, before: Values | None, after: Values | None, *, clashes: bool
) -> Meanwhile:
    """A row below the record: changed, new (nothing before), or gone from the page (nothing after)."""
    own = Event.objects.filter(object_type=below.model._meta.label_lower, object_id=number)
    event = own.select_related("actor").order_by("-id").first()
    if event is None and below.fact:
        event = next((event for event in events if below.fact in event.changes), None)
    label = capfirst(str(below.model._meta.verbose_name))
    return Meanwhile(label, row_in_words(below.model, before), row_in_words(below.model, after), clashes, event)


def row_in_words(model: type[models.Model], values: Values | None) -> str:
    """A row in one line; a dash where it is not there."""
    if values is None:
        return NOTHING
    own = {field.name: field for field in model._meta.concrete_fields}
    words = [in_words(own[name], value) for name, value in values.items() if name in own and value not in ("", None)]
    return ", ".join(words) or NOTHING


def in_words(field: Any, kept: Any) -> str:
    """A kept value as the screen says it: a choice by its name, a row by its own, a day or instant written out."""
    words = str(kept)
    if kept is None or kept in ("", []):
        words = NOTHING
    elif isinstance(kept, bool):
        words = _("Yes") if kept else _("No")
    elif isinstance(field, models.ForeignKey):
        found = field.related_model._base_manager.filter(pk=kept).first()
        words = str(found or kept)
    elif getattr(field, "flatchoices", None):
        words = str(dict(field.flatchoices).get(kept, kept))
    elif isinstance(kept, list):
        words = ", ".join(str(item) for item in kept)
    else:
        words = day_in_words(field, kept)
    return words if len(words) <= LONG else f"{words[:LONG]} …"


def day_in_words(field: Any, kept: Any) -> str:
    """Days and instants as people write them; anything else as it is."""
    try:
        value = field.to_python(kept)
    except ValidationError:
        return str(kept)
    if isinstance(value, datetime):
        return written_instant(value)
    return date_format(value) if isinstance(value, date) else str(value)
