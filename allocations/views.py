"""What project teams see: the list of their projects, and a project's quotas."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Count, Exists, F, FilteredRelation, Min, OuterRef, Q, QuerySet, Subquery, Sum
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
from allocations.quota import STANDING_TONES, Card, next_steps
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
    surroundings = around(shown, cards, user=team.user)
    context = {
        "standing_tone": STANDING_TONES[Standing(shown.standing)],
        "steps": next_steps(shown, cards, surroundings.requests),
        "may_ask": team.may(TeamAct.ASK) and shown.standing == Standing.ACTIVE,
        "cards": [(card, CardWords(card)) for card in current],
        "past": [card for card in cards if card.is_over],
        "charts": charts_of(cards, at=now),
        "runs": RunTable(runs, code=shown.code),
        "around": surroundings,
        "links": registry.links_of(shown, team.user),
    }
    return render(request, "projects/project.html", team.context(**context))


@dataclass(frozen=True)
class Around:
    """What stands around a project's quotas: its team in a line, what waits, and whether its tenant may be seen.

    `requests` are those of the team that the centre has not answered yet, the oldest first.
    """

    lead: str
    leads: int
    people: int
    may_see_tenant: bool
    requests: Sequence[ChangeRequest] = ()

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


OF_REQUEST = ("pk", "kind", "asked_seconds", "asked_until_on", "asked_at", "allocation_id", "to_allocation_id")


def around(project: Project, cards: Iterable[Card], *, user: User) -> Around:
    """One query, with a row for each request that waits; their allocations are those of the cards."""
    members = Membership.objects.current().filter(project=OuterRef("pk")).order_by()
    leads = members.filter(role=ProjectRole.LEAD)
    overseen = Tenant.objects.overseen_by(user).filter(pk=OuterRef("tenant"))
    first_lead = leads.order_by("since_at", "pk")
    waits = Q(requests__state=ChangeRequest.State.ASKED, requests__kind__in=ChangeRequest.OF_TEAMS)
    rows = (
        Project.objects.filter(pk=project.pk)
        .annotate(
            lead_name=Subquery(first_lead.values("user__name")[:1]),
            lead_email=Subquery(first_lead.values("user__email")[:1]),
            leads=Coalesce(Subquery(leads.values("project").annotate(n=Count("pk")).values("n")), 0),
            people=Coalesce(Subquery(members.values("project").annotate(n=Count("pk")).values("n")), 0),
            oversees=Exists(overseen),
            waiting=FilteredRelation("requests", condition=waits),
        )
        .order_by("waiting__asked_at", "waiting__pk")
        .values("lead_name", "lead_email", "leads", "people", "oversees", *(f"waiting__{name}" for name in OF_REQUEST))
    )
    found = list(rows)
    row = found[0]
    known = {card.allocation.pk: card.allocation for card in cards}
    asked = [{name: each[f"waiting__{name}"] for name in OF_REQUEST} for each in found if each["waiting__pk"]]
    return Around(
        lead=row["lead_name"] or row["lead_email"] or "",
        leads=row["leads"],
        people=row["people"],
        may_see_tenant=bool(row["oversees"]),
        requests=[request_about(known, project=project, **said) for said in asked],
    )


def request_about(known: Mapping[int, Allocation], **said: Any) -> ChangeRequest:
    """A request with its allocations from those that are read already."""
    request = ChangeRequest(**said)
    for name in ("allocation", "to_allocation"):
        if (number := said[f"{name}_id"]) in known:
            setattr(request, name, known[number])
    return request
