"""The pages of the scheme that a project's team sees."""

from dataclasses import dataclass
from datetime import date, datetime

from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from allocations.models import Allocation
from centre.models import GpuPool, Project
from centre.team_pages import team_page
from subsidies import drawn, prices
from subsidies.models import Award, Condition
from subsidies.tables import ConditionsTable, HoursTable

STANDING_TONES = {"onboarding": "info", "active": "ok", "suspended": "warn", "closing": "warn", "terminated": "bad"}


class ConditionStanding(models.TextChoices):
    MET = "met", _("Met")
    OVERDUE = "overdue", _("Overdue")
    OPEN = "open", pgettext_lazy("condition", "Open")


@dataclass(frozen=True)
class HoursLine:
    """GPU time of an award on one pool: GPU-seconds, cents.

    `granted` is what the award gave; `now` is what is granted with all that came besides, as the ledger tells.
    """

    pool: GpuPool
    reference: str
    granted: int
    now: int
    used: int
    list_price: int | None
    list_value: int


@dataclass(frozen=True)
class ConditionLine:
    text: str
    due_on: date | None
    standing: ConditionStanding


@dataclass(frozen=True)
class AwardCard:
    """All that the page shows of one award."""

    award: Award
    tone: str
    drawn: drawn.Drawn
    known_until: datetime | None
    hours: HoursTable
    changed: list[HoursLine]
    conditions: ConditionsTable | None


def subsidy_url(project: Project) -> str:
    return reverse("project_subsidy", args=[project.code])


def project_subsidy(request: HttpRequest, code: str) -> HttpResponse:
    """A project's awards: terms, hours, conditions, what the subsidy has paid and what the project's own share is."""
    team = team_page(request, code, section="subsidy")
    awards = list(
        Award.objects.visible_to(team.user)
        .filter(project=team.project)
        .select_related("project__tenant", "application", "decision", "subsidy_project")
        .prefetch_related(
            models.Prefetch("grants__allocation", queryset=Allocation.objects.select_related("pool__cluster")),
            "decision__conditions",
        )
        .order_by("-starts_on", "-number")
    )
    if not awards:
        raise Http404
    today = timezone.localdate()
    used = drawn.usage_by(awards)
    pools = {grant.allocation.pool for award in awards for grant in award.grants.all()}
    price = prices.list_prices(sorted(pools, key=lambda pool: pool.pk), on=today)
    until = drawn.known_until({pool.cluster_id for pool in pools})
    cards = [card_of(award, used.get(award.pk, {}), price, until, today) for award in awards]
    return render(request, "subsidies/project_subsidy.html", team.context(cards=cards))


def card_of(
    award: Award, used: dict[int, drawn.Usage], price: dict[int, int], until: datetime | None, today: date
) -> AwardCard:
    """One award with its figures, from rows that are loaded; no query."""
    granted: dict[Allocation, int] = {}
    for grant in award.grants.all():
        granted[grant.allocation] = granted.get(grant.allocation, 0) + grant.gpu_seconds
    lines = [
        HoursLine(
            pool=allocation.pool,
            reference=allocation.reference,
            granted=seconds,
            now=allocation.granted_seconds,
            used=used.get(allocation.pk, drawn.Usage()).gpu_seconds,
            list_price=price.get(allocation.pool_id),
            list_value=prices.list_value_cents(used.get(allocation.pk, drawn.Usage()).cent_seconds),
        )
        for allocation, seconds in granted.items()
    ]
    conditions = [
        ConditionLine(condition.text, condition.due_on, standing_of(condition, today))
        for condition in sorted(award.decision.conditions.all(), key=when_due)
    ]
    return AwardCard(
        award=award,
        tone=STANDING_TONES.get(award.subsidy_project.standing, "quiet"),
        drawn=drawn.drawn(drawn.together(used.values()), rate_bp=award.rate_bp, amount_cents=award.amount_cents),
        known_until=until,
        hours=HoursTable(lines),
        changed=[line for line in lines if line.now != line.granted],
        conditions=ConditionsTable(conditions) if conditions else None,
    )


def when_due(condition: Condition) -> tuple[bool, date, int]:
    """Conditions with a day come first, in the order of their days; the others in that of recording."""
    return condition.due_on is None, condition.due_on or date.max, condition.pk


def standing_of(condition: Condition, today: date) -> ConditionStanding:
    """Where a condition stands on a day."""
    if condition.cleared_at is not None:
        return ConditionStanding.MET
    if condition.due_on is not None and condition.due_on < today:
        return ConditionStanding.OVERDUE
    return ConditionStanding.OPEN
