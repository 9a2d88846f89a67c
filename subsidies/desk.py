"""What the scheme puts on the desk: decisions that wait for a second person to confirm them."""

from collections.abc import Iterator
from datetime import datetime

from django.urls import reverse
from django.utils.translation import gettext as _

from centre.desk import group_of, noted
from centre.models import Membership, Representative, User
from centre.registry import DeskGroup, DeskLine, DeskPart
from centre.templatetags.portal import hkd
from subsidies.models import Decision
from subsidies.models.award import DecisionQuerySet

CONFIRM = "subsidies.confirm_decision"
RECORD = "subsidies.record_decision"


def decisions_waiting(user: User, at: datetime) -> Iterator[DeskGroup]:
    """Decisions that this person may confirm, and those that they recorded. One query each."""
    waiting = (
        Decision.objects.waiting().select_related("application__tenant", "recorded_by").order_by("recorded_at", "pk")
    )
    parts = {}
    if user.has_perm(CONFIRM):
        parts[DeskPart.WAITING] = confirmable(waiting, user)
    if user.has_perm(RECORD):
        parts[DeskPart.ASKED] = waiting.filter(recorded_by=user)
    for part, rows in parts.items():
        yield group_of(
            rows,
            part=part,
            title=_("Decisions on applications"),
            line=line_of_decision,
            url=f"{reverse('admin:subsidies_decision_changelist')}?confirmed=no",
        )


def confirmable(waiting: DecisionQuerySet, user: User) -> DecisionQuerySet:
    """Without those that `awards.confirm_decision` refuses: recorded by the person, or of their project or tenant."""
    teams = Membership.objects.current().filter(user=user).values("project")
    tenants = Representative.objects.filter(user=user, ended_at__isnull=True).values("tenant")
    return (
        waiting.exclude(recorded_by=user)
        .exclude(application__recorded_by=user)
        .exclude(application__lead=user)
        .exclude(application__project__in=teams)
        .exclude(application__tenant__in=tenants)
    )


def line_of_decision(row: Decision, part: DeskPart) -> DeskLine:
    page = "confirm" if part == DeskPart.WAITING else "change"
    case = {"number": row.application.number, "title": row.application.title}
    if row.outcome == Decision.Outcome.APPROVED:
        title = _("Approve %(number)s with %(amount)s") % {**case, "amount": hkd(row.amount_cents)}
    else:
        title = _("Do not approve %(number)s") % case
    concerns = _("“%(title)s” of %(tenant)s.") % {**case, "tenant": row.application.tenant}
    return DeskLine(
        title=title,
        note=noted(part, None, concerns, recorder(row) if part == DeskPart.WAITING else ""),
        url=reverse(f"admin:subsidies_decision_{page}", args=[row.pk]),
        since=row.recorded_at,
    )


def recorder(row: Decision) -> str:
    return _("Recorded by %(person)s.") % {"person": row.recorded_by.get_full_name()}
