"""Nobody raises their own rights: not by asking and approving, a second account, dates, hidden fields, or SQL."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from centre import accounts, appointments
from centre.members import AccountClosed
from centre.models import Appointment, Event, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = pytest.mark.django_db
R = StaffRole
DAY = timedelta(days=1)


def now_roles(user: User) -> frozenset[StaffRole]:
    return User.objects.get(pk=user.pk).staff_roles


def act(row: Any, name: str) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=[row.pk])


@pytest.fixture
def administrator(client: Client) -> User:
    """Signed in; two others stand beside."""
    make.staff(R.ADMINISTRATOR)
    make.staff(R.ADMINISTRATOR)
    user = make.staff(R.ADMINISTRATOR)
    client.force_login(user)
    return user


def asked(user: User, role: StaffRole = R.FINANCE_OFFICER, by: User | None = None) -> Appointment:
    at = timezone.now()
    return appointments.ask(user=user, role=role, from_on=make.today(), reason="-", by=by or make.person(), at=at)


ASK = "/admin/centre/appointment/add/"


def test_an_administrator_who_asks_for_their_own_role_does_not_hold_it(client: Client, administrator: User) -> None:
    hidden = {"approved_by": administrator.pk, "approved_at": "2026-01-01", "is_first": "on", "asked_by": 1}
    given = {"user": administrator.pk, "role": R.FINANCE_OFFICER, "from_on": make.today().isoformat(), "reason": "me"}
    client.post(ASK, given | hidden)
    row = Appointment.objects.get(role=R.FINANCE_OFFICER)
    assert (row.asked_by, row.approved_at, row.is_first) == (administrator, None, False)
    client.post(act(row, "approve"))
    client.post(act(row, "approve"), {"by": make.staff(R.ADMINISTRATOR).pk})
    assert now_roles(administrator) == {R.ADMINISTRATOR}


def test_whom_another_asked_for_does_not_approve_it(client: Client, administrator: User) -> None:
    row = asked(administrator)
    assert "Someone else has to approve it" in client.post(act(row, "approve")).content.decode()
    assert now_roles(administrator) == {R.ADMINISTRATOR}


def test_a_second_account_that_one_made_approves_nothing(client: Client, administrator: User) -> None:
    given = {"email": "puppet@example.org", "name": "Puppet", "language": "en", "is_active": "on", "is_staff": "on"}
    client.post("/admin/centre/user/add/", given | {"password": "chosen-by-me", "is_superuser": "on"})
    puppet = User.objects.get(email="puppet@example.org")
    assert (len(now_roles(puppet)), puppet.has_usable_password()) == (0, False)
    row, role = asked(administrator, by=administrator), asked(puppet, R.ADMINISTRATOR, by=administrator)
    client.force_login(puppet)
    assert [client.post(act(each, "approve")).status_code for each in (row, role)] == [404, 404]
    client.force_login(administrator)
    client.post(act(role, "approve"))
    assert (len(now_roles(puppet)), set(now_roles(administrator))) == (0, {R.ADMINISTRATOR})


def test_dates_of_an_appointment_are_not_edited_by_any_form(client: Client, administrator: User) -> None:
    row = Appointment.objects.get(user=administrator)
    appointments.end(appointment=row, until_on=make.today(), reason="-", by=make.person(), at=timezone.now())
    later = {"until_on": (make.today() + 300 * DAY).isoformat(), "reason": "longer"}
    client.post(act(row, "change"), later | {"role": R.ADMINISTRATOR, "from_on": "2020-01-01"})
    client.post(act(row, "end"), later)
    below = {"appointments-TOTAL_FORMS": 1, "appointments-INITIAL_FORMS": 1, "appointments-0-id": row.pk}
    client.post(act(administrator, "change"), below | {"name": "Me", "language": "en", "appointments-0-until_on": ""})
    row.refresh_from_db()
    assert row.until_on == make.today()


@pytest.mark.parametrize("role", [role for role in StaffRole if role != R.ADMINISTRATOR])
def test_no_other_role_asks_approves_or_ends(client: Client, role: StaffRole, administrator: User) -> None:
    user = make.staff(role)
    client.force_login(user)
    row = asked(user, R.ADMINISTRATOR)
    given = {"user": user.pk, "role": R.ADMINISTRATOR, "from_on": make.today().isoformat(), "reason": "me"}
    answers = [client.post(ASK, given), *(client.post(act(row, name), given) for name in ("approve", "end"))]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert now_roles(user) == {role}


# ---------------------------------------------------------------------------------------------- by the user form


def test_the_user_form_changes_neither_the_address_of_staff_nor_a_password(client: Client, administrator: User) -> None:
    colleague = make.staff(R.FINANCE_OFFICER, "finance@example.org")
    waiting = make.person("waiting@example.org")
    User.objects.filter(pk=waiting.pk).update(password="!")
    asked(waiting)
    for person in (administrator, colleague, waiting):
        before = User.objects.get(pk=person.pk)
        given = {"email": "mine@example.org", "name": "N", "language": "en", "password": "x", "is_active": ""}
        client.post(act(person, "change"), given | {"is_staff": "on", "roles": "finance_officer"})
        after = User.objects.get(pk=person.pk)
        assert (after.email, after.password, after.is_active) == (before.email, before.password, True)


@pytest.mark.parametrize("standing", ["in force", "begins later", "waits"])
def test_a_tenant_officer_changes_nobody_who_is_or_is_to_be_staff(client: Client, standing: str) -> None:
    person = make.person()
    row = appointments.ask(
        user=person,
        role=R.AUDITOR,
        from_on=make.today() + (9 * DAY if standing == "begins later" else 0 * DAY),
        reason="-",
        by=make.staff(R.ADMINISTRATOR),
        at=timezone.now(),
    )
    if standing != "waits":
        appointments.approve(appointment=row, by=make.person(), at=timezone.now())
    client.force_login(make.staff(R.TENANT_OFFICER))
    answers = [client.post(act(person, name), {"name": "N", "reason": "-"}) for name in ("change", "close", "reopen")]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert User.objects.get(pk=person.pk).is_active


def test_a_closed_account_loses_its_roles_and_gets_none_back_by_being_opened(
    client: Client, administrator: User
) -> None:
    colleague = make.staff(R.FINANCE_OFFICER)
    waiting = asked(colleague, R.AUDITOR)
    page = client.get(act(colleague, "close")).content.decode()
    assert ("Finance officer" in page, "Ends today" in page, "Withdrawn" in page) == (True, True, True)
    assert client.post(act(colleague, "close"), {"reason": "Left the centre"}).status_code == 302
    assert now_roles(colleague) == frozenset()
    assert Event.objects.get(act="close_account").reason == "Left the centre"
    refused = client.post(act(colleague, "reopen"), {"reason": "Back"}).content.decode()
    assert "would come back by one person alone" in refused
    tomorrow = timezone.now() + DAY
    accounts.reopen_account(user=colleague, reason="Back", by=administrator, at=tomorrow)
    with pytest.raises(appointments.AlreadyDecided):
        appointments.approve(appointment=waiting, by=make.person(), at=tomorrow)
    roles = Appointment.objects.filter(user=colleague).in_force(on=timezone.localtime(tomorrow).date())
    assert (User.objects.get(pk=colleague.pk).is_active, roles.count()) == (True, 0)


def test_nobody_closes_or_opens_their_own_account(client: Client, administrator: User) -> None:
    assert "../close/" not in client.get(act(administrator, "change")).content.decode()
    page = client.post(act(administrator, "close"), {"reason": "bye"}).content.decode()
    assert "Nobody closes or opens their own account" in page
    assert now_roles(administrator) == {R.ADMINISTRATOR}


def test_the_last_two_administrators_are_not_closed(client: Client) -> None:
    other, own = make.staff(R.ADMINISTRATOR), make.staff(R.ADMINISTRATOR)
    client.force_login(own)
    page = client.post(act(other, "close"), {"reason": "alone at last"}).content.decode()
    assert "Two administrators have to be left" in page
    assert User.objects.get(pk=other.pk).is_active


def test_a_role_is_not_approved_for_a_closed_account() -> None:
    person = make.person()
    row = asked(person)
    User.objects.filter(pk=person.pk).update(is_active=False)
    with pytest.raises(AccountClosed):
        appointments.approve(appointment=row, by=make.person(), at=timezone.now())
    assert Appointment.objects.get(pk=row.pk).approved_at is None


def test_leading_a_team_is_no_way_into_the_administration(client: Client) -> None:
    lead = make.member(project=make.project(), role=ProjectRole.LEAD)
    client.force_login(lead)
    given = {"user": lead.pk, "role": R.ADMINISTRATOR, "from_on": make.today().isoformat(), "reason": "me"}
    assert (client.get(ASK).status_code, client.post(ASK, given).status_code) == (404, 404)


# ---------------------------------------------------------------------------------------------- past the verbs

ATTACKS: dict[str, Callable[[Appointment, User], object]] = {
    "approved by who asked": lambda row, _other: Appointment.objects.filter(pk=row.pk).update(
        approved_by=row.asked_by, approved_at=timezone.now()
    ),
    "approved by nobody": lambda row, _other: Appointment.objects.filter(pk=row.pk).update(approved_at=timezone.now()),
    "approved by the appointed": lambda row, _other: Appointment.objects.filter(pk=row.pk).update(
        approved_by=row.user, approved_at=timezone.now()
    ),
    "another role": lambda row, _other: Appointment.objects.filter(pk=row.pk).update(role=R.ADMINISTRATOR),
    "another person": lambda row, other: Appointment.objects.filter(pk=row.pk).update(user=other),
    "another asker": lambda row, other: Appointment.objects.filter(pk=row.pk).update(asked_by=other),
    "an earlier day": lambda row, _other: Appointment.objects.filter(pk=row.pk).update(from_on="2020-01-01"),
    "as one of the first": lambda row, _other: Appointment.objects.filter(pk=row.pk).update(is_first=True),
    "removed": lambda row, _other: connection.cursor().execute(
        "DELETE FROM centre_appointment WHERE id = %s", [row.pk]
    ),
    "made as one of the first": lambda _row, other: Appointment.objects.create(
        user=other,
        role=R.ADMINISTRATOR,
        from_on=make.today(),
        reason="-",
        asked_at=timezone.now(),
        approved_at=timezone.now(),
        is_first=True,
    ),
}


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_the_database_refuses_what_the_verbs_would(attack: str) -> None:
    row, other = asked(make.person()), make.person()
    with pytest.raises(IntegrityError), transaction.atomic():
        ATTACKS[attack](row, other)
    assert list(Appointment.objects.values_list("user", "role", "approved_at", "is_first")) == [
        (row.user_id, R.FINANCE_OFFICER, None, False)
    ]


def test_the_database_lets_an_approved_appointment_only_end_earlier() -> None:
    user = make.staff(R.FINANCE_OFFICER)
    row = Appointment.objects.filter(user=user)
    row.update(until_on=make.today() + 9 * DAY)
    row.update(until_on=make.today())
    for later in (make.today() + DAY, None):
        with pytest.raises(IntegrityError, match="an_appointment_keeps_its_terms"), transaction.atomic():
            row.update(until_on=later)
    with pytest.raises(IntegrityError, match="an_appointment_keeps_its_terms"), transaction.atomic():
        row.update(approved_by=make.person())
    assert row.get().until_on == make.today()
