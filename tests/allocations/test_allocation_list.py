"""What officers narrow their lists by, each choice with a row that just misses it, and how rows are told."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from allocations import requests
from allocations.admin.allocation_list import days_away, share
from allocations.models import Allocation, ChangeRequest
from allocations.planned_use import Period, planned_through
from centre.models import User
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
ALLOCATIONS = "admin:allocations_allocation_changelist"
REQUESTS = "admin:allocations_changerequest_changelist"


@pytest.fixture
def officer(client: Client) -> User:
    officer = make.staff(StaffRole.ALLOCATION_OFFICER)
    client.force_login(officer)
    return officer


def found(client: Client, **asked: str) -> set[str]:
    return {row.reference for row in client.get(reverse(ALLOCATIONS), asked).context["cl"].result_list}


@pytest.mark.parametrize(("granted", "days", "gone"), [(1_000, 100, 24), (7, 3, 1), (86_400, 365, 364), (1, 2, 0)])
def test_faster_than_planned_is_what_an_even_pace_would_not_have_used_by_tonight(
    client: Client, officer: User, granted: int, days: int, gone: int
) -> None:
    """The plan is that of the team's page: planned_use, worked out there for one allocation."""
    today = timezone.localdate()
    start_on = today - gone * DAY
    planned = planned_through(today, granted=granted, period=Period(start_on, start_on + (days - 1) * DAY))
    for reference, used in (("on-it", planned), ("above", planned + 1)):
        row = make.allocation(
            reference=reference, account=reference, start_on=start_on, end_on=start_on + days * DAY - DAY
        )
        Allocation.objects.filter(pk=row.pk).update(granted_seconds=granted, used_seconds=used)
    assert found(client, usage="above") == {"above"}
    Allocation.objects.update(state=Allocation.State.CLOSED)
    assert found(client, usage="above") == set()


def test_ended_and_not_closed_is_what_waits_for_its_end_to_be_settled(client: Client, officer: User) -> None:
    yesterday = timezone.localdate() - DAY
    for reference, end_on, state in (
        ("ended", yesterday, Allocation.State.OPEN),
        ("held-up", yesterday, Allocation.State.SUSPENDED),
        ("closed", yesterday, Allocation.State.CLOSED),
        ("runs", yesterday + DAY, Allocation.State.OPEN),
    ):
        make.allocation(reference=reference, account=reference, start_on=yesterday - 30 * DAY, end_on=end_on)
        suspended = (
            {"suspended_at": timezone.now(), "suspended_because": "why"} if state == Allocation.State.SUSPENDED else {}
        )
        Allocation.objects.filter(reference=reference).update(state=state, **suspended)
    assert found(client, period="unclosed") == {"ended", "held-up"}
    assert found(client, period="ended") == {"ended", "held-up", "closed"}


def test_a_row_tells_tenant_share_days_and_state_in_words(client: Client, officer: User) -> None:
    tenant = make.tenant(name_en="<b>Harbour</b>", name_zh_hant="海港大學")
    row = make.allocation(project=make.project(tenant=tenant), end_on=timezone.localdate() + 12 * DAY, hours=100)
    page = client.get(reverse(ALLOCATIONS)).content.decode()
    assert f"{row.project.code}<small>&lt;b&gt;Harbour&lt;/b&gt;</small>" in page
    assert "100<small>100\u00a0%</small>" in page
    assert "<small>in 12 days</small>" in page
    assert '<span class="badge warn">Ends soon</span>' in page
    client.cookies["django_language"] = "zh-hant"
    assert (
        "<small>海港大學</small>"
        in client.get(reverse(ALLOCATIONS), headers={"accept-language": "zh-hant"}).content.decode()
    )


@pytest.mark.parametrize(
    ("days", "words"), [(-2, "2 days ago"), (-1, "1 day ago"), (0, "today"), (1, "in 1 day"), (40, "in 40 days")]
)
def test_days_are_told_as_people_do(days: int, words: str) -> None:
    assert days_away(make.today() + days * DAY, on=make.today()) == words


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 3, "33\u00a0%"), (1, 200, "1\u00a0%"), (-5, 100, "−5\u00a0%"), (5, 0, "")]
)
def test_shares_are_whole_per_cent(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_requests_are_told_in_words_and_found_by_who_asked(client: Client, officer: User) -> None:
    make.centre(two_person_above_seconds=0)
    allocation = make.allocation(reference="AG-7")
    other = make.staff(StaffRole.ALLOCATION_OFFICER)
    for by, hours in ((officer, 5), (other, 7)):
        requests.propose(
            kind=ChangeRequest.Kind.TOP_UP,
            allocation=allocation,
            seconds=hours * make.HOUR,
            reason=f"<i>because of {hours}</i>",
            by=by,
            at=timezone.now(),
            key=str(hours),
        )
    page = client.get(reverse(REQUESTS)).content.decode()
    for hours in (5, 7):
        told = f"Give {hours} more GPU-hours to AG-7<small>&lt;i&gt;because of {hours}&lt;/i&gt;</small>"
        assert told in page
    assert '<span class="badge info">Waiting for the centre</span>' in page
    mine = client.get(reverse(REQUESTS), {"asked_by": "me"}).context["cl"].result_list
    assert [row.asked_by for row in mine] == [officer]
    my_turn = client.get(reverse(REQUESTS), {"waits": "me"}).context["cl"].result_list
    assert [row.asked_by for row in my_turn] == [other]
