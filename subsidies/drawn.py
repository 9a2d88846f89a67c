"""What an award has paid for so far: charged GPU time, less refunds, x list price of its day x rate.

    list value  =  sum over the award's allocations and days of GPU-seconds x the pool's list price that day
    subsidy     =  list value x rate, at most the award's amount
    own share   =  list value - subsidy

Whole numbers throughout; each figure is rounded once, half up, to a cent.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import BigIntegerField, Case, F, Max, OuterRef, QuerySet, Sum, Value, When
from django.db.models.functions import Cast, Coalesce

from allocations.models import DailyUsage, RunRefund, UsageImport
from centre.prices import price_on
from subsidies import prices
from subsidies.models import Award, AwardGrant


@dataclass(frozen=True)
class Drawn:
    """Figures of one award: GPU-seconds charged, cents. `unpriced_seconds` had no list price on their day."""

    gpu_seconds: int
    list_value_cents: int
    subsidy_cents: int
    own_share_cents: int
    unpriced_seconds: int = 0


@dataclass(frozen=True)
class Usage:
    """What was charged to an award's allocations: GPU-seconds, and the same x cents per GPU-hour."""

    gpu_seconds: int = 0
    cent_seconds: int = 0
    unpriced_seconds: int = 0


def drawn(usage: Usage, *, rate_bp: int, amount_cents: int) -> Drawn:
    """The figures that follow from what was charged; pure."""
    list_value = prices.list_value_cents(usage.cent_seconds)
    subsidy = min(prices.subsidy_cents(usage.cent_seconds, rate_bp=rate_bp), amount_cents)
    return Drawn(
        gpu_seconds=usage.gpu_seconds,
        list_value_cents=list_value,
        subsidy_cents=subsidy,
        own_share_cents=list_value - subsidy,
        unpriced_seconds=usage.unpriced_seconds,
    )


def usage_by(awards: Iterable[Award]) -> dict[int, dict[int, Usage]]:
    """What was charged, by award and allocation; two queries however many there are.

    An allocation that two awards gave hours to counts for the first.
    """
    award_of: dict[int, int] = {}
    grants = AwardGrant.objects.filter(award__in=[award.pk for award in awards]).order_by("pk")
    for allocation_id, award_id in grants.values_list("allocation_id", "award_id"):
        award_of.setdefault(allocation_id, award_id)
    found = _usage_of(award_of)
    by_award: dict[int, dict[int, Usage]] = {}
    for allocation_id, award_id in award_of.items():
        by_award.setdefault(award_id, {})[allocation_id] = found.get(allocation_id, Usage())
    return by_award


def drawn_by(awards: Sequence[Award]) -> dict[int, Drawn]:
    """The figures of each award, by its id; two queries however many there are."""
    used = usage_by(awards)
    return {
        award.pk: drawn(
            together(used.get(award.pk, {}).values()), rate_bp=award.rate_bp, amount_cents=award.amount_cents
        )
        for award in awards
    }


def drawn_on(allocations: Iterable[int], *, award: Award) -> Drawn:
    """The figures of an award whose allocations are known; one query."""
    usage = together(_usage_of(allocations).values())
    return drawn(usage, rate_bp=award.rate_bp, amount_cents=award.amount_cents)


def known_until(clusters: Collection[int]) -> datetime | None:
    """Up to when usage is known on all of these clusters (by id); None while one of them has no import."""
    latest = dict(
        UsageImport.objects.filter(state=UsageImport.State.DONE, cluster__in=clusters, as_of__isnull=False)
        .order_by()
        .values_list("cluster")
        .annotate(until=Max("as_of"))
    )
    return min(latest.values()) if latest and len(latest) == len(set(clusters)) else None


def _usage_of(allocations: Iterable[int]) -> dict[int, Usage]:
    """What was charged per allocation less what was refunded, each day at its own list price; one query."""
    numbers = list(allocations)
    charged = _valued(DailyUsage.objects.filter(allocation__in=numbers), sign=1)
    refunded = _valued(RunRefund.objects.filter(allocation__in=numbers), sign=-1)
    found: dict[int, Usage] = {}
    for allocation_id, gpu_seconds, cent_seconds, unpriced in charged.union(refunded, all=True):
        part = Usage(gpu_seconds=gpu_seconds, cent_seconds=cent_seconds, unpriced_seconds=unpriced)
        found[allocation_id] = together([found.get(allocation_id, Usage()), part])
    return found


def _valued(rows: QuerySet[Any], *, sign: int) -> QuerySet[Any, tuple[int, int, int, int]]:
    """(allocation, GPU-seconds, cent-seconds at each day's list price, GPU-seconds without a price), times the sign."""
    price = price_on(OuterRef("allocation__pool"), OuterRef("day"))
    signed = F("seconds") * Value(sign)
    valued: QuerySet[Any, tuple[int, int, int, int]] = (
        rows.annotate(price=price)
        .order_by()
        .values_list("allocation_id")
        .annotate(
            gpu_seconds=Cast(Sum(signed), BigIntegerField()),
            cent_seconds=Cast(Sum(signed * Coalesce(F("price"), 0)), BigIntegerField()),
            unpriced=Cast(Sum(Case(When(price=None, then=signed), default=Value(0))), BigIntegerField()),
        )
    )
    return valued


def together(usages: Iterable[Usage]) -> Usage:
    """The usage of several allocations as one."""
    total = Usage()
    for usage in usages:
        total = Usage(
            gpu_seconds=total.gpu_seconds + usage.gpu_seconds,
            cent_seconds=total.cent_seconds + usage.cent_seconds,
            unpriced_seconds=total.unpriced_seconds + usage.unpriced_seconds,
        )
    return total
