"""The second step of an act: everything that was typed, what will become of the figures, and a button that does it.

No script is needed: the confirming page carries what was typed as hidden fields, and with it the key of the form, so
that a form which is sent twice acts once. Going back gives the filled-in form again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from centre.forms import DollarsField, GpuHoursField, PercentField
from centre.templatetags.portal import NOTHING, gpu_hours, hkd, percent

Text = str | Promise
KEY, STEP = "act_key", "act_step"
CONFIRMED, CHANGE = "confirmed", "change"
SHOWN_CHOICES = 10


@dataclass(frozen=True)
class Effect:
    """One thing that the act changes: what it is now and what it will be."""

    label: Text
    before: Text
    after: Text


@dataclass(frozen=True)
class Confirmation:
    """What a person is asked to confirm: the act in one line, its effects, and what happens next.

    `facts` stand in place of the page's own (None: those); `danger`: the button takes something away at once;
    `warnings` stand above everything: what should make the person look twice.
    """

    effects: Sequence[Effect]
    headline: Text = ""
    note: Text = ""
    button: Text = ""
    facts: Sequence[tuple[Text, Text]] | None = None
    danger: bool = False
    warnings: Sequence[Text] = ()


def form_key(request: HttpRequest) -> str:
    """The key of the form that was sent; a new one for a form that is shown for the first time."""
    try:
        return UUID(request.POST.get(KEY, "")).hex
    except ValueError:
        return uuid4().hex


def exact_hours(seconds: int | None, *beside: int) -> str:
    """GPU-seconds as GPU-hours, with decimals only where there are any: an officer confirms what is written.

    Figures that stand `beside` it are written alike.
    """
    return gpu_hours(seconds, 2 if any((figure or 0) % 3600 for figure in (seconds, *beside)) else 0)


def typed(form: forms.BaseForm) -> list[tuple[Text, str]]:
    """Everything that a valid form was filled in with, as a person reads it."""
    return [
        (capfirst(str(field.label)), in_words(field.field, form.cleaned_data.get(field.name)))
        for field in form.visible_fields()
    ]


def in_words(field: forms.Field, value: Any) -> str:
    """What a field was filled in with, as text."""
    words = NOTHING
    if isinstance(value, bool):
        words = _("Yes") if value else _("No")
    elif value is None or value == "":
        return words
    elif isinstance(field, GpuHoursField):
        words = exact_hours(value)
    elif isinstance(field, DollarsField):
        words = hkd(value, 2)
    elif isinstance(field, PercentField):
        words = percent(value)
    elif isinstance(value, models.Model) and isinstance(field, forms.ModelChoiceField):
        words = str(field.label_from_instance(value))
    elif isinstance(value, models.QuerySet):
        words = several(list(value))
    elif isinstance(field, forms.ChoiceField):
        words = str(dict(field.choices).get(value, value))  # type: ignore[arg-type]  # django-stubs: a callable, too
    elif isinstance(value, datetime):
        words = date_format(timezone.localtime(value), "DATETIME_FORMAT")
    elif isinstance(value, date):
        words = date_format(value)
    else:
        words = str(value)
    return words


def several(values: Sequence[Any]) -> str:
    """The first of many, and how many more there are."""
    shown = ", ".join(str(value) for value in values[:SHOWN_CHOICES])
    more = len(values) - SHOWN_CHOICES
    return shown if more <= 0 else _("%(shown)s and %(more)s more") % {"shown": shown, "more": more}
