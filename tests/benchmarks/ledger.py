"""Postings per second: the verb `ledger.top_up`, beside the bare SQL that it comes down to and a way with row locks.

* ours: the verb, that is the entry, the total and the event of the audit trail;
* floor: the statements that the verb was seen to send, sent again with parameters prepared beforehand, in Django's
  `atomic()` and without any object;
* row lock: SELECT .. FOR UPDATE, the check in Python, UPDATE, INSERT of the entry and of the event, through the ORM.

*Hot* is 16 threads on one allocation, *spread* 16 threads over 1,000. The ways take turns in every round; the ratios
are medians over the rounds.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from statistics import median
from threading import Barrier
from time import perf_counter
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from psycopg.types.json import Jsonb

from allocations.ledger import NotEnough, open_allocation, top_up
from allocations.models import Allocation, LedgerEntry
from allocations.verifying import differences
from centre import audit
from centre.models import User
from tests import make

LIMIT = 0.7
"""Ours is at least this share of the floor."""
SECONDS = 3_607
WAYS = ("ours", "floor", "row lock")
SHAPES = ("hot", "spread")
AT = timezone.now()
_number = count(1)

Act = Callable[[], object]
Statement = tuple[str, list[Any]]


@dataclass(frozen=True)
class Sent:
    """What the verb was seen to send for one posting: the INSERT of the entry that moves the total, and the event's."""

    entry: Statement
    event: Statement
    at_key: int
    at_changes: int
    changes: str

    @classmethod
    def of(cls, statements: list[Statement], *, key: str) -> "Sent":
        entry, event = statements  # nothing else is sent, else the floor would not be the same
        (at_changes,) = (n for n, value in enumerate(event[1]) if isinstance(value, Jsonb))
        changes = dict(event[1][at_changes].obj)
        if set(changes) != {"granted_seconds", "approved_by", "entry"}:
            raise RuntimeError(f"The event of a top-up says other things now: {sorted(changes)}")
        approved_by = json.dumps(changes["approved_by"]).replace("%", "%%")
        text = f'{{"granted_seconds": [%d, %d], "approved_by": {approved_by}, "entry": [null, %d]}}'
        return cls(entry, event, at_key=entry[1].index(key), at_changes=at_changes, changes=text)


@dataclass(frozen=True)
class Books:
    """What is posted on: allocations, the two people behind each posting, and what the verb was seen to send."""

    allocations: list[Allocation]
    asking: User
    approving: User
    sent: dict[int, Sent] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Postings per second by (shape, way), one figure for each round."""

    rates: dict[tuple[str, str], list[float]]
    postings: int
    threads: int
    allocations: int

    def rate(self, shape: str, way: str) -> float:
        return median(self.rates[shape, way])

    def ratios(self, shape: str, way: str, to: str) -> list[float]:
        """What one way made of the other's rate, round by round."""
        return [a / b for a, b in zip(self.rates[shape, way], self.rates[shape, to], strict=True)]

    @property
    def keeps_the_limit(self) -> bool:
        return all(median(self.ratios(shape, "ours", "floor")) >= LIMIT for shape in SHAPES)


def seeded(allocations: int) -> Books:
    """So many allocations of one pool, and one posting on each, which shows what is sent."""
    asking, approving = make.person(), make.person()
    project, pool = make.project(), make.pool()
    for n in range(allocations):
        open_allocation(
            project=project,
            pool=pool,
            reference=f"B-{n}",
            account=f"account-{n}",
            funding=Allocation.Funding.INTERNAL,
            start_on=make.today(),
            end_on=make.today(),
            seconds=make.HOUR,
            by=asking,
            approved_by=approving,
            at=AT,
            reason="to be posted on",
            source_kind="test",
        )
    rows = Allocation.objects.select_related("pool__cluster", "project").order_by("pk")
    books = Books(allocations=list(rows), asking=asking, approving=approving)
    for allocation in books.allocations:
        key = new_key()
        with seen() as statements:
            ours(books, allocation, key)
        books.sent[allocation.pk] = Sent.of(statements, key=key)
    return books


def new_key() -> str:
    return f"benchmark-{next(_number)}"


@contextmanager
def seen() -> Iterator[list[Statement]]:
    """The statements that are sent meanwhile, without those that begin and end (partial) transactions."""
    statements: list[Statement] = []

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "SAVEPOINT" not in sql:
            statements.append((sql, list(params)))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        yield statements


def ours(books: Books, allocation: Allocation, key: str) -> None:
    top_up(
        allocation=allocation,
        seconds=SECONDS,
        by=books.asking,
        approved_by=books.approving,
        at=AT,
        key=key,
        reason="a posting",
        source_kind="benchmark",
    )


def floor(entry: str, entry_values: list[Any], event: str, event_values: list[Any], sent: Sent) -> None:
    with transaction.atomic():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(entry, entry_values)
            number, granted, _used, _held = cursor.fetchall()[0]
        event_values[sent.at_changes] = sent.changes % (granted - SECONDS, granted, number)
        with connection.cursor() as cursor:
            cursor.execute(event, event_values)
            cursor.fetchall()


def row_lock(books: Books, allocation: Allocation, key: str) -> None:
    with transaction.atomic():
        row = Allocation.objects.select_for_update().get(pk=allocation.pk)
        if row.available_seconds + SECONDS < 0:
            raise NotEnough
        row.granted_seconds += SECONDS
        row.save(update_fields=["granted_seconds"])
        entry = LedgerEntry.objects.create(
            allocation=row,
            kind=LedgerEntry.Kind.TOP_UP,
            total=LedgerEntry.Total.GRANTED,
            seconds=SECONDS,
            effective_on=AT.astimezone(allocation.pool.cluster.zone).date(),
            recorded_at=AT,
            asked_by=books.asking,
            approved_by=books.approving,
            reason="a posting",
            key=key,
            source_kind="benchmark",
        )
        audit.record(
            act="top_up",
            on=row,
            by=books.asking,
            at=AT,
            reason="a posting",
            changes={
                "granted_seconds": [row.granted_seconds - SECONDS, row.granted_seconds],
                "approved_by": [None, books.approving],
                "entry": [None, entry.pk],
            },
        )


def prepared(way: str, books: Books, allocation: Allocation) -> Act:
    """One posting, with all that it needs made beforehand; no two share an object."""
    key = new_key()
    if way == "floor":
        sent = books.sent[allocation.pk]
        (entry, values), (event, event_values) = sent.entry, sent.event
        return partial(
            floor,
            entry,
            [*values[: sent.at_key], key, *values[sent.at_key + 1 :]],
            event,
            list(event_values),
            sent,
        )
    return partial(ours if way == "ours" else row_lock, books, copy.copy(allocation), key)


def measure(*, rounds: int, threads: int, postings: int, allocations: int) -> Measured:
    """Post `postings` times in each of `threads` threads, each way, hot and spread, in so many rounds.

    Raises RuntimeError when the books are not right afterwards.
    """
    books = seeded(allocations)
    rates: dict[tuple[str, str], list[float]] = {(shape, way): [] for shape in SHAPES for way in WAYS}
    with ThreadPoolExecutor(threads) as pool:
        for turn in range(-1, rounds):  # the first round warms up and is not counted
            for shape in SHAPES:
                for n in range(len(WAYS)):
                    way = WAYS[(turn + n) % len(WAYS)]
                    rate = timed(pool, [acts_of(way, shape, books, thread, postings) for thread in range(threads)])
                    if turn >= 0:
                        rates[shape, way].append(rate)
        all_here = Barrier(threads)

        def leave(_number: int) -> None:
            all_here.wait()  # so that every thread closes a connection: its own
            connection.close()

        list(pool.map(leave, range(threads)))
    if wrong := list(differences()):
        raise RuntimeError(f"The books are wrong after the benchmark: {wrong[:5]}")
    written = LedgerEntry.objects.filter(source_kind="benchmark").count()
    if written != allocations + (rounds + 1) * len(SHAPES) * len(WAYS) * threads * postings:
        raise RuntimeError(f"{written} entries were written; some postings did nothing.")
    return Measured(rates, postings=postings, threads=threads, allocations=allocations)


def acts_of(way: str, shape: str, books: Books, thread: int, postings: int) -> list[Act]:
    """What one thread does: on one allocation always the same, spread a stride of its own through all of them."""
    rows = books.allocations
    chosen = [rows[0] if shape == "hot" else rows[(thread * 997 + n * 61) % len(rows)] for n in range(postings)]
    return [prepared(way, books, row) for row in chosen]


def timed(pool: ThreadPoolExecutor, work: Sequence[Sequence[Act]]) -> float:
    """Postings per second of all threads together, from the moment at which all of them are connected and ready."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM allocations_allocation")  # nobody inherits what another way left behind
    begin = Barrier(len(work) + 1)

    def run(acts: Sequence[Act]) -> None:
        connection.ensure_connection()
        begin.wait()
        for act in acts:
            act()

    running = [pool.submit(run, acts) for acts in work]
    begin.wait()
    began = perf_counter()
    for one in running:
        one.result()
    return sum(map(len, work)) / (perf_counter() - began)


def alone(postings: int) -> float:
    """Postings per second of the verb by one writer on one allocation, whatever the database."""
    books = Books(allocations=[make.allocation(hours=1)], asking=make.person(), approving=make.person())
    acts = [prepared("ours", books, books.allocations[0]) for _ in range(postings)]
    began = perf_counter()
    for act in acts:
        act()
    taken = perf_counter() - began
    if wrong := list(differences()):
        raise RuntimeError(f"The books are wrong after the benchmark: {wrong[:5]}")
    return postings / taken


def table(measured: Measured) -> str:
    """The result as a Markdown table, which reads well in a terminal too."""
    lines = [
        "| postings per second | ours | floor | row lock | ours / floor | limit | row lock / ours |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for shape, where in (("hot", "one allocation"), ("spread", f"{measured.allocations:,} allocations")):
        rates = " | ".join(f"{measured.rate(shape, way):,.0f}" for way in WAYS)
        to_floor = measured.ratios(shape, "ours", "floor")
        to_ours = measured.ratios(shape, "row lock", "ours")
        lines.append(
            f"| {shape}: {measured.threads} threads, {where} | {rates} | {with_spread(to_floor)} "
            f"| ≥ {LIMIT} | {with_spread(to_ours)} |"
        )
    return "\n".join(lines)


def with_spread(figures: Sequence[float]) -> str:
    """The median, with the least and the greatest."""
    return f"**{median(figures):.2f}** ({min(figures):.2f}–{max(figures):.2f})"
