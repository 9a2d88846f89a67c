"""Who may do what: the whole policy of the portal, on one screen.

Staff roles are dated appointments; team roles are memberships of a project. A permission is the name that Django's
admin asks for, `app.action_model`. What is not written here nobody may do. Every staff role may look at what it needs;
only the roles named under CHANGES may act. Nobody approves what they asked for, wrote or benefit from: the verbs and
the database refuse it.
"""

from collections.abc import Iterable

from django.db import models
from django.utils.translation import gettext_lazy as _


class StaffRole(models.TextChoices):
    TENANT_OFFICER = "tenant_officer", _("Tenant officer")  # registers tenants, projects and people of teams
    ALLOCATION_OFFICER = "allocation_officer", _("Allocation officer")  # gives and takes GPU time; imports usage
    SUBSIDY_SECRETARY = "subsidy_secretary", _("Subsidy secretary")  # records applications and decisions
    COMMITTEE_MEMBER = "committee_member", _("Committee member")  # judges applications
    COMMITTEE_CHAIR = "committee_chair", _("Committee chair")  # confirms decisions
    FINANCE_OFFICER = "finance_officer", _("Finance officer")  # list prices, fund, statements
    MANAGEMENT = "management", _("Management")  # reads and exports reports
    AUDITOR = "auditor", _("Auditor")  # reads everything, changes nothing
    ADMINISTRATOR = "administrator", _("Administrator")  # machines and their prices, people, roles; no money


class ProjectRole(models.TextChoices):
    LEAD = "lead", _("Lead")  # answers for the project; invites, asks, reports
    MANAGER = "manager", _("Manager")  # does so in the lead's place
    MEMBER = "member", _("Member")  # runs jobs, sees the quota
    VIEWER = "viewer", _("Viewer")  # sees, changes nothing


class TeamAct(models.TextChoices):
    """What a project's own people may do on its pages; everybody in the team, and its tenant's representatives, see."""

    ASK = "ask", _("Ask the centre for GPU time, a longer period, a transfer")
    MANAGE_MEMBERS = "manage_members", _("Invite people, change roles, remove people")
    MANAGE_LEADS = "manage_leads", _("Make somebody a lead, or take that role from them")


TEAM_MAY: dict[ProjectRole, frozenset[TeamAct]] = {
    ProjectRole.LEAD: frozenset(TeamAct),
    ProjectRole.MANAGER: frozenset({TeamAct.ASK, TeamAct.MANAGE_MEMBERS}),
    ProjectRole.MEMBER: frozenset(),
    ProjectRole.VIEWER: frozenset(),
}

TENANTS = (
    "centre.tenant centre.representative centre.project centre.membership centre.invitation centre.clusteruser "
    "centre.user"
)
MACHINES = (
    "centre.centre centre.site centre.cluster centre.gpupool centre.poolmapping centre.capacity centre.outage "
    "allocations.capacityboard"  # no table but a page, /desk/capacity/: what is promised of the pools
)
PRICES = "centre.listprice"  # of the machines, and public; what is paid of them is money
MONEY = f"{PRICES} subsidies.scheme subsidies.fundentry"
BOOKS = (
    "allocations.allocation allocations.drawingaccount allocations.ledgerentry allocations.changerequest "
    "allocations.notice allocations.statement "
    "allocations.periodendrule allocations.periodend allocations.takebackrule allocations.takebackwarning "
    "allocations.takebackexemption"
)
USAGE = (
    "allocations.usageimport allocations.jobrun allocations.runobservation allocations.runcharge allocations.runrefund "
    "allocations.dailyusage allocations.quarantinedrecord"
)
COLLECTORS = "allocations.importtoken"
SPREADSHEETS = "allocations.onboardingupload"
CASES = (
    "subsidies.application subsidies.applicationask subsidies.applicationstep subsidies.decision "
    "subsidies.decisiongrant subsidies.condition subsidies.award subsidies.awardgrant subsidies.subsidyproject"
)
PEOPLE = "centre.user centre.appointment centre.letter"
TRAIL = "centre.event"

R = StaffRole
EVERYTHING = f"{TENANTS} {MACHINES} {MONEY} {BOOKS} {USAGE} {COLLECTORS} {SPREADSHEETS} {CASES} {PEOPLE} {TRAIL}"
LOOKS: dict[StaffRole, str] = {
    R.TENANT_OFFICER: f"{TENANTS} {MACHINES} {BOOKS} {USAGE} {SPREADSHEETS} {CASES}",
    R.ALLOCATION_OFFICER: f"{TENANTS} {MACHINES} {MONEY} {BOOKS} {USAGE} {COLLECTORS} {SPREADSHEETS} {CASES}",
    R.SUBSIDY_SECRETARY: f"{TENANTS} {MACHINES} {MONEY} {BOOKS} {CASES}",
    R.COMMITTEE_MEMBER: "subsidies.scheme",  # the papers of a case open only after a declaration of interests
    R.COMMITTEE_CHAIR: f"subsidies.scheme subsidies.fundentry {CASES}",
    R.FINANCE_OFFICER: f"{TENANTS} {MACHINES} {MONEY} {BOOKS} {CASES}",
    R.MANAGEMENT: f"{TENANTS} {MACHINES} {MONEY} {BOOKS} {CASES}",
    R.AUDITOR: EVERYTHING,
    R.ADMINISTRATOR: f"{TENANTS} {MACHINES} {PRICES} {PEOPLE} {USAGE} {COLLECTORS} {TRAIL}",
}
CHANGES: dict[StaffRole, str] = {
    R.TENANT_OFFICER: (
        "centre.add_tenant centre.change_tenant centre.add_project centre.change_project centre.add_membership "
        "centre.change_membership centre.add_representative centre.change_representative centre.add_clusteruser "
        "centre.change_clusteruser centre.add_user centre.change_user centre.invite_user "
        "allocations.add_onboardingupload "  # of its lines an officer applies what they could do one by one
        "allocations.answer_about_people"  # requests for more members; allocation officers answer every request
    ),
    R.ALLOCATION_OFFICER: (
        "allocations.add_allocation allocations.change_allocation allocations.import_usage "
        "allocations.add_onboardingupload"
    ),
    R.SUBSIDY_SECRETARY: (
        "subsidies.add_application subsidies.change_application subsidies.add_applicationask "
        "subsidies.change_applicationask subsidies.delete_applicationask subsidies.record_decision"
    ),
    R.COMMITTEE_CHAIR: "subsidies.confirm_decision",
    R.FINANCE_OFFICER: "centre.add_listprice subsidies.add_scheme subsidies.change_scheme",
    R.ADMINISTRATOR: (
        "centre.change_centre centre.add_site centre.change_site centre.add_cluster centre.change_cluster "
        "centre.add_gpupool centre.change_gpupool centre.add_poolmapping centre.change_poolmapping "
        "centre.add_capacity centre.change_capacity centre.add_outage centre.change_outage centre.add_listprice "
        "centre.add_user centre.change_user centre.invite_user centre.add_appointment centre.approve_appointment "
        "allocations.add_importtoken allocations.revoke_importtoken"
    ),
}
REPORT_READERS = frozenset(
    {R.MANAGEMENT, R.AUDITOR, R.FINANCE_OFFICER, R.ALLOCATION_OFFICER, R.TENANT_OFFICER, R.SUBSIDY_SECRETARY}
)
PROJECT_READERS = REPORT_READERS | {R.ADMINISTRATOR}


def granted_to(role: StaffRole) -> frozenset[str]:
    """Every permission of one role, as `app.action_model` strings."""
    looks = (model.replace(".", ".view_") for model in LOOKS[role].split())
    return frozenset(looks) | frozenset(CHANGES.get(role, "").split())


GRANTED = {role: granted_to(role) for role in StaffRole}


def allows(roles: Iterable[StaffRole], permission: str) -> bool:
    """Whether any of these staff roles carries the permission."""
    return any(permission in GRANTED[role] for role in roles)


def allows_app(roles: Iterable[StaffRole], app_label: str) -> bool:
    """Whether any of these staff roles may see anything of an app in the admin."""
    return any(permission.startswith(f"{app_label}.") for role in roles for permission in GRANTED[role])


def team_may(role: ProjectRole | None, act: TeamAct) -> bool:
    """Whether a role in a team carries an act; staff and representatives, who have none, only see."""
    return role is not None and act in TEAM_MAY[role]


def may_give_role(giver: str | None, role: str) -> bool:
    """Whether somebody with a role in a team may give another one in it, or take it: leads are the leads' affair."""
    act = TeamAct.MANAGE_LEADS if role == ProjectRole.LEAD else TeamAct.MANAGE_MEMBERS
    return giver is not None and team_may(ProjectRole(giver), act)


def sees_every_project(roles: Iterable[StaffRole]) -> bool:
    """Staff whose work spans all projects; committee members are not among them."""
    return not PROJECT_READERS.isdisjoint(roles)


def reads_reports(roles: Iterable[StaffRole]) -> bool:
    """Who may open and export management's reports."""
    return not REPORT_READERS.isdisjoint(roles)
