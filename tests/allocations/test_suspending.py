"""Suspending an allocation and resuming it: new jobs stop and start, the books stand still, the team is written."""

from datetime import UTC, datetime

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks

from allocations import suspending
from allocations.models import Allocation, LedgerEntry
from allocations.refusals import BenefitsFromIt, NoReason
from allocations.scheduling import SchedulerState, scheduling_of
from allocations.verifying import differences
from centre.models import Event, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)
State = Allocation.State


@pytest.fixture
def officer() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


def suspend(allocation: Allocation, by: User, reason: str = "The account was misused.") -> Allocation:
    return suspending.suspend_allocation(allocation=allocation, reason=reason, by=by, at=NOW)


def resume(allocation: Allocation, by: User, reason: str = "It was cleared up.") -> Allocation:
    return suspending.resume_allocation(allocation=allocation, reason=reason, by=by, at=NOW)


def new_jobs(allocation: Allocation) -> SchedulerState:
    row = Allocation.objects.select_related("project__tenant").get(pk=allocation.pk)
    return scheduling_of(row, on=make.today(), when_used_up="open").state


def test_suspended_allocation_blocks_new_jobs_until_it_is_resumed_and_moves_no_hours(officer: User) -> None:
    allocation = make.allocation()
    entries = LedgerEntry.objects.count()
    assert new_jobs(allocation) == SchedulerState.OPEN
    suspend(allocation, officer)
    assert (allocation.state, allocation.suspended_at) == (State.SUSPENDED, NOW)
    assert allocation.suspended_because == "The account was misused."
    assert new_jobs(allocation) == SchedulerState.BLOCKED
    resume(allocation, officer)
    assert (allocation.state, allocation.suspended_at, allocation.suspended_because) == (State.OPEN, None, "")
    assert new_jobs(allocation) == SchedulerState.OPEN
    assert LedgerEntry.objects.count() == entries
    assert list(differences()) == []


def test_both_acts_are_on_the_trail_with_their_reasons(officer: User) -> None:
    allocation = make.allocation()
    suspend(allocation, officer)
    resume(allocation, officer)
    told = Event.objects.filter(act__in=("suspend_allocation", "resume_allocation")).order_by("pk")
    assert [(event.act, event.changes, event.reason, event.actor) for event in told] == [
        ("suspend_allocation", {"state": ["open", "suspended"]}, "The account was misused.", officer),
        ("resume_allocation", {"state": ["suspended", "open"]}, "It was cleared up.", officer),
    ]


def test_leads_and_managers_are_written_once_each_in_their_language(
    officer: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    project = make.project()
    first = make.allocation(project=project)
    second = make.allocation(project=project, reference="SECOND", account="second")
    lead = make.member(project=project, role=ProjectRole.LEAD)
    make.member(project=project, role=ProjectRole.MEMBER)
    with django_capture_on_commit_callbacks(execute=True):
        suspending.suspend_allocations(allocations=[first, second], reason="Why\nnot", by=officer, at=NOW)
    assert [letter.to for letter in mail.outbox] == [[lead.email]]
    text = str(mail.outbox[0].body)
    assert [reference in text for reference in (first.reference, "SECOND", "Why not", str(officer))] == [
        True,
        True,
        True,
        False,
    ]


def test_allocation_that_stands_elsewhere_is_left_out_and_named(officer: User) -> None:
    going, gone = make.allocation(), make.allocation()
    suspend(gone, officer)
    moved = suspending.suspend_allocations(allocations=[going, gone], reason="both", by=officer, at=NOW)
    assert [row.pk for row in moved.done] == [going.pk]
    assert [(each.allocation.pk, each.why) for each in moved.left_out] == [
        (gone.pk, f"{gone.reference} is suspended already.")
    ]
    gone.refresh_from_db()
    assert gone.suspended_because == "The account was misused."


@pytest.mark.parametrize("state", [State.CLOSED, State.VOID])
def test_closed_and_void_allocations_go_nowhere(officer: User, state: State) -> None:
    allocation = make.allocation()
    Allocation.objects.filter(pk=allocation.pk).update(state=state)
    for act in (suspend, resume):
        with pytest.raises(suspending.AlreadyDecided, match=allocation.reference):
            act(allocation, officer)
    assert Allocation.objects.get().state == state


def test_nobody_resumes_an_allocation_of_their_own_project(officer: User) -> None:
    allocation = make.allocation()
    make.member(user=officer, project=allocation.project, role=ProjectRole.MEMBER)
    suspend(allocation, officer)
    with pytest.raises(BenefitsFromIt):
        resume(allocation, officer)
    moved = suspending.resume_allocations(allocations=[allocation], reason="-", by=officer, at=NOW)
    assert (moved.done, [each.allocation.pk for each in moved.left_out]) == ([], [allocation.pk])
    assert Allocation.objects.get().state == State.SUSPENDED


@pytest.mark.parametrize("reason", ["", "  ", "no\x00pe"])
def test_a_reason_that_says_nothing_or_cannot_be_kept_is_refused(officer: User, reason: str) -> None:
    allocation = make.allocation()
    with pytest.raises(NoReason):
        suspend(allocation, officer, reason)
    assert Allocation.objects.get().state == State.OPEN


def test_officer_suspends_and_resumes_on_its_page_and_the_team_reads_why(client: Client, officer: User) -> None:
    allocation = make.allocation()
    lead = make.member(project=allocation.project, role=ProjectRole.LEAD)
    page, act = (f"admin:allocations_allocation_{name}" for name in ("change", "suspend"))
    client.force_login(officer)
    links = [link.url for link in client.get(reverse(page, args=[allocation.pk])).context["acts"]]
    assert [url for url in links if url in {"../suspend/", "../resume/"}] == ["../suspend/"]
    effects = client.get(reverse(act, args=[allocation.pk])).context["effects"]
    assert [effect.before for effect in effects] == ["Open", "0", "0"]
    client.post(reverse(act, args=[allocation.pk]), {"reason": "<b>mining</b>"})
    shown = client.get(reverse(page, args=[allocation.pk])).content.decode()
    assert "&lt;b&gt;mining&lt;/b&gt;" in shown
    assert "../resume/" in shown
    client.force_login(lead)
    told = client.get(allocation.project.get_absolute_url()).content.decode()
    assert "The centre’s reason: &lt;b&gt;mining&lt;/b&gt;" in told
    client.force_login(officer)
    client.post(reverse("admin:allocations_allocation_resume", args=[allocation.pk]), {"reason": "cleared up"})
    assert Allocation.objects.get().state == State.OPEN
    again = client.post(reverse("admin:allocations_allocation_resume", args=[allocation.pk]), {"reason": "again"})
    assert again.context["refusal"] == f"{allocation.reference} is open already."
