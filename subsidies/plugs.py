"""What the scheme shows on other apps' screens: links on a project's page, panels in the admin. See centre.registry."""

from django.db import models
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from centre.models import GpuPool, Project, Tenant, User
from centre.registry import Link, Panel, Tab
from centre.templatetags.portal import hkd, percent
from subsidies.models import Application, Award
from subsidies.views import subsidy_url

SHOWN = 50


def latest_award(project: Project, user: User) -> Award | None:
    """The project's latest award that the person may see; asked for once, as tab and link of one page both need it."""
    kept: dict[int, Award | None] = vars(project).setdefault("latest_award_by_reader", {})
    if user.pk not in kept:
        awards = Award.objects.visible_to(user).filter(project=project)
        kept[user.pk] = awards.order_by("-starts_on", "-number").first()
    return kept[user.pk]


def project_links(project: Project, user: User) -> list[Link]:
    """To the subsidy page, where the project has an award that the person may see; the latest one is named."""
    award = latest_award(project, user)
    if award is None:
        return []
    note = _("Award %(number)s pays %(rate)s of the list price, up to %(amount)s: terms, conditions, what was drawn.")
    terms = {"number": award.number, "rate": percent(award.rate_bp), "amount": hkd(award.amount_cents)}
    return [Link(_("Your subsidy"), subsidy_url(project), note % terms)]


def project_tabs(project: Project, user: User) -> list[Tab]:
    """The subsidy page, where the project has an award that the person may see."""
    if latest_award(project, user) is None:
        return []
    return [Tab(80, "subsidy", _("Subsidy"), subsidy_url(project))]


def awards_of_project(record: models.Model, user: User) -> Panel | None:
    """On a project's admin page: its awards."""
    if not isinstance(record, Project) or not user.has_perm("subsidies.view_award"):
        return None
    awards = Award.objects.filter(project=record).select_related("subsidy_project")[:SHOWN]
    return Panel(
        title=_("Subsidy awards"),
        headings=(_("Award"), _("Standing"), _("Rate"), _("Amount"), _("Last day")),
        rows=tuple(
            (
                Link(award.number, reverse("admin:subsidies_award_change", args=[award.pk])),
                Link(str(award.subsidy_project)),
                Link(percent(award.rate_bp)),
                Link(hkd(award.amount_cents)),
                Link(date_format(award.ends_on, "DATE_FORMAT")),
            )
            for award in awards
        ),
        numbers=(2, 3),
    )


def applications_of_tenant(record: models.Model, user: User) -> Panel | None:
    """On a tenant's admin page: its applications to the scheme."""
    if not isinstance(record, Tenant) or not user.has_perm("subsidies.view_application"):
        return None
    return Panel(
        title=_("Applications to the subsidy scheme"),
        headings=(_("Number"), _("Title"), _("State"), _("Received on")),
        rows=tuple(
            (
                Link(case.number, reverse("admin:subsidies_application_change", args=[case.pk])),
                Link(case.title),
                Link(case.get_state_display()),
                Link(date_format(case.received_on, "DATE_FORMAT") if case.received_on else "–"),
            )
            for case in Application.objects.visible_to(user).filter(tenant=record)[:SHOWN]
        ),
    )


def capacity_of_pool(record: models.Model, user: User) -> Panel | None:
    """On a GPU pool's admin page: the way to its months on the capacity board."""
    if not isinstance(record, GpuPool) or not user.has_perm("allocations.view_capacityboard"):
        return None
    text = _("What is available, committed, used and asked for, month by month")
    return Panel(
        title=_("Capacity"),
        headings=(_("Capacity board"),),
        rows=((Link(text, f"{reverse('capacity')}#pool-{record.pk}"),),),
    )
