"""PROMISE 11: a worker that is killed or cut off leaves nothing or a complete import; the next run ends exact."""

import random
import time
from collections import Counter

import pytest

from allocations.verifying import differences
from centre.models import Project
from tests import make
from tests.allocations.stored_books import rows
from tests.postgres.import_killing import NAMED, Worker, worker
from tests.postgres.import_queues import EXPORTS, Queue, Story, queued, story, wait_for_backends

pytestmark = pytest.mark.usefixtures("committed")
LIVES = 100


class Trial:
    """Queues of one story, disturbed one after the other; how long an undisturbed run takes, and its points."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.project: Project = make.project()
        self.story: Story = story(LIVES)
        self.where: Counter[str] = Counter()
        queue = self.queue()
        its = worker()
        ended, self.points = its.end()
        self.seconds = time.monotonic() - its.began
        assert (ended, set(queue.states().values()), queue.wrong()) == ("ended", {"done"}, [])

    def queue(self) -> Queue:
        order = list(range(EXPORTS))
        self.chance.shuffle(order)
        return queued(self.story, project=self.project, order=order)

    def note(self, queue: Queue) -> None:
        """Count where a disturbance met the worker."""
        met = rows(
            "SELECT phase FROM allocations_usageimport WHERE cluster_id = %s AND state = 'running'",
            queue.place.cluster.pk,
        )
        done = sum(state == "done" for state in queue.states().values())
        self.where[met[0][0] or "taken up" if met else f"between, {done} done"] += 1

    def wait(self) -> None:
        time.sleep(self.chance.uniform(0, 1.1 * self.seconds))

    def killed(self) -> Worker:
        """A worker that was killed: by turns at a point of its talk with the database, and by the clock."""
        if self.chance.random() < 0.5:
            return worker(die_at=self.chance.randint(1, self.points))
        its = worker()
        self.wait()
        its.kill()
        return its


def kill_workers(times: int, chance: random.Random) -> Trial:
    """Kill workers so often, several of a queue one after the other, and let the next run end each queue."""
    trial = Trial(chance)
    kills = 0
    while kills < times:
        queue = trial.queue()
        for _ in range(chance.randint(1, 4)):
            if not trial.killed().was_killed():
                continue
            kills += 1
            wait_for_backends()
            trial.note(queue)
            assert queue.wrong() == []
            queue.lapse()
        assert queue.next_run() == []
    print(f"{kills} kills met the worker: {dict(trial.where)}")
    return trial


def cut_off_workers(times: int, chance: random.Random) -> None:
    """End the worker's connection while it works, so often, each time on a new queue."""
    trial = Trial(chance)
    cut_off = 0
    while cut_off < times:
        queue, its = trial.queue(), worker()
        trial.wait()
        cut = rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = %s",
            NAMED,
        )
        ended, _points = its.end()
        assert ended == "ended" or ended.startswith("OperationalError")
        cut_off += len(cut)
        trial.where["in an import" if given_back(queue) else "elsewhere"] += len(cut)
        wait_for_backends()
        assert queue.wrong() == []
        assert queue.next_run() == []
    print(f"{cut_off} connections were cut: {dict(trial.where)}")


def slow_workers(times: int, chance: random.Random) -> None:
    """Let the database give up statements that take longer than a few milliseconds, another number each time."""
    trial = Trial(chance)
    given_up = 0
    while given_up < times:
        queue = trial.queue()
        ended, _points = worker(options=f"-c statement_timeout={chance.randint(1, 25)}ms").end()
        assert ended == "ended" or "canceling statement" in ended
        given_up += len(given_back(queue))
        assert queue.wrong() == []
        assert queue.next_run() == []
    print(f"{given_up} imports met a statement timeout and were done by the next run")


def given_back(queue: Queue) -> list[str]:
    """Why imports wait to be tried again, by themselves, some time later."""
    told = rows(
        "SELECT error, state, lease_until, try_again_at > received_at FROM allocations_usageimport "
        "WHERE cluster_id = %s AND error <> ''",
        queue.place.cluster.pk,
    )
    assert [rest for _error, *rest in told] == [["received", None, True]] * len(told)
    return [error for error, *_rest in told]


def drawn() -> random.Random:
    """A chance of this run's own; its seed is printed where a test fails."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def test_killed_worker_leaves_nothing_or_all_and_the_next_ends_exact() -> None:
    kill_workers(8, drawn())


def test_worker_that_is_cut_off_gives_back_and_the_next_ends_exact() -> None:
    cut_off_workers(2, drawn())


def test_worker_that_meets_statement_timeouts_gives_back_and_the_next_ends_exact() -> None:
    slow_workers(2, drawn())


@pytest.mark.hard
def test_worker_killed_at_200_points_leaves_nothing_or_all_and_the_next_ends_exact() -> None:
    met = kill_workers(200, drawn()).where
    assert {"reading", "merging"} < set(met)
    assert list(differences()) == []


@pytest.mark.hard
def test_worker_cut_off_25_times_gives_back_and_the_next_ends_exact() -> None:
    cut_off_workers(25, drawn())


@pytest.mark.hard
def test_worker_that_meets_25_statement_timeouts_gives_back_and_the_next_ends_exact() -> None:
    slow_workers(25, drawn())
