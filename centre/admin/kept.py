"""Admin pages of rows that are kept: nothing is deleted, and whatever is saved is written to the audit trail.

* `KeptAdmin` is for rows that staff add and change; `HistoryAdmin` for rows that nobody changes by hand.
* `KeptInline` and `HistoryInline` are the same for rows shown on another row's page.

A page may carry acts (`acts()`): links to confirmation pages that call one verb each; see `centre.admin.acts`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre import audit, registry
from centre.admin import editing
from centre.admin.choosing import Search
from centre.admin.meanwhile import Below
from centre.admin.paging import CappedPaginator, Listed, NumbersFirst
from centre.admin.telling import act_told, changes_told
from centre.http import signed_in
from centre.models import Event, User
from centre.row_numbers import is_row_number

Row = TypeVar("Row", bound=models.Model)
SHOWN_EVENTS = 200
LOOKUP = re.compile(r"(__id)?(__(exact|isempty|isnull|gte|gt|lte|lt))?$")
"""What the filters of Django's admin put behind a field's name."""


@dataclass(frozen=True)
class ActLink:
    """A link on a row's page to the confirmation page of an act."""

    label: str | Promise
    url: str


def as_stored(model: type[models.Model], pks: Iterable[Any], fields: Iterable[str]) -> dict[Any, models.Model]:
    """The rows as the database has them, with what the named foreign keys point at; one query."""
    relations = [name for name in fields if model._meta.get_field(name).is_relation]
    return dict(model._base_manager.select_related(*relations).in_bulk(list(pks)))


def model_fields(form: forms.BaseForm, model: type[models.Model]) -> list[str]:
    """The changed fields of a form that are columns of the model."""
    columns = {field.name for field in model._meta.concrete_fields}
    return [name for name in form.changed_data if name in columns]


def narrowed_by(filter_of_list: Any) -> str:
    """The word by which an address names a filter of a list: its own, or the column's."""
    if isinstance(filter_of_list, str):
        return filter_of_list
    return str(getattr(filter_of_list, "parameter_name", None) or filter_of_list[0])


def searched_by(page: Any, db_field: Any, request: HttpRequest, options: dict[str, Any]) -> None:
    """Give a field that Django would have searched its search box, which survives what is no row's number."""
    if db_field.name in page.get_autocomplete_fields(request):
        options.setdefault("widget", Search(db_field, page.admin_site))


class KeptAdmin(admin.ModelAdmin[Row]):
    """Rows that staff add and change and nobody deletes; every save is recorded, from what to what.

    Of two people who change one row at once the second is told (`centre.admin.editing`); `also_compared` names columns
    that the form does not change, of which they should know as well.
    """

    class Media:
        css = {"all": ("centre/kept.css",)}

    also_compared: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    """Relations by which links of the portal narrow the list, besides its own filters."""
    paginator = NumbersFirst
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 40
    list_max_show_all = 0
    view_on_site = False
    refusals: tuple[type[Exception], ...] = ()

    def has_delete_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False

    def action_checkbox(self, obj: Row) -> SafeString:
        """Django's, written out: its own makes a widget from a template for each row, at a fifth of the list's cost."""
        label = gettext("Choose %(row)s") % {"row": obj}
        box = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'
        return format_html(box, ACTION_CHECKBOX_NAME, obj.pk, label)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Row | None:
        """The row, or the answer of a page that does not exist."""
        found = super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404
        return found

    def told_in_search(self, obj: Row) -> str:
        """What a search box offers, where the row's own name does not tell it from others of that name."""
        return str(obj)

    def get_inlines(self, request: HttpRequest, obj: Row | None) -> Any:
        """Nothing belongs yet to a row that is being added."""
        return self.inlines if obj is not None else ()

    def get_paginator(self, request: HttpRequest, *rows_and_size: Any, **options: Any) -> Any:
        pages: Any = super().get_paginator(request, *rows_and_size, **options)
        pages.further_on = request.GET.get(PAGE_VAR, "1") != "1"
        return pages

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the list's filters and the portal's own links narrow it by.

        Django lets an address search every column of a row, also those that no page shows: so the digest of a
        password, or of a token, is read letter by letter.
        """
        offered = {narrowed_by(each) for each in self.get_list_filter(request)}
        name = LOOKUP.sub("", lookup)
        return lookup in offered or name in offered or name in self.linked

    def response_action(self, request: HttpRequest, queryset: QuerySet[Row], *args: Any, **options: Any) -> Any:
        """Django's, for rows that can be meant: it would ask the database for whatever was sent."""
        sent = request.POST.copy()
        chosen = [number for number in sent.getlist(ACTION_CHECKBOX_NAME) if is_row_number(number)]
        sent.setlist(ACTION_CHECKBOX_NAME, chosen)
        request.POST = sent  # type: ignore[assignment]  # Django's own type has no way to replace it
        return super().response_action(request, queryset, *args, **options)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        searched_by(self, db_field, request, options)
        return super().formfield_for_foreignkey(db_field, request, **options)

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[Listed]:
        return Listed

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's, headed by what is listed."""
        return super().changelist_view(
            request, {"title": capfirst(str(self.opts.verbose_name_plural)), **(extra_context or {})}
        )

    def heading(self, obj: Row) -> str:
        """What the row is called on its own page, where its own name does not say enough."""
        return str(obj)

    def note_above(self, obj: Row) -> registry.Link | None:
        """What has to be known of the row before anything else on its page."""
        return None

    def acts(self, request: HttpRequest, obj: Row) -> list[ActLink]:
        """The acts that this person may begin on this row now."""
        return []

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Row | None = None,
    ) -> HttpResponse:
        shown = change and obj is not None
        context["heading"] = self.heading(obj) if shown and obj is not None else ""
        context["acts"] = self.acts(request, obj) if shown and obj is not None else []
        context["panels"] = registry.panels_of(obj, signed_in(request)) if shown and obj is not None else []
        context["note_above"] = self.note_above(obj) if shown and obj is not None else None
        context["answer"] = answer = editing.answer_of(request)
        if answer is not None and answer.sentence and len(context["errors"]) == 1:
            context["errors"] = ()  # nothing is wrong in any field; why nothing is saved is said in its own words
        if shown and obj is not None and self.has_change_permission(request, obj):
            stands = answer.now if answer is not None else None
            context["snapshot"] = (stands or self.shown(context, obj)).signed()
        return super().render_change_form(request, context, add, change, form_url, obj)

    def add_by_verb(self, obj: Row, form: Any, by: User, at: datetime) -> bool:
        """Add the row through its verb, which records the act and sets the row's number. False: there is no verb."""
        return False

    def change_by_verb(self, obj: Row, form: Any, by: User, at: datetime) -> bool:
        """Change the row through its verb, which records the act. False: there is no verb."""
        return False

    def save_model(self, request: HttpRequest, obj: Row, form: Any, change: bool) -> None:
        verb = self.change_by_verb if change else self.add_by_verb
        if verb(obj, form, signed_in(request), timezone.now()):
            return
        fields = model_fields(form, self.model)
        stored = as_stored(self.model, [obj.pk], fields).get(obj.pk) if change else None
        super().save_model(request, obj, form, change)
        record_save(request, obj, fields, stored)

    def save_below(self, formset: Any, by: User, at: datetime) -> bool:
        """Save rows that belong to the row through their verbs, which record the acts. False: there are no verbs."""
        return False

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        if self.save_below(formset, signed_in(request), timezone.now()):
            formset.save(commit=False)  # nothing is saved: Django's page asks the set what became of its rows
            return
        changed = [row for row in formset.forms if row.has_changed()]
        fields = {id(row.instance): model_fields(row, formset.model) for row in changed}
        names = {name for row_fields in fields.values() for name in row_fields}
        stored = as_stored(formset.model, [row.instance.pk for row in changed if row.instance.pk], names)
        super().save_formset(request, form, formset, change)
        for row in changed:
            record_save(request, row.instance, fields[id(row.instance)], stored.get(row.instance.pk))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Django's, after a look at what others did meanwhile; what a verb refuses is said above what was typed."""
        if request.method != "POST":
            return super().changeform_view(request, object_id, form_url, extra_context)
        try:
            with transaction.atomic():
                if object_id is not None:
                    self.compare(request, unquote(object_id))
                return super().changeform_view(request, object_id, form_url, extra_context)
        except self.refusals as refused:
            answer = editing.answer_of(request) or editing.Answer(now=None)
            editing.keep_answer(request, replace(answer, refusal=str(refused)))
        return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Row | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Django's; one that is not saved where something speaks against it."""
        form = super().get_form(request, obj, change=change, **kwargs)
        answer = editing.answer_of(request)
        return editing.held_back(form, answer.sentence) if answer is not None and answer.sentence else form

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        """Django's; rows that are only shown are as they stand, not as they stood when the form was shown."""
        given: dict[str, Any] = super().get_formset_kwargs(request, obj, inline, prefix)
        if "data" in given and isinstance(inline, HistoryInline):
            numbers = [row.pk for row in given["queryset"]]
            shown = {f"{prefix}-{count}_FORMS": str(len(numbers)) for count in ("TOTAL", "INITIAL")}
            pk = inline.opts.pk.name
            given["data"] = shown | {f"{prefix}-{n}-{pk}": str(number) for n, number in enumerate(numbers)}
        return given

    def compare(self, request: HttpRequest, number: str) -> None:
        """Lock the row and keep, on the request, what was changed since its page was shown."""
        row = self.get_object(request, number)
        if row is None or not self.has_change_permission(request, row):
            return
        self.model._base_manager.select_for_update(no_key=True).filter(pk=row.pk).values_list("pk").first()
        row = self.get_object(request, number)
        if row is None:
            return
        fields = flatten_fieldsets(self.get_fieldsets(request, row))
        answer = editing.compare(
            request,
            signed_in(request),
            row=row,
            form=self.get_form(request, row, change=True, fields=fields),
            sets=list(self.sets_below(request, row)),
            also=self.also_compared,
        )
        editing.keep_answer(request, answer)

    def sets_below(self, request: HttpRequest, row: Row) -> Iterator[editing.Set]:
        """The sets of rows on the page of a row that this person may change."""
        for formset, inline in self.get_formsets_with_inlines(request, row):
            if isinstance(inline, KeptInline) and inline.has_change_permission(request, row):
                rows = inline.shown_rows(inline.get_queryset(request)).filter(**{formset.fk.name: row.pk})
                below = Below(model=inline.model, fact=inline.fact)
                yield editing.Set(formset.get_default_prefix(), formset.form, list(rows), below)

    def shown(self, context: dict[str, Any], row: Row) -> editing.Shown:
        """What the page that is being made shows of the row and of what can be changed below it."""
        below = [shown.formset for shown in context["inline_admin_formsets"] if shown.has_change_permission]
        return editing.shown_on(context["adminform"].form, below, row, self.also_compared)

    def events_of(self, obj: Row) -> QuerySet[Event]:
        """What the history of a row tells, the newest first."""
        return Event.objects.filter(object_type=self.opts.label_lower, object_id=str(obj.pk))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What the audit trail says of the row, by whatever way it was changed: page, command or import."""
        obj = self.get_object(request, unquote(object_id))
        if obj is None or not self.has_view_or_change_permission(request, obj):
            raise PermissionDenied
        events = self.events_of(obj).select_related("actor")
        context = {
            **self.admin_site.each_context(request),
            "title": _("History"),
            "subtitle": self.heading(obj),
            "events": [(event, act_told(event), changes_told(event, self.model)) for event in events[:SHOWN_EVENTS]],
            "shown_events": SHOWN_EVENTS,
            "object": obj,
            "opts": self.opts,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name  # read by the {% url %} tag
        return TemplateResponse(request, "admin/object_history.html", context)


def record_save(request: HttpRequest, obj: models.Model, fields: Sequence[str], stored: models.Model | None) -> None:
    """Write one event for a saved form: all that was filled in when it was added, what differs when it was changed."""
    before = {name: getattr(stored, name) for name in fields} if stored is not None else {}
    after = {name: getattr(obj, name) for name in fields}
    if stored is not None and not fields:
        return
    audit.record(
        act=f"{'add' if stored is None else 'change'}_{obj._meta.model_name}",
        on=obj,
        by=signed_in(request),
        at=timezone.now(),
        changes=audit.changes_between(before, after),
    )


class HistoryAdmin(KeptAdmin[Row]):
    """Rows that are read here and changed by nobody: history, and what only verbs write. They only become more."""

    paginator = CappedPaginator

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Row | None = None) -> bool:
        return False


class KeptInline(admin.TabularInline[Row, models.Model]):
    """Rows on the page of the row that they belong to: added and changed there, never deleted."""

    extra = 0
    can_delete = False
    view_on_site = False
    fact = ""  # what the history of the row above calls a row of this kind, where its verbs record it there

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        searched_by(self, db_field, request, options)
        return super().formfield_for_foreignkey(db_field, request, **options)

    def shown_rows(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Which of the rows the page shows to be changed; all unless a page says otherwise."""
        return rows

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class HistoryInline(KeptInline[Row]):
    """The first rows that belong to a row, in the table's own order, to read. Name `fk_name`; `shown` limits them."""

    template = "admin/history_inline.html"
    shown = 50
    related: tuple[str, ...] = ()
    list_filter = ""  # the filter of the rows' own list that leads to all that belong to the row
    all_url = ""  # filled in for the row whose page is shown

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def belonging(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Which of the rows count, in which order; all of them unless a page says otherwise."""
        return rows

    def get_queryset(self, request: HttpRequest) -> QuerySet[Row]:
        # Not Django's own, which asks for the permission to view without saying of which row, and would get no rows.
        rows = self.belonging(self.model._default_manager.all())
        page = request.resolver_match
        if page is None or self.fk_name is None or "object_id" not in page.kwargs:
            return rows.none()
        number = unquote(page.kwargs["object_id"])
        if self.list_filter:
            address = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
            self.all_url = f"{address}?{urlencode({self.list_filter: number})}"
        first = rows.filter(**{self.fk_name: number}).values_list("pk", flat=True)
        return rows.filter(pk__in=list(first[: self.shown])).select_related(*self.related)
