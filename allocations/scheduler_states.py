"""The state of every Slurm account on every GPU pool, for whoever sets the scheduler. See allocations.scheduling."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from allocations.models import Allocation, DrawingAccount
from allocations.quota import day_today
from allocations.scheduling import scheduling_of
from centre.models import Centre, Cluster
from centre.models.facility import WhenUsedUp


class UnknownCluster(Exception):
    """No cluster has this code."""


class Row(NamedTuple):
    """One Slurm account on one pool; `reason` is a word of `scheduling.Why`."""

    cluster: str
    pool: str
    account: str
    state: str
    reason: str
    left_gpu_seconds: int


@dataclass(frozen=True)
class Span:
    """Days on which an account draws on an allocation."""

    allocation: Allocation
    account: str
    first_on: date
    last_on: date

    def nearness(self, day: date) -> tuple[int, int]:
        """What counts on a day: the span that covers it, else the next one to begin, else the last one to have ended.

        The least is the nearest. No two cover one day: the database refuses it.
        """
        if self.first_on > day:
            return 1, (self.first_on - day).days
        if self.last_on < day:
            return 2, (day - self.last_on).days
        return 0, 0


def scheduler_states(*, at: datetime, cluster: str | None = None) -> list[Row]:
    """Every account that ever drew on a pool, as it stands at an instant, by cluster, pool and account.

    Three queries, four with a cluster. Raises UnknownCluster.
    """
    if cluster is not None and not Cluster.objects.filter(code=cluster).exists():
        raise UnknownCluster(cluster)
    centre = Centre.objects.first()
    when_used_up = centre.when_used_up if centre else WhenUsedUp.SLOWED
    nearest: dict[tuple[str, str, str], Span] = {}
    for span in spans(cluster):
        pool = span.allocation.pool
        key = (pool.cluster.code, pool.code, span.account)
        day = day_today(pool, at)
        if key not in nearest or span.nearness(day) < nearest[key].nearness(day):
            nearest[key] = span
    return [
        Row(*key, *state_of(span, at=at, when_used_up=when_used_up), span.allocation.available_seconds)
        for key, span in sorted(nearest.items())
    ]


def spans(cluster: str | None) -> Iterator[Span]:
    """What every allocation that is not void covers, by its own name and by further accounts."""
    allocations = Allocation.objects.not_void().select_related("project__tenant", "pool__cluster")
    further = DrawingAccount.objects.standing().select_related(
        "allocation__project__tenant", "allocation__pool__cluster"
    )
    if cluster is not None:
        allocations = allocations.filter(pool__cluster__code=cluster)
        further = further.filter(pool__cluster__code=cluster)
    for row in allocations.order_by("pk"):
        yield Span(row, row.account, row.start_on, row.end_on)
    for drawing in further.order_by("pk"):
        row = drawing.allocation
        yield Span(row, drawing.account, max(drawing.from_on, row.start_on), min(drawing.until_on, row.end_on))


def state_of(span: Span, *, at: datetime, when_used_up: str) -> tuple[str, str]:
    """The state and the reason, as the words that are kept for them."""
    told = scheduling_of(
        span.allocation,
        on=day_today(span.allocation.pool, at),
        when_used_up=when_used_up,
        first_on=span.first_on,
        last_on=span.last_on,
    )
    return str(told.state.value), str(told.why.value)
