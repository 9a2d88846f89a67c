"""What one job run comes to at list price, and who pays how much of it: as on a statement, for a single run.

An award pays its rate until its amount is reached. Whether it was reached before this run depends on the order of all
usage, which only months are told by: of an award that is used up, what it paid of one run is at most its rate.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from allocations.models import Allocation
from allocations.run_told import DayCost
from allocations.statement_money import OWN, Figures, Valued, subsidies, subsidised, unsubsidised
from centre.models import ListPrice


@dataclass(frozen=True)
class Payer:
    """What an award, or an allocation that none pays for, has of a run: GPU-seconds and cents; basis points.

    `rate_bp` and `amount_cents` are an award's; `is_used_up` says that it has paid all of its amount by now.
    """

    name: str
    figures: Figures
    funding: str = ""
    rate_bp: int | None = None
    amount_cents: int = 0
    is_used_up: bool = False
    is_borne_by_centre: bool = False


def payers_of(costs: Iterable[DayCost]) -> list[Payer]:
    """Who pays for a run, awards first; nothing for one that cost nothing. Two queries, and two for each award."""
    costs = list(costs)
    if not costs:
        return []
    allocations = {cost.allocation.pk: cost.allocation for cost in costs}
    usage = valued(costs, prices_of({row.pool_id for row in allocations.values()}))
    paying = [subsidy for find in subsidies for subsidy in find(list(allocations))]
    paid = {number for subsidy in paying for number in subsidy.allocations}
    awards = [
        Payer(
            name=subsidy.number,
            figures=subsidised(subsidy, usage),
            rate_bp=subsidy.rate_bp,
            amount_cents=subsidy.amount_cents,
            is_used_up=subsidy.paid_so_far() >= subsidy.amount_cents,
        )
        for subsidy in paying
        if subsidy.allocations
    ]
    return awards + [own_payer(row, usage) for number, row in allocations.items() if number not in paid]


def own_payer(allocation: Allocation, usage: Mapping[int, Valued]) -> Payer:
    """An allocation that no award pays for."""
    return Payer(
        name=allocation.reference,
        figures=unsubsidised(allocation, usage),
        funding=str(Allocation.Funding(allocation.funding).label),
        is_borne_by_centre=allocation.funding not in OWN,
    )


def valued(costs: Iterable[DayCost], prices: Mapping[int, Sequence[tuple[date, int]]]) -> dict[int, Valued]:
    """What a run was charged, less what was given back, by allocation: each day at its own list price."""
    usage: defaultdict[int, Valued] = defaultdict(Valued)
    for cost in costs:
        price = price_on(prices.get(cost.allocation.pool_id, ()), cost.day)
        number = cost.allocation.pk
        usage[number] = usage[number].and_also(cost.seconds - cost.refunded, price)
    return dict(usage)


def prices_of(pools: set[int]) -> dict[int, list[tuple[date, int]]]:
    """The list prices of each pool, as (from, cents per GPU-hour), the earliest first; one query."""
    prices: defaultdict[int, list[tuple[date, int]]] = defaultdict(list)
    rows = ListPrice.objects.filter(pool__in=pools).order_by("from_on")
    for pool, from_on, cents in rows.values_list("pool", "from_on", "cents_per_gpu_hour"):
        prices[pool].append((from_on, cents))
    return dict(prices)


def price_on(prices: Sequence[tuple[date, int]], day: date) -> int | None:
    """Cents per GPU-hour on a day; None before the first price."""
    place = bisect_right(prices, day, key=lambda price: price[0])
    return prices[place - 1][1] if place else None
