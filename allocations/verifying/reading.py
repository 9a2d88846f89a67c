"""Reading the books a part at a time: what is wrong, in plain SQL, and what was decided, in Python."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from allocations.models import Allocation, LedgerEntry

ROWS_AT_A_TIME = 2_000
ALLOCATIONS_AT_A_TIME = 200


def rows(sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
    """The rows of a query that asks only for what is wrong."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        while part := cursor.fetchmany(ROWS_AT_A_TIME):
            yield from part


@dataclass(frozen=True)
class Part:
    """Some allocations, by number, and every entry on them that does not come from usage."""

    allocations: dict[int, Allocation]
    entries: dict[int, LedgerEntry]


def parts() -> Iterator[Part]:
    """All that was decided, by allocation; each entry with the one that it undoes."""
    last = 0
    while found := list(Allocation.objects.filter(pk__gt=last).order_by("pk")[:ALLOCATIONS_AT_A_TIME]):
        last = found[-1].pk
        decided = LedgerEntry.objects.filter(allocation__in=found).exclude(source_kind="usage")
        entries = decided.select_related("reverses").order_by("pk")
        yield Part({row.pk: row for row in found}, {entry.pk: entry for entry in entries})


def person(number: int | None) -> str:
    return "nobody" if number is None else f"person #{number}"
