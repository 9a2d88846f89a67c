"""What the pages of one project share: who is looking, in which role, and the way from page to page.

    page = team_page(request, code, section="usage")
    page.demand(TeamAct.ASK)
    return render(request, "projects/usage.html", page.context(chart=chart))

The template extends `projects/frame.html`. A project that the person may not see does not exist for them (404); an act
that is not theirs is refused (403).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone

from centre import registry
from centre.http import signed_in
from centre.models import Project, User
from centre.permissions import ProjectRole, TeamAct, team_may


@dataclass(frozen=True)
class TeamPage:
    """A page of a project for one person at one instant. `role` is None for staff and the tenant's representatives."""

    project: Project
    user: User
    role: ProjectRole | None
    at: datetime
    section: str

    def may(self, act: TeamAct) -> bool:
        """Whether this person's role in the team carries the act."""
        return team_may(self.role, act)

    def demand(self, act: TeamAct) -> None:
        """Raise PermissionDenied (a 403 page) unless they may."""
        if not self.may(act):
            raise PermissionDenied

    def context(self, **more: Any) -> dict[str, Any]:
        """What `projects/frame.html` needs, and what the page adds."""
        tabs = registry.tabs_of(self.project, self.user)
        return {"section": "projects", "project": self.project, "team": self, "tabs": tabs, **more}


def team_page(request: HttpRequest, code: str, *, section: str) -> TeamPage:
    """The page of the project with this code; one query. `section` is the name of its tab. Raises Http404."""
    user = signed_in(request)
    visible = Project.objects.visible_to(user).with_role_of(user)
    project = get_object_or_404(visible.select_related("tenant"), code=code)
    role = ProjectRole(project.role_of_user) if project.role_of_user else None
    return TeamPage(project=project, user=user, role=role, at=timezone.now(), section=section)
