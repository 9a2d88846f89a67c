"""Copies of tables in which nothing refuses a change: temporary tables that stand in front of the real ones.

Both databases look for a name among the temporary tables first (PostgreSQL: the session's own schema comes first on
the search path), so the checker reads the copy. No trigger is ever switched off: a copy has none, and no constraint.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.models import Field, ForeignKey, Model

WHOLE_NUMBERS = frozenset({"AutoField", "BigAutoField", "BigIntegerField", "IntegerField", "PositiveIntegerField"})


def copy_in_front(*models: type[Model]) -> None:
    """Copy the tables of these models; until the transaction is rolled back, their names mean the copies."""
    schema = "public" if connection.vendor == "postgresql" else "main"
    with connection.cursor() as cursor:
        for model in models:
            table = model._meta.db_table
            cursor.execute(f'CREATE TEMPORARY TABLE "{table}" AS SELECT * FROM {schema}."{table}"')


@contextmanager
def changed(statement: str, *values: int | str | None) -> Iterator[None]:
    """One change that holds for the length of the block; it must reach exactly one row."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            assert cursor.rowcount == 1, statement
        yield
        transaction.set_rollback(True)


def number_columns(model: type[Model]) -> list["Field[object, object]"]:
    """Every column of whole numbers, foreign keys included, but a row's own number."""
    return [field for field in model._meta.concrete_fields if not field.primary_key and is_whole(field)]


def column_of(field: "Field[object, object]") -> str:
    return str(field.column)


def is_whole(field: "Field[object, object]") -> bool:
    of = field.target_field if isinstance(field, ForeignKey) else field
    return of.get_internal_type() in WHOLE_NUMBERS
