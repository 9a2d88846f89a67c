"""The capacity board's page and CSV: who sees it, what it says, in how many queries, how fast with many allocations."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from time import process_time
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from allocations.commitments import Month
from allocations.models import Allocation
from centre.amounts import decimal_text
from centre.exports import Parameters, written
from centre.models import GpuPool, Outage, User
from centre.permissions import ProjectRole, StaffRole
from subsidies import capacity_board
from subsidies.capacity_csv import COLUMNS, report_of
from subsidies.models import Application
from tests import make
from tests.subsidies import cases

pytestmark = [pytest.mark.django_db, pytest.mark.page]

NOW = datetime(2026, 6, 15, 4, 0, tzinfo=UTC)  # noon in Hong Kong
BOARD, CSV = "/desk/capacity/", "/desk/capacity.csv"
QUERIES = 12
"""Session, person, roles, applications to see, pools, capacity, outages, granted, asked for, imports, used, centre."""
SEE = {
    StaffRole.TENANT_OFFICER,
    StaffRole.ALLOCATION_OFFICER,
    StaffRole.SUBSIDY_SECRETARY,
    StaffRole.FINANCE_OFFICER,
    StaffRole.MANAGEMENT,
    StaffRole.AUDITOR,
    StaffRole.ADMINISTRATOR,  # who sets what is in service, and sees no balance
}


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def as_staff(client: Client, role: StaffRole = StaffRole.ALLOCATION_OFFICER) -> User:
    user = make.staff(role)
    client.force_login(user)
    return user


def text_of(client: Client, query: str = "") -> str:
    page = client.get(BOARD + query).content.decode()
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def rows_of(client: Client, query: str = "") -> list[dict[str, str]]:
    content = client.get(CSV + query).getvalue().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(content)))


def one_gpu(code: str = "small") -> GpuPool:
    """A pool with one GPU, all of whose June and July is promised."""
    pool = make.pool(code, gpus=1, gpu_model="Tiny")
    make.allocation(pool=pool, hours=61 * 24, start_on=date(2026, 6, 1), end_on=date(2026, 7, 31))
    return pool


# ---------------------------------------------------------------------------------------------- who


@pytest.mark.parametrize("role", list(StaffRole))
def test_staff_who_plan_see_the_board_and_others_do_not_find_it(client: Client, role: StaffRole) -> None:
    one_gpu()
    as_staff(client, role)
    expected = 200 if role in SEE else 404
    assert [client.get(path).status_code for path in (BOARD, CSV)] == [expected, expected]
    assert ('href="/desk/capacity/"' in client.get("/desk/").content.decode()) is (role in SEE)


def test_team_does_not_find_the_board(client: Client) -> None:
    client.force_login(make.member(project=make.project(), role=ProjectRole.LEAD))
    assert [client.get(path).status_code for path in (BOARD, CSV)] == [404, 404]


def test_board_is_only_looked_at(client: Client) -> None:
    as_staff(client)
    assert [client.post(path).status_code for path in (BOARD, CSV)] == [405, 405]


# ---------------------------------------------------------------------------------------------- what it says


def test_over_commitment_appears_when_capacity_shrinks(client: Client) -> None:
    pool = one_gpu()
    as_staff(client)
    before = text_of(client)
    make.capacity(pool=pool, gpus=0, from_on=date(2026, 7, 22))
    after = text_of(client)
    assert "No month shown has more committed than available." in before
    assert "over by" not in before
    assert "Over-committed" in after
    assert (
        "More is committed than available in 1 of the months shown: July 2026, over by 240 GPU-hours (47.6 %)." in after
    )
    assert "1 → 0 0 from 22 Jul 2026" in after
    assert "−240" in after


def test_outage_takes_what_it_loses_from_what_is_available(client: Client) -> None:
    pool = one_gpu()
    starts_at = datetime(2026, 7, 10, 0, tzinfo=UTC)
    make.outage(pool=pool, gpus=3, starts_at=starts_at, ends_at=starts_at + timedelta(hours=10))
    as_staff(client)
    july = rows_of(client)[1]
    names = ("month", "outage_gpu_hours", "available_gpu_hours", "committed_gpu_hours", "over_gpu_hours")
    assert [july[name] for name in names] == ["2026-07", "10.00", "734.00", "744.00", "10.00"]
    assert "over by 10 GPU-hours (1.4 %)" in text_of(client)


def test_without_a_choice_all_applications_are_tried_out_and_with_one_only_that(client: Client) -> None:
    pool = one_gpu()
    big = cases.application(hours={pool: 365 * 24}, title="Big")
    small = cases.application(hours={pool: 365}, title="Small")
    as_staff(client)
    everything = text_of(client)
    assert (
        "With all applications in assessment, 12 months would be over that are not over yet; the first is June 2026"
        in everything
    )
    assert "If all were approved" in everything
    chosen = text_of(client, f"?application={small.number}")
    assert (
        "With the chosen applications, 2 months would be over that are not over yet; the first is June 2026" in chosen
    )
    assert "over by 16 GPU-hours (2.2 %)" in chosen  # an hour a day from 15 June on
    assert "If the chosen were approved" in chosen
    for query, expected in (
        ("", [("", "775.00")]),
        (f"?application={small.number}", [("31.00", "775.00")]),
        (f"?application={big.number}", [("744.00", "775.00")]),
        (f"?application={big.number}&application={small.number}", [("775.00", "775.00")]),
    ):
        july = rows_of(client, query)[1]
        assert [(july["chosen_gpu_hours"], july["asked_gpu_hours"])] == expected
    page = client.get(f"{BOARD}?application={small.number}").content.decode()
    assert re.findall(r'value="([^"]+)" id="application-\d+" checked', page) == [small.number]


def test_decided_or_unknown_application_in_an_address_is_left_out_and_said(client: Client) -> None:
    pool = one_gpu()
    case = cases.application(hours={pool: 1})
    cases.award(application=case)
    as_staff(client)
    text = text_of(client, f"?application={case.number}&application=no-such-number")
    assert "2 applications that were chosen are not in assessment any more" in text
    assert "If all were approved" in text


def test_papers_that_are_not_to_be_seen_are_counted_and_not_named(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has an interest in a case does not see its papers; the rows are real, only who may see them is changed."""
    pool = one_gpu()
    open_case = cases.application(hours={pool: 365}, title="An open matter")
    closed = cases.application(hours={pool: 365}, title="A matter with an interest")
    as_staff(client)
    assert "A matter with an interest" in text_of(client)
    queryset = type(Application.objects.all())
    monkeypatch.setattr(queryset, "visible_to", lambda rows, user: rows.filter(pk=open_case.pk))
    text = text_of(client, f"?application={closed.number}")
    assert "An open matter" in text
    assert "A matter with an interest" not in text
    assert "One more application is in assessment whose papers are not yours to see." in text
    assert "If all were approved" in text  # the address cannot single it out
    assert rows_of(client)[1]["asked_gpu_hours"] == "62.00"


def test_used_is_shown_as_far_as_the_books_reach(client: Client) -> None:
    pool = one_gpu()
    allocation = Allocation.objects.get()
    starts_at = datetime(2026, 6, 3, 0, tzinfo=UTC)
    make.imported(make.run(allocation=allocation, hours=5, gpus=2, start_at=starts_at), cluster=pool.cluster)
    as_staff(client)
    rows = rows_of(client, "?from=2026-05")
    assert [row["used_gpu_hours"] for row in rows[:3]] == ["0.00", "10.00", ""]
    assert [row["used_percent"] for row in rows[:3]] == ["0.00", "", ""]
    assert "10 until 15 Jun" in text_of(client)


def test_first_month_is_taken_from_the_address_and_a_bad_one_is_said(client: Client) -> None:
    one_gpu()
    as_staff(client)
    assert "from January 2025 to December 2025" in text_of(client, "?from=2025-01")
    assert "from June 2026 to May 2027" in text_of(client)
    for bad in ("2026-13", "2026-00", "June", "1999-12", "2199-12", "2026-1", "99999-01", "２０２６-01", "-", "<b>"):
        response = client.get(BOARD, {"from": bad})
        assert response.status_code == 400
        assert f"“{bad}” is not a month that the board can begin with" in unescape(response.content.decode())
        assert client.get(CSV, {"from": bad}).status_code == 400
    for good in ("2000-01", "2198-12"):
        assert client.get(BOARD, {"from": good}).status_code == 200


def test_csv_holds_the_figures_of_the_page(client: Client) -> None:
    pool = one_gpu()
    case = cases.application(hours={pool: 365})
    make.capacity(pool=pool, gpus=0, from_on=date(2026, 7, 22))
    as_staff(client)
    query = f"?from=2026-06&application={case.number}"
    board = capacity_board.board(first=Month(2026, 6), at=timezone.now(), chosen=[case.pk])
    expected = [
        {column.name: written(column.kind, cell) for column, cell in zip(COLUMNS, row, strict=True)}
        for row in report_of(board).rows(Parameters())
    ]
    rows = rows_of(client, query)
    assert rows == expected
    text = text_of(client, query)
    for row, line in zip(rows, board.pools[0].months, strict=True):
        assert row["available_gpu_hours"] == decimal_text(line.available, 3600, 2)
        assert f"Available {line.available // 3600:,}" in text
    disposition = client.get(CSV + query).headers["Content-Disposition"]
    assert disposition == 'attachment; filename="capacity_from-2026-06.csv"'


def test_hostile_titles_stay_text(client: Client) -> None:
    cases.application(hours={one_gpu(): 1}, title="<script>alert(1)</script>")
    as_staff(client)
    page = client.get(BOARD).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_without_a_pool_the_page_says_how_to_begin(client: Client) -> None:
    as_staff(client)
    assert "There is no GPU pool yet" in text_of(client)


def test_pool_in_the_administration_leads_to_the_board(client: Client) -> None:
    pool = one_gpu()
    as_staff(client)
    address = f'href="/desk/capacity/#pool-{pool.pk}"'
    assert address in client.get(f"/admin/centre/gpupool/{pool.pk}/change/").content.decode()
    as_staff(client, StaffRole.ADMINISTRATOR)
    assert address in client.get(f"/admin/centre/gpupool/{pool.pk}/change/").content.decode()


# ---------------------------------------------------------------------------------------------- how fast


@pytest.mark.parametrize("rows", [1, 3])
def test_page_takes_the_same_number_of_queries_for_1_and_3_of_everything(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries, rows: int
) -> None:
    for nth in range(rows):
        pool = one_gpu(f"small-{nth}")
        make.outage(pool=pool, gpus=1, starts_at=NOW, ends_at=NOW + timedelta(hours=1))
        make.imported(
            make.run(allocation=Allocation.objects.get(pool=pool), start_at=NOW - timedelta(hours=9)),
            cluster=pool.cluster,
        )
        cases.application(hours={pool: 365}, title=f"Application {nth}")
    as_staff(client)
    client.get(BOARD)
    with django_assert_num_queries(QUERIES):
        page = client.get(BOARD).content.decode()
    assert [f"small-{nth}" in page and f"Application {nth}" in page for nth in range(rows)] == [True] * rows
    with django_assert_num_queries(QUERIES - 1):  # without the centre's name
        rows_of(client)


def ten_thousand(pool: GpuPool) -> None:
    """Synthetic allocations, most of whose periods differ, on a pool."""
    project = make.project()
    Allocation.objects.bulk_create(
        Allocation(
            project=project,
            pool=pool,
            reference=f"MANY-{nth}",
            account=f"many-{nth}",
            funding=Allocation.Funding.INTERNAL,
            start_on=make.today() + timedelta(days=nth * 7 % 700 - 400),
            end_on=make.today() + timedelta(days=nth * 7 % 700 - 400 + 30 + nth * 11 % 690),
            granted_seconds=1_000 + nth,
            created_at=NOW,
        )
        for nth in range(10_000)
    )


def test_board_of_10_000_allocations_is_read_in_less_than_300_ms() -> None:
    ten_thousand(make.pool())
    told: list[Any] = []
    taken = []
    for _ in range(3):
        began = process_time()
        told.append(capacity_board.board(first=Month.of(make.today()), at=timezone.now()))
        taken.append(process_time() - began)
    assert min(taken) < 0.3
    june = told[0].pools[0].months[0]
    days = [june.month.first_on + timedelta(days=nth) for nth in range(30)]
    pool = told[0].pools[0].pool.pk
    assert june.committed.seconds == sum(Allocation.objects.committed_per_pool({pool: day})[pool] for day in days)


def test_the_outages_of_other_months_are_not_read() -> None:
    """Only what touches the months shown is read of what piles up over the years."""
    pool = one_gpu()
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    make.outage(pool=pool, gpus=1, starts_at=long_ago, ends_at=long_ago + timedelta(hours=1))
    board = capacity_board.board(first=Month(2026, 6), at=timezone.now())
    assert Outage.objects.count() == 1
    assert [line.lost for line in board.pools[0].months] == [0] * 12
