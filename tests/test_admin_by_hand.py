"""What can be changed by form in the administration: the columns are written here, and nothing else obeys a form.

Which forms there are is found in the code. To each is sent what a browser would send, and beside it a forged value for
every other column of the row and of the rows on its page; only what is offered may follow. A state, a total and an
instant are none of it: those have verbs. Then two people send the form at once, and the second is told.

That rows of other models cannot be sent to at all, and that nothing can be deleted, is walked by the role matrix.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client, RequestFactory
from django.utils import timezone

from centre.admin import editing
from centre.admin.kept import KeptAdmin
from centre.models import Outage, Project, Site, User
from centre.permissions import StaffRole
from tests import make
from tests.centre.test_edit_conflicts import filled_in, page_of
from tests.test_role_matrix import row_of, rows  # noqa: F401  a fixture: a row of every model
from tests.test_urls import world  # noqa: F401  what that is made of

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]  # forms do not depend on the database: once is enough

BY_HAND = """
centre.centre: contact_email introduction_en introduction_zh_hans introduction_zh_hant name_en name_zh_hans
    name_zh_hant when_used_up
centre.site: code name_en name_zh_hans name_zh_hant
centre.cluster: site
centre.outage: ends_at gpus reason starts_at
centre.user: language name
centre.clusteruser: user
centre.project: summary title
centre.tenant: agreement_from_on agreement_until_on category name_en name_zh_hans name_zh_hant notes
    registration_number
centre.tenant > centre.tenantcontact: email ends name phone role
centre.gpupool: gpu_model
centre.gpupool > centre.capacity: gpus note
subsidies.scheme: default_rate_bp ends_on envelope_cents exceptional_ceiling_bp how_to_apply_en how_to_apply_zh_hans
    how_to_apply_zh_hant name_en name_zh_hans name_zh_hant ordinary_ceiling_bp starts_on
"""
"""The columns that a form changes, by model; `model > other`: of rows on its page, where a page may change them."""
NO_FORM = frozenset({"allocations.onboardingupload"})
"""Its page is a preview with acts, and no form: see test_onboarding_pages."""
HELD_BY_VERBS = ("state", "standing", "is_active", "is_superuser", "is_staff", "password")
"""Columns that no form may offer, by name; besides those, all that end like one of HELD_ENDINGS."""
HELD_ENDINGS = ("_seconds", "_cents", "_state", "ended_at", "recorded_at", "created_at", "merged_into")
DESCRIBES = ("subsidies.scheme: envelope_cents",)
"""A name like those that is no verb's: what the government gave the scheme is written, not worked out."""


@pytest.fixture
def every_row(rows: None) -> None:  # noqa: F811
    """A row of every model, its instants as a form can say them: in whole seconds."""
    whole = timezone.now().replace(microsecond=0)
    Outage.objects.update(starts_at=whole, ends_at=whole + timedelta(hours=1))


def by_hand() -> dict[str, set[str]]:
    """The table, by what stands before the colon."""
    lines = (line.partition(": ") for line in BY_HAND.replace("\n    ", " ").strip().splitlines())
    return {label: set(columns.split()) for label, _colon, columns in lines}


def everything() -> User:
    """Somebody who holds every staff role."""
    person = make.person()
    for role in StaffRole:
        make.staff(role, user=person)
    return User.objects.get(pk=person.pk)


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def forms_found(user: User) -> Iterator[tuple[KeptAdmin[Any], models.Model]]:
    """The pages on which a person who may do everything may change the row."""
    request = RequestFactory().get("/")
    request.user = user
    for model, page in admin.site._registry.items():
        row = row_of(model)
        assert row is not None, f"{model._meta.label} has no row here: make one"
        if page.has_change_permission(request, row) and model._meta.label_lower not in NO_FORM:
            assert isinstance(page, KeptAdmin)
            yield page, row


def offered(response: Any) -> dict[str, set[str]]:
    """The columns that a page offers to change, of its row and of the rows on it."""
    form = response.context["adminform"].form
    label = form._meta.model._meta.label_lower
    found = {label: {name for name in form.fields if not form.fields[name].disabled}}
    for inline in response.context["inline_admin_formsets"]:
        fields = inline.formset.empty_form.fields
        names = {name for name, field in fields.items() if not field.disabled and not field.widget.is_hidden}
        if (inline.has_add_permission or inline.has_change_permission) and names:
            found[f"{label} > {inline.opts.model._meta.label_lower}"] = names
    return found


def held(table: dict[str, set[str]]) -> list[str]:
    """Columns of a table that belong to verbs."""
    return [
        f"{label}: {name}"
        for label, names in table.items()
        for name in sorted(names)
        if name in HELD_BY_VERBS or name.endswith(HELD_ENDINGS)
    ]


# ---------------------------------------------------------------- forged values


def forged(column: models.Field[Any, Any], value: Any) -> str:
    """Another value than the row has, as a browser would send it."""
    if column.choices:
        return next(str(choice) for choice, _label in column.flatchoices if choice != value)
    if column.related_model is not None:
        others = column.related_model._base_manager.exclude(pk=value)
        return str(others.values_list("pk", flat=True).first() or 1)
    if isinstance(column, models.BooleanField):
        return "" if value else "on"
    if isinstance(column, models.DateField):  # and instants
        return "2001-02-03 04:05:06" if isinstance(column, models.DateTimeField) else "2001-02-03"
    if isinstance(column, models.IntegerField):
        return "7777"
    return "forged@example.org" if isinstance(column, models.EmailField) else "forged"


def forged_of(row: models.Model, prefix: str, table: set[str]) -> dict[str, str]:
    """Forged values of every column that the table does not name; instants also in the two parts of their field."""
    sent = {}
    for column in row._meta.concrete_fields:
        if column.primary_key or column.name in table:
            continue
        value = forged(column, getattr(row, column.attname))
        sent[f"{prefix}{column.name}"] = value
        if isinstance(column, models.DateTimeField):
            sent[f"{prefix}{column.name}_0"], sent[f"{prefix}{column.name}_1"] = value.split()
    return sent


def forged_below(response: Any, label: str) -> dict[str, str]:
    """The same of the first row of each kind on the page."""
    sent: dict[str, str] = {}
    for inline in response.context["inline_admin_formsets"]:
        table = by_hand().get(f"{label} > {inline.opts.model._meta.label_lower}", set())
        parent = inline.formset.fk.name
        for part in inline.formset.initial_forms[:1]:
            sent |= forged_of(part.instance, f"{part.prefix}-", {*table, parent})
    return sent


def values_of(models_shown: list[type[models.Model]]) -> dict[tuple[str, int, str], Any]:
    """Every value of these tables, by model, number and column."""
    return {
        (model._meta.label_lower, values[model._meta.pk.attname], name): value
        for model in models_shown
        for values in model._base_manager.values()
        for name, value in values.items()
    }


def text_column(response: Any) -> str | None:
    """A column of plain text that the page offers; None where there is only a choice."""
    form = response.context["adminform"].form
    for name in form.fields:
        column = form._meta.model._meta.get_field(name)
        if isinstance(column, models.CharField | models.TextField) and not column.choices and name != "code":
            return str(name)
    return None


def written_besides(row: models.Model, user: User) -> list[str]:
    """What was changed by a form with forged values, though the table does not name it."""
    client, label = browser(user), row._meta.label_lower
    shown = client.get(page_of(row))
    tables = [type(row), *(inline.opts.model for inline in shown.context["inline_admin_formsets"])]
    given, typed = filled_in(shown), text_column(shown)
    if typed is not None:
        given[typed] = "Typed by hand"
    before = values_of(tables)
    sent = given | forged_below(shown, label) | forged_of(row, "", by_hand()[label])
    assert client.post(page_of(row), sent).status_code == 302, f"{label}: the form was not saved"
    after = values_of(tables)
    changed = {
        f"{model}: {name}" for model, pk, name in before if before[model, pk, name] != after.get((model, pk, name))
    }
    assert typed is None or f"{label}: {typed}" in changed, f"{label}: what was typed was not saved"
    return sorted(changed - {f"{label}: {typed}"}) + [f"{key} is new" for key in after if key not in before]


def test_every_form_offers_the_columns_that_are_written_here_and_none_of_a_verb(every_row: None) -> None:
    user, table = everything(), dict[str, set[str]]()
    for _page, row in forms_found(user):
        table |= offered(browser(user).get(page_of(row)))
    assert {label: sorted(names) for label, names in table.items()} == {
        label: sorted(names) for label, names in by_hand().items()
    }
    assert held(table) == sorted(DESCRIBES)


def test_nothing_but_what_is_offered_follows_a_form(every_row: None) -> None:
    user = everything()
    assert {row._meta.label_lower: written_besides(row, user) for _page, row in forms_found(user)} == {
        label: [] for label in by_hand() if ">" not in label
    }


def test_a_form_that_offers_more_is_caught(every_row: None, monkeypatch: pytest.MonkeyPatch) -> None:
    page: Any = admin.site.get_model_admin(Outage)
    monkeypatch.setattr(type(page), "get_readonly_fields", lambda *_anything: ())
    row, user = row_of(Outage), everything()
    assert row is not None
    assert offered(browser(user).get(page_of(row)))["centre.outage"] - by_hand()["centre.outage"] == {"pool"}
    assert written_besides(row, user) == ["centre.outage: pool_id"]


@pytest.mark.parametrize("column", ["state", "standing", "used_seconds", "ended_at"])
def test_a_column_of_a_verb_is_caught_by_its_name(column: str) -> None:
    assert held({"allocations.allocation": {"reference", column}}) == [f"allocations.allocation: {column}"]


# ---------------------------------------------------------------- two people at once


def overwritten(row: models.Model, first: User, second: User) -> str:
    """What went wrong when the second person saved a form that they had opened before the first saved theirs."""
    label, url = row._meta.label_lower, page_of(row)
    early, late = browser(first), browser(second)
    own, stale = early.get(url), late.get(url)
    given, old = filled_in(own), filled_in(stale)
    name = text_column(own)
    if name is not None:
        given[name], old[name] = "Written by the first", "Written by the second"
    else:
        (name,) = by_hand()[label]
        column = row._meta.get_field(name)
        assert isinstance(column, models.ForeignKey)
        given[name] = forged(column, getattr(row, column.attname))
    assert early.post(url, given).status_code == 302, label
    stands = type(row)._base_manager.values().get(pk=row.pk)
    answer = late.post(url, old)
    if answer.status_code != 200:
        return f"{label}: the second was not told"
    if type(row)._base_manager.values().get(pk=row.pk) != stands:
        return f"{label}: what the first wrote is gone"
    if first.name not in {change.who for change in answer.context["answer"].meanwhile}:
        return f"{label}: the second was not told who"
    typed = answer.context["adminform"].form[name].value()
    return "" if typed == old[name] or text_column(own) is None else f"{label}: what the second typed is gone: {typed}"


def two_people() -> tuple[User, User]:
    return everything(), everything()


def test_of_two_people_at_one_form_the_second_is_told_and_loses_nothing(every_row: None) -> None:
    Site.objects.create(code="sandy-ridge", name_en="Sandy Ridge")
    first, second = two_people()
    found = [(row._meta.label_lower, overwritten(row, first, second)) for _page, row in forms_found(first)]
    assert found == [(label, "") for label in by_hand() if ">" not in label]


def test_forms_that_are_not_compared_are_caught(every_row: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(request: Any, user: User, *, row: Any, form: Any, sets: Any, also: Any) -> editing.Answer:
        return editing.Answer(editing.standing_now(form(instance=row), sets, row, also))

    monkeypatch.setattr(editing, "compare", blind)
    row = row_of(Project)
    assert row is not None
    assert overwritten(row, *two_people()) == "centre.project: the second was not told"
