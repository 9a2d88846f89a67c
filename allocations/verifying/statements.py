"""Issued statements against the ledger: their seal, their chain, their figures. A second computation, in plain SQL.

What a person's name was, and whose run it was, may have changed since; so the lines of usage are compared day by day.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any

from django.db import connection

from allocations.models import Statement
from allocations.verifying.reading import rows

STATEMENTS_AT_A_TIME = 100
Told = dict[str, Any]


def wrong_statements() -> Iterator[str]:
    """One sentence for each thing that a statement says and the books do not."""
    yield from wrong_numbers()
    last: tuple[int, date] | None = None
    before: Statement | None = None
    while True:
        found = Statement.objects.select_related("project").order_by("project_id", "month")
        if last is not None:
            project, month = last
            found = found.filter(project__gt=project) | found.filter(project=project, month__gt=month)
        part = list(found[:STATEMENTS_AT_A_TIME])
        if not part:
            return
        for statement in part:
            if before is not None and before.project_id != statement.project_id:
                before = None
            for what in wrong_in(statement, before):
                yield f"Statement {statement.number} of {statement.project.code}: {what}"
            before = statement
        last = part[-1].project_id, part[-1].month


def wrong_numbers() -> Iterator[str]:
    """Running numbers have no gaps."""
    for statements, greatest in rows("SELECT COUNT(*), MAX(sequence) FROM allocations_statement"):
        if statements and statements != greatest:
            yield f"Statements: there are {statements}, and the last one has the running number {greatest}."


def wrong_in(statement: Statement, before: Statement | None) -> Iterator[str]:
    if hashlib.sha256(statement.content.encode()).hexdigest() != statement.digest:
        yield "its digest is not that of its content."
    told = json.loads(statement.content)
    said = (told["month"], told["sequence"], told["last_entry"], datetime.fromisoformat(told["as_of"]))
    if said != (statement.month.isoformat(), statement.sequence, statement.last_entry, statement.as_of):
        yield "its content names another month, number, last entry or instant."
    previous = {"sequence": before.sequence, "digest": before.digest} if before else None
    if told["previous"] != previous:
        yield "it does not follow the statement before it."
    if before is not None and before.last_entry > statement.last_entry:
        yield "it knows less than the statement before it."
    yield from wrong_balances(statement, told, json.loads(before.content) if before else None)
    yield from wrong_lines(statement, told, before)
    yield from wrong_money(statement, told, json.loads(before.content) if before else None)


def end_of(statement: Statement) -> date:
    return (statement.month + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def wrong_balances(statement: Statement, told: Told, before: Told | None) -> Iterator[str]:
    """Openings are the closings before; closings are the sums of all that is told of by then."""
    closed = {one["reference"]: one["closing"] for one in before["allocations"]} if before else {}
    zero = {"granted": 0, "used": 0, "held": 0}
    for one in told["allocations"]:
        if one["opening"] != closed.pop(one["reference"], zero):
            yield f"the opening balance of {one['reference']} is not the closing balance before."
    for reference in sorted(closed):
        yield f"{reference} is missing, which the statement before told of."
    say: dict[str, dict[str, int]] = defaultdict(lambda: dict(zero))
    for reference, total, seconds in rows(
        """
        SELECT allocation.reference, entry.total, SUM(entry.seconds)
        FROM allocations_ledgerentry AS entry JOIN allocations_allocation AS allocation
          ON allocation.id = entry.allocation_id
        WHERE allocation.project_id = %s AND entry.id <= %s AND entry.effective_on <= %s
        GROUP BY allocation.reference, entry.total
        """,
        [statement.project_id, statement.last_entry, end_of(statement).isoformat()],
    ):
        say[reference][total] = int(seconds) * (1 if total == "granted" else -1)
    closing = {one["reference"]: one["closing"] for one in told["allocations"]}
    for reference in sorted(closing.keys() | say.keys()):
        if closing.get(reference, zero) != say.get(reference, zero):
            yield f"the closing balance of {reference} is not what its entries say."


Key = tuple[str, str, str, str]
"""Allocation, day, total, and the number of the entry; "" for usage, which is told by day."""


def wrong_lines(statement: Statement, told: Told, before: Statement | None) -> Iterator[str]:
    """Its lines, together and one by one, are the entries that it has to tell of."""
    due: dict[Key, int] = defaultdict(int)
    was_told = [before.last_entry, end_of(before).isoformat()] if before else [-1, "0001-01-01"]
    for reference, day, total, kind, number, seconds in rows(
        """
        SELECT allocation.reference, entry.effective_on, entry.total, entry.source_kind, entry.id, entry.seconds
        FROM allocations_ledgerentry AS entry JOIN allocations_allocation AS allocation
          ON allocation.id = entry.allocation_id
        WHERE allocation.project_id = %s AND entry.id <= %s AND entry.effective_on <= %s
          AND NOT (entry.id <= %s AND entry.effective_on <= %s)
        """,
        [statement.project_id, statement.last_entry, end_of(statement).isoformat(), *was_told],
    ):
        due[reference, str(day), total, "" if kind == "usage" else str(number)] += seconds
    said: dict[Key, int] = defaultdict(int)
    month = statement.month.isoformat()
    for one in told["allocations"]:
        for part in ("given", "refunds", "holds", "earlier", "usage", "earlier_usage"):
            for line in one[part]:
                if (line["day"] < month) != part.startswith("earlier"):
                    yield f"a line of {line['day']} stands among those of other days."
                number = str(line.get("entry", ""))
                said[one["reference"], line["day"], line.get("total", "used"), number] += line["seconds"]
    for key in sorted(due.keys() | said.keys()):
        if due.get(key, 0) != said.get(key, 0):
            reference, day, _total, number = key
            what = f"entry {number}" if number else f"use on {day}"
            yield (
                f"{what} on {reference} is told as {said.get(key, 0)} GPU-seconds, the ledger says {due.get(key, 0)}."
            )


def wrong_money(statement: Statement, told: Told, before: Told | None) -> Iterator[str]:
    """The sums so far are those of usage at the prices that were on record; the month is what they rose by."""
    earlier = {line["key"]: line["so_far"] for line in before["money"]} if before else {}
    values = list_values(statement)
    names = ("gpu_seconds", "unpriced_seconds", "list_value_cents", "subsidy_cents", "own_share_cents")
    seen: set[str] = set()
    for line in told["money"]:
        key, so_far, this = line["key"], line["so_far"], line["this"]
        for name in names:
            if this[name] != so_far[name] - earlier.get(key, {}).get(name, 0):
                yield f"{name} of {key} is not what the sum so far rose by."
        earlier.pop(key, None)
        if not any(so_far.values()):
            continue  # paid by something else now
        seen |= set(line["allocations"])
        of_these = [values.get(reference, (0, 0, 0)) for reference in line["allocations"]]
        seconds, cent_seconds, unpriced = (sum(part) for part in zip(*of_these, strict=True))
        value = half_up(Fraction(cent_seconds, 3600))
        rate = Fraction(line.get("rate_bp", 0), 10_000)
        subsidy = min(half_up(Fraction(cent_seconds, 3600) * rate), line.get("amount_cents", 0))
        is_own = "rate_bp" in line or line["funding"] in ("purchased", "subsidised")
        wanted = (seconds, unpriced, value, subsidy, value - subsidy if is_own else 0)
        for name, should_be in zip(names, wanted, strict=True):
            if so_far[name] != should_be:
                yield f"{name} of {key} is {so_far[name]} so far, the ledger and the list prices say {should_be}."
    for key, figures in sorted(earlier.items()):
        if any(figures.values()):
            yield f"{key} is missing, whose money the statement before told of."
    for reference in sorted(values.keys() - seen):
        if any(values[reference]):
            yield f"the usage of {reference} stands in no line of money."


def half_up(exact: Fraction) -> int:
    size = (2 * abs(exact) + 1) // 2
    return int(-size if exact < 0 else size)


def list_values(statement: Statement) -> Mapping[str, tuple[int, int, int]]:
    """(GPU-seconds, those x cents per GPU-hour, those without a price) told of by the end, by reference."""
    issued_at = connection.ops.adapt_datetimefield_value(statement.issued_at)
    found = rows(
        """
        SELECT reference, CAST(SUM(seconds) AS bigint), CAST(SUM(seconds * COALESCE(price, 0)) AS bigint),
               CAST(SUM(CASE WHEN price IS NULL THEN seconds ELSE 0 END) AS bigint)
        FROM (
            SELECT used.reference, used.seconds, (
                SELECT listed.cents_per_gpu_hour FROM centre_listprice AS listed
                WHERE listed.pool_id = used.pool_id AND listed.from_on <= used.day AND listed.recorded_at <= %s
                ORDER BY listed.from_on DESC LIMIT 1
            ) AS price
            FROM (
                SELECT allocation.reference, allocation.pool_id, entry.effective_on AS day, -entry.seconds AS seconds
                FROM allocations_ledgerentry AS entry
                JOIN allocations_allocation AS allocation ON allocation.id = entry.allocation_id
                WHERE allocation.project_id = %s AND entry.source_kind = 'usage'
                  AND entry.id <= %s AND entry.effective_on <= %s
                UNION ALL
                SELECT allocation.reference, allocation.pool_id, refund.day, -refund.seconds
                FROM allocations_runrefund AS refund
                JOIN allocations_ledgerentry AS entry ON entry.id = refund.entry_id
                JOIN allocations_allocation AS allocation ON allocation.id = refund.allocation_id
                WHERE allocation.project_id = %s AND entry.id <= %s AND entry.effective_on <= %s
            ) AS used
        ) AS priced GROUP BY reference
        """,
        [issued_at, *[statement.project_id, statement.last_entry, end_of(statement).isoformat()] * 2],
    )
    return {reference: (seconds, cent_seconds, unpriced) for reference, seconds, cent_seconds, unpriced in found}
