"""Invitations that several people send, answer and withdraw at the same moment, where commits are real."""

from datetime import datetime
from functools import partial

import pytest
from django.core import mail
from django.utils import timezone

from centre import invitations, members
from centre.models import Event, Invitation, Membership, Project, User
from centre.permissions import ProjectRole
from tests import make
from tests.postgres.acting import together

pytestmark = pytest.mark.usefixtures("committed")
GUEST = "guest@example.org"
TRIES = 6


@pytest.fixture
def now() -> datetime:
    return timezone.now()


def lead_of(project: Project) -> User:
    return make.member(project=project, role=ProjectRole.LEAD)


def invited(project: Project, by: User, at: datetime, email: str = GUEST) -> Invitation:
    return invitations.invite_to_project(project=project, email=email, role=ProjectRole.MEMBER, by=by, at=at)


def test_one_address_is_invited_once(now: datetime) -> None:
    project = make.project()
    leads = [lead_of(project) for _ in range(TRIES)]
    met = together([partial(invited, project, lead, now) for lead in leads])
    assert met == ["AlreadyInvited"] * (TRIES - 1) + ["done"]
    assert (Invitation.objects.count(), len(mail.outbox)) == (1, 1)


def test_one_link_makes_one_account_and_one_member(now: datetime) -> None:
    project = make.project()
    invited(project, lead_of(project), now)
    row = invitations.find(str(mail.outbox[0].body).split("/invitations/")[1].split("/")[0])
    assert row is not None
    join = partial(invitations.accept_as_newcomer, invitation=row, name="Gwen", password=make.PASSWORD, at=now)
    assert together([join] * TRIES) == ["NoLongerOpen"] * (TRIES - 1) + ["done"]
    assert Membership.objects.filter(project=project, user__email=GUEST).count() == 1
    assert Event.objects.filter(act="accept_invitation").count() == 1


def test_two_clicks_on_send_again_send_one_letter(now: datetime) -> None:
    project = make.project()
    lead = lead_of(project)
    row = invited(project, lead, now)
    again = partial(invitations.send_again, invitation=row, seen=row.invited_at, by=lead, at=timezone.now())
    assert together([again] * TRIES) == ["SentMeanwhile"] * (TRIES - 1) + ["done"]
    assert len(mail.outbox) == 2


def test_an_invitation_is_accepted_or_withdrawn_and_never_both(now: datetime) -> None:
    project, user = make.project(), make.person(GUEST)
    lead = lead_of(project)
    row = invited(project, lead, now)
    withdraw = partial(invitations.withdraw, invitation=row, by=lead, at=now)
    accept = partial(invitations.accept, invitation=row, user=user, at=now)
    assert together([withdraw, accept]) == ["NoLongerOpen", "done"]
    row.refresh_from_db()
    assert (row.accepted_at is None) != (row.withdrawn_at is None)
    assert Membership.objects.filter(user=user).exists() == (row.accepted_at is not None)


def test_of_two_leads_who_leave_at_once_one_stays(now: datetime) -> None:
    project = make.project()
    parts = [lead_of(project).memberships.get() for _ in range(2)]
    met = together([partial(members.remove_member, membership=part, by=part.user, at=now) for part in parts])
    assert met == ["LastLead", "done"]
    assert Membership.objects.current().filter(project=project, role=ProjectRole.LEAD).count() == 1


def test_limit_of_unanswered_invitations_holds_when_all_invite_at_once(now: datetime) -> None:
    project = make.project()
    leads = [lead_of(project) for _ in range(TRIES)]
    for nth in range(invitations.MOST_UNANSWERED - 2):
        invited(project, leads[nth % 2], now, f"guest{nth}@example.org")
    met = together([partial(invited, project, lead, now, f"late{n}@example.org") for n, lead in enumerate(leads)])
    assert met == ["TooManyInvitations"] * (TRIES - 2) + ["done"] * 2
    assert Invitation.objects.count() == invitations.MOST_UNANSWERED
