"""What project teams see: the list of their projects, and a project's quotas."""

from dataclasses import dataclass
from datetime import date, datetime

from django.db.models import Count, Exists, F, Min, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from allocations.cards import accounts_of, cards_of, charts_of, current_cards
from allocations.filters import ProjectFilter
from allocations.forecast_words import CardWords
from allocations.models import Allocation, ChangeRequest, JobRun
from allocations.project_lines import line_of
from allocations.quota import STANDING_TONES, next_steps
from allocations.tables import ProjectTable, RunTable
from centre import registry
from centre.http import centre_of, signed_in
from centre.models import Membership, Project, Tenant, User
from centre.models.tenants import Standing
from centre.permissions import ProjectRole, TeamAct, sees_every_project
from centre.tables import show_page
from centre.team_pages import team_page

PROJECTS_PER_PAGE = 25
LATEST_RUNS = 5


@require_safe
def projects(request: HttpRequest) -> HttpResponse:
    """The projects that this person may see, each with what is left, how fast it goes and what comes next."""
    user = signed_in(request)
    visible = Project.objects.visible_to(user).select_related("tenant")
    chosen = ProjectFilter(request.GET, queryset=with_open_hours(visible, on=timezone.localdate()))
    table = project_table(chosen.qs, request)
    context = {"section": "projects", "table": table, "form": chosen.form, "is_filtered": any(request.GET.values())}
    return render(request, "projects/list.html", context)


def project_table(projects: QuerySet[Project], request: HttpRequest) -> ProjectTable:
    """The page of a list of projects that the request asks for, with their lines; four queries."""
    own = not sees_every_project(signed_in(request).staff_roles)
    table = ProjectTable(with_requests(projects) if own else projects)
    show_page(table, request, rows=PROJECTS_PER_PAGE)
    shown = [row.record for row in table.page.object_list]
    cards = current_cards(shown, at=timezone.now(), centre=centre_of(request))
    table.lines = {project.pk: line_of(cards.get(project.pk, [])) for project in shown}
    return table


def with_open_hours(projects: QuerySet[Project], *, on: date) -> QuerySet[Project]:
    """Adds GPU-seconds granted and left over the allocations open on a day, and the first end; None: none is open."""
    open_today = Allocation.objects.open(on=on).filter(project=OuterRef("pk")).order_by().values("project")
    left = F("granted_seconds") - F("used_seconds") - F("held_seconds")
    return projects.annotate(
        open_granted_seconds=Subquery(open_today.annotate(sum=Sum("granted_seconds")).values("sum")),
        left_seconds=Subquery(open_today.annotate(sum=Sum(left)).values("sum")),
        nearest_end_on=Subquery(open_today.annotate(first=Min("end_on")).values("first")),
    )


def with_requests(projects: QuerySet[Project]) -> QuerySet[Project]:
    """Adds `requests_waiting`: how many of a project's requests wait for the centre's answer."""
    waiting = ChangeRequest.objects.of_teams().waiting().filter(project=OuterRef("pk")).order_by().values("project")
    return projects.annotate(requests_waiting=Coalesce(Subquery(waiting.annotate(n=Count("pk")).values("n")), 0))


@require_safe
def project(request: HttpRequest, code: str) -> HttpResponse:
    """One project's quotas: what is left, until when it lasts, what to do next; then use and the latest job runs."""
    team = team_page(request, code, section="overview")
    shown, now = team.project, team.at
    cards = cards_of(shown, at=now, centre=centre_of(request))
    current = [card for card in cards if not card.is_over]
    runs = JobRun.objects.with_member_names().latest_of_project(shown, accounts_of(cards), limit=LATEST_RUNS)
    context = {
        "standing_tone": STANDING_TONES[Standing(shown.standing)],
        "steps": next_steps(shown, cards),
        "may_ask": team.may(TeamAct.ASK) and shown.standing == Standing.ACTIVE,
        "cards": [(card, CardWords(card)) for card in current],
        "past": [card for card in cards if card.is_over],
        "charts": charts_of(cards, at=now),
        "runs": RunTable(runs),
        "around": around(shown, user=team.user),
        "links": registry.links_of(shown, team.user),
    }
    return render(request, "projects/project.html", team.context(**context))


@dataclass(frozen=True)
class Around:
    """What stands around a project's quotas: its team in a line, what waits, and whether its tenant may be seen."""

    lead: str
    leads: int
    people: int
    requests_waiting: int
    waiting_since: datetime | None
    may_see_tenant: bool

    @property
    def led_by(self) -> str:
        """Who leads; of several the first one is named."""
        if not self.leads:
            return _("Nobody leads this project at the moment.")
        if self.leads == 1:
            return _("Led by %(name)s.") % {"name": self.lead}
        others = self.leads - 1
        return ngettext("Led by %(name)s and %(others)s other.", "Led by %(name)s and %(others)s others.", others) % {
            "name": self.lead,
            "others": others,
        }


def around(project: Project, *, user: User) -> Around:
    """One query."""
    members = Membership.objects.current().filter(project=OuterRef("pk")).order_by()
    leads = members.filter(role=ProjectRole.LEAD)
    waiting = ChangeRequest.objects.of_teams().waiting().filter(project=OuterRef("pk")).order_by().values("project")
    overseen = Tenant.objects.overseen_by(user).filter(pk=OuterRef("tenant"))
    first_lead = leads.order_by("since_at", "pk")
    row = (
        Project.objects.filter(pk=project.pk)
        .annotate(
            lead_name=Subquery(first_lead.values("user__name")[:1]),
            lead_email=Subquery(first_lead.values("user__email")[:1]),
            leads=Coalesce(Subquery(leads.values("project").annotate(n=Count("pk")).values("n")), 0),
            people=Coalesce(Subquery(members.values("project").annotate(n=Count("pk")).values("n")), 0),
            waiting=Coalesce(Subquery(waiting.annotate(n=Count("pk")).values("n")), 0),
            since=Subquery(waiting.annotate(first=Min("asked_at")).values("first")),
            oversees=Exists(overseen),
        )
        .values()
        .get()
    )
    return Around(
        lead=row["lead_name"] or row["lead_email"] or "",
        leads=row["leads"],
        people=row["people"],
        requests_waiting=row["waiting"],
        waiting_since=row["since"],
        may_see_tenant=bool(row["oversees"]),
    )
