"""Runs that the books take for running although they cannot be, or should not: what Slurm has lost sight of.

They are charged up to the last export that listed them. When slurmdbd never heard of a job's end, or the export that
would have told it is missing, they stay as they are until somebody looks.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, Case, F, Func, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler

from allocations import staging
from allocations.importing.health import Coverage
from allocations.models import JobRun, RunCharge

TOLERANCE: Final = timedelta(hours=1)
"""How far beyond its limit a run may be, and a tenth of the limit more: half a minute and KillWait are normal."""


class EpochSeconds(Func):
    """The epoch seconds of a stored instant."""

    arity = 1
    output_field = BigIntegerField()

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *_: Any, **__: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        sql, values = compiler.compile(self.source_expressions[0])
        return staging.epoch(sql), tuple(values)


def runaways(coverage: Mapping[int, Coverage]) -> QuerySet[JobRun]:
    """Runs with GPUs that are not finished and either not listed any more or far beyond their limit.

    A run that goes on is in every window, so one that the latest window does not list has ended without a word. That
    can be told only of windows that are known. Adds `is_lost`, and `beyond_seconds`: how long it had run beyond its
    limit when it was last listed (None without a limit). Only unfinished runs are read, by their index.
    """
    lost = Q(pk__in=[])
    for cluster, covers in coverage.items():
        if covers.latest_told is not None:
            lost |= Q(cluster=cluster, as_of__lt=covers.latest_told)
    limit = F("time_limit_minutes") * 60
    beyond = EpochSeconds(F("as_of")) - EpochSeconds(F("start_at")) - limit
    tolerated = int(TOLERANCE.total_seconds())
    going_on = JobRun.objects.unfinished().filter(cluster__in=list(coverage), start_at__isnull=False, gpus__gt=0)
    found = going_on.annotate(
        beyond_seconds=beyond,
        is_lost=Case(When(lost, then=Value(1)), default=Value(0)),
        too_long=10 * F("beyond_seconds") - limit - 10 * tolerated,
    )
    return found.filter(Q(is_lost=1) | Q(too_long__gt=0))


def with_cost(runs: QuerySet[JobRun]) -> QuerySet[JobRun]:
    """Adds `cost_seconds`, what a run has taken so far (GPU-seconds), and `project_code`, who is charged for it."""
    charges = RunCharge.objects.filter(run=OuterRef("pk")).order_by()
    charged = Subquery(charges.values("run").annotate(sum=Sum("seconds")).values("sum"))
    return runs.annotate(
        cost_seconds=Coalesce(charged, 0) + F("unmatched_seconds"),
        project_code=Subquery(charges.order_by("-pk").values("allocation__project__code")[:1]),
    )


def days_back(since: datetime, *, at: datetime) -> int:
    """For how many whole days an export must reach back from `at` to begin at `since` or before."""
    return max(1, -((since - at) // timedelta(days=1)))
