"""What project teams see: the list of their projects, and a project's quotas."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import F, Min, OuterRef, Prefetch, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from allocations.filters import ProjectFilter
from allocations.models import Allocation, DailyUsage, DrawingAccount, JobRun, UsageImport
from allocations.quota import CHART_DAYS, STANDING_TONES, Card, day_today, next_steps, usage_chart
from allocations.tables import ProjectTable, RunTable
from allocations.take_back_cases import warnings_that_count
from centre import registry
from centre.charts import BarChart
from centre.http import signed_in
from centre.models import Membership, Project
from centre.models.tenants import Standing
from centre.permissions import ProjectRole
from centre.tables import show_page
from centre.team_pages import team_page

PROJECTS_PER_PAGE = 25
LATEST_RUNS = 10


@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    """The projects that this person may see, with what is left of all their open allocations together."""
    visible = Project.objects.visible_to(signed_in(request))
    rows = with_open_hours(visible.select_related("tenant"), on=timezone.localdate())
    chosen = ProjectFilter(request.GET, queryset=rows)
    table = ProjectTable(chosen.qs)
    show_page(table, request, rows=PROJECTS_PER_PAGE)
    context = {"section": "projects", "table": table, "form": chosen.form, "is_filtered": any(request.GET.values())}
    return render(request, "projects/list.html", context)


def with_open_hours(projects: QuerySet[Project], *, on: date) -> QuerySet[Project, Any]:
    """Adds GPU-seconds granted and left over the allocations open on a day, and the first end; None: none is open."""
    open_today = Allocation.objects.open(on=on).filter(project=OuterRef("pk")).order_by().values("project")
    left = F("granted_seconds") - F("used_seconds") - F("held_seconds")
    return projects.annotate(
        open_granted_seconds=Subquery(open_today.annotate(sum=Sum("granted_seconds")).values("sum")),
        left_seconds=Subquery(open_today.annotate(sum=Sum(left)).values("sum")),
        nearest_end_on=Subquery(open_today.annotate(first=Min("end_on")).values("first")),
    )


@require_safe
def project(request: HttpRequest, code: str) -> HttpResponse:
    """One project's quotas: what is left, how it was used lately, the latest job runs, and who belongs to it."""
    team = team_page(request, code, section="overview")
    shown, now = team.project, team.at
    cards = cards_of(shown, at=now)
    current = [card for card in cards if not card.is_over]
    runs = JobRun.objects.with_member_names().latest_of_project(shown, accounts_of(cards), limit=LATEST_RUNS)
    context = {
        "standing_tone": STANDING_TONES[Standing(shown.standing)],
        "steps": next_steps(shown, cards),
        "cards": current,
        "past": [card for card in cards if card.is_over],
        "charts": charts_of(cards, at=now),
        "runs": RunTable(runs),
        "members": members_of(shown),
        "links": registry.links_of(shown, team.user),
    }
    return render(request, "projects/project.html", team.context(**context))


def cards_of(project: Project, *, at: datetime) -> list[Card]:
    """Every allocation of a project that is not void, those that end last first."""
    as_of = UsageImport.objects.latest_as_of()
    rows = Allocation.objects.filter(project=project).not_void().with_running().with_shared_account()
    rows = rows.prefetch_related(
        Prefetch("take_back_warnings", warnings_that_count().select_related("rule")),
        Prefetch("drawing_accounts", DrawingAccount.objects.standing().order_by("account", "from_on")),
    )
    return [
        Card(
            project=project,
            allocation=allocation,
            running=allocation.running_seconds,
            account_is_shared=allocation.account_is_shared,
            on=day_today(allocation.pool, at),
            as_of=as_of.get(allocation.pool.cluster_id),
            warning=next(iter(allocation.take_back_warnings.all()), None),
        )
        for allocation in rows.select_related("pool__cluster__site").order_by("-end_on", "pool__code", "reference")
    ]


def accounts_of(cards: Sequence[Card]) -> dict[tuple[int, str], bool]:
    """(cluster, Slurm account) of whose runs a project's page tells, and whether they may be another project's, too.

    Of a further account, which draws for some days and on some pools only, just what was charged here is the project's.
    """
    further = {
        (card.allocation.pool.cluster_id, drawing.account): True
        for card in cards
        for drawing in card.allocation.drawing_accounts.all()
    }
    named = {(card.allocation.pool.cluster_id, card.allocation.account): card.account_is_shared for card in cards}
    return further | named


def charts_of(cards: Sequence[Card], *, at: datetime) -> list[BarChart]:
    """Usage per day of the last 30 days that the books reach, a chart for each pool used; none before any use."""
    if not any(card.allocation.used_seconds for card in cards):
        return []
    pools = {card.allocation.pool: card.as_of for card in cards}
    last_days = {pool: day_today(pool, as_of or at) for pool, as_of in pools.items()}
    first_on = min(last_days.values()) - timedelta(days=CHART_DAYS - 1)
    daily = DailyUsage.objects.filter(allocation__in=[card.allocation.pk for card in cards])
    per_pool = daily.per_pool_and_day(first_on=first_on, last_on=max(last_days.values()))
    used_lately = [pool for pool in pools if per_pool.get(pool.pk)] or list(pools)[:1]
    title = _("Used per day, last 30 days")
    return [
        usage_chart(
            title=title if len(used_lately) == 1 else f"{title}: {pool.gpu_model}",
            per_day=per_pool.get(pool.pk, {}),
            last_on=last_days[pool],
        )
        for pool in sorted(used_lately, key=lambda pool: pool.code)
    ]


def members_of(project: Project) -> list[Membership]:
    """Who belongs to a project now: leads first, then managers, members, viewers, each by name."""
    members = Membership.objects.current().filter(project=project).select_related("user")
    ranks = list(ProjectRole)
    return sorted(members, key=lambda member: (ranks.index(ProjectRole(member.role)), member.user.get_full_name()))
