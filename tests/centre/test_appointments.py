"""Who holds a staff role, and that two people stand behind it."""

from datetime import date, timedelta

import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import TestCase
from django.utils import timezone

from centre import appointments
from centre.members import AccountClosed
from centre.models import Appointment, Event, User
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db


def asked(user: User, by: User, role: StaffRole = StaffRole.MANAGEMENT) -> Appointment:
    return appointments.ask(user=user, role=role, from_on=make.today(), reason="needed", by=by, at=timezone.now())


def roles_of(user: User) -> frozenset[StaffRole]:
    """As the next request sees them."""
    return User.objects.get(pk=user.pk).staff_roles


def test_first_officers_appoints_two_administrators_and_sends_both_a_link() -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        call_command("first_officers", "First@example.org", "second@example.org")
    assert [roles_of(user) for user in User.objects.all()] == [frozenset({StaffRole.ADMINISTRATOR})] * 2
    assert sorted(letter.to[0] for letter in mail.outbox) == ["first@example.org", "second@example.org"]
    assert Event.objects.filter(act="first_officer", actor=None).count() == 2


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ("a@example.org", "A@example.org ", "Two different people"),
        ("a@example.org", "nobody", "is not an e-mail address"),
    ],
)
def test_first_officers_refuses_one_person_and_no_address(first: str, second: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("first_officers", first, second)
    assert (User.objects.count(), Appointment.objects.count()) == (0, 0)


def test_first_officers_refuses_once_anybody_was_appointed() -> None:
    make.staff(StaffRole.AUDITOR)
    with pytest.raises(CommandError, match="There are appointments already"):
        call_command("first_officers", "a@example.org", "b@example.org")
    assert User.objects.filter(email__in=["a@example.org", "b@example.org"]).count() == 0


def test_appointment_counts_once_a_second_person_approves() -> None:
    user, asking, approving = make.person(), make.staff(StaffRole.ADMINISTRATOR), make.person()
    appointment = asked(user, asking)
    assert roles_of(user) == frozenset()
    appointments.approve(appointment=appointment, by=approving, at=timezone.now())
    assert roles_of(user) == frozenset({StaffRole.MANAGEMENT})
    trail = (
        Event.objects.filter(object_type="centre.appointment", object_id=str(appointment.pk))
        .order_by("id")
        .values_list("act", "actor")
    )
    assert list(trail) == [("ask_appointment", asking.pk), ("approve_appointment", approving.pk)]


def test_nobody_approves_what_they_asked_for_nor_their_own_appointment() -> None:
    user, asking = make.person(), make.person()
    appointment = asked(user, asking)
    for own in (user, asking):
        with pytest.raises(appointments.OwnAppointment):
            appointments.approve(appointment=appointment, by=own, at=timezone.now())
    assert roles_of(user) == frozenset()


def test_appointment_is_approved_once() -> None:
    appointment = asked(make.person(), make.staff(StaffRole.ADMINISTRATOR))
    first, second = make.person(), make.person()
    also_seen = Appointment.objects.get(pk=appointment.pk)
    appointments.approve(appointment=appointment, by=first, at=timezone.now())
    with pytest.raises(appointments.AlreadyDecided):
        appointments.approve(appointment=also_seen, by=second, at=timezone.now())
    assert Appointment.objects.get(pk=appointment.pk).approved_by == first


def test_withdrawn_appointment_is_never_approved() -> None:
    user = make.person()
    appointment = asked(user, make.person())
    appointments.withdraw(appointment=appointment, reason="a mistake", by=make.person(), at=timezone.now())
    with pytest.raises(appointments.AlreadyDecided):
        appointments.approve(appointment=appointment, by=make.person(), at=timezone.now())
    assert roles_of(user) == frozenset()


def test_same_role_is_not_asked_for_twice_in_one_time() -> None:
    user = make.person()
    asked(user, make.person())
    with pytest.raises(appointments.AlreadyAppointed):
        asked(user, make.person())
    asked(user, make.person(), StaffRole.AUDITOR)
    assert Appointment.objects.count() == 2


def test_ask_refuses_a_closed_account_and_a_period_that_ends_before_it_starts() -> None:
    user = make.person()
    with pytest.raises(ValidationError):
        appointments.ask(
            user=user,
            role=StaffRole.AUDITOR,
            from_on=date(2026, 2, 1),
            until_on=date(2026, 1, 1),
            reason="r",
            by=make.person(),
            at=timezone.now(),
        )
    User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(AccountClosed):
        asked(user, make.person())
    assert Appointment.objects.count() == 0


def test_ended_appointment_counts_until_its_last_day() -> None:
    user = make.staff(StaffRole.AUDITOR)
    appointment, yesterday = Appointment.objects.get(), make.today() - timedelta(days=1)
    appointments.end(appointment=appointment, until_on=make.today(), reason="left", by=None, at=timezone.now())
    assert roles_of(user) == frozenset({StaffRole.AUDITOR})
    appointments.end(appointment=appointment, until_on=yesterday, reason="left", by=None, at=timezone.now())
    assert roles_of(user) == frozenset()
    with pytest.raises(appointments.AlreadyDecided):
        appointments.end(appointment=appointment, until_on=make.today(), reason="", by=None, at=timezone.now())


def test_two_administrators_are_left() -> None:
    first, _second = make.staff(StaffRole.ADMINISTRATOR), make.staff(StaffRole.ADMINISTRATOR)
    appointment = Appointment.objects.get(user=first)
    with pytest.raises(appointments.LastAdministrators):
        appointments.end(appointment=appointment, until_on=make.today(), reason="", by=None, at=timezone.now())
    make.staff(StaffRole.ADMINISTRATOR)
    appointments.end(appointment=appointment, until_on=make.today(), reason="", by=None, at=timezone.now())
    assert Appointment.objects.get(user=first).until_on == make.today()


def test_there_is_no_superuser_and_the_command_says_what_to_do_instead() -> None:
    with pytest.raises(CommandError, match="first_officers"):
        call_command("createsuperuser", email="root@example.org", interactive=False)
    assert not User.objects.exists()
