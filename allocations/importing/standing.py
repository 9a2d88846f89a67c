"""How the imports of each cluster stand: the last good one and its age, what failed since, whether anybody works.

What the desk and the page of import health tell; a constant number of queries for any number of clusters and imports.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Exists, F, OuterRef, Q, Subquery, Sum, Window
from django.db.models.functions import Coalesce, RowNumber
from django.utils import timezone

from allocations.importing.health import Coverage, coverage_of_clusters
from allocations.models import JobRun, UsageImport
from centre.models import Capacity, Cluster

LATE_AFTER: Final = timedelta(hours=36)
"""The age of the latest usage at which somebody should look: a collector that runs every night has missed one."""
NO_WORKER_AFTER: Final = timedelta(minutes=10)
"""How long a file may lie before it is said that nobody works on the queue."""
LOOKED_BACK: Final = timedelta(days=400)
"""How far back missing windows are looked for: the period of an allocation, a year as a rule, and a month more."""
SHOWN_FAILURES: Final = 3  # of a cluster, the latest

State = UsageImport.State


@dataclass(frozen=True)
class ClusterStanding:
    """How the imports of one cluster stand at an instant."""

    cluster: Cluster
    in_service: bool
    """Whether GPUs are in service there."""
    latest: UsageImport | None
    """The good import with the latest usage."""
    coverage: Coverage | None
    """Of the exports of the last 400 days (LOOKED_BACK)."""
    waiting: int
    running: int
    failed: int
    """Imports that failed, with no good one received after them."""
    failures: tuple[UsageImport, ...]
    """The last few of those."""
    at: datetime

    @property
    def as_of(self) -> datetime | None:
        return self.latest.as_of if self.latest is not None else None

    @property
    def is_never(self) -> bool:
        """GPUs are in service, and no usage has ever come in."""
        return self.in_service and self.as_of is None

    @property
    def is_late(self) -> bool:
        """The latest usage of GPUs in service is older than LATE_AFTER."""
        return self.in_service and self.as_of is not None and self.at - self.as_of > LATE_AFTER

    @property
    def untold_since(self) -> bool:
        """The windows of the last imports were not told, although some were: nobody can tell gaps since."""
        told = self.coverage.latest_told if self.coverage is not None else None
        return self.coverage is not None and (told is None or told < self.coverage.latest)


@dataclass(frozen=True)
class Queue:
    """The imports that are not finished, over all clusters."""

    waiting: Counter[int]
    running: Counter[int]
    unattended_since: datetime | None
    """Since when something lies there that nobody takes up; None: all is well."""


def standings(*, at: datetime) -> tuple[list[ClusterStanding], Queue]:
    """Every cluster with GPUs in service or with imports, and the queue. Five queries, one less where nothing is."""
    clusters = list(clusters_that_count(at=at))
    latest = UsageImport.objects.in_bulk(cluster.latest_import for cluster in clusters if cluster.latest_import)
    coverage, queue, failures = coverage_of_clusters(since=at - LOOKED_BACK), queue_at(at), failures_since()
    found = []
    for cluster in clusters:
        failed = failures[cluster.pk]
        found.append(
            ClusterStanding(
                cluster=cluster,
                in_service=cluster.is_in_service,
                latest=latest.get(cluster.latest_import),
                coverage=coverage.get(cluster.pk),
                waiting=queue.waiting[cluster.pk],
                running=queue.running[cluster.pk],
                failed=failed[0].in_all if failed else 0,
                failures=tuple(failed),
                at=at,
            )
        )
    return found, queue


def clusters_that_count(*, at: datetime) -> Any:
    """Clusters with GPUs in service today or with imports, each with `is_in_service` and `latest_import`."""
    today = timezone.localdate(at)
    later = Capacity.objects.filter(pool=OuterRef("pool"), from_on__lte=today, from_on__gt=OuterRef("from_on"))
    in_service = Capacity.objects.filter(~Exists(later), pool__cluster=OuterRef("pk"), from_on__lte=today, gpus__gt=0)
    done = UsageImport.objects.of_exports().filter(cluster=OuterRef("pk"), state=State.DONE, as_of__isnull=False)
    found = Cluster.objects.annotate(
        is_in_service=Exists(in_service),
        latest_import=Subquery(done.order_by("-as_of", "-pk").values("pk")[:1]),
        has_imports=Exists(UsageImport.objects.filter(cluster=OuterRef("pk"))),
    )
    return found.filter(Q(is_in_service=True) | Q(has_imports=True)).order_by("code")


def queue_at(at: datetime) -> Queue:
    """What waits and runs. One query, over the index of what is unfinished."""
    waiting: Counter[int] = Counter()
    running: Counter[int] = Counter()
    unattended: list[datetime] = []
    somebody_works = False
    rows = UsageImport.objects.unfinished().order_by()
    for row in rows.only("cluster_id", "state", "phase", "received_at", "try_again_at", "lease_until"):
        if row.state == State.RUNNING:
            running[row.cluster_id] += 1
            # While an import merges, its row is locked and its lease cannot be renewed.
            if row.phase == UsageImport.Phase.MERGING or (row.lease_until is not None and row.lease_until > at):
                somebody_works = True
            elif row.lease_until is not None:
                unattended.append(row.lease_until)
        else:
            waiting[row.cluster_id] += 1
            unattended.append(max(row.received_at, row.try_again_at or row.received_at))
    since = min(unattended, default=at)
    is_unattended = not somebody_works and at - since > NO_WORKER_AFTER
    return Queue(waiting, running, since if is_unattended else None)


def failures_since() -> defaultdict[int, list[Any]]:
    """By cluster the last imports that failed after its last good one; each with `in_all`, how many there are."""
    later = UsageImport.objects.of_exports().filter(
        cluster=OuterRef("cluster"), state=State.DONE, pk__gt=OuterRef("pk")
    )
    failed = UsageImport.objects.filter(~Exists(later), state=State.FAILED).annotate(
        in_all=Window(Count("pk"), partition_by="cluster"),
        place=Window(RowNumber(), partition_by="cluster", order_by=F("pk").desc()),
    )
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for row in failed.filter(place__lte=SHOWN_FAILURES).order_by("cluster", "-pk"):
        found[row.cluster_id].append(row)
    return found


def unmatched_usage() -> tuple[int, int]:
    """How many runs wait for an allocation, and their GPU-seconds. One query, over the index of such runs."""
    found = JobRun.objects.unmatched().aggregate(runs=Count("pk"), seconds=Coalesce(Sum("unmatched_seconds"), 0))
    return found["runs"], found["seconds"]
