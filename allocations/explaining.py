"""Why a ledger entry is what it is: the runs and their arithmetic, the request, the rule, the entries it belongs to.

Everything asked for here is found by an index and bounded, however many runs or entries there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Count, F, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from allocations.charging import billable_span, gpu_parts, split_by_day
from allocations.models import (
    Allocation,
    ChangeRequest,
    JobRun,
    LedgerEntry,
    PeriodEnd,
    RunCharge,
    RunRefund,
    TakeBackWarning,
)
from allocations.movements import legs_of
from allocations.slurm.records import is_waiting
from centre.models import ClusterUser, Event, PoolMapping, User

Kind = LedgerEntry.Kind
MOST_EVENTS = 20


@dataclass(frozen=True)
class RunLine:
    """One job run's part of an entry, in GPU-seconds.

    `cost` is what the run had cost on the day once this entry stood, `before` what earlier entries had charged of it;
    `still_holds`: what is known of the run today says the same.
    """

    number: int
    run: JobRun
    member: str
    day: date
    seconds: int
    gpus: int = 0
    cost: int = 0
    before: int = 0
    still_holds: bool = True
    is_refund: bool = False

    @property
    def is_whole(self) -> bool:
        """The cost is GPUs times whole seconds; not so when the number of GPUs was corrected later."""
        return self.gpus > 0 and self.cost % self.gpus == 0

    @property
    def gpu_time(self) -> int:
        """Seconds on the day for which the GPUs were taken."""
        return self.cost // self.gpus if self.gpus else 0


@dataclass(frozen=True)
class Evidence:
    """The run charges of an entry (or the refunds of runs), how many they are and their sum in GPU-seconds."""

    rows: QuerySet[Any]
    count: int
    sum: int
    is_refund: bool


def evidence_of(entry: LedgerEntry) -> Evidence | None:
    """What job runs stand behind an entry; None for one that does not rest on runs."""
    rests_on_charges = entry.source_kind == "usage"
    may_rest_on_refunds = (
        entry.kind in {Kind.REFUND, Kind.REVERSAL} or entry.source_kind == "refund_follows"
    ) and not rests_on_charges
    if not (rests_on_charges or may_rest_on_refunds):
        return None
    rows: QuerySet[Any] = (RunCharge if rests_on_charges else RunRefund).objects.filter(entry=entry)
    found = rows.order_by().aggregate(count=Count("pk"), sum=Sum("seconds"))
    if not found["count"] and not rests_on_charges:
        return None
    return Evidence(rows.order_by("pk"), found["count"], int(found["sum"] or 0), is_refund=may_rest_on_refunds)


def with_names(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Adds `member_name`: whose user name on the cluster it is; None when nobody has said."""
    known = ClusterUser.objects.filter(cluster=OuterRef("run__cluster"), name=OuterRef("run__user_name"))
    named: QuerySet[Any] = rows.annotate(member_name=Subquery(known.values("user__name")[:1]))
    return named.select_related("run__cluster")


def charge_lines(entry: LedgerEntry, rows: QuerySet[Any]) -> list[RunLine]:
    """The lines of some run charges of an entry (a slice of `evidence_of`'s)."""
    earlier = RunCharge.objects.filter(
        run=OuterRef("run"), allocation=OuterRef("allocation"), day=OuterRef("day"), pk__lt=OuterRef("pk")
    )
    sums = earlier.order_by().values("run").annotate(sum=Sum("seconds")).values("sum")
    charges = list(with_names(rows).annotate(before=Coalesce(Subquery(sums), 0)))
    mixed = any(len(gpu_parts(charge.run.alloc_tres)) > 1 for charge in charges)
    typed = names_of_pool(entry.allocation) if mixed else []
    lines = []
    for charge in charges:
        run, before = charge.run, int(charge.before)
        gpus = gpus_on(run, charge.day, typed)
        lines.append(
            RunLine(
                number=charge.pk,
                run=run,
                member=charge.member_name or run.user_name or "–",
                day=charge.day,
                seconds=charge.seconds,
                gpus=gpus,
                cost=before + charge.seconds,
                before=before,
                still_holds=before + charge.seconds == gpus * seconds_on(run, charge.day),
            )
        )
    return lines


def refund_lines(rows: QuerySet[Any]) -> list[RunLine]:
    return [
        RunLine(
            number=refund.pk,
            run=refund.run,
            member=refund.member_name or refund.run.user_name or "–",
            day=refund.day,
            seconds=refund.seconds,
            is_refund=True,
        )
        for refund in with_names(rows)
    ]


def names_of_pool(allocation: Allocation) -> list[tuple[str, date, date | None]]:
    """By which names typed GPUs are the allocation's pool, and from when until when."""
    mappings = PoolMapping.objects.filter(pool=allocation.pool_id, kind=PoolMapping.Kind.TRES)
    return list(mappings.values_list("name", "from_on", "until_on"))


def gpus_on(run: JobRun, day: date, typed: list[tuple[str, date, date | None]]) -> int:
    """GPUs of a run that belong to the pool: typed ones by their name, untyped ones as the partition brought them."""
    parts = gpu_parts(run.alloc_tres)
    if len(parts) == 1:
        return parts[0][1]
    names = {name for name, first, last in typed if first <= day and (last is None or day <= last)}
    return sum(gpus for name, gpus in parts if not name or name in names)


def seconds_on(run: JobRun, day: date) -> int:
    """Seconds of a day on which a run is charged, as it is known today."""
    span = billable_span(
        submit=int(run.submit_at.timestamp()),
        start=int(run.start_at.timestamp()) if run.start_at else None,
        end=int(run.end_at.timestamp()) if run.end_at else None,
        as_of=int(run.as_of.timestamp()),
        pending=is_waiting(run.state),
    )
    return dict(split_by_day(*span, run.cluster.zone)).get(day, 0) if span else 0


@dataclass(frozen=True)
class Behind:
    """What belongs to an entry beside its runs; None and empty where there is nothing, or the reader may not know."""

    partner: LedgerEntry | None
    partner_is_hidden: bool
    reversed_by: LedgerEntry | None
    request: ChangeRequest | None
    period_end: PeriodEnd | None
    warning: TakeBackWarning | None
    events: list[Event]


def behind(entry: LedgerEntry, user: User) -> Behind:
    """What stands behind an entry, as far as this person may see it.

    The entry's allocation is loaded, and what undid it. The audit trail is asked only for those who may read it.
    """
    partner = next((leg for leg in legs_of(entry) if leg.pk != entry.pk), None)
    may_see = partner is not None and Allocation.objects.visible_to(user).filter(pk=partner.allocation_id).exists()
    if partner is not None and may_see:
        partner = LedgerEntry.objects.select_related("allocation__project").get(pk=partner.pk)
    return Behind(
        partner=partner if may_see else None,
        partner_is_hidden=partner is not None and not may_see,
        reversed_by=getattr(entry, "reversed_by", None),
        request=request_of(entry, user),
        period_end=period_end_of(entry),
        warning=warning_of(entry),
        events=events_of(entry) if user.has_perm("centre.view_event") else [],
    )


def partners(entries: list[LedgerEntry], user: User) -> Mapping[int, str]:
    """The other allocation of each move among these entries: `{number: reference}`, "" where the reader may not know.

    One query, and none where nothing was moved.
    """
    other = {"out": "in", "in": "out"}
    keys: dict[str, int] = {}
    for entry in entries:
        begin, _colon, way = entry.key.rpartition(":")
        if entry.kind == Kind.TRANSFER and way in other:
            keys[f"{begin}:{other[way]}"] = entry.pk
    if not keys:
        return {}
    seen = Allocation.objects.visible_to(user).filter(pk=OuterRef("allocation")).values("reference")
    legs = LedgerEntry.objects.filter(key__in=keys).annotate(reference=Coalesce(Subquery(seen[:1]), Value("")))
    return dict.fromkeys(keys.values(), "") | {
        keys[key]: reference for key, reference in legs.order_by().values_list("key", "reference")
    }


def request_of(entry: LedgerEntry, user: User) -> ChangeRequest | None:
    """The request that led to the entry, where its project is one that the person may see."""
    requests = ChangeRequest.objects.visible_to(user).select_related("asked_by", "answered_by")
    if entry.source_kind == "request":
        return requests.filter(pk=as_number(entry.source_reference)).first()
    if entry.kind == Kind.REVERSAL and entry.reverses is not None:
        carried_out = (ChangeRequest.State.APPROVED, ChangeRequest.State.CARRIED_OUT)
        undone = [leg.pk for leg in legs_of(entry.reverses)]
        return requests.filter(kind=ChangeRequest.Kind.REVERSAL, entry__in=undone, state__in=carried_out).first()
    return None


def period_end_of(entry: LedgerEntry) -> PeriodEnd | None:
    if entry.source_kind not in {"period_end", "late_usage"}:
        return None
    ends = PeriodEnd.objects.select_related("rule__asked_by", "rule__approved_by", "allocation", "following")
    return ends.filter(allocation=as_number(entry.source_reference.removeprefix("period-end-"))).first()


def warning_of(entry: LedgerEntry) -> TakeBackWarning | None:
    if entry.source_kind != "take_back_rule":
        return None
    warnings = TakeBackWarning.objects.select_related("rule__asked_by", "rule__approved_by")
    return warnings.filter(pk=as_number(entry.source_reference)).first()


def events_of(entry: LedgerEntry) -> list[Event]:
    """What the audit trail says of the entry: events on its allocation, of its instant, that name it."""
    events = Event.objects.filter(
        object_type=Allocation._meta.label_lower, object_id=str(entry.allocation_id), at=entry.recorded_at
    )
    return [event for event in events.select_related("actor")[:MOST_EVENTS] if names(event, entry.pk)]


def names(event: Event, number: int) -> bool:
    told = event.changes.get("entry")
    return number in told if isinstance(told, list) else told == number


def as_number(text: str) -> int:
    """A row's number in a source reference; 0, which no row has, for anything else."""
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def sum_before(evidence: Evidence, first: Any) -> int:
    """GPU-seconds of the lines before a given one."""
    return int(evidence.rows.filter(pk__lt=first).order_by().aggregate(sum=Coalesce(Sum(F("seconds")), 0))["sum"])
