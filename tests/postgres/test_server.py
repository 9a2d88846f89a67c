"""The PostgreSQL that tests run on has what the portal needs of one."""

import pytest
from django.db import connection


@pytest.mark.django_db
def test_server_has_the_extension_for_excluding_overlapping_periods() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'btree_gist'")
        assert cursor.fetchone() == (1,)
