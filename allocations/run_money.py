"""What one job run comes to at list price, and who pays how much of it: as on a statement, for a single run.

An award pays its rate until its amount is reached. Whether it was reached before this run depends on the order of all
usage, which only months are told by: of an award that is used up, what it paid of one run is at most its rate.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from allocations.models import Allocation
from allocations.run_told import DayCost
from allocations.statement_money import OWN, Figures, Valued, subsidies, subsidised, unsubsidised


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
    """Who pays for a run, awards first; nothing for one that cost nothing. One query, and one for each award."""
    costs = list(costs)
    if not costs:
        return []
    allocations = {cost.allocation.pk: cost.allocation for cost in costs}
    usage = valued(costs)
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


def valued(costs: Iterable[DayCost]) -> dict[int, Valued]:
    """What a run was charged, less what was given back, by allocation: each day at its own list price."""
    usage: defaultdict[int, Valued] = defaultdict(Valued)
    for cost in costs:
        number = cost.allocation.pk
        usage[number] = usage[number].and_also(cost.seconds - cost.refunded, cost.price)
    return dict(usage)
