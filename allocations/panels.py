"""What GPU time has to show on admin pages: the allocations of tenants and projects, reserves of pools, period ends."""

from django.db import models
from django.db.models import Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.models import Allocation, LedgerEntry, PeriodEnd, PeriodEndRule
from centre.models import GpuPool, Project, Tenant, User
from centre.registry import Link, Panel
from centre.templatetags.portal import gpu_hours, percent, written_instant

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
    all_of_it = f"{reverse('admin:allocations_allocation_changelist')}?{urlencode({'q': record.code})}"
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
        all_url=all_of_it,
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


def reserve_of(record: models.Model, user: User) -> Panel | None:
    """What went back to the centre from the allocations of a GPU pool, and by which rule; None for other records."""
    if not isinstance(record, GpuPool) or not user.has_perm("allocations.view_ledgerentry"):
        return None
    Kind = LedgerEntry.Kind  # noqa: N806  a class
    sums = dict(
        LedgerEntry.objects.filter(allocation__pool=record)
        .of_reserve()
        .order_by()
        .values_list("kind")
        .annotate(sum=Sum("seconds"))
    )
    returned = -sum(sums.values())
    rows = [
        (_("Forfeited or taken back"), -sums.get(Kind.FORFEIT, 0)),
        (_("Given back for late usage"), -sums.get(Kind.CORRECTION, 0)),
        (_("Reversed by officers"), -sums.get(Kind.REVERSAL, 0)),
        (_("Returned to the reserve"), returned),
    ]
    return Panel(
        title=_("Reserve of the pool"),
        headings=(_("What went back to the centre"), _("GPU-hours")),
        rows=(
            *((Link(label), Link(gpu_hours(seconds))) for label, seconds in rows),
            (Link(_("Period-end rule in force")), rule_link(record, user)),
        ),
        numbers=(1,),
    )


def rule_link(pool: GpuPool, user: User) -> Link:
    """The rule by which a pool's allocations are closed today."""
    today = timezone.now().astimezone(pool.cluster.zone).date()
    rule: PeriodEndRule | None = PeriodEndRule.objects.filter(pool=pool).in_force(on=today).first()
    return Link(gettext("none")) if rule is None else link_to_rule(rule, user)


def link_to_rule(rule: PeriodEndRule, user: User) -> Link:
    if not user.has_perm("allocations.view_periodendrule"):
        return Link(rule_in_words(rule))
    return Link(rule_in_words(rule), reverse("admin:allocations_periodendrule_change", args=[rule.pk]))


def rule_in_words(rule: PeriodEndRule) -> str:
    if rule.carry_over == PeriodEndRule.CarryOver.AT_MOST:
        return gettext("At most %(share)s of what was granted is carried over") % {"share": percent(rule.most_bp)}
    return str(rule.get_carry_over_display())


def period_end_of(record: models.Model, user: User) -> Panel | None:
    """When an allocation was closed, by which rule, and what went where; None while it is not."""
    if not isinstance(record, Allocation) or not user.has_perm("allocations.view_allocation"):
        return None
    end = PeriodEnd.objects.filter(allocation=record).select_related("rule", "following").first()
    if end is None:
        return None
    of_it = LedgerEntry.objects.filter(source_reference=f"period-end-{record.pk}")
    sums = dict(
        of_it.filter(allocation__in=[record.pk, end.following_id or record.pk])
        .order_by()
        .values_list("allocation")
        .annotate(sum=Sum("seconds"))
    )
    carried = sums.get(end.following_id, 0)
    forfeited = -sums.get(record.pk, 0) - carried
    following = Link(_("nowhere"))
    if end.following is not None:
        page = reverse("admin:allocations_allocation_change", args=[end.following.pk])
        following = Link(end.following.reference, page)
    return Panel(
        title=_("End of the period"),
        headings=(
            _("Closed on"),
            _("Rule"),
            _("Carried over to"),
            _("Carried over (GPU-hours)"),
            _("Forfeited to the reserve (GPU-hours)"),
        ),
        rows=(
            (
                Link(written_instant(end.closed_at)),
                link_to_rule(end.rule, user),
                following,
                Link(gpu_hours(carried, 2)),
                Link(gpu_hours(forfeited, 2)),
            ),
        ),
        numbers=(3, 4),
    )
