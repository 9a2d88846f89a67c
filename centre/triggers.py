"""What the database itself refuses, beyond the constraints in `Meta`: declared once, for both databases.

* history is written once: rows are added, never changed or removed;
* periods of the same thing do not overlap (PostgreSQL: an exclusion constraint; SQLite: triggers of the same name);
* two people stand behind every act that gives or takes GPU time above the centre's threshold.

SQLite rebuilds a table when a migration alters it and silently drops its triggers, so the rules are installed after
every `migrate`, and a system check (`manage.py check --database default`) compares the database with this page.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from centre.refused_rows import (
    ABOVE_THE_CEILING,
    CHANGED_TERMS,
    CONFIRMED,
    DRAWS_ALREADY,
    DRAWS_ELSEWHERE,
    IS_COVERED_BY_NAME,
    LATER_THAN_THE_FIRST,
    MORE_THAN_WITHDRAWN,
    NEEDS_TWO_PEOPLE,
    NOT_AS_DECIDED,
)


@dataclass(frozen=True)
class Rule:
    """A rule on one table: the names of the triggers or constraints that hold it, and the SQL that makes them."""

    app_label: str
    table: str
    name: str
    postgres: tuple[str, ...]
    sqlite: tuple[str, ...]
    sqlite_names: tuple[str, ...]
    postgres_is_constraint: bool = False


def append_only(app_label: str, table: str) -> Rule:
    """Rows of the table are added, never changed or removed."""
    message = f"{table} is append-only: record a correction instead"
    return _kept(app_label, table, f"{table}_is_append_only", message, acts=("update", "delete"))


def never_removed(app_label: str, table: str) -> Rule:
    """Rows of the table stay as history; how they may change is another rule's."""
    return _kept(app_label, table, f"{table}_is_kept", f"rows of {table} are never removed", acts=("delete",))


def _kept(app_label: str, table: str, name: str, message: str, *, acts: Sequence[str]) -> Rule:
    return Rule(
        app_label=app_label,
        table=table,
        name=name,
        postgres=(
            f"""CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            f"CREATE TRIGGER {name} BEFORE {' OR '.join(acts).upper()} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {name}()",
            f"DROP TRIGGER IF EXISTS {name}_whole ON {table}",
            f"CREATE TRIGGER {name}_whole BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
        ),
        sqlite=(
            *(
                statement
                for act in acts
                for statement in (
                    f"DROP TRIGGER IF EXISTS {name}_{act}",
                    f"CREATE TRIGGER {name}_{act} BEFORE {act.upper()} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{message}'); END",
                )
            ),
            # REPLACE removes the row in its way, and asks the trigger above only where recursive_triggers is on
            f"DROP TRIGGER IF EXISTS {name}_replace",
            f"CREATE TRIGGER {name}_replace BEFORE INSERT ON {table} "
            f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, '{message}'); END",
        ),
        sqlite_names=(*(f"{name}_{act}" for act in acts), f"{name}_replace"),
    )


def no_overlap(
    app_label: str, table: str, name: str, *, same: Sequence[str], first: str, last: str, unless: str = ""
) -> Rule:
    """No two rows that agree in `same` share a day between `first` and `last` (both included; last may be NULL).

    `unless` is a condition on a row, with `{row}` in the place of its name, under which the row does not count.
    """
    agree = " AND ".join(f"other.{column} = NEW.{column}" for column in same)
    counts_new = f"NOT ({unless.format(row='NEW')}) AND" if unless else ""
    counts_other = f"AND NOT ({unless.format(row='other')})" if unless else ""
    body = (
        f"BEGIN SELECT RAISE(ABORT, '{name}') WHERE {counts_new} EXISTS (SELECT 1 FROM {table} other "
        f"WHERE {agree} AND other.id IS NOT NEW.id {counts_other} "
        f"AND other.{first} <= COALESCE(NEW.{last}, '9999-12-31') "
        f"AND NEW.{first} <= COALESCE(other.{last}, '9999-12-31')); END"
    )
    equal = ", ".join(f"{column} WITH =" for column in same)
    where = f"WHERE (NOT ({unless.format(row=table)}))" if unless else ""
    return Rule(
        app_label=app_label,
        table=table,
        name=name,
        postgres=(
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}",
            f"ALTER TABLE {table} ADD CONSTRAINT {name} "
            f"EXCLUDE USING gist ({equal}, daterange({first}, {last}, '[]') WITH &&) {where}",
        ),
        sqlite=(
            f"DROP TRIGGER IF EXISTS {name}_insert",
            f"CREATE TRIGGER {name}_insert BEFORE INSERT ON {table} {body}",
            f"DROP TRIGGER IF EXISTS {name}_update",
            f"CREATE TRIGGER {name}_update BEFORE UPDATE ON {table} {body}",
        ),
        sqlite_names=(f"{name}_insert", f"{name}_update"),
        postgres_is_constraint=True,
    )


def refused(
    app_label: str, table: str, name: str, *, when: str, message: str, events: Sequence[str] = ("INSERT",)
) -> Rule:
    """Refuse a row of which `when` holds: a condition on NEW (in a DELETE, on OLD), in SQL that both databases read.

    An event may name its columns: "UPDATE OF state, account" costs nothing where others are changed.
    """
    on = " OR ".join(events)
    acts = {f"{name}_{event.split()[0].lower()}": event for event in events}
    return Rule(
        app_label=app_label,
        table=table,
        name=name,
        postgres=(
            f"""CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN IF {when} THEN RAISE EXCEPTION '{name}: {message}'
                USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN COALESCE(NEW, OLD); END $$""",
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            f"CREATE TRIGGER {name} BEFORE {on} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ),
        sqlite=tuple(
            statement
            for trigger, event in acts.items()
            for statement in (
                f"DROP TRIGGER IF EXISTS {trigger}",
                f"CREATE TRIGGER {trigger} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{name}: {message}') WHERE {when}; END",
            )
        ),
        sqlite_names=tuple(acts),
    )


RULES: tuple[Rule, ...] = (
    append_only("centre", "centre_event"),
    append_only("centre", "centre_listprice"),
    refused(
        "centre",
        "centre_appointment",
        "an_appointment_keeps_its_terms",
        when=CHANGED_TERMS,
        message="it is approved, withdrawn or ended earlier, and never changes otherwise",
        events=("UPDATE",),
    ),
    refused(
        "centre",
        "centre_appointment",
        "only_the_first_two_administrators_are_appointed_without_a_second_person",
        when=LATER_THAN_THE_FIRST,
        message="one person asks, another approves",
    ),
    never_removed("centre", "centre_appointment"),
    no_overlap(
        "centre",
        "centre_poolmapping",
        "pool_mapping_is_unambiguous",
        same=("cluster_id", "kind", "name"),
        first="from_on",
        last="until_on",
    ),
    append_only("allocations", "allocations_ledgerentry"),
    append_only("allocations", "allocations_runcharge"),
    append_only("allocations", "allocations_runobservation"),
    append_only("allocations", "allocations_runrefund"),
    append_only("allocations", "allocations_requestedrun"),
    append_only("allocations", "allocations_periodend"),
    refused(
        "allocations",
        "allocations_periodendrule",
        "an_approved_period_end_rule_stands",
        when="OLD.approved_at IS NOT NULL",
        message="a rule is superseded by a later one, never edited",
        events=("UPDATE", "DELETE"),
    ),
    refused(
        "allocations",
        "allocations_takebackrule",
        "an_approved_take_back_rule_stands",
        when="OLD.approved_at IS NOT NULL",
        message="a rule is superseded by a later one, never edited",
        events=("UPDATE", "DELETE"),
    ),
    no_overlap(
        "allocations",
        "allocations_allocation",
        "one_allocation_covers_an_account_pool_and_day",
        same=("pool_id", "account"),
        first="start_on",
        last="end_on",
        unless="{row}.state = 'void'",
    ),
    no_overlap(
        "allocations",
        "allocations_drawingaccount",
        "one_drawing_account_per_pool_and_day",
        same=("pool_id", "account"),
        first="from_on",
        last="until_on",
        unless="{row}.withdrawn_at IS NOT NULL",
    ),
    refused(
        "allocations",
        "allocations_drawingaccount",
        "a_further_account_draws_within_its_allocation",
        when=DRAWS_ELSEWHERE,
        message="its pool and days are those of the allocation",
    ),
    refused(
        "allocations",
        "allocations_drawingaccount",
        "a_further_account_is_not_covered_by_name",
        when=IS_COVERED_BY_NAME,
        message="an allocation takes this account by its own name on one of the days",
    ),
    refused(
        "allocations",
        "allocations_allocation",
        "an_allocation_covers_no_further_account",
        when=DRAWS_ALREADY,
        message="its account draws on another allocation on one of the days",
        events=("INSERT", "UPDATE OF state, account, pool_id, start_on, end_on"),
    ),
    refused(
        "allocations",
        "allocations_drawingaccount",
        "a_further_account_is_only_withdrawn_once",
        when=MORE_THAN_WITHDRAWN,
        message="it never changes except for its withdrawal",
        events=("UPDATE",),
    ),
    never_removed("allocations", "allocations_drawingaccount"),
    refused(
        "allocations",
        "allocations_ledgerentry",
        "two_people_stand_behind_an_entry",
        when=NEEDS_TWO_PEOPLE,
        message="someone has to ask and someone else to approve",
    ),
    append_only("allocations", "allocations_statement"),
    append_only("centre", "centre_letter"),
    never_removed("centre", "centre_tenantcontact"),
    append_only("subsidies", "subsidies_fundentry"),
    append_only("subsidies", "subsidies_applicationstep"),
    append_only("subsidies", "subsidies_awardgrant"),
    refused(
        "subsidies",
        "subsidies_decision",
        "decision_keeps_to_the_ceilings",
        when=ABOVE_THE_CEILING,
        message="above the ordinary ceiling it needs exceptional grounds, above the exceptional one it is impossible",
        events=("INSERT", "UPDATE"),
    ),
    refused(
        "subsidies",
        "subsidies_decision",
        "a_confirmed_decision_stands",
        when="OLD.confirmed_at IS NOT NULL",
        message="a confirmed decision never changes",
        events=("UPDATE", "DELETE"),
    ),
    refused(
        "subsidies",
        "subsidies_decisiongrant",
        "a_confirmed_decision_gains_no_grant",
        when=CONFIRMED.format(row="NEW"),
        message="a confirmed decision never changes",
        events=("INSERT", "UPDATE"),
    ),
    refused(
        "subsidies",
        "subsidies_decisiongrant",
        "a_confirmed_decision_loses_no_grant",
        when=CONFIRMED.format(row="OLD"),
        message="a confirmed decision never changes",
        events=("UPDATE", "DELETE"),
    ),
    refused(
        "subsidies",
        "subsidies_condition",
        "a_confirmed_decision_gains_no_condition",
        when=CONFIRMED.format(row="NEW"),
        message="a confirmed decision never changes",
    ),
    refused(
        "subsidies",
        "subsidies_condition",
        "a_confirmed_decision_loses_no_condition",
        when=CONFIRMED.format(row="OLD"),
        message="a confirmed decision never changes",
        events=("DELETE",),
    ),
    refused(
        "subsidies",
        "subsidies_condition",
        "a_condition_keeps_its_words",
        when=f"{CONFIRMED.format(row='OLD')} AND (NEW.decision_id <> OLD.decision_id OR NEW.text <> OLD.text "
        "OR COALESCE(NEW.due_on, '0001-01-01') <> COALESCE(OLD.due_on, '0001-01-01'))",
        message="a confirmed decision never changes",
        events=("UPDATE",),
    ),
    refused(
        "subsidies",
        "subsidies_award",
        "an_award_says_what_was_decided",
        when=NOT_AS_DECIDED,
        message="an award rests on a confirmed approval and says what it says",
        events=("INSERT", "UPDATE"),
    ),
)


def rules_of(app_label: str) -> list[Rule]:
    return [rule for rule in RULES if rule.app_label == app_label]


def install(connection: BaseDatabaseWrapper, rules: Iterable[Rule]) -> None:
    """Make these rules hold in the database; safe to repeat."""
    with connection.cursor() as cursor:
        present = set(connection.introspection.table_names(cursor))
        for rule in rules:
            if rule.table in present:
                for statement in rule.postgres if connection.vendor == "postgresql" else rule.sqlite:
                    cursor.execute(statement)


def lift_before_migrate(sender: AppConfig, using: str, **_kwargs: Any) -> None:
    """On SQLite, take the triggers away for as long as migrations run; `install_after_migrate` brings them back.

    SQLite changes a table by making it anew, and refuses that while a trigger of another table reads it. PostgreSQL
    keeps its triggers through every change.
    """
    connection = connections[using]
    if connection.vendor != "sqlite" or sender.label != "centre":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        present = {name for (name,) in cursor.fetchall()}
        for rule in RULES:
            for name in present.intersection(rule.sqlite_names):
                cursor.execute(f"DROP TRIGGER {connection.ops.quote_name(name)}")


def install_after_migrate(sender: AppConfig, using: str, **_kwargs: Any) -> None:
    install(connections[using], rules_of(sender.label))


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """The names of declared rules that the database does not hold, or holds switched off."""
    with connection.cursor() as cursor:
        present = set(connection.introspection.table_names(cursor))
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D' "
                "UNION SELECT conname FROM pg_constraint WHERE contype = 'x'"
            )
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        found = {name for (name,) in cursor.fetchall()}
    lacking: list[str] = []
    for rule in RULES:
        names = (rule.name,) if connection.vendor == "postgresql" else rule.sqlite_names
        if rule.table in present:
            lacking += [name for name in names if name not in found]
    return lacking


def check_installed(databases: Sequence[str] | None, **_kwargs: Any) -> list[checks.CheckMessage]:
    """System check: every declared rule stands in the database.

    A warning, not an error: `migrate` checks first and would refuse to bring in what is missing. Deployments ask with
    `check --database default --fail-level WARNING`.
    """
    return [
        checks.Warning(
            f"The rule “{name}” is missing from the database “{using}”.",
            hint="Run “manage.py migrate”; it installs the rules anew.",
            id="centre.W001",
        )
        for using in databases or ()
        for name in missing(connections[using])
    ]
