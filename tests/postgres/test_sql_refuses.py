"""TRUNCATE, which only PostgreSQL knows; what both databases refuse is in tests/allocations/test_sql_refuses.py."""

import pytest
from django.db import IntegrityError, connection

from tests.allocations.books import query
from tests.allocations.written_once import WRITTEN_ONCE, a_row_in_each

pytestmark = pytest.mark.usefixtures("committed")  # PostgreSQL truncates no table with deferred checks pending


@pytest.mark.parametrize("table", WRITTEN_ONCE)
def test_history_is_not_truncated(table: str) -> None:
    a_row_in_each()
    before = query(f"SELECT * FROM {table} ORDER BY id")
    assert before
    with pytest.raises(IntegrityError, match="is append-only"), connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table} CASCADE")
    assert query(f"SELECT * FROM {table} ORDER BY id") == before
