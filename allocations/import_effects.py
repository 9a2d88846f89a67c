"""What an import did to the books: its ledger entries, summed up by allocation. All found by an index."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import Abs, Coalesce

from allocations import staging
from allocations.models import LedgerEntry, UsageImport


@dataclass(frozen=True)
class Effect:
    """What an import charged and gave back to one allocation, in GPU-seconds; `net` is what it cost in the end."""

    allocation: int
    reference: str
    project: int
    code: str
    charged: int
    refunded: int
    net: int


@dataclass(frozen=True)
class Effects:
    """The allocations that an import moved most, and the sums over all of them (GPU-seconds)."""

    shown: list[Effect]
    allocations: int
    entries: int
    charged: int
    refunded: int
    net: int


def entries_of(usage_import: UsageImport) -> QuerySet[LedgerEntry]:
    """The ledger entries that an import posted. Their keys begin alike, and the unique index of the keys finds them."""
    begin = f"usage:import-{usage_import.pk}:"
    posted = LedgerEntry.objects.filter(source_kind="usage", source_reference=f"import-{usage_import.pk}")
    if staging.is_postgres():  # by the index for beginnings; an order of words may skip the punctuation
        return posted.filter(key__startswith=begin)
    return posted.filter(key__gte=begin, key__lt=f"{begin[:-1]};")


def effects_of(usage_import: UsageImport, *, most: int) -> Effects:
    """By allocation, the largest first; at most so many, and the sums over all. Two queries."""
    entries = entries_of(usage_import).order_by()
    sums: dict[str, Any] = {
        "charged": Coalesce(-Sum("seconds", filter=Q(seconds__lt=0)), 0),
        "refunded": Coalesce(Sum("seconds", filter=Q(seconds__gt=0)), 0),
        "net": Coalesce(-Sum("seconds"), 0),
    }
    of_all = entries.aggregate(entries=Count("pk"), allocations=Count("allocation", distinct=True), **sums)
    grouped: Any = entries.values(
        "allocation",
        reference=F("allocation__reference"),
        project=F("allocation__project"),
        code=F("allocation__project__code"),
    ).annotate(**sums)
    largest = grouped.order_by(Abs("net").desc(), "allocation")[:most]
    return Effects(shown=[Effect(**row) for row in largest], **of_all)
