"""The only writer of ledger entries and of the running totals that they move.

`post` writes one entry and moves the total in the same transaction. It decides by updating: a decision that would take
more than is available changes no row. Never `ON CONFLICT` on the entry: the total would move all the same. A key that
is used already raises inside a savepoint, which takes the update back; then the entry that stands is compared.

`post_usage` does the same for what an import or a recharge found, set-based: entries, run charges, the daily rollup
and, last of all, the totals.
"""

from datetime import date, datetime

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from allocations import staging
from allocations.models import Allocation, LedgerEntry
from centre.amounts import hours_text
from centre.models import User

Kind = LedgerEntry.Kind
Total = LedgerEntry.Total

TOTAL_OF = {
    Kind.GRANT: Total.GRANTED,
    Kind.TOP_UP: Total.GRANTED,
    Kind.TRANSFER: Total.GRANTED,
    Kind.FORFEIT: Total.GRANTED,
    Kind.CHARGE: Total.USED,
    Kind.REFUND: Total.USED,
    Kind.HOLD: Total.HELD,
    Kind.RELEASE: Total.HELD,
}
FACTS = frozenset({Kind.CHARGE, Kind.REFUND})
"""Usage is a fact: it is charged also past zero."""
SAME_CONTENT = ("allocation_id", "kind", "total", "seconds", "effective_on", "reverses_id", "asked_by_id")


class LedgerError(Exception):
    """The ledger refuses an act; the message is a sentence for a person."""


class NotEnough(LedgerError):
    """A decision would take more than is available."""


class KeyReused(LedgerError):
    """The same key was used for an entry with other content."""


class TwoPeopleNeeded(LedgerError):
    """An act above the centre's threshold lacks a second person."""


def post(
    *,
    allocation: Allocation,
    kind: LedgerEntry.Kind,
    seconds: int,
    effective_on: date,
    key: str,
    at: datetime,
    source_kind: str,
    source_reference: str = "",
    asked_by: User | None = None,
    approved_by: User | None = None,
    reason: str = "",
    reverses: LedgerEntry | None = None,
) -> LedgerEntry:
    """Write one entry and move the total that it names; a reversal moves the total of the entry that it `reverses`.

    `seconds` are GPU-seconds signed by their effect on what is available. The same `key` with the same content gives
    the entry that stands; with other content KeyReused. A decision that takes more than is available raises NotEnough;
    a grant or the like without a second person raises TwoPeopleNeeded (the database holds that rule).
    """
    total = Total(reverses.total) if reverses else TOTAL_OF[kind]
    entry = LedgerEntry(
        allocation=allocation,
        kind=kind,
        total=total,
        seconds=seconds,
        effective_on=effective_on,
        recorded_at=at,
        asked_by=asked_by,
        approved_by=approved_by,
        reason=reason,
        key=key,
        source_kind=source_kind,
        source_reference=source_reference,
        reverses=reverses,
    )
    try:
        with transaction.atomic():
            _move_total(allocation, total, seconds, must_be_available=seconds < 0 and kind not in FACTS)
            entry.save(force_insert=True)
    except IntegrityError as error:
        if "two_people_stand_behind_an_entry" in str(error):
            raise TwoPeopleNeeded(
                _("Giving or taking GPU-hours needs two people: one who asks and another who approves.")
            ) from error
        standing = LedgerEntry.objects.filter(key=key).first()
        if standing is None:
            raise
        if any(getattr(standing, field) != getattr(entry, field) for field in SAME_CONTENT):
            raise KeyReused(
                _("This was already recorded with other content (entry %(number)s).") % {"number": standing.pk}
            ) from error
        entry = standing
    allocation.refresh_from_db(fields=["granted_seconds", "used_seconds", "held_seconds"])
    return entry


def _move_total(allocation: Allocation, total: LedgerEntry.Total, seconds: int, *, must_be_available: bool) -> None:
    rows = Allocation.objects.filter(pk=allocation.pk)
    if must_be_available:
        rows = rows.filter(granted_seconds__gte=F("used_seconds") + F("held_seconds") - seconds)
    # granted rises with what becomes available; used and held rise with what no longer is
    moved = seconds if total == Total.GRANTED else -seconds
    field = f"{total.value}_seconds"
    if not rows.update(**{field: F(field) + moved}):
        allocation.refresh_from_db(fields=["granted_seconds", "used_seconds", "held_seconds"])
        raise NotEnough(
            _("Only %(left)s GPU-hours are left on %(reference)s; this would take %(asked)s.")
            % {
                "left": hours_text(allocation.available_seconds),
                "reference": allocation.reference,
                "asked": hours_text(-seconds),
            }
        )


def post_usage(*, source_reference: str, at: datetime) -> int:
    """Post the temporary table `usage_delta(run_id, allocation_id, day, seconds)`; returns the net GPU-seconds charged.

    `seconds` are positive where more is to be charged. Per allocation and day one CHARGE takes the positive differences
    and one REFUND the negative ones, so that every run charge hangs on an entry of its own sign.
    """
    staging.analyze("usage_delta")
    staging.lock_allocations("usage_delta")
    last = staging.number("SELECT MAX(id) FROM allocations_ledgerentry")
    staging.execute(
        """
        INSERT INTO allocations_ledgerentry
            (allocation_id, kind, total, seconds, effective_on, recorded_at, reason, key, source_kind, source_reference)
        SELECT allocation_id, kind, 'used', -SUM(seconds), day, %s, '',
               'usage:' || %s || ':' || allocation_id || ':' || day || ':' || kind, 'usage', %s
        FROM (SELECT allocation_id, day, seconds, CASE WHEN seconds > 0 THEN 'charge' ELSE 'refund' END AS kind
              FROM usage_delta) AS signed
        GROUP BY allocation_id, day, kind
        ORDER BY allocation_id, day, kind
        """,
        [at, source_reference, source_reference],
    )
    with staging.temporary_table("posted_entry", "entry_id bigint, allocation_id bigint, day date, seconds bigint"):
        staging.execute(
            """
            INSERT INTO posted_entry (entry_id, allocation_id, day, seconds)
            SELECT id, allocation_id, effective_on, seconds FROM allocations_ledgerentry
            WHERE id > %s AND source_kind = 'usage' AND source_reference = %s
            """,
            [last, source_reference],
        )
        staging.analyze("posted_entry")
        staging.execute(
            """
            INSERT INTO allocations_runcharge (run_id, allocation_id, day, seconds, entry_id, recorded_at)
            SELECT delta.run_id, delta.allocation_id, delta.day, delta.seconds, entry.entry_id, %s
            FROM usage_delta AS delta
            JOIN posted_entry AS entry
              ON entry.allocation_id = delta.allocation_id AND entry.day = delta.day
             AND (entry.seconds < 0) = (delta.seconds > 0)
            """,
            [at],
        )
    add_to_daily_usage(
        """
        SELECT delta.allocation_id, delta.day, run.user_name, SUM(delta.seconds)
        FROM usage_delta AS delta JOIN allocations_jobrun AS run ON run.id = delta.run_id
        WHERE true GROUP BY delta.allocation_id, delta.day, run.user_name
        """
    )
    staging.execute(
        """
        UPDATE allocations_allocation SET used_seconds = used_seconds + moved.seconds
        FROM (SELECT allocation_id, SUM(seconds) AS seconds FROM usage_delta GROUP BY allocation_id) AS moved
        WHERE moved.allocation_id = allocations_allocation.id
        """
    )
    return staging.number("SELECT SUM(seconds) FROM usage_delta")


def add_to_daily_usage(differences: str) -> None:
    """Add `SELECT allocation_id, day, user_name, seconds` to the rollup; each (allocation, day, user) at most once."""
    staging.execute(
        f"""
        INSERT INTO allocations_dailyusage (allocation_id, day, user_name, seconds) {differences}
        ON CONFLICT (allocation_id, day, user_name)
        DO UPDATE SET seconds = allocations_dailyusage.seconds + excluded.seconds
        """
    )
