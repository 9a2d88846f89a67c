"""Staff roles: one person asks that somebody holds a role, another approves it; the first two administrators, once.

Nobody approves what they asked for, nor their own appointment: these verbs refuse it, and so does the database.
"""

from datetime import date, datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from centre import members
from centre.audit import record
from centre.first_person import why_gone
from centre.models import Appointment, User
from centre.permissions import StaffRole

MAY_ASK = "centre.add_appointment"


class AppointmentError(Exception):
    """Why nobody was appointed, or no appointment ended, as a sentence for a screen."""


class AlreadyAppointedFirst(AppointmentError):
    """Somebody was appointed before; from then on every appointment takes two people."""


class SamePerson(AppointmentError):
    """Two different people are needed."""


class AlreadyAppointed(AppointmentError):
    """The person holds the role in that time, or somebody asked for it already."""


class OwnAppointment(AppointmentError):
    """Nobody approves their own appointment, nor one that they asked for."""


class AlreadyDecided(AppointmentError):
    """The appointment was approved, withdrawn or ended in the meantime."""


class AskerGone(AppointmentError):
    """Who asked for an appointment does not count as the first of two people any more."""


class LastAdministrators(AppointmentError):
    """Fewer than two administrators would be left, and nobody could be appointed any more."""


@transaction.atomic
def first_officers(*, first: str, second: str, at: datetime) -> tuple[User, User]:
    """Appoint the first two administrators, and send them first-sign-in links; once, by the operator's command.

    Raises AlreadyAppointedFirst when any appointment exists, SamePerson, or NotAnAddress (of `centre.members`).
    """
    if Appointment.objects.exists():
        raise AlreadyAppointedFirst(
            _("There are appointments already; from the first two on, one person asks and another approves.")
        )
    emails = [members.email_address(first), members.email_address(second)]
    if emails[0] == emails[1]:
        raise SamePerson(_("Two different people are needed; %(email)s was named twice.") % {"email": emails[0]})
    known = {user.email: user for user in User.objects.filter(email__in=emails)}
    users = [known.get(email) or members.add_person(email=email, by=None, at=at) for email in emails]
    for user in users:
        if not user.is_active:
            raise members.AccountClosed(_("The account of %(person)s is closed.") % {"person": user.email})
        appointment = Appointment.objects.create(
            user=user,
            role=StaffRole.ADMINISTRATOR,
            from_on=timezone.localtime(at).date(),
            reason=_("One of the first two administrators"),
            asked_at=at,
            approved_at=at,
            is_first=True,
        )
        _record("first_officer", appointment, by=None, at=at)
    members.invite(people=users, by=None, at=at)
    return users[0], users[1]


@transaction.atomic
def ask(
    *,
    user: User,
    role: StaffRole,
    from_on: date,
    reason: str,
    by: User,
    at: datetime,
    until_on: date | None = None,
) -> Appointment:
    """Ask that the person holds the role; it counts once somebody else approves it.

    Raises AlreadyAppointed, AccountClosed (of `centre.members`), or ValidationError for a field that does not fit.
    """
    person = User.objects.select_for_update().get(pk=user.pk)
    if not person.is_active:
        raise members.AccountClosed(_("The account of %(person)s is closed.") % {"person": person.email})
    overlapping = Appointment.objects.filter(
        Q(until_on__isnull=True) | Q(until_on__gte=from_on), user=person, role=role, withdrawn_at__isnull=True
    )
    if until_on is not None:
        overlapping = overlapping.filter(from_on__lte=until_on)
    if overlapping.exists():
        raise AlreadyAppointed(
            _("%(person)s holds this role in that time already, or it waits for approval.") % {"person": person.email}
        )
    appointment = Appointment(
        user=person, role=role, from_on=from_on, until_on=until_on, reason=reason, asked_by=by, asked_at=at
    )
    appointment.clean_fields()
    if until_on is not None and until_on < from_on:
        raise ValidationError({"until_on": _("The last day is before the first.")})
    appointment.save(force_insert=True)
    _record("ask_appointment", appointment, by=by, at=at)
    return appointment


@transaction.atomic
def approve(*, appointment: Appointment, by: User, at: datetime) -> Appointment:
    """Approve it as the second person; the role counts from its first day.

    Raises OwnAppointment, AlreadyDecided, AskerGone, AccountClosed (of `centre.members`): a closed account that is
    opened again must not come with a role.
    """
    if by.pk in {appointment.asked_by_id, appointment.user_id}:
        raise OwnAppointment(
            _("Someone else has to approve it: nobody approves what they asked for, nor their own appointment.")
        )
    person = User.objects.select_for_update(no_key=True).get(pk=appointment.user_id)
    if not person.is_active:
        raise members.AccountClosed(_("The account of %(person)s is closed.") % {"person": person.email})
    waiting = Appointment.objects.waiting().filter(pk=appointment.pk)
    if appointment.asked_by is not None and waiting.exists():
        refuse_without_asker(appointment.asked_by, at)
    approved = waiting.update(approved_by=by, approved_at=at)
    if not approved:
        raise AlreadyDecided(_("This appointment was approved or withdrawn in the meantime. Look at it again."))
    appointment.approved_by, appointment.approved_at = by, at
    _record("approve_appointment", appointment, by=by, at=at)
    return appointment


def refuse_without_asker(asker: User, at: datetime) -> None:
    """AskerGone where who asked is no administrator any more."""
    gone = why_gone(asker, at=at, permission=MAY_ASK)
    if gone:
        raise AskerGone(gone + " " + _("Withdraw it; an administrator asks anew."))


@transaction.atomic
def withdraw(*, appointment: Appointment, reason: str, by: User, at: datetime) -> Appointment:
    """Take back, or turn down, an appointment that nobody approved yet. Raises AlreadyDecided."""
    withdrawn = Appointment.objects.waiting().filter(pk=appointment.pk).update(withdrawn_at=at)
    if not withdrawn:
        raise AlreadyDecided(_("This appointment was approved or withdrawn in the meantime. Look at it again."))
    appointment.withdrawn_at = at
    _record("withdraw_appointment", appointment, by=by, at=at, reason=reason)
    return appointment


@transaction.atomic
def end(*, appointment: Appointment, until_on: date, reason: str, by: User | None, at: datetime) -> Appointment:
    """Let an approved appointment end with a day; one person is enough to take a right away.

    Raises AlreadyDecided when it ends by then anyway, LastAdministrators, or ValidationError for a day before it began.
    """
    if until_on < appointment.from_on:
        raise ValidationError({"until_on": _("The last day is before the first.")})
    if appointment.role == StaffRole.ADMINISTRATOR:
        _leave_two_administrators(appointment, until_on)
    ended = (
        Appointment.objects.filter(pk=appointment.pk, approved_at__isnull=False)
        .filter(Q(until_on__isnull=True) | Q(until_on__gt=until_on))
        .update(until_on=until_on)
    )
    if not ended:
        raise AlreadyDecided(_("This appointment is not approved, or ends by that day already."))
    before, appointment.until_on = appointment.until_on, until_on
    record(
        act="end_appointment",
        on=appointment,
        by=by,
        at=at,
        reason=reason,
        changes={"person": appointment.user.email, "role": appointment.role, "until_on": [before, until_on]},
    )
    return appointment


def _leave_two_administrators(appointment: Appointment, until_on: date) -> None:
    """Refuse to end what would leave one.

    All appointments of administrators are locked, in one order and before anything else is asked: two such acts wait
    for one another, and the later one sees what the earlier one left.
    """
    approved = Appointment.objects.filter(role=StaffRole.ADMINISTRATOR, approved_at__isnull=False)
    list(approved.order_by("pk").select_for_update(no_key=True).values_list("pk"))
    others = (
        approved.filter(user__is_active=True)
        .filter(Q(until_on__isnull=True) | Q(until_on__gt=until_on))
        .exclude(user=appointment.user_id)
        .values_list("user", flat=True)
    )
    if len(set(others)) < 2:
        raise LastAdministrators(
            _("Two administrators have to be left, or nobody could be appointed any more. Appoint another one first.")
        )


def _record(act: str, appointment: Appointment, *, by: User | None, at: datetime, reason: str = "") -> None:
    record(
        act=act,
        on=appointment,
        by=by,
        at=at,
        reason=reason or appointment.reason,
        changes={
            "person": appointment.user.email,
            "role": str(appointment.role),
            "from_on": appointment.from_on,
            "until_on": appointment.until_on,
        },
    )
