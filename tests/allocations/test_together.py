"""Acts on several allocations or requests at once: effects first, what is impossible left out, each once."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from allocations import requests
from allocations.models import Allocation, ChangeRequest
from allocations.verifying import differences
from centre.models import Event, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
LIST = "admin:allocations_allocation_changelist"
State = ChangeRequest.State


@pytest.fixture
def officer(client: Client) -> User:
    officer = make.staff(StaffRole.ALLOCATION_OFFICER)
    client.force_login(officer)
    return officer


def choose(client: Client, action: str, *rows: Any, model: str = "allocation") -> str:
    """What the list leads to when these rows are chosen for an act."""
    address = reverse(f"admin:allocations_{model}_changelist")
    sent = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(address, sent)["Location"]


def do(client: Client, address: str, **filled: str) -> tuple[Any, str]:
    """Look at the effects and confirm; the confirmation, and what the list then says."""
    first = client.post(address, filled)
    confirmation, key = first.context.get("confirmation"), first.context["key"]
    sent = filled | {"act_step": "confirmed", "act_key": key}
    told = client.post(address, sent, follow=True)
    said = " ".join(str(message) for message in told.context["messages"])
    return confirmation, said or told.context["refusal"]


def shown(confirmation: Any) -> list[tuple[str, str, str]]:
    return [(str(each.label), str(each.before), str(each.after)) for each in confirmation.effects]


def test_chosen_allocations_are_suspended_and_the_others_named(client: Client, officer: User) -> None:
    first, second, gone = (make.allocation() for _ in range(3))
    Allocation.objects.filter(pk=gone.pk).update(state=Allocation.State.CLOSED)
    address = choose(client, "suspend_chosen", first, second, gone)
    assert Allocation.objects.filter(state=Allocation.State.SUSPENDED).count() == 0
    confirmation, said = do(client, address, reason="Maintenance of the pool.")
    assert shown(confirmation) == [
        (f"{row.reference}, {row.project.code}", "Open", "Suspended") for row in (first, second)
    ]
    closed = f"The period of {gone.reference} was closed, so nothing can be decided about it any more."
    assert [str(warning) for warning in confirmation.warnings] == [f"Left out: {closed}"]
    assert said == "2 allocations were changed."
    assert Allocation.objects.filter(state=Allocation.State.SUSPENDED).count() == 2
    assert Event.objects.filter(act="suspend_allocation", actor=officer).count() == 2
    _none, again = do(client, address, reason="Maintenance of the pool.")
    assert again == f"{first.reference} is suspended already. {second.reference} is suspended already. {closed}"


def test_chosen_allocations_are_resumed_but_not_that_of_ones_own_project(client: Client, officer: User) -> None:
    ours, theirs = make.allocation(), make.allocation()
    make.member(user=officer, project=ours.project)
    Allocation.objects.update(
        state=Allocation.State.SUSPENDED, suspended_at=timezone.now(), suspended_because="for a test"
    )
    confirmation, said = do(client, choose(client, "resume_chosen", ours, theirs), reason="It is over.")
    assert [label for label, _before, _after in shown(confirmation)] == [f"{theirs.reference}, {theirs.project.code}"]
    assert len(confirmation.warnings) == 1
    assert said == "1 allocation was changed."
    assert set(Allocation.objects.values_list("pk", "state")) == {(ours.pk, "suspended"), (theirs.pk, "open")}


def test_longer_periods_wait_for_another_officer_one_by_one(client: Client, officer: User) -> None:
    short, long = make.allocation(end_on=make.today() + 10 * DAY), make.allocation(end_on=make.today() + 90 * DAY)
    until_on = make.today() + 40 * DAY
    address = choose(client, "extend_chosen", short, long)
    confirmation, said = do(client, address, until_on=str(until_on), reason="The machine stood still.")
    assert [label for label, _before, _after in shown(confirmation)] == [f"{short.reference}, {short.project.code}"]
    assert f"{long.reference} lasts until" in str(confirmation.warnings[0])
    assert said == "1 longer period waits for another officer’s approval."
    request = ChangeRequest.objects.get()
    assert (request.allocation, request.state, request.asked_until_on) == (short, State.ASKED, until_on)
    assert request.asked_by == officer


def test_the_same_form_sent_twice_asks_and_writes_once(
    client: Client, officer: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    make.member(project=allocation.project, role=ProjectRole.LEAD)
    letter = {"reason": "Please tidy up."}
    longer = {"until_on": str(make.today() + 40 * DAY), "reason": "because"}
    with django_capture_on_commit_callbacks(execute=True):
        for action, filled in (("write_to_chosen", letter), ("extend_chosen", longer)):
            address = choose(client, action, allocation)
            key = client.post(address, filled).context["key"]
            for _ in range(2):
                client.post(address, filled | {"act_step": "confirmed", "act_key": key})
    assert len([one for one in mail.outbox if "Please tidy up." in str(one.body)]) == 1
    assert ChangeRequest.objects.count() == 1


def test_one_letter_goes_to_each_lead_about_all_of_their_allocations(
    client: Client, officer: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    project = make.project()
    first = make.allocation(project=project)
    second = make.allocation(project=project, reference="SECOND", account="second")
    empty = make.allocation()
    lead = make.member(project=project, role=ProjectRole.LEAD)
    make.member(project=project, role=ProjectRole.VIEWER)
    address = choose(client, "write_to_chosen", first, second, empty)
    with django_capture_on_commit_callbacks(execute=True):
        confirmation, said = do(client, address, reason="Hall A\nis closed <b>on Monday</b>.")
    assert [after for _label, _before, after in shown(confirmation)] == ["a letter to 1 person"] * 2
    nobody = f"Left out: {empty.reference}: nobody leads or manages its project."
    assert [str(warning) for warning in confirmation.warnings] == [nobody]
    assert said == "1 letter is on its way."
    (one,) = mail.outbox
    assert one.to == [lead.email]
    text = str(one.body)
    assert text.count("Hall A is closed <b>on Monday</b>.") == 1
    assert [part in text for part in (first.reference, "SECOND", officer.email)] == [True, True, False]
    assert "decided" not in text


def test_chosen_requests_are_approved_but_not_ones_own(client: Client, officer: User) -> None:
    make.centre(two_person_above_seconds=0)
    other = make.staff(StaffRole.ALLOCATION_OFFICER)
    allocation = make.allocation(hours=10)

    def asked(by: User, key: str) -> ChangeRequest:
        return requests.propose(
            kind=ChangeRequest.Kind.TOP_UP,
            allocation=allocation,
            seconds=5 * make.HOUR,
            reason="more",
            by=by,
            at=timezone.now(),
            key=key,
        )

    theirs, more, mine = asked(other, "a"), asked(other, "b"), asked(officer, "c")
    address = choose(client, "approve_chosen", theirs, more, mine, model="changerequest")
    confirmation, said = do(client, address, answer="fine")
    code = allocation.project.code
    own = f"{code}, More GPU-hours: you asked for it yourself."
    assert [str(warning) for warning in confirmation.warnings] == [f"Left out: {own}"]
    assert {label for label, _before, _after in shown(confirmation)} >= {f"{code}: Granted (GPU-hours)"}
    assert said == f"2 requests were approved. {own}"
    assert dict(ChangeRequest.objects.values_list("pk", "state")) == {
        theirs.pk: State.APPROVED,
        more.pk: State.APPROVED,
        mine.pk: State.ASKED,
    }
    allocation.refresh_from_db()
    assert allocation.granted_seconds == 20 * make.HOUR
    assert list(differences()) == []


def test_what_the_books_refuse_meanwhile_is_named_and_the_rest_is_done(client: Client, officer: User) -> None:
    make.centre(two_person_above_seconds=0)
    other = make.staff(StaffRole.ALLOCATION_OFFICER)
    allocation = make.allocation(hours=10)
    taken = [
        requests.propose(
            kind=ChangeRequest.Kind.TAKE_BACK,
            allocation=allocation,
            seconds=8 * make.HOUR,
            reason="unused",
            by=other,
            at=timezone.now(),
            key=key,
        )
        for key in "ab"
    ]
    _confirmation, said = do(client, choose(client, "approve_chosen", *taken, model="changerequest"), answer="yes")
    assert said.startswith("1 request was approved. ")
    assert sorted(ChangeRequest.objects.values_list("state", flat=True)) == [State.APPROVED, State.ASKED]
    assert list(differences()) == []


@pytest.mark.parametrize("address", ["", "?of=", "?of=x,-1,٣", "?of=99999999999999999999999"])
def test_page_without_a_choice_leads_back_to_the_list(client: Client, officer: User, address: str) -> None:
    for name in ("allocation_together_suspend", "changerequest_together_approve"):
        there = client.get(reverse(f"admin:allocations_{name}") + address)
        assert there["Location"] == reverse(f"admin:allocations_{name.partition('_')[0]}_changelist")


def test_only_those_who_decide_are_offered_the_acts(client: Client) -> None:
    allocation = make.allocation()
    client.force_login(make.staff(StaffRole.AUDITOR))
    assert client.get(reverse(LIST)).context["action_form"] is None
    for name in ("allocation_together_suspend", "changerequest_together_approve"):
        assert client.get(reverse(f"admin:allocations_{name}") + f"?of={allocation.pk}").status_code == 403


@pytest.mark.parametrize("rows", [1, 3])
def test_list_and_page_of_an_act_take_the_same_queries_for_any_number_of_rows(
    client: Client, officer: User, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    chosen = [make.allocation() for _ in range(rows)]
    address = choose(client, "suspend_chosen", *chosen)
    with django_assert_num_queries(5):
        client.get(address)
    with django_assert_num_queries(8):
        client.get(reverse(LIST))
