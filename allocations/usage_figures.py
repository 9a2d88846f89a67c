"""A project's GPU time over some days: by step, by member, by pool and allocation, by how the runs ended.

Everything is summed by the database from the daily rollup, never from runs; what is given back is not taken off.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

from django.db.models import QuerySet, Sum
from django.db.models.functions import TruncDay, TruncMonth, TruncWeek

from allocations.models import Allocation, DailyUsage, RunRefund
from allocations.models.usage import Outcome
from allocations.usage_filters import Step, UsageForm, buckets
from centre.exports import ROWS_AT_A_TIME
from centre.models import ClusterUser

WASTED = (Outcome.FAILED, Outcome.CANCELLED, Outcome.TIMED_OUT, Outcome.INTERRUPTED, Outcome.OTHER)
TRUNCATED = {Step.DAY: TruncDay, Step.WEEK: TruncWeek, Step.MONTH: TruncMonth}


@dataclass(frozen=True)
class UserName:
    """A user name on a cluster, and whose it is; `person` is "" while nobody has claimed it."""

    cluster: int
    name: str
    person: str

    @property
    def is_claimed(self) -> bool:
        return bool(self.person)


@dataclass(frozen=True)
class Usage:
    """The figures of one page, in GPU-seconds."""

    form: UsageForm
    per_user: dict[UserName, int]  # of all members, whichever was asked for
    cells: dict[tuple[date, int, Outcome], int]  # first day of the step, allocation, how runs ended
    refunded: int | None  # None: not known for what was asked

    @cached_property
    def steps(self) -> list[tuple[date, date]]:
        return buckets(self.form.first, self.form.last, self.form.step)

    @cached_property
    def total(self) -> int:
        return sum(self.cells.values())

    @cached_property
    def per_outcome(self) -> dict[Outcome, int]:
        """In the order of `Outcome`; those without time are left out."""
        sums: defaultdict[Outcome, int] = defaultdict(int)
        for (_day, _allocation, outcome), seconds in self.cells.items():
            sums[outcome] += seconds
        return {outcome: sums[outcome] for outcome in Outcome if sums[outcome]}

    @cached_property
    def per_allocation(self) -> dict[Allocation, int]:
        """By pool, then reference; those without time are left out."""
        sums: defaultdict[int, int] = defaultdict(int)
        for (_day, allocation, _outcome), seconds in self.cells.items():
            sums[allocation] += seconds
        rows = sorted(self.form.allocations, key=lambda row: (row.pool.code, row.reference))
        return {row: sums[row.pk] for row in rows if sums[row.pk]}

    @cached_property
    def per_member(self) -> dict[UserName, int]:
        """Those that were asked for and have time, who used most first."""
        asked = self.form.member
        found = {user: seconds for user, seconds in self.per_user.items() if asked in {"", user.name} and seconds}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0].person, item[0].name)))

    @property
    def wasted(self) -> int:
        """Time of runs that ended without completing."""
        return sum(self.per_outcome.get(outcome, 0) for outcome in WASTED)

    @property
    def as_of(self) -> datetime | None:
        """How far the books reach: the oldest import of the clusters that are told of."""
        rows = list(self.per_allocation) or self.form.where
        return min((row.books_as_of for row in rows if row.books_as_of), default=None)


def allocations_of(project: Any) -> list[Allocation]:
    """Every allocation of a project with its pool and `books_as_of`, the latest first; one query."""
    rows = Allocation.objects.filter(project=project).with_as_of().select_related("pool__cluster__site")
    return list(rows.order_by("-end_on", "-start_on", "reference"))


def usage_of(form: UsageForm) -> Usage:
    """The figures that a valid form asks for, and its members named; four queries."""
    rows = asked_rows(form)
    per_user = members_of(rows)
    offered = {user.name: f"{user.person} ({user.name})" if user.person else user.name for user in per_user}
    offered.pop("", None)
    form.name_members(sorted(offered.items(), key=lambda item: item[1].casefold()))
    if form.member:
        rows = rows.filter(user_name=form.member)
    start = TRUNCATED[form.step]("day")
    sums = rows.annotate(start=start).values_list("start", "allocation", "outcome").annotate(sum=Sum("seconds"))
    cells = {(max(day, form.first), number, Outcome(outcome)): seconds for day, number, outcome, seconds in sums}
    return Usage(form=form, per_user=per_user, cells=cells, refunded=refunded_of(form))


def asked_rows(form: UsageForm) -> QuerySet[DailyUsage]:
    """The rollup's rows of the days, allocations and ends that were asked for, of every member."""
    rows = DailyUsage.objects.filter(allocation__in=form.where, day__gte=form.first, day__lte=form.last).order_by()
    return rows.filter(outcome=form.outcome) if form.outcome else rows


def members_of(rows: QuerySet[DailyUsage]) -> dict[UserName, int]:
    """GPU-seconds by user name. One name that is the same person's on several clusters is told once. Two queries."""
    sums = list(rows.values_list("allocation__pool__cluster", "user_name").annotate(sum=Sum("seconds")))
    owners = owners_of({cluster for cluster, *_rest in sums}, {name for _cluster, name, _sum in sums})
    together: defaultdict[tuple[int, str], int] = defaultdict(int)
    told: dict[tuple[int, str], UserName] = {}
    for cluster, name, seconds in sorted(sums):
        number, person = owners.get((cluster, name), (0, ""))
        told.setdefault((number, name), UserName(cluster, name, person))
        together[number, name] += seconds
    return {told[key]: seconds for key, seconds in together.items()}


def owners_of(clusters: set[int], names: set[str]) -> dict[tuple[int, str], tuple[int, str]]:
    """(cluster, user name) -> (number, name) of the person whose it is."""
    claimed = ClusterUser.objects.filter(cluster__in=clusters, name__in=names).select_related("user")
    return {(row.cluster_id, row.name): (row.user_id, row.user.get_full_name()) for row in claimed}


def refunded_of(form: UsageForm) -> int | None:
    """What was given back for runs on these days; it is not told apart by member or end."""
    if form.member or form.outcome:
        return None
    rows = RunRefund.objects.filter(allocation__in=form.where, day__gte=form.first, day__lte=form.last)
    return int(rows.aggregate(sum=Sum("seconds"))["sum"] or 0)


Line = tuple[date, str, str, str, str, str, int]


def lines_of(form: UsageForm) -> Iterator[Line]:
    """Step, person, user name, pool, allocation, end and GPU-seconds, for the file; lines of 0 are left out."""
    rows = asked_rows(form)
    if form.member:
        rows = rows.filter(user_name=form.member)
    clusters = {row.pool.cluster_id for row in form.allocations}
    names = set(rows.values_list("user_name", flat=True).distinct())
    owners = owners_of(clusters, names)
    by_number = {row.pk: row for row in form.where}
    start = TRUNCATED[form.step]("day")
    sums = rows.annotate(start=start).values_list("start", "user_name", "allocation", "outcome")
    found: Any = sums.annotate(sum=Sum("seconds")).order_by("start", "user_name", "allocation__reference", "outcome")
    for day, name, number, outcome, seconds in found.iterator(chunk_size=ROWS_AT_A_TIME):
        if seconds:
            row = by_number[number]
            person = owners.get((row.pool.cluster_id, name), (0, ""))[1]
            yield max(day, form.first), person, name, row.pool.code, row.reference, outcome, seconds
