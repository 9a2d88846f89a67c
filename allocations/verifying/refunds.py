"""Refunds of chosen job runs: each entry against the runs behind it, and the runs against what they were charged."""

from collections.abc import Iterator

from django.db.models import Exists, F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from allocations.models import LedgerEntry, RunRefund
from allocations.verifying.reading import rows

FOLLOWS = "refund_follows"


def wrong_refunds() -> Iterator[str]:
    yield from wrong_entries_of_refunds()
    yield from wrong_run_refunds()
    yield from wrong_days_of_reversed_refunds()
    yield from wrong_days_of_corrections()
    yield from wrong_days_of_runs()


def wrong_entries_of_refunds() -> Iterator[str]:
    """What a refund, or the reversal of one, moves is what its runs say; nothing else names runs."""
    of_entry = RunRefund.objects.filter(entry=OuterRef("pk")).order_by().values("entry")
    rests_on_runs = (
        Q(kind="refund") | Q(kind="correction", source_kind=FOLLOWS) | Q(kind="reversal", reverses__kind="refund")
    )
    entries = LedgerEntry.objects.exclude(source_kind="usage").filter(rests_on_runs | Q(Exists(of_entry)))
    say = Coalesce(Subquery(of_entry.annotate(sum=Sum("seconds")).values("sum")), 0)
    wrong = entries.annotate(runs_say=say).exclude(seconds=F("runs_say")).order_by("pk")
    for pk, seconds, runs_say in wrong.values_list("pk", "seconds", "runs_say").iterator():
        yield f"Entry {pk}: it moves {seconds} GPU-seconds, its refunded runs say {runs_say}."


def wrong_run_refunds() -> Iterator[str]:
    """A run's refund hangs on an entry of its own allocation that gives back usage or takes that back again."""
    fits = Q(entry__total="used", entry__kind__in=("refund", "correction", "reversal"))
    astray = RunRefund.objects.filter(
        ~Q(entry__allocation=F("allocation"))
        | ~fits
        | Q(entry__source_kind="usage")
        | Q(entry__kind="refund", seconds__lt=0)
        | Q(entry__kind="reversal", seconds__gt=0)
    )
    for pk, entry in astray.order_by("pk").values_list("pk", "entry").iterator():
        yield f"Refund of a run {pk}: entry {entry} is of another allocation, sign or kind."


def wrong_days_of_reversed_refunds() -> Iterator[str]:
    """The reversal of a refund takes every day of every run back, no other and no more."""
    found = rows(
        """
        SELECT reversal_id, run_id, day, SUM(seconds) FROM (
            SELECT entry.id AS reversal_id, of_run.run_id, of_run.day, of_run.seconds
            FROM allocations_ledgerentry AS entry JOIN allocations_ledgerentry AS refund
              ON refund.id = entry.reverses_id AND refund.kind = 'refund'
            JOIN allocations_runrefund AS of_run ON of_run.entry_id IN (entry.id, refund.id)
            WHERE entry.kind = 'reversal'
        ) AS told GROUP BY reversal_id, run_id, day HAVING SUM(seconds) <> 0 ORDER BY reversal_id, run_id, day
        """
    )
    for entry, run, day, seconds in found:
        yield f"Entry {entry}: it reverses a refund, yet {seconds} GPU-seconds of run #{run} on {day} are left of both."


def wrong_days_of_corrections() -> Iterator[str]:
    """A correction moves days of runs that its refund gave back."""
    found = rows(
        """
        SELECT entry.id, entry.source_reference, moved.run_id, moved.day
        FROM allocations_ledgerentry AS entry JOIN allocations_runrefund AS moved ON moved.entry_id = entry.id
        WHERE entry.kind = 'correction' AND NOT EXISTS (
            SELECT 1 FROM allocations_runrefund AS given
            WHERE given.run_id = moved.run_id AND given.day = moved.day
              AND CAST(given.entry_id AS text) = entry.source_reference)
        ORDER BY entry.id, moved.run_id, moved.day
        """
    )
    for entry, refund, run, day in found:
        yield f"Entry {entry}: it moves run #{run} on {day}, which refund {refund} did not give back."


def wrong_days_of_runs() -> Iterator[str]:
    """What stands refunded of a run on a day: what was decided, and no more than is charged."""
    found = rows(
        """
        SELECT allocation_id, run_id, day, SUM(refunded), SUM(decided), SUM(charged) FROM (
            SELECT refund.allocation_id, refund.run_id, refund.day, refund.seconds AS refunded,
                   CASE WHEN entry.kind = 'correction' THEN 0 ELSE refund.seconds END AS decided, 0 AS charged
            FROM allocations_runrefund AS refund JOIN allocations_ledgerentry AS entry ON entry.id = refund.entry_id
            UNION ALL
            SELECT charge.allocation_id, charge.run_id, charge.day, 0, 0, charge.seconds
            FROM allocations_runcharge AS charge
            WHERE charge.run_id IN (SELECT run_id FROM allocations_runrefund)
        ) AS told
        GROUP BY allocation_id, run_id, day
        HAVING SUM(refunded) <> CASE WHEN SUM(decided) < SUM(charged) THEN SUM(decided) ELSE SUM(charged) END
           AND (SUM(refunded) <> 0 OR SUM(decided) <> 0)
        ORDER BY run_id, allocation_id, day
        """
    )
    for allocation, run, day, refunded, decided, charged in found:
        yield (
            f"Run #{run} on {day}, allocation #{allocation}: {refunded} GPU-seconds stand refunded, "
            f"{decided} were decided and {charged} are charged."
        )
