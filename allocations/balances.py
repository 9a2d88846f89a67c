"""The books of one allocation as they stand, or as of a past instant: totals, a page of entries, what each left.

The books of an instant are the entries recorded by then, so they never change afterwards. Entries stand in the order of
their numbers, which is that of recording. A page costs what lies between it and the end of the ledger from which it is
reached, by the index (allocation, -id); nothing is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import BigIntegerField, Q, QuerySet, Sum, Window
from django.db.models.functions import Cast, Coalesce

from allocations import staging
from allocations.models import Allocation, LedgerEntry

Total = LedgerEntry.Total
LONGEST_RECORDING = timedelta(hours=1)
OTHERS_AT_WORK = """
    SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' AND xact_start <= %s
"""


@dataclass(frozen=True)
class Totals:
    """Granted, used, held and left of an allocation, in GPU-seconds."""

    granted: int
    used: int
    held: int

    @property
    def left(self) -> int:
        return self.granted - self.used - self.held


@dataclass(frozen=True)
class Page:
    """Some entries in the order in which they are shown, and whether there are older and newer ones of the kind."""

    entries: Sequence[LedgerEntry]
    has_older: bool
    has_newer: bool

    @property
    def oldest(self) -> LedgerEntry:
        return min(self.entries, key=lambda entry: entry.pk)

    @property
    def newest(self) -> LedgerEntry:
        return max(self.entries, key=lambda entry: entry.pk)


@dataclass(frozen=True)
class Books:
    """The ledger of an allocation; `as_of` None: as it stands."""

    allocation: Allocation
    as_of: datetime | None = None

    def entries(self) -> QuerySet[LedgerEntry]:
        of_allocation = LedgerEntry.objects.filter(allocation=self.allocation)
        return of_allocation if self.as_of is None else of_allocation.as_of(self.as_of)

    def may_still_grow(self, *, at: datetime) -> bool:
        """Whether something that began before this instant is being recorded just now, and may still join its books.

        Entries carry the instant at which their transaction did its work, and are seen once it commits. SQLite does not
        tell who else is writing; what it records takes its turn in well under the second to which an instant is meant.
        """
        if self.as_of is None or at - self.as_of > LONGEST_RECORDING or not staging.is_postgres():
            return False
        begun = self.as_of + timedelta(seconds=1)  # a verb is told the time a moment before its transaction begins
        return bool(staging.number(OTHERS_AT_WORK, [begun]))

    def totals(self) -> Totals:
        """As it stands, the totals that every posting moves; as of an instant, the sums of its entries."""
        if self.as_of is None:
            row = self.allocation
            return Totals(row.granted_seconds, row.used_seconds, row.held_seconds)
        sums = self.entries().aggregate(**{total.value: sum_of(total) for total in Total})
        return Totals(int(sums["granted"]), -int(sums["used"]), -int(sums["held"]))

    def page(
        self, *, rows: int, newest_first: bool, kind: str = "", before: int | None = None, after: int | None = None
    ) -> Page:
        """At most so many entries: those just before or just after an entry's number, else from the end asked for."""
        of_kind = self.entries().filter(Q(kind=kind) if kind else Q())
        of_kind = of_kind.select_related("asked_by", "approved_by")
        towards_older = before is not None or (newest_first and after is None)
        if towards_older:
            of_kind = of_kind.filter(Q() if before is None else Q(pk__lt=before)).order_by("-pk")
        else:
            of_kind = of_kind.filter(Q() if after is None else Q(pk__gt=after)).order_by("pk")
        found = list(of_kind[: rows + 1])
        there_are_more, found = len(found) > rows, found[:rows]
        return Page(
            entries=found if newest_first == towards_older else found[::-1],
            has_older=there_are_more if towards_older else after is not None,
            has_newer=before is not None if towards_older else there_are_more,
        )

    def left_after(self, entries: Sequence[LedgerEntry], *, totals: Totals, from_newest: bool = True) -> dict[int, int]:
        """GPU-seconds left after each of these entries, whatever kinds lie between: `{entry's number: seconds}`.

        Summed is what lies between them and the newest entry, or the oldest.
        """
        if not entries:
            return {}
        numbers = sorted(entry.pk for entry in entries)
        by_then = "" if self.as_of is None else " AND recorded_at <= %s"
        instant = [] if self.as_of is None else [self.as_of]
        ledger = f"FROM allocations_ledgerentry WHERE allocation_id = %s{by_then}"
        of_ledger = [self.allocation.pk, *instant]
        if not from_newest:
            base = f"COALESCE((SELECT SUM(seconds) {ledger} AND id < %s), 0) + SUM(seconds) OVER (ORDER BY id)"
            of_base = [*of_ledger, numbers[0]]
        else:
            # As it stands, the totals are read in this very statement: a posting meanwhile moves them and the sum.
            left, of_left = "%s", [totals.left]
            if self.as_of is None:
                left = (
                    "(SELECT granted_seconds - used_seconds - held_seconds FROM allocations_allocation WHERE id = %s)"
                )
                of_left = [self.allocation.pk]
            base = (
                f"{left} - COALESCE((SELECT SUM(seconds) {ledger} AND id > %s), 0)"
                " - (SUM(seconds) OVER (ORDER BY id DESC) - seconds)"
            )
            of_base = [*of_left, *of_ledger, numbers[-1]]
        marks = ", ".join(["%s"] * len(numbers))
        found = staging.rows(
            f"""
            SELECT id, left_after
            FROM (SELECT id, CAST({base} AS bigint) AS left_after {ledger} AND id BETWEEN %s AND %s) AS spanned
            WHERE id IN ({marks})
            """,  # noqa: S608  texts and names of our own
            [*of_base, *of_ledger, numbers[0], numbers[-1], *numbers],
        )
        return dict(found)

    def streamed(self, *, kind: str = "", newest_first: bool) -> QuerySet[LedgerEntry, Any]:
        """Every entry (of a kind) with `left_after`, for a file."""
        running = Cast(Window(Sum("seconds"), order_by="pk"), BigIntegerField())
        rows = self.entries().annotate(left_after=running)
        if kind:
            # A bare condition on the kind would come before the running sum, which is over all kinds.
            rows = rows.filter(Q(kind=kind) | Q(left_after__isnull=True))
        return rows.order_by("-pk" if newest_first else "pk")


def sum_of(total: LedgerEntry.Total) -> Coalesce:
    return Coalesce(Sum("seconds", filter=Q(total=total)), 0, output_field=BigIntegerField())
