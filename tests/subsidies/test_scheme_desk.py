"""What the scheme shows on the desk beside what waits: overdue conditions, and applications on their way."""

from datetime import date, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from centre import registry
from centre.models import User
from centre.permissions import GRANTED, StaffRole
from centre.registry import DeskGroup, DeskPart
from subsidies import applications
from subsidies.awards import Asked
from subsidies.models import Application, Condition, Decision
from tests import make
from tests.subsidies import cases

pytestmark = pytest.mark.django_db

CONDITIONS, PIPELINE = "Overdue conditions", "Applications on their way"
YESTERDAY = timedelta(days=1)


@pytest.fixture
def secretary() -> User:
    return cases.secretary()


def group_of(user: User, title: str) -> DeskGroup | None:
    parts = frozenset({DeskPart.WATCH, DeskPart.STANDING})
    sections = registry.desk_of(User.objects.get(pk=user.pk), timezone.now(), parts=parts)
    found = {str(group.title): group for section in sections for group in section.groups}
    return found.get(title)


def approved(*due: date | None, title: str = "Maps") -> Decision:
    """A confirmed approval with a condition for each day."""
    tenant = make.tenant(name_en="Harbour University")
    asked = [Asked(text=f"Condition {number}", due_on=day) for number, day in enumerate(due)]
    decision = cases.decision(application=cases.application(title=title, tenant=tenant), conditions=asked)
    return cases.award(decision=decision).decision


def test_overdue_conditions_are_told_per_approval_those_due_first_first(client: Client, secretary: User) -> None:
    today = make.today()
    long_ago = date(2020, 3, 1)
    approved(today, None)
    first = approved(today - YESTERDAY)
    second = approved(long_ago, today - YESTERDAY, today + YESTERDAY, title="<b>Seas</b>")
    cleared = approved(today - YESTERDAY)
    Condition.objects.filter(decision=cleared).update(cleared_by=secretary, cleared_at=timezone.now())
    cases.decision(conditions=[Asked(text="Not confirmed", due_on=long_ago)])
    group = group_of(secretary, CONDITIONS)
    assert group is not None
    assert [line.title for line in group.lines] == [
        f"{second.application.number}: 2 conditions are overdue",
        f"{first.application.number}: 1 condition is overdue",
    ]
    assert group.lines[0].note == "Due on 1 Mar 2020. “<b>Seas</b>” of Harbour University."
    client.force_login(secretary)
    assert "2 decisions" in client.get(group.url).content.decode()
    assert "Condition 1" in client.get(group.lines[0].url).content.decode()
    assert "&lt;b&gt;Seas" in client.get("/desk/").content.decode()


def moved(to: str, at: datetime) -> Application:
    case = cases.application()
    applications.step(application=case, to=Application.State(to), by=cases.secretary(), at=at)
    return case


def test_applications_are_counted_per_state_with_the_oldest(client: Client, secretary: User) -> None:
    now = timezone.now()
    waiting = [cases.application() for _ in range(2)]
    moved("screening", now - timedelta(days=2))
    moved("screening", now - timedelta(days=7))
    withdrawn = cases.application()
    applications.withdraw(application=withdrawn, reason="-", by=secretary, at=now)
    approved()
    group = group_of(secretary, PIPELINE)
    assert group is not None
    assert [(line.title, line.since) for line in group.lines[:2]] == [
        ("Submitted: 2 applications", min(case.recorded_at for case in waiting)),
        ("Screening: 2 applications", now - timedelta(days=7)),
    ]
    client.force_login(secretary)
    for line in group.lines[:2]:
        assert "2 applications" in client.get(line.url).content.decode()
    assert len(group.lines) == 2 + Application.objects.filter(state__in=("decided", "offered")).count()


def test_only_who_may_see_cases_sees_them() -> None:
    approved(make.today() - YESTERDAY)
    cases.application()
    for role in StaffRole:
        user = make.staff(role)
        seen = (group_of(user, CONDITIONS) is not None, group_of(user, PIPELINE) is not None)
        may = ("subsidies.view_condition" in GRANTED[role], "subsidies.view_application" in GRANTED[role])
        assert seen == may, role
