"""Tenants and their projects: register, describe, suspend, resume, close. Nothing is ever deleted."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from types import MappingProxyType

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from centre import members
from centre.audit import record, record_all
from centre.models import Project, Tenant, User
from centre.models.tenants import Standing, TenantCategory
from centre.permissions import ProjectRole

MOVES: Mapping[Standing, frozenset[Standing]] = MappingProxyType(
    {
        Standing.ACTIVE: frozenset({Standing.SUSPENDED, Standing.CLOSED}),
        Standing.SUSPENDED: frozenset({Standing.ACTIVE, Standing.CLOSED}),
        Standing.CLOSED: frozenset(),
    }
)
"""Where a tenant or a project may go from where it stands."""


class TenantError(Exception):
    """Why a tenant or project could not be registered or moved, as a sentence for a screen."""


class CodeTaken(TenantError):
    """Another tenant or project has the code."""


class TenantNotActive(TenantError):
    """A tenant that is suspended or closed gets no new project, and none of its projects resumes."""


class MergedAway(TenantError):
    """A record that was merged into another is kept as it was."""


class AlreadyMoved(TenantError):
    """It does not stand where the person saw it standing."""


class ProjectsStillOpen(TenantError):
    """A tenant is closed only after its projects."""


# ---------------------------------------------------------------------------------------------- tenants


@transaction.atomic
def register_tenants(*, tenants: Sequence[Tenant], by: User | None, at: datetime) -> list[Tenant]:
    """Register these unsaved tenants. Raises CodeTaken, or ValidationError for a field that does not fit."""
    rows = list(tenants)
    for tenant in rows:
        tenant.created_at = at
        tenant.clean_fields(exclude={"merged_into"})
        tenant.clean()
    try:
        with transaction.atomic():
            Tenant.objects.bulk_create(rows, batch_size=500)
    except IntegrityError:
        raise CodeTaken(_("There is already a tenant with this code.")) from None
    record_all(
        act="register_tenant",
        on=[(tenant, {"code": tenant.code, "name": tenant.name_en, "category": tenant.category}) for tenant in rows],
        by=by,
        at=at,
    )
    return rows


def register_tenant(
    *,
    code: str,
    name_en: str,
    category: TenantCategory,
    by: User | None,
    at: datetime,
    name_zh_hant: str = "",
    name_zh_hans: str = "",
    registration_number: str = "",
    is_invented: bool = False,
    notes: str = "",
    agreement_from_on: date | None = None,
    agreement_until_on: date | None = None,
) -> Tenant:
    """Register one organisation."""
    tenant = Tenant(
        code=code,
        name_en=name_en,
        name_zh_hant=name_zh_hant,
        name_zh_hans=name_zh_hans,
        category=category,
        registration_number=registration_number,
        is_invented=is_invented,
        notes=notes,
        agreement_from_on=agreement_from_on,
        agreement_until_on=agreement_until_on,
    )
    return register_tenants(tenants=[tenant], by=by, at=at)[0]


@transaction.atomic
def change_tenant(*, tenant: Tenant, by: User | None, at: datetime, **described: str | date | None) -> Tenant:
    """Write what describes the tenant anew: names, category, registration number, agreement, notes.

    Raises MergedAway, ValidationError.
    """
    unknown = described.keys() - {
        "name_en",
        "name_zh_hant",
        "name_zh_hans",
        "category",
        "registration_number",
        "agreement_from_on",
        "agreement_until_on",
        "notes",
    }
    assert not unknown, unknown  # noqa: S101  a mistake in the program, not in what somebody wrote
    if tenant.merged_into is not None:
        raise MergedAway(
            _("%(code)s was merged into %(keep)s and is kept as it was. Make the change there.")
            % {"code": tenant.code, "keep": tenant.merged_into.code}
        )
    changes = {name: [getattr(tenant, name), value] for name, value in described.items()}
    changes = {name: pair for name, pair in changes.items() if pair[0] != pair[1]}
    if not changes:
        return tenant
    for name, (_before, value) in changes.items():
        setattr(tenant, name, value)
    tenant.clean_fields(exclude={"merged_into"})
    tenant.clean()
    tenant.save(update_fields=list(changes))
    record(act="change_tenant", on=tenant, by=by, at=at, changes=changes)
    return tenant


def suspend_tenant(*, tenant: Tenant, reason: str, by: User | None, at: datetime) -> Tenant:
    """Stop the tenant for a while: no new project, and no new job of its projects (`allocations.scheduling`)."""
    return _move_tenant(tenant, Standing.SUSPENDED, act="suspend_tenant", reason=reason, by=by, at=at)


def resume_tenant(*, tenant: Tenant, reason: str, by: User | None, at: datetime) -> Tenant:
    """Take a suspended tenant up again."""
    return _move_tenant(tenant, Standing.ACTIVE, act="resume_tenant", reason=reason, by=by, at=at)


@transaction.atomic
def close_tenant(*, tenant: Tenant, reason: str, by: User | None, at: datetime) -> Tenant:
    """End the tenant's use of the centre, for good. Raises ProjectsStillOpen."""
    Tenant.objects.select_for_update().get(pk=tenant.pk)
    still_open = list(
        Project.objects.filter(tenant=tenant).exclude(standing=Standing.CLOSED).values_list("code", flat=True)[:6]
    )
    if still_open:
        raise ProjectsStillOpen(
            _("Close the tenant's projects first: %(projects)s.")
            % {"projects": ", ".join(still_open[:5]) + (" …" if len(still_open) > 5 else "")}
        )
    return _move_tenant(tenant, Standing.CLOSED, act="close_tenant", reason=reason, by=by, at=at)


# ---------------------------------------------------------------------------------------------- projects


@transaction.atomic
def register_projects(
    *, projects: Sequence[tuple[Project, User | None]], by: User | None, at: datetime
) -> list[Project]:
    """Register these unsaved projects, each with its lead. Raises CodeTaken, TenantNotActive, ValidationError."""
    rows = [project for project, _lead in projects]
    # Nobody closes a tenant, or merges it into another, while it gets a project; whoever did so just now counts.
    tenant_numbers = {project.tenant_id for project in rows}
    locked = Tenant.objects.select_for_update(no_key=True).filter(pk__in=tenant_numbers).order_by("pk")
    standing = dict(locked.values_list("pk", "standing"))
    for project in rows:
        project.tenant.standing = standing[project.tenant_id]
        project.created_at = at
        project.clean_fields(exclude={"tenant"})
        refuse_new_project(tenant=project.tenant)
    try:
        with transaction.atomic():
            Project.objects.bulk_create(rows, batch_size=500)
    except IntegrityError:
        raise CodeTaken(_("There is already a project with this code.")) from None
    record_all(
        act="register_project",
        on=[(row, {"code": row.code, "tenant": row.tenant.code, "title": row.title}) for row in rows],
        by=by,
        at=at,
    )
    members.add_members(
        joining=[
            members.Joining(project=project, user=lead, role=ProjectRole.LEAD)
            for project, lead in projects
            if lead is not None
        ],
        by=by,
        at=at,
    )
    return rows


def refuse_new_project(*, tenant: Tenant) -> None:
    """Raise TenantNotActive where the tenant cannot have a new project."""
    if tenant.standing != Standing.ACTIVE:
        raise TenantNotActive(
            _("The tenant %(tenant)s is not active; it cannot have a new project.") % {"tenant": tenant.code}
        )


def register_project(
    *,
    tenant: Tenant,
    code: str,
    title: str,
    by: User | None,
    at: datetime,
    lead: User | None = None,
    summary: str = "",
) -> Project:
    """Register one project; `lead` becomes its first member."""
    project = Project(tenant=tenant, code=code, title=title, summary=summary)
    return register_projects(projects=[(project, lead)], by=by, at=at)[0]


@transaction.atomic
def change_project(
    *, project: Project, by: User | None, at: datetime, title: str | None = None, summary: str | None = None
) -> Project:
    """Write the title or the summary anew; None leaves what stands."""
    after = {"title": title, "summary": summary}
    changes = {
        name: [getattr(project, name), value]
        for name, value in after.items()
        if value is not None and value != getattr(project, name)
    }
    if not changes:
        return project
    for name, (_before, value) in changes.items():
        setattr(project, name, value)
    project.clean_fields(exclude={"tenant"})
    project.save(update_fields=list(changes))
    record(act="change_project", on=project, by=by, at=at, changes=changes)
    return project


def suspend_project(*, project: Project, reason: str, by: User | None, at: datetime) -> Project:
    """Stop the project for a while: no new job of it starts."""
    return _move_project(project, Standing.SUSPENDED, act="suspend_project", reason=reason, by=by, at=at)


@transaction.atomic
def resume_project(*, project: Project, reason: str, by: User | None, at: datetime) -> Project:
    """Take a suspended project up again. Raises TenantNotActive while its tenant is suspended."""
    tenant = Tenant.objects.select_for_update().get(pk=project.tenant_id)
    if tenant.standing != Standing.ACTIVE:
        raise TenantNotActive(
            _("The tenant %(tenant)s is not active. Resume it before its projects.") % {"tenant": tenant.code}
        )
    return _move_project(project, Standing.ACTIVE, act="resume_project", reason=reason, by=by, at=at)


def close_project(*, project: Project, reason: str, by: User | None, at: datetime) -> Project:
    """End the project, for good. What its allocations still hold is closed through the ledger, by its own verbs."""
    return _move_project(project, Standing.CLOSED, act="close_project", reason=reason, by=by, at=at)


# ---------------------------------------------------------------------------------------------- standing


@transaction.atomic
def _move_tenant(tenant: Tenant, to: Standing, *, act: str, reason: str, by: User | None, at: datetime) -> Tenant:
    seen = Standing(tenant.standing)
    moved = to in MOVES[seen] and Tenant.objects.filter(pk=tenant.pk, standing=seen).update(standing=to)
    if not moved:
        raise AlreadyMoved(_("The tenant does not stand there any more. Look at it again."))
    tenant.standing = to
    record(act=act, on=tenant, by=by, at=at, reason=reason, changes={"standing": [str(seen), str(to)]})
    return tenant


@transaction.atomic
def _move_project(project: Project, to: Standing, *, act: str, reason: str, by: User | None, at: datetime) -> Project:
    seen = Standing(project.standing)
    moved = to in MOVES[seen] and Project.objects.filter(pk=project.pk, standing=seen).update(standing=to)
    if not moved:
        raise AlreadyMoved(_("The project does not stand there any more. Look at it again."))
    project.standing = to
    record(act=act, on=project, by=by, at=at, reason=reason, changes={"standing": [str(seen), str(to)]})
    return project
