"""The demo's people, and with which of them to sign in. All share one password, which the demo prints."""

from dataclasses import dataclass
from typing import Final

from centre.demo.content import FIRST_OFFICERS, STAFF, TEAMS, TENANTS, TeamPlan
from centre.members import Person
from centre.permissions import ProjectRole, StaffRole

PASSWORD: Final = "look-around-the-harbour"  # noqa: S105  printed wherever the demo is, and of no use elsewhere


@dataclass(frozen=True)
class SignIn:
    """One way to look at the demo: as whom, with what e-mail address, and where one lands."""

    role: str
    email: str
    lands: str


def address(key: str) -> str:
    return f"{key}@example.org"


def lead_of(project: str) -> str:
    return address(f"{project}.lead")


def signatory_of(tenant: str) -> str:
    return address(f"{tenant}.signatory")


def team_people(team: TeamPlan) -> list[tuple[Person, ProjectRole]]:
    """The people of a project with their roles, the lead first."""
    people = [(Person(lead_of(team.code), f"Demo lead, {team.short}"), ProjectRole.LEAD)]
    for role, word, number in (
        (ProjectRole.MANAGER, "manager", team.managers),
        (ProjectRole.MEMBER, "member", team.members),
        (ProjectRole.VIEWER, "viewer", team.viewers),
    ):
        for place in range(1, number + 1):
            nth = str(place) if number > 1 else ""
            name = f"Demo {word}{' ' + nth if nth else ''}, {team.short}"
            people.append((Person(address(f"{team.code}.{word}{nth}"), name), role))
    return people


def staff_people() -> list[Person]:
    return [Person(address(plan.key), plan.name) for plan in (*FIRST_OFFICERS, *STAFF)]


def signatories() -> list[tuple[str, Person]]:
    """(tenant, person) of those who sign for a tenant."""
    return [
        (tenant.code, Person(signatory_of(tenant.code), f"Demo signatory, {tenant.name.en}"))
        for tenant in TENANTS
        if tenant.has_signatory
    ]


def sign_ins() -> list[SignIn]:
    """Who is printed when the demo is loaded: every role once, and the projects that show something particular."""
    landing = {
        StaffRole.MANAGEMENT: "/reports/",
        StaffRole.SUBSIDY_SECRETARY: "/admin/",
        StaffRole.COMMITTEE_MEMBER: "/admin/",
        StaffRole.AUDITOR: "/admin/",
    }
    staff = [
        SignIn(str(plan.role.label), address(plan.key), landing.get(plan.role, "/desk/"))
        for plan in (*FIRST_OFFICERS, *STAFF)
    ]
    teams = [
        SignIn("Lead: period ends soon", lead_of("canto-audio"), "/projects/canto-audio/"),
        SignIn("Lead: GPU-hours nearly used", lead_of("gene-fold"), "/projects/gene-fold/"),
        SignIn("Lead: overdrawn", lead_of("egret-translate"), "/projects/egret-translate/"),
        SignIn("Lead: suspended", lead_of("route-planner"), "/projects/route-planner/"),
        SignIn("Lead: pays in full", lead_of("harbourlight-render"), "/projects/harbourlight-render/"),
        SignIn("Manager", address("trilingual-llm.manager1"), "/projects/trilingual-llm/"),
        SignIn("Member", address("med-vertical.member1"), "/projects/med-vertical/"),
        SignIn("Viewer", address("rainstorm.viewer"), "/projects/rainstorm/"),
        SignIn("Signatory of a tenant", signatory_of("lion-rock-u"), "/projects/"),
    ]
    return staff + teams


def printed() -> str:
    """The sign-ins as a table, one a line."""
    rows = [("as", "e-mail", "lands on"), *((each.role, each.email, each.lands) for each in sign_ins())]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(
        [
            f"The password of every demo person is: {PASSWORD}",
            "(Only a demo has such a thing: in a real centre everybody chooses their own.)",
            *lines,
        ]
    )


def teams_of(projects: frozenset[str]) -> list[TeamPlan]:
    return [team for team in TEAMS if team.code in projects]
