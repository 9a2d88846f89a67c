"""Closing a person's account, and opening it again: nothing they did is lost, and no right comes back by itself."""

from datetime import datetime

from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from centre import appointments
from centre.audit import record
from centre.members import MemberError
from centre.models import Appointment, User


class OwnAccount(MemberError):
    """Nobody closes or opens their own account."""


class AlreadySo(MemberError):
    """The account was closed or opened in the meantime."""


class StillAppointed(MemberError):
    """The person holds a staff role, which would come back without a second person."""


@transaction.atomic
def close_account(*, user: User, reason: str, by: User, at: datetime) -> User:
    """Let the person sign in no more, from the next click on; staff roles end today, those asked for are withdrawn.

    Raises OwnAccount, AlreadySo, LastAdministrators (of `centre.appointments`).
    """
    row = _locked(user, by)
    if not row.is_active:
        raise AlreadySo(_("This account is closed already."))
    today = timezone.localtime(at).date()
    for appointment in standing_appointments(row, at=at).select_related("user"):
        if appointment.approved_at is None:
            appointments.withdraw(appointment=appointment, reason=reason, by=by, at=at)
        elif appointment.until_on is None or appointment.until_on > max(today, appointment.from_on):
            last = max(today, appointment.from_on)
            appointments.end(appointment=appointment, until_on=last, reason=reason, by=by, at=at)
    User.objects.filter(pk=row.pk).update(is_active=False)
    user.is_active = False
    record(act="close_account", on=user, by=by, at=at, reason=reason, changes={"is_active": [True, False]})
    return user


@transaction.atomic
def reopen_account(*, user: User, reason: str, by: User, at: datetime) -> User:
    """Let the person sign in again, without any staff role. Raises OwnAccount, AlreadySo, StillAppointed."""
    row = _locked(user, by)
    if row.is_active:
        raise AlreadySo(_("This account is open already."))
    if standing_appointments(row, at=at).exists():
        raise StillAppointed(
            _(
                "A staff role of this person has not ended yet, and would come back by one person alone. "
                "Open the account once its last day is over; then ask for a new appointment."
            )
        )
    User.objects.filter(pk=row.pk).update(is_active=True)
    user.is_active = True
    record(act="reopen_account", on=user, by=by, at=at, reason=reason, changes={"is_active": [False, True]})
    return user


def standing_appointments(user: User, *, at: datetime) -> models.QuerySet[Appointment]:
    """Staff roles that count today or later, or wait for approval."""
    today = timezone.localtime(at).date()
    return Appointment.objects.filter(Q(until_on=None) | Q(until_on__gte=today), user=user, withdrawn_at=None)


def _locked(user: User, by: User) -> User:
    if user.pk == by.pk:
        raise OwnAccount(_("Nobody closes or opens their own account: ask another officer."))
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)
