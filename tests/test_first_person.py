"""Two people behind an act: who asked left meanwhile, and then nobody approves it alone.

One line in `ACTS` for each act of two people: how it is asked for, by whom, and how a second person approves it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from allocations import requests, rules
from allocations.models import Allocation, ChangeRequest, LedgerEntry, PeriodEndRule
from allocations.onboard.applying import SecondOfficerNeeded
from centre import accounts, appointments, first_person, members
from centre.models import Appointment, User
from centre.permissions import ProjectRole, StaffRole
from subsidies import awards
from subsidies.models import Award
from tests import make
from tests.allocations.uploads import applied, handed_over
from tests.subsidies import cases

pytestmark = pytest.mark.django_db

R = StaffRole
Kind = ChangeRequest.Kind
DAY = timedelta(days=1)


def role_for_somebody(asker: User) -> Appointment:
    return appointments.ask(
        user=make.person(), role=R.AUDITOR, from_on=make.today(), reason="-", by=asker, at=timezone.now()
    )


def period_end_rule(asker: User) -> PeriodEndRule:
    rule = PeriodEndRule(pool=make.pool(), from_on=make.today(), carry_over=PeriodEndRule.CarryOver.NONE, reason="why")
    return rules.ask_rule(rule=rule, by=asker, at=timezone.now())


def extension(asker: User) -> ChangeRequest:
    allocation = make.allocation(end_on=make.today() + 5 * DAY)
    until = make.today() + 50 * DAY
    said = {"kind": Kind.EXTENSION, "allocation": allocation, "until_on": until, "reason": "-", "key": "k"}
    return requests.propose(by=asker, at=timezone.now(), **said)  # type: ignore[arg-type]  # each is of its kind


def grant(asker: User) -> Any:
    return cases.decision(by=asker)


def balances(asker: User) -> Any:
    make.centre(two_person_above_seconds=0)
    make.pool("q")
    make.project("p", tenant=make.tenant("t"))
    return handed_over(asker, allocations=f"p,q,{make.today()},{make.today() + 90 * DAY},10,A,a,\n")


@dataclass(frozen=True)
class Act:
    role: StaffRole
    asked: Callable[[User], Any]
    approved: Callable[[Any, User], Any]
    refused: type[Exception]

    def nothing_came_of(self) -> bool:
        hours = LedgerEntry.objects.filter(kind="grant", source_kind="upload").exists()
        longer = Allocation.objects.filter(end_on=make.today() + 50 * DAY).exists()
        roles = Appointment.objects.filter(role=R.AUDITOR, approved_at__isnull=False).exists()
        rule = PeriodEndRule.objects.filter(approved_at__isnull=False).exists()
        return not (hours or longer or roles or rule or Award.objects.exists())


ACTS = {
    "a staff role": Act(
        R.ADMINISTRATOR,
        role_for_somebody,
        lambda row, by: appointments.approve(appointment=row, by=by, at=timezone.now()),
        appointments.AskerGone,
    ),
    "a rule": Act(
        R.ALLOCATION_OFFICER,
        period_end_rule,
        lambda row, by: rules.approve_rule(rule=row, by=by, at=timezone.now()),
        rules.AskerGone,
    ),
    "a later last day": Act(
        R.ALLOCATION_OFFICER,
        extension,
        lambda row, by: requests.approve(request=row, by=by, at=timezone.now()),
        requests.AskerGone,
    ),
    "a decision": Act(
        R.SUBSIDY_SECRETARY,
        grant,
        lambda row, by: awards.confirm_decision(decision=row, by=by, at=timezone.now()),
        awards.RecorderGone,
    ),
    "opening balances": Act(R.ALLOCATION_OFFICER, balances, applied, SecondOfficerNeeded),
}


def close(asker: User) -> None:
    accounts.close_account(user=asker, reason="left", by=make.person(), at=timezone.now())


def end_role(asker: User) -> None:
    for row in Appointment.objects.filter(user=asker):
        appointments.end(appointment=row, until_on=make.today() - DAY, reason="-", by=make.person(), at=timezone.now())


def approver() -> User:
    """Somebody who may approve any of them, beside two administrators who stay."""
    user = make.staff(R.ADMINISTRATOR)
    make.staff(R.ADMINISTRATOR)
    for role in (R.ALLOCATION_OFFICER, R.COMMITTEE_CHAIR):
        make.staff(role, user=user)
    return User.objects.get(pk=user.pk)


@pytest.mark.parametrize(("left", "sentence"), [(close, "was closed"), (end_role, "may not ask for it any more")])
@pytest.mark.parametrize("name", ACTS)
def test_nobody_approves_alone_what_was_asked_by_who_left(
    name: str, left: Callable[[User], None], sentence: str
) -> None:
    act, by = ACTS[name], approver()
    asker = make.staff(act.role, name="Gone Officer")
    row = act.asked(asker)
    left(asker)
    with pytest.raises(act.refused, match=f"Gone Officer.*{sentence}.*only one person would stand behind it"):
        act.approved(row, by)
    assert act.nothing_came_of()


@pytest.mark.parametrize("name", ACTS)
def test_two_people_who_are_there_get_it_done(name: str) -> None:
    act, by = ACTS[name], approver()
    act.approved(act.asked(make.staff(act.role)), by)
    assert not act.nothing_came_of()


@pytest.mark.parametrize("name", ACTS)
def test_verbs_that_forget_to_look_are_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_person, "roles_of", lambda *_asked, **_at: frozenset(R))
    with pytest.raises(pytest.fail.Exception):
        test_nobody_approves_alone_what_was_asked_by_who_left(name, end_role, "any more")


def test_what_a_team_asked_for_stays_the_teams() -> None:
    allocation = make.allocation()
    lead, other = (make.member(project=allocation.project, role=ProjectRole.LEAD) for _ in range(2))
    row = requests.ask(
        project=allocation.project,
        kind=Kind.TOP_UP,
        allocation=allocation,
        seconds=make.HOUR,
        reason="because",
        by=lead,
        at=timezone.now(),
    )
    members.remove_member(membership=allocation.project.memberships.get(user=lead), by=other, at=timezone.now())
    requests.approve(request=row, by=make.staff(R.ALLOCATION_OFFICER), at=timezone.now())
    assert Allocation.objects.get().granted_seconds == allocation.granted_seconds + make.HOUR


def test_the_approver_reads_what_to_do_instead(client: Client) -> None:
    asker = make.staff(R.ALLOCATION_OFFICER, name="Gone Officer")
    row = extension(asker)
    close(asker)
    client.force_login(make.staff(R.ALLOCATION_OFFICER))
    url = reverse("admin:allocations_changerequest_approve", args=[row.pk])
    text = client.post(url, {"answer": "", "until_on": row.asked_until_on}).content.decode()
    assert re.search("Gone Officer.*was closed.*Decline it; who still needs it asks anew", text, re.DOTALL)
    row.refresh_from_db()
    assert row.state == "asked"
