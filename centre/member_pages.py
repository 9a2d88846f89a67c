"""The team of a project: who belongs to it, whose runs are whose, who had access when; and changing that."""

from collections import defaultdict
from typing import Any

import django_tables2
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from centre import members, registry
from centre.member_forms import RoleForm, UserNameForm
from centre.models import Cluster, ClusterUser, Invitation, Membership, Representative, User
from centre.models.invitations import Fate
from centre.names import isolated
from centre.permissions import ProjectRole, TeamAct, may_give_role
from centre.registry import UnclaimedName
from centre.tables import InstantColumn, Table, show_page
from centre.team_pages import TeamPage, team_page
from centre.templatetags.portal import badge
from centre.user_names import claim_name

MEMBERS_PER_PAGE = 50
BY_ROLE = Case(*(When(role=role, then=Value(place)) for place, role in enumerate(ProjectRole)))
ROLE_TONES = {ProjectRole.LEAD: "info", ProjectRole.MANAGER: "info"}
FATE_TONES = {Fate.WAITING: "info", Fate.EXPIRED: "warn", Fate.VOID: "warn"}


class MembersTable(Table):
    """Who belongs to the team now, leads first."""

    title = _("Members")
    person = django_tables2.Column(accessor="user", verbose_name=_("Person"))
    role = django_tables2.Column(verbose_name=_("Role"))
    since_at = InstantColumn(verbose_name=_("In this role since"))
    names = django_tables2.Column(empty_values=(), verbose_name=_("User names on clusters"))
    acts = django_tables2.Column(empty_values=(), verbose_name=_("Change"))

    class Meta:
        orderable = False

    def __init__(self, rows: QuerySet[Membership], *, team: TeamPage) -> None:
        super().__init__(rows, exclude=() if team.may(TeamAct.MANAGE_MEMBERS) else ("acts",))
        self.team = team
        self.with_addresses = shows_addresses(team)
        self.names_of: dict[int, list[ClusterUser]] = {}

    def render_person(self, value: User) -> SafeString:
        return person_shown(value, with_address=self.with_addresses)

    def render_role(self, record: Membership) -> SafeString:
        tone = ROLE_TONES.get(ProjectRole(record.role), "quiet")
        return badge(record.get_role_display(), tone)

    def render_names(self, record: Membership) -> SafeString | str:
        found = self.names_of.get(record.user_id)
        if not found:
            return "–"
        lines = ((each.name, each.cluster.code) for each in found)
        return format_html_join("", '<span class="on-cluster"><bdi class="mono">{}</bdi> ({})</span>', lines)

    def render_acts(self, record: Membership) -> SafeString | str:
        if not may_give_role(self.team.role, record.role):
            return "–"
        code, who = self.team.project.code, record.user.get_full_name()
        leaves = record.user_id == self.team.user.pk
        return format_html(
            '<a href="{}">{}<span class="visually-hidden">: {}</span></a>'
            '<a href="{}">{}<span class="visually-hidden">: {}</span></a>',
            reverse("change_member_role", args=[code, record.pk]),
            gettext("Change role"),
            who,
            reverse("remove_member", args=[code, record.pk]),
            gettext("Leave") if leaves else gettext("Remove"),
            who,
        )


class AccessTable(Table):
    """Every membership that there is or was, the latest first."""

    title = _("Who had access when")
    person = django_tables2.Column(accessor="user", verbose_name=_("Person"))
    role = django_tables2.Column(verbose_name=_("Role"))
    since_at = InstantColumn(verbose_name=_("From"))
    ended_at = InstantColumn(verbose_name=_("Until"), default=_("now"))
    added_by = django_tables2.Column(verbose_name=_("Added by"), default=_("the centre"))
    ended_by = django_tables2.Column(verbose_name=_("Ended by"), empty_values=())

    class Meta:
        orderable = False

    def __init__(self, rows: QuerySet[Membership], *, team: TeamPage) -> None:
        super().__init__(rows)
        self.with_addresses = shows_addresses(team)

    def render_person(self, value: User) -> SafeString:
        return person_shown(value, with_address=self.with_addresses)

    def render_role(self, record: Membership) -> str:
        return record.get_role_display()

    def render_added_by(self, value: User) -> SafeString:
        return format_html("<bdi>{}</bdi>", value.get_full_name())

    def render_ended_by(self, record: Membership) -> SafeString | str:
        if record.ended_at is None:
            return "–"
        if record.ended_by is None:
            return gettext("the centre")
        return format_html("<bdi>{}</bdi>", record.ended_by.get_full_name())


def shows_addresses(team: TeamPage) -> bool:
    """Those who run the team, and staff, see e-mail addresses; others see names."""
    return team.may(TeamAct.MANAGE_MEMBERS) or team.user.is_staff


def person_shown(user: User, *, with_address: bool) -> SafeString:
    """A name, with the address below for those who may see it; an address alone where there is no name."""
    if not with_address or not user.name:
        return format_html("<bdi>{}</bdi>", user.get_full_name())
    return format_html('<bdi>{}</bdi><small class="quiet"><bdi>{}</bdi></small>', user.name, user.email)


@require_safe
def member_list(request: HttpRequest, code: str) -> HttpResponse:
    """Who belongs to the project, what is still unanswered, and which user names are nobody's yet."""
    team = team_page(request, code, section="members")
    rows = Membership.objects.current().filter(project=team.project).select_related("user")
    table = MembersTable(rows.order_by(BY_ROLE, "user__name", "user__email"), team=team)
    show_page(table, request, rows=MEMBERS_PER_PAGE)
    table.names_of = names_on_clusters([row.record.user_id for row in table.paginated_rows])
    context = {
        "table": table,
        "invitations": unanswered_invitations(team),
        "unclaimed": registry.unclaimed_names(team.project),
        "may_manage": team.may(TeamAct.MANAGE_MEMBERS),
        "may_invite": may_invite(team),
    }
    return render(request, "projects/members.html", team.context(**context))


def may_invite(team: TeamPage) -> bool:
    """Whether this person may invite to this project; nobody joins a closed one."""
    return team.may(TeamAct.MANAGE_MEMBERS) and team.project.standing != "closed"


def names_on_clusters(people: list[int]) -> dict[int, list[ClusterUser]]:
    """The user names of these people, by person."""
    found: defaultdict[int, list[ClusterUser]] = defaultdict(list)
    for row in ClusterUser.objects.filter(user__in=people).select_related("cluster").order_by("name", "cluster__code"):
        found[row.user_id].append(row)
    return dict(found)


def unanswered_invitations(team: TeamPage) -> list[dict[str, Any]]:
    """What those who manage the team, and staff, see of invitations that nobody answered; the verb keeps them few."""
    if not shows_addresses(team):
        return []
    rows = Invitation.objects.unanswered().filter(project=team.project).with_role_of_inviter()
    shown = []
    for row in rows.select_related("project", "invited_by"):
        fate = row.fate(at=team.at)
        shown.append(
            {
                "row": row,
                "state": fate.label,
                "tone": FATE_TONES.get(fate, "quiet"),
                "void": fate == Fate.VOID,
                "may_act": may_give_role(team.role, row.role),
                "seen": row.invited_at.isoformat(),
            }
        )
    return shown


@require_safe
def member_history(request: HttpRequest, code: str) -> HttpResponse:
    """Who had access to the project when: its members now and before, and who represents its tenant."""
    team = team_page(request, code, section="members")
    rows = Membership.objects.filter(project=team.project).select_related("user", "added_by", "ended_by")
    table = AccessTable(rows.order_by("-since_at", "-pk"), team=team)
    show_page(table, request, rows=MEMBERS_PER_PAGE)
    signing = Representative.objects.filter(tenant=team.project.tenant_id).select_related("user")
    context = {
        "table": table,
        "representatives": [
            (row, person_shown(row.user, with_address=table.with_addresses)) for row in signing.order_by("-since_at")
        ],
    }
    return render(request, "projects/member_history.html", team.context(**context))


# ---------------------------------------------------------------------------------------------- acts


def membership_of(team: TeamPage, pk: int) -> Membership:
    """A membership of this project that the person may change, be it over or not; 404 for any other, 403 for leads'."""
    team.demand(TeamAct.MANAGE_MEMBERS)
    rows = Membership.objects.filter(project=team.project).select_related("user", "project", "ended_by")
    row = get_object_or_404(rows, pk=pk)
    if not may_give_role(team.role, row.role):
        raise PermissionDenied
    return row


def is_over(request: HttpRequest, team: TeamPage, row: Membership) -> bool:
    """Whether the membership ended since the page was read; a second click of the person who ended it needs no word."""
    if row.ended_at is None:
        return False
    if row.ended_by_id != team.user.pk:
        messages.error(request, gettext("This had been changed by somebody else in the meantime. See how it is now."))
    return True


@require_http_methods(["GET", "HEAD", "POST"])
def change_role(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """Give a member another role, with what each role may do before one's eyes."""
    team = team_page(request, code, section="members")
    row = membership_of(team, pk)
    if is_over(request, team, row):
        return redirect("members", code=code)
    roles = [role for role in ProjectRole if may_give_role(team.role, role)]
    form = RoleForm(request.POST or None, roles=roles, initial={"role": row.role})
    if request.method == "POST" and form.is_valid():
        try:
            members.change_role(membership=row, role=form.cleaned_data["role"], by=team.user, at=team.at)
        except members.NotAMember:
            row.refresh_from_db()
            is_over(request, team, row)
            return redirect("members", code=code)
        except members.MemberError as refused:
            form.add_error("role", str(refused))
        else:
            said = gettext("%(person)s is now: %(role)s.")
            role = form.cleaned_data["role"].label
            messages.success(request, said % {"person": isolated(row.user.get_full_name()), "role": role})
            return redirect("members", code=code)
    context = {"form": form, "row": row, "is_own": row.user_id == team.user.pk}
    return render(request, "projects/change_role.html", team.context(**context))


@require_http_methods(["GET", "HEAD", "POST"])
def remove_member(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """End a membership, after a look at what that means; one's own is called leaving."""
    team = team_page(request, code, section="members")
    row = membership_of(team, pk)
    if is_over(request, team, row):
        return redirect("members", code=code)
    leaves = row.user_id == team.user.pk
    if request.method == "POST":
        try:
            members.remove_member(membership=row, by=team.user, at=team.at)
        except members.NotAMember:
            row.refresh_from_db()
            is_over(request, team, row)
        except members.MemberError as refused:
            messages.error(request, str(refused))
        else:
            if leaves:
                messages.success(request, gettext("You have left %(project)s.") % {"project": team.project.code})
                return redirect("projects")
            said = gettext("%(person)s does not belong to the project any more.")
            messages.success(request, said % {"person": isolated(row.user.get_full_name())})
        return redirect("members", code=code)
    context = {"row": row, "leaves": leaves, "effects": effects_of_removing(leaves=leaves)}
    return render(request, "projects/remove_member.html", team.context(**context))


def effects_of_removing(*, leaves: bool) -> list[str]:
    """What happens when a membership ends."""
    if leaves:
        return [
            gettext("From your next click on you see nothing of this project any more."),
            gettext("Your jobs that run or wait go on and are charged to the project; cancel them first if need be."),
            gettext("What you have used stays in the project’s books. You can be invited again."),
        ]
    return [
        gettext("From their next click on they see nothing of this project any more."),
        gettext("Their jobs that run or wait go on and are charged to the project; ask the centre to stop them."),
        gettext("What they have used stays in the project’s books. They can be invited again."),
    ]


@require_http_methods(["GET", "HEAD", "POST"])
def name_user(request: HttpRequest, code: str) -> HttpResponse:
    """Say which member a user name on a cluster belongs to."""
    team = team_page(request, code, section="members")
    team.demand(TeamAct.MANAGE_MEMBERS)
    names: list[UnclaimedName] = registry.unclaimed_names(team.project)
    team_now = Membership.objects.current().filter(project=team.project).select_related("user")
    people = list(team_now.order_by("user__name", "user__email"))
    chosen = {"name": request.GET.get("name", "")}
    form = UserNameForm(request.POST or None, names=names, members=people, initial=chosen)
    if request.method == "POST" and form.is_valid():
        name, member = form.cleaned_data["name"], form.cleaned_data["member"]
        cluster = Cluster.objects.get(pk=name.cluster_id)
        try:
            claim_name(project=team.project, cluster=cluster, name=name.name, user=member, by=team.user, at=team.at)
        except members.MemberError as refused:
            form.add_error("name", str(refused))
        else:
            said = gettext("Runs of %(name)s are now shown as those of %(person)s.")
            messages.success(request, said % {"name": isolated(str(name)), "person": isolated(member.get_full_name())})
            return redirect("members", code=code)
    return render(request, "projects/name_user.html", team.context(form=form, names=names))
