"""What an address or a form may carry that no page of the administration wrote: nothing leaks and nothing breaks."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import NoReverseMatch, reverse

from centre.admin.kept import KeptAdmin, narrowed_by
from centre.models import User
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db

LONG = "9" * 40
NO_VALUES = (LONG, "x", "0001-01-01", "２０２６", "\x00")
SECRETS = ("password", "digest", "key", "token", "content")


@pytest.fixture
def everybody(client: Client) -> User:
    """Somebody with every staff role, signed in: what they cannot do, nobody can."""
    user = make.person()
    for role in StaffRole:
        make.staff(role, user=user)
    client.force_login(User.objects.get(pk=user.pk))
    client.raise_request_exception = False
    return user


def lists() -> list[tuple[str, KeptAdmin[Any]]]:
    """The address of every list of the administration, and what makes it."""
    found = []
    for page in admin.site._registry.values():
        assert isinstance(page, KeptAdmin), page
        try:
            found.append((reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist"), page))
        except NoReverseMatch:
            continue
    return found


def unlisted_columns(model: type[models.Model]) -> Iterator[str]:
    """Columns of the row and of the rows that it points at, which nobody should search."""
    for column in model._meta.concrete_fields:
        if column.name in SECRETS:
            yield column.name
        if isinstance(column, models.ForeignKey):
            related = column.related_model
            yield from (f"{column.name}__{each.name}" for each in related._meta.concrete_fields if each.name in SECRETS)


def narrowed_lists(client: Client) -> list[str]:
    """Lists that an address narrowed by a column that holds a secret."""
    asked = [f"{url}?{name}__startswith=a" for url, page in lists() for name in unlisted_columns(page.model)]
    assert len(asked) > 20
    return [address for address in asked if client.get(address).get("Location", "") != f"{address.split('?')[0]}?e=1"]


def test_no_list_is_narrowed_by_a_column_that_holds_a_secret(client: Client, everybody: User) -> None:
    assert narrowed_lists(client) == []


def test_lists_as_django_has_them_read_out_passwords(
    client: Client, everybody: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeptAdmin, "lookup_allowed", admin.ModelAdmin.lookup_allowed)
    assert any("password" in address for address in narrowed_lists(client))


@pytest.mark.filterwarnings("ignore:.*naive datetime:RuntimeWarning")  # which a day becomes that nobody offered
def test_filters_survive_what_is_no_value_of_theirs(client: Client, everybody: User) -> None:
    broken = []
    for url, page in lists():
        for name in map(narrowed_by, page.list_filter):
            for lookup in (name, f"{name}__exact", f"{name}__id__exact", f"{name}__gte"):
                broken += [
                    f"{url}?{lookup}={value}"
                    for value in NO_VALUES
                    if client.get(url, {lookup: value}).status_code not in (200, 302)
                ]
    assert broken == []


def test_bulk_acts_survive_what_is_no_row(client: Client, everybody: User) -> None:
    broken, tried = [], 0
    for url, page in lists():
        for name in page.actions or ():
            word = name if isinstance(name, str) else name.__name__
            for value in NO_VALUES:
                tried += 1
                answer = client.post(url, {"action": word, "_selected_action": value})
                if answer.status_code not in (200, 302):
                    broken.append(f"{url} {word} {value}: {answer.status_code}")
    assert (broken, tried > 30) == ([], True)


def test_search_fields_of_forms_survive_what_is_no_row(client: Client, everybody: User) -> None:
    broken, tried = [], 0
    for url, _page in lists():
        shown = client.get(f"{url}add/")
        if shown.status_code != 200 or "adminform" not in shown.context:
            continue
        form = shown.context["adminform"].form
        for value in NO_VALUES:
            tried += 1
            given = {form.add_prefix(name): value for name in form.fields}
            answer = client.post(f"{url}add/", urlencode(given), content_type="application/x-www-form-urlencoded")
            if answer.status_code not in (200, 302, 403):
                broken.append(f"{url} {value}: {answer.status_code}")
    assert (broken, tried > 30) == ([], True)
