"""The reports on the subsidy scheme: what was applied for, what was awarded and what it has paid."""

from collections.abc import Iterator

from django.db.models import BigIntegerField, Case, F, OuterRef, Q, Subquery, Sum, Value, When
from django.db.models.functions import Cast, Coalesce, TruncDate
from django.utils.translation import gettext_lazy as _

from centre.exports import Column, Kind, Parameters, Report, Row, streamed
from centre.models.tenants import TenantCategory
from centre.reports import PROJECT, TENANT
from subsidies import drawn
from subsidies.life_cycle import State
from subsidies.models import Application, ApplicationAsk, Award, AwardGrant, Decision, SubsidyProject


def applications(parameters: Parameters) -> Iterator[Row]:
    asks = ApplicationAsk.objects.filter(application=OuterRef("pk")).order_by().values("application")
    asked = Coalesce(Subquery(asks.annotate(sum=Cast(Sum("gpu_seconds"), BigIntegerField())).values("sum")), 0)
    confirmed = Q(decision__confirmed_at__isnull=False)
    rows = (
        Application.objects.received()
        .filter(**parameters.range_of("received_on"))
        .annotate(
            project_code=Coalesce("project__code", "new_project_code"),
            asked_seconds=asked,
            outcome=Case(When(confirmed, then=F("decision__outcome")), default=Value("")),
            decided_on=TruncDate("decision__confirmed_at"),
        )
        .order_by("number")
        .values_list(
            "number",
            "scheme__code",
            "tenant__code",
            "tenant__category",
            "project_code",
            "title",
            "state",
            "received_on",
            "asked_seconds",
            F("asked_seconds"),
            "outcome",
            "decided_on",
        )
    )
    return streamed(rows, parameters)


def awards(parameters: Parameters) -> Iterator[Row]:
    period = Q()
    if parameters.from_on:
        period &= Q(ends_on__gte=parameters.from_on)
    if parameters.to_on:
        period &= Q(starts_on__lte=parameters.to_on)
    found = list(
        Award.objects.filter(period)
        .select_related("application", "project__tenant", "subsidy_project")
        .order_by("number")[: parameters.at_most]
    )
    sums = AwardGrant.objects.filter(award__in=[award.pk for award in found]).order_by().values_list("award_id")
    granted = dict(sums.annotate(sum=Cast(Sum("gpu_seconds"), BigIntegerField())))
    figures = drawn.drawn_by(found)
    for award in found:
        figure = figures[award.pk]
        yield (
            award.number,
            award.application.number,
            award.project.tenant.code,
            award.project.code,
            award.subsidy_project.standing,
            award.starts_on,
            award.ends_on,
            award.rate_bp,
            award.amount_cents,
            granted.get(award.pk, 0),
            figure.gpu_seconds,
            granted.get(award.pk, 0),
            figure.gpu_seconds,
            figure.list_value_cents,
            figure.subsidy_cents,
            figure.own_share_cents,
        )


APPLICATION = Column("application", _("Application"), _("The application's number."))

APPLICATIONS = Report(
    name="applications",
    title=_("Applications"),
    description=_("Which applications has the subsidy scheme received, and what became of each?"),
    days=_("Applications received on these days. State and outcome are those of now."),
    columns=(
        APPLICATION,
        Column("scheme", _("Scheme"), _("The scheme's code.")),
        TENANT,
        Column(
            "category",
            _("Category"),
            _("What kind of organisation the tenant is."),
            Kind.CHOICE,
            dict(TenantCategory.choices),
        ),
        Column("project", _("Project"), _("The project that it is for; before an approval perhaps not created yet.")),
        Column("title", _("Title"), _("The application's title, in the applicant's words.")),
        Column("state", _("State"), _("Where the case stands now."), Kind.CHOICE, dict(State.choices)),
        Column("received_on", _("Received on"), _("The day on which it reached the centre."), Kind.DAY),
        Column(
            "asked_gpu_seconds",
            _("Asked for (GPU-seconds)"),
            _("GPU time asked for on all GPU pools together; exact."),
            Kind.SECONDS,
        ),
        Column(
            "asked_gpu_hours",
            _("Asked for (GPU-hours)"),
            _("The same in GPU-hours, rounded half up to two decimals."),
            Kind.HOURS,
        ),
        Column(
            "outcome",
            _("Outcome"),
            _("What was decided and confirmed; empty while there is no confirmed decision."),
            Kind.CHOICE,
            {"": "–", **dict(Decision.Outcome.choices)},
        ),
        Column("decided_on", _("Confirmed on"), _("The day on which the decision was confirmed."), Kind.DAY),
    ),
    rows=applications,
)

AWARDS = Report(
    name="awards",
    title=_("Awards"),
    description=_("Which awards has the scheme made, how much has each paid, and what is the project's own share?"),
    days=_("Awards whose period shares a day with these. Usage, subsidy and own share are those up to now."),
    columns=(
        Column("award", _("Award"), _("The award's number.")),
        APPLICATION,
        TENANT,
        PROJECT,
        Column(
            "standing",
            _("Standing"),
            _("Where the funded project stands now."),
            Kind.CHOICE,
            dict(SubsidyProject.Standing.choices),
        ),
        Column("start_on", _("First day"), _("The first day of the award."), Kind.DAY),
        Column("end_on", _("Last day"), _("The last day of the award; it belongs to the period."), Kind.DAY),
        Column("rate_percent", _("Rate (%)"), _("The share of the list price that the scheme pays."), Kind.PERCENT),
        Column("amount_hkd", _("Amount (HK$)"), _("The most that the scheme pays under the award."), Kind.MONEY),
        Column(
            "granted_gpu_seconds",
            _("Granted (GPU-seconds)"),
            _("GPU time granted under the award; exact."),
            Kind.SECONDS,
        ),
        Column(
            "used_gpu_seconds",
            _("Used (GPU-seconds)"),
            _("GPU time charged to the award's allocations so far; exact."),
            Kind.SECONDS,
        ),
        Column(
            "granted_gpu_hours",
            _("Granted (GPU-hours)"),
            _("Granted, in GPU-hours, rounded half up to two decimals."),
            Kind.HOURS,
        ),
        Column(
            "used_gpu_hours",
            _("Used (GPU-hours)"),
            _("Used, in GPU-hours, rounded half up to two decimals."),
            Kind.HOURS,
        ),
        Column(
            "list_value_hkd",
            _("List value (HK$)"),
            _("GPU time used x list price of the day on which it was used, rounded once to a cent."),
            Kind.MONEY,
        ),
        Column(
            "subsidy_hkd",
            _("Subsidy drawn (HK$)"),
            _("The same x the rate, rounded once to a cent, and at most the amount of the award."),
            Kind.MONEY,
        ),
        Column("own_share_hkd", _("Own share (HK$)"), _("List value, less the subsidy drawn."), Kind.MONEY),
    ),
    rows=awards,
)

REPORTS = (APPLICATIONS, AWARDS)
