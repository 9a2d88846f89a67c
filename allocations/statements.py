"""What a statement says: the movements of GPU time of one project and month that no earlier statement told of.

A statement tells of the ledger entries of the project's allocations with a number up to its last entry whose day is at
most the month's last, less those that the statement before told of in this way. So each entry is told of exactly once:
in its own month, or, recorded later, in the next statement, as an adjustment for an earlier day.

Numbers are a safe mark because entries are added to an allocation while its row is locked, and draw their numbers then
(see allocations.posting): who holds the locks (allocations.issuing) has seen every number up to the greatest.

The content is data, not prose: whole GPU-seconds, cents, days, references. What is issued is kept as text.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import BigIntegerField, CharField, F, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Cast, Coalesce

from allocations import statement_money
from allocations.models import Allocation, DailyUsage, LedgerEntry, RunCharge, RunRefund, Statement
from allocations.statement_money import Valued, price_of_day
from centre.models import ClusterUser, Project

VERSION = 1
Kind = LedgerEntry.Kind
TOTALS = ("granted", "used", "held")
Content = dict[str, Any]
Line = dict[str, Any]


@dataclass(frozen=True)
class Extent:
    """The entries that are told of once a statement is out: by their day and, unless None, by their number."""

    last_on: date
    last_entry: int | None = None

    def told(self, day: str = "effective_on", number: str = "pk") -> Q:
        """The condition on an entry, or on rows that name its day and number in other fields."""
        by_then = Q(**{f"{day}__lte": self.last_on})
        return by_then if self.last_entry is None else by_then & Q(**{f"{number}__lte": self.last_entry})


NOTHING_TOLD = Extent(date.min, 0)


@dataclass(frozen=True)
class Asked:
    """Which statement: of a project and month (its first day), up to an extent, after what was told `before`.

    `previous` is the statement issued last, None where there is none; it is the month before, or months without any
    movement or statement lie between, or provisional ones do.
    """

    project: Project
    month: date
    until: Extent
    before: Extent
    previous: Statement | None = None

    @property
    def follows_issued(self) -> bool:
        """What was told before is what the last statement told, not a provisional one."""
        return self.previous is not None and self.before == extent_of(self.previous)

    @property
    def last_on(self) -> date:
        return self.until.last_on


def extent_of(statement: Statement) -> Extent:
    return Extent(last_day(statement.month), statement.last_entry)


def first_day(day: date) -> date:
    return day.replace(day=1)


def last_day(month: date) -> date:
    return next_month(month) - timedelta(days=1)


def next_month(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=31)).replace(day=1)


def months_between(first: date, last: date) -> list[date]:
    """Every month (its first day) from one to another, both included."""
    found = []
    month = first_day(first)
    while month <= last:
        found.append(month)
        month = next_month(month)
    return found


def canonical(content: Content) -> str:
    """The content as the one text that stands for it."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# ------------------------------------------------------------------------------------------------ reading the books


def content_of(asked: Asked) -> Content:
    """All that the statement says, from the books; six queries, and one for each app that knows of subsidies."""
    project = asked.project
    rows = list(Allocation.objects.filter(project=project).select_related("pool__cluster").order_by("start_on", "pk"))
    sums = _sums(rows, asked)
    lines = {row.pk: _empty(row) for row in rows}
    for part in sums:
        _count(lines[part["allocation"]], part)
    for entry in _decided(rows, asked):
        _place(lines[entry["allocation"]], entry, asked)
    valued_until: defaultdict[int, Valued] = defaultdict(Valued)
    valued_before: defaultdict[int, Valued] = defaultdict(Valued)
    for part in sums:
        if part["is_usage"]:
            number = part["allocation"]
            valued_until[number] = valued_until[number].and_also(-part["until"], part["price"])
            valued_before[number] = valued_before[number].and_also(-part["before"], part["price"])
    prices: set[tuple[str, int]] = set()
    pools = {row.pk: row.pool.code for row in rows}
    for what, number, day, user, member, seconds, before, price in _by_person(rows, asked):
        if what == "refund":
            valued_until[number] = valued_until[number].and_also(-seconds, price)
            valued_before[number] = valued_before[number].and_also(-before, price)
        elif seconds:
            said = {"day": day.isoformat(), "user": user, "member": member, "seconds": -seconds}
            lines[number]["usage" if what == "month" else "earlier_usage"].append(said)
    for part in sums:
        if part["is_usage"] and part["price"] is not None and part["until"] != part["before"]:
            prices.add((pools[part["allocation"]], part["price"]))
    told = json.loads(asked.previous.content)["money"] if asked.previous and asked.follows_issued else None
    tenant = project.tenant
    return {
        "version": VERSION,
        "month": asked.month.isoformat(),
        "last_on": asked.last_on.isoformat(),
        "project": {
            "code": project.code,
            "title": project.title,
            "tenant": {
                "code": tenant.code,
                "en": tenant.name_en,
                "zh-hant": tenant.name_zh_hant,
                "zh-hans": tenant.name_zh_hans,
            },
        },
        "allocations": [_sorted(lines[row.pk]) for row in rows if _has_begun(lines[row.pk])],
        "money": statement_money.money_lines(rows, until=valued_until, before=valued_before, told=told),
        "prices": [{"pool": pool, "cents_per_gpu_hour": cents} for pool, cents in sorted(prices)],
    }


def adds_up(content: Content) -> bool:
    """Whether each allocation's opening and lines make its closing; not so while usage is recorded between two reads.

    Both reads see whole imports only, so it is enough to compare their sums.
    """
    for allocation in content["allocations"]:
        for total in TOTALS:
            moved = sum(line["seconds"] for line in lines_of(allocation) if line["total"] == total)
            sign = 1 if total == "granted" else -1
            if allocation["opening"][total] + sign * moved != allocation["closing"][total]:
                return False
    return True


def lines_of(allocation: Line) -> Iterable[Line]:
    """Every line that moves something on an allocation, usage included, with the total that it moves."""
    for part in ("given", "refunds", "holds", "earlier"):
        yield from allocation[part]
    for part in ("usage", "earlier_usage"):
        yield from ({**line, "total": "used"} for line in allocation[part])


def left(totals: dict[str, int]) -> int:
    """GPU-seconds left: granted, less used, less held."""
    return totals["granted"] - totals["used"] - totals["held"]


def sum_of(lines: Sequence[Line]) -> int:
    return sum(line["seconds"] for line in lines)


def _empty(row: Allocation) -> Line:
    return {
        "reference": row.reference,
        "pool": row.pool.code,
        "gpu_model": row.pool.gpu_model,
        "cluster": row.pool.cluster.code,
        "funding": row.funding,
        "start_on": row.start_on.isoformat(),
        "end_on": row.end_on.isoformat(),
        "opening": dict.fromkeys(TOTALS, 0),
        "closing": dict.fromkeys(TOTALS, 0),
        **{part: [] for part in ("given", "usage", "refunds", "holds", "earlier", "earlier_usage", "standing")},
    }


def _has_begun(line: Line) -> bool:
    """Something was ever told of the allocation; from then on every statement has it, so balances hang together."""
    return any(line["opening"].values()) or any(line["closing"].values()) or any(True for _ in lines_of(line))


def _sorted(line: Line) -> Line:
    for part in ("usage", "earlier_usage"):
        line[part].sort(key=lambda said: (said["day"], said["user"]))
    return line


def _sums(rows: Sequence[Allocation], asked: Asked) -> list[dict[str, Any]]:
    """GPU-seconds of entries told by the end and told before, by allocation, total, day, and whether it is usage.

    With the list price of the day, which matters for usage.
    """
    entries = LedgerEntry.objects.filter(asked.until.told(), allocation__in=rows).order_by()
    sums: QuerySet[Any, Any] = (
        entries.annotate(
            is_usage=Q(source_kind="usage"), price=price_of_day(pool="allocation__pool", day="effective_on")
        )
        .values("allocation", "total", "effective_on", "is_usage", "price")
        .annotate(until=Cast(Sum("seconds"), BigIntegerField()), before=_sum_told(asked.before.told()))
    )
    return list(sums)


def _sum_told(told: Q) -> Coalesce:
    return Coalesce(Cast(Sum("seconds", filter=told), BigIntegerField()), 0)


def _count(line: Line, part: dict[str, Any]) -> None:
    sign = 1 if part["total"] == "granted" else -1
    line["opening"][part["total"]] += sign * part["before"]
    line["closing"][part["total"]] += sign * part["until"]


def _decided(rows: Sequence[Allocation], asked: Asked) -> QuerySet[LedgerEntry, Any]:
    """Entries that do not come from usage and are new, and every hold told of that still stands."""
    resolved = LedgerEntry.objects.filter(asked.until.told(), reverses=OuterRef("pk")).values("pk")
    entries = LedgerEntry.objects.filter(asked.until.told(), allocation__in=rows).exclude(source_kind="usage")
    found: QuerySet[Any, Any] = (
        entries.annotate(resolved=Subquery(resolved[:1]))
        .filter(~asked.before.told() | Q(kind=Kind.HOLD, resolved=None))
        .order_by("effective_on", "pk")
        .values(
            *("pk", "allocation", "kind", "total", "seconds", "effective_on", "source_kind"),
            *("lapses_on", "resolved"),
        )
    )
    return found


def _place(line: Line, entry: dict[str, Any], asked: Asked) -> None:
    """Put an entry where it belongs on the statement."""
    day, kind = entry["effective_on"], entry["kind"]
    if kind == Kind.HOLD and entry["resolved"] is None:
        lapses_on = entry["lapses_on"]
        line["standing"].append(
            {
                "entry": entry["pk"],
                "day": day.isoformat(),
                "seconds": -entry["seconds"],
                "lapses_on": lapses_on.isoformat() if lapses_on else "",
            }
        )
    before = asked.before
    if day <= before.last_on and (before.last_entry is None or entry["pk"] <= before.last_entry):
        return  # an old hold that still stands
    part = "earlier" if day < asked.month else {"granted": "given", "used": "refunds", "held": "holds"}[entry["total"]]
    line[part].append(
        {
            "entry": entry["pk"],
            "day": day.isoformat(),
            "kind": kind,
            "source": entry["source_kind"],
            "total": entry["total"],
            "seconds": entry["seconds"],
        }
    )


def _by_person(rows: Sequence[Allocation], asked: Asked) -> QuerySet[Any, Any]:
    """(what, allocation, day, user, member, GPU-seconds, those told before, list price), in one query.

    `month`: the month's usage, from the rollup, for nothing of these days was told before. `earlier`: what run charges
    say of earlier days in entries that are new. `refund`: what was given back, by the days of the runs.
    """
    nothing = Value(0, BigIntegerField())
    no_price = Cast(Value(None), BigIntegerField())
    month = (
        DailyUsage.objects.filter(allocation__in=rows, day__gte=asked.month, day__lte=asked.last_on)
        .order_by()
        .annotate(what=Value("month"), user=F("user_name"), member=_member("user_name"))
        .values("what", "allocation", "day", "user", "member")
        .annotate(all=Cast(Sum("seconds"), BigIntegerField()), before=nothing, price=no_price)
    )
    late = LedgerEntry.objects.filter(
        asked.until.told(), ~asked.before.told(), allocation__in=rows, source_kind="usage", effective_on__lt=asked.month
    )
    earlier = (
        RunCharge.objects.filter(entry__in=late.values("pk"))
        .order_by()
        .annotate(what=Value("earlier"), user=F("run__user_name"), member=_member("run__user_name"))
        .values("what", "allocation", "day", "user", "member")
        .annotate(all=Cast(Sum("seconds"), BigIntegerField()), before=nothing, price=no_price)
    )
    of_entry = {"day": "entry__effective_on", "number": "entry"}
    refunds = (
        RunRefund.objects.filter(asked.until.told(**of_entry), allocation__in=rows)
        .order_by()
        .annotate(
            what=Value("refund"),
            user=Value("", CharField()),
            member=Value("", CharField()),
            price=price_of_day(pool="allocation__pool", day="day"),
        )
        .values("what", "allocation", "day", "user", "member", "price")
        .annotate(
            all=Cast(Sum("seconds"), BigIntegerField()),
            before=_sum_told(asked.before.told(**of_entry)),
        )
    )
    columns = ("what", "allocation", "day", "user", "member", "all", "before", "price")
    parts = [part.values_list(*columns) for part in (month, earlier, refunds)]
    return parts[0].union(*parts[1:], all=True)


def _member(user_name: str) -> Coalesce:
    """In SQL: the person whose user name on the allocation's cluster it is; "" when nobody has said."""
    known = ClusterUser.objects.filter(cluster=OuterRef("allocation__pool__cluster"), name=OuterRef(user_name))
    return Coalesce(Subquery(known.values("user__name")[:1]), Value(""), output_field=CharField())


# ---------------------------------------------------------------------------------------------------- which months


def first_month(project: Project) -> date | None:
    """The month of the project's first entry, by its day; None where there is none."""
    days = LedgerEntry.objects.filter(allocation__project=project).order_by("effective_on")
    first = days.values_list("effective_on", flat=True).first()
    return first_day(first) if first else None


def months_to_tell(project: Project, previous: Statement | None, *, through: date) -> list[date]:
    """The months after the last statement that have something to tell, up to one; three queries.

    A month does when an allocation covers a day of it, or when something was recorded for it. What was recorded late
    for months that are told of already belongs to the first month that follows.
    """
    entries = LedgerEntry.objects.filter(allocation__project=project)
    untold = entries.filter(~extent_of(previous).told()) if previous else entries
    days = list(untold.filter(effective_on__lte=last_day(through)).order_by().values_list("effective_on").distinct())
    if previous is None and not days:
        return []
    first = next_month(previous.month) if previous else first_day(min(day for (day,) in days))
    with_entries = {max(first_day(day), first) for (day,) in days}
    periods = list(
        Allocation.objects.not_void()
        .filter(project=project, start_on__lte=last_day(through), end_on__gte=first)
        .values_list("start_on", "end_on")
    )
    return [
        month
        for month in months_between(first, through)
        if month in with_entries or any(begins <= last_day(month) and ends >= month for begins, ends in periods)
    ]


def provisional(project: Project, month: date, *, previous: Statement | None, at: datetime) -> Content:
    """The statement of a month that is not issued, as of now: `as_of` is this instant.

    After months that are not issued either it tells only of its own days; what is late belongs to those before it.
    """
    before = NOTHING_TOLD
    if previous is not None:
        before = extent_of(previous)
    asked = Asked(project, month, until=Extent(last_day(month)), before=before, previous=previous)
    if is_after_provisional(asked):
        asked = Asked(project, month, asked.until, Extent(month - timedelta(days=1)), previous)
    content = content_of(asked)
    for _again in range(2):
        if adds_up(content):
            break
        content = content_of(asked)  # an import was recorded between two of the reads
    return {**content, "as_of": at.isoformat()}


def is_after_provisional(asked: Asked) -> bool:
    """Whether the month before this one is not issued yet."""
    return asked.previous is None or next_month(asked.previous.month) < asked.month
