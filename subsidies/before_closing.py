"""What a tenant or project still has going with the subsidy scheme: told before it is suspended or closed."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre.models import Project, Tenant, User
from centre.registry import Consequence, Link, TenantRecords
from subsidies import life_cycle
from subsidies.models import Application, Award, SubsidyProject

SHOWN = 10
GOING_ON = tuple(set(SubsidyProject.Standing) - {SubsidyProject.Standing.COMPLETED, SubsidyProject.Standing.TERMINATED})
APPLICATIONS = TenantRecords(title=_("applications to the subsidy scheme"), model=Application)


def going_on(record: Tenant | Project, user: User, at: datetime) -> Iterator[Consequence]:
    """Applications without a decision, and funded projects that go on."""
    applications = Application.objects.visible_to(user).filter(state__in=life_cycle.UNDECIDED)
    awards = Award.objects.visible_to(user).filter(subsidy_project__standing__in=GOING_ON)
    if isinstance(record, Tenant):
        yield undecided(applications.filter(tenant=record), user)
        yield funded(awards.filter(project__tenant=record), user)
    else:
        yield undecided(applications.filter(project=record), user)
        yield funded(awards.filter(project=record), user)


def undecided(rows: QuerySet[Application], user: User) -> Consequence:
    """Applications that the scheme has not decided yet."""
    first = list(rows[: SHOWN + 1])
    looks = user.has_perm("subsidies.view_application")
    return Consequence(
        title=_("Applications without a decision"),
        count=len(first) if len(first) <= SHOWN else rows.count(),
        lines=tuple(
            Link(
                f"{case.number}: {case.title}",
                reverse("admin:subsidies_application_change", args=[case.pk]) if looks else "",
                case.get_state_display(),
            )
            for case in first[:SHOWN]
        ),
        note=_("They are judged all the same; an approval for a tenant or project that is closed cannot be accepted."),
    )


def funded(rows: QuerySet[Award], user: User) -> Consequence:
    """Funded projects that are not completed."""
    first = list(rows.select_related("subsidy_project")[: SHOWN + 1])
    looks = user.has_perm("subsidies.view_award")
    return Consequence(
        title=_("Subsidies that go on"),
        count=len(first) if len(first) <= SHOWN else rows.count(),
        lines=tuple(
            Link(
                award.number,
                reverse("admin:subsidies_award_change", args=[award.pk]) if looks else "",
                gettext("%(standing)s, until %(day)s")
                % {"standing": award.subsidy_project, "day": date_format(award.ends_on)},
            )
            for award in first[:SHOWN]
        ),
        note=_("The subsidy secretary has to know: the award and its conditions stand until they are ended."),
    )
