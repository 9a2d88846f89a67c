"""The list of allocations: by what it is narrowed, and how its cells are told."""

from datetime import date, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations.idle import books_at, idle
from allocations.models import Allocation
from centre.amounts import rounded
from centre.templatetags.portal import percent


class OverdrawnFilter(admin.SimpleListFilter):
    title = _("balance")
    parameter_name = "balance"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("overdrawn", _("Overdrawn")), ("within", _("Within its grant"))]

    def queryset(self, request: Any, queryset: QuerySet[Allocation]) -> QuerySet[Allocation]:
        if self.value() == "overdrawn":
            return queryset.filter(granted_seconds__lt=F("used_seconds") + F("held_seconds"))
        if self.value() == "within":
            return queryset.filter(granted_seconds__gte=F("used_seconds") + F("held_seconds"))
        return queryset


class PeriodFilter(admin.SimpleListFilter):
    title = _("period")
    parameter_name = "period"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("now", _("Running today")),
            ("ending", _("Ends within 30 days")),
            ("ended", _("Ended")),
            ("unclosed", _("Ended, not closed")),
            ("to_come", _("Begins later")),
        ]

    def queryset(self, request: Any, queryset: QuerySet[Allocation]) -> QuerySet[Allocation]:
        today = timezone.localdate()
        unclosed = (Allocation.State.OPEN, Allocation.State.SUSPENDED)
        wanted = {
            "now": Q(start_on__lte=today, end_on__gte=today),
            "ending": Q(start_on__lte=today, end_on__gte=today, end_on__lt=today + timedelta(days=30)),
            "ended": Q(end_on__lt=today),
            "unclosed": Q(end_on__lt=today, state__in=unclosed),
            "to_come": Q(start_on__gt=today),
        }
        return queryset.filter(wanted.get(self.value() or "", Q()))


class UsageFilter(admin.SimpleListFilter):
    """Allocations that lie idle, as far as the books are complete (allocations.idle), and those that go too fast."""

    title = _("usage")
    parameter_name = "usage"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("above", _("Faster than planned")), ("none", _("No usage for 30 days"))]

    def queryset(self, request: Any, queryset: Any) -> QuerySet[Allocation] | None:
        now = timezone.now()
        if self.value() == "none":
            return idle(queryset, books=books_at(now), at=now)
        if self.value() == "above":
            above: QuerySet[Allocation] = queryset.above_plan(on=timezone.localdate(now))
            return above
        return None


# ------------------------------------------------------------------------------------------------------- the cells


def with_below(text: str, below: str) -> SafeString:
    """A cell of two lines; the second tells more of the first."""
    return format_html("{}<small>{}</small>", text, below)


def share(part: int, whole: int) -> str:
    """Whole per cent, half up; nothing where there is nothing to have a share of."""
    return percent(rounded(part * 100, whole) * 100) if whole else ""


def basis_points(part: int, whole: int) -> int | None:
    """The same to a hundredth of a per cent."""
    return rounded(part * 10_000, whole) if whole else None


def days_away(day: date, *, on: date) -> str:
    """How far a day is from another, in words: in 12 days, today, 3 days ago."""
    days = (day - on).days
    if days == 0:
        return gettext("today")
    if days > 0:
        return ngettext("in %(days)s day", "in %(days)s days", days) % {"days": days}
    return ngettext("%(days)s day ago", "%(days)s days ago", -days) % {"days": -days}
