"""What the GPU time on a statement is worth at list price, and who pays how much of it. Whole numbers throughout.

A statement tells, beside the month's figures, what they have come to since the project began: the month is the
difference of two such sums, each rounded once. So the months add up to the whole, to the cent.

Who pays a part of it the apps above know: they add to `subsidies`. Without any there is no subsidy.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import OuterRef, Subquery

from allocations.models import Allocation
from centre.amounts import rounded
from centre.models import ListPrice

PER_HOUR = 3600
OWN = frozenset({Allocation.Funding.PURCHASED, Allocation.Funding.SUBSIDISED})
"""Fundings whose list value, where no subsidy pays it, is the project's own share; the others are the centre's."""
FIGURES = ("gpu_seconds", "unpriced_seconds", "list_value_cents", "subsidy_cents", "own_share_cents")

Figures = dict[str, int]
MoneyLine = dict[str, Any]


@dataclass(frozen=True)
class Valued:
    """Usage of an allocation: GPU-seconds, the same x cents per GPU-hour of their days, those without a price."""

    gpu_seconds: int = 0
    cent_seconds: int = 0
    unpriced_seconds: int = 0

    def and_also(self, seconds: int, price: int | None) -> "Valued":
        """With further GPU-seconds of a day whose list price this is; None: it had none."""
        return Valued(
            self.gpu_seconds + seconds,
            self.cent_seconds + seconds * (price or 0),
            self.unpriced_seconds + (seconds if price is None else 0),
        )


@dataclass(frozen=True)
class Subsidy:
    """Money that pays for the usage of some allocations: `pays` gives the cents for cent-seconds since it began.

    `paid_so_far` asks the books for the cents that it has paid by now.
    """

    number: str
    rate_bp: int
    amount_cents: int
    allocations: tuple[int, ...]
    pays: Callable[[int], int]
    paid_so_far: Callable[[], int]


subsidies: list[Callable[[Sequence[int]], list[Subsidy]]] = []
"""Filled in `ready()` of the apps above: the subsidies of allocations, by number; an allocation has one. One query."""


def price_of_day(*, pool: str, day: str) -> Subquery:
    """In SQL: cents per GPU-hour of a pool on a day, both named as fields; NULL before its first price."""
    prices = ListPrice.objects.filter(pool=OuterRef(pool), from_on__lte=OuterRef(day)).order_by("-from_on")
    return Subquery(prices.values("cents_per_gpu_hour")[:1])


def money_lines(
    allocations: Sequence[Allocation], *, until: Mapping[int, Valued], before: Mapping[int, Valued], told: Any
) -> list[MoneyLine]:
    """A line for each subsidy and for each allocation that none pays, with `this` month's figures and those `so_far`.

    `until` and `before` value what is told at the end and was told at the beginning, by the number of the allocation.
    `told` are the lines of the statement before where one was issued: then what it said counts, not what would be said
    of it today.
    """
    numbers = [row.pk for row in allocations]
    paying = [subsidy for find in subsidies for subsidy in find(numbers)]
    paid = {number for subsidy in paying for number in subsidy.allocations}
    found: dict[str, MoneyLine] = {}
    earlier: dict[str, Figures] = {}
    references = {row.pk: row.reference for row in allocations}
    for subsidy in paying:
        key = f"award:{subsidy.number}"
        found[key] = {
            "key": key,
            "name": subsidy.number,
            "rate_bp": subsidy.rate_bp,
            "amount_cents": subsidy.amount_cents,
            "allocations": [references[number] for number in subsidy.allocations],
            "so_far": subsidised(subsidy, until),
        }
        earlier[key] = subsidised(subsidy, before)
    for row in allocations:
        if row.pk not in paid:
            key = f"allocation:{row.reference}"
            found[key] = {
                "key": key,
                "name": row.reference,
                "funding": row.funding,
                "allocations": [row.reference],
                "so_far": unsubsidised(row, until),
            }
            earlier[key] = unsubsidised(row, before)
    if told is not None:
        earlier = {line["key"]: line["so_far"] for line in told}
        for line in told:  # what was an allocation's own may be an award's now
            found.setdefault(line["key"], {**line, "so_far": dict.fromkeys(FIGURES, 0)})
    for key, line in found.items():
        line["this"] = {name: line["so_far"][name] - earlier.get(key, {}).get(name, 0) for name in FIGURES}
    lines = (line for line in found.values() if any(line["so_far"].values()) or any(line["this"].values()))
    return sorted(lines, key=lambda line: str(line["key"]))


def subsidised(subsidy: Subsidy, usage: Mapping[int, Valued]) -> Figures:
    """The figures of the allocations that a subsidy pays for, together."""
    parts = [usage.get(number, Valued()) for number in subsidy.allocations]
    cent_seconds = sum(part.cent_seconds for part in parts)
    return figures(parts, subsidy_cents=subsidy.pays(cent_seconds), is_own=True)


def unsubsidised(allocation: Allocation, usage: Mapping[int, Valued]) -> Figures:
    return figures([usage.get(allocation.pk, Valued())], subsidy_cents=0, is_own=allocation.funding in OWN)


def figures(parts: Sequence[Valued], *, subsidy_cents: int, is_own: bool) -> Figures:
    list_value = rounded(sum(part.cent_seconds for part in parts), PER_HOUR)
    return {
        "gpu_seconds": sum(part.gpu_seconds for part in parts),
        "unpriced_seconds": sum(part.unpriced_seconds for part in parts),
        "list_value_cents": list_value,
        "subsidy_cents": subsidy_cents,
        "own_share_cents": list_value - subsidy_cents if is_own else 0,
    }


def together(lines: Iterable[MoneyLine], when: str) -> Figures:
    """The sums of the lines, of `this` month or `so_far`."""
    lines = list(lines)
    return {name: sum(line[when][name] for line in lines) for name in FIGURES}
