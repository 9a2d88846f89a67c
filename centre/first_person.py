"""The first of two people: who asked for something must still be one who may, when another approves it.

Else a single person stands behind it, whom nobody would ask about the other.
"""

from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from centre import permissions
from centre.models import Appointment, User
from centre.permissions import StaffRole


def why_gone(person: User, *, at: datetime, permission: str = "") -> str:
    """Why somebody who asked does not count as the first person any more, as a sentence; nothing while they do.

    Their account was closed, or on the day of `at` they hold no role that gives the `permission` to ask. Two queries.
    """
    as_they_stand = User.objects.get(pk=person.pk)  # what was read earlier may be older
    said = {"person": as_they_stand.get_full_name()}
    if not as_they_stand.is_active:
        return (
            _("The account of %(person)s, who asked for it, was closed: only one person would stand behind it.") % said
        )
    if permission and not permissions.allows(roles_of(person, at=at), permission):
        return (
            _("%(person)s, who asked for it, may not ask for it any more: only one person would stand behind it.")
            % said
        )
    return ""


def roles_of(person: User, *, at: datetime) -> frozenset[StaffRole]:
    """The staff roles that somebody holds on the day of `at`."""
    held = Appointment.objects.filter(user=person).in_force(on=timezone.localdate(at))
    return frozenset(StaffRole(role) for role in held.values_list("role", flat=True))
