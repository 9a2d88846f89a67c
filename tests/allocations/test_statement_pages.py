"""The statements of a project as pages and as a file: who sees them, what they show, and that issued ones stay."""

import csv
import json
import re
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.staticfiles import finders
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from allocations import movements, statement_pages, statements
from allocations.issuing import issue
from allocations.models import Allocation, Statement
from centre import machines, members
from centre.models import ClusterUser, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]

HOUR = make.HOUR
APRIL, MAY = date(2026, 4, 1), date(2026, 5, 1)
NOW = datetime(2026, 5, 20, 4, tzinfo=UTC)  # noon in Hong Kong


def hongkong(month: int, day: int, hour: int = 12) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC) - timedelta(hours=8)


@pytest.fixture(autouse=True)
def noon() -> Any:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def allocation() -> Allocation:
    make.centre()
    tenant = make.tenant(name_en="Harbour University", name_zh_hant="海港大學")
    project = make.project("gene-fold", tenant=tenant, title="<b>Gene</b> folding")
    return make.allocation(
        project=project,
        pool=make.pool("h800", price=1_000),
        reference="AWARD-1",
        funding=Allocation.Funding.PURCHASED,
        start_on=date(2026, 4, 10),
        end_on=date(2026, 12, 31),
        at=hongkong(4, 9),
    )


def use(allocation: Allocation, start_at: datetime, *, hours: int = 1, user: str = "u1", at: datetime) -> None:
    """A run that an import at an instant brings; the books are complete until then."""
    run = make.run(allocation=allocation, start_at=start_at, hours=hours, user=user)
    make.imported(run, cluster=allocation.pool.cluster, as_of=at, covers_from=hongkong(4, 1))


def in_april(allocation: Allocation) -> Statement:
    """April with four hours of two people, issued."""
    make.member(project=allocation.project, name="Ada Running", cluster_user="u1")
    use(allocation, hongkong(4, 20), hours=3, at=hongkong(4, 25))
    use(allocation, hongkong(4, 21), user="=cmd()", at=hongkong(5, 2))
    return issue(project=allocation.project, month=APRIL, by=None, at=hongkong(5, 4))


def lead_of(allocation: Allocation) -> User:
    return make.member(project=allocation.project, role=ProjectRole.LEAD)


def text_of(client: Client, path: str) -> str:
    """What a page says, in one line."""
    response = client.get(path)
    assert response.status_code == 200
    body = response.content.decode().partition("<main")[2].partition("</main>")[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def file_of(client: Client, month: str = "2026-04") -> bytes:
    response = client.get(f"/projects/gene-fold/statements/{month}.csv")
    assert response.status_code == 200
    return b"".join(response.streaming_content)  # type: ignore[attr-defined]


def lines_of(client: Client, month: str = "2026-04") -> list[dict[str, str]]:
    return list(csv.DictReader(file_of(client, month).decode("utf-8-sig").splitlines()))


# ---------------------------------------------------------------------------------------------------- what is shown


def test_months_are_listed_with_their_numbers(client: Client, allocation: Allocation) -> None:
    client.force_login(lead_of(allocation))
    text = text_of(client, "/projects/gene-fold/statements/")
    assert "May 2026 Provisional – – April 2026 Provisional – –" in text
    in_april(allocation)
    text = text_of(client, "/projects/gene-fold/statements/")
    assert "May 2026 Provisional" in text
    assert "April 2026 Issued 2026-04/00001 4 May 2026, 12:00 HKT" in text


def test_project_without_hours_is_told_how_statements_begin(client: Client) -> None:
    project = make.project("nothing-yet")
    client.force_login(make.member(project=project))
    assert "No statement yet" in text_of(client, "/projects/nothing-yet/statements/")
    assert client.get("/projects/nothing-yet/statements/2026-05/").status_code == 404


def test_statement_shows_the_way_from_opening_to_closing(client: Client, allocation: Allocation) -> None:
    statement = in_april(allocation)
    client.force_login(lead_of(allocation))
    text = text_of(client, "/projects/gene-fold/statements/2026-04/")
    assert f"SHA-256 {statement.digest}" in text
    assert "Statement for April 2026" in text
    assert "<b>Gene</b> folding · Harbour University" in text
    assert (
        "1 Apr 2026 Left at the beginning of the month 0.00 10 Apr 2026 Granted +1,000.00 "
        "Used by job runs this month −4.00 30 Apr 2026 Left at the end of the month 996.00"
    ) in text
    assert "Used, by person Person GPU-hours Ada Running 3.00 =cmd() 1.00 Together 4.00" in text
    assert "Used, by day Day GPU-hours 20 Apr 2026 3.00 21 Apr 2026 1.00 Together 4.00" in text
    assert "20 Apr 2026 Ada Running 3.00 21 Apr 2026 =cmd() 1.00" in text
    assert "AWARD-1 Purchased 4.00 HK$40.00 HK$0.00 HK$40.00" in text
    assert "List price of h800: HK$10.00 per GPU-hour." in text
    assert "provisional" not in text.partition("About the figures")[0]


def test_month_that_is_not_issued_says_so(client: Client, allocation: Allocation) -> None:
    in_april(allocation)
    use(allocation, hongkong(4, 15), user="late", at=hongkong(5, 12))
    use(allocation, hongkong(5, 13), hours=2, at=hongkong(5, 14))
    client.force_login(lead_of(allocation))
    text = text_of(client, "/projects/gene-fold/statements/2026-05/")
    assert "This statement is provisional: its figures may still change." in text
    assert (
        "1 May 2026 Left at the beginning of the month 996.00 Used by job runs this month −2.00 "
        "15 Apr 2026 Use of an earlier month, learnt later −1.00 "
        "20 May 2026 Left so far, as of 20 May 2026, 12:00 HKT 993.00"
    ) in text
    assert "end of the month" not in text
    assert "Day Person GPU-hours used 15 Apr 2026 late +1.00" in text
    assert "SHA-256" not in text


def test_a_month_that_is_over_and_not_issued_is_left_so_far(client: Client, allocation: Allocation) -> None:
    use(allocation, hongkong(4, 20), hours=3, at=hongkong(4, 25))
    client.force_login(lead_of(allocation))
    text = text_of(client, "/projects/gene-fold/statements/2026-04/")
    assert "30 Apr 2026 Left at the end of the month so far, as of 20 May 2026, 12:00 HKT 997.00" in text
    assert [(line["section"], line["day"], line["gpu_seconds"]) for line in lines_of(client)][-3] == (
        ("left_so_far", "2026-04-30", "3589200")
    )


def test_file_of_a_month_that_goes_on_says_what_is_left_so_far(client: Client, allocation: Allocation) -> None:
    in_april(allocation)
    client.force_login(lead_of(allocation))
    told = [(line["section"], line["day"], line["gpu_seconds"]) for line in lines_of(client, "2026-05")]
    assert told == [
        ("opening", "2026-05-01", "3585600"),
        ("left_so_far", "2026-05-20", "3585600"),
        ("money", "", "0"),
        ("money_so_far", "", "14400"),
    ]


def test_hours_set_aside_are_listed_as_they_stand(client: Client, allocation: Allocation) -> None:

    movements.hold(allocation=allocation, seconds=5 * HOUR, by=None, at=hongkong(5, 6), key="h", reason="-")
    client.force_login(lead_of(allocation))
    text = text_of(client, "/projects/gene-fold/statements/2026-05/")
    assert "6 May 2026 Set aside −5.00 20 May 2026 Left so far, as of 20 May 2026, 12:00 HKT 995.00" in text
    assert "Set aside so far Since Until GPU-hours 6 May 2026 until it is decided 5.00" in text


def test_hours_that_the_centre_bears_have_no_own_share(client: Client, allocation: Allocation) -> None:
    Allocation.objects.update(funding=Allocation.Funding.INTERNAL)
    in_april(allocation)
    client.force_login(lead_of(allocation))
    text = text_of(client, "/projects/gene-fold/statements/2026-04/")
    assert "AWARD-1 Internal 4.00 HK$40.00 HK$0.00 borne by the centre This month 4.00 HK$40.00 HK$0.00 HK$0.00" in text


def test_file_has_every_figure_and_no_formula(client: Client, allocation: Allocation) -> None:
    in_april(allocation)
    client.force_login(lead_of(allocation))
    lines = lines_of(client)
    told = [(line["section"], line["day"], line["user"], line["gpu_seconds"]) for line in lines]
    assert told == [
        ("opening", "2026-04-01", "", "0"),
        ("given", "2026-04-10", "", "3600000"),
        ("usage", "2026-04-20", "u1", "-10800"),
        ("usage", "2026-04-21", "'=cmd()", "-3600"),
        ("closing", "2026-04-30", "", "3585600"),
        ("money", "", "", "14400"),
        ("money_so_far", "", "", "14400"),
    ]
    assert {(line["statement"], line["project"], line["month"]) for line in lines} == {
        ("2026-04/00001", "gene-fold", "2026-04-01")
    }
    assert [line["list_value_hkd"] for line in lines if line["section"] == "money"] == ["40.00"]
    response = client.get("/projects/gene-fold/statements/2026-05.csv")
    assert response["Content-Disposition"] == 'attachment; filename="statement_gene-fold_2026-05_provisional.csv"'


# --------------------------------------------------------------------------------------------- the same for ever


def everything_changes(allocation: Allocation) -> None:
    """Names, prices, and what is known of April."""
    at = hongkong(5, 10)
    project = allocation.project
    project.title = "Another title"
    project.save()
    person = ClusterUser.objects.get().user
    person.name = "Another Name"
    person.save()
    members.add_cluster_users(
        names=[(allocation.pool.cluster, "=cmd()", make.person(name="Found Later"))], by=None, at=at
    )
    machines.set_price(pool=allocation.pool, cents_per_gpu_hour=9_999, from_on=date(2026, 4, 15), by=None, at=at)
    use(allocation, hongkong(4, 16), hours=7, user="late", at=at)
    allocation.pool.gpu_model = "H900"
    allocation.pool.save()


def test_issued_statement_stays_the_same_whatever_is_learnt(client: Client, allocation: Allocation) -> None:
    in_april(allocation)
    client.force_login(lead_of(allocation))
    path = "/projects/gene-fold/statements/2026-04/"
    before, content = (text_of(client, path), file_of(client)), Statement.objects.get().content
    everything_changes(allocation)
    assert (text_of(client, path), file_of(client)) == before
    assert Statement.objects.get().content == content
    may = lines_of(client, "2026-05")
    assert [(line["day"], line["user"], line["gpu_seconds"]) for line in may if line["section"] == "earlier"] == [
        ("2026-04-16", "late", "-25200")
    ]


def test_showing_an_issued_month_from_the_books_of_now_is_caught(
    client: Client, allocation: Allocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the test above compares differs for it."""

    in_april(allocation)
    client.force_login(lead_of(allocation))

    def live(team: Any, month: str) -> Any:
        content = statements.provisional(team.project, APRIL, previous=None, at=team.at)
        return statement_pages.Shown(content, Statement.objects.get())

    monkeypatch.setattr(statement_pages, "shown", live)
    before = file_of(client)
    everything_changes(allocation)
    assert file_of(client) != before


# ------------------------------------------------------------------------------------------------- who sees them


PATHS = ("", "2026-04/", "2026-04.csv", "2026-05/", "2026-05.csv")


@pytest.mark.parametrize("role", list(ProjectRole))
def test_everybody_of_the_team_sees_them_until_removed(client: Client, allocation: Allocation, role: str) -> None:
    in_april(allocation)
    user = make.member(project=allocation.project, role=ProjectRole(role))
    make.member(project=allocation.project, role=ProjectRole.LEAD)
    client.force_login(user)
    paths = [f"/projects/gene-fold/statements/{path}" for path in PATHS]
    assert [client.get(path).status_code for path in paths] == [200] * 5
    assert [client.post(path).status_code for path in paths] == [405] * 5
    membership = user.memberships.get()
    members.remove_member(membership=membership, by=None, at=NOW)
    assert [client.get(path).status_code for path in paths] == [404] * 5


def test_staff_and_signatories_see_them_and_strangers_do_not(client: Client, allocation: Allocation) -> None:
    in_april(allocation)
    paths = [f"/projects/gene-fold/statements/{path}" for path in PATHS]
    signatory = make.representative(tenant=allocation.project.tenant)
    for user, status in (
        (make.staff(StaffRole.AUDITOR), 200),
        (make.staff(StaffRole.FINANCE_OFFICER), 200),
        (signatory, 200),
        (make.person(), 404),
        (make.member(project=make.project(), role=ProjectRole.LEAD), 404),
    ):
        client.force_login(user)
        assert [client.get(path).status_code for path in paths] == [status] * 5


@pytest.mark.parametrize(
    "month", ["2026-06", "2026-03", "2026-4", "2026-13", "0000-01", "9999-12", "hello", "2026-04-01"]
)
def test_month_without_anything_to_tell_does_not_exist(client: Client, allocation: Allocation, month: str) -> None:
    client.force_login(lead_of(allocation))
    assert client.get(f"/projects/gene-fold/statements/{month}/").status_code == 404
    assert client.get(f"/projects/gene-fold/statements/{month}.csv").status_code == 404


def test_auditor_reads_them_in_the_administration(client: Client, allocation: Allocation) -> None:
    statement = in_april(allocation)
    client.force_login(make.staff(StaffRole.AUDITOR))
    assert "2026-04/00001" in client.get("/admin/allocations/statement/").content.decode()
    page = client.get(f"/admin/allocations/statement/{statement.pk}/change/").content.decode()
    assert 'href="/projects/gene-fold/statements/2026-04/"' in page
    assert client.post(f"/admin/allocations/statement/{statement.pk}/change/", {}).status_code == 403


# ---------------------------------------------------------------------------------------------------- queries


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("path", "queries"), [("", 9), ("2026-04/", 7), ("2026-04.csv", 5), ("2026-05/", 12)])
def test_queries_do_not_grow(
    client: Client,
    allocation: Allocation,
    django_assert_num_queries: DjangoAssertNumQueries,
    rows: int,
    path: str,
    queries: int,
) -> None:
    for n in range(1, rows):
        row = make.allocation(
            project=allocation.project,
            pool=make.pool(cluster=allocation.pool.cluster),
            account=f"more-{n}",
            start_on=date(2026, 4, 10),
            end_on=date(2026, 12, 31),
        )
        use(row, hongkong(5, 3 + n), at=hongkong(5, 10))
    in_april(allocation)
    use(allocation, hongkong(5, 12), at=hongkong(5, 13))
    client.force_login(lead_of(allocation))
    client.get("/projects/gene-fold/statements/")
    with django_assert_num_queries(queries):
        response = client.get(f"/projects/gene-fold/statements/{path}")
    assert response.status_code == 200


def test_statement_is_made_for_paper() -> None:
    found = finders.find("centre/statement.css")
    assert isinstance(found, str)
    assert "@page { size: A4" in Path(found).read_text(encoding="utf-8")


def test_content_is_data_in_one_canonical_form(allocation: Allocation) -> None:
    content = in_april(allocation).content
    told = json.loads(content)
    assert json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == content
    assert (told["version"], told["month"], told["project"]["tenant"]["zh-hant"]) == (1, "2026-04-01", "海港大學")
