"""One job run told to its team: how it ended, what it cost on which day, and what each import said of it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import Any

from django.db.models import BooleanField, OuterRef, QuerySet, Sum, Value
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from allocations.charging import gpu_parts
from allocations.explaining import gpus_on, seconds_on
from allocations.models import Allocation, JobRun, RunCharge, RunObservation, RunRefund
from allocations.run_states import in_words
from centre.models import PoolMapping
from centre.prices import price_on
from centre.templatetags.portal import grouped

MOST_ENTRIES = 20  # of one day
MOST_OBSERVATIONS = 50
ENDINGS = {
    "COMPLETED": gettext_lazy("The program ran to its end and reported success."),
    "FAILED": gettext_lazy("The program ended and reported an error."),
    "OUT_OF_MEMORY": gettext_lazy("It was stopped because it needed more memory than it had asked for."),
    "CANCELLED": gettext_lazy("Somebody stopped it: its owner, or the people who run the machine."),
    "REVOKED": gettext_lazy("It was taken back before it could end."),
    "TIMEOUT": gettext_lazy("It was stopped when it reached the time limit that it had asked for."),
    "DEADLINE": gettext_lazy("It was stopped because it could not end before its deadline."),
    "NODE_FAIL": gettext_lazy(
        "A machine that it ran on failed. The centre can give such time back, if you ask for it."
    ),
    "BOOT_FAIL": gettext_lazy("A machine for it could not be started."),
    "PREEMPTED": gettext_lazy("It had to make way for another job."),
    "REQUEUED": gettext_lazy("It was put back into the queue; what ran later is another run."),
    "RESIZING": gettext_lazy("It changed its size; what ran on is another record."),
    "PENDING": gettext_lazy("It waits for its turn and costs nothing yet."),
    "RUNNING": gettext_lazy("It ran when the latest import was made, and is charged as it goes on."),
    "SUSPENDED": gettext_lazy("It is paused. Its GPUs stay taken, so the time is charged."),
    "COMPLETING": gettext_lazy("It has ended and is being cleared away."),
}


def how_it_ended(run: Any) -> str:
    """A sentence, or nothing for a state that nobody knows."""
    return str(ENDINGS.get(run.state.partition(" ")[0], ""))


@dataclass
class DayCost:
    """What a run cost on one day of one allocation, in GPU-seconds, and the entries that charged it.

    `price` is the list price of that day in cents per GPU-hour; None before the first.
    """

    allocation: Allocation
    day: date
    gpus: int
    gpu_time: int
    price: int | None = None
    seconds: int = 0
    refunded: int = 0
    entries: list[int] = field(default_factory=list)

    @property
    def adds_up(self) -> bool:
        return self.gpus * self.gpu_time == self.seconds

    @property
    def arithmetic(self) -> str:
        """The sum behind it; "" where what is known of the run today says something else."""
        if not self.adds_up or not self.seconds:
            return ""
        told = {"gpus": grouped(self.gpus, 0), "time": grouped(self.gpu_time, 0), "cost": grouped(self.seconds, 0)}
        return (
            ngettext(
                "%(gpus)s GPU × %(time)s s = %(cost)s GPU-seconds",
                "%(gpus)s GPUs × %(time)s s = %(cost)s GPU-seconds",
                self.gpus,
            )
            % told
        )


def costs_of(run: JobRun, allocations: list[Allocation]) -> list[DayCost]:
    """What the run cost the project whose allocations are given, day by day, each with the latest of its entries.

    One query, and one more where typed GPUs have to be told apart.
    """
    by_number = {row.pk: row for row in allocations}
    charged = charge_rows(RunCharge, run, by_number, is_refund=False)
    rows = charged.union(charge_rows(RunRefund, run, by_number, is_refund=True), all=True)
    typed = typed_names({row.pool_id for row in allocations}) if len(gpu_parts(run.alloc_tres)) > 1 else {}
    costs: dict[tuple[date, int], DayCost] = {}
    for day, number, is_refund, entry, price, seconds in sorted(rows, key=itemgetter(0, 1, 2, 3)):
        allocation = by_number[number]
        if (day, number) not in costs:
            gpus = gpus_on(run, day, typed.get(allocation.pool_id, []))
            costs[day, number] = DayCost(allocation, day, gpus=gpus, gpu_time=seconds_on(run, day), price=price)
        cost = costs[day, number]
        if is_refund:
            cost.refunded += seconds
        else:
            cost.seconds += seconds
            cost.entries = [*cost.entries, entry][-MOST_ENTRIES:]
    return list(costs.values())


def charge_rows(model: Any, run: JobRun, allocations: Iterable[int], *, is_refund: bool) -> QuerySet[Any]:
    """(day, allocation, whether it is a refund, entry, list price, GPU-seconds) of a run's charges or refunds."""
    rows: QuerySet[Any] = model.objects.filter(run=run, allocation__in=allocations).order_by()
    price = price_on(OuterRef("allocation__pool"), OuterRef("day"))
    told = rows.annotate(is_refund=Value(is_refund, output_field=BooleanField()), price=price)
    of_day = told.values_list("day", "allocation_id", "is_refund", "entry_id", "price")
    sums: QuerySet[Any] = of_day.annotate(sum=Sum("seconds"))
    return sums


def typed_names(pools: set[int]) -> dict[int, list[tuple[str, date, date | None]]]:
    """By which names typed GPUs are of each pool, and from when until when; one query."""
    names: defaultdict[int, list[tuple[str, date, date | None]]] = defaultdict(list)
    rows = PoolMapping.objects.filter(pool__in=pools, kind=PoolMapping.Kind.TRES)
    for pool, name, from_on, until_on in rows.values_list("pool", "name", "from_on", "until_on"):
        names[pool].append((name, from_on, until_on))
    return dict(names)


@dataclass(frozen=True)
class Told:
    """What one import said of a run: at which instant, and in words."""

    as_of: datetime
    state: str
    tone: str
    gpus: int
    start_at: datetime | None
    end_at: datetime | None
    counts: bool


def told_of(run: JobRun) -> list[Told]:
    """What imports said of a run, the latest first and at most 50; the one that counts is among them. One query."""
    others = list(RunObservation.objects.filter(run=run).order_by("-as_of", "-id")[:MOST_OBSERVATIONS])
    told = [as_told(run, counts=True), *(as_told(other, counts=False) for other in others)]
    return sorted(told, key=lambda each: (each.as_of, each.counts), reverse=True)


def as_told(said: Any, *, counts: bool) -> Told:
    words, tone = in_words(said.state)
    return Told(said.as_of, str(words), tone, said.gpus, said.start_at, said.end_at, counts)


def long_text(span: timedelta) -> str:
    """A length of time: 2 days 3 h 4 min 5 s, without what is nothing."""
    seconds = max(span // timedelta(seconds=1), 0)
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    parts = []
    if days:
        parts.append(ngettext("%(days)s day", "%(days)s days", days) % {"days": grouped(days, 0)})
    for number, text in ((hours, _("%(number)s h")), (minutes, _("%(number)s min")), (seconds % 60, _("%(number)s s"))):
        if number:
            parts.append(text % {"number": number})
    return " ".join(parts) or _("%(number)s s") % {"number": 0}
