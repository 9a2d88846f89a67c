"""What the representatives of a tenant see: all of its projects in lines, and what they have together.

In this app and not beside the tenants, because it tells of GPU time; imports go one way only.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from allocations.models import Allocation
from allocations.quota import STANDING_TONES
from allocations.views import project_table, with_open_hours
from centre.charts import QuotaBar
from centre.exports import Text
from centre.http import signed_in
from centre.models import Membership, Project, Site, Tenant
from centre.models.tenants import Standing
from centre.permissions import ProjectRole

SITE_NAMES = ("name_en", "name_zh_hant", "name_zh_hans")


@dataclass(frozen=True)
class PoolSum:
    """The open allocations of a tenant on one pool, together."""

    model: str
    site: str
    allocations: int
    bar: QuotaBar
    as_of: datetime | None


@dataclass(frozen=True)
class RoleCount:
    """How many people have a role in a tenant's projects; who has it in several counts once."""

    role: Text
    people: int


@require_safe
def tenant(request: HttpRequest, tenant: str) -> HttpResponse:
    """A tenant for those who see all of its projects: what is left per pool, the projects, how many people.

    The code of a record that was merged into another one leads there, for those who see that one.
    """
    user = signed_in(request)
    overseen = Tenant.objects.overseen_by(user)
    shown = overseen.with_signing().filter(code=tenant, merged_into=None).first()
    if shown is None:
        return redirect("tenant", tenant=get_object_or_404(overseen, merged_records__code=tenant).code)
    projects = Project.objects.filter(tenant=shown).select_related("tenant")
    table = project_table(with_open_hours(projects, on=timezone.localdate()), request)
    table.exclude = ("tenant",)
    context = {
        "section": "projects",
        "tenant": shown,
        "standing_tone": STANDING_TONES[Standing(shown.standing)],
        "pools": pool_sums(shown),
        "table": table,
        "people": role_counts(shown),
    }
    return render(request, "tenants/tenant.html", context)


def pool_sums(tenant: Tenant) -> list[PoolSum]:
    """What the tenant's allocations that are open today were granted, have used and have left, per pool; one query."""
    rows = (
        Allocation.objects.open(on=timezone.localdate())
        .filter(project__tenant=tenant)
        .with_as_of()
        .order_by("pool__code")
        .values(
            "books_as_of", "pool__code", "pool__gpu_model", *(f"pool__cluster__site__{name}" for name in SITE_NAMES)
        )
        .annotate(count=Count("pk"), granted=Sum("granted_seconds"), used=Sum("used_seconds"), held=Sum("held_seconds"))
    )
    return [
        PoolSum(
            model=row["pool__gpu_model"],
            site=Site(**{name: row[f"pool__cluster__site__{name}"] for name in SITE_NAMES}).name,
            allocations=row["count"],
            bar=QuotaBar(granted=row["granted"], used=row["used"], held=row["held"]),
            as_of=row["books_as_of"],
        )
        for row in rows
    ]


def role_counts(tenant: Tenant) -> list[RoleCount]:
    """Representatives first, then each role of a team that somebody has; one query. The tenant is `with_signing`."""
    rows = Membership.objects.current().filter(project__tenant=tenant).order_by().values("role")
    people = {row["role"]: row["people"] for row in rows.annotate(people=Count("user", distinct=True))}
    roles = [RoleCount(role.label, people[role]) for role in ProjectRole if role in people]
    return [RoleCount(_("Representative"), tenant.signing), *roles]
