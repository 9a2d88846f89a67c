"""What GPU time has to show on the admin pages of tenants and projects: their allocations, with what is left."""

from django.db import models
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.models import Allocation
from centre.models import Project, Tenant, User
from centre.registry import Link, Panel
from centre.templatetags.portal import gpu_hours

MOST = 50


def allocations_of(record: models.Model, user: User) -> Panel | None:
    """The latest allocations of a project, or of all projects of a tenant; None where the person may not look."""
    if not user.has_perm("allocations.view_allocation"):
        return None
    if isinstance(record, Project):
        rows = Allocation.objects.filter(project=record)
    elif isinstance(record, Tenant):
        rows = Allocation.objects.filter(project__tenant=record)
    else:
        return None
    latest = rows.select_related("project", "pool").order_by("-end_on", "-id")[:MOST]
    return Panel(
        title=_("Allocations"),
        headings=(
            _("Reference"),
            _("Project"),
            _("GPU pool"),
            _("Period"),
            _("Granted (GPU-hours)"),
            _("Used"),
            _("Left"),
            _("State"),
        ),
        rows=tuple(cells_of(row) for row in latest),
        numbers=(4, 5, 6),
    )


def cells_of(row: Allocation) -> tuple[Link, ...]:
    state = str(row.get_state_display())
    return (
        Link(row.reference, reverse("admin:allocations_allocation_change", args=[row.pk])),
        Link(row.project.code),
        Link(row.pool.code),
        Link(f"{date_format(row.start_on)} – {date_format(row.end_on)}"),
        Link(gpu_hours(row.granted_seconds)),
        Link(gpu_hours(row.used_seconds)),
        Link(gpu_hours(row.available_seconds)),
        Link(gettext("%(state)s, overdrawn") % {"state": state} if row.is_overdrawn else state),
    )
