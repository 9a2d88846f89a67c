"""The page of a project that tells of its people, as a tab. See centre.registry."""

from collections.abc import Iterable

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from centre.models import Project, User
from centre.registry import Tab


def project_tabs(project: Project, user: User) -> Iterable[Tab]:
    yield Tab(60, "members", _("Members"), reverse("members", args=[project.code]))
