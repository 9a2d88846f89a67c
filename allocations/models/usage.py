"""Usage: what Slurm said (job runs, observations), and what it cost (run charges, the daily rollup).

A run's row holds the winning observation; observations that lost or were superseded are kept beside it. Observations of
a run are totally ordered by (finished, as of, last instant, digest), so any order of imports gives the same row.
Between evidence and ledger stand the run charges: the seconds of one run, on one day, to one allocation. They are only
added; a correction is a further row with the difference.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any, Self

from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Subquery, Sum
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from allocations.models.allocation import Allocation, LedgerEntry
from allocations.models.imports import UsageImport
from centre.models import Cluster, ClusterUser, Project


class RunContent(models.Model):
    """What an export says of a run; the same columns on the winning row and on kept observations."""

    db_index = models.CharField(_("database index"), max_length=20, null=True)  # noqa: DJ001  absent is not empty
    job_id_raw = models.BigIntegerField(_("job number"))
    job_id = models.CharField(_("job"), max_length=200)
    submit_at = models.DateTimeField(_("submitted at"))
    state = models.CharField(_("state"), max_length=64)
    exit_code = models.CharField(_("exit code"), max_length=32, blank=True)
    account = models.CharField(_("Slurm account"), max_length=128)
    user_name = models.CharField(_("user name on the cluster"), max_length=128, blank=True)
    partition = models.CharField(_("partition"), max_length=128, blank=True)
    qos = models.CharField(_("QOS"), max_length=128, blank=True)
    eligible_at = models.DateTimeField(_("eligible at"), null=True)
    start_at = models.DateTimeField(_("started at"), null=True)
    end_at = models.DateTimeField(_("ended at"), null=True)
    time_limit_minutes = models.BigIntegerField(_("time limit (minutes)"), null=True)
    gpus = models.BigIntegerField(_("GPUs"), default=0)
    alloc_tres = models.TextField(_("allocated resources"), blank=True)
    node_list = models.TextField(_("nodes"), blank=True)
    job_name = models.TextField(_("job name"), blank=True)
    finished = models.BooleanField(_("finished"))
    as_of = models.DateTimeField(_("as of"))
    digest = models.CharField(_("digest of the content"), max_length=32)

    class Meta:
        abstract = True


class JobRunQuerySet(models.QuerySet["JobRun"]):
    def unmatched(self) -> Self:
        """Runs with GPU time that no allocation takes."""
        return self.filter(unmatched_seconds__gt=0)

    def unfinished(self) -> Self:
        return self.filter(finished=False)

    def refundable(self, allocation: Any, *, first_on: date | None = None, last_on: date | None = None) -> Self:
        """Finished runs that were charged to an allocation and are not refunded whole, the latest first.

        Adds `refundable_seconds`: what is charged less what was refunded (GPU-seconds). With days (both included) only
        runs that were charged on one of them.
        """
        charges = RunCharge.objects.filter(allocation=allocation)
        on_days = charges.filter(**({"day__gte": first_on} if first_on else {}))
        on_days = on_days.filter(**({"day__lte": last_on} if last_on else {}))

        def sum_of(rows: models.QuerySet[Any]) -> Coalesce:
            of_run = rows.filter(run=OuterRef("pk")).order_by().values("run")
            return Coalesce(Subquery(of_run.annotate(sum=Sum("seconds")).values("sum")), 0)

        left = sum_of(charges) - sum_of(RunRefund.objects.filter(allocation=allocation))
        found = self.filter(pk__in=on_days.values("run"), finished=True).annotate(refundable_seconds=left)
        return found.filter(refundable_seconds__gt=0).order_by("-start_at", "-id")

    def with_member_names(self) -> Self:
        """Adds `member_name`: whose user name on the cluster it is; None when nobody has said."""
        known = ClusterUser.objects.filter(cluster=OuterRef("cluster"), name=OuterRef("user_name"))
        return self.annotate(member_name=Subquery(known.values("user__name")[:1]))

    def latest_of_project(
        self, project: Project, accounts: Mapping[tuple[int, str], bool], *, limit: int
    ) -> models.QuerySet["JobRun", Any]:
        """The last submitted runs of a project's Slurm accounts, newest first, each with `charged_seconds`.

        `accounts` are the (cluster, Slurm account) pairs that draw on the project's allocations, and whether their runs
        may be another project's (`AllocationQuerySet.with_shared_account`): of those only runs that were charged to
        this project are shown. Each account is walked along its index from the newest run on, so the time
        does not grow with the number of runs.
        """
        if not accounts:
            return self.none()
        charged = RunCharge.objects.filter(run=OuterRef("pk"), allocation__project=project).order_by()
        parts = []
        for (cluster, account), is_shared in accounts.items():
            runs = self.filter(cluster=cluster, account=account)
            own = runs.filter(Exists(charged)) if is_shared else runs
            parts.append(own.order_by("-submit_at", "-id").values("id")[:limit].query.sql_with_params())
        # The ORM writes the parts; on SQLite it does not join limited ones itself.
        union = " UNION ALL ".join(f"SELECT * FROM ({sql}) AS part{n}" for n, (sql, _) in enumerate(parts))  # noqa: S608
        newest = RawSQL(union, [value for _, values in parts for value in values])  # noqa: S611
        seconds = Subquery(charged.values("run").annotate(sum=Sum("seconds")).values("sum"))
        found = self.filter(id__in=newest).annotate(charged_seconds=Coalesce(seconds, 0))
        return found.order_by("-submit_at", "-id")[:limit]


class JobRun(RunContent):
    """One run of one Slurm job; a requeue is another run."""

    cluster = models.ForeignKey(
        Cluster, on_delete=models.PROTECT, related_name="runs", verbose_name=_("cluster"), db_index=False
    )
    unmatched_seconds = models.BigIntegerField(_("GPU-seconds without an allocation"), default=0)
    first_import = models.ForeignKey(
        UsageImport, on_delete=models.PROTECT, related_name="+", verbose_name=_("first seen in"), db_index=False
    )
    usage_import = models.ForeignKey(
        UsageImport, on_delete=models.PROTECT, related_name="+", verbose_name=_("as seen in"), db_index=False
    )

    member_name: str | None  # added by with_member_names()
    refundable_seconds: int  # added by refundable()

    objects = JobRunQuerySet.as_manager()

    class Meta:
        verbose_name = _("job run")
        verbose_name_plural = _("job runs")
        ordering = ("-submit_at", "-id")
        indexes = (
            models.Index(fields=("cluster", "account", "-submit_at"), name="run_of_account"),
            models.Index(fields=("user_name", "-id"), name="run_of_user"),
            models.Index(fields=("job_id",), name="run_by_job"),
            models.Index(fields=("cluster",), condition=Q(finished=False), name="run_unfinished"),
            models.Index(fields=("cluster", "account"), condition=Q(unmatched_seconds__gt=0), name="run_unmatched"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("cluster", "db_index", "job_id_raw"), name="run_is_known_by_its_database_index_and_number"
            ),
            models.UniqueConstraint(
                fields=("cluster", "job_id_raw", "submit_at"), name="run_is_known_by_its_number_and_submission"
            ),
            models.CheckConstraint(name="run_has_no_negative_gpus", condition=Q(gpus__gte=0, unmatched_seconds__gte=0)),
        )

    def __str__(self) -> str:
        return self.job_id


class RunObservation(RunContent):
    """What an import said of a run, where the run's own row says something else now."""

    run = models.ForeignKey(JobRun, on_delete=models.PROTECT, related_name="observations", verbose_name=_("job run"))
    usage_import = models.ForeignKey(
        UsageImport, on_delete=models.PROTECT, related_name="+", verbose_name=_("seen in"), db_index=False
    )

    class Meta:
        verbose_name = _("observation of a run")
        verbose_name_plural = _("observations of runs")
        ordering = ("run", "as_of", "id")
        constraints = (models.UniqueConstraint(fields=("run", "as_of", "digest"), name="an_observation_is_kept_once"),)

    def __str__(self) -> str:
        return self.state


class RunChargeQuerySet(models.QuerySet["RunCharge"]):
    def running_of(self, allocation: Any) -> models.QuerySet["RunCharge", Any]:
        """One row with the GPU-seconds of unfinished runs charged to an allocation (or an OuterRef to one).

        Few runs are unfinished while an allocation has many charges, so the runs have to be asked first. A subquery,
        and the 0 that hides the index of the charges, make a database without statistics do so (with 300,000 runs
        14 ms instead of 360).
        """
        running = JobRun.objects.unfinished().filter(start_at__isnull=False).order_by()
        charged = self.filter(run__in=running.values("pk")).annotate(of=F("allocation") + 0)
        of_allocation = charged.filter(of=allocation)
        return of_allocation.order_by().values("of").annotate(sum=Sum("seconds")).values("sum")


class RunCharge(models.Model):
    """Seconds of one run, on one accounting day, to one allocation; signed: a correction takes back."""

    run = models.ForeignKey(JobRun, on_delete=models.PROTECT, related_name="charges", verbose_name=_("job run"))
    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="run_charges", verbose_name=_("allocation"), db_index=False
    )
    day = models.DateField(_("accounting day"))
    seconds = models.BigIntegerField(_("GPU-seconds"))
    entry = models.ForeignKey(
        LedgerEntry, on_delete=models.PROTECT, related_name="run_charges", verbose_name=_("entry")
    )
    recorded_at = models.DateTimeField(_("recorded at"))

    objects = RunChargeQuerySet.as_manager()

    class Meta:
        verbose_name = _("run charge")
        verbose_name_plural = _("run charges")
        ordering = ("id",)
        indexes = (models.Index(fields=("allocation", "day"), name="run_charge_of_day"),)
        constraints = (models.CheckConstraint(name="run_charge_moves_something", condition=~Q(seconds=0)),)

    def __str__(self) -> str:
        return f"{self.day}: {self.seconds}"


class RunRefund(models.Model):
    """What a run was given back, per accounting day and allocation: the evidence behind a refund, shaped as a charge.

    Negative where a refund itself was taken back, because the run turned out to have cost less than was refunded.
    """

    run = models.ForeignKey(JobRun, on_delete=models.PROTECT, related_name="refunds", verbose_name=_("job run"))
    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="run_refunds", verbose_name=_("allocation")
    )
    day = models.DateField(_("accounting day"))
    seconds = models.BigIntegerField(_("GPU-seconds"))
    entry = models.ForeignKey(
        LedgerEntry, on_delete=models.PROTECT, related_name="run_refunds", verbose_name=_("entry")
    )
    recorded_at = models.DateTimeField(_("recorded at"))

    class Meta:
        verbose_name = _("refund of a run")
        verbose_name_plural = _("refunds of runs")
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(name="run_refund_moves_something", condition=~Q(seconds=0)),
            models.UniqueConstraint(fields=("entry", "run", "day"), name="an_entry_refunds_a_day_of_a_run_once"),
        )

    def __str__(self) -> str:
        return f"{self.day}: {self.seconds}"


class DailyUsageQuerySet(models.QuerySet["DailyUsage"]):
    def per_pool_and_day(self, *, first_on: date, last_on: date) -> dict[int, dict[date, int]]:
        """GPU-seconds charged per pool and accounting day, both days included; days without usage are left out."""
        rows = self.filter(day__gte=first_on, day__lte=last_on).order_by()
        sums: dict[int, dict[date, int]] = {}
        for pool, day, seconds in rows.values_list("allocation__pool", "day").annotate(sum=Sum("seconds")):
            sums.setdefault(pool, {})[day] = seconds
        return sums

    def per_allocation_and_day(self, *, first_on: date) -> dict[int, dict[date, int]]:
        """GPU-seconds charged per allocation and accounting day since a day; days without usage are left out."""
        sums: dict[int, dict[date, int]] = {}
        rows = self.filter(day__gte=first_on).order_by().values_list("allocation", "day")
        for allocation, day, seconds in rows.annotate(sum=Sum("seconds")):
            sums.setdefault(allocation, {})[day] = seconds
        return sums


class Outcome(models.TextChoices):
    """How a run ended, in the classes by which a team sees what its time was good for."""

    COMPLETED = "completed", _("Completed")
    UNFINISHED = "unfinished", _("Still running")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    TIMED_OUT = "timed_out", _("Time limit reached")
    INTERRUPTED = "interrupted", _("Interrupted by the machine")
    OTHER = "other", _("Ended otherwise")


STATES_OF_OUTCOMES = {
    Outcome.COMPLETED: ("COMPLETED",),
    Outcome.FAILED: ("FAILED", "OUT_OF_MEMORY"),
    Outcome.TIMED_OUT: ("TIMEOUT", "DEADLINE"),
    Outcome.INTERRUPTED: ("NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REQUEUED", "RESIZING"),
    Outcome.CANCELLED: ("CANCELLED", "REVOKED"),
}
"""Slurm's states of finished runs; `CANCELLED` is often followed by who did it."""


def outcome_of(state: str, *, finished: bool) -> Outcome:
    """The class of a run by its state."""
    if not finished:
        return Outcome.UNFINISHED
    word = state.partition(" ")[0]
    return next((outcome for outcome, states in STATES_OF_OUTCOMES.items() if word in states), Outcome.OTHER)


def outcome_sql(run: str) -> str:
    """The same in SQL, for a table or alias that has the columns `state` and `finished`."""
    whens = [f"WHEN NOT {run}.finished THEN '{Outcome.UNFINISHED.value}'"]
    for outcome, states in STATES_OF_OUTCOMES.items():
        holds = " OR ".join(
            f"{run}.state = '{state}' OR SUBSTR({run}.state, 1, {len(state) + 1}) = '{state} '" for state in states
        )
        whens.append(f"WHEN {holds} THEN '{outcome.value}'")
    return f"CASE {' '.join(whens)} ELSE '{Outcome.OTHER.value}' END"


class DailyUsage(models.Model):
    """The rollup that pages read: GPU-seconds per allocation, accounting day, user name and outcome.

    Sums of run charges. A row may be 0: what it told has moved to another name, or to another outcome.
    """

    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="daily_usage", verbose_name=_("allocation"), db_index=False
    )
    day = models.DateField(_("accounting day"))
    user_name = models.CharField(_("user name on the cluster"), max_length=128, blank=True)
    outcome = models.CharField(_("how the runs ended"), max_length=12, choices=Outcome.choices, default=Outcome.OTHER)
    seconds = models.BigIntegerField(_("GPU-seconds"))

    objects = DailyUsageQuerySet.as_manager()

    class Meta:
        verbose_name = _("daily usage")
        verbose_name_plural = _("daily usage")
        ordering = ("allocation", "day", "user_name", "outcome")
        indexes = (models.Index(fields=("day",), name="daily_usage_of_day"),)
        constraints = (
            models.UniqueConstraint(
                fields=("allocation", "day", "user_name", "outcome"),
                name="daily_usage_has_a_row_per_allocation_day_user_and_outcome",
            ),
            models.CheckConstraint(
                name="daily_usage_outcome_is_known",
                condition=Q(
                    outcome__in=(
                        *("completed", "unfinished", "failed", "cancelled"),
                        *("timed_out", "interrupted", "other"),
                    )
                ),
            ),
        )

    def __str__(self) -> str:
        return f"{self.day}: {self.seconds}"
