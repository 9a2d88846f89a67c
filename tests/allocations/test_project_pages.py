"""The pages of project teams: what they say, to whom, and in how many queries."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from allocations import requests
from allocations.models import Allocation, ChangeRequest, JobRun, RunCharge
from centre import members, tenants
from centre.models import GpuPool, Membership, Project, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
TODAY = date(2026, 6, 15)
LIST_QUERIES = 8
"""Session, person, staff roles, how many projects, this page of them, the centre, allocations, usage per day."""
PAGE_QUERIES = 12
"""Session, person, staff roles, project, the centre, allocations, their warnings, further accounts, usage per day,
runs, team and requests, subsidy."""

pytestmark = [pytest.mark.django_db, pytest.mark.page]


@pytest.fixture(autouse=True)
def noon() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def pool() -> GpuPool:
    return make.pool("h800", cluster=make.cluster("hk", site=make.site(name_en="Cyberport")))


@pytest.fixture
def lead() -> User:
    return make.person(name="Leading Person")


def text_of(client: Client, path: str) -> str:
    """What a reader sees, in one line; drawings left out."""
    response = client.get(path)
    assert response.status_code == 200
    page = re.sub(r"<svg.*?</svg>", "", response.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def project_of(lead: User, code: str, **described: Any) -> Project:
    return make.project(code, lead=lead, **described)


# ---------------------------------------------------------------------------------------------- my projects


@pytest.mark.parametrize("rows", [1, 3])
def test_project_list_takes_the_same_queries_for_any_number_of_rows(
    client: Client, lead: User, pool: GpuPool, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for nth in range(rows):
        project = project_of(lead, f"alpha-{nth}", title=f"Title {nth}", tenant=make.tenant(name_en=f"House {nth}"))
        make.allocation(project=project, pool=pool, hours=1_000 + nth, end_on=date(2026, 9, 1 + nth))
    client.force_login(lead)
    with django_assert_num_queries(LIST_QUERIES):
        text = text_of(client, "/projects/")
    for nth in range(rows):
        assert (
            f"Title {nth} alpha-{nth} House {nth} 1,00{nth} of 1,00{nth} (100 %) "
            f"The period ends on {1 + nth} Sep. Jobs start"
        ) in text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"of {rows}" in text


def test_project_list_counts_open_allocations_only(client: Client, lead: User, pool: GpuPool) -> None:
    project = project_of(lead, "alpha", title="Alpha")
    now = make.allocation(project=project, pool=pool, hours=500, end_on=date(2026, 8, 1))
    make.allocation(project=project, pool=pool, hours=700, end_on=date(2026, 7, 1), account="alpha-paid")
    make.allocation(
        project=project, pool=pool, hours=90, start_on=date(2026, 9, 1), end_on=date(2026, 9, 9), account="later"
    )
    make.allocation(project=project, pool=pool, hours=90, start_on=date(2025, 1, 1), end_on=date(2025, 2, 1))
    closed = make.allocation(project=project, pool=pool, hours=90, account="closed")
    Allocation.objects.filter(pk=closed.pk).update(state=Allocation.State.CLOSED)
    make.imported(
        make.run(allocation=now, hours=5, gpus=20, start_at=NOW - timedelta(days=2)), cluster=pool.cluster, as_of=NOW
    )
    client.force_login(lead)
    assert "1,100 of 1,200" in text_of(client, "/projects/")


def test_project_list_is_filtered_and_sorted(client: Client, lead: User, pool: GpuPool) -> None:
    house = make.tenant(name_en="Lantau House", name_zh_hant="大嶼樓")
    one = project_of(lead, "one", title="Apples", tenant=house)
    two = project_of(lead, "two", title="Bananas")
    three = project_of(lead, "three", title="Cherries")
    tenants.suspend_project(project=three, reason="for a test", by=None, at=NOW)
    for hours, project in ((3, one), (9, two), (6, three)):
        make.allocation(project=project, pool=pool, hours=hours)
    client.force_login(lead)

    def order(query: str) -> list[str]:
        return re.findall(r"Apples|Bananas|Cherries", text_of(client, f"/projects/{query}"))

    assert order("") == ["Apples", "Bananas", "Cherries"]
    assert order("?sort=-left") == ["Bananas", "Cherries", "Apples"]
    assert order("?sort=-project") == ["Cherries", "Bananas", "Apples"]
    assert order("?text=banan") == ["Bananas"]
    assert order("?text=大嶼") == ["Apples"]
    assert order("?text=TWO") == ["Bananas"]
    assert order("?standing=suspended") == ["Cherries"]
    assert "No project matches" in text_of(client, "/projects/?text=durian")


def test_project_list_shows_each_person_theirs(client: Client, lead: User) -> None:
    mine = project_of(lead, "mine", title="Mine")
    make.project("sibling", title="Sibling", tenant=mine.tenant)
    make.project("foreign", title="Foreign")

    def seen_by(user: User) -> list[str]:
        client.force_login(user)
        return re.findall(r"Mine|Sibling|Foreign", text_of(client, "/projects/"))

    assert seen_by(lead) == ["Mine"]
    assert seen_by(make.representative(tenant=mine.tenant)) == ["Mine", "Sibling"]
    assert seen_by(make.staff(StaffRole.ALLOCATION_OFFICER)) == ["Foreign", "Mine", "Sibling"]
    assert seen_by(make.staff(StaffRole.COMMITTEE_MEMBER)) == []
    assert seen_by(make.person()) == []


def test_empty_project_list_says_what_to_do(client: Client) -> None:
    make.centre(contact_email="desk@example.org")
    client.force_login(make.person())
    text = text_of(client, "/projects/")
    assert "You do not belong to a project yet" in text
    assert "If your team is new here, write to desk@example.org." in text


def test_project_list_tells_what_comes_next(client: Client, lead: User, pool: GpuPool) -> None:
    """One line for each project: the allocation that needs attention first."""
    steady = make.allocation(project=project_of(lead, "steady", title="Steady"), pool=pool, hours=200)
    over = make.allocation(project=project_of(lead, "over", title="Over"), pool=pool, hours=10)
    two = project_of(lead, "two", title="Two")
    make.allocation(project=two, pool=pool, hours=50, end_on=date(2026, 6, 30))
    make.allocation(project=two, pool=make.pool("l40", cluster=pool.cluster, gpu_model="L40S"), hours=50)
    make.allocation(project=project_of(lead, "later", title="Later"), pool=pool, start_on=date(2026, 7, 1))
    halted = make.allocation(project=project_of(lead, "halted", title="Halted"), pool=pool)
    Allocation.objects.filter(pk=halted.pk).update(state=Allocation.State.SUSPENDED)
    project_of(lead, "none", title="None")
    runs = [
        make.run(allocation=steady, hours=5, start_at=NOW - timedelta(days=ago, hours=9), number=ago)
        for ago in range(1, 31)
    ]
    runs.append(make.run(allocation=over, hours=7, gpus=2, start_at=NOW - timedelta(days=2)))
    make.imported(*runs, cluster=pool.cluster, as_of=NOW)
    client.force_login(lead)
    text = text_of(client, "/projects/").replace("\N{NO-BREAK SPACE}", " ")
    for told in (
        "steady Tenant",
        "50 of 200 (25 %) Runs out on 25 Jun. 5 GPU-hours a day in the last 7 days Jobs start",
        "−4 of 10 (0 %) Overdrawn by 4 GPU-hours. 2 GPU-hours a day in the last 7 days Jobs are slowed",
        "H800: No usage yet. The period ends on 30 Jun. 0 GPU-hours a day in the last 7 days Jobs start",
        "– Can be used from 1 Jul on. Jobs are blocked",
        "– The allocation is suspended. 0 GPU-hours a day in the last 7 days Jobs are blocked",
        "– No GPU-hours to use at the moment. –",
        "As of 15 Jun 2026, 12:00 HKT",
    ):
        assert told in text


def test_project_list_names_what_waits_to_those_who_belong_to_it(client: Client, lead: User) -> None:
    project = project_of(lead, "alpha")
    for nth in range(2):
        asked(project, by=lead, ago=nth)
    asked(project, by=lead, ago=9, state="withdrawn")
    client.force_login(lead)
    assert "2 requests wait for the centre’s answer" in text_of(client, "/projects/")
    client.force_login(make.staff(StaffRole.ALLOCATION_OFFICER))
    assert "wait for the centre" not in text_of(client, "/projects/")


def asked(project: Project, *, by: User, ago: int, state: str = "asked") -> None:
    """A request that was made some days ago."""
    ChangeRequest.objects.create(
        project=project, kind="other", reason="-", asked_by=by, asked_at=NOW - timedelta(days=ago), state=state
    )


# ---------------------------------------------------------------------------------------------- the quota page


def test_quota_page_tells_used_running_and_left(client: Client, lead: User, pool: GpuPool) -> None:
    project = project_of(lead, "alpha", title="Alpha", tenant=make.tenant(name_en="Lantau House"))
    make.member(project=project, name="Typing Person", cluster_user="typist")
    allocation = make.allocation(
        project=project, pool=pool, hours=1_000, reference="A-1", end_on=date(2026, 8, 23), funding="subsidised"
    )
    make.imported(
        make.run(allocation=allocation, hours=10, gpus=8, start_at=NOW - timedelta(days=2), user="typist", number=71),
        make.run(
            allocation=allocation, gpus=4, start_at=NOW - timedelta(hours=6), running=True, name="a<b>c", number=72
        ),
        cluster=pool.cluster,
        as_of=NOW - timedelta(hours=1),
    )
    client.force_login(lead)
    text = text_of(client, "/projects/alpha/")
    assert "Alpha Lantau House · Active" in text
    assert "H800 GPUs, Cyberport · Subsidised 900 GPU-hours left of 1,000" in text
    assert "used 100 of it running now 20 left 900 planned by today 465" in text
    assert "As of 15 Jun 2026, 11:00 HKT · latest import 1 hour ago" in text
    assert "Period 70 days left, today included 16 Apr 2026 – 23 Aug 2026" in text
    assert "New jobs Jobs start There are GPU-hours left, and the period has begun." in text
    assert "Slurm account alpha · Reference A-1" in text
    assert "13 Jun 2026 80.0 14 Jun 2026 0.0 15 Jun 2026 20.0" in text
    assert "72 a<b>c Running 4 20.0 u1 15 Jun 2026, 06:00 HKT" in text
    assert "71 train Completed 8 80.0 Typing Person 13 Jun 2026, 12:00 HKT" in text
    assert "Led by Leading Person. 2 people belong to this project." in text


def grow(project: Project, pool: GpuPool, times: int) -> None:
    """So many allocations, members and runs more, finished and unfinished."""
    runs = []
    for nth in range(times):
        make.member(project=project, name=f"Person {nth}", cluster_user=f"user{nth}")
        allocation = make.allocation(project=project, pool=pool, hours=100 + nth, account=f"{project.code}-{nth}")
        for running in (True, False):
            start = NOW - timedelta(hours=4 + nth)
            runs.append(make.run(allocation=allocation, start_at=start, running=running, user=f"user{nth}"))
    make.imported(*runs, cluster=pool.cluster, as_of=NOW)


@pytest.mark.parametrize("rows", [1, 3])
def test_quota_page_takes_the_same_queries_for_any_number_of_rows(
    client: Client, lead: User, pool: GpuPool, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    project = project_of(lead, "alpha")
    grow(project, pool, rows)
    for allocation in project.allocations.all():
        requests.ask(allocation=allocation, seconds=make.HOUR, reason="more", by=lead, at=NOW)
    client.force_login(lead)
    with django_assert_num_queries(PAGE_QUERIES):
        text = text_of(client, "/projects/alpha/")
    waits = f"{rows} requests wait" if rows > 1 else "1 request waits"
    assert f"{waits} for the centre’s answer" in text
    page = client.get("/projects/alpha/").content.decode()
    latest = JobRun.objects.order_by("-submit_at", "-pk")[:5]
    assert [f"/projects/alpha/runs/{run.pk}/" in page for run in latest] == [True] * min(rows * 2, 5)
    for nth in range(rows):
        assert f"used {5 + nth} of it running now {4 + nth} left 95" in text
        assert f".0 Person {nth} 15 Jun 2026" in text


def test_quota_page_of_a_new_project_says_how_to_begin(client: Client, lead: User) -> None:
    project_of(lead, "alpha")
    client.force_login(lead)
    text = text_of(client, "/projects/alpha/")
    assert "This project has no GPU-hours to use at the moment. Ask the centre for an allocation" in text


def overdrawn(project: Project, pool: GpuPool) -> None:
    allocation = make.allocation(project=project, pool=pool, hours=10)
    run = make.run(allocation=allocation, hours=3, gpus=5, start_at=NOW - timedelta(days=2))
    make.imported(run, cluster=pool.cluster, as_of=NOW)


def used_up(project: Project, pool: GpuPool) -> None:
    allocation = make.allocation(project=project, pool=pool, hours=15)
    run = make.run(allocation=allocation, hours=3, gpus=5, start_at=NOW - timedelta(days=2))
    make.imported(run, cluster=pool.cluster, as_of=NOW)


def nearly_used(project: Project, pool: GpuPool, hours: int = 16) -> None:
    allocation = make.allocation(project=project, pool=pool, hours=hours)
    run = make.run(allocation=allocation, hours=3, gpus=5, start_at=NOW - timedelta(days=2))
    make.imported(run, cluster=pool.cluster, as_of=NOW)


def ending(project: Project, pool: GpuPool) -> None:
    make.allocation(project=project, pool=pool, hours=40, end_on=TODAY + timedelta(days=11))


def ending_tomorrow(project: Project, pool: GpuPool) -> None:
    make.allocation(project=project, pool=pool, hours=40, end_on=TODAY + timedelta(days=1))


def ending_today(project: Project, pool: GpuPool) -> None:
    make.allocation(project=project, pool=pool, hours=40, end_on=TODAY)


def not_begun(project: Project, pool: GpuPool) -> None:
    make.allocation(project=project, pool=pool, start_on=date(2026, 7, 1))


def ended(project: Project, pool: GpuPool) -> None:
    make.allocation(project=project, pool=pool, start_on=date(2026, 1, 1), end_on=date(2026, 1, 31))


def suspended(project: Project, pool: GpuPool) -> None:
    make.allocation(project=project, pool=pool)
    tenants.suspend_project(project=project, reason="for a test", by=None, at=NOW)


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (overdrawn, "H800 is overdrawn: 5 GPU-hours more were used than granted. Ask the centre for more hours"),
        (overdrawn, "Overdrawn 5 GPU-hours overdrawn of 10"),
        (used_up, "All GPU-hours on H800 are used. Ask the centre for more hours"),
        (nearly_used, "The hours on H800 are nearly used up: 1 of 16 GPU-hours left. Ask the centre for more hours"),
        (nearly_used, "Nearly used up 1 GPU-hours left of 16"),
        (ending, "The period on H800 ends in 11 days, on 26 Jun 2026, with 40 GPU-hours left. Plan your last jobs"),
        (ending_tomorrow, "The period on H800 ends tomorrow, on 16 Jun 2026, with 40 GPU-hours left."),
        (ending_today, "Today is the last day of the period on H800. 40 GPU-hours are left."),
        (not_begun, "The GPU-hours of this project can be used from 1 Jul 2026 on."),
        (not_begun, "Not begun yet"),
        (ended, "This project has no GPU-hours to use at the moment."),
        (ended, "Earlier allocations"),
        (suspended, "H800 GPUs, Cyberport · Internal Suspended"),
        (suspended, "This project is suspended. Talk to the centre before you start new jobs."),
    ],
)
def test_quota_page_says_what_comes_next(
    client: Client, lead: User, pool: GpuPool, happens: Callable[[Project, GpuPool], None], told: str
) -> None:
    happens(project_of(lead, "alpha"), pool)
    client.force_login(lead)
    assert told in text_of(client, "/projects/alpha/")


def test_quota_page_names_the_request_that_helps_instead_of_saying_to_ask(
    client: Client, lead: User, pool: GpuPool
) -> None:
    project = project_of(lead, "alpha")
    used_up(project, pool)
    allocation = project.allocations.get()
    client.force_login(lead)
    asked: dict[str, Any] = {"allocation": allocation, "reason": "more", "by": lead, "at": NOW}
    longer = requests.ask(kind=ChangeRequest.Kind.EXTENSION, until_on=allocation.end_on + timedelta(days=9), **asked)
    told = "All GPU-hours on H800 are used."
    assert f"{told} Ask the centre for more hours" in text_of(client, "/projects/alpha/")  # a longer period gives none
    more = requests.ask(kind=ChangeRequest.Kind.TOP_UP, seconds=20 * make.HOUR, **asked)
    waits = f"{told} A request has waited for the centre’s answer since 15 Jun 2026: 20 more GPU-hours for"
    assert f"{waits} {allocation.reference}. See the request" in text_of(client, "/projects/alpha/")
    assert f'href="/projects/alpha/requests/{more.pk}/"' in client.get("/projects/alpha/").content.decode()
    requests.withdraw(request=more, by=lead, at=NOW)
    requests.withdraw(request=longer, by=lead, at=NOW)
    assert f"{told} Ask the centre for more hours" in text_of(client, "/projects/alpha/")


@pytest.mark.parametrize(
    ("granted", "told"), [(17, "· Internal 2 GPU-hours left of 17"), (150, "· Internal 135 GPU-hours left")]
)
def test_quota_page_warns_of_use_from_nine_tenths_on(
    client: Client, lead: User, pool: GpuPool, granted: int, told: str
) -> None:
    nearly_used(project_of(lead, "alpha"), pool, hours=granted)
    client.force_login(lead)
    text = text_of(client, "/projects/alpha/")
    assert told in text
    assert "nearly used up" not in text


def use_each_day(allocation: Allocation, *, hours: int, days: int, number: int = 0) -> list[make.Run]:
    """Runs of so many hours on each of the days before today."""
    return [
        make.run(allocation=allocation, hours=hours, start_at=NOW - timedelta(days=ago, hours=9), number=number + ago)
        for ago in range(1, days + 1)
    ]


def test_quota_page_foretells_the_end_at_both_paces(client: Client, lead: User, pool: GpuPool) -> None:
    allocation = make.allocation(project=project_of(lead, "alpha"), pool=pool, hours=200)
    runs = use_each_day(allocation, hours=2, days=30) + use_each_day(allocation, hours=8, days=7, number=100)
    make.imported(*runs, cluster=pool.cluster, as_of=NOW)
    client.force_login(lead)
    text = text_of(client, "/projects/alpha/")
    assert "Forecast Runs out between 23 Jun and 7 Jul at the pace of the last 7 to 30 days." in text
    assert "49 GPU-hours ahead of an even use of the period." in text
    assert "Pace 10 GPU-hours a day the last 7 days 3.9 GPU-hours a day the last 30 days" in text


def test_quota_page_tells_what_is_left_over_when_hours_last(client: Client, lead: User, pool: GpuPool) -> None:
    allocation = make.allocation(project=project_of(lead, "alpha"), pool=pool, hours=2_000)
    make.imported(*use_each_day(allocation, hours=2, days=30), cluster=pool.cluster, as_of=NOW)
    client.force_login(lead)
    text = text_of(client, "/projects/alpha/")
    assert "Lasts until the period ends with about 1,699 GPU-hours left over, at the pace of the last 7 to 30" in text
    assert "GPU-hours behind an even use of the period." in text


@pytest.mark.parametrize(
    ("begun", "told"),
    [
        (0, "Forecast Too early to tell The pace is known once the records of a full day have come in."),
        (4, "Runs out on 22 Jun at the pace of the last 4 days."),
        (18, "Runs out on 22 Jun at the pace of the last 7 to 18 days."),
    ],
)
def test_quota_page_of_a_young_allocation_says_which_days_it_counts(
    client: Client, lead: User, pool: GpuPool, begun: int, told: str
) -> None:
    days: dict[str, Any] = {"start_on": TODAY - timedelta(days=begun), "end_on": date(2026, 12, 31)}
    allocation = make.allocation(project=project_of(lead, "alpha"), pool=pool, hours=5 * begun + 35, **days)
    today = make.run(allocation=allocation, hours=1, start_at=NOW - timedelta(hours=3))
    make.imported(*use_each_day(allocation, hours=5, days=begun), today, cluster=pool.cluster, as_of=NOW)
    client.force_login(lead)
    assert told in text_of(client, "/projects/alpha/")


def test_quota_page_says_honestly_that_nothing_was_used(client: Client, lead: User, pool: GpuPool) -> None:
    project = project_of(lead, "alpha")
    allocation = make.allocation(project=project, pool=pool)
    client.force_login(lead)
    assert "Forecast No usage known yet The pace is known once the records" in text_of(client, "/projects/alpha/")
    make.imported(cluster=pool.cluster, as_of=NOW - timedelta(days=41))
    assert "Forecast No usage yet When it runs out can be told once" in text_of(client, "/projects/alpha/")
    make.imported(make.run(allocation=allocation, start_at=NOW - timedelta(days=40)), cluster=pool.cluster, as_of=NOW)
    told = "Forecast No usage in the last 30 days Nothing runs out while nothing is used."
    assert told in text_of(client, "/projects/alpha/")


def test_quota_page_gives_no_forecast_while_jobs_cannot_start(client: Client, lead: User, pool: GpuPool) -> None:
    suspended(project_of(lead, "alpha"), pool)
    client.force_login(lead)
    text = text_of(client, "/projects/alpha/")
    assert "Forecast No forecast while jobs cannot start" in text
    assert "New jobs Jobs are blocked The project is suspended." in text


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("open", "New jobs Jobs start The GPU-hours are used up. New jobs start as before, and what they use"),
        ("slowed", "New jobs Jobs are slowed The GPU-hours are used up. New jobs start when nobody else waits"),
        ("blocked", "New jobs Jobs are blocked The GPU-hours are used up. New jobs wait until there are more."),
    ],
)
def test_quota_page_tells_what_becomes_of_new_jobs(
    client: Client, lead: User, pool: GpuPool, rule: str, told: str
) -> None:
    make.centre(when_used_up=rule)
    used_up(project_of(lead, "alpha"), pool)
    client.force_login(lead)
    assert told in text_of(client, "/projects/alpha/")


def test_quota_page_names_requests_that_wait(client: Client, lead: User) -> None:
    project = project_of(lead, "alpha")
    client.force_login(lead)
    assert "wait" not in text_of(client, "/projects/alpha/")
    asked(project, by=lead, ago=3)
    assert "1 request waits for the centre’s answer, since 12 Jun 2026." in text_of(client, "/projects/alpha/")
    asked(project, by=lead, ago=5)
    told = "2 requests wait for the centre’s answer, the oldest since 10 Jun 2026."
    assert told in text_of(client, "/projects/alpha/")


def test_quota_page_leads_to_the_tenant_those_who_see_all_of_it(client: Client, lead: User) -> None:
    project = project_of(lead, "alpha", tenant=make.tenant("lantau"))
    answers = {
        lead: False,
        make.member(project=project, role=ProjectRole.VIEWER): False,
        make.representative(tenant=project.tenant): True,
        make.representative(tenant=project.tenant, user=make.member(project=project)): True,
        make.staff(StaffRole.AUDITOR): True,
    }
    for user, leads_there in answers.items():
        client.force_login(user)
        assert ('href="/tenants/lantau/"' in client.get("/projects/alpha/").content.decode()) is leads_there


def test_quota_page_leads_to_the_centre_by_letter(client: Client, lead: User, pool: GpuPool) -> None:
    make.centre(contact_email="desk@example.org")
    overdrawn(project_of(lead, "alpha"), pool)
    client.force_login(lead)
    assert 'href="mailto:desk@example.org?subject=alpha"' in client.get("/projects/alpha/").content.decode()


def test_quota_page_leads_to_a_request_those_who_may_make_one(client: Client, lead: User, pool: GpuPool) -> None:
    project = project_of(lead, "alpha")
    overdrawn(project, pool)
    answers = {
        lead: True,
        make.member(project=project, role=ProjectRole.MANAGER): True,
        make.member(project=project): False,
        make.member(project=project, role=ProjectRole.VIEWER): False,
        make.representative(tenant=project.tenant): False,
        make.staff(StaffRole.ALLOCATION_OFFICER): False,
    }
    for user, leads_there in answers.items():
        client.force_login(user)
        page = client.get("/projects/alpha/").content.decode()
        assert ('href="/projects/alpha/requests/new/">Make a request' in page) is leads_there


def test_quota_page_of_a_healthy_project_has_nothing_to_warn_of(client: Client, lead: User, pool: GpuPool) -> None:
    make.allocation(project=project_of(lead, "alpha"), pool=pool)
    client.force_login(lead)
    assert 'class="note ' not in client.get("/projects/alpha/").content.decode()


def test_quota_page_is_for_those_who_may_see_the_project(client: Client, lead: User) -> None:
    project = project_of(lead, "alpha")
    make.member(project=project, role=ProjectRole.LEAD)
    former = make.member(project=project)
    members.remove_member(membership=Membership.objects.get(user=former), by=None, at=NOW)
    others = make.member(project=make.project("beta"))
    answers = {
        lead: 200,
        make.member(project=project, role=ProjectRole.VIEWER): 200,
        make.representative(tenant=project.tenant): 200,
        make.staff(StaffRole.AUDITOR): 200,
        make.staff(StaffRole.COMMITTEE_MEMBER): 404,
        former: 404,
        others: 404,
    }
    for user, status in answers.items():
        client.force_login(user)
        assert client.get("/projects/alpha/").status_code == status
    assert client.get("/projects/nowhere/").status_code == 404
    client.logout()
    for path in ("/projects/", "/projects/alpha/"):
        assert client.get(path)["Location"] == f"/accounts/login/?next={path}"


def test_runs_of_another_project_that_shares_the_account_stay_hidden(client: Client, lead: User, pool: GpuPool) -> None:
    """Two projects name one Slurm account on two pools of a cluster: each sees what was charged to it."""
    other_pool = make.pool("l40", cluster=pool.cluster, gpu_model="L40S")
    mine = make.allocation(project=project_of(lead, "alpha"), pool=pool, account="common")
    theirs = make.allocation(pool=other_pool, account="common")
    make.imported(
        make.run(allocation=mine, start_at=NOW - timedelta(hours=5), name="mine-run"),
        make.run(allocation=theirs, start_at=NOW - timedelta(hours=4), name="their-secret-run"),
        cluster=pool.cluster,
        as_of=NOW,
    )
    client.force_login(lead)
    text = text_of(client, "/projects/alpha/")
    assert "mine-run" in text
    assert "their-secret-run" not in text


def test_latest_runs_are_ten_over_all_accounts_newest_first(lead: User, pool: GpuPool) -> None:
    project = project_of(lead, "alpha")
    one = make.allocation(project=project, pool=pool)
    two = make.allocation(project=project, pool=pool, account="alpha-paid")
    runs = [
        make.run(allocation=(one, two)[n % 2], start_at=NOW - timedelta(hours=50 - n), name=str(n)) for n in range(30)
    ]
    make.imported(*runs, cluster=pool.cluster, as_of=NOW)
    accounts = {(pool.cluster.pk, "alpha"): False, (pool.cluster.pk, "alpha-paid"): True}
    latest = JobRun.objects.latest_of_project(project, accounts, limit=10)
    assert [run.job_name for run in latest] == [str(n) for n in range(29, 19, -1)]
    assert {run.charged_seconds for run in latest} == {3600}
    assert list(JobRun.objects.latest_of_project(project, {}, limit=10)) == []


def test_running_is_the_part_of_used_that_belongs_to_unfinished_runs(pool: GpuPool) -> None:
    busy, idle = make.allocation(pool=pool), make.allocation(pool=pool)
    running = make.run(allocation=busy, gpus=2, start_at=NOW - timedelta(hours=30), running=True, number=5)
    done = make.run(allocation=busy, hours=1, gpus=7, start_at=NOW - timedelta(hours=9))
    for ago in (20, 10, 0):
        make.imported(running, *([done] if ago == 0 else []), cluster=pool.cluster, as_of=NOW - timedelta(hours=ago))
    assert RunCharge.objects.filter(run__finished=False).count() > 2
    seconds = {allocation.pk: allocation.running_seconds for allocation in Allocation.objects.with_running()}
    assert seconds == {busy.pk: 2 * 30 * 3600, idle.pk: 0}
    busy.refresh_from_db()
    assert busy.used_seconds == (2 * 30 + 7) * 3600


def test_hostile_text_is_shown_and_never_run(client: Client, lead: User, pool: GpuPool) -> None:
    name = "<img src=x onerror=alert(1)>"
    project = project_of(lead, "alpha", title=name)
    make.member(project=project, name=name)
    allocation = make.allocation(project=project, pool=pool)
    run = make.run(
        allocation=allocation, start_at=NOW - timedelta(hours=3), name=name + "x" * 10_000, user="\u202eevil"
    )
    make.imported(run, cluster=pool.cluster, as_of=NOW)
    client.force_login(lead)
    for path in ("/projects/", "/projects/alpha/"):
        page = client.get(path).content.decode()
        assert "<img" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;" in page
        assert "x" * 100 not in page
    assert "<bdi>\u202eevil</bdi>" in client.get("/projects/alpha/").content.decode()
