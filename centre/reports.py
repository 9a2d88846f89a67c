"""The reports of the centre itself: its tenants and their projects, as they stand now."""

from collections.abc import Iterator

from django.db.models import Count, Q
from django.db.models.functions import TruncDate
from django.utils.translation import gettext_lazy as _

from centre.exports import Cell, Column, Kind, Parameters, Report, Row, streamed
from centre.models import Membership, Project, Tenant
from centre.models.tenants import Standing, TenantCategory
from centre.permissions import ProjectRole

TENANT = Column("tenant", _("Tenant"), _("The tenant's code."), Kind.CODE)
PROJECT = Column("project", _("Project"), _("The project's code, which is also its first Slurm account."), Kind.CODE)


def tenants(parameters: Parameters) -> Iterator[Row]:
    rows = (
        Tenant.objects.annotate(registered_on=TruncDate("created_at"), number_of_projects=Count("projects"))
        .filter(**parameters.range_of("registered_on"))
        .order_by("code")
        .values_list(
            "code",
            "name_en",
            "name_zh_hant",
            "name_zh_hans",
            "category",
            "standing",
            "number_of_projects",
            "registered_on",
        )
    )
    return streamed(rows, parameters)


def projects(parameters: Parameters) -> Iterator[Row]:
    leads = names_of_leads()
    rows = (
        Project.objects.annotate(
            registered_on=TruncDate("created_at"),
            members=Count("memberships", filter=Q(memberships__ended_at__isnull=True)),
        )
        .filter(**parameters.range_of("registered_on"))
        .order_by("tenant__code", "code")
        .values_list("id", "code", "tenant__code", "title", "standing", "members", "registered_on")
    )
    for number, code, tenant, title, standing, members, registered_on in streamed(rows, parameters):
        yield code, tenant, title, standing, "; ".join(leads.get(number, ())), members, registered_on


def names_of_leads() -> dict[Cell, list[str]]:
    """Who leads each project now, the longest first: `{project's number: names}`; e-mail where no name is known."""
    current = Membership.objects.current().filter(role=ProjectRole.LEAD).order_by("since_at", "id")
    leads: dict[Cell, list[str]] = {}
    for project, name, email in current.values_list("project_id", "user__name", "user__email"):
        leads.setdefault(project, []).append(name or email)
    return leads


REGISTERED_ON = Column("registered_on", _("Registered on"), _("The day on which it was registered."), Kind.DAY)

TENANTS = Report(
    name="tenants",
    title=_("Tenants"),
    description=_("Which organisations use the centre, of which kind, and how many projects does each have?"),
    days=_("Tenants that were registered on these days. Everything else in a row is as it is now."),
    columns=(
        Column("code", _("Tenant"), _("The tenant's code; it never changes."), Kind.CODE),
        Column("name_en", _("Name in English"), _("The organisation's name in English.")),
        Column("name_zh_hant", _("Name in Traditional Chinese"), _("Empty where none is recorded.")),
        Column("name_zh_hans", _("Name in Simplified Chinese"), _("Empty where none is recorded.")),
        Column(
            "category",
            _("Category"),
            _("What kind of organisation it is."),
            Kind.CHOICE,
            dict(TenantCategory.choices),
        ),
        Column(
            "standing",
            _("Standing"),
            _("Whether the tenant may use the centre at present."),
            Kind.CHOICE,
            dict(Standing.choices),
        ),
        Column("projects", _("Projects"), _("How many projects it has, closed ones included."), Kind.COUNT),
        REGISTERED_ON,
    ),
    rows=tenants,
)

PROJECTS = Report(
    name="projects",
    title=_("Projects"),
    description=_("Which projects are there, whose are they, and who leads them?"),
    days=_("Projects that were registered on these days. Everything else in a row is as it is now."),
    columns=(
        Column("code", _("Project"), _("The project's code, which is also its first Slurm account."), Kind.CODE),
        TENANT,
        Column("title", _("Title"), _("What the project is called.")),
        Column(
            "standing",
            _("Standing"),
            _("Whether the project is at work at present."),
            Kind.CHOICE,
            dict(Standing.choices),
        ),
        Column(
            "lead",
            _("Lead"),
            _("Who leads the project now, by name or, where none is known, e-mail address; parted by semicolons."),
        ),
        Column("members", _("Members"), _("How many people belong to the project now, leads included."), Kind.COUNT),
        REGISTERED_ON,
    ),
    rows=projects,
)

REPORTS = (TENANTS, PROJECTS)
