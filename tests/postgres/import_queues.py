"""A queue of imports that is disturbed, and what its books have to be after any of them is done: nothing in between."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from itertools import combinations
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils import timezone

from allocations.importing import working
from allocations.importing.receiving import receive
from allocations.models import UsageImport
from centre.models import Project
from tests.allocations.import_model import Books, Plan, books_of
from tests.allocations.life_exports import whole_look
from tests.allocations.slurm_life import DAY
from tests.allocations.stored_books import rows, stored_books
from tests.postgres.import_batches import BEGIN, Batch, Place, batch_of, is_late, place_of
from tests.postgres.import_killing import NAMED

PATIENCE = 60
EXPORTS = 3


@dataclass(frozen=True)
class Story:
    """Overlapping exports of the same lives, and the books after any choice of them."""

    batch: Batch
    texts: tuple[bytes, ...]
    lines: tuple[int, ...]
    after: dict[frozenset[int], Books]


@lru_cache(maxsize=2)
def story(lives: int, seed: int = 4) -> Story:
    """So many lives, seen whole at three instants, of which a later one corrects what an earlier one said."""
    chance = random.Random(seed)
    batch = batch_of(seed, [chance.randrange(2**32) for _ in range(lives)])
    looks = tuple(whole_look(batch.lives, at=BEGIN + days * DAY, chance=chance) for days in (2, 4, 6))
    batch = replace(batch, looks=looks, plan=standing(batch.plan))
    after = {
        frozenset(chosen): books_of([looks[n] for n in chosen], plan=batch.plan, zone=batch.zone, stored={})
        for size in range(EXPORTS + 1)
        for chosen in combinations(range(EXPORTS), size)
    }
    texts = tuple(look.text(look.rows, batch.zone) for look in looks)
    return Story(batch, texts, tuple(look.lines_of(look.rows) for look in looks), after)


def standing(plan: Plan) -> Plan:
    """What stands from the beginning, without what a batch opens and maps while it is imported."""
    pools = {taken: pool for taken, pool in plan.pools.items() if taken != ("partition", "late")}
    return Plan(pools, [payer for payer in plan.payers if not is_late(payer)])


@dataclass(frozen=True)
class Queue:
    """The imports of a story on a cluster of its own, in a random order."""

    story: Story
    place: Place
    imports: dict[int, int]
    """Number of the import: which export it is."""

    def states(self) -> dict[int, str]:
        found = rows("SELECT id, state FROM allocations_usageimport WHERE cluster_id = %s", self.place.cluster.pk)
        return dict(found)

    def wrong(self) -> list[str]:
        """What is neither nothing nor a complete import: by plain SQL, against the model of exactly those done."""
        done = [pk for pk, state in self.states().items() if state == "done"]
        wrong = stored_books(self.place.cluster.pk).differences(
            self.story.after[frozenset(self.imports[pk] for pk in done)]
        )
        told = rows(
            "SELECT i.id, i.read, i.accepted + i.unchanged + i.ignored + i.quarantined, COUNT(e.id) "
            "FROM allocations_usageimport i LEFT JOIN centre_event e "
            "ON e.act = 'import_usage' AND e.object_id = CAST(i.id AS varchar) "
            "WHERE i.cluster_id = %s GROUP BY i.id, i.read, i.accepted, i.unchanged, i.ignored, i.quarantined",
            self.place.cluster.pk,
        )
        for pk, *numbers in told:
            lines = self.story.lines[self.imports[pk]]
            if numbers != ([lines, lines, 1] if pk in done else [0, 0, 0]):
                wrong.append(f"import {pk}: (read, accounted for, events) are {numbers}, done: {pk in done}")
        return wrong

    def lapse(self) -> None:
        """As if the time had passed: leases have run out, and what waits to be tried again is due."""
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE allocations_usageimport SET lease_until = received_at "
                "WHERE state = 'running' AND cluster_id = %s",
                [self.place.cluster.pk],
            )
            cursor.execute(
                "UPDATE allocations_usageimport SET try_again_at = received_at "
                "WHERE state = 'received' AND cluster_id = %s",
                [self.place.cluster.pk],
            )

    def next_run(self) -> list[str]:
        """The next run of a worker, when its time has come; what it leaves undone or wrong."""
        self.lapse()
        working.work_through(clock=timezone.now, worker="the next one")
        wrong = [f"import {pk} is {state}" for pk, state in self.states().items() if state != "done"]
        if strays := [path for path in self.files() if path not in self.kept()]:
            wrong.append(f"files of no import: {strays}")
        return wrong + self.wrong()

    def files(self) -> list[str]:
        folder = Path(settings.USAGE_FILES_DIR)
        found = (folder / self.place.cluster.code).rglob("*")
        return [str(path.relative_to(folder)) for path in found if path.is_file()]

    def kept(self) -> list[str]:
        found = rows("SELECT stored_as FROM allocations_usageimport WHERE cluster_id = %s", self.place.cluster.pk)
        return [name for (name,) in found]


def queued(told: Story, *, project: Project, order: Sequence[int]) -> Queue:
    """The exports of a story, received on a new cluster and waiting in this order."""
    place = place_of(told.batch, project=project)
    imports = {}
    for number in order:
        received, _is_new = receive(
            stream=BytesIO(told.texts[number]),
            file_name=f"{number}.txt",
            cluster=place.cluster,
            source=UsageImport.Source.UPLOAD,
            at=timezone.now(),
            as_of=told.batch.looks[number].instant,
        )
        imports[received.pk] = number
    return Queue(told, place, imports)


def wait_for_backends() -> None:
    """Until the server has noticed that a killed worker is gone: its transaction is rolled back by then."""
    if connection.vendor != "postgresql":
        return
    deadline = time.monotonic() + PATIENCE
    while left := rows(
        "SELECT pid, state, wait_event, query FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = %s",
        NAMED,
    ):
        assert time.monotonic() < deadline, f"the server keeps the connection of a process that is gone: {left}"
        time.sleep(0.005)
