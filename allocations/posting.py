"""The only writer of ledger entries and of the running totals that they move.

`post` writes one entry and moves the total in the same transaction. It decides by updating: a decision that would take
more than is available changes no row. Never `ON CONFLICT` on the entry: the total would move all the same. A key that
is used already raises inside a savepoint, which takes the update back; then the entry that stands is compared.

`post_usage` does the same for what an import or a recharge found, set-based: entries, run charges, the daily rollup
and, last of all, the totals.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from allocations import staging
from allocations.models import Allocation, LedgerEntry
from allocations.models.usage import outcome_sql
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
TAKES_DECISIONS = frozenset({Allocation.State.OPEN, Allocation.State.SUSPENDED})
"""States in which hours can be given and taken."""
MOST_SECONDS = 10**16
"""No act is about more GPU-seconds (300 million GPU-years); totals stay far below what a column holds."""
SAME_CONTENT = ("allocation_id", "kind", "total", "seconds", "effective_on", "reverses_id", "asked_by_id")


class LedgerError(Exception):
    """The ledger refuses an act; the message is a sentence for a person."""


class NotEnough(LedgerError):
    """A decision would take more than is available."""


class KeyReused(LedgerError):
    """The same key was used for an entry with other content."""


class TooMuch(LedgerError):
    """More GPU-seconds than can be meant."""


class PeriodClosed(LedgerError):
    """A decision about an allocation whose period was closed, or which is void."""


class TwoPeopleNeeded(LedgerError):
    """An act above the centre's threshold lacks a second person."""


ENTRY_COLUMNS = (
    *("allocation_id", "kind", "total", "seconds", "effective_on", "recorded_at", "asked_by_id", "approved_by_id"),
    *("reason", "key", "source_kind", "source_reference", "reverses_id", "lapses_on"),
)
CASTS = ("%s",) * len(ENTRY_COLUMNS)
TOTALS = ("granted_seconds", "used_seconds", "held_seconds")


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
    total: LedgerEntry.Total | None = None,
    lapses_on: date | None = None,
    follows_from_usage: bool = False,
) -> tuple[LedgerEntry, bool]:
    """Write one entry and move the total that it names; returns the entry, and whether it is new.

    `seconds` are GPU-seconds signed by their effect on what is available. `total` is named for a correction only; a
    reversal or release moves the total of the entry that it `reverses`. The same `key` with the same content gives the
    entry that stands; with other content KeyReused. A decision that takes more than is available raises NotEnough,
    one on an allocation that is closed or void PeriodClosed; what `follows_from_usage` is a fact and raises neither.
    A grant or the like without a second person raises TwoPeopleNeeded (the database holds that rule).
    """
    entry = LedgerEntry(
        allocation=allocation,
        kind=kind,
        total=reverses.total if reverses else total or TOTAL_OF[kind],
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
        lapses_on=lapses_on,
    )
    if abs(seconds) > MOST_SECONDS:
        raise TooMuch(_("This is more than any machine could give. Check the number of GPU-hours."))
    is_fact = follows_from_usage or kind == Kind.CHARGE
    try:
        with transaction.atomic():
            moved = _write(entry, is_fact=is_fact)
    except IntegrityError as error:
        if "two_people_stand_behind_an_entry" in str(error):
            raise TwoPeopleNeeded(
                _("Giving or taking GPU-hours needs two people: one who asks and another who approves.")
            ) from error
        if standing := _standing(entry):
            return standing, False
        raise
    if moved is None:
        if standing := _standing(entry):
            return standing, False  # sent twice, and by now there is less left
        raise _refusal(allocation, seconds)
    allocation.granted_seconds, allocation.used_seconds, allocation.held_seconds = moved
    return entry, True


def _write(entry: LedgerEntry, *, is_fact: bool) -> tuple[int, int, int] | None:
    """Move the total and insert the entry; the totals afterwards, or None when the decision must not be.

    On PostgreSQL one statement does both, so that a row that many want is locked as shortly as can be.
    """
    values = [_plain(getattr(entry, column)) for column in ENTRY_COLUMNS]
    # granted rises with what becomes available; used and held rise with what no longer is
    moved = entry.seconds if entry.total == Total.GRANTED else -entry.seconds
    may_be = "true"
    if not is_fact:
        may_be = "state IN ('open', 'suspended')"
        if entry.seconds < 0:
            may_be += f" AND granted_seconds - used_seconds - held_seconds >= {-entry.seconds:d}"
    update = f"""
        UPDATE allocations_allocation SET {Total(entry.total).value}_seconds = {Total(entry.total).value}_seconds + %s
        WHERE id = %s AND {may_be} RETURNING {", ".join(TOTALS)}
    """  # noqa: S608  names and numbers of our own
    columns, marks = ", ".join(ENTRY_COLUMNS), ", ".join(CASTS)
    if staging.is_postgres():
        found = staging.rows(
            f"""
            WITH moved AS ({update}),
            posted AS (INSERT INTO allocations_ledgerentry ({columns}) SELECT {marks} FROM moved RETURNING id)
            SELECT posted.id, moved.* FROM posted, moved
            """,  # noqa: S608
            [moved, entry.allocation_id, *values],
        )
        if not found:
            return None
        entry.pk, *totals = found[0]
    else:
        found = staging.rows(update, [moved, entry.allocation_id])
        if not found:
            return None
        totals = list(found[0])
        insert = f"INSERT INTO allocations_ledgerentry ({columns}) VALUES ({marks}) RETURNING id"  # noqa: S608
        ((entry.pk,),) = staging.rows(insert, values)
    entry._state.adding = False
    entry._state.db = connection.alias
    granted, used, held = totals
    return granted, used, held


def _plain(value: Any) -> Any:
    """A choice as its text; the database driver would write an enumeration's name."""
    return str(value) if isinstance(value, str) else value


def _refusal(allocation: Allocation, seconds: int) -> LedgerError:
    """Why a decision changed no row, as a sentence."""
    allocation.refresh_from_db(fields=[*TOTALS, "state"])
    if allocation.state not in TAKES_DECISIONS:
        return PeriodClosed(
            _("%(reference)s is closed; its books change only by what is still learnt of its usage.")
            % {"reference": allocation.reference}
        )
    return NotEnough(
        _("Only %(left)s GPU-hours are left on %(reference)s; this would take %(asked)s.")
        % {
            "left": hours_text(allocation.available_seconds),
            "reference": allocation.reference,
            "asked": hours_text(-seconds),
        }
    )


def _standing(entry: LedgerEntry) -> LedgerEntry | None:
    """The entry that has this key already and says the same; KeyReused when it says something else."""
    standing = LedgerEntry.objects.filter(key=entry.key).first()
    if standing is None:
        return None
    if any(getattr(standing, field) != getattr(entry, field) for field in SAME_CONTENT):
        raise KeyReused(_("This was already recorded with other content (entry %(number)s).") % {"number": standing.pk})
    entry.allocation.refresh_from_db(fields=TOTALS)
    return standing


def post_usage(*, source_reference: str, at: datetime) -> int:
    """Post the temporary table `usage_delta(run_id, allocation_id, day, seconds)`; returns the net GPU-seconds charged.

    `seconds` are positive where more is to be charged. Per allocation and day one CHARGE takes the positive differences
    and one REFUND the negative ones, so that every run charge hangs on an entry of its own sign. `move_used` ends it.
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
    (bounds,) = staging.rows("SELECT MIN(run_id), MAX(run_id) FROM usage_delta")
    add_to_daily_usage(
        f"""
        SELECT delta.allocation_id, delta.day, run.user_name, {outcome_sql("run")}, SUM(delta.seconds)
        FROM usage_delta AS delta JOIN allocations_jobrun AS run ON run.id = delta.run_id
        WHERE run.id BETWEEN %s AND %s GROUP BY 1, 2, 3, 4
        """,  # noqa: S608  no text from outside
        bounds,  # else PostgreSQL may read every run there ever was
    )
    return staging.number("SELECT SUM(seconds) FROM usage_delta")


def move_used() -> None:
    """Move the totals by what `post_usage` has posted; the last step, so that rows are locked shortly."""
    staging.execute(
        """
        UPDATE allocations_allocation SET used_seconds = used_seconds + moved.seconds
        FROM (SELECT allocation_id, SUM(seconds) AS seconds FROM usage_delta GROUP BY allocation_id) AS moved
        WHERE moved.allocation_id = allocations_allocation.id
        """
    )


def add_to_daily_usage(differences: str, parameters: Sequence[Any] = ()) -> None:
    """Add `SELECT allocation_id, day, user_name, outcome, seconds` to the rollup; what names a row at most once."""
    staging.execute(
        f"""
        INSERT INTO allocations_dailyusage (allocation_id, day, user_name, outcome, seconds) {differences}
        ON CONFLICT (allocation_id, day, user_name, outcome)
        DO UPDATE SET seconds = allocations_dailyusage.seconds + excluded.seconds
        """,
        parameters,
    )
