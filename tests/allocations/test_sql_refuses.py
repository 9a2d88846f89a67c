"""What must never be is refused in plain SQL too, on both databases: no code of the portal stands in between."""

from collections.abc import Sequence

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from centre.models import User
from tests import make
from tests.allocations.books import query
from tests.allocations.written_once import WRITTEN_ONCE, a_row_in_each, period_end_rule, take_back_rule

pytestmark = pytest.mark.django_db

HOUR = make.HOUR
GIVES_OR_TAKES = [
    ("grant", "granted", 1),
    ("top_up", "granted", 1),
    ("forfeit", "granted", -1),
    ("transfer", "granted", 1),
    ("transfer", "granted", -1),
    ("refund", "used", 1),
    ("correction", "granted", 1),
    ("correction", "used", -1),
    ("reversal", "granted", -1),
    ("reversal", "granted", 1),
]
"""Kind of entry, the total that it moves, its sign."""


def run(sql: str, values: Sequence[str | int | None] = ()) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)


@pytest.mark.parametrize("table", WRITTEN_ONCE)
def test_history_takes_no_update_and_no_delete(table: str) -> None:
    a_row_in_each()
    before = query(f"SELECT * FROM {table} ORDER BY id")
    assert before
    with connection.cursor() as cursor:
        columns = [column.name for column in connection.introspection.get_table_description(cursor, table)]
    statements = [f"UPDATE {table} SET {column} = {column}" for column in columns]
    for statement in [*statements, f"DELETE FROM {table}", f"DELETE FROM {table} WHERE id = {before[0][0]}"]:
        with pytest.raises(IntegrityError, match=f"{table} is append-only"):
            run(statement)
    assert query(f"SELECT * FROM {table} ORDER BY id") == before


@pytest.mark.parametrize("table", WRITTEN_ONCE)
def test_history_is_not_replaced_by_an_insert(table: str) -> None:
    """SQLite's REPLACE removes the row in its way; PostgreSQL's ON CONFLICT changes it."""
    a_row_in_each()
    before = query(f"SELECT * FROM {table} ORDER BY id")
    sql = f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"
    if connection.vendor == "postgresql":
        sql = f"INSERT INTO {table} SELECT * FROM {table} ON CONFLICT (id) DO UPDATE SET id = EXCLUDED.id"
    with pytest.raises(IntegrityError, match=f"{table} is append-only"):
        run(sql)
    assert query(f"SELECT * FROM {table} ORDER BY id") == before


def test_history_is_not_replaced_by_a_row_with_the_same_key() -> None:
    """SQLite alone: the row in the way has another number."""
    entries = Entries()
    verb = "INSERT OR REPLACE" if connection.vendor == "sqlite" else "INSERT"
    columns = "allocation_id, kind, total, effective_on, recorded_at, asked_by_id, approved_by_id, reason, source_kind"
    with pytest.raises(IntegrityError):
        run(
            f"{verb} INTO allocations_ledgerentry ({columns}, source_reference, key, seconds) "
            f"SELECT {columns}, source_reference, key, 1 FROM allocations_ledgerentry"
        )
    assert query("SELECT id, seconds FROM allocations_ledgerentry") == [(entries.grant.pk, 100 * HOUR)]


class Entries:
    """Writes entries in plain SQL on an allocation of 100 GPU-hours, the centre's threshold being one GPU-hour."""

    def __init__(self) -> None:
        make.centre(two_person_above_seconds=HOUR)
        self.allocation = make.allocation(hours=100)
        self.one, self.other = make.person(), make.person()
        self.grant = self.allocation.entries.get()

    def write(
        self,
        kind: str,
        total: str,
        seconds: int,
        asked_by: User | None,
        approved_by: User | None,
        *,
        source: tuple[str, str] = ("test", ""),
        key: str = "in plain SQL",
    ) -> None:
        values: dict[str, str | int | None] = {
            "allocation_id": self.allocation.pk,
            "kind": kind,
            "total": total,
            "seconds": seconds,
            "effective_on": make.today().isoformat(),
            "recorded_at": timezone.now().isoformat(),
            "asked_by_id": asked_by.pk if asked_by else None,
            "approved_by_id": approved_by.pk if approved_by else None,
            "reason": "",
            "key": key,
            "source_kind": source[0],
            "source_reference": source[1],
            "reverses_id": self.grant.pk if kind in {"reversal", "release"} else None,
        }
        marks = ", ".join(["%s"] * len(values))
        run(f"INSERT INTO allocations_ledgerentry ({', '.join(values)}) VALUES ({marks})", list(values.values()))


@pytest.mark.parametrize(("kind", "total", "sign"), GIVES_OR_TAKES)
def test_act_above_the_threshold_needs_two_different_people(kind: str, total: str, sign: int) -> None:
    entries = Entries()
    above = sign * (HOUR + 1)
    one, other = entries.one, entries.other
    for asked_by, approved_by in ((None, None), (one, None), (None, one), (one, one)):
        with pytest.raises(IntegrityError, match="two_people_stand_behind_an_entry"):
            entries.write(kind, total, above, asked_by, approved_by)
    entries.write(kind, total, above, one, other)
    assert query("SELECT seconds FROM allocations_ledgerentry WHERE key = 'in plain SQL'") == [(above,)]


@pytest.mark.parametrize(("kind", "total", "sign"), GIVES_OR_TAKES)
def test_act_up_to_the_threshold_may_be_one_persons(kind: str, total: str, sign: int) -> None:
    entries = Entries()
    entries.write(kind, total, sign * HOUR, entries.one, None)
    assert query("SELECT seconds FROM allocations_ledgerentry WHERE key = 'in plain SQL'") == [(sign * HOUR,)]


@pytest.mark.parametrize(
    ("kind", "total", "sign", "source"),
    [
        ("charge", "used", -1, ("usage", "1")),
        ("refund", "used", 1, ("usage", "1")),
        ("hold", "held", -1, ("request", "1")),
        ("release", "held", 1, ("hold", "1")),
        ("grant", "granted", 1, ("onboard", "")),
    ],
)
def test_usage_holds_and_opening_balances_are_no_acts_of_two(
    kind: str, total: str, sign: int, source: tuple[str, str]
) -> None:
    entries = Entries()
    if source[0] == "onboard":
        entries.allocation = make.allocation(hours=0)
    entries.write(kind, total, sign * 10 * HOUR, None, None, source=source)
    assert query("SELECT kind FROM allocations_ledgerentry WHERE key = 'in plain SQL'") == [(kind,)]


def test_an_opening_balance_is_the_first_entry_of_an_allocation() -> None:
    with pytest.raises(IntegrityError, match="two_people_stand_behind_an_entry"):
        Entries().write("grant", "granted", 2 * HOUR, None, None, source=("onboard", ""))


def test_corrections_of_a_refund_stay_within_it_all_together() -> None:
    entries = Entries()
    entries.write("refund", "used", 5 * HOUR, entries.one, entries.other)
    ((refund,),) = query("SELECT id FROM allocations_ledgerentry WHERE key = 'in plain SQL'")
    follows = ("refund_follows", str(refund))
    for total, seconds in (("granted", 2 * HOUR), ("used", 2 * HOUR), ("used", -6 * HOUR)):
        with pytest.raises(IntegrityError, match="two_people_stand_behind_an_entry"):
            entries.write("correction", total, seconds, None, None, source=follows, key="refused")
    entries.write("correction", "used", -3 * HOUR, None, None, source=follows, key="down")
    with pytest.raises(IntegrityError, match="two_people_stand_behind_an_entry"):
        entries.write("correction", "used", -3 * HOUR, None, None, source=follows, key="further down")
    entries.write("correction", "used", 3 * HOUR, None, None, source=follows, key="up again")


@pytest.mark.parametrize("kind", ["top_up", "transfer", "correction"])
def test_exemptions_do_not_stretch(kind: str) -> None:
    """Only a grant is an opening balance, only usage's own entries are usage, and a correction follows a refund."""
    entries = Entries()
    for source in (("onboard", ""), ("usage", "1"), ("refund_follows", str(entries.grant.pk))):
        with pytest.raises(IntegrityError, match="two_people_stand_behind_an_entry"):
            entries.write(kind, "granted", 2 * HOUR, None, None, source=source)


def test_correction_that_follows_a_refund_stays_within_it() -> None:
    entries = Entries()
    entries.write("refund", "used", 2 * HOUR, entries.one, entries.other)
    ((refund,),) = query("SELECT id FROM allocations_ledgerentry WHERE key = 'in plain SQL'")
    with pytest.raises(IntegrityError, match="two_people_stand_behind_an_entry"):
        entries.write("correction", "used", -2 * HOUR - 1, None, None, source=("refund_follows", str(refund)))
    with pytest.raises(IntegrityError, match="key"):  # the rule lets it pass; its key is taken
        entries.write("correction", "used", -2 * HOUR, None, None, source=("refund_follows", str(refund)))


@pytest.mark.parametrize("make_rule", [period_end_rule, take_back_rule])
def test_approved_rule_is_neither_changed_nor_removed(make_rule: type) -> None:
    rule = make_rule(make.pool(), approved=True)
    table = rule._meta.db_table
    for statement in (
        f"UPDATE {table} SET reason = 'other'",
        f"UPDATE {table} SET approved_at = NULL, approved_by_id = NULL",
        f"DELETE FROM {table}",
    ):
        with pytest.raises(IntegrityError, match="rule_stands"):
            run(statement)
    assert query(f"SELECT reason FROM {table}") == [("agreed",)]


@pytest.mark.parametrize("make_rule", [period_end_rule, take_back_rule])
def test_waiting_rule_may_be_answered_but_not_by_the_person_who_asked(make_rule: type) -> None:
    rule = make_rule(make.pool(), approved=False)
    table = rule._meta.db_table
    for approved_by in ("asked_by_id", "NULL"):
        with pytest.raises(IntegrityError, match="is_approved_by_a_second_person"):
            run(f"UPDATE {table} SET approved_by_id = {approved_by}, approved_at = asked_at")
    run(f"UPDATE {table} SET approved_by_id = {make.person().pk}, approved_at = asked_at")
