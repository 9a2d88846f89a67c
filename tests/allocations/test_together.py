"""Acts on several allocations or requests at once: effects first, what is impossible left out, each once."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from allocations import requests, suspending
from allocations.models import Allocation, ChangeRequest
from allocations.verifying import differences
from centre.models import Event, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]
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


def look(client: Client, address: str, **filled: str) -> tuple[Any, dict[str, str]]:
    """Look at the effects; the confirmation, and what its button would send."""
    first = client.post(address, filled)
    carried = {"act_key": first.context["key"], "seen": str(first.context["form"]["seen"].value() or "")}
    return first.context.get("confirmation"), filled | carried | {"act_step": "confirmed"}


def confirm(client: Client, address: str, sent: dict[str, str]) -> str:
    """What the list or the page then says."""
    told = client.post(address, sent, follow=True)
    return " ".join(str(message) for message in told.context["messages"]) or str(told.context["refusal"])


def do(client: Client, address: str, **filled: str) -> tuple[Any, str]:
    """Look at the effects and confirm; the confirmation, and what is said then."""
    confirmation, sent = look(client, address, **filled)
    return confirmation, confirm(client, address, sent)


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
    about = [f"{row.reference}, {row.project.code}, Open" for row in (first, second)]
    assert [told for _label, told in confirmation.facts] == about
    assert said == "2 allocations were changed."
    assert Allocation.objects.filter(state=Allocation.State.SUSPENDED).count() == 2
    assert Event.objects.filter(act="suspend_allocation", actor=officer).count() == 2
    again = client.post(address, {"reason": "Maintenance of the pool."}).context["refusal"]
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
            _confirmation, sent = look(client, address, **filled)
            for _ in range(2):
                client.post(address, sent)
    assert len([one for one in mail.outbox if "Please tidy up." in str(one.body)]) == 1
    assert ChangeRequest.objects.count() == 1


def test_the_same_letter_reaches_only_the_teams_that_do_not_have_it(
    client: Client, officer: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    first, second = make.allocation(), make.allocation()
    leads = [make.member(project=row.project, role=ProjectRole.LEAD) for row in (first, second)]
    with django_capture_on_commit_callbacks(execute=True):
        do(client, choose(client, "write_to_chosen", first), reason="Please tidy up.")
        confirmation, said = do(client, choose(client, "write_to_chosen", first, second), reason=" Please tidy up.")
    already = f"Left out: {first.reference}: this letter was sent a moment ago."
    assert [str(warning) for warning in confirmation.warnings] == [already]
    assert said == "1 letter is on its way."
    assert [one.to for one in mail.outbox] == [[lead.email] for lead in leads]
    with django_capture_on_commit_callbacks(execute=True):
        do(client, choose(client, "write_to_chosen", first), reason="Please tidy up now.")
    assert [one.to for one in mail.outbox[2:]] == [[leads[0].email]]


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
    about = f"{allocation.reference}, {code}"
    own = f"{code}, More GPU-hours: you asked for it yourself."
    assert [str(warning) for warning in confirmation.warnings] == [f"Left out: {own}"]
    assert {label for label, _before, _after in shown(confirmation)} >= {f"{about}: Granted (GPU-hours)"}
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


@pytest.mark.parametrize(
    ("action", "filled"),
    [
        ("suspend_chosen", {"reason": "Maintenance."}),
        ("extend_chosen", {"reason": "Maintenance.", "until_on": str(make.today() + 40 * DAY)}),
    ],
)
def test_what_became_impossible_after_the_confirmation_is_named(
    client: Client, officer: User, action: str, filled: dict[str, str]
) -> None:
    stays, closes = (make.allocation(end_on=make.today() + 10 * DAY) for _ in range(2))
    address = choose(client, action, stays, closes)
    _confirmation, sent = look(client, address, **filled)
    Allocation.objects.filter(pk=closes.pk).update(state=Allocation.State.CLOSED)
    said = confirm(client, address, sent)
    assert said[:2] == "1 "
    assert said.count(f"The period of {closes.reference} was closed") == 1
    assert stays.reference not in said


def test_what_the_confirmation_left_out_stays_out(client: Client, officer: User) -> None:
    first, second = make.allocation(), make.allocation()
    suspending.suspend_allocation(allocation=second, reason="Maintenance.", by=officer, at=timezone.now())
    address = choose(client, "suspend_chosen", first, second)
    _confirmation, sent = look(client, address, reason="again")
    suspending.resume_allocation(allocation=second, reason="over", by=officer, at=timezone.now())
    assert confirm(client, address, sent) == "1 allocation was changed."
    assert dict(Allocation.objects.values_list("pk", "state")) == {first.pk: "suspended", second.pk: "open"}


def test_form_sent_again_after_somebody_undid_it_does_nothing(client: Client, officer: User) -> None:
    allocation = make.allocation()
    address = choose(client, "suspend_chosen", allocation)
    _confirmation, sent = look(client, address, reason="Maintenance.")
    confirm(client, address, sent)
    suspending.resume_allocation(allocation=allocation, reason="over", by=officer, at=timezone.now())
    said = confirm(client, address, sent)
    assert said == f"{allocation.reference}: {suspending.MEANWHILE}"
    assert Allocation.objects.get().state == Allocation.State.OPEN


@pytest.mark.parametrize("seen", ["", "x", "1-", "-", "1-2-3", "٣-1", "9" * 30 + "-1"])
def test_nothing_is_done_that_no_confirmation_listed(client: Client, officer: User, seen: str) -> None:
    address = choose(client, "suspend_chosen", make.allocation())
    sent = {"reason": "Maintenance.", "act_step": "confirmed", "seen": seen}
    assert client.post(address, sent).context["refusal"] == suspending.MEANWHILE
    assert Allocation.objects.get().state == Allocation.State.OPEN


def proposed(allocation: Allocation, kind: ChangeRequest.Kind, hours: int, *, by: User, key: str) -> ChangeRequest:
    return requests.propose(
        kind=kind,
        allocation=allocation,
        seconds=hours * make.HOUR,
        reason="because",
        by=by,
        at=timezone.now(),
        key=key,
    )


def test_effects_of_two_requests_about_one_allocation_add_up(client: Client, officer: User) -> None:
    make.centre(two_person_above_seconds=0)
    other = make.staff(StaffRole.ALLOCATION_OFFICER)
    allocation = make.allocation(hours=10)
    more = [proposed(allocation, ChangeRequest.Kind.TOP_UP, 5, by=other, key=key) for key in "ab"]
    back = proposed(allocation, ChangeRequest.Kind.TAKE_BACK, 8, by=other, key="c")
    address = choose(client, "approve_chosen", *more, back, model="changerequest")
    confirmation, _sent = look(client, address, answer="yes")
    label = f"{allocation.reference}, {allocation.project.code}: Granted (GPU-hours)"
    granted = [(before, after) for of, before, after in shown(confirmation) if of == label]
    assert granted == [("10", "15"), ("15", "20"), ("20", "12")]


def test_requests_that_the_books_would_refuse_are_named_before_anything_happens(client: Client, officer: User) -> None:
    make.centre(two_person_above_seconds=0)
    other = make.staff(StaffRole.ALLOCATION_OFFICER)
    closed, rich, poor = (make.allocation(hours=10) for _ in range(3))
    asked = [
        proposed(closed, ChangeRequest.Kind.TOP_UP, 5, by=other, key="a"),
        proposed(rich, ChangeRequest.Kind.TAKE_BACK, 8, by=other, key="b"),
        proposed(rich, ChangeRequest.Kind.TAKE_BACK, 8, by=other, key="c"),
        proposed(poor, ChangeRequest.Kind.TAKE_BACK, 10, by=other, key="d"),
    ]
    Allocation.objects.filter(pk=closed.pk).update(state=Allocation.State.CLOSED)
    address = choose(client, "approve_chosen", *asked, model="changerequest")
    confirmation, sent = look(client, address, answer="yes")
    assert [str(warning).partition(": ")[2] for warning in confirmation.warnings] == [
        f"{closed.project.code}, More GPU-hours: "
        f"The period of {closed.reference} was closed, so nothing can be decided about it any more.",
        f"{rich.project.code}, Take unused GPU-hours back: "
        f"Only 2.00 GPU-hours are left on {rich.reference}; this would take 8.00.",
    ]
    assert confirm(client, address, sent).startswith("2 requests were approved. ")
    assert {row.pk for row in ChangeRequest.objects.waiting()} == {asked[0].pk, asked[2].pk}


def test_held_hours_of_a_move_count_for_it(client: Client, officer: User) -> None:
    make.centre(two_person_above_seconds=0)
    source = make.allocation(hours=10)
    target = make.allocation(pool=source.pool, hours=1)
    move = requests.propose(
        kind=ChangeRequest.Kind.TRANSFER,
        allocation=source,
        to_allocation=target,
        seconds=10 * make.HOUR,
        reason="because",
        by=make.staff(StaffRole.ALLOCATION_OFFICER),
        at=timezone.now(),
        key="a",
    )
    _confirmation, said = do(client, choose(client, "approve_chosen", move, model="changerequest"), answer="yes")
    assert said == "1 request was approved."


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


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("action", "queries"), [("suspend_chosen", 6), ("write_to_chosen", 8), ("extend_chosen", 8)])
def test_confirming_takes_the_same_queries_for_any_number_of_rows(
    client: Client,
    officer: User,
    rows: int,
    action: str,
    queries: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    chosen = [make.allocation() for _ in range(rows)]
    for row in chosen:
        make.member(project=row.project, role=ProjectRole.LEAD)
    address = choose(client, action, *chosen)
    with django_assert_num_queries(queries):
        answer = client.post(address, {"reason": "because", "until_on": str(make.today() + 400 * DAY)})
    assert len(answer.context["confirmation"].effects) == rows
