"""How GPU time was used, on the page and in its file: it equals what the run charges add up to, and who may see it."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from random import Random

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from allocations.models import Allocation, RunCharge
from allocations.models.usage import Outcome, outcome_of
from allocations.usage_filters import Step, buckets, start_of
from centre import members
from centre.models import User
from centre.permissions import ProjectRole, StaffRole
from centre.stacked_chart import MOST_BARS
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]
NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
HOUR = make.HOUR
PAGE_QUERIES = 11
"""Session, person, staff roles, project, its allocations, time by user name, whose these are, time by step, what was
given back, the award, the centre."""
ENDS = ("COMPLETED", "FAILED", "TIMEOUT")
STATES = ("COMPLETED", "FAILED", "OUT_OF_MEMORY", "CANCELLED by 1000", "TIMEOUT", "NODE_FAIL", "STRANGE")


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def allocation() -> Allocation:
    project = make.project("gene-fold", lead=make.person(name="Leading Person"))
    at = NOW - timedelta(days=50)
    return make.allocation(project=project, pool=make.pool("h800"), hours=100_000, reference="AWARD-1", at=at)


def lead_of(allocation: Allocation) -> User:
    return allocation.project.memberships.get(role=ProjectRole.LEAD).user


def text_of(client: Client, query: str = "") -> str:
    response = client.get(f"/projects/gene-fold/usage/{query}")
    assert response.status_code == 200
    page = response.content.decode()
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def rows_of_file(client: Client, query: str = "") -> list[dict[str, str]]:
    response = client.get(f"/projects/gene-fold/usage.csv{query}")
    assert response.status_code == 200
    text = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.DictReader(text.splitlines()))


def many_runs(allocation: Allocation, *others: Allocation, seed: int = 1) -> None:
    """Runs of several users, ends, lengths and days, told by two imports: some were still running in the first."""
    drawn = Random(seed)
    runs = []
    for _nth in range(60):
        start = NOW - timedelta(hours=drawn.randrange(12, 40 * 24), seconds=drawn.randrange(3600))
        runs.append(
            make.run(
                allocation=drawn.choice((allocation, *others)),
                start_at=start,
                hours=drawn.randrange(1, 30),
                gpus=drawn.randrange(1, 9),
                user=drawn.choice(("ada", "bob", "=cmd()", "")),
                state=drawn.choice(STATES),
            )
        )
    over = sorted((run for run in runs if run.end_at and run.end_at < NOW), key=lambda run: str(run.end_at))
    running = [make.run(allocation=allocation, start_at=NOW - timedelta(hours=30), gpus=2, running=True, user="ada")]
    make.imported(*over[:20], *running, cluster=allocation.pool.cluster, as_of=NOW - timedelta(hours=9))
    make.imported(*over, *running, cluster=allocation.pool.cluster, as_of=NOW)


def expected(first: date, last: date, step: Step = Step.DAY, **kept: str) -> Counter[tuple[date, str, str, str]]:
    """(step, user name, allocation, end) -> GPU-seconds, run charge by run charge."""
    sums: Counter[tuple[date, str, str, str]] = Counter()
    for charge in RunCharge.objects.select_related("run", "allocation__pool"):
        run = charge.run
        outcome = outcome_of(run.state, finished=run.finished)
        told = {"member": run.user_name, "outcome": outcome, "where": charge.allocation.reference}
        if first <= charge.day <= last and all(told[name] == value for name, value in kept.items()):
            start = max(start_of(charge.day, step), first)
            sums[start, run.user_name, charge.allocation.reference, outcome] += charge.seconds
    return +sums


# ------------------------------------------------------------------------------------------------------ the figures


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("kept", [{}, {"member": "ada"}, {"outcome": "failed"}, {"where": "AWARD-2", "member": "bob"}])
def test_page_and_file_equal_an_independent_sum_of_the_run_charges(
    client: Client, allocation: Allocation, step: Step, kept: dict[str, str]
) -> None:
    second = make.allocation(
        project=allocation.project,
        pool=make.pool("a800", cluster=allocation.pool.cluster),
        reference="AWARD-2",
        account="gene-fold-2",
    )
    foreign = make.allocation(project=make.project("other"), pool=allocation.pool, reference="FOREIGN")
    many_runs(allocation, second, foreign)
    first, last = date(2026, 5, 13), date(2026, 6, 14)
    wanted = expected(first, last, step, **kept)
    wanted = Counter({key: seconds for key, seconds in wanted.items() if key[2] != "FOREIGN"})
    assert wanted
    client.force_login(lead_of(allocation))
    asked = "".join(f"&{name}={value}" for name, value in kept.items())
    query = f"?from={first}&to={last}&step={step.value}{asked}"
    of_file = Counter(
        {
            (
                date.fromisoformat(row["from_on"]),
                row["user_name"].removeprefix("'"),
                row["allocation"],
                row["outcome"],
            ): int(row["gpu_seconds"])
            for row in rows_of_file(client, query)
        }
    )
    assert of_file == wanted
    for split in ("outcome", "pool"):
        context = client.get(f"/projects/gene-fold/usage/{query}&split={split}").context
        usage, chart = context["usage"], context["chart"]
        assert usage.total == wanted.total()
        assert [sum(share.seconds for share in table.data) for _title, table in context["tables"]] == [usage.total] * 3
        per_step: Counter[date] = Counter()
        for (start, *_rest), seconds in wanted.items():
            per_step[start] += seconds
        starts = [start for start, _end in buckets(first, last, step)]
        assert [bar.value for bar in chart.bars] == [per_step[start] for start in starts]
        assert [sum(bar.parts) for bar in chart.bars] == [bar.value for bar in chart.bars]


def test_waste_is_said_with_its_share(client: Client, allocation: Allocation) -> None:
    start = NOW - timedelta(days=2)
    make.imported(
        make.run(allocation=allocation, start_at=start, hours=6),
        make.run(allocation=allocation, start_at=start, hours=1, state="FAILED"),
        make.run(allocation=allocation, start_at=start, hours=1, state="NODE_FAIL"),
        cluster=allocation.pool.cluster,
        as_of=NOW,
    )
    client.force_login(lead_of(allocation))
    text = text_of(client)
    assert "Used 8.00 GPU-hours Completed 75 % Failed or stopped 25 %" in text
    assert "25 % of the time, 2.00 GPU-hours, went into runs that failed or were stopped." in text
    assert "1.00 GPU-hours were interrupted by the machine" in text
    assert "As of 15 Jun 2026, 12:00 HKT" in text


def test_member_is_named_where_the_user_name_is_claimed(client: Client, allocation: Allocation) -> None:
    make.member(project=allocation.project, name="Ada Example", cluster_user="ada")
    start = NOW - timedelta(days=2)
    runs = [
        make.run(allocation=allocation, start_at=start, user="ada", hours=3),
        make.run(allocation=allocation, start_at=start, user="<b>bob</b>"),
    ]
    make.imported(*runs, cluster=allocation.pool.cluster, as_of=NOW)
    client.force_login(lead_of(allocation))
    text = text_of(client)
    assert "Ada Example ada 3.00 75.0 %" in text
    assert "<b>bob</b> not yet claimed by anybody 1.00 25.0 %" in text
    assert "Each share is rounded by itself" in text
    assert "<b>bob" not in client.get("/projects/gene-fold/usage/").content.decode()
    told = [(row["member"], row["user_name"]) for row in rows_of_file(client)]
    assert told == [("", "<b>bob</b>"), ("Ada Example", "ada")]


def test_formula_in_a_user_name_is_inert_in_the_file(client: Client, allocation: Allocation) -> None:
    run = make.run(allocation=allocation, start_at=NOW - timedelta(days=1), user="=cmd()")
    make.imported(run, cluster=allocation.pool.cluster, as_of=NOW)
    client.force_login(lead_of(allocation))
    assert [row["user_name"] for row in rows_of_file(client)] == ["'=cmd()"]


# ------------------------------------------------------------------------------------------------------ what is asked


def test_last_thirty_days_by_day_are_shown_unless_told(client: Client, allocation: Allocation) -> None:
    make.imported(
        make.run(allocation=allocation, start_at=NOW - timedelta(days=29)),
        make.run(allocation=allocation, start_at=NOW - timedelta(days=31)),
        cluster=allocation.pool.cluster,
        as_of=NOW,
    )
    client.force_login(lead_of(allocation))
    context = client.get("/projects/gene-fold/usage/").context
    form = context["form"]
    assert (form.first, form.last, form.step) == (date(2026, 5, 17), date(2026, 6, 15), Step.DAY)
    assert (len(context["chart"].bars), context["usage"].total) == (30, HOUR)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("from=soon", "There is no such day in the calendar. Write it like 2026-01-31."),
        ("to=31/02/2026", "There is no such day in the calendar. Write it like 2026-01-31."),
        ("from=2026-06-02&to=2026-06-01", "The last day lies before the first, 2026-06-02."),
        ("from=2026-07-01&to=2026-07-02", "This day is still to come."),
        ("from=1026-06-02", "Check the year."),
        ("from=2001-01-01", "More than 62 months cannot be shown at once."),
        ("step=hour", "“hour” is none of the choices."),
        ("where=FOREIGN", "“FOREIGN” is none of the choices."),
        ("outcome=lost", "“lost” is none of the choices."),
    ],
)
def test_what_cannot_be_meant_is_answered_with_a_sentence_and_kept(
    client: Client, allocation: Allocation, query: str, told: str
) -> None:
    make.allocation(project=make.project("other"), reference="FOREIGN")
    client.force_login(lead_of(allocation))
    response = client.get(f"/projects/gene-fold/usage/?{query}&member=ada")
    assert (response.status_code, told in unescape(response.content.decode())) == (400, True)
    assert response.context["form"].data.items() >= dict(part.split("=") for part in query.split("&")).items()
    assert '<option value="ada" selected>' in response.content.decode()
    response = client.get(f"/projects/gene-fold/usage.csv?{query}")
    assert (response.status_code, told in response.content.decode()) == (400, True)


def test_too_many_days_are_drawn_in_a_coarser_step_and_it_is_said(client: Client, allocation: Allocation) -> None:
    run = make.run(allocation=allocation, start_at=NOW - timedelta(days=1))
    make.imported(run, cluster=allocation.pool.cluster, as_of=NOW)
    client.force_login(lead_of(allocation))
    assert "drawn by Week instead" in text_of(client, "?from=2026-01-01&step=day")
    assert "drawn by Month instead" in text_of(client, "?from=2024-01-01&step=week")
    assert "instead" not in text_of(client, "?from=2026-05-01&step=day")


def test_steps_hold_each_day_once_and_are_few(client: Client) -> None:
    drawn = Random(3)
    for _round in range(300):
        first = date(2020, 1, 1) + timedelta(days=drawn.randrange(3000))
        last = first + timedelta(days=drawn.randrange(60))
        for step in Step:
            found = buckets(first, last, step)
            days = [start + timedelta(days=n) for start, end in found for n in range((end - start).days + 1)]
            assert days == [first + timedelta(days=n) for n in range((last - first).days + 1)]
            assert all(start_of(start, step) == start_of(end, step) for start, end in found)
            assert len(found) <= MOST_BARS


# ------------------------------------------------------------------------------------------------------- who and what


def test_usage_is_open_to_the_team_and_to_staff_of_all_projects(client: Client, allocation: Allocation) -> None:
    project = allocation.project

    def answers(user: User) -> list[int]:
        client.force_login(user)
        return [client.get(f"/projects/gene-fold/usage{end}").status_code for end in ("/", ".csv")]

    assert answers(make.member(project=project, role=ProjectRole.VIEWER)) == [200, 200]
    assert answers(make.representative(tenant=project.tenant)) == [200, 200]
    assert answers(make.staff(StaffRole.AUDITOR)) == [200, 200]
    assert answers(make.staff(StaffRole.COMMITTEE_MEMBER)) == [404, 404]
    assert answers(lead_of(make.allocation(project=make.project("other", lead=make.person())))) == [404, 404]
    former = make.member(project=project)
    assert answers(former) == [200, 200]
    members.remove_member(membership=former.memberships.get(), by=None, at=NOW)
    assert answers(former) == [404, 404]


def test_project_without_allocations_says_how_usage_begins(client: Client) -> None:
    project = make.project("gene-fold", lead=make.person())
    client.force_login(project.memberships.get().user)
    assert "No usage yet" in text_of(client)


@pytest.mark.parametrize("rows", [1, 3])
def test_usage_takes_the_same_queries_for_any_number_of_rows(
    client: Client, allocation: Allocation, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    runs = [
        make.run(allocation=allocation, start_at=NOW - timedelta(days=n + 1), user=f"u{n}", state=ENDS[n])
        for n in range(rows)
    ]
    make.imported(*runs, cluster=allocation.pool.cluster, as_of=NOW)
    client.force_login(lead_of(allocation))
    with django_assert_num_queries(PAGE_QUERIES):
        response = client.get("/projects/gene-fold/usage/")
    assert [len(table.data) for _title, table in response.context["tables"]] == [rows, 1, rows]
    assert Outcome.COMPLETED in response.context["usage"].per_outcome
    assert timezone.now() == NOW
