"""Suspend, resume and close tenants and projects: what is still going on is shown first. Nothing is deleted."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre import contacts, members, merging_tenants, registry, tenants
from centre.admin.acts import Effect, act_page
from centre.admin.choosing import ReasonForm
from centre.admin.kept import ActLink, KeptAdmin
from centre.http import signed_in
from centre.models import Membership, Project, Representative, Tenant, User
from centre.models.tenants import Standing
from centre.registry import Consequence, Link

Row = Tenant | Project
REFUSALS = (tenants.TenantError, members.MemberError, contacts.ContactError, merging_tenants.MergeError)
SHOWN = 10


def moves(request: HttpRequest, row: Row, permission: str) -> list[ActLink]:
    """Where the tenant or project can go from where it stands, for those who may move it."""
    if not request.user.has_perm(permission):
        return []
    labels = {
        Standing.SUSPENDED: ActLink(_("Suspend"), "../suspend/"),
        Standing.ACTIVE: ActLink(_("Resume"), "../resume/"),
        Standing.CLOSED: ActLink(_("Close"), "../close/"),
    }
    possible = tenants.MOVES[Standing(row.standing)]
    return [link for standing, link in labels.items() if standing in possible]


def move_page(
    request: HttpRequest,
    admin_page: KeptAdmin[Any],
    row: Row,
    *,
    to: Standing,
    title: str | Promise,
    explanation: str | Promise,
    verb: Callable[..., Any],
    argument: str,
) -> HttpResponse:
    """The page on which a tenant or project is suspended, resumed or closed, with the reason.

    Before it stops, everything that is still going on is shown; what has to end before it can be closed, first.
    """
    now = timezone.now()
    user = signed_in(request)
    stops = to != Standing.ACTIVE
    going_on = sorted(consequences(row, user, now), key=lambda part: not part.stops_closing) if stops else []

    def run(given: dict[str, Any]) -> tuple[str, Row]:
        verb(**{argument: row}, reason=given["reason"], by=user, at=now)
        return gettext("%(name)s: %(standing)s.") % {"name": row, "standing": row.get_standing_display()}, row

    return act_page(
        request,
        admin=admin_page,
        row=row,
        title=title,
        explanation=explanation,
        effects=effects_of(row, to),
        form=ReasonForm(request.POST or None),
        button=title,
        danger=to == Standing.CLOSED,
        run=run,
        refusals=REFUSALS,
        template="admin/act_standing.html",
        more={"going_on": going_on, "stops": stops, "closes": to == Standing.CLOSED},
    )


def effects_of(row: Row, to: Standing) -> tuple[Effect, ...]:
    """The new standing, and what becomes of new jobs: see `allocations.scheduling`."""
    effects = [Effect(_("Standing"), row.get_standing_display(), to.label)]
    if Standing.ACTIVE in {row.standing, to}:
        allowed, blocked = gettext("As project and allocation allow"), gettext("Blocked")
        starting = to == Standing.ACTIVE
        effects.append(Effect(_("New jobs"), blocked if starting else allowed, allowed if starting else blocked))
    return tuple(effects)


def consequences(row: Row, user: User, at: datetime) -> list[Consequence]:
    """What the tenant or project still has going: its own projects and people, and what other apps know."""
    own = of_tenant(row) if isinstance(row, Tenant) else of_project(row)
    return [*(part for part in own if part.count), *registry.consequences_of(row, user, at)]


def of_tenant(tenant: Tenant) -> Iterator[Consequence]:
    """Projects that are not closed, in whose way the tenant's closing stands, and the people of both."""
    projects = Project.objects.filter(tenant=tenant).exclude(standing=Standing.CLOSED).order_by("code")
    first = list(projects[: SHOWN + 1])
    yield Consequence(
        title=_("Projects that are not closed"),
        count=len(first) if len(first) <= SHOWN else projects.count(),
        lines=tuple(
            Link(
                f"{project.code}: {project.title}",
                reverse("admin:centre_project_change", args=[project.pk]),
                project.get_standing_display(),
            )
            for project in first[:SHOWN]
        ),
        note=_("A tenant can be closed only after its projects. Open each of them and close it there."),
        all_url=f"{reverse('admin:centre_project_changelist')}?tenant__id__exact={tenant.pk}",
        stops_closing=True,
    )
    yield people(Membership.objects.current().filter(project__tenant=tenant))
    signing = Representative.objects.filter(tenant=tenant, ended_at__isnull=True).count()
    yield Consequence(
        title=_("Representatives"),
        count=signing,
        note=_("They may still sign for the tenant and see its projects until each representation is ended."),
    )


def of_project(project: Project) -> Iterator[Consequence]:
    """The project's team."""
    yield people(Membership.objects.current().filter(project=project))


def people(memberships: QuerySet[Membership]) -> Consequence:
    """Everybody in the teams, each once."""
    count = memberships.values("user").distinct().count()
    return Consequence(
        title=_("Members of the teams"),
        count=count,
        note=_("They keep sight of the project’s pages. Their new jobs are blocked once the cluster has read it."),
    )
