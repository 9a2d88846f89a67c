"""Many random histories at once: each batch has a cluster into which many import, and a twin that one imports alone."""

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.utils import timezone

from allocations.models import Allocation
from centre import machines
from centre.models import Cluster, GpuPool, PoolMapping, Project
from tests import make
from tests.allocations.import_model import Payer, Plan, books_of
from tests.allocations.life_exports import Look, cut, lives_of, looks_at
from tests.allocations.slurm_life import Life
from tests.allocations.stored_books import digests, rows, stored_books
from tests.postgres.import_processes import Act, Hand, Map, Open, WorkThrough

IMPORTERS = 4
FIRST, LAST = date(2025, 1, 1), date(2025, 12, 31)
BEGIN = int(datetime(2025, 3, 28, 9, tzinfo=ZoneInfo("Asia/Hong_Kong")).timestamp())
"""Two days later the clocks of London go forward, so that a day has 23 hours."""
ZONES = ("Asia/Hong_Kong", "Europe/London", "America/St_Johns")
LOOKS = 4


@dataclass(frozen=True)
class Place:
    """A cluster with its pools, and what is opened and mapped on it while imports go on."""

    cluster: Cluster
    pools: dict[str, GpuPool]
    project: Project
    between: tuple[Act, ...]


@dataclass(frozen=True)
class Batch:
    """Random histories, what was exported of them, and who pays in the end."""

    seed: int
    lives: tuple[Life, ...]
    looks: tuple[Look, ...]
    zone: ZoneInfo
    plan: Plan


def batch_of(seed: int, seeds: Sequence[int]) -> Batch:
    """The histories of these seeds, seen and paid as the batch's own seed says."""
    chance = random.Random(seed)
    zone = ZoneInfo(chance.choice(ZONES))
    lives = lives_of(seeds, begin=BEGIN)
    # a local time without offset is told twice where the clocks go back: only a zone that does not is exported so
    looks = looks_at(lives, chance=chance, most=LOOKS, iso=zone.key == "Asia/Hong_Kong")
    pools = {
        ("tres", "gres/gpu:h800"): ("h", FIRST),
        ("partition", "batch"): ("h", FIRST),
        ("partition", "debug"): ("a", date(2025, 3, 30)),
        ("tres", "gres/gpu:a100"): ("a", FIRST),
    }
    if chance.random() < 0.5:
        pools["partition", "late"] = ("a", FIRST)
    payers = []
    for life in lives:
        first, second, third = life.accounts
        turn = date(2025, 3, chance.randint(28, 31))
        payers += [Payer(first, "h", FIRST, turn), Payer(first, "h", turn.replace(month=4, day=2), LAST)]
        payers += [Payer(first, "a", FIRST, LAST), Payer(second, "h", FIRST, LAST)]
        if chance.random() < 0.1:
            payers.append(Payer(third, "h", turn, LAST))
    return Batch(seed, tuple(lives), tuple(looks), zone, Plan(pools, payers))


def is_late(payer: Payer) -> bool:
    """Whether it is opened by the verb, while imports go on; the others stand from the beginning."""
    return payer.account.endswith("-c")


def place_of(batch: Batch, *, project: Project, zone: ZoneInfo | None = None) -> Place:
    """A cluster of its own, on which the plan holds once the acts between the imports were done."""
    cluster = make.cluster(f"life-{secrets.token_hex(4)}", time_zone=(zone or batch.zone).key)
    at, pools = timezone.now(), {}
    for code in ("h", "a"):
        pools[code] = machines.register_pool(
            cluster=cluster, code=f"{cluster.code}-{code}", gpu_model=code, by=None, at=at
        )
    between: list[Act] = []
    for (kind, name), (pool, first) in batch.plan.pools.items():
        if name == "late":
            between.append(Map(pools[pool].pk, name, first))
        else:
            machines.map_pool(pool=pools[pool], kind=PoolMapping.Kind(kind), name=name, from_on=first, by=None, at=at)
    between += [
        Open(project.pk, pools[payer.pool].pk, payer.account, payer.first, payer.last)
        for payer in filter(is_late, batch.plan.payers)
    ]
    Allocation.objects.bulk_create(
        Allocation(
            project=project,
            pool=pools[payer.pool],
            reference=f"{cluster.code}/{payer.name}",
            account=payer.account,
            funding="internal",
            start_on=payer.first,
            end_on=payer.last,
            created_at=at,
        )
        for payer in batch.plan.payers
        if not is_late(payer)
    )
    return Place(cluster, pools, project, tuple(between))


def play(batch: Batch, act_at_once: Callable[[Sequence[Sequence[Act]]], list[str]], *, project: Project) -> list[str]:
    """Let 4 import the batch at the same time, in files and in any order, and one alone; what is wrong afterwards.

    `act_at_once` has a process for each of them: `IMPORTERS` + 1.
    """
    crowd, alone = place_of(batch, project=project), place_of(batch, project=project)
    chance = random.Random(batch.seed + 1)
    files = cut(batch.looks, chance=chance)
    acts: list[Act] = list(crowd.between)
    for file in files:
        text = file.look.text(file.rows, batch.zone)
        acts.append(Hand(crowd.cluster.pk, text, file.look.instant, at_once=chance.random() < 0.4))
    chance.shuffle(acts)
    hands: list[list[Act]] = [[*acts[n::IMPORTERS], WorkThrough()] for n in range(IMPORTERS)]
    whole = [Hand(alone.cluster.pk, look.text(look.rows, batch.zone), look.instant, True) for look in batch.looks]
    wrong = act_at_once([*hands, [*whole, *alone.between]])
    wrong += unfinished(crowd.cluster.pk) + unfinished(alone.cluster.pk)
    lines = sum(file.look.lines_of(file.rows) for file in files)
    read = rows(
        "SELECT SUM(read), SUM(quarantined) FROM allocations_usageimport WHERE cluster_id = %s", crowd.cluster.pk
    )
    if read != [(lines, 0)]:
        wrong.append(f"{lines} records were handed over, (read, quarantined) is {read}")
    ours, theirs = stored_books(crowd.cluster.pk), stored_books(alone.cluster.pk)
    wrong += [f"many / one: {difference}" for difference in ours.differences(theirs)]
    if digests(crowd.cluster.pk) != digests(alone.cluster.pk):
        wrong.append("many / one: other observations stand on the runs' rows")
    model = books_of(batch.looks, plan=batch.plan, zone=batch.zone, stored=ours.runs)
    wrong += [f"many / model: {difference}" for difference in ours.differences(model)]
    return wrong


def unfinished(cluster_id: int) -> list[str]:
    """Imports that did not end at the first attempt."""
    found = rows(
        "SELECT id, state, claims, error FROM allocations_usageimport "
        "WHERE cluster_id = %s AND (state <> 'done' OR claims <> 1 OR error <> '')",
        cluster_id,
    )
    return [f"import {pk} is {state} after {claims} claims: {error}" for pk, state, claims, error in found]
