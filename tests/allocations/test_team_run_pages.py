"""The job runs of a project as its team sees them: found, walked to the last one, never another project's."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from allocations import drawing, run_lists
from allocations.models import Allocation, JobRun, LedgerEntry, RunCharge
from allocations.models.usage import Outcome, outcome_of
from allocations.refunds import refund
from allocations.run_lists import Place, place_in
from centre import machines, members
from centre.models import User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]
NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
HOUR = make.HOUR
LIST_QUERIES = 10
"""Session, person, staff roles, project, its allocations, further accounts, members, the runs, the
award, the centre."""
SEARCH_QUERIES = 11
"""And how far a page may look back."""
NUMBER_QUERIES = 12
"""And, first, whether there is a job of that number."""
RUN_QUERIES = 11
"""Session, person, staff roles, project, allocations, the run, its charges and refunds at list price, who pays,
observations, the award, the centre."""


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


def imported(allocation: Allocation, *runs: make.Run, hours_ago: int = 0) -> None:
    make.imported(*runs, cluster=allocation.pool.cluster, as_of=NOW - timedelta(hours=hours_ago))


def found(client: Client, query: str = "", code: str = "gene-fold") -> list[int]:
    """Job numbers of the runs on a page."""
    response = client.get(f"/projects/{code}/runs/{query}")
    assert response.status_code == 200
    return [run.job_id_raw for run in response.context["page"].runs]


def walked(client: Client, query: str = "", code: str = "gene-fold") -> list[int]:
    """Job numbers over all pages."""
    numbers = found(client, query, code)
    while onward := client.get(f"/projects/{code}/runs/{query}").context["onward_url"]:
        query = onward
        numbers += found(client, query, code)
    return numbers


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    page = response.content.decode()
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def run(number: int) -> JobRun:
    return JobRun.objects.get(job_id_raw=number)


# ------------------------------------------------------------------------------------------------------ the list


@pytest.mark.parametrize(("rows", "looked_through"), [(50, 8_000), (3, 4), (2, 1)])
def test_every_run_is_reached_once_newest_first_whatever_is_filtered(
    client: Client, allocation: Allocation, monkeypatch: pytest.MonkeyPatch, rows: int, looked_through: int
) -> None:
    monkeypatch.setattr(run_lists, "ROWS", rows)
    monkeypatch.setattr(run_lists, "LOOKED_THROUGH", looked_through)
    second = make.allocation(
        project=allocation.project, pool=make.pool("a800", cluster=allocation.pool.cluster), account="second"
    )
    states = ("COMPLETED", "FAILED", "CANCELLED by 1000", "TIMEOUT", "NODE_FAIL", "STRANGE")
    runs = [
        make.run(
            allocation=(allocation, second)[n % 3 == 0],
            start_at=NOW - timedelta(hours=2 + n // 2),  # two at a time
            user=f"u{n % 3}",
            state=states[n % 6],
            name=f"Train_{n % 4}%",
        )
        for n in range(13)
    ]
    imported(allocation, *runs, make.run(allocation=allocation, start_at=NOW - timedelta(hours=1), running=True))
    client.force_login(lead_of(allocation))
    rows_there = list(JobRun.objects.order_by("-submit_at", "-id"))
    assert walked(client) == [row.job_id_raw for row in rows_there]
    for member in ("u1", "nobody"):
        wanted = [row.job_id_raw for row in rows_there if row.user_name == member]
        assert walked(client, f"?member={member}") == wanted
    for outcome in Outcome:
        wanted = [row.job_id_raw for row in rows_there if outcome_of(row.state, finished=row.finished) == outcome]
        assert walked(client, f"?outcome={outcome.value}") == wanted
    wanted = [row.job_id_raw for row in rows_there if row.account == "second"]
    assert walked(client, f"?where={second.reference}") == wanted
    assert walked(client, "?where=pool:a800") == wanted
    assert walked(client, "?q=train_2%25") == [row.job_id_raw for row in rows_there if row.job_name == "Train_2%"]


def test_page_that_looked_far_enough_says_how_far(
    client: Client, allocation: Allocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_lists, "LOOKED_THROUGH", 2)
    imported(allocation, *(make.run(allocation=allocation, start_at=NOW - timedelta(hours=n)) for n in range(2, 8)))
    client.force_login(lead_of(allocation))
    text = text_of(client, "/projects/gene-fold/runs/?member=nobody")
    assert "this page looked back to 15 Jun 2026, 08:00:00 HKT only" in text
    assert "Look further back" in text
    assert "looked back" not in text_of(client, "/projects/gene-fold/runs/")


def test_last_thirty_days_are_shown_unless_others_are_asked_for(client: Client, allocation: Allocation) -> None:
    late, early = (
        make.run(allocation=allocation, start_at=datetime(2026, 5, day, hour, tzinfo=UTC))
        for day, hour in ((16, 16), (16, 15))  # midnight in Hong Kong, and an hour before
    )
    imported(allocation, late, early)
    client.force_login(lead_of(allocation))
    assert found(client) == [late.number]
    assert found(client, "?from=2026-05-01&to=2026-05-16") == [early.number]
    assert "Submitted 17 May 2026 – 15 Jun 2026" in text_of(client, "/projects/gene-fold/runs/")


def test_job_number_is_found_whenever_it_ran(client: Client, allocation: Allocation) -> None:
    old = make.run(allocation=allocation, start_at=NOW - timedelta(days=45), number=4321)
    named = make.run(allocation=allocation, start_at=NOW - timedelta(days=1), name="eval-99999")
    imported(allocation, old, named)
    client.force_login(lead_of(allocation))
    assert found(client, "?q=4321") == [4321]
    assert "also outside the days above" in text_of(client, "/projects/gene-fold/runs/?q=4321")
    assert found(client, "?q=99999") == [named.number]
    assert found(client, "?q=43") == []
    assert found(client, "?q=" + "9" * 40) == []


def test_tasks_of_an_array_are_found_by_its_number(client: Client, allocation: Allocation) -> None:
    start = NOW - timedelta(days=45)
    tasks = [make.run(allocation=allocation, start_at=start, number=number) for number in (700, 701, 702)]
    other = make.run(allocation=allocation, start_at=start, number=7000)
    imported(allocation, *tasks, other)
    for number, job in ((700, "700_2"), (701, "700_0"), (702, "700_1")):
        JobRun.objects.filter(job_id_raw=number).update(job_id=job)
    client.force_login(lead_of(allocation))
    assert sorted(found(client, "?q=700")) == [700, 701, 702]
    assert found(client, "?q=700_1") == [702]


def test_place_in_the_list_is_read_back_and_nonsense_is_passed_over(client: Client, allocation: Allocation) -> None:
    place = Place(NOW + timedelta(microseconds=7), 12)
    assert place_in(str(place)) == place
    assert [place_in(text) for text in ("", "-", "1", "x-1", "1-x", "9" * 18 + "-1", "9" * 40 + "-1")] == [None] * 7
    ran = make.run(allocation=allocation, start_at=NOW - timedelta(days=1))
    imported(allocation, ran)
    client.force_login(lead_of(allocation))
    assert found(client, "?after=nonsense") == [ran.number]
    assert found(client, "?page=99") == [ran.number]
    assert found(client, "?after=1-1") == []
    text = unescape(client.get("/projects/gene-fold/runs/?after=1-1").content.decode())
    assert "The list ends before this place. Go back to the newest runs." in text
    assert "Back to the newest" in text


def test_bad_days_are_answered_with_a_sentence(client: Client, allocation: Allocation) -> None:
    client.force_login(lead_of(allocation))
    response = client.get("/projects/gene-fold/runs/?from=2026-06-03&to=2026-06-01&q=kept")
    told = "The last day lies before the first, 2026-06-03." in response.content.decode()
    assert (response.status_code, told, 'value="kept"' in response.content.decode()) == (400, True, True)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("from=31/02/2026", "There is no such day in the calendar. Write it like 2026-01-31."),
        (f"member={'m' * 129}", "This is too long: shorten it to 128 characters. It has 129 now."),
        (f"q={'n' * 101}", "This is too long: shorten it to 100 characters. It has 101 now."),
        ("q=a%00b", "This holds a character that cannot be kept. Write it anew."),
        ("outcome=lost", "“lost” is none of the choices."),
    ],
)
def test_what_cannot_be_meant_is_answered_with_a_sentence(
    client: Client, allocation: Allocation, query: str, told: str
) -> None:
    client.force_login(lead_of(allocation))
    response = client.get(f"/projects/gene-fold/runs/?{query}")
    errors = [text for texts in response.context["form"].errors.values() for text in texts]
    assert (response.status_code, [text.startswith(told) for text in errors]) == (400, [True])


def test_hostile_names_are_inert(client: Client, allocation: Allocation) -> None:
    evil = "<script>alert(1)</script>" + "x" * 500
    imported(allocation, make.run(allocation=allocation, start_at=NOW - timedelta(days=1), name=evil, user="<i>u"))
    client.force_login(lead_of(allocation))
    for path in ("", "?q=%3Cscript%3E&member=%3Cscript%3E", f"{JobRun.objects.get().pk}/"):
        page = client.get(f"/projects/gene-fold/runs/{path}").content.decode()
        assert ["<script>alert" in page, "<i>u" in page] == [False, False]
    assert len(found(client, "?q=%3Cscript%3E")) == 1


# ---------------------------------------------------------------------------------------------------- whose runs


def test_shared_account_shows_each_project_its_own_runs_only(client: Client, allocation: Allocation) -> None:
    """Two projects' allocations on two pools name one Slurm account."""
    other = make.allocation(
        project=make.project("other", lead=make.person()),
        pool=make.pool("a800", cluster=allocation.pool.cluster),
        account="gene-fold",
    )
    own, foreign = (
        make.run(allocation=each, start_at=NOW - timedelta(days=1), name=each.project.code)
        for each in (allocation, other)
    )
    nobodys = make.Run(account="gene-fold", partition="unknown", start_at=NOW - timedelta(hours=5), end_at=NOW)
    imported(allocation, own, foreign, nobodys)
    for each, mine, theirs in ((allocation, own, foreign), (other, foreign, own)):
        client.force_login(lead_of(each))
        code = each.project.code
        assert found(client, code=code) == [mine.number]
        assert found(client, f"?q={theirs.number}", code) == []
        assert found(client, f"?q={mine.number}", code) == [mine.number]
        answers = [client.get(f"/projects/{code}/runs/{run(n).pk}/").status_code for n in (mine.number, theirs.number)]
        assert answers == [200, 404]
        assert client.get(f"/projects/{code}/runs/{run(nobodys.number).pk}/").status_code == 404


def test_further_account_shows_only_what_was_charged_here(client: Client, allocation: Allocation) -> None:
    first = NOW.date() - timedelta(days=3)
    drawing.let_draw(
        allocation=allocation,
        account="guest",
        from_on=first,
        until_on=first,
        by=make.person(),
        at=NOW - timedelta(days=4),
        reason="for a test",
    )
    start = datetime(first.year, first.month, first.day, 4, tzinfo=UTC)
    charged, before = (
        make.Run(account="guest", partition="h800", start_at=at, end_at=at + timedelta(hours=1))
        for at in (start, start - timedelta(days=2))
    )
    imported(allocation, charged, before)
    client.force_login(lead_of(allocation))
    assert found(client) == [charged.number]
    answers = [client.get(f"/projects/gene-fold/runs/{run(r.number).pk}/").status_code for r in (charged, before)]
    assert answers == [200, 404]


def test_runs_are_open_to_the_team_and_to_staff_of_all_projects(client: Client, allocation: Allocation) -> None:
    imported(allocation, make.run(allocation=allocation, start_at=NOW - timedelta(days=1)))
    paths = ["/projects/gene-fold/runs/", f"/projects/gene-fold/runs/{JobRun.objects.get().pk}/"]

    def answers(user: User) -> list[int]:
        client.force_login(user)
        return [client.get(path).status_code for path in paths]

    project = allocation.project
    assert answers(make.member(project=project, role=ProjectRole.VIEWER)) == [200, 200]
    assert answers(make.representative(tenant=project.tenant)) == [200, 200]
    assert answers(make.staff(StaffRole.AUDITOR)) == [200, 200]
    assert answers(make.staff(StaffRole.COMMITTEE_MEMBER)) == [404, 404]
    stranger = lead_of(make.allocation(project=make.project("other", lead=make.person())))
    assert answers(stranger) == [404, 404]
    assert client.get(f"/projects/other/runs/{JobRun.objects.get().pk}/").status_code == 404
    assert client.get("/projects/other/runs/99999999999999999999999/").status_code == 404
    former = make.member(project=project)
    assert answers(former) == [200, 200]
    members.remove_member(membership=former.memberships.get(), by=None, at=NOW)
    assert answers(former) == [404, 404]


# ------------------------------------------------------------------------------------------------------- one run


def test_run_is_told_with_its_cost_by_day_and_every_observation(client: Client, allocation: Allocation) -> None:
    """Over midnight in Hong Kong, seen running and then failed."""
    start = datetime(2026, 6, 14, 14, tzinfo=UTC)
    ran = make.run(allocation=allocation, start_at=start, hours=4, gpus=3, state="NODE_FAIL", number=88)
    imported(allocation, make.run(allocation=allocation, start_at=start, gpus=3, running=True, number=88), hours_ago=11)
    imported(allocation, ran)
    client.force_login(lead_of(allocation))
    path = f"/projects/gene-fold/runs/{run(88).pk}/"
    context, text = client.get(path).context, text_of(client, path)
    assert [(cost.day.isoformat(), cost.seconds) for cost in context["costs"]] == [
        ("2026-06-14", 6 * HOUR),
        ("2026-06-15", 6 * HOUR),
    ]
    assert context["total"] == sum(RunCharge.objects.values_list("seconds", flat=True))
    assert "14 Jun 2026 AWARD-1 3 GPUs × 7,200 s = 21,600 GPU-seconds" in text
    assert "Charged in all (GPU-hours) 12.00" in text
    assert "Machine failed A machine that it ran on failed." in text
    assert "ran for 4 h" in text
    entries = LedgerEntry.objects.filter(source_kind="usage").order_by("pk")
    linked = re.findall(r'href="/projects/gene-fold/ledger/(\d+)/"', client.get(path).content.decode())
    assert linked == [str(entry.pk) for entry in sorted(entries, key=lambda entry: (entry.effective_on, entry.pk))]
    assert [(each.as_of, each.state, each.counts) for each in context["told"]] == [
        (NOW, "Machine failed", True),
        (NOW - timedelta(hours=11), "Running", False),
    ]


def test_run_comes_to_its_hours_at_the_list_price_of_each_day(client: Client, allocation: Allocation) -> None:
    """Two hours before midnight at HK$10 and two after it at HK$20; then all of them are given back."""
    Allocation.objects.update(funding=Allocation.Funding.PURCHASED)
    start = datetime(2026, 6, 14, 14, tzinfo=UTC)
    imported(allocation, make.run(allocation=allocation, start_at=start, hours=4, number=88))
    pool = allocation.pool
    machines.set_price(pool=pool, cents_per_gpu_hour=2_000, from_on=date(2026, 6, 15), by=None, at=NOW)
    client.force_login(lead_of(allocation))
    path = f"/projects/gene-fold/runs/{run(88).pk}/"
    assert "AWARD-1 Purchased 4.00 HK$60.00 HK$0.00 HK$60.00 How is this worked out?" in text_of(client, path)
    Allocation.objects.update(funding=Allocation.Funding.INTERNAL)
    assert "AWARD-1 Internal 4.00 HK$60.00 HK$0.00 borne by the centre How is" in text_of(client, path)
    people: dict[str, Any] = {"by": make.person(), "approved_by": make.person()}
    refund(allocation=allocation, runs={run(88).pk: 4 * HOUR}, at=NOW, key="r", reason="-", **people)
    assert "AWARD-1 Internal 0.00 HK$0.00 HK$0.00 borne by the centre How is" in text_of(client, path)


def test_run_of_days_without_a_price_says_so(client: Client) -> None:
    project = make.project("gene-fold", lead=make.person())
    allocation = make.allocation(
        project=project, pool=make.pool(price=None), reference="AWARD-2", at=NOW - timedelta(days=50)
    )
    imported(allocation, make.run(allocation=allocation, start_at=NOW - timedelta(hours=4), hours=2))
    client.force_login(lead_of(allocation))
    text = text_of(client, f"/projects/gene-fold/runs/{JobRun.objects.get().pk}/")
    assert "AWARD-2 Internal 2.00 HK$0.00 HK$0.00 borne by the centre 2.00 GPU-hours were used on days without" in text


def test_run_that_waits_has_cost_nothing(client: Client, allocation: Allocation) -> None:
    imported(allocation, make.run(allocation=allocation, start_at=NOW, running=True, state="PENDING"))
    client.force_login(lead_of(allocation))
    text = text_of(client, f"/projects/gene-fold/runs/{JobRun.objects.get().pk}/")
    assert "Waiting It waits for its turn and costs nothing yet." in text
    assert "This run cost this project nothing." in text
    assert "What it comes to" not in text


# ------------------------------------------------------------------------------------------------------- queries


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(
    ("query", "queries"), [("", LIST_QUERIES), ("?outcome=completed", SEARCH_QUERIES), ("?q=1", NUMBER_QUERIES)]
)
def test_list_takes_the_same_queries_for_any_number_of_runs(
    client: Client,
    allocation: Allocation,
    rows: int,
    query: str,
    queries: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    imported(
        allocation,
        *(
            make.run(allocation=allocation, start_at=NOW - timedelta(days=n + 1), user=f"u{n}", name="train-1")
            for n in range(rows)
        ),
    )
    client.force_login(lead_of(allocation))
    with django_assert_num_queries(queries):
        numbers = found(client, query)
    assert len(numbers) == rows


@pytest.mark.parametrize("days", [1, 3])
def test_run_takes_the_same_queries_for_any_number_of_days_and_observations(
    client: Client, allocation: Allocation, days: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    start = NOW - timedelta(days=days - 1, hours=10)
    for hours in range(days):
        running = make.run(allocation=allocation, start_at=start, running=True, number=5, gpus=hours + 1)
        imported(allocation, running, hours_ago=days - 1 - hours)
    client.force_login(lead_of(allocation))
    path = f"/projects/gene-fold/runs/{run(5).pk}/"
    with django_assert_num_queries(RUN_QUERIES):
        response = client.get(path)
    assert (len(response.context["costs"]), len(response.context["told"])) == (days, days)
