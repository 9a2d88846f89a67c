"""The reports on GPU time: what was granted, what was used by whom, and every movement of the ledger."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import islice

from django.db import connection
from django.db.models import BigIntegerField, CharField, F, Max, Min, Q, Sum, Value
from django.db.models.functions import Cast, Coalesce, Concat, NullIf, Trim
from django.utils.translation import gettext_lazy as _

from allocations.models import Allocation, DailyUsage, LedgerEntry
from centre.exports import Column, Kind, Parameters, Report, Row, streamed
from centre.reports import PROJECT, TENANT


def allocations(parameters: Parameters) -> Iterator[Row]:
    period = Q()
    if parameters.from_on:
        period &= Q(end_on__gte=parameters.from_on)
    if parameters.to_on:
        period &= Q(start_on__lte=parameters.to_on)
    left = F("granted_seconds") - F("used_seconds") - F("held_seconds")
    rows = (
        Allocation.objects.filter(period)
        .order_by("project__tenant__code", "project__code", "pool__code", "start_on", "id")
        .values_list(
            "project__tenant__code",
            "project__code",
            "pool__code",
            "reference",
            "account",
            "funding",
            "state",
            "start_on",
            "end_on",
            "granted_seconds",
            "used_seconds",
            "held_seconds",
            left,
            F("granted_seconds"),
            F("used_seconds"),
            left,
        )
    )
    return streamed(rows, parameters)


# A run counts where it was charged: one whose charge was given back in full, or moved to another project, does not.
# The inner query nets each run, which Django's aggregates cannot say.
NET_RUNS = """
    SELECT tenant.code, project.code, pool.code, COUNT(*), CAST(SUM(net.seconds) AS BIGINT)
    FROM (
        SELECT allocation.project_id, allocation.pool_id, charge.run_id, SUM(charge.seconds) AS seconds
        FROM allocations_runcharge charge
        JOIN allocations_allocation allocation ON allocation.id = charge.allocation_id
        WHERE charge.day BETWEEN %s AND %s
        GROUP BY allocation.project_id, allocation.pool_id, charge.run_id
        HAVING SUM(charge.seconds) <> 0
    ) net
    JOIN centre_project project ON project.id = net.project_id
    JOIN centre_tenant tenant ON tenant.id = project.tenant_id
    JOIN centre_gpupool pool ON pool.id = net.pool_id
    GROUP BY tenant.code, project.code, pool.code
    ORDER BY tenant.code, project.code, pool.code
"""


def usage_by_project(parameters: Parameters) -> Iterator[Row]:
    """One row per project and pool, so the rows are few; the database nets and counts the runs."""
    days = closed_range(parameters)
    if days is None:
        return
    first, last = days
    with connection.cursor() as cursor:
        cursor.execute(NET_RUNS, [first, last])
        for tenant, project, pool, runs, seconds in islice(cursor, parameters.at_most):
            yield tenant, project, pool, first, last, runs, seconds, seconds


def closed_range(parameters: Parameters) -> tuple[date, date] | None:
    """The days asked for; an open end is the first or the last day that anything is left charged on. None: no day."""
    if parameters.from_on and parameters.to_on:
        return parameters.from_on, parameters.to_on
    recorded = DailyUsage.objects.exclude(seconds=0).aggregate(first=Min("day"), last=Max("day"))
    first, last = parameters.from_on or recorded["first"], parameters.to_on or recorded["last"]
    return (first, last) if first and last and first <= last else None


def usage_by_day(parameters: Parameters) -> Iterator[Row]:
    project = "allocation__project__code"
    tenant = "allocation__project__tenant__code"
    pool = "allocation__pool__code"
    rows = (
        DailyUsage.objects.filter(**parameters.range_of("day"))
        .values_list("day", tenant, project, pool)
        .annotate(net=Cast(Sum("seconds"), BigIntegerField()))
        .exclude(net=0)
        .order_by("day", tenant, project, pool)
    )
    for day, tenant_code, project_code, pool_code, seconds in streamed(rows, parameters):
        yield day, tenant_code, project_code, pool_code, seconds, seconds


def name_of(person: str) -> Coalesce:
    """The person's name in SQL, or the e-mail address where no name is known."""
    return Coalesce(NullIf(f"{person}__name", Value("")), f"{person}__email", output_field=CharField())


def ledger(parameters: Parameters) -> Iterator[Row]:
    rows = (
        LedgerEntry.objects.filter(**parameters.range_of("effective_on"))
        .order_by("id")
        .values_list(
            "id",
            "recorded_at",
            "effective_on",
            "allocation__project__tenant__code",
            "allocation__project__code",
            "allocation__reference",
            "kind",
            "total",
            "seconds",
            F("seconds"),
            "reason",
            Trim(Concat("source_kind", Value(" "), "source_reference")),
            name_of("asked_by"),
            name_of("approved_by"),
            "reverses_id",
        )
    )
    return streamed(rows, parameters)


POOL = Column("pool", _("GPU pool"), _("The code of the GPU pool."), Kind.CODE)
REFERENCE = Column("reference", _("Allocation"), _("The allocation's reference."), Kind.CODE)
GPU_SECONDS = Column(
    "gpu_seconds",
    _("GPU-seconds"),
    _("GPU time that job runs took on accounting days in the range; exact. Refunds of runs are in the ledger report."),
    Kind.SECONDS,
)
GPU_HOURS = Column(
    "gpu_hours",
    _("GPU-hours"),
    _("The same in GPU-hours, rounded half up to two decimals. Add up the GPU-seconds, not these."),
    Kind.HOURS,
)

ALLOCATIONS = Report(
    name="allocations",
    title=_("Allocations"),
    description=_("What GPU time does each project have, how much of it is used, and how much is left?"),
    days=_("Allocations whose period shares a day with these. Granted, used, held and left are the totals of now."),
    columns=(
        TENANT,
        PROJECT,
        POOL,
        REFERENCE,
        Column("account", _("Slurm account"), _("Whose job runs draw on the allocation."), Kind.CODE),
        Column("funding", _("Funding"), _("Who pays for the GPU time."), Kind.CHOICE, dict(Allocation.Funding.choices)),
        Column(
            "state",
            _("State"),
            _("Where the allocation stands now; one that is void never counted."),
            Kind.CHOICE,
            dict(Allocation.State.choices),
        ),
        Column("start_on", _("First day"), _("The first accounting day of its period."), Kind.DAY),
        Column("end_on", _("Last day"), _("The last accounting day of its period, included."), Kind.DAY),
        Column(
            "granted_gpu_seconds",
            _("Granted (GPU-seconds)"),
            _("All GPU time given, less what was taken back; exact."),
            Kind.SECONDS,
        ),
        Column(
            "used_gpu_seconds",
            _("Used (GPU-seconds)"),
            _("All GPU time charged, less refunds, runs that are still going on included; exact."),
            Kind.SECONDS,
        ),
        Column(
            "held_gpu_seconds",
            _("Held (GPU-seconds)"),
            _("GPU time set aside for something that is not settled yet; exact."),
            Kind.SECONDS,
        ),
        Column(
            "left_gpu_seconds",
            _("Left (GPU-seconds)"),
            _("Granted, less used, less held; exact. Below zero the allocation is overdrawn."),
            Kind.SECONDS,
        ),
        Column(
            "granted_gpu_hours",
            _("Granted (GPU-hours)"),
            _("Granted, in GPU-hours, rounded to two decimals."),
            Kind.HOURS,
        ),
        Column(
            "used_gpu_hours",
            _("Used (GPU-hours)"),
            _("Used, in GPU-hours, rounded to two decimals."),
            Kind.HOURS,
        ),
        Column(
            "left_gpu_hours",
            _("Left (GPU-hours)"),
            _("Left, in GPU-hours, rounded to two decimals."),
            Kind.HOURS,
        ),
    ),
    rows=allocations,
)

USAGE_BY_PROJECT = Report(
    name="usage-by-project",
    title=_("Usage by project"),
    description=_("How much GPU time did each project use on each GPU pool in a range of days?"),
    days=_("GPU time used on these accounting days, midnight to midnight at the cluster. Without days: all on record."),
    columns=(
        TENANT,
        PROJECT,
        POOL,
        Column(
            "from",
            _("From"),
            _("The first day counted: the one asked for, else the first with usage."),
            Kind.DAY,
        ),
        Column("to", _("To"), _("The last day counted: the one asked for, else the last with usage."), Kind.DAY),
        Column(
            "runs",
            _("Job runs"),
            _("How many runs of jobs were charged in the range; a run that spans several days counts once."),
            Kind.COUNT,
        ),
        GPU_SECONDS,
        GPU_HOURS,
    ),
    rows=usage_by_project,
)

USAGE_BY_DAY = Report(
    name="usage-by-day",
    title=_("Usage by day"),
    description=_("How much GPU time did each project use on each day?"),
    days=_("GPU time used on these accounting days, midnight to midnight at the cluster. Without days: all on record."),
    columns=(
        Column("day", _("Day"), _("The accounting day, midnight to midnight at the cluster."), Kind.DAY),
        TENANT,
        PROJECT,
        POOL,
        replace(GPU_SECONDS, description=_("GPU time that job runs took on that day; exact.")),
        GPU_HOURS,
    ),
    rows=usage_by_day,
)

LEDGER = Report(
    name="ledger",
    title=_("Ledger"),
    description=_("Which movements of GPU time are on record, why, and who asked for and approved them?"),
    days=_("Entries that take effect on these days. The order is that of recording."),
    columns=(
        Column("entry", _("Entry"), _("The entry's number; later entries have higher ones."), Kind.COUNT),
        Column("recorded_at", _("Recorded at"), _("When the entry was written; in the file in UTC."), Kind.INSTANT),
        Column("effective_on", _("Effective on"), _("The accounting day on which it counts."), Kind.DAY),
        TENANT,
        PROJECT,
        REFERENCE,
        Column("kind", _("Kind"), _("What the entry does."), Kind.CHOICE, dict(LedgerEntry.Kind.choices)),
        Column(
            "moves",
            _("Moves"),
            _("Which of the allocation's totals it moves."),
            Kind.CHOICE,
            dict(LedgerEntry.Total.choices),
        ),
        replace(
            GPU_SECONDS,
            description=_(
                "The effect on what is left, exact: a grant is above zero, a charge below. "
                "The sum over an allocation is what it has left."
            ),
        ),
        replace(GPU_HOURS, description=_("The same in GPU-hours, rounded to two decimals, halves away from zero.")),
        Column("reason", _("Reason"), _("Why, in the words of the person who asked.")),
        Column("source", _("Source"), _("What the entry came from, such as an import of usage, and its number.")),
        Column("asked_by", _("Asked for by"), _("Who asked for it; empty for what usage itself charges.")),
        Column("approved_by", _("Approved by"), _("Who approved it; empty where no second person is needed.")),
        Column("reverses", _("Reverses"), _("The number of the entry that this one takes back."), Kind.COUNT),
    ),
    rows=ledger,
)

REPORTS = (USAGE_BY_PROJECT, USAGE_BY_DAY, ALLOCATIONS, LEDGER)
