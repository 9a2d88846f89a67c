"""What the machines can give: GPUs in service on a day, and GPU-seconds available between two days.

A `PoolService` holds what is recorded of one pool: dated steps (how many GPUs from a day on) and outages. Its methods
are whole-number arithmetic without a query; `services` reads all pools in three queries.

Days are the accounting days of the pool's cluster, from midnight to midnight in its own zone, so that a day may have 23
or 25 hours. An outage takes its GPUs for its seconds; outages at the same time add up, never past what is in service.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

from centre.amounts import rounded
from centre.models import Capacity, GpuPool, Outage

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)

Gap = tuple[int, int, int]
"""An outage: from epoch second, until epoch second, GPUs."""


@dataclass(frozen=True)
class Share:
    """A part of a whole, both in GPU-seconds; the whole is positive."""

    part: Fraction
    whole: int

    @property
    def bp(self) -> int:
        """The share in basis points, rounded half up to a tenth of a per cent: 9230 is 92.3 %."""
        tenths = self.part * 1_000 / self.whole
        return 10 * rounded(tenths.numerator, tenths.denominator)


@dataclass(frozen=True)
class Step:
    """From this day on, so many GPUs; `before` is how many it was until then."""

    from_on: date
    gpus: int
    before: int = 0
    note: str = ""


@dataclass(frozen=True)
class PoolService:
    """What is recorded of one pool's service: steps in the order of their days, and the outages that were asked for."""

    pool: GpuPool
    steps: tuple[Step, ...]
    gaps: tuple[Gap, ...] = ()

    def gpus_on(self, day: date) -> int:
        """GPUs in service on a day, outages aside; 0 before the first step."""
        return next((step.gpus for step in reversed(self.steps) if step.from_on <= day), 0)

    def planned_after(self, day: date) -> list[Step]:
        """Steps that are still to come."""
        return [step for step in self.steps if step.from_on > day]

    def available_seconds(self, first_on: date, last_on: date) -> int:
        """GPU-seconds that the pool can give from the first day to the last, both included, less outages."""
        zone = self.pool.cluster.zone
        begin, until = midnight(first_on, zone), midnight(last_on + timedelta(days=1), zone)
        steps = [(midnight(step.from_on, zone), step.gpus) for step in self.steps]
        return available_seconds(steps, self.gaps, begin, until)

    def with_step(self, from_on: date, gpus: int | None) -> "PoolService":
        """As it would be with so many GPUs from a day on; None: without the step of that day."""
        days = {step.from_on: (step.gpus, step.note) for step in self.steps if step.from_on != from_on}
        if gpus is not None:
            days[from_on] = (gpus, "")
        steps: list[Step] = []
        for first, (number, note) in sorted(days.items()):
            steps.append(Step(from_on=first, gpus=number, before=steps[-1].gpus if steps else 0, note=note))
        return replace(self, steps=tuple(steps))

    def with_gap(self, starts_at: datetime, ends_at: datetime, gpus: int) -> "PoolService":
        """As it would be with another outage."""
        return replace(self, gaps=(*self.gaps, (epoch_second(starts_at), epoch_second(ends_at), gpus)))

    def without_gap(self, starts_at: datetime, ends_at: datetime, gpus: int) -> "PoolService":
        """As it would be without one of its outages."""
        gaps, gone = list(self.gaps), (epoch_second(starts_at), epoch_second(ends_at), gpus)
        if gone in gaps:
            gaps.remove(gone)
        return replace(self, gaps=tuple(gaps))


def available_seconds(steps: Sequence[tuple[int, int]], gaps: Iterable[Gap], begin: int, until: int) -> int:
    """GPU-seconds between two epoch seconds.

    `steps` are (from epoch second, GPUs) in order; `gaps` are outages. At any moment what is out of service is the sum
    of the outages, at most what is in service.
    """
    gaps = [gap for gap in gaps if gap[0] < until and gap[1] > begin]
    edges = {begin, until}
    edges.update(instant for instant, _ in steps if begin < instant < until)
    edges.update(edge for gap in gaps for edge in gap[:2] if begin < edge < until)
    instants = sorted(edges)
    total = 0
    for start, stop in pairwise(instants):
        in_service = next((gpus for instant, gpus in reversed(steps) if instant <= start), 0)
        out = sum(gpus for gap_begin, gap_until, gpus in gaps if gap_begin <= start and gap_until >= stop)
        total += max(0, in_service - out) * (stop - start)
    return total


def midnight(day: date, zone: ZoneInfo) -> int:
    """The epoch second at which a day begins in a zone."""
    return epoch_second(datetime(day.year, day.month, day.day, tzinfo=zone))


def epoch_second(instant: datetime) -> int:
    """An instant in whole seconds since 1970, without a float in between."""
    return (instant - EPOCH) // SECOND


def services(*, first_on: date, last_on: date) -> list[PoolService]:
    """Every pool with all of its steps, and with the outages that touch these days, ordered by site and code."""
    steps: defaultdict[int, list[Step]] = defaultdict(list)
    for row in Capacity.objects.order_by("pool", "from_on"):
        before = steps[row.pool_id][-1].gpus if steps[row.pool_id] else 0
        steps[row.pool_id].append(Step(from_on=row.from_on, gpus=row.gpus, before=before, note=row.note))
    # A day more on either side, because the days of a cluster's zone are not those of UTC.
    earliest = datetime(first_on.year, first_on.month, first_on.day, tzinfo=UTC) - timedelta(days=1)
    latest = datetime(last_on.year, last_on.month, last_on.day, tzinfo=UTC) + timedelta(days=2)
    gaps: defaultdict[int, list[Gap]] = defaultdict(list)
    for outage in Outage.objects.filter(starts_at__lt=latest, ends_at__gt=earliest):
        gap = (epoch_second(outage.starts_at), epoch_second(outage.ends_at), outage.gpus)
        gaps[outage.pool_id].append(gap)
    pools = GpuPool.objects.select_related("cluster__site").order_by("cluster__site__code", "code")
    return [PoolService(pool=pool, steps=tuple(steps[pool.pk]), gaps=tuple(gaps[pool.pk])) for pool in pools]


def service_of(pool: GpuPool) -> PoolService:
    """One pool with all that is recorded of it; in two queries."""
    steps: list[Step] = []
    for row in Capacity.objects.filter(pool=pool).order_by("from_on"):
        steps.append(Step(from_on=row.from_on, gpus=row.gpus, before=steps[-1].gpus if steps else 0, note=row.note))
    gaps = (
        (epoch_second(outage.starts_at), epoch_second(outage.ends_at), outage.gpus)
        for outage in Outage.objects.filter(pool=pool)
    )
    return PoolService(pool=pool, steps=tuple(steps), gaps=tuple(gaps))
