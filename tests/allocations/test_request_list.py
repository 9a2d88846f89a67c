"""The list of requests: told in words, with who asked and since when; narrowed to what waits or is one's turn."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from allocations import requests
from allocations.models import Allocation, ChangeRequest
from centre.models import User
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db

Kind = ChangeRequest.Kind
LIST = "admin:allocations_changerequest_changelist"


@pytest.fixture
def officer(client: Client) -> User:
    officer = make.staff(StaffRole.ALLOCATION_OFFICER, name="First Officer")
    client.force_login(officer)
    return officer


@pytest.fixture
def other() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER, name="Second Officer")


def asked(by: User, *, allocation: Allocation | None = None, hours: int = 5, days_ago: int = 0) -> ChangeRequest:
    """A request for more GPU-hours, some days old."""
    return requests.ask(
        allocation=allocation or make.allocation(),
        seconds=hours * make.HOUR,
        reason=f"<i>because of {hours}</i>",
        by=by,
        at=timezone.now() - timedelta(days=days_ago),
    )


def found(client: Client, **narrowed: str) -> list[ChangeRequest]:
    return sorted(client.get(reverse(LIST), narrowed).context["cl"].result_list, key=lambda row: row.pk)


def test_a_row_tells_what_is_asked_for_whom_by_whom_and_since_when(client: Client, officer: User, other: User) -> None:
    tenant = make.tenant(name_en="<b>Harbour</b>")
    allocation = make.allocation(reference="AG-7", project=make.project("gene-fold", tenant=tenant))
    asked(other, allocation=allocation, hours=2_000, days_ago=3)
    page = client.get(reverse(LIST)).content.decode()
    told = (
        "Give 2,000 more GPU-hours to AG-7<small>&lt;i&gt;because of 2000&lt;/i&gt;</small>",
        "gene-fold<small>&lt;b&gt;Harbour&lt;/b&gt;</small>",
        ">Second Officer<",
        "<small>3\xa0days ago</small>",
        '<span class="badge info">Waiting for the centre</span>',
    )
    assert [text for text in told if text in page] == [*told]


def test_what_is_answered_waits_no_more(client: Client, officer: User, other: User) -> None:
    row = asked(other, days_ago=3)
    requests.decline(request=row, by=officer, at=timezone.now(), answer="-")
    page = client.get(reverse(LIST), {"state": "all"}).content.decode()
    assert '<span class="badge bad">Declined</span>' in page
    assert "days ago" not in page


def test_it_opens_with_what_waits_and_every_state_can_be_chosen(client: Client, officer: User, other: User) -> None:
    waiting, declined, withdrawn = asked(other), asked(other), asked(other)
    requests.decline(request=declined, by=officer, at=timezone.now(), answer="-")
    requests.withdraw(request=withdrawn, by=other, at=timezone.now())
    assert found(client) == found(client, state="asked") == found(client, state="no-such-state") == [waiting]
    assert found(client, state="declined") == [declined]
    assert found(client, state="withdrawn") == [withdrawn]
    assert found(client, state="approved") == []
    assert found(client, state="all") == [waiting, declined, withdrawn]


def test_who_searches_finds_answered_ones_too_unless_they_chose_a_state(
    client: Client, officer: User, other: User
) -> None:
    project = make.project("gene-fold")
    waiting, declined = (
        asked(other, allocation=make.allocation(project=project, account=account)) for account in ("one", "two")
    )
    elsewhere = asked(other)
    requests.decline(request=declined, by=officer, at=timezone.now(), answer="-")
    assert found(client) == [waiting, elsewhere]
    assert found(client, q="gene-fold") == [waiting, declined]
    assert found(client, q="gene-fold", state="asked") == [waiting]
    page = client.get(reverse(LIST), {"q": "gene-fold"})
    state = page.context["cl"].filter_specs[0]
    assert [str(each["display"]) for each in state.choices(page.context["cl"]) if each["selected"]] == ["All"]


def test_mine_is_what_i_asked_for_and_my_turn_what_another_did(client: Client, officer: User, other: User) -> None:
    """Neither what I asked for is my turn, nor what another asked for a project of mine."""
    of_my_project = make.allocation()
    make.member(project=of_my_project.project, user=officer)
    mine, theirs, for_me = asked(officer), asked(other), asked(other, allocation=of_my_project)
    assert found(client, asked_by="me") == [mine]
    assert found(client, waits="me") == [theirs]
    assert found(client, waits="another") == [mine, for_me]


def test_my_turn_is_only_what_is_in_my_power(client: Client, other: User) -> None:
    """Tenant officers answer about people, and about nothing else."""
    asked(other)
    people = ChangeRequest.objects.create(
        project=make.project(), kind=Kind.MEMBERS, reason="-", asked_by=other, asked_at=timezone.now()
    )
    client.force_login(make.staff(StaffRole.TENANT_OFFICER))
    assert found(client, waits="me") == [people]
    assert found(client, kind__exact=Kind.MEMBERS) == [people]
    client.force_login(make.staff(StaffRole.AUDITOR))
    assert found(client, waits="me") == []


@pytest.mark.parametrize("rows", [1, 3])
def test_list_takes_the_same_queries_for_any_number_of_rows(
    client: Client, officer: User, other: User, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(rows):
        asked(other)
    narrowed: tuple[dict[str, str], ...] = ({}, {"waits": "me"}, {"state": "all", "q": "project"})
    for query in narrowed:
        client.get(reverse(LIST), query)
        with django_assert_num_queries(7):
            page = client.get(reverse(LIST), query)
        assert len(page.context["cl"].result_list) == rows
