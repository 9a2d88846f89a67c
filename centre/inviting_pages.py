"""The pages on which leads and managers invite people to their project, send a link again, withdraw an invitation."""

from datetime import UTC, datetime

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST

from centre import invitations, members
from centre.member_forms import InviteForm
from centre.member_pages import may_invite
from centre.models import Invitation
from centre.permissions import ProjectRole, TeamAct, may_give_role
from centre.team_pages import TeamPage, team_page

A_SECOND_CLICK = 60
"""Seconds within which the same invitation by the same person is taken for the same form, sent twice."""


@require_http_methods(["GET", "HEAD", "POST"])
def invite(request: HttpRequest, code: str) -> HttpResponse:
    """Invite somebody by e-mail; what was typed stays when something is wrong with it."""
    team = team_page(request, code, section="members")
    team.demand(TeamAct.MANAGE_MEMBERS)
    if not may_invite(team):
        messages.error(request, gettext("This project is closed; nobody can be invited to it."))
        return redirect("members", code=code)
    roles = [role for role in reversed(ProjectRole) if may_give_role(team.role, role)]
    form = InviteForm(request.POST or None, roles=roles, initial={"role": ProjectRole.MEMBER})
    if request.method == "POST" and form.is_valid():
        try:
            sent = invitations.invite_to_project(project=team.project, by=team.user, at=team.at, **form.cleaned_data)
        except invitations.AlreadyInvited as refused:
            if sent_just_now(team, form.cleaned_data["email"], form.cleaned_data["role"]):
                return redirect("members", code=code)
            form.add_error("email", str(refused))
        except members.NotAName as refused:
            form.add_error("name", str(refused))
        except (members.AlreadyMember, members.NotAnAddress) as refused:
            form.add_error("email", str(refused))
        except members.MemberError as refused:
            form.add_error(None, str(refused))
        else:
            tell_how_it_went(request, sent)
            return redirect("members", code=code)
    return render(request, "projects/invite.html", team.context(form=form))


def sent_just_now(team: TeamPage, email: str, role: ProjectRole) -> bool:
    """Whether this very person sent this very invitation within the last minute: a form that was sent twice."""
    own = Invitation.objects.unanswered().filter(project=team.project, email=email, role=role, invited_by=team.user)
    latest = own.first()
    return latest is not None and (team.at - latest.invited_at).total_seconds() < A_SECOND_CLICK


def tell_how_it_went(request: HttpRequest, sent: Invitation) -> None:
    """Whether the letter left; nothing of whether the address is known."""
    if sent.undelivered_at is None:
        messages.success(request, gettext("The invitation to %(email)s was sent.") % {"email": sent.email})
    else:
        said = gettext("The letter to %(email)s could not be sent. Check the address, or send it again later.")
        messages.warning(request, said % {"email": sent.email})


def invitation_of(team: TeamPage, pk: int) -> Invitation:
    """An invitation of this project, for those who manage its team; 404 for any other."""
    team.demand(TeamAct.MANAGE_MEMBERS)
    return get_object_or_404(Invitation, project=team.project, pk=pk)


@require_POST
def send_again(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """A new link for the same address; the one before is dead. Sent twice, one letter goes."""
    team = team_page(request, code, section="members")
    row = invitation_of(team, pk)
    try:
        sent = invitations.send_again(invitation=row, seen=instant_in(request), by=team.user, at=team.at)
    except members.MemberError as refused:
        messages.error(request, str(refused))
    else:
        tell_how_it_went(request, sent)
    return redirect("members", code=code)


def instant_in(request: HttpRequest) -> datetime:
    """When the form says that the link was last sent; what cannot be read fits no invitation."""
    never = datetime.min.replace(tzinfo=UTC)
    try:
        return parse_datetime(request.POST.get("seen", "")) or never
    except ValueError:
        return never


@require_POST
def withdraw(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """Take an invitation back; sent twice, it is withdrawn once."""
    team = team_page(request, code, section="members")
    row = invitation_of(team, pk)
    if row.withdrawn_by_id == team.user.pk:
        return redirect("members", code=code)
    try:
        invitations.withdraw(invitation=row, by=team.user, at=team.at)
    except members.MemberError as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, gettext("The invitation to %(email)s was withdrawn.") % {"email": row.email})
    return redirect("members", code=code)
