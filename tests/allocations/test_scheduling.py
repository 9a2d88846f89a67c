"""What the scheduler may do with new jobs: the rule, and the command that tells it to whoever sets the scheduler."""

from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from allocations import drawing
from allocations.models import Allocation
from allocations.scheduling import SchedulerState, Scheduling, Why, scheduling_of
from centre.models import Centre, GpuPool, Project, Tenant
from centre.models.facility import WhenUsedUp
from centre.models.tenants import Standing
from centre.permissions import StaffRole
from tests import make

NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
TODAY = date(2026, 6, 15)
HEADER = "cluster\tpool\taccount\tstate\treason\tleft_gpu_seconds"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def noon() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def pool() -> GpuPool:
    return make.pool("h800", cluster=make.cluster("hk"))


def an_allocation(*, granted: int = 10, used: int = 0, held: int = 0, state: str = "open") -> Allocation:
    """One that is not stored: what is decided here asks no database."""
    return Allocation(
        project=Project(code="alpha", tenant=Tenant(code="house")),
        account="alpha",
        state=state,
        start_on=date(2026, 6, 1),
        end_on=date(2026, 6, 30),
        granted_seconds=granted,
        used_seconds=used,
        held_seconds=held,
    )


def told(allocation: Allocation, *, on: date = TODAY, when: str = WhenUsedUp.SLOWED, **days: date) -> tuple[str, str]:
    ruling = scheduling_of(allocation, on=on, when_used_up=when, **days)
    return ruling.state, ruling.why


# ---------------------------------------------------------------------------------------------- the rule


def test_jobs_start_while_there_are_hours_left() -> None:
    assert told(an_allocation(used=9)) == (SchedulerState.OPEN, Why.HOURS_LEFT)


@pytest.mark.parametrize("when", list(WhenUsedUp))
@pytest.mark.parametrize(("used", "held"), [(10, 0), (11, 0), (4, 6)])
def test_jobs_of_an_allocation_with_nothing_left_go_as_the_centre_says(when: str, used: int, held: int) -> None:
    assert told(an_allocation(used=used, held=held), when=when) == (when, Why.USED_UP)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 5, 31), (SchedulerState.BLOCKED, Why.NOT_BEGUN)),
        (date(2026, 6, 1), (SchedulerState.OPEN, Why.HOURS_LEFT)),
        (date(2026, 6, 30), (SchedulerState.OPEN, Why.HOURS_LEFT)),
        (date(2026, 7, 1), (SchedulerState.BLOCKED, Why.ENDED)),
    ],
)
def test_jobs_are_covered_on_the_days_of_the_period(day: date, expected: tuple[str, str]) -> None:
    assert told(an_allocation(), on=day) == expected


def test_a_further_account_is_covered_on_its_own_days() -> None:
    days: dict[str, Any] = {"first_on": date(2026, 6, 10), "last_on": date(2026, 6, 20)}
    assert told(an_allocation(), on=date(2026, 6, 9), **days) == (SchedulerState.BLOCKED, Why.NOT_BEGUN)
    assert told(an_allocation(), on=date(2026, 6, 10), **days) == (SchedulerState.OPEN, Why.HOURS_LEFT)
    assert told(an_allocation(), on=date(2026, 6, 21), **days) == (SchedulerState.BLOCKED, Why.ENDED)


@pytest.mark.parametrize(
    ("what", "standing", "why"),
    [
        ("tenant", Standing.CLOSED, Why.TENANT_CLOSED),
        ("tenant", Standing.SUSPENDED, Why.TENANT_SUSPENDED),
        ("project", Standing.CLOSED, Why.PROJECT_CLOSED),
        ("project", Standing.SUSPENDED, Why.PROJECT_SUSPENDED),
    ],
)
def test_jobs_of_a_suspended_or_closed_team_are_blocked(what: str, standing: str, why: str) -> None:
    allocation = an_allocation(used=20)  # why it is blocked matters more than that it is used up, too
    (allocation.project if what == "project" else allocation.project.tenant).standing = standing
    assert told(allocation, when=WhenUsedUp.OPEN) == (SchedulerState.BLOCKED, why)


@pytest.mark.parametrize(
    ("state", "why"),
    [("suspended", Why.ALLOCATION_SUSPENDED), ("closed", Why.ALLOCATION_CLOSED), ("void", Why.ALLOCATION_CLOSED)],
)
def test_jobs_of_a_suspended_or_closed_allocation_are_blocked(state: str, why: str) -> None:
    assert told(an_allocation(state=state)) == (SchedulerState.BLOCKED, why)


def test_every_reason_is_a_whole_sentence() -> None:
    rulings = [Scheduling(state, why, date(2026, 6, 1), date(2026, 6, 30)) for state in SchedulerState for why in Why]
    assert [ruling for ruling in rulings if not ruling.sentence.endswith(".")] == []
    assert Scheduling(SchedulerState.BLOCKED, Why.NOT_BEGUN, date(2026, 7, 1), date(2026, 7, 9)).sentence == (
        "Jobs are not covered before the period begins, on 1 Jul 2026."
    )


# ---------------------------------------------------------------------------------------------- the command


def printed(*arguments: str) -> list[str]:
    out = StringIO()
    call_command("scheduler_states", *arguments, stdout=out)
    return out.getvalue().splitlines()


def use(allocation: Allocation, *, hours: int) -> None:
    """So many GPU-hours used two days ago."""
    run = make.run(allocation=allocation, hours=1, gpus=hours, start_at=NOW - timedelta(days=2))
    make.imported(run, cluster=allocation.pool.cluster, as_of=NOW)


def test_command_tells_the_state_of_every_account(pool: GpuPool) -> None:
    other = make.pool("l40s", cluster=make.cluster("far"))
    make.allocation(project=make.project("beta"), pool=other, hours=1)
    make.allocation(project=make.project("alpha"), pool=pool, hours=2)
    over = make.allocation(project=make.project("gone"), pool=pool, hours=3)
    use(over, hours=5)
    make.allocation(project=make.project("later"), pool=pool, hours=1, start_on=date(2026, 7, 1))
    suspended = make.allocation(project=make.project("still"), pool=pool, hours=1)
    Allocation.objects.filter(pk=suspended.pk).update(state=Allocation.State.SUSPENDED)
    void = make.allocation(project=make.project("void"), pool=pool, hours=1)
    Allocation.objects.filter(pk=void.pk).update(state=Allocation.State.VOID)
    of_hk = [
        "hk\th800\talpha\topen\thours_left\t7200",
        "hk\th800\tgone\tslowed\tused_up\t-7200",
        "hk\th800\tlater\tblocked\tnot_begun\t3600",
        "hk\th800\tstill\tblocked\tallocation_suspended\t3600",
    ]
    assert printed() == [HEADER, "far\tl40s\tbeta\topen\thours_left\t3600", *of_hk]
    assert printed("--cluster", "hk") == [HEADER, *of_hk]
    assert printed("--csv", "--cluster", "far") == [HEADER.replace("\t", ","), "far,l40s,beta,open,hours_left,3600"]


@pytest.mark.parametrize("rule", list(WhenUsedUp))
def test_command_follows_the_rule_of_the_centre(pool: GpuPool, rule: str) -> None:
    make.centre(when_used_up=rule)
    use(make.allocation(project=make.project("gone"), pool=pool, hours=5), hours=5)
    assert printed()[1:] == [f"hk\th800\tgone\t{rule}\tused_up\t0"]


def test_command_tells_of_the_allocation_that_covers_today(pool: GpuPool) -> None:
    project = make.project("alpha")
    spans = [("2025-01-01", "2025-12-31"), ("2026-01-01", "2026-06-30"), ("2026-07-01", "2026-12-31")]
    for hours, (first, last) in enumerate(spans, start=1):
        days: dict[str, Any] = {"start_on": date.fromisoformat(first), "end_on": date.fromisoformat(last)}
        make.allocation(project=project, pool=pool, hours=hours, **days)
    assert printed()[1:] == ["hk\th800\talpha\topen\thours_left\t7200"]
    with time_machine.travel(datetime(2026, 6, 30, 16, tzinfo=UTC), tick=False):  # 1 July in Hong Kong
        assert printed()[1:] == ["hk\th800\talpha\topen\thours_left\t10800"]
    with time_machine.travel(datetime(2027, 6, 1, tzinfo=UTC), tick=False):
        assert printed()[1:] == ["hk\th800\talpha\tblocked\tended\t10800"]
    with time_machine.travel(datetime(2024, 6, 1, tzinfo=UTC), tick=False):
        assert printed()[1:] == ["hk\th800\talpha\tblocked\tnot_begun\t3600"]


def test_command_tells_of_further_accounts(pool: GpuPool) -> None:
    allocation = make.allocation(project=make.project("alpha"), pool=pool, hours=1)
    officer = make.person()

    def let_draw(account: str, first: date, last: date) -> Any:
        drawn, _charged = drawing.let_draw(
            allocation=allocation,
            account=account,
            from_on=first,
            until_on=last,
            by=officer,
            at=NOW,
            reason="-",
        )
        return drawn

    let_draw("guest", date(2026, 6, 10), date(2026, 6, 20))
    let_draw("past", date(2026, 6, 1), date(2026, 6, 10))
    drawing.withdraw(
        drawing_account=let_draw("withdrawn", date(2026, 6, 10), date(2026, 6, 20)), by=officer, at=NOW, reason="-"
    )
    assert printed()[1:] == [
        "hk\th800\talpha\topen\thours_left\t3600",
        "hk\th800\tguest\topen\thours_left\t3600",
        "hk\th800\tpast\tblocked\tended\t3600",
    ]


def test_command_refuses_a_cluster_that_is_not_there(pool: GpuPool) -> None:
    with pytest.raises(CommandError, match="There is no cluster moon"):
        printed("--cluster", "moon")
    assert printed("--cluster", "hk") == [HEADER]


@pytest.mark.parametrize("rows", [1, 3])
def test_command_takes_the_same_queries_for_any_number_of_rows(
    pool: GpuPool, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make.centre()
    for nth in range(rows):
        make.allocation(project=make.project(f"alpha-{nth}"), pool=pool)
    with django_assert_num_queries(3):
        assert len(printed()) == rows + 1


def test_rule_for_used_up_hours_is_set_in_the_administration(client: Client) -> None:
    make.centre(contact_email="desk@example.org")
    client.force_login(make.staff(StaffRole.ADMINISTRATOR))
    page = client.get("/admin/centre/centre/1/change/")
    data = {name: value or "" for name, value in page.context["adminform"].form.initial.items()}
    client.post("/admin/centre/centre/1/change/", data | {"when_used_up": "blocked"})
    assert Centre.objects.get().when_used_up == "blocked"
