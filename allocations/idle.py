"""Allocations that lie idle: open for more than 30 days, with hours left, and without any use in the last 30.

That can be said only where the books are complete: somebody whose usage has merely not come in yet is not idle. So a
cluster counts while its usage is not late and no window of those days is missing. Days are those of its time zone.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Final

from django.db.models import Exists, F, OuterRef, Q

from allocations.importing.health import Coverage, coverage_of_clusters
from allocations.importing.standing import LATE_AFTER
from allocations.models import Allocation, DailyUsage
from allocations.models.allocation import AllocationQuerySet
from centre.models import Cluster

IDLE_DAYS: Final = 30


def idle(rows: AllocationQuerySet, *, books: Mapping[Cluster, Coverage], at: datetime) -> AllocationQuerySet:
    """Those of the rows that lie idle. No query of its own; each open allocation is looked up in the daily usage."""
    counted = Q(pk__in=[])
    for cluster, covers in books.items():
        first_on = idle_since(cluster, covers, at=at)
        if first_on is not None:
            today = at.astimezone(cluster.zone).date()
            used = DailyUsage.objects.filter(allocation=OuterRef("pk"), day__gte=first_on, seconds__gt=0)
            counted |= Q(pool__cluster=cluster, start_on__lte=first_on, end_on__gte=today) & ~Q(Exists(used))
    taken = F("used_seconds") + F("held_seconds")
    return rows.filter(counted, state=Allocation.State.OPEN, granted_seconds__gt=taken)


def idle_since(cluster: Cluster, covers: Coverage, *, at: datetime) -> date | None:
    """The first of the last 30 days that a cluster's books cover whole; None where they do not, or end too early."""
    if at - covers.latest > LATE_AFTER:
        return None
    first_on = covers.latest.astimezone(cluster.zone).date() - timedelta(days=IDLE_DAYS)
    begins = datetime.combine(first_on, time.min, tzinfo=cluster.zone)
    return first_on if covers.complete_until(since=begins) >= covers.latest else None


def books_at(at: datetime) -> dict[Cluster, Coverage]:
    """What the exports of the last days cover, far enough back to find idle allocations. Two queries."""
    coverage = coverage_of_clusters(since=at - timedelta(days=2 * IDLE_DAYS))
    clusters = Cluster.objects.in_bulk(coverage)
    return {clusters[number]: covers for number, covers in coverage.items()}
