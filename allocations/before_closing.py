"""What a tenant or project still has going in GPU time: told before it is suspended or closed. See centre.registry."""

from collections.abc import Iterator
from datetime import datetime

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations.models import Allocation, ChangeRequest, DrawingAccount, JobRun
from allocations.run_states import in_words
from centre.models import Project, Tenant, User
from centre.registry import Consequence, Link, ListColumn
from centre.templatetags.portal import gpu_hours

SHOWN = 10


def going_on(record: Tenant | Project, user: User, at: datetime) -> Iterator[Consequence]:
    """Open allocations with what is left on them, jobs that run or wait, and requests that wait for an answer."""
    yield open_allocations(record, user)
    yield unfinished_runs(record, user)
    yield open_requests(record, user)


def of_record(record: Tenant | Project, project: str = "project") -> Q:
    """Rows of one project, or of all projects of a tenant."""
    return Q(**{project if isinstance(record, Project) else f"{project}__tenant": record})


def page(user: User, permission: str, name: str, *arguments: object) -> str:
    """The address of a page of the admin, where the person may look at it."""
    return reverse(f"admin:{name}", args=arguments) if user.has_perm(permission) else ""


def open_allocations(record: Tenant | Project, user: User) -> Consequence:
    """Allocations that are not over: open ones, also those that begin later, and suspended ones."""
    states = (Allocation.State.OPEN, Allocation.State.SUSPENDED)
    rows = Allocation.objects.filter(of_record(record), state__in=states).order_by("end_on", "id")
    left = F("granted_seconds") - F("used_seconds") - F("held_seconds")
    sums = rows.order_by().aggregate(left=Coalesce(Sum(left), 0))
    first = list(rows.select_related("pool", "project")[: SHOWN + 1])
    return Consequence(
        title=_("Open allocations"),
        count=len(first) if len(first) <= SHOWN else rows.count(),
        lines=tuple(
            Link(
                row.reference,
                page(user, "allocations.view_allocation", "allocations_allocation_change", row.pk),
                gettext("%(hours)s GPU-hours left on %(pool)s, until %(day)s")
                % {
                    "hours": gpu_hours(row.available_seconds),
                    "pool": row.pool.code,
                    "day": date_format(row.end_on),
                },
            )
            for row in first[:SHOWN]
        ),
        total=gettext("%(hours)s GPU-hours left") % {"hours": gpu_hours(sums["left"])},
        note=_("They stay open, and what is left on them stays theirs, until an allocation officer closes them."),
    )


def unfinished_runs(record: Tenant | Project, user: User) -> Consequence:
    """Job runs that had not ended when their cluster's usage was last imported."""
    rows = runs_of(record).order_by("cluster", "id")
    first = list(rows.select_related("cluster")[: SHOWN + 1])
    count = len(first) if len(first) <= SHOWN else rows.count()
    gpus = rows.filter(start_at__isnull=False).order_by().aggregate(gpus=Coalesce(Sum("gpus"), 0))["gpus"]
    return Consequence(
        title=_("Jobs running or waiting to run"),
        count=count,
        lines=tuple(
            Link(
                gettext("%(cluster)s, job %(job)s") % {"cluster": run.cluster.code, "job": run.job_id},
                page(user, "allocations.view_jobrun", "allocations_jobrun_change", run.pk),
                run_in_short(run),
            )
            for run in first[:SHOWN]
        ),
        total=ngettext("%(gpus)s GPU in use", "%(gpus)s GPUs in use", gpus) % {"gpus": gpus},
        note=_("They go on, and what they use is charged. Stop them on the cluster if they have to end."),
    )


def run_in_short(run: JobRun) -> str:
    """Whose run it is, what it holds and how it stands; one that waits holds nothing yet."""
    said = {"account": run.account, "person": run.user_name or "–", "state": in_words(run.state)[0], "gpus": run.gpus}
    if run.start_at is None:
        return gettext("%(account)s, %(person)s: %(state)s") % said
    return (
        ngettext(
            "%(account)s, %(person)s, %(gpus)s GPU: %(state)s",
            "%(account)s, %(person)s, %(gpus)s GPUs: %(state)s",
            run.gpus,
        )
        % said
    )


def runs_of(record: Tenant | Project) -> QuerySet[JobRun]:
    """The unfinished runs of the Slurm accounts that draw on a record's allocations."""
    same = {"pool__cluster": OuterRef("cluster"), "account": OuterRef("account")}
    named = Allocation.objects.not_void().filter(of_record(record), **same)
    drawn = DrawingAccount.objects.standing().filter(of_record(record, "allocation__project"), **same)
    return JobRun.objects.unfinished().filter(Exists(named) | Exists(drawn))


def open_requests(record: Tenant | Project, user: User) -> Consequence:
    """What was asked of the centre and has no answer yet."""
    rows = ChangeRequest.objects.filter(of_record(record)).waiting().select_related("project")
    first = list(rows[: SHOWN + 1])
    return Consequence(
        title=_("Requests waiting for an answer"),
        count=len(first) if len(first) <= SHOWN else rows.count(),
        lines=tuple(
            Link(
                f"{row.get_kind_display()} ({row.project.code})",
                page(user, "allocations.view_changerequest", "allocations_changerequest_change", row.pk),
                gettext("asked %(day)s") % {"day": date_format(timezone.localtime(row.asked_at))},
            )
            for row in first[:SHOWN]
        ),
        note=_("They stay in the queue until somebody answers or withdraws them."),
    )


def hours_left() -> Combinable:
    """GPU-seconds left over the allocations of a tenant that are open today; for a query of tenants."""
    rows = Allocation.objects.open(on=timezone.localdate()).filter(project__tenant=OuterRef("pk")).order_by()
    left = F("granted_seconds") - F("used_seconds") - F("held_seconds")
    sums = rows.values("project__tenant").annotate(left=Sum(left)).values("left")
    return Coalesce(Subquery(sums), 0)


HOURS_LEFT = ListColumn(
    name="hours_left",
    title=_("GPU-hours left"),
    value=hours_left,
    shown=gpu_hours,
    permission="allocations.view_allocation",
)
