"""The database of a test's own: what is committed there is real, seen by other threads, and gone afterwards."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone


def add_session(key: str) -> None:
    Session.objects.create(session_key=key, session_data="", expire_date=timezone.now())


def keys_in_another_thread() -> list[str]:
    def read() -> list[str]:
        try:
            return list(Session.objects.values_list("session_key", flat=True))
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(read).result()


@pytest.mark.parametrize("key", ["first", "second"])
def test_committed_rows_are_seen_by_other_threads_and_not_by_the_next_test(committed: None, key: str) -> None:
    add_session(key)
    assert keys_in_another_thread() == [key]


@pytest.mark.django_db
def test_ordinary_tests_see_nothing_of_what_was_committed_in_copies() -> None:
    add_session("third")
    assert list(Session.objects.values_list("session_key", flat=True)) == ["third"]
