"""The checker finds every fault of one that is seeded in a copy of the books, whichever number it falls on."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from django.db import connection
from django.db.models import Field, ForeignKey, Model

from allocations.models import Allocation, DailyUsage, LedgerEntry, RunCharge, RunRefund
from allocations.verifying import differences
from allocations.verifying.totals import wrong_totals
from tests.allocations.copies import changed, column_of, copy_in_front, number_columns
from tests.allocations.rich_books import rich_books

pytestmark = pytest.mark.django_db

COPIED: tuple[type[Model], ...] = (LedgerEntry, Allocation, RunCharge, RunRefund, DailyUsage)
Checker = Callable[[], Iterator[str]]
TOTALS = ("granted_seconds", "used_seconds", "held_seconds")


@dataclass(frozen=True)
class Fault:
    """One number that is not what it was; `value` is what it becomes."""

    field: "Field[object, object]"
    row: int
    was: int | None
    value: int | None

    def __str__(self) -> str:
        return f"{self.field.model.__name__} {self.row}, {column_of(self.field)}: {self.value} instead of {self.was}"

    def is_found(self, checker: Checker) -> bool:
        table, column = self.field.model._meta.db_table, column_of(self.field)
        with changed(f'UPDATE "{table}" SET "{column}" = %s WHERE id = %s', self.value, self.row):
            return next(checker(), None) is not None


def columns() -> list["Field[object, object]"]:
    """Every numeric column of entries, run charges, refunds and the rollup, and the totals."""
    return [
        field for model in COPIED for field in number_columns(model) if model is not Allocation or field.name in TOTALS
    ]


def drawn(number: int, *, seed: int) -> list[Fault]:
    """So many faults, spread evenly over the columns: one more, one less, or a number where there was none."""
    draw = random.Random(seed)
    stored = {model: rows_of(model) for model in COPIED}
    faults = []
    for n in range(number):
        field = columns()[n % len(columns())]
        rows = stored[field.model]
        row = draw.choice(sorted(rows))
        was = rows[row][column_of(field)]
        value: int | None
        if was is None:
            value = draw.choice(numbers_for(field))
        elif field.null and draw.random() < 1 / 3:
            value = None
        else:
            value = was + draw.choice((1, -1))
        faults.append(Fault(field, row, was, value))
    return faults


def rows_of(model: type[Model]) -> dict[int, dict[str, int | None]]:
    names = [column_of(field) for field in columns() if field.model is model]
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT id, {", ".join(names)} FROM "{model._meta.db_table}"')
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor.fetchall()}


def numbers_for(field: "Field[object, object]") -> list[int]:
    """What could stand in a column that is empty: rows that there are."""
    assert isinstance(field, ForeignKey)
    return sorted(field.related_model._default_manager.values_list("pk", flat=True))


def overlooked(number: int, *, seed: int, checker: Checker = differences) -> list[str]:
    """The faults, of so many that are seeded one by one, of which the checker says nothing."""
    print(f"{number} faults of seed {seed}")
    rich_books()
    assert list(differences()) == []
    copy_in_front(*COPIED)
    assert list(differences()) == [], "the copy says what the books say"
    faults = drawn(number, seed=seed)
    assert {fault.field for fault in faults} == set(columns())
    missed = [str(fault) for fault in faults if not fault.is_found(checker)]
    assert list(differences()) == [], "each fault was taken back"
    return missed


def seed_of(request: pytest.FixtureRequest) -> int:
    """The seed that the run prints at its end."""
    return int(request.config.option.hypothesis_seed)


def test_all_of_a_hundred_seeded_faults_are_found(request: pytest.FixtureRequest) -> None:
    assert overlooked(100, seed=seed_of(request)) == []


@pytest.mark.hard
def test_all_of_a_thousand_seeded_faults_are_found(request: pytest.FixtureRequest) -> None:
    assert overlooked(1_000, seed=seed_of(request)) == []


def test_checker_of_totals_alone_overlooks_faults(request: pytest.FixtureRequest) -> None:
    """The control: faults of people, runs and the rollup are not in the totals."""
    assert len(overlooked(40, seed=seed_of(request), checker=wrong_totals)) > 8


def test_every_kind_of_entry_stands_in_the_books_that_are_faulted() -> None:
    rich_books()
    kinds = Counter(LedgerEntry.objects.values_list("kind", flat=True))
    assert kinds.keys() == set(LedgerEntry.Kind.values)
