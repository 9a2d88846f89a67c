"""tenants.csv and projects.csv: the organisations, and their projects with a first lead.

An empty cell leaves what stands; another name, category or title is written anew. A project never changes its tenant.
"""

from typing import Final

from django.utils.translation import gettext as _

from allocations.onboard.call import Call, Change, Outcome
from allocations.onboard.lines import BadLine, Line
from allocations.onboard.people import Crowd, Teams
from centre import members, tenants
from centre.models import Project, Tenant
from centre.models.tenants import TenantCategory
from centre.permissions import ProjectRole

TENANTS_NEEDED: Final = ("code", "name_en", "name_zh_hant", "name_zh_hans", "category")
PROJECTS_NEEDED: Final = ("code", "tenant", "title", "lead_email")
DESCRIBED: Final = ("name_en", "name_zh_hant", "name_zh_hans")

C = TenantCategory
ALSO_CALLED: Final = {
    "startup": C.START_UP,
    "company": C.ENTERPRISE,
    "corporation": C.ENTERPRISE,
    "r&d centre": C.RESEARCH_INSTITUTE,
    "r&d center": C.RESEARCH_INSTITUTE,
    "research centre": C.RESEARCH_INSTITUTE,
    "research center": C.RESEARCH_INSTITUTE,
    "institute": C.RESEARCH_INSTITUTE,
    "government": C.GOVERNMENT_DEPARTMENT,
    "department": C.GOVERNMENT_DEPARTMENT,
    "public organisation": C.PUBLIC_BODY,
    "statutory body": C.PUBLIC_BODY,
}


def category(text: str) -> TenantCategory:
    """The kind of organisation, however it is spelt. Raises BadLine, listing what there is."""
    plain = " ".join(text.lower().replace("-", " ").replace("_", " ").split())
    known = {each.value.replace("_", " "): each for each in TenantCategory}
    found = known.get(plain) or ALSO_CALLED.get(plain)
    if found is None:
        raise BadLine(
            _("category “%(text)s” is unknown; it is one of: %(known)s.")
            % {"text": text, "known": ", ".join(sorted(known))}
        )
    return found


def once(lines: list[Line], kind: str, column: str, call: Call) -> list[Line]:
    """The lines without those that repeat the key of an earlier one; these are refused."""
    first: dict[str, Line] = {}
    kept = []
    for line in lines:
        with call.line(line, (kind, line.cells[column])):
            earlier = first.setdefault(line.cells[column], line)
            if earlier is not line and line.cells[column]:
                raise BadLine(
                    _("Line %(line)s already has the %(column)s “%(key)s”.")
                    % {"line": earlier.number, "column": column, "key": line.cells[column]}
                )
            kept.append(line)
    return kept


# ---------------------------------------------------------------------------------------------- tenants


def take_tenants(lines: list[Line], call: Call) -> None:
    """Register every tenant that is not known, and write anew what describes the others."""
    standing = {row.code: row for row in Tenant.objects.select_related("merged_into")}
    new: list[Tenant] = []
    for line in once(call.sound(lines, ("tenant", "code")), "tenant", "code", call):
        with call.line(line, ("tenant", line.cells["code"])):
            said = {
                "name_en": line.text("name_en", most=200),
                "name_zh_hant": line.text("name_zh_hant", most=200, needed=False),
                "name_zh_hans": line.text("name_zh_hans", most=200, needed=False),
                "category": category(line.text("category", most=200)).value,
            }
            code = line.text("code", most=40)
            tenant = standing.get(code)
            if tenant is None:
                tenant = Tenant(code=code, **said)
                tenant.clean_fields(exclude={"merged_into"})
                new.append(tenant)
                call.tell(line, Outcome.NEW, [Change("category", "", said["category"])])
                continue
            differs = {name: value for name, value in said.items() if value and value != getattr(tenant, name)}
            changes = [Change(name, str(getattr(tenant, name)), value) for name, value in differs.items()]
            if differs:
                tenants.change_tenant(tenant=tenant, by=call.by, at=call.at, **differs)
            call.tell(line, Outcome.CHANGED if differs else Outcome.SAME, changes)
    tenants.register_tenants(tenants=new, by=call.by, at=call.at)


# ---------------------------------------------------------------------------------------------- projects


def take_projects(lines: list[Line], call: Call) -> None:
    """Make or check every project; a person who is not known yet is made, and joins as its lead.

    Of a project that stands the lead may be left out: whoever leads it goes on.
    """
    tenants_by_code = {row.code: row for row in Tenant.objects.all()}
    standing = {row.code: row for row in Project.objects.select_related("tenant")}
    crowd = Crowd(call)
    kept: list[tuple[Line, str]] = []
    for line in once(call.sound(lines, ("project", "code")), "project", "code", call):
        with call.line(line, ("project", line.cells["code"])):
            goes_on = line.cells["code"] in standing and not line.cells["lead_email"]
            kept.append((line, "" if goes_on else crowd.want(line, column="lead_email")))
    crowd.load()
    teams = Teams(call, crowd)
    new: list[tuple[Project, str]] = []
    for line, email in kept:
        with call.line(line, ("project", line.cells["code"])):
            code, title, tenant_code = (
                line.text("code", most=40),
                line.text("title", most=300),
                line.text("tenant", most=40),
            )
            tenant = tenants_by_code.get(tenant_code)
            if tenant is None:
                raise call.missing("tenant", tenant_code, _("There is no tenant “%(code)s”.") % {"code": tenant_code})
            call.leads[code, email] = line
            project = standing.get(code)
            if project is None:
                project = Project(tenant=tenant, code=code, title=title)
                project.clean_fields(exclude={"tenant"})
                tenants.refuse_new_project(tenant=tenant)
                members.refuse_joining(project=project, user=crowd.person(email))
                new.append((project, email))
                crowd.note(line, email)
                call.tell(line, Outcome.NEW, [Change("tenant", "", tenant_code), Change("lead_email", "", email)])
                continue
            if project.tenant_id != tenant.pk:
                raise BadLine(
                    _("The project %(project)s belongs to the tenant %(tenant)s, and no project changes its tenant.")
                    % {"project": code, "tenant": project.tenant.code}
                )
            changes = [Change("title", project.title, title)] if project.title != title else []
            is_titled_anew = bool(changes)
            if email:
                changes += _lead(line, project, email, teams)
                crowd.note(line, email)
            if is_titled_anew:
                tenants.change_project(project=project, title=title, by=call.by, at=call.at)
            call.tell(line, Outcome.CHANGED if changes else Outcome.SAME, changes)
    crowd.make()
    tenants.register_projects(
        projects=[(project, crowd.person(email)) for project, email in new], by=call.by, at=call.at
    )
    teams.settle()


def _lead(line: Line, project: Project, email: str, teams: Teams) -> list[Change]:
    """Let the person lead a project that stands; what that changes."""
    outcome, changes = teams.would_be(project, email, ProjectRole.LEAD)
    teams.note(line, project, email, ProjectRole.LEAD)
    return [Change("lead_email", changes[0].before if changes else "", email)] if outcome != Outcome.SAME else []
