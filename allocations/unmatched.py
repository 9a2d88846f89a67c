"""Usage without an allocation: whose runs wait, since when, why, and what would take them.

The runs are added up in SQL, per account and what its GPUs go by, and an account at a time is looked at for reasons, so
that a page takes the same number of queries whether three runs wait or a hundred thousand.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Coalesce, Greatest

from allocations.charging import billable_span, gpu_parts, split_by_day
from allocations.models import Allocation, DrawingAccount, JobRun
from allocations.slurm.records import is_waiting
from centre.models import Cluster, GpuPool, PoolMapping, Project

Kind = PoolMapping.Kind
ONE_DAY = timedelta(days=1)
ONE_SECOND = timedelta(seconds=1)
RUNS_AT_A_TIME = 5_000


class Days(NamedTuple):
    """From a day to a day, both included."""

    first: date
    last: date


class Name(NamedTuple):
    """What GPUs go by: a typed name (`gres/gpu:h800`), or for untyped ones the partition."""

    kind: str
    name: str


class Taker(NamedTuple):
    """An allocation that takes the account's time on a pool, by its name or because the account draws on it."""

    days: Days
    reference: str


@dataclass(frozen=True)
class Way:
    """Days of an account on a pool that an allocation could take: from the first one that waits.

    `until_on` is the last day before an allocation takes the account again; None: nothing follows. `others` take it on
    other days. `project` is the number of the project whose account it seems to be; None: nobody's that is known.
    """

    pool: GpuPool
    from_on: date
    until_on: date | None
    others: Sequence[Taker]
    project: int | None


@dataclass
class Waiting:
    """What waits of one account on GPUs that go by the same names. `seconds` are GPU-seconds."""

    cluster: Cluster
    account: str
    names: tuple[Name, ...]
    runs: int = 0
    seconds: int = 0
    begin: datetime | None = None
    until: datetime | None = None
    by_user: Counter[str] = field(default_factory=Counter)
    days: Days | None = None
    ways: list[Way] = field(default_factory=list)
    without_pool: list[Name] = field(default_factory=list)

    def add(self, *, runs: int, seconds: int, begin: datetime, until: datetime, user: str) -> None:
        self.runs += runs
        self.seconds += seconds
        self.begin = min(begin, self.begin or begin)
        self.until = max(until, self.until or until)
        self.by_user[user] += seconds

    def join(self, other: "Waiting") -> None:
        """Add what waits of the same account on the same pools."""
        self.runs += other.runs
        self.seconds += other.seconds
        self.by_user += other.by_user
        if self.days and other.days:
            self.days = Days(min(self.days.first, other.days.first), max(self.days.last, other.days.last))
        self.ways = [min(ways, key=lambda way: way.from_on) for ways in zip(self.ways, other.ways, strict=True)]


class AccountSum(NamedTuple):
    """How many runs of an account wait, and their GPU-seconds."""

    cluster: int
    account: str
    runs: int
    seconds: int


def accounts_waiting(*, search: str = "", cluster: Cluster | None = None) -> list[AccountSum]:
    """The accounts whose runs wait, those with the most GPU time first; one query, which looks at every run once."""
    runs = JobRun.objects.unmatched().filter(**({"cluster": cluster} if cluster else {}))
    if search:
        runs = runs.filter(account__icontains=search)
    sums = runs.order_by().values_list("cluster_id", "account").annotate(Count("pk"), models.Sum("unmatched_seconds"))
    return sorted((AccountSum(*row) for row in sums), key=lambda row: (-row.seconds, row.cluster, row.account))


def lines_of(accounts: Iterable[tuple[int, str]]) -> list[Waiting]:
    """What waits of these accounts, in their order, with the days and the ways out. Six queries."""
    order = {account: place for place, account in enumerate(accounts)}
    if not order:
        return []
    clusters = Cluster.objects.in_bulk({cluster for cluster, _account in order})
    lines = list(_added_up(order, clusters).values())
    covers = _Covers(clusters, {account for _cluster, account in order})
    for line in lines:
        covers.tell(line)
    return sorted(joined(lines), key=lambda line: (order[line.cluster.pk, line.account], -line.seconds, line.names))


def joined(lines: Iterable[Waiting]) -> list[Waiting]:
    """Lines of an account on the same pools as one, whatever its GPUs go by: typed here, untyped there."""
    kept: dict[Any, Waiting] = {}
    for line in lines:
        key = line.cluster.pk, line.account, tuple(way.pool.pk for way in line.ways), tuple(line.without_pool)
        if key in kept:
            kept[key].join(line)
        else:
            kept[key] = line
    return list(kept.values())


def _added_up(
    accounts: Iterable[tuple[int, str]], clusters: dict[int, Cluster]
) -> dict[tuple[int, str, tuple[Name, ...]], Waiting]:
    wanted = set(accounts)
    runs = JobRun.objects.unmatched().filter(
        cluster__in=clusters.keys(), account__in={account for _cluster, account in wanted}
    )
    sums = (
        runs.order_by()
        .values_list("cluster_id", "account", "partition", "alloc_tres", "user_name")
        .annotate(
            number=Count("pk"),
            seconds=models.Sum("unmatched_seconds"),
            begin=Min(Greatest("start_at", "submit_at")),
            until=Max(Coalesce("end_at", "as_of")),
        )
    )
    lines: dict[tuple[int, str, tuple[Name, ...]], Waiting] = {}
    for cluster, account, partition, alloc_tres, user, number, seconds, begin, until in sums.iterator():
        if (cluster, account) in wanted:
            key = cluster, account, names_of(alloc_tres, partition)
            line = lines.setdefault(key, Waiting(clusters[cluster], account, key[2]))
            line.add(runs=number, seconds=seconds, begin=begin, until=until, user=user)
    return lines


def names_of(alloc_tres: str, partition: str) -> tuple[Name, ...]:
    """What the GPUs of a run go by when a pool is looked for."""
    return tuple(
        Name(Kind.TRES.value, gres) if gres else Name(Kind.PARTITION.value, partition)
        for gres, _gpus in gpu_parts(alloc_tres)
    )


class _Covers:
    """Which pool takes which GPUs, and which allocation which account, by day; read once for a page."""

    def __init__(self, clusters: dict[int, Cluster], accounts: set[str]) -> None:
        self._mapped: defaultdict[tuple[int, Name], list[tuple[Days, GpuPool]]] = defaultdict(list)
        self._takers: defaultdict[tuple[int, str], list[Taker]] = defaultdict(list)
        self._projects: dict[str, int] = dict(Project.objects.filter(code__in=accounts).values_list("code", "pk"))
        mappings = PoolMapping.objects.filter(cluster__in=clusters.keys()).select_related("pool")
        for mapping in mappings.order_by("from_on"):
            days = Days(mapping.from_on, mapping.until_on or date.max)
            self._mapped[mapping.cluster_id, Name(mapping.kind, mapping.name)].append((days, mapping.pool))
        named = Allocation.objects.not_void().filter(pool__cluster__in=clusters.keys(), account__in=accounts)
        for pool, account, first, last, reference, project in named.order_by("start_on").values_list(
            "pool_id", "account", "start_on", "end_on", "reference", "project_id"
        ):
            self._takers[pool, account].append(Taker(Days(first, last), reference))
            self._projects[account] = project
        drawing = DrawingAccount.objects.standing().filter(pool__cluster__in=clusters.keys(), account__in=accounts)
        for pool, account, first, last, reference in drawing.values_list(
            "pool_id", "account", "from_on", "until_on", "allocation__reference"
        ):
            self._takers[pool, account].append(Taker(Days(first, last), reference))

    def tell(self, line: Waiting) -> None:
        """Say of a line on which days it waits, for which pools, and which names no pool takes.

        A run that waits is not covered on one of its own days, and it took GPUs on each of them: so the first day that
        is not covered, of the days of all runs, is one on which something waits; and so is the last.
        """
        if line.begin is None or line.until is None:
            return
        zone = line.cluster.zone
        ran = Days(line.begin.astimezone(zone).date(), (line.until - ONE_SECOND).astimezone(zone).date())
        waits: list[Days] = []
        for name in line.names:
            mapped = self._mapped[line.cluster.pk, name]
            nobodys = without([ran], [days for days, _pool in mapped])
            if nobodys:
                line.without_pool.append(name)
                waits += nobodys
            for days, pool in mapped:
                takers = self._takers[pool.pk, line.account]
                left = without(shared([ran], days), [taker.days for taker in takers])
                waits += left
                if left and pool not in [way.pool for way in line.ways]:
                    line.ways.append(self._way(line, pool, left[0].first, takers))
        line.days = Days(min(days.first for days in waits), max(days.last for days in waits)) if waits else ran

    def _way(self, line: Waiting, pool: GpuPool, from_on: date, takers: list[Taker]) -> Way:
        following = [taker.days.first for taker in takers if taker.days.first > from_on]
        return Way(
            pool=pool,
            from_on=from_on,
            until_on=min(following) - ONE_DAY if following else None,
            others=sorted(takers),
            project=self._projects.get(line.account),
        )


def shared(days: Iterable[Days], within: Days) -> list[Days]:
    """The parts of these days that lie within others."""
    parts = (Days(max(each.first, within.first), min(each.last, within.last)) for each in days)
    return [part for part in parts if part.first <= part.last]


def without(days: Sequence[Days], taken: Iterable[Days]) -> list[Days]:
    """What is left of these days when others are taken out, in order."""
    left = list(days)
    for out in taken:
        parts: list[Days] = []
        for each in left:
            if out.last < each.first or each.last < out.first:
                parts.append(each)
                continue
            if each.first < out.first:
                parts.append(Days(each.first, out.first - ONE_DAY))
            if out.last < each.last:
                parts.append(Days(out.last + ONE_DAY, each.last))
        left = parts
    return sorted(left)


def would_be_charged(*, pool: GpuPool, account: str, first: date, last: date) -> tuple[int, int]:
    """(runs, GPU-seconds) that wait on a pool on these days, for an allocation that would take them. Reads, no more."""
    taken: defaultdict[Name, list[Days]] = defaultdict(list)
    for kind, name, from_on, until_on in PoolMapping.objects.filter(pool=pool).values_list(
        "kind", "name", "from_on", "until_on"
    ):
        taken[Name(kind, name)] += shared([Days(first, last)], Days(from_on, until_on or date.max))
    number = total = 0
    for seconds in _seconds_by_run(_runs_in(pool.cluster, account, first, last), taken, pool.cluster.zone):
        number += bool(seconds)
        total += seconds
    return number, total


def _runs_in(cluster: Cluster, account: str, first: date, last: date) -> Iterator[tuple[Any, ...]]:
    begin = datetime(first.year, first.month, first.day, tzinfo=cluster.zone).astimezone(UTC)
    until = datetime(last.year, last.month, last.day, tzinfo=cluster.zone).astimezone(UTC) + 2 * ONE_DAY
    runs = JobRun.objects.unmatched().filter(
        Q(end_at=None) | Q(end_at__gte=begin), cluster=cluster, account=account, start_at__lt=until
    )
    columns = ("partition", "alloc_tres", "state", "submit_at", "start_at", "end_at", "as_of")
    return runs.order_by().values_list(*columns).iterator(chunk_size=RUNS_AT_A_TIME)


def _seconds_by_run(runs: Iterable[tuple[Any, ...]], taken: dict[Name, list[Days]], zone: ZoneInfo) -> Iterator[int]:
    for partition, alloc_tres, state, *instants in runs:
        submit, start, end, as_of = (instant and int(instant.timestamp()) for instant in instants)
        span = billable_span(submit=submit, start=start, end=end, as_of=as_of, pending=is_waiting(state))
        if span is None:
            continue
        numbers = [gpus for _gres, gpus in gpu_parts(alloc_tres)]
        parts = [
            (taken.get(name, ()), gpus) for name, gpus in zip(names_of(alloc_tres, partition), numbers, strict=True)
        ]
        yield sum(
            gpus * seconds
            for day, seconds in split_by_day(*span, zone)
            for spans, gpus in parts
            if any(days.first <= day <= days.last for days in spans)
        )
