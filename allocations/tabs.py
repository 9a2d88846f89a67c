"""The pages of a project that tell of its GPU time, as tabs. See centre.registry."""

from collections.abc import Iterable

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from centre.models import Project, User
from centre.registry import Tab


def project_tabs(project: Project, user: User) -> Iterable[Tab]:
    yield Tab(10, "overview", _("Overview"), project.get_absolute_url())
    yield Tab(20, "usage", _("Usage"), reverse("usage", args=[project.code]))
    yield Tab(30, "runs", _("Job runs"), reverse("runs", args=[project.code]))
    yield Tab(40, "ledger", _("Ledger"), reverse("ledger", args=[project.code]))
    yield Tab(50, "statements", _("Statements"), reverse("statements", args=[project.code]))
    yield Tab(70, "requests", _("Requests"), reverse("requests", args=[project.code]))
