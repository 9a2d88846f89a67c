"""The totals on each allocation against its entries."""

from collections.abc import Iterator

from django.db.models import F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from allocations.models import Allocation, LedgerEntry


def wrong_totals() -> Iterator[str]:
    """Granted, used and held against the sums of entries, and held against the holds that stand."""
    for total, sign in (("granted", 1), ("used", -1), ("held", -1)):
        for reference, kept, say in unlike(f"{total}_seconds", sign, LedgerEntry.objects.filter(total=total)):
            yield f"Allocation {reference}: {total} is {kept} GPU-seconds, its entries say {say}."
    standing = LedgerEntry.objects.filter(kind="hold", reversed_by__isnull=True)
    for reference, kept, say in unlike("held_seconds", -1, standing):
        yield f"Allocation {reference}: held is {kept} GPU-seconds, its holds that were not let go say {say}."


def unlike(total: str, sign: int, entries: QuerySet[LedgerEntry]) -> Iterator[tuple[str, int, int]]:
    """Allocations whose total is not the sum of these entries: reference, total, sum."""
    of_allocation = entries.filter(allocation=OuterRef("pk")).order_by().values("allocation")
    say = sign * Coalesce(Subquery(of_allocation.annotate(sum=Sum("seconds")).values("sum")), 0)
    rows = Allocation.objects.order_by("pk").annotate(entries_say=say).exclude(entries_say=F(total))
    yield from rows.values_list("reference", total, "entries_say").iterator()
