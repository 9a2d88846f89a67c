"""A mapping that ends: the books are those of a mapping that ended so from the start; the page says what changes."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from allocations import closing, unmapping, waiting
from allocations.models import Allocation, JobRun, LedgerEntry
from allocations.unmapping import LeftOver
from allocations.verifying import differences
from centre import machines
from centre.models import Cluster, Event, GpuPool, PoolMapping, User
from centre.permissions import StaffRole
from tests import make
from tests.allocations.books import imported
from tests.allocations.stored_books import stored_books

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("noon")]
NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
DAY = timedelta(days=1)
LAST = date(2026, 6, 10)
HOUR = make.HOUR
TEAMS = ("alpha", "beta")


@pytest.fixture
def noon() -> Any:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


def centre_of(name: str) -> tuple[Cluster, GpuPool]:
    """A cluster whose partition "batch" is one pool's, with an allocation of each team there and on a second pool."""
    cluster = make.cluster(name)
    pool, other = (
        make.pool(f"{name}-{code}", cluster=cluster, partitions=partitions, from_on=date(2026, 1, 1))
        for code, partitions in (("first", ("batch", "extra")), ("second", ("night",)))
    )
    for team in TEAMS:
        project = make.project(f"{name}-{team}")
        for each in (pool, other):
            make.allocation(project=project, pool=each, account=team, start_on=date(2026, 5, 1), hours=100)
    return cluster, pool


def use(cluster: Cluster) -> None:
    """Runs before, across and after the last day, one that still runs, one by another name, one that waits anyway."""
    told = [("alpha", "batch", 8, 2, 1), ("alpha", "batch", 10, 30, 4), ("beta", "batch", 12, 5, 8)]
    told += [("beta", "extra", 12, 3, 1), ("gamma", "batch", 13, 1, 1), ("alpha", "batch", 14, 0, 2)]
    runs = [
        make.Run(
            account=account,
            partition=partition,
            gpus=gpus,
            start_at=(begin := datetime(2026, 6, on, 4, tzinfo=UTC)),
            end_at=begin + timedelta(hours=hours) if hours else None,
            number=number,
        )
        for number, (account, partition, on, hours, gpus) in enumerate(told, start=1_000)
    ]
    make.imported(*runs, cluster=cluster)


def mapping_of(pool: GpuPool, name: str = "batch") -> PoolMapping:
    return PoolMapping.objects.get(pool=pool, name=name)


def end(pool: GpuPool, until_on: date = LAST) -> int:
    return unmapping.end_mapping(mapping=mapping_of(pool), until_on=until_on, reason="-", by=make.person(), at=NOW)


def balances(cluster: Cluster) -> list[tuple[Any, ...]]:
    """Totals and state of the cluster's allocations, which are made in one order in every world."""
    rows = Allocation.objects.filter(pool__cluster=cluster).order_by("pk")
    return list(rows.values_list("account", "granted_seconds", "used_seconds", "held_seconds", "state"))


def test_books_after_ending_are_those_of_a_mapping_that_ended_so_from_the_start() -> None:
    late, late_pool = centre_of("late")
    use(late)
    back = end(late_pool)
    early, early_pool = centre_of("early")
    assert end(early_pool) == 0
    use(early)
    # alpha: 30 h x 4 GPUs from noon on the 10th, 12 h of it on the 10th; 24 h x 2 GPUs so far. beta: 5 h x 8 GPUs.
    assert back == (18 * 4 + 24 * 2 + 5 * 8) * HOUR
    assert stored_books(late.pk) == stored_books(early.pk)
    assert balances(late) == balances(early)
    assert list(differences()) == []


def test_books_agree_after_another_pool_took_the_name() -> None:
    worlds = {name: centre_of(name) for name in ("late", "early")}
    use(worlds["late"][0])
    for name, (cluster, pool) in worlds.items():
        end(pool)
        mapped_to(GpuPool.objects.get(cluster=cluster, code=f"{name}-second"), cluster)
    use(worlds["early"][0])
    late, early = (stored_books(cluster.pk) for cluster, _pool in worlds.values())
    assert late == early
    assert {payer.split("/")[1]: used for payer, used in late.totals.items() if "alpha" in payer} == {
        "first": (2 + 12 * 4) * HOUR,
        "second": (18 * 4 + 24 * 2) * HOUR,
    }
    assert list(differences()) == []


def mapped_to(pool: GpuPool, cluster: Cluster) -> None:
    machines.map_pool(pool=pool, kind=PoolMapping.Kind.PARTITION, name="batch", from_on=LAST + DAY, by=None, at=NOW)
    waiting.charge_waiting_runs(clusters=[cluster], at=NOW)


def test_a_closed_period_is_settled_as_if_the_runs_had_never_been_charged(noon: Any) -> None:
    worlds = {name: centre_of(name) for name in ("late", "early")}
    for _cluster, pool in worlds.values():
        make.period_end_rule(pool=pool)
        Allocation.objects.filter(pool=pool).update(end_on=date(2026, 6, 14))
    late, early = worlds["late"], worlds["early"]
    end(early[1])
    for cluster, _pool in worlds.values():
        use(cluster)
    noon.move_to(NOW + 40 * DAY)
    for cluster, _pool in worlds.values():
        make.imported(cluster=cluster)
    closing.close_periods(at=NOW + 40 * DAY)
    assert unmapping.left_over(mapping=mapping_of(late[1]), until_on=LAST)[0].closed
    assert end(late[1]) > 0
    assert stored_books(late[0].pk) == stored_books(early[0].pk)
    assert balances(late[0]) == balances(early[0])
    assert [state for *_totals, state in balances(late[0])].count("closed") == 2
    assert list(differences()) == []


def test_ending_twice_posts_and_records_once_and_an_earlier_end_goes_on_from_there() -> None:
    cluster, pool = centre_of("hgx")
    use(cluster)
    by = make.person()
    said: dict[str, Any] = {"mapping": mapping_of(pool), "reason": "moved", "by": by, "at": NOW}
    assert unmapping.end_mapping(until_on=LAST, **said) > 0
    entries = LedgerEntry.objects.count()
    assert unmapping.end_mapping(until_on=LAST, **said) == 0
    assert LedgerEntry.objects.count() == entries
    event = Event.objects.get(act="end_mapping")
    assert (event.actor, event.reason, event.changes["until_on"]) == (by, "moved", [None, "2026-06-10"])
    assert end(pool, date(2026, 6, 8)) == 12 * 4 * HOUR
    assert list(differences()) == []


def test_a_mapping_ends_neither_before_it_began_nor_later_than_it_did() -> None:
    _cluster, pool = centre_of("hgx")
    with pytest.raises(machines.MappingEnded, match="cannot lie before"):
        end(pool, date(2025, 12, 31))
    end(pool)
    with pytest.raises(machines.MappingEnded, match="has its last day on"):
        end(pool, LAST + DAY)
    assert mapping_of(pool).until_on == LAST


def test_typed_gpus_end_by_their_name_and_no_other_type_is_touched() -> None:
    cluster = make.cluster("hgx")
    pool = make.pool("h800", cluster=cluster, tres="gres/gpu:h800", from_on=date(2026, 1, 1))
    machines.map_pool(
        pool=pool, kind=PoolMapping.Kind.TRES, name="gres/gpu:h800x", from_on=date(2026, 1, 1), by=None, at=NOW
    )
    make.allocation(pool=pool, account="alpha", start_on=date(2026, 5, 1))
    lines = [make.DELIMITER.join(make.FIELDS)]
    for number, name in enumerate(("h800", "h800x"), start=1):
        begin = NOW - DAY
        run = make.Run(account="alpha", partition="p", start_at=begin, end_at=begin + DAY / 24, number=number)
        lines.append(run.line(cluster).replace("gres/gpu=1", f"gres/gpu=1,gres/gpu:{name}=1"))
    imported("".join(f"{line}\n" for line in lines).encode(), cluster=cluster, as_of=NOW)
    mapping = mapping_of(pool, "gres/gpu:h800")
    assert [left.seconds for left in unmapping.left_over(mapping=mapping, until_on=LAST)] == [HOUR]
    assert unmapping.end_mapping(mapping=mapping, until_on=LAST, reason="-", by=make.person(), at=NOW) == HOUR
    assert list(JobRun.objects.unmatched().values_list("job_id", flat=True)) == ["1"]


# ---------------------------------------------------------------------------------------------- the page


@pytest.fixture
def administrator(client: Client) -> User:
    user = make.staff(StaffRole.ADMINISTRATOR)
    client.force_login(user)
    return user


def test_page_tells_what_is_given_back_and_acts_once_confirmed(client: Client, administrator: User) -> None:
    cluster, pool = centre_of("hgx")
    use(cluster)
    told = unmapping.left_over(mapping=mapping_of(pool), until_on=LAST)
    assert told == [
        LeftOver("hgx-alpha", runs=2, seconds=(18 * 4 + 24 * 2) * HOUR, closed=False),
        LeftOver("hgx-beta", runs=1, seconds=5 * 8 * HOUR, closed=False),
    ]
    url = reverse("admin:centre_gpupool_end_mapping", args=[pool.pk])
    assert (
        'href="../end-mapping/"' in client.get(reverse("admin:centre_gpupool_change", args=[pool.pk])).content.decode()
    )
    given = {"mapping": mapping_of(pool).pk, "until_on": "2026-06-10", "reason": "The machines move"}
    page = client.post(url, given).content.decode()
    assert "3 job runs were charged 160 GPU-hours by this name from 11 Jun 2026 on." in page
    assert "hgx-alpha: 2 job runs" in page
    assert mapping_of(pool).until_on is None
    for _twice in range(2):
        sent = client.post(url, given | {"act_step": "confirmed"})
        assert sent.status_code == 302
    assert mapping_of(pool).until_on == LAST
    assert sum(end.seconds for end in told) == sum(
        JobRun.objects.exclude(account="gamma").values_list("unmatched_seconds", flat=True)
    )
    assert Event.objects.filter(act="end_mapping", actor=administrator).count() == 1


def test_page_refuses_a_mapping_of_another_pool_and_keeps_what_was_typed(client: Client, administrator: User) -> None:
    _cluster, pool = centre_of("hgx")
    _other_cluster, other = centre_of("dgx")
    url = reverse("admin:centre_gpupool_end_mapping", args=[pool.pk])
    given = {"mapping": mapping_of(other).pk, "until_on": "2026-06-10", "reason": "typed by hand"}
    for step in ({}, {"act_step": "confirmed"}):
        page = client.post(url, given | step)
        assert page.status_code == 200
        assert "typed by hand" in page.content.decode()
    assert mapping_of(other).until_on is None


@pytest.mark.parametrize("role", [role for role in StaffRole if role != StaffRole.ADMINISTRATOR])
def test_nobody_but_administrators_ends_a_mapping(client: Client, role: StaffRole) -> None:
    _cluster, pool = centre_of("hgx")
    client.force_login(make.staff(role))
    url = reverse("admin:centre_gpupool_end_mapping", args=[pool.pk])
    given = {"mapping": mapping_of(pool).pk, "until_on": "2026-06-10", "reason": "-", "act_step": "confirmed"}
    assert (client.get(url).status_code, client.post(url, given).status_code) == (403, 403)
    assert mapping_of(pool).until_on is None
