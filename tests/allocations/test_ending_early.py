"""A period that ends early: by two people, today at the earliest, with what it does told first."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks

from allocations import closing, ending_early, extending, requests
from allocations.models import Allocation, ChangeRequest, PeriodEndRule
from allocations.posting import PeriodClosed, TwoPeopleNeeded
from allocations.verifying import differences
from centre.models import Event, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
DAY = timedelta(days=1)
State = ChangeRequest.State


@pytest.fixture(autouse=True)
def noon() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def asking() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


@pytest.fixture
def answering() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


def proposed(allocation: Allocation, days: int, by: User) -> ChangeRequest:
    return requests.propose(
        kind=ChangeRequest.Kind.EARLY_END,
        allocation=allocation,
        until_on=make.today() + days * DAY,
        reason="The project is finished.",
        by=by,
        at=NOW,
        key=f"{allocation.pk}-{days}",
    )


def end_early(allocation: Allocation, days: int) -> int:
    return ending_early.end_early(
        allocation=allocation,
        last_on=make.today() + days * DAY,
        by=make.person(),
        approved_by=make.person(),
        at=NOW,
        reason="for a test",
    )


def test_early_end_waits_for_a_second_officer_whatever_the_threshold(
    asking: User, answering: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    make.centre(two_person_above_seconds=10**15)
    allocation = make.allocation(end_on=make.today() + 100 * DAY)
    lead = make.member(project=allocation.project, role=ProjectRole.LEAD)
    request = proposed(allocation, 10, asking)
    assert (request.state, Allocation.objects.get().end_on) == (State.ASKED, make.today() + 100 * DAY)
    with pytest.raises(requests.OwnRequest):
        requests.approve(request=request, by=asking, at=NOW)
    with django_capture_on_commit_callbacks(execute=True):
        requests.approve(request=request, by=answering, at=NOW)
    assert (request.state, Allocation.objects.get().end_on) == (State.APPROVED, make.today() + 10 * DAY)
    assert [letter.to for letter in mail.outbox if "ends on" in str(letter.subject)] == [[lead.email]]
    event = Event.objects.get(act="end_allocation_early")
    assert event.changes["end_on"] == [str(make.today() + 100 * DAY), str(make.today() + 10 * DAY)]
    assert list(differences()) == []


def test_run_after_the_new_last_day_is_not_covered_and_is_after_an_extension() -> None:
    allocation = make.allocation(end_on=make.today() + 100 * DAY)
    end_early(allocation, 0)
    run = make.Run(
        account=allocation.account,
        partition=allocation.pool.code,
        start_at=NOW + DAY,
        end_at=NOW + DAY + timedelta(hours=3),
    )
    with time_machine.travel(NOW + 2 * DAY, tick=False):
        make.imported(run, cluster=allocation.pool.cluster)
        allocation.refresh_from_db()
        assert allocation.used_seconds == 0
        extending.extend(
            allocation=allocation,
            until_on=make.today() + 5 * DAY,
            by=make.person(),
            approved_by=make.person(),
            at=NOW + 2 * DAY,
            reason="after all",
        )
        assert allocation.used_seconds == 3 * make.HOUR
        assert list(differences()) == []


def test_days_that_are_over_no_earlier_or_before_the_period_are_refused(asking: User) -> None:
    allocation = make.allocation(start_on=make.today() + 3 * DAY, end_on=make.today() + 100 * DAY)
    for days in (-1, 2, 100, 101):
        with pytest.raises(ending_early.NotEarlier):
            end_early(allocation, days)
        with pytest.raises(ending_early.NotEarlier):
            proposed(allocation, days, asking)
    assert Allocation.objects.get().end_on == make.today() + 100 * DAY


def test_one_person_alone_and_a_closed_period_are_refused(asking: User) -> None:
    allocation, one = make.allocation(), make.person()
    for second in (None, one):
        with pytest.raises(TwoPeopleNeeded):
            ending_early.end_early(
                allocation=allocation, last_on=make.today(), by=one, approved_by=second, at=NOW, reason="-"
            )
    Allocation.objects.update(state=Allocation.State.CLOSED)
    allocation.refresh_from_db()
    with pytest.raises(PeriodClosed):
        proposed(allocation, 1, asking)


def test_approver_is_told_what_is_lost_and_what_lapses_and_so_it_happens(
    client: Client, asking: User, answering: User, noon: Any
) -> None:
    allocation = make.allocation(hours=100, end_on=make.today() + 100 * DAY)
    PeriodEndRule.objects.all().delete()
    make.period_end_rule(pool=allocation.pool)
    top_up = requests.ask(
        kind=ChangeRequest.Kind.TOP_UP,
        allocation=allocation,
        seconds=5 * make.HOUR,
        reason="more",
        by=make.member(project=allocation.project, role=ProjectRole.LEAD),
        at=NOW,
        key="t",
    )
    request = proposed(allocation, 1, asking)
    client.force_login(answering)
    url = reverse("admin:allocations_changerequest_approve", args=[request.pk])
    effects = {str(effect.label): effect.after for effect in client.get(url).context["effects"]}
    assert effects["Last day"] == "16 Jun 2026"
    assert effects["Unused GPU-hours"] == "If nothing more is used, 100 are forfeited by the rule of the pool."
    client.post(url, {"answer": "yes"})
    assert Allocation.objects.get().end_on == make.today() + DAY
    noon.move_to(NOW + 60 * DAY)
    make.imported(cluster=allocation.pool.cluster)
    closing.close_periods(at=NOW + 60 * DAY)
    top_up.refresh_from_db()
    allocation.refresh_from_db()
    assert (top_up.state, allocation.available_seconds) == (State.LAPSED, 0)


def test_officer_proposes_it_on_the_page_of_the_allocation(client: Client, asking: User) -> None:
    allocation = make.allocation(end_on=make.today() + 100 * DAY)
    client.force_login(asking)
    url = reverse("admin:allocations_allocation_end_early", args=[allocation.pk])
    first = client.post(url, {"until_on": "2026-06-20", "reason": "finished"})
    assert first.context["confirmation"].headline == f"End {allocation.reference} early, on 20 Jun 2026"
    client.post(
        url, {"until_on": "2026-06-20", "reason": "finished", "act_key": first.context["key"], "act_step": "confirmed"}
    )
    request = ChangeRequest.objects.get()
    assert (request.kind, request.state, str(request.asked_until_on)) == ("early_end", State.ASKED, "2026-06-20")
    refused = client.post(url, {"until_on": "2027-06-20", "reason": "finished"})
    assert "Choose an earlier day." in refused.context["refusal"]


def test_verify_follows_a_last_day_that_was_moved_there_and_back() -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    people: dict[str, Any] = {"by": make.person(), "approved_by": make.person(), "at": NOW, "reason": "-"}
    extending.extend(allocation=allocation, until_on=make.today() + 40 * DAY, **people)
    end_early(allocation, 5)
    assert list(differences()) == []
    Allocation.objects.update(end_on=make.today() + 6 * DAY)
    assert [line for line in differences() if "2026-06-20" in line and "2026-06-21" in line]


def test_verify_finds_an_approved_early_end_that_did_not_happen(asking: User, answering: User) -> None:
    allocation = make.allocation(end_on=make.today() + 100 * DAY)
    request = proposed(allocation, 10, asking)
    ChangeRequest.objects.filter(pk=request.pk).update(
        state="approved", approved_until_on=request.asked_until_on, answered_by=answering, answered_at=NOW
    )
    assert [line for line in differences() if "made its period shorter" in line]
