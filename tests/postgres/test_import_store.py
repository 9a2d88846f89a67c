"""PROMISE 11: a reception that is killed, or for which the disk has no room, leaves an import or nothing at all."""

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from allocations.importing import working
from centre.models import Cluster
from tests.allocations.books import small_centre
from tests.allocations.exports import ORDER, spelled
from tests.allocations.stored_books import rows
from tests.postgres.import_killing import Send, worker
from tests.postgres.import_queues import wait_for_backends
from tests.postgres.import_server import filled_up, small_disk
from tests.postgres.test_import_killed import drawn

pytestmark = pytest.mark.usefixtures("committed")
RUNS = 600
SECONDS_OF_A_RUN = 8 * 7_200
NUMBERS = count(1)
FIELDS = tuple(field for field in ORDER if field != "Cluster")


@dataclass
class Store:
    """A folder for the files, on a small disk where one could be mounted, and the export that is handed over."""

    folder: Path
    chance: random.Random
    is_small: bool
    text: bytes
    stored_bytes: int = 0

    def send(self, cluster: Cluster, *, most_bytes: int = 0) -> Send:
        return Send(cluster.pk, self.text, str(self.folder), most_bytes)

    def files(self, cluster: Cluster) -> list[str]:
        found = (self.folder / cluster.code).rglob("*")
        return sorted(str(path.relative_to(self.folder)) for path in found if path.is_file())

    def without_room(self) -> tuple[AbstractContextManager[None], int]:
        """The disk is full after some bytes, or no file may become larger than that."""
        room = self.chance.randrange(self.stored_bytes)
        if self.is_small and self.chance.random() < 0.5:
            return filled_up(self.folder, but=room), 0
        return nullcontext(), max(1, room)


@contextmanager
def store_in(folder: Path, settings: Settings) -> Iterator[Store]:
    chance = drawn()
    runs = ({"JobIDRaw": str(n), "DBIndex": "", "JobName": chance.randbytes(60).hex()} for n in range(1, RUNS + 1))
    with small_disk(folder, kilobytes=400) as is_small:
        settings.USAGE_FILES_DIR = folder
        store = Store(folder, chance, is_small, spelled(*runs, order=FIELDS))
        cluster = a_cluster()
        assert worker(send=store.send(cluster)).end()[0] == "ended"
        ((store.stored_bytes,),) = rows("SELECT stored_bytes FROM allocations_usageimport")
        assert_imported(store, cluster)
        yield store


def a_cluster() -> Cluster:
    return small_centre(f"c{next(NUMBERS)}")


def state_of(cluster: Cluster) -> list[str]:
    found = rows("SELECT state FROM allocations_usageimport WHERE cluster_id = %s", cluster.pk)
    return [state for (state,) in found]


def assert_imported(store: Store, cluster: Cluster) -> None:
    """The file that was handed over is one import, which the worker ends exactly."""
    assert state_of(cluster) == ["received"]
    assert working.work_through(clock=timezone.now, worker="next") != []
    assert state_of(cluster) == ["done"]
    used = rows(
        "SELECT SUM(a.used_seconds) FROM allocations_allocation a JOIN centre_gpupool p ON p.id = a.pool_id "
        "WHERE p.cluster_id = %s",
        cluster.pk,
    )
    assert used == [(RUNS * SECONDS_OF_A_RUN,)]


def leave_no_room(times: int, folder: Path, settings: Settings) -> None:
    with store_in(folder, settings) as store:
        for _ in range(times):
            for path in folder.glob("c*/**/*.gz"):
                path.unlink()  # the disk is small
            cluster = a_cluster()
            full, most_bytes = store.without_room()
            with full:
                ended, _points = worker(send=store.send(cluster, most_bytes=most_bytes)).end()
            assert ended.startswith("OSError"), ended
            assert (state_of(cluster), store.files(cluster)) == ([], [])
            assert worker(send=store.send(cluster)).end()[0] == "ended"
            assert_imported(store, cluster)
        print(f"{times} receptions found no room; a small disk could be mounted: {store.is_small}")


def kill_receptions(times: int, folder: Path, settings: Settings) -> None:
    with store_in(folder, settings) as store:
        points = worker(send=store.send(a_cluster())).end()[1]
        working.work_through(clock=timezone.now, worker="next")
        left = 0
        for _ in range(times):
            for path in folder.glob("c*/**/*.gz*"):
                path.unlink()
            cluster = a_cluster()
            assert worker(die_at=store.chance.randint(1, points), send=store.send(cluster)).was_killed()
            wait_for_backends()
            after = state_of(cluster)
            assert after in ([], ["received"])
            assert worker(send=store.send(cluster)).end()[0] == "ended"  # as the collector does that heard nothing
            kept = rows("SELECT stored_as FROM allocations_usageimport WHERE cluster_id = %s", cluster.pk)
            others = set(store.files(cluster)) - {name for (name,) in kept}
            assert len(others) <= 1
            assert not (after and others)
            left += len(others)
            assert_imported(store, cluster)
        print(f"{times} receptions were killed; {left} left a file that no import names")


def test_reception_without_room_keeps_nothing_and_the_next_is_whole(tmp_path: Path, settings: Settings) -> None:
    leave_no_room(3, tmp_path / "small", settings)


def test_killed_reception_is_an_import_or_nothing_and_the_next_is_whole(tmp_path: Path, settings: Settings) -> None:
    kill_receptions(3, tmp_path / "small", settings)


@pytest.mark.hard
def test_40_receptions_without_room_keep_nothing_and_the_next_is_whole(tmp_path: Path, settings: Settings) -> None:
    leave_no_room(40, tmp_path / "small", settings)


@pytest.mark.hard
def test_40_killed_receptions_are_imports_or_nothing_and_the_next_is_whole(tmp_path: Path, settings: Settings) -> None:
    kill_receptions(40, tmp_path / "small", settings)
