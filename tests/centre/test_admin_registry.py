"""The administration's own forms obey the verbs, whatever is registered: the pages are found in `admin.site`.

A model that is registered anew is asked by itself: its states, flags and amounts are in no form, its rows are only
read, nothing is deleted. What staff may write by hand is written here, with the reason.
"""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.admin import AdminSite, ModelAdmin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone

from allocations.models import Allocation, ChangeRequest
from centre import contacts, members
from centre.admin.acts import act_page, act_urls, row_of_act
from centre.admin.kept import HistoryAdmin, KeptAdmin, KeptInline
from centre.models import Event, Membership, Outage, Project, Site, Tenant, User
from centre.permissions import StaffRole
from subsidies.models import Application
from tests import make
from tests.centre.registry_checks import (
    STATE,
    deleting_faults,
    is_history,
    kept_from_hand,
    silent_acts,
    state_faults,
    unprotected,
    writing_faults,
)
from tests.centre.stale_checks import stale_faults
from tests.test_role_matrix import row_of, rows  # noqa: F401  a fixture: a row of every model
from tests.test_urls import world  # noqa: F401  what that fixture stands on

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]  # forms do not depend on the database: once is enough

BY_HAND = {
    "centre.centre": "its names, what the front page says and the rule for used-up hours",
    "centre.cluster": "the site on which it stands",
    "centre.clusteruser": "whose name it is",
    "centre.gpupool": "the model of its GPUs; mistyped numbers of its capacity",
    "centre.outage": "when it ends is only known later",
    "centre.project": "how it describes itself",
    "centre.site": "its names",
    "centre.tenant": "how it describes itself, and its contacts",
    "centre.user": "the name and the language of a person",
    "subsidies.scheme": "the terms, which the government changes",
}
"""The models whose rows staff write in a form. All others are read there, and written by acts."""
TERMS = {"subsidies.scheme.envelope_cents": "how much money the government gives; movements of it are entries"}
"""Columns that look like an amount of the books and are none."""
DELETABLE: dict[str, str] = {}
"""Models whose rows can be deleted, and why that takes no history away."""


def mighty(name: str = "") -> User:
    """Somebody who holds every staff role: nobody may do more."""
    person = make.person(name=name)
    for role in StaffRole:
        make.staff(role, user=person)
    return User.objects.get(pk=person.pk)


def rows_of(model: type[models.Model]) -> list[models.Model]:
    """The rows that are asked about; of people one who has a password and one who never signed in."""
    row = row_of(model)
    assert row is not None, f"make a row of {model._meta.label} for this test"
    if model is User:
        person = members.add_person(email="new@example.org", name="New", language="en", by=None, at=timezone.now())
        return [row, person]
    return [row]


def registered() -> list[tuple[ModelAdmin[Any], models.Model]]:
    return [(page, row) for model, page in admin.site._registry.items() for row in rows_of(model)]


def page_with(model: type[models.Model], page: type[ModelAdmin[Any]]) -> ModelAdmin[Any]:
    """A page on a site of its own, which no address leads to."""
    return page(model, AdminSite())


# --------------------------------------------------------------------------------------------------- states


def test_no_form_offers_or_takes_a_state_a_flag_or_an_amount(rows: None) -> None:  # noqa: F811
    user = mighty()
    assert [fault for page, row in registered() for fault in state_faults(page, row, user, TERMS)] == []


def test_states_are_found_by_name_and_by_the_table_of_where_they_may_go() -> None:
    states = {model: kept_from_hand(model) for model in (Tenant, Project, Allocation, ChangeRequest, Application)}
    found = {
        f"{model.__name__}.{name}" for model, kept in states.items() for name in kept if kept[name] == "is a state"
    }
    assert found == {
        "Tenant.standing",
        "Project.standing",
        "Allocation.state",
        "ChangeRequest.state",
        "Application.state",
    }


class OffersStanding(KeptAdmin[Tenant]):
    fields = ("name_en", "standing")


class TakesStanding(KeptAdmin[Tenant]):
    fields = ("name_en",)

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        obj.standing = request.POST.get("standing", obj.standing)
        super().save_model(request, obj, form, change)


class OffersBelow(KeptInline[Project]):
    model = Project
    fields = ("title", "standing")


class OffersStandingBelow(KeptAdmin[Tenant]):
    fields = ("name_en",)
    inlines = (OffersBelow,)


class OffersInList(KeptAdmin[Tenant]):
    fields = ("name_en",)
    list_display = ("code", "name_en")
    list_editable = ("name_en",)


class AsksForStanding(HistoryAdmin[Tenant]):
    """Rows are added by an act, which asks where the tenant is to stand."""

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        asked = forms.Form()
        asked.fields["standing"] = forms.CharField()
        return act_page(
            request, admin=self, row=None, title="", button="", run=lambda given: ("", None), refusals=(), form=asked
        )


OFFERS = f"centre.tenant offers centre.tenant.standing, which {STATE}"


@pytest.mark.parametrize(
    ("page", "faults"),
    [
        (OffersStanding, [OFFERS, "centre.tenant: standing of centre.tenant was written by what was sent by hand"]),
        (TakesStanding, ["centre.tenant: standing of centre.tenant was written by what was sent by hand"]),
        (
            OffersStandingBelow,
            [
                "centre.tenant offers centre.project.standing, which is a state",
                "centre.tenant: standing of centre.project was written by what was sent by hand",
            ],
        ),
        (OffersInList, ["centre.tenant: name_en is changed in the list"]),
        (AsksForStanding, [OFFERS]),
    ],
)
def test_a_page_that_offers_or_takes_a_state_is_caught(page: type[ModelAdmin[Any]], faults: list[str]) -> None:
    tenant = make.project().tenant
    assert state_faults(page_with(Tenant, page), tenant, mighty()) == faults


def test_every_term_is_still_in_a_form(rows: None) -> None:  # noqa: F811
    user = mighty()
    pages = [(page, row) for page, row in registered() if any(page.opts.label_lower in term for term in TERMS)]
    faults = [fault for page, row in pages for fault in state_faults(page, row, user)]
    assert {term for term in TERMS if any(term in fault for fault in faults)} == TERMS.keys()


# --------------------------------------------------------------------------------------------------- history


def test_rows_that_only_verbs_write_are_read_only(rows: None) -> None:  # noqa: F811
    user = mighty()
    read = [(page, row) for page, row in registered() if page.opts.label_lower not in BY_HAND]
    assert [fault for page, row in read for fault in writing_faults(page, row, user)] == []


def test_nothing_that_bears_history_is_written_by_hand() -> None:
    history = {model._meta.label_lower for model in admin.site._registry if is_history(model)}
    assert history & BY_HAND.keys() == set()
    assert {"centre.event", "centre.appointment", "allocations.ledgerentry", "subsidies.decision"} <= history


class OpenToAll(HistoryAdmin[Membership]):
    fields = ("role", "ended_at")

    def has_change_permission(self, request: HttpRequest, obj: Membership | None = None) -> bool:
        return True


class OpensForNew(HistoryAdmin[Membership]):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return True


class TakesWhatIsSent(HistoryAdmin[Membership]):
    """Its form offers nothing, and its page saves what is sent to it."""

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if request.method == "POST":
            Membership.objects.filter(pk=object_id).update(role=request.POST["role"])
        return super().change_view(request, object_id, form_url, extra_context)


@pytest.mark.parametrize(
    ("page", "faults"),
    [
        (
            OpenToAll,
            ["role can be changed by hand", "ended_at can be changed by hand", "a change by hand was answered 302"],
        ),
        (OpensForNew, ["a row can be added by hand"]),
        (TakesWhatIsSent, ["a change by hand was answered 403"]),
    ],
)
def test_a_page_that_writes_history_is_caught(page: type[ModelAdmin[Any]], faults: list[str]) -> None:
    member = make.member(project=make.project())
    found = writing_faults(page_with(Membership, page), Membership.objects.get(user=member), mighty())
    assert [fault.removeprefix("centre.membership: ") for fault in found] == faults


class OpenTrail(KeptAdmin[Event]):
    fields = ("act",)

    def has_change_permission(self, request: HttpRequest, obj: Event | None = None) -> bool:
        return True


def test_a_page_on_which_only_the_database_refuses_is_caught() -> None:
    user = mighty()
    faults = writing_faults(page_with(Event, OpenTrail), Event.objects.order_by("pk")[0], user)
    assert "centre.event: only the database refused the change" in faults


# --------------------------------------------------------------------------------------------------- deleting


def test_nothing_can_be_deleted(rows: None) -> None:  # noqa: F811
    user = mighty()
    kept = [(page, row) for page, row in registered() if page.opts.label_lower not in DELETABLE]
    assert [fault for page, row in kept for fault in deleting_faults(page, row, user)] == []


class Deletes(KeptAdmin[Site]):
    def has_delete_permission(self, request: HttpRequest, obj: Site | None = None) -> bool:
        return True


def test_a_page_that_deletes_is_caught() -> None:
    site = make.site()
    assert deleting_faults(page_with(Site, Deletes), site, mighty()) == [
        "centre.site: “Delete” is on the page of a row",
        "centre.site: the list offers to delete what is chosen",
        "centre.site: delete answered 302, the row is gone",
        "centre.site: changelist answered 302, the row is gone",
    ]


def test_no_row_goes_along_with_another() -> None:
    assert [name for model in admin.site._registry for name in unprotected(model)] == []


def test_a_row_that_goes_along_is_caught() -> None:
    assert unprotected(User, ["account"]) == ["account.emailaddress.user"]


def test_acts_that_take_something_away_say_what_that_means(rows: None) -> None:  # noqa: F811
    user = mighty()
    assert [fault for page, row in registered() for fault in silent_acts(page, row, user)] == []


class ClosesSilently(KeptAdmin[Site]):
    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("shut", self.shut)]), *super().get_urls()]

    def shut(self, request: HttpRequest, object_id: str) -> HttpResponse:
        site: Site = row_of_act(self, request, object_id, "centre.change_site")
        return act_page(
            request,
            admin=self,
            row=site,
            title="Shut the site",
            button="Shut",
            danger=True,
            run=lambda given: ("", None),
            refusals=(),
        )


def test_an_act_that_says_nothing_of_what_it_takes_away_is_caught() -> None:
    faults = silent_acts(page_with(Site, ClosesSilently), make.site(), mighty())
    assert faults == ["centre.site: “Shut the site” does not say what it means"]


# --------------------------------------------------------------------------------------------------- two people


def test_the_second_of_two_people_is_told_in_every_form(rows: None) -> None:  # noqa: F811
    first, second = mighty("Lam"), mighty("Ng")
    contacts.add_contact(
        tenant=Tenant.objects.order_by("pk")[0], name="Ada", email="ada@example.org", by=None, at=timezone.now()
    )
    make.site()
    at = timezone.now().replace(microsecond=0)  # as a form gives it
    Outage.objects.update(starts_at=at, ends_at=at + timedelta(hours=1))
    by_hand = [(page, row) for page, row in registered() if page.opts.label_lower in BY_HAND]
    assert [fault for page, row in by_hand for fault in stale_faults(page, row, first, second)] == []


class SavesLast(ModelAdmin[Site]):
    """Django's own page: whoever saves last undoes the other."""

    fields = ("name_en", "name_zh_hant")


class TellsNobody(KeptAdmin[Site]):
    """Its verb leaves no trace."""

    fields = ("name_en", "name_zh_hant")

    def change_by_verb(self, obj: Site, form: Any, by: User, at: datetime) -> bool:
        obj.save()
        return True


class Pairs(forms.IntegerField):
    """Shown in pairs and kept in pieces; it takes every number that is shown for one that was typed."""

    def clean(self, value: Any) -> Any:
        return super().clean(value) * 2

    def prepare_value(self, value: Any) -> Any:
        return value // 2 if isinstance(value, int) else value


class CountsInPairs(KeptAdmin[Outage]):
    fields = ("gpus", "reason")
    formfield_overrides = {models.PositiveIntegerField: {"form_class": Pairs}}


def test_pages_that_let_the_second_of_two_people_undo_the_first_are_caught() -> None:
    first, second, site = mighty("Lam"), mighty("Ng"), make.site()
    now = timezone.now()
    outage = make.outage(pool=make.pool(), gpus=8, starts_at=now, ends_at=now + timedelta(hours=1))
    assert stale_faults(page_with(Site, SavesLast), site, first, second) == ["centre.site: answered 302"] * 2
    nobody = stale_faults(page_with(Site, TellsNobody), site, first, second)
    assert nobody[0] == "centre.site: who changed what is told as [('Name in English', '')]"
    pairs = stale_faults(page_with(Outage, CountsInPairs), outage, first, second)
    assert pairs[-1] == "centre.outage: after saving once more the two changes do not stand"
