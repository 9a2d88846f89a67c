"""A worker that is killed on the database at hand, SQLite or PostgreSQL: the next run ends exact."""

import random

import pytest

from tests import make
from tests.postgres.import_killing import worker
from tests.postgres.import_queues import EXPORTS, queued, story, wait_for_backends

pytestmark = pytest.mark.usefixtures("committed")


def test_killed_worker_leaves_nothing_or_all_in_either_database() -> None:
    chance, project, told = random.Random(7), make.project(), story(30)
    whole = queued(told, project=project, order=range(EXPORTS))
    ended, points = worker().end()
    assert (ended, set(whole.states().values()), whole.wrong()) == ("ended", {"done"}, [])
    queue = queued(told, project=project, order=range(EXPORTS))
    for part in (0.1, 0.3, 0.2):
        assert worker(die_at=max(1, int(points * part * chance.uniform(0.5, 1)))).was_killed()
        wait_for_backends()
        assert queue.wrong() == []
        queue.lapse()
    assert queue.next_run() == []
