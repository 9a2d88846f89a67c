"""Import health: what stands on the desk and on its page, for whom, and what it costs to show."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from allocations.importing.health import coverage_of_clusters
from allocations.importing.runaways import runaways, with_cost
from allocations.importing.standing import standings
from allocations.models import Allocation, JobRun, UsageImport
from centre import registry
from centre.models import Cluster, User
from centre.permissions import GRANTED, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]

PAGE_QUERIES = 13
NOW = timezone.now().replace(microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
State = UsageImport.State


@pytest.fixture
def allocation() -> Allocation:
    return make.allocation(account="lab", pool=make.pool("gpu", cluster=make.cluster("hgx")))


@pytest.fixture
def cluster(allocation: Allocation) -> Cluster:
    return allocation.pool.cluster


@pytest.fixture
def officer() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


def started(allocation: Allocation, hours_ago: int, **told: Any) -> make.Run:
    return make.run(allocation=allocation, start_at=NOW - hours_ago * HOUR, running=True, **told)


def limited(minutes: int | None) -> None:
    JobRun.objects.update(time_limit_minutes=minutes)


def exported(cluster: Cluster, begins: datetime, ends: datetime, *runs: make.Run) -> UsageImport:
    return make.imported(*runs, cluster=cluster, covers_from=begins, as_of=ends)


def row(cluster: Cluster, *, state: str = State.DONE, **fields: Any) -> UsageImport:
    fields = {"received_at": NOW, "as_of": NOW, **fields}
    return UsageImport.objects.create(cluster=cluster, file_name="x.txt", time_zone="UTC", state=state, **fields)


def desk_titles(user: User) -> list[str]:
    found = registry.waits_for(User.objects.get(pk=user.pk), NOW)
    return [str(line.title) for section in found for group in section.groups for line in group.lines]


def page(client: Client, user: User, **asked: Any) -> str:
    client.force_login(user)
    response = client.get(reverse("admin:allocations_import_health"), asked)
    assert response.status_code == 200
    return response.content.decode()


# ---------------------------------------------------------------------------------------------- how imports stand


def test_usage_is_late_after_a_day_and_a_half(cluster: Cluster) -> None:
    row(cluster, as_of=NOW - 36 * HOUR)
    [standing], _queue = standings(at=NOW)
    assert not standing.is_late
    [standing], _queue = standings(at=NOW + timedelta(seconds=1))
    assert standing.is_late


def test_cluster_with_gpus_and_no_import_says_so_and_one_without_gpus_is_left_out(cluster: Cluster) -> None:
    make.cluster("planned")
    [standing], _queue = standings(at=NOW)
    assert (standing.cluster, standing.is_never, standing.is_late) == (cluster, True, False)


def test_cluster_out_of_service_is_never_late(allocation: Allocation, cluster: Cluster) -> None:
    row(cluster, as_of=NOW - 9 * DAY)
    make.capacity(pool=allocation.pool, gpus=0, from_on=make.today())
    [standing], _queue = standings(at=NOW)
    assert (standing.in_service, standing.is_late) == (False, False)


def test_failures_count_until_a_good_export_follows_and_a_mended_record_is_none(cluster: Cluster) -> None:
    row(cluster, state=State.FAILED)
    row(cluster)
    for number in range(4):
        row(cluster, state=State.FAILED, error=f"reason {number}")
    row(cluster, source=UsageImport.Source.MENDED)
    [standing], _queue = standings(at=NOW)
    assert (standing.failed, [each.error for each in standing.failures]) == (4, ["reason 3", "reason 2", "reason 1"])


@pytest.mark.parametrize(
    ("fields", "since"),
    [
        pytest.param({"received_at": NOW - HOUR}, NOW - HOUR, id="waits"),
        pytest.param({"received_at": NOW - timedelta(minutes=10)}, None, id="waits not long"),
        pytest.param({"received_at": NOW - HOUR, "try_again_at": NOW + HOUR}, None, id="is tried later"),
        pytest.param(
            {"received_at": NOW - DAY, "state": State.RUNNING, "claims": 1, "lease_until": NOW - HOUR},
            NOW - HOUR,
            id="was let fall",
        ),
        pytest.param(
            {
                "received_at": NOW - DAY,
                "state": State.RUNNING,
                "claims": 1,
                "lease_until": NOW - HOUR,
                "phase": "merging",
            },
            None,
            id="merges",
        ),
    ],
)
def test_queue_tells_when_nobody_works(cluster: Cluster, fields: dict[str, Any], since: datetime | None) -> None:
    row(cluster, **{"state": State.RECEIVED, **fields})
    _standings, queue = standings(at=NOW)
    assert queue.unattended_since == since


def test_file_that_waits_behind_one_at_work_is_attended(cluster: Cluster) -> None:
    row(cluster, state=State.RECEIVED, received_at=NOW - HOUR)
    row(cluster, state=State.RUNNING, claims=1, lease_until=NOW + HOUR)
    [standing], queue = standings(at=NOW)
    assert (standing.waiting, standing.running, queue.unattended_since) == (1, 1, None)


# ---------------------------------------------------------------------------------------------- runs without an end


def found_runaways() -> list[Any]:
    return list(with_cost(runaways(coverage_of_clusters())).order_by("pk"))


@pytest.mark.parametrize(
    ("limit", "found"),
    [
        pytest.param(None, False, id="unlimited"),
        pytest.param(200, True, id="beyond: 600 against 200 + 60 + 20"),
        pytest.param(490, True, id="a minute more than 490 + 60 + 49"),
        pytest.param(491, False, id="491 + 60 + 49.1 are not over"),
        pytest.param(600, False, id="at its limit"),
    ],
)
def test_run_is_a_runaway_an_hour_and_a_tenth_beyond_its_limit(
    allocation: Allocation, cluster: Cluster, limit: int | None, found: bool
) -> None:
    make.imported(started(allocation, 10), cluster=cluster, as_of=NOW)
    limited(limit)
    assert bool(found_runaways()) is found


def test_run_that_the_latest_window_does_not_list_is_lost(allocation: Allocation, cluster: Cluster) -> None:
    gone, going_on = started(allocation, 40, gpus=4), started(allocation, 40)
    exported(cluster, NOW - 3 * DAY, NOW - DAY, gone, going_on)
    assert found_runaways() == []
    exported(cluster, NOW - 2 * DAY, NOW, going_on)
    [run] = found_runaways()
    assert (run.job_id_raw, run.is_lost) == (gone.number, 1)
    assert (run.cost_seconds, run.project_code) == (4 * 16 * 3600, allocation.project.code)


def test_export_without_a_window_makes_no_run_lost(allocation: Allocation, cluster: Cluster) -> None:
    exported(cluster, NOW - 3 * DAY, NOW - DAY, started(allocation, 40))
    make.imported(cluster=cluster, as_of=NOW)
    assert found_runaways() == []


def test_finished_and_waiting_runs_and_those_without_gpus_are_no_runaways(
    allocation: Allocation, cluster: Cluster
) -> None:
    exported(
        cluster,
        NOW - 3 * DAY,
        NOW - DAY,
        make.run(allocation=allocation, start_at=NOW - 2 * DAY, hours=2),
        started(allocation, 40, gpus=0),
    )
    limited(1)
    exported(cluster, NOW - 2 * DAY, NOW)
    assert found_runaways() == []


# ---------------------------------------------------------------------------------------------- desk and page


def everything(allocation: Allocation, *, rows: int) -> None:
    """Gaps, lost runs, failures, files that wait and unmatched runs; `rows` of each."""
    cluster = allocation.pool.cluster
    runs = [started(allocation, 24 * 40) for _ in range(rows)]
    unmatched = [
        make.Run(account="nobody", partition="gpu", start_at=NOW - 25 * DAY, end_at=NOW - 24 * DAY) for _ in range(rows)
    ]
    exported(cluster, NOW - 60 * DAY, NOW - 30 * DAY, *runs)
    for number in range(rows):
        exported(cluster, NOW - (20 - 2 * number) * DAY, NOW - (19 - 2 * number) * DAY, *unmatched)
    for _ in range(rows):
        row(cluster, state=State.FAILED, error="<b>no header</b>")
        row(cluster, state=State.RECEIVED, received_at=NOW - HOUR)


def test_desk_says_shortly_what_waits_and_every_line_opens(
    client: Client, officer: User, allocation: Allocation
) -> None:
    everything(allocation, rows=2)
    assert desk_titles(officer) == [
        "Usage of hgx is late",
        "Nobody is at work on the imports",
        "2 imports failed",
        "48 GPU-hours of 2 runs have no allocation",
        "2 windows are missing",
        "2 runs seem to have no end",
    ]
    client.force_login(officer)
    for section in registry.desk_of(User.objects.get(pk=officer.pk), NOW):
        for group in section.groups:
            for line in group.lines:
                assert client.get(line.url).status_code == 200, line.title


def test_page_names_each_matter_and_escapes_reasons(client: Client, officer: User, allocation: Allocation) -> None:
    everything(allocation, rows=1)
    shown = page(client, officer)
    for said in (
        "Late",
        "Nobody is at work on the queue.",
        "&lt;b&gt;no header&lt;/b&gt;",
        "collect-usage --days 31",
        "No longer listed: an export last told of it as of",
        "sacctmgr show runawayjobs",
    ):
        assert said in shown, said


def test_page_says_when_nothing_is_wrong_or_nobody_can_tell(client: Client, officer: User, cluster: Cluster) -> None:
    assert "Never imported" in page(client, officer)
    make.imported(cluster=cluster)
    assert "Nobody can tell: no export said where its window begins." in page(client, officer)
    exported(cluster, NOW - DAY, NOW)
    shown = page(client, officer)
    assert "None: the windows that were told follow on one another without a gap." in shown
    assert "Up to date" in shown


def test_lists_are_cut_into_pages(client: Client, officer: User, allocation: Allocation) -> None:
    exported(
        allocation.pool.cluster, NOW - 60 * DAY, NOW - 30 * DAY, *(started(allocation, 24 * 40) for _ in range(26))
    )
    for day in range(0, 22, 2):
        exported(allocation.pool.cluster, NOW - (24 - day) * DAY, NOW - (23 - day) * DAY)
    first, second = page(client, officer), page(client, officer, gaps=2, runs=2)
    assert [shown.count("No longer listed") for shown in (first, second)] == [25, 1]
    assert [shown.count("From</span>") for shown in (first, second)] == [10, 1]


@pytest.mark.parametrize("role", list(StaffRole))
def test_who_may_see_imports_may_see_how_they_stand(client: Client, cluster: Cluster, role: StaffRole) -> None:
    client.force_login(make.staff(role))
    may = "allocations.view_usageimport" in GRANTED[role]
    assert client.get(reverse("admin:allocations_import_health")).status_code == (200 if may else 403)


def test_members_do_not_learn_that_the_page_exists(client: Client, cluster: Cluster) -> None:
    client.force_login(make.person())
    assert client.get(reverse("admin:allocations_import_health")).status_code == 404


@pytest.mark.parametrize("rows", [1, 3])
def test_page_costs_the_same_however_much_is_wrong(
    client: Client,
    officer: User,
    allocation: Allocation,
    rows: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    everything(allocation, rows=rows)
    client.force_login(officer)
    with django_assert_num_queries(PAGE_QUERIES):
        client.get(reverse("admin:allocations_import_health"))
