"""Administrators who close one another's accounts, or end one another's role, at the same moment: two are left."""

from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from centre import accounts, appointments
from centre.models import Appointment, User
from centre.permissions import StaffRole
from tests import make
from tests.postgres.acting import together

pytestmark = pytest.mark.usefixtures("committed")


def close(person: User, by: User) -> object:
    return accounts.close_account(
        user=User.objects.get(pk=person.pk), reason="Left the centre.", by=by, at=timezone.now()
    )


def end(person: User, by: User) -> object:
    appointment = Appointment.objects.select_related("user").get(user=person)
    return appointments.end(
        appointment=appointment, until_on=make.today(), reason="Another task.", by=by, at=timezone.now()
    )


def left() -> int:
    """How many administrators there are from tomorrow on."""
    tomorrow = make.today() + timedelta(days=1)
    return Appointment.objects.in_force(on=tomorrow).filter(role=StaffRole.ADMINISTRATOR, user__is_active=True).count()


@pytest.mark.parametrize("attempt", range(5))
def test_administrators_who_end_one_another_at_once_leave_two(attempt: int) -> None:
    people = [make.staff(StaffRole.ADMINISTRATOR) for _ in range(5)]
    acts = [partial((close, end)[number % 2], person, people[number - 1]) for number, person in enumerate(people)]
    assert together(acts) == ["LastAdministrators"] * 2 + ["done"] * 3
    assert left() == 2
