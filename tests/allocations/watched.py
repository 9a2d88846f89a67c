"""Allocations that the desk shows to keep an eye on: overdrawn, ending, idle; for its tests."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from allocations.models import Allocation, UsageImport
from centre.models import Cluster
from tests import make

DAY = timedelta(days=1)


def told(cluster: Cluster, *runs: make.Run, days: int = 90, as_of: datetime | None = None) -> UsageImport:
    """An export of the last `days`, as the collector hands it over."""
    as_of = as_of or timezone.now().replace(microsecond=0)
    return make.imported(*runs, cluster=cluster, as_of=as_of, covers_from=as_of - days * DAY)


def run_of(allocation: Allocation, *, days_ago: int, hours: int = 1) -> make.Run:
    return make.run(allocation=allocation, start_at=timezone.now() - days_ago * DAY, hours=hours)


def overdrawn(*, by: int, reference: str = "", **fields: Any) -> tuple[Allocation, make.Run]:
    """An allocation, and the run that overdraws it by so many GPU-hours."""
    allocation = make.allocation(hours=1, reference=reference, **fields)
    return allocation, run_of(allocation, days_ago=8, hours=by + 1)


def ending(*, days: int, **fields: Any) -> Allocation:
    """An allocation whose last day is so many days from today, 0 for today."""
    return make.allocation(end_on=make.today() + days * DAY, **fields)


def some_of_each(number: int) -> None:
    """So many overdrawn, ending and idle allocations on clusters of one each, the books complete."""
    for _ in range(number):
        pool = make.pool()
        _allocation, run = overdrawn(by=2, pool=pool)
        soon = ending(days=9, pool=pool)
        make.allocation(pool=pool)
        told(pool.cluster, run, run_of(soon, days_ago=2))
