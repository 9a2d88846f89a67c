"""What GPU time shows on the desk beside what waits: balances and periods that want an eye, and how the books stand."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import BooleanField, Case, ExpressionWrapper, F, OuterRef, Q, Subquery, Value, When
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from allocations import desk_imports
from allocations.cards import card_of, ready, used_lately
from allocations.forecast_words import CardWords
from allocations.idle import books_at, idle
from allocations.importing.standing import standings
from allocations.models import Allocation, DailyUsage
from centre.desk import first_of_each, group_of
from centre.models import User
from centre.registry import DeskGroup, DeskLine, DeskPart, DeskParts
from centre.templatetags.portal import gpu_hours

MAY_IMPORT: Final = "allocations.import_usage"
MAY_SEE_IMPORTS: Final = "allocations.view_usageimport"
MAY_SEE: Final = "allocations.view_allocation"
ENDS_WITHIN: Final = timedelta(days=30)
LEFT = F("granted_seconds") - F("used_seconds") - F("held_seconds")


def balances_and_imports(user: User, at: datetime, parts: DeskParts) -> Iterator[DeskGroup]:
    """Imports that went wrong, allocations to keep an eye on, how the books stand: as far as this person may see.

    At most eleven queries for a whole desk, eight for what waits.
    """
    answers = DeskPart.WAITING in parts and user.has_perm(MAY_IMPORT)
    looks = DeskPart.STANDING in parts and user.has_perm(MAY_SEE_IMPORTS)
    clusters, queue = standings(at=at) if answers or looks else ([], None)
    if answers and queue is not None:
        yield desk_imports.gone_wrong(clusters, queue)
    if DeskPart.WATCH in parts and user.has_perm(MAY_SEE):
        yield from overdrawn_and_ending(at)
        known = {each.cluster: each.coverage for each in clusters if each.coverage is not None}
        rows = idle(Allocation.objects.all(), books=known if queue is not None else books_at(at), at=at)
        yield group_of(
            last_used(rows).select_related("project__tenant").order_by(LEFT.desc(), "pk"),
            part=DeskPart.WATCH,
            title=_("No usage for 30 days"),
            line=line_of_idle,
            url=listed(usage="none"),
        )
    if looks:
        yield desk_imports.how_they_stand(clusters)


def overdrawn_and_ending(at: datetime) -> Iterator[DeskGroup]:
    """Open allocations that are overdrawn, the worst first, and others that end within 30 days, the first to end first.

    Two queries: the rows of both, and what those that end used lately.
    """
    today = timezone.localdate(at)
    is_overdrawn = Q(granted_seconds__lt=F("used_seconds") + F("held_seconds"))
    ends_soon = Q(start_on__lte=today, end_on__gte=today, end_on__lt=today + ENDS_WITHIN)
    rows = Allocation.objects.filter(is_overdrawn | ends_soon, state=Allocation.State.OPEN)
    found = first_of_each(
        ready(rows).select_related("project__tenant", "pool__cluster__site"),
        kind=ExpressionWrapper(is_overdrawn, output_field=BooleanField()),
        order_by=(
            Case(When(is_overdrawn, then=Value(None)), default=F("end_on")),
            Case(When(is_overdrawn, then=LEFT), default=-LEFT),
            F("pk"),
        ),
    )
    overdrawn, overdrawn_in_all = found.get(True, ([], 0))
    ending, ending_in_all = found.get(False, ([], 0))
    yield DeskGroup(
        part=DeskPart.WATCH,
        title=_("Overdrawn allocations"),
        lines=tuple(line_of_overdrawn(row) for row in overdrawn),
        count=overdrawn_in_all,
        url=listed(balance="overdrawn"),
    )
    per_day = used_lately(ending, at=at)
    cards = (card_of(row, project=row.project, at=at, centre=None, per_day=per_day) for row in ending)
    yield DeskGroup(
        part=DeskPart.WATCH,
        title=_("Allocations that end within 30 days"),
        lines=tuple(line_of_ending(CardWords(card)) for card in cards),
        count=ending_in_all,
        url=listed(balance="within", period="ending"),
    )


def line_of_overdrawn(row: Allocation) -> DeskLine:
    return DeskLine(
        title=_("%(reference)s is overdrawn by %(hours)s GPU-hours")
        % {"reference": row.reference, "hours": gpu_hours(-row.available_seconds)},
        note=" ".join((_("%(hours)s were granted.") % {"hours": gpu_hours(row.granted_seconds)}, whose(row))),
        url=page_of(row),
    )


def line_of_ending(words: CardWords) -> DeskLine:
    row = words.card.allocation
    left = _("%(hours)s GPU-hours left.") % {"hours": gpu_hours(row.available_seconds)}
    forecast = _("%(runs_out)s.") % {"runs_out": words.answer}
    return DeskLine(
        title=_("%(reference)s ends on %(day)s") % {"reference": row.reference, "day": date_format(row.end_on)},
        note=" ".join((left, forecast, whose(row))),
        url=page_of(row),
    )


def last_used(rows: Any) -> Any:
    """Adds `last_used_on`: the last day with any use; None: never used."""
    used = DailyUsage.objects.filter(allocation=OuterRef("pk"), seconds__gt=0).order_by("-day")
    return rows.annotate(last_used_on=Subquery(used.values("day")[:1]))


def line_of_idle(row: Any, part: DeskPart) -> DeskLine:
    used = _("Never used.")
    if row.last_used_on is not None:
        used = _("Last used on %(day)s.") % {"day": date_format(row.last_used_on)}
    return DeskLine(
        title=_("%(reference)s has %(hours)s GPU-hours left")
        % {"reference": row.reference, "hours": gpu_hours(row.available_seconds)},
        note=" ".join((used, _("The period ends on %(day)s.") % {"day": date_format(row.end_on)}, whose(row))),
        url=page_of(row),
    )


def whose(row: Allocation) -> str:
    return _("For %(project)s of %(tenant)s.") % {"project": row.project.code, "tenant": row.project.tenant}


def page_of(row: Allocation) -> str:
    return reverse("admin:allocations_allocation_change", args=[row.pk])


def listed(**chosen: str) -> str:
    """The list of open allocations, with filters chosen."""
    query = urlencode({**chosen, "state__exact": Allocation.State.OPEN.value})
    return f"{reverse('admin:allocations_allocation_changelist')}?{query}"
