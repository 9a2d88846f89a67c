"""The database of a test's own: what is committed there is real, seen by other threads, and gone afterwards."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils import timezone

from tests import migrated


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


@pytest.mark.parametrize(
    "changed", ["centre/triggers.py", "allocations/migrations/0001_initial.py", "requirements.txt"]
)
def test_kept_database_is_not_taken_for_one_of_other_migrations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    sources = [path.relative_to(migrated.ROOT) for path in migrated.made_from()]
    for path in sources:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(migrated.ROOT / path, tmp_path / path)
    before = migrated.kept()
    monkeypatch.setattr(migrated, "ROOT", tmp_path)
    assert migrated.kept() == before
    (tmp_path / changed).write_text((tmp_path / changed).read_text() + "\n")
    assert migrated.kept() != before
