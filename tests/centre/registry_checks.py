"""What the forms of an admin site must not offer, asked of any page of any site: each check gives its faults in words.

The checks find what they look for in the models, the database's rules and the code, so that a new model is asked like
all others. They take the page (a ModelAdmin), the row, and people; what a check sends is undone by it.
"""

import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, models, transaction
from django.http import Http404, HttpResponse
from django.test import RequestFactory
from django.urls import resolve, reverse

from centre.admin.editing import SNAPSHOT
from centre.models import User
from centre.triggers import RULES
from tests.centre.test_edit_conflicts import as_sent

Sent = dict[str, str]
OUR_APPS = ("centre", "allocations", "subsidies")
STATE = "is a state"  # the one reason that counts on the page of an act as well, which asks what its verb wants to know
STATES = {"state", "status", "standing", "outcome", "phase"}
REFUSED = {403, 405}
DJANGOS_OWN = {"change", "delete", "history"}


# --------------------------------------------------------------------------------------------------- asking


@contextmanager
def undone() -> Iterator[None]:
    """What is done inside did not happen."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def ask(page: ModelAdmin[Any], user: User, view: str, row: models.Model | None = None, sent: Sent | None = None) -> Any:
    """The answer of a page of Django's, of whatever site: by POST where something is sent. It is not drawn yet."""
    arguments = [str(row.pk)] if row is not None else []
    name = f"admin:{page.opts.app_label}_{page.opts.model_name}_{view}"
    return answer(getattr(page, f"{view}_view"), reverse(name, args=arguments), user, arguments, sent)


def answer(view: Any, path: str, user: User, arguments: list[str], sent: Sent | None) -> Any:
    request: Any = RequestFactory().get(path) if sent is None else RequestFactory().post(path, sent)
    request._dont_enforce_csrf_checks = True
    request.user, request.session = user, {}
    request._messages = FallbackStorage(request)
    request.resolver_match = resolve(path)
    try:
        return view(request, *arguments)
    except PermissionDenied:
        return HttpResponse(status=403)
    except Http404:
        return HttpResponse(status=404)


def context_of(response: Any) -> dict[str, Any]:
    return getattr(response, "context_data", None) or {}


def sets_of(context: dict[str, Any]) -> list[Any]:
    return list(context.get("inline_admin_formsets", ()))


def offered(context: dict[str, Any]) -> dict[str, Any]:
    """The fields of a page that can be filled in, by their names in the form; also those of rows below the record."""
    form = context["adminform"].form if "adminform" in context else context.get("form")
    fields = {field.html_name: field for field in form} if form else {}
    for below in sets_of(context):
        rows = [*below.formset.initial_forms] if below.has_change_permission else []
        rows += [*below.formset.extra_forms, below.formset.empty_form] if below.has_add_permission else []
        fields |= {field.html_name: field for row in rows for field in row if not field.is_hidden}
    return fields


def form_as_sent(context: dict[str, Any]) -> Sent:
    """All of the form as a browser would send it back."""
    sent = {SNAPSHOT: context["snapshot"]} if "snapshot" in context else {}
    fields = list(context["adminform"].form) if "adminform" in context else []
    for below in sets_of(context):
        fields += [*below.formset.management_form, *(field for row in below.formset.forms for field in row)]
    for field in fields:
        given: dict[str, Any] = as_sent(field)
        sent |= {name: value for name, value in given.items() if value is not None}  # an instant of a row only shown
    return sent


def stored(rows: Iterable[models.Model]) -> list[Any]:
    """All columns of the rows as they stand in the database."""
    return [row._meta.base_manager.filter(pk=row.pk).values().first() for row in rows]


# ------------------------------------------------------------------------------------------ what must not be written


@cache
def life_cycles() -> frozenset[tuple[str, ...]]:
    """The values of every enumeration of which the code has a table: from where to where."""
    for app in OUR_APPS:
        for module in pkgutil.iter_modules(import_module(app).__path__, f"{app}."):
            if module.name.split(".")[1] not in {"migrations", "management", "asgi", "wsgi"}:
                import_module(module.name)
    found = set()
    for name, loaded in list(sys.modules.items()):
        if name.split(".")[0] in OUR_APPS:
            tables = [table for table in vars(loaded).values() if isinstance(table, Mapping) and table]
            for kind, table in [(type(next(iter(table))), table) for table in tables]:
                if issubclass(kind, models.TextChoices) and all(leads_to(kind, to) for to in table.values()):
                    found.add(tuple(kind.values))
    return frozenset(found)


def leads_to(kind: type, to: Any) -> bool:
    return isinstance(to, (frozenset, set, tuple, list)) and all(isinstance(each, kind) for each in to)


def why_not_by_hand(column: Any) -> str:
    """Why nobody writes this column in a form; nothing where staff may."""
    name, target = column.name, column.related_model if column.is_relation else None
    choices = tuple(value for value, _label in column.flatchoices)
    unit = name.rpartition("_")[2]
    reasons = {
        STATE: name in STATES or choices in life_cycles(),
        "is a flag that a verb sets": isinstance(column, models.BooleanField),
        "says when something happened": isinstance(column, models.DateTimeField) and column.null,
        "says who did something": target is User and name.rpartition("_")[2] == "by",
        "names another row of its kind": target is column.model,
        "is an amount": isinstance(column, models.IntegerField) and unit in {"seconds", "cents"},
        "is marked as written by the program": not column.editable and not column.primary_key,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def kept_from_hand(model: type[models.Model]) -> dict[str, str]:
    """The columns of a model that no form may write, and why."""
    reasons = {column.name: why_not_by_hand(column) for column in model._meta.concrete_fields}
    return {name: reason for name, reason in reasons.items() if reason}


def state_faults(page: ModelAdmin[Any], row: models.Model, user: User, terms: Iterable[str] = ()) -> list[str]:
    """States, flags and amounts that a form of the page offers, or that it takes when they are sent all the same.

    `terms` are the columns of which it is said that they are terms and no states, as `app.model.column`.
    """
    faults = [f"{page.opts.label_lower}: {name} is changed in the list" for name in page.list_editable]
    shown = context_of(ask(page, user, "change", row))
    pages = [(page.model, offered(shown)), (page.model, offered(context_of(ask(page, user, "add"))))]
    for model, fields in pages:
        for field in fields.values():
            of_row = getattr(getattr(field.form, "_meta", None), "model", None)
            of, reason = of_row or model, kept_from_hand(of_row or model).get(field.name)
            if reason and (of_row or reason == STATE) and f"{of._meta.label_lower}.{field.name}" not in terms:
                faults.append(f"{page.opts.label_lower} offers {of._meta.label_lower}.{field.name}, which {reason}")
    return [*dict.fromkeys(faults), *faults_by_post(page, row, user, shown, terms)]


def faults_by_post(
    page: ModelAdmin[Any], row: models.Model, user: User, shown: dict[str, Any], terms: Iterable[str]
) -> list[str]:
    """The columns that change when they are added by hand to what the form sends."""
    below = {part.formset.prefix: list(part.formset.queryset) for part in sets_of(shown)}
    rows, sent = [row, *(each for part in below.values() for each in part)], form_as_sent(shown)
    for prefix, each in [("", row), *((f"{part}-{n}-", one) for part in below for n, one in enumerate(below[part]))]:
        for name in kept_from_hand(type(each)):
            if f"{each._meta.label_lower}.{name}" not in terms:
                sent |= by_hand(each, name, prefix)
    before, _plain = sent_and_undone(page, row, user, form_as_sent(shown), rows)
    after, status = sent_and_undone(page, row, user, sent, rows)
    what = page.opts.label_lower
    faults = [
        f"{what}: {name} of {each._meta.label_lower} was written by what was sent by hand"
        for each, old, new in zip(rows, before, after, strict=True)
        for name in old
        if old is not None and old[name] != (new or {}).get(name)
    ]
    expected = {302} if offered(shown) and "snapshot" in shown else REFUSED
    return faults if faults or status in expected else [f"{what}: answered {status} to what was sent by hand"]


def sent_and_undone(
    page: ModelAdmin[Any], row: models.Model, user: User, sent: Sent, rows: list[models.Model]
) -> tuple[list[Any], int]:
    """How the rows would stand after a form was sent, and the status of the answer."""
    with undone():
        status = ask(page, user, "change", row, sent).status_code
        return stored(rows), status


def by_hand(row: models.Model, name: str, prefix: str) -> Sent:
    """Something else than stands in a column, as a form would send it that had a field for it."""
    column: Any = row._meta.get_field(name)
    value = row.serializable_value(name)
    if column.flatchoices:
        other = next(str(each) for each, _label in column.flatchoices if each != value)
    elif isinstance(column, models.BooleanField):
        other = "" if value else "on"
    elif isinstance(column, models.DateTimeField):
        day, time = "2031-05-01", "10:00:00"
        return {f"{prefix}{name}": f"{day} {time}", f"{prefix}{name}_0": day, f"{prefix}{name}_1": time}
    elif column.is_relation:
        others = column.related_model._base_manager.exclude(pk=value).values_list("pk", flat=True)
        other = str(others.first() or "")
    elif isinstance(column, models.IntegerField):
        other = str((value or 0) + 1)
    else:
        other = "by hand"
    return {f"{prefix}{name}": other}


# --------------------------------------------------------------------------------------------------- history


def is_history(model: type[models.Model]) -> bool:
    """Whether the database keeps rows of the model from being removed, or each says who did something."""
    kept = {rule.table for rule in RULES if any(name.endswith("_delete") for name in rule.sqlite_names)}
    told = [column for column in model._meta.concrete_fields if column.related_model is User]
    return model._meta.db_table in kept or any(column.name.rpartition("_")[2] == "by" for column in told)


def writing_faults(page: ModelAdmin[Any], row: models.Model, user: User) -> list[str]:
    """What can be written by hand on the pages of rows that only verbs write."""
    what, shown = page.opts.label_lower, context_of(ask(page, user, "change", row))
    faults = [f"{what}: {name} can be changed by hand" for name in offered(shown)]
    if "adminform" in context_of(ask(page, user, "add")):
        faults.append(f"{what}: a row can be added by hand")
    sent: Sent = {"_save": "yes"}
    for column in row._meta.concrete_fields:
        sent |= {} if column.primary_key else by_hand(row, column.name, "")
    before = stored([row])
    with undone():
        status, after = 0, None
        try:
            with transaction.atomic():
                status = ask(page, user, "change", row, form_as_sent(shown) | sent).status_code
                after = stored([row])
        except IntegrityError:
            faults.append(f"{what}: only the database refused the change")
    if status and (status not in REFUSED or after != before):
        faults.append(f"{what}: a change by hand was answered {status}")
    return faults


# --------------------------------------------------------------------------------------------------- deleting


def deleting_faults(page: ModelAdmin[Any], row: models.Model, user: User) -> list[str]:
    """Every way by which the page offers to delete the row, or does it."""
    what, faults = page.opts.label_lower, []
    response = ask(page, user, "change", row)
    shown = context_of(response)
    if f"/{row.pk}/delete/" in response.render().content.decode():
        faults.append(f"{what}: “Delete” is on the page of a row")
    faults += [f"{what}: rows below can be deleted ({set_.formset.prefix})" for set_ in sets_of(shown) if deletes(set_)]
    request: Any = RequestFactory().get("/")
    request.user = user
    if "delete_selected" in page.get_actions(request):
        faults.append(f"{what}: the list offers to delete what is chosen")
    chosen = {"action": "delete_selected", "_selected_action": str(row.pk), "post": "yes", "index": "0"}
    for view, of, sent in (("delete", row, {"post": "yes"}), ("changelist", None, chosen)):
        with undone():
            try:
                with transaction.atomic():
                    status = ask(page, user, view, of, sent).status_code
                    stands = stored([row]) != [None]
            except IntegrityError:
                status, stands = 0, True
        if not stands or (view == "delete" and status not in REFUSED):
            faults.append(f"{what}: {view} answered {status}, the row {'stands' if stands else 'is gone'}")
    return faults


def deletes(below: Any) -> bool:
    return bool(below.formset.can_delete and below.has_delete_permission)


def unprotected(model: type[models.Model], apps: Iterable[str] = OUR_APPS) -> list[str]:
    """What would go, or lose its link, along with a row of the model, in these apps."""
    return [
        f"{relation.related_model._meta.label_lower}.{relation.field.name}"
        for relation in model._meta.related_objects
        if relation.related_model._meta.app_label in apps and relation.on_delete is not models.PROTECT
    ]


# --------------------------------------------------------------------------------------------------- acts


def silent_acts(page: ModelAdmin[Any], row: models.Model, user: User) -> list[str]:
    """Acts that take something away and do not say what that means before it is done."""
    faults = []
    for url in page.get_urls():
        route = re.fullmatch(r"<path:object_id>/([\w-]+)/", str(url.pattern))
        if route is None or route[1] in DJANGOS_OWN:
            continue
        home = reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_change", args=[row.pk])
        shown = context_of(answer(url.callback, home, user, [str(row.pk)], None))
        if shown.get("danger") and not (shown["explanation"] or shown["effects"] or shown["has_two_steps"]):
            faults.append(f"{page.opts.label_lower}: “{shown['title']}” does not say what it means")
    return faults
