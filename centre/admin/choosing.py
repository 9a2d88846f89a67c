"""Fields of act pages in which one row out of many is chosen: a search as you type, never a list of everything."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminDateWidget, AdminSplitDateTime, AutocompleteSelect
from django.core.exceptions import ValidationError
from django.db import models
from django.forms import Media
from django.http import QueryDict
from django.utils.functional import lazy
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from centre.days import validate_day
from centre.row_numbers import is_row_number


class Search(AutocompleteSelect):
    """Django's search box; what was sent and can be no row's number is not looked for when it is shown again."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [each for each in value if not each or is_row_number(str(each))], attr)


class NamedSearch(Search):
    """The same with a text in it while nothing is chosen, and with the label's name for screen readers.

    `among` narrows what is searched, by words that the `get_search_results` of the searched list knows.
    """

    among: Mapping[str, str] = MappingProxyType({})

    def get_url(self) -> str:
        address: str = super().get_url()
        return f"{address}?{urlencode(self.among)}" if self.among else address

    @property
    def media(self) -> Media:
        return super().media + Media(js=["admin/js/autocomplete.js", "centre/search_names.js"])

    def build_attrs(self, base_attrs: dict[str, Any], extra_attrs: dict[str, Any] | None = None) -> dict[str, Any]:
        return {**super().build_attrs(base_attrs, extra_attrs), "data-placeholder": str(_("Search and choose"))}


class NamedInstant(AdminSplitDateTime):
    """Django's two fields for an instant, of which a screen reader is told which is the day and which the time."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, attrs)
        labels = (context["date_label"], context["time_label"])
        for part, label in zip(context["widget"]["subwidgets"], labels, strict=True):
            part["attrs"]["aria-label"] = str(label).rstrip(":：")
        return context


class ChosenField(forms.ModelChoiceField[Any]):
    """A row as the search box of its own list tells it."""

    def label_from_instance(self, obj: models.Model) -> str:
        told = getattr(admin.site.get_model_admin(type(obj)), "told_in_search", str)
        return str(told(obj))


def chosen(model: type[models.Model], field: str, **options: Any) -> forms.ModelChoiceField[Any]:
    """A form field for what the foreign key `field` of the model points at; as quick with a million rows."""
    relation = model._meta.get_field(field)
    assert isinstance(relation, models.ForeignKey)  # noqa: S101  a mistake in the program
    options.setdefault("label", lazy(capfirst, str)(relation.verbose_name))
    return ChosenField(
        queryset=relation.related_model._default_manager.all(),
        widget=NamedSearch(relation, admin.site),
        **options,
    )


def day(**options: Any) -> forms.DateField:
    """A day in a year that can be meant, with the calendar of the admin."""
    return forms.DateField(widget=AdminDateWidget(), validators=[validate_day], **options)


def prefilled(form: type[forms.Form], given: QueryDict) -> dict[str, Any]:
    """What the address of a page fills in: the named fields whose content can be right."""
    initial: dict[str, Any] = {}
    for name, field in form.base_fields.items():
        if given.get(name):
            with suppress(ValidationError):
                initial[name] = field.clean(given[name])
    return initial


class ReasonForm(forms.Form):
    """Why: kept in the audit trail."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "class": "vLargeTextField"}),
    )
