"""What the scheme puts on the desk: decisions to confirm, overdue conditions, and how many applications are where."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Count, Min, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from centre.desk import group_of, noted
from centre.models import Membership, Representative, User
from centre.registry import DeskGroup, DeskLine, DeskPart, DeskParts
from centre.templatetags.portal import grouped, hkd
from subsidies.life_cycle import UNDECIDED, State
from subsidies.models import Application, ApplicationStep, Decision
from subsidies.models.award import DecisionQuerySet

CONFIRM = "subsidies.confirm_decision"
RECORD = "subsidies.record_decision"
ON_THEIR_WAY = (*UNDECIDED, State.DECIDED, State.OFFERED)
"""Received, and not at an end yet."""


def decisions_waiting(user: User, at: datetime, parts: DeskParts) -> Iterator[DeskGroup]:
    """Decisions that this person may confirm, and those that they recorded. One query each."""
    waiting = (
        Decision.objects.waiting().select_related("application__tenant", "recorded_by").order_by("recorded_at", "pk")
    )
    found = {}
    if DeskPart.WAITING in parts and user.has_perm(CONFIRM):
        found[DeskPart.WAITING] = confirmable(waiting, user)
    if DeskPart.ASKED in parts and user.has_perm(RECORD):
        found[DeskPart.ASKED] = waiting.filter(recorded_by=user)
    for part, rows in found.items():
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


def conditions_overdue(user: User, at: datetime, parts: DeskParts) -> Iterator[DeskGroup]:
    """Approvals with conditions that were due and are not cleared, those due first before others. One query."""
    if DeskPart.WATCH not in parts or not user.has_perm("subsidies.view_condition"):
        return
    rows = Decision.objects.with_overdue(on=timezone.localdate(at)).select_related("application__tenant")
    yield group_of(
        rows,
        part=DeskPart.WATCH,
        title=_("Overdue conditions"),
        line=line_of_overdue,
        url=f"{reverse('admin:subsidies_decision_changelist')}?conditions=overdue",
    )


def line_of_overdue(row: Decision, part: DeskPart) -> DeskLine:
    case = row.application
    title = ngettext(
        "%(case)s: %(number)s condition is overdue", "%(case)s: %(number)s conditions are overdue", row.overdue
    )
    due = _("Due on %(day)s.") % {"day": date_format(row.overdue_since)}
    concerns = _("“%(title)s” of %(tenant)s.") % {"title": case.title, "tenant": case.tenant}
    return DeskLine(
        title=title % {"case": case.number, "number": row.overdue},
        note=f"{due} {concerns}",
        url=reverse("admin:subsidies_decision_change", args=[row.pk]),
    )


def pipeline(user: User, at: datetime, parts: DeskParts) -> Iterator[DeskGroup]:
    """How many applications are in each state before the end, and since when the oldest of them. One query."""
    if DeskPart.STANDING not in parts or not user.has_perm("subsidies.view_application"):
        return
    steps = ApplicationStep.objects.filter(application=OuterRef("pk"), to_state=OuterRef("state"))
    entered = Coalesce(Subquery(steps.order_by("-pk").values("at")[:1]), "recorded_at")
    rows = Application.objects.visible_to(user).filter(Q(state__in=ON_THEIR_WAY)).annotate(entered_at=entered)
    states = rows.order_by().values_list("state").annotate(Count("pk"), Min("entered_at"))
    found = {state: (number, oldest) for state, number, oldest in states}
    changelist = reverse("admin:subsidies_application_changelist")
    lines = tuple(
        line_of_state(state, *found[state], url=f"{changelist}?state__exact={state.value}")
        for state in ON_THEIR_WAY
        if state in found
    )
    yield DeskGroup(
        part=DeskPart.STANDING, title=_("Applications on their way"), lines=lines, count=len(lines), url=changelist
    )


def line_of_state(state: State, number: int, oldest: datetime, *, url: str) -> DeskLine:
    title = ngettext("%(state)s: %(number)s application", "%(state)s: %(number)s applications", number)
    return DeskLine(
        title=title % {"state": state.label, "number": grouped(number, 0)},
        note=_("The oldest has been there since %(day)s.") % {"day": date_format(timezone.localtime(oldest))},
        url=url,
        since=oldest,
    )
