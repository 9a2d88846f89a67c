"""A mapping that ends: what runs were charged on later days by its name is given back, and waits as unmatched usage.

The books come out as if the mapping had ended so from the start. No other pool can have taken the name on those days
yet, since a name is one pool's on a day; whoever maps it to another pool afterwards has what waits charged there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import transaction
from django.db.models import Q

from allocations import staging
from allocations.models import Allocation, JobRun
from allocations.recharging import RUN_COLUMNS, Matches, Span, recharge, runs_to_charge, should_be_charged
from centre import machines
from centre.models import PoolMapping, User

DAY = timedelta(days=1)


@dataclass(frozen=True)
class LeftOver:
    """What a project would get back: GPU-seconds charged to it for so many runs after the last day."""

    project_code: str
    runs: int
    seconds: int
    closed: bool
    """Whether a part of it lies in a period that is closed, and is settled anew by the period's rule."""


@transaction.atomic
def end_mapping(*, mapping: PoolMapping, until_on: date, reason: str, by: User, at: datetime) -> int:
    """End the mapping with that day and recharge the runs of the days after it.

    Returns the GPU-seconds given back. The same again changes nothing. Raises MappingEnded (of `centre.machines`).
    """
    cluster = mapping.cluster
    staging.lock_cluster(cluster.pk)
    machines.end_mapping(mapping=mapping, until_on=until_on, reason=reason, by=by, at=at)
    with runs_by_name(mapping, after=until_on):
        reference = f"end-of-mapping-{mapping.pk}-{at:%Y%m%dT%H%M%S%f}"
        return -recharge(cluster=cluster, source_reference=reference, at=at)


def left_over(*, mapping: PoolMapping, until_on: date) -> list[LeftOver]:
    """What would become unmatched if the mapping ended with that day, the project with the most first.

    Worked out from the runs as `end_mapping` would; nothing is locked or written.
    """
    only = OnlyThisMapping(mapping, after=until_on)
    runs: dict[int, set[int]] = {}
    seconds: dict[int, int] = {}
    with staging.without_locks(), runs_by_name(mapping, after=until_on):
        bounds = staging.rows("SELECT MIN(run_id), MAX(run_id) FROM changed_run")[0]
        for chunk in staging.rows_in_chunks(runs_to_charge(), bounds):
            for run, allocation, _day, charged in should_be_charged(chunk, only, mapping.cluster.zone):
                if allocation is not None:
                    runs.setdefault(allocation, set()).add(run)
                    seconds[allocation] = seconds.get(allocation, 0) + charged
    found: dict[str, LeftOver] = {}
    runs_of: dict[str, set[int]] = {}
    rows = Allocation.objects.filter(pk__in=runs.keys()).values_list("pk", "project__code", "state")
    for allocation, code, state in rows:
        known = found.get(code, LeftOver(code, 0, 0, False))
        runs_of.setdefault(code, set()).update(runs[allocation])
        found[code] = LeftOver(
            project_code=code,
            runs=len(runs_of[code]),
            seconds=known.seconds + seconds[allocation],
            closed=known.closed or state == Allocation.State.CLOSED,
        )
    return sorted(found.values(), key=lambda each: (-each.seconds, each.project_code))


class OnlyThisMapping(Matches):
    """Which allocation takes GPU time by this one mapping on the days that it would lose."""

    def __init__(self, mapping: PoolMapping, *, after: date) -> None:
        super().__init__(mapping.cluster)
        lost = Span(max(after + DAY, mapping.from_on), mapping.until_on, mapping.pool_id)
        self._pools = {(str(mapping.kind), mapping.name): [lost]}


@contextmanager
def runs_by_name(mapping: PoolMapping, *, after: date) -> Iterator[None]:
    """The temporary table `changed_run` with every run that the name may have matched on a later day."""
    cluster, first = mapping.cluster, after + DAY
    begin = datetime(first.year, first.month, first.day, tzinfo=cluster.zone).astimezone(UTC)
    named = Q(alloc_tres__contains=mapping.name) if mapping.kind == PoolMapping.Kind.TRES else Q(partition=mapping.name)
    touched = JobRun.objects.filter(
        named, Q(end_at__isnull=True) | Q(end_at__gte=begin), cluster=cluster, gpus__gt=0, start_at__isnull=False
    ).order_by()
    with staging.temporary_table("changed_run", RUN_COLUMNS):
        for chunk in staging.in_chunks(touched.values_list("pk").iterator(chunk_size=staging.CHUNK)):
            staging.fill("changed_run", ("run_id",), chunk)
        yield
