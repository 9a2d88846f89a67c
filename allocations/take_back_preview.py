"""Whom a take-back rule would hit today, for the officers who ask for it and approve it: nothing is written."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from allocations.models import Allocation, TakeBackRule
from allocations.planned_use import check_day
from allocations.take_back_cases import Case, cases, running
from centre.models import User
from centre.registry import Link, Panel
from centre.templatetags.portal import gpu_hours

MOST = 50


@dataclass(frozen=True)
class PreviewRow:
    """An allocation that is under by the rule's share today.

    `used` and `planned` are GPU-seconds through the day `until`; `takes` is what is beyond the planned remainder today.
    `remark` says what the rule does about it.
    """

    allocation: Allocation
    until: date
    used: int
    planned: int
    takes: int
    remark: str


def preview(rule: TakeBackRule, at: datetime) -> list[PreviewRow]:
    """Who would lose what if this rule took back today, whether it counts yet or not; who would lose most is first.

    Judged through the last day that the books cover whole. Allocations of the rule's pool and funding only.
    """
    allocations = running(at=at).filter(pool=rule.pool_id, funding=rule.funding)
    rows = (row_of(case, rule) for case in cases(allocations, at=at, rule=rule) if case.is_open)
    return sorted((row for row in rows if row is not None), key=lambda row: -row.takes)


def row_of(case: Case, rule: TakeBackRule) -> PreviewRow | None:
    """None where the allocation is not under, nothing could be taken, or the rule has done with it."""
    if case.books_until is None or (case.rule is None and case.pending is None):
        return None
    until = min(case.books_until, case.today) - timedelta(days=1)
    takes = case.would_lose(on=case.today)
    if not takes or not case.is_under(rule, through=until):
        return None
    return PreviewRow(
        allocation=case.allocation,
        until=until,
        used=case.used_through(until),
        planned=case.planned_through(until),
        takes=takes,
        remark=remark_on(case, rule),
    )


def remark_on(case: Case, rule: TakeBackRule) -> str:
    """What the rule does about an allocation that is under today."""
    checked_on = check_day(case.period, check_at_bp=rule.check_at_bp)
    if case.is_exempt:
        return _("Exempted")
    if case.pending is not None:
        return _("Warned; due on %(day)s") % {"day": date_format(case.pending.due_on)}
    if checked_on < rule.from_on:
        return _("Left alone: it was to be checked before the rule counts")
    if case.today <= checked_on:
        return _("Checked when %(day)s is over") % {"day": date_format(checked_on)}
    if case.today + timedelta(days=rule.warn_days) > case.allocation.end_on:
        return _("Left alone: its period ends before the warning would be due")
    return _("Warned with the next night’s run") if rule.approved_at else _("Warned once the rule is approved")


def who_would_lose(record: models.Model, user: User) -> Panel | None:
    """The effect of a take-back rule, on its page; nothing for a rule that was refused."""
    if not isinstance(record, TakeBackRule) or record.refused_at or not user.has_perm("allocations.view_allocation"):
        return None
    return Panel(
        title=gettext_lazy("Who would lose what today"),
        headings=(
            gettext_lazy("Allocation"),
            gettext_lazy("Project"),
            gettext_lazy("Judged through"),
            gettext_lazy("Used (GPU-hours)"),
            gettext_lazy("Planned (GPU-hours)"),
            gettext_lazy("Left"),
            gettext_lazy("Would be taken"),
            gettext_lazy("What the rule does"),
        ),
        rows=tuple(cells_of(row) for row in preview(record, timezone.now())[:MOST]),
        numbers=(3, 4, 5, 6),
    )


def cells_of(row: PreviewRow) -> tuple[Link, ...]:
    allocation = row.allocation
    return (
        Link(allocation.reference, reverse("admin:allocations_allocation_change", args=[allocation.pk])),
        Link(allocation.project.code),
        Link(date_format(row.until)),
        Link(gpu_hours(row.used)),
        Link(gpu_hours(row.planned)),
        Link(gpu_hours(allocation.available_seconds)),
        Link(gpu_hours(row.takes)),
        Link(row.remark),
    )
