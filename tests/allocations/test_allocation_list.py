"""The list of allocations: each choice of a filter with a row that just misses it, how rows are told, its file."""

import csv
import io
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from allocations.admin import allocation_file
from allocations.admin.accounts import AllocationAdmin
from allocations.admin.allocation_list import days_away, share
from allocations.models import Allocation
from allocations.planned_use import Period, planned_through
from centre.amounts import decimal_text
from centre.models import Project, User
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
ALLOCATIONS = "admin:allocations_allocation_changelist"
FILE = "admin:allocations_allocation_csv"


@pytest.fixture
def officer(client: Client) -> User:
    officer = make.staff(StaffRole.ALLOCATION_OFFICER)
    client.force_login(officer)
    return officer


def found(client: Client, **asked: str) -> set[str]:
    return {row.reference for row in client.get(reverse(ALLOCATIONS), asked).context["cl"].result_list}


@pytest.mark.parametrize(("granted", "days", "gone"), [(1_000, 100, 24), (7, 3, 1), (86_400, 365, 364), (1, 2, 0)])
def test_faster_than_planned_is_what_an_even_pace_would_not_have_used_by_tonight(
    client: Client, officer: User, granted: int, days: int, gone: int
) -> None:
    """The plan is that of the team's page: planned_use, worked out there for one allocation."""
    today = timezone.localdate()
    start_on = today - gone * DAY
    planned = planned_through(today, granted=granted, period=Period(start_on, start_on + (days - 1) * DAY))
    for reference, used in (("on-it", planned), ("above", planned + 1)):
        row = make.allocation(
            reference=reference, account=reference, start_on=start_on, end_on=start_on + days * DAY - DAY
        )
        Allocation.objects.filter(pk=row.pk).update(granted_seconds=granted, used_seconds=used)
    assert found(client, usage="above") == {"above"}
    Allocation.objects.update(state=Allocation.State.CLOSED)
    assert found(client, usage="above") == set()


def test_ended_and_not_closed_is_what_waits_for_its_end_to_be_settled(client: Client, officer: User) -> None:
    yesterday = timezone.localdate() - DAY
    for reference, end_on, state in (
        ("ended", yesterday, Allocation.State.OPEN),
        ("held-up", yesterday, Allocation.State.SUSPENDED),
        ("closed", yesterday, Allocation.State.CLOSED),
        ("runs", yesterday + DAY, Allocation.State.OPEN),
    ):
        make.allocation(reference=reference, account=reference, start_on=yesterday - 30 * DAY, end_on=end_on)
        suspended = (
            {"suspended_at": timezone.now(), "suspended_because": "why"} if state == Allocation.State.SUSPENDED else {}
        )
        Allocation.objects.filter(reference=reference).update(state=state, **suspended)
    assert found(client, period="unclosed") == {"ended", "held-up"}
    assert found(client, period="ended") == {"ended", "held-up", "closed"}


def test_a_row_tells_tenant_share_days_and_state_in_words(client: Client, officer: User) -> None:
    tenant = make.tenant(name_en="<b>Harbour</b>", name_zh_hant="海港大學")
    row = make.allocation(project=make.project(tenant=tenant), end_on=timezone.localdate() + 12 * DAY, hours=100)
    page = client.get(reverse(ALLOCATIONS)).content.decode()
    assert f"{row.project.code}<small>&lt;b&gt;Harbour&lt;/b&gt;</small>" in page
    assert "100<small>100\u00a0%</small>" in page
    assert "<small>in 12 days</small>" in page
    assert '<span class="badge warn">Ends soon</span>' in page
    client.cookies["django_language"] = "zh-hant"
    assert (
        "<small>海港大學</small>"
        in client.get(reverse(ALLOCATIONS), headers={"accept-language": "zh-hant"}).content.decode()
    )


@pytest.mark.parametrize(
    ("days", "words"), [(-2, "2 days ago"), (-1, "1 day ago"), (0, "today"), (1, "in 1 day"), (40, "in 40 days")]
)
def test_days_are_told_as_people_do(days: int, words: str) -> None:
    assert days_away(make.today() + days * DAY, on=make.today()) == words


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 3, "33\u00a0%"), (1, 200, "1\u00a0%"), (-5, 100, "−5\u00a0%"), (5, 0, "")]
)
def test_shares_are_whole_per_cent(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


@pytest.mark.parametrize("rows", [1, 3])
def test_list_costs_eight_queries_whatever_it_is_narrowed_by(
    client: Client, officer: User, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    start_on = make.today() - 40 * DAY
    for _ in range(rows):
        row = make.allocation(start_on=start_on, end_on=make.today() + 40 * DAY)
        Allocation.objects.filter(pk=row.pk).update(used_seconds=row.granted_seconds)
    for asked in ({}, {"usage": "above"}, {"q": "project", "balance": "within"}):
        client.get(reverse(ALLOCATIONS), asked)
        with django_assert_num_queries(8):
            page = client.get(reverse(ALLOCATIONS), asked)
        assert len(page.context["cl"].result_list) == rows


# ------------------------------------------------------------------------------------------------------- as a file


def file_of(client: Client, query: str = "") -> list[dict[str, str]]:
    response = client.get(reverse(FILE) + query)
    assert (response.status_code, response["Content-Type"]) == (200, "text/csv; charset=utf-8")
    text = response.getvalue().decode("utf-8-sig")
    return list(csv.DictReader(text.splitlines()))


def test_the_file_has_what_the_list_shows_in_its_order_on_all_its_pages(
    client: Client, officer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AllocationAdmin, "list_per_page", 2)
    monkeypatch.setattr(allocation_file, "ROWS_AT_A_TIME", 2)
    tenant = make.tenant(name_en="Harbour")
    for number, hours in enumerate((30, 10, 50, 20, 40)):
        make.allocation(reference=f"AG-{number}", project=make.project(tenant=tenant), hours=hours)
    elsewhere, closed = make.allocation(reference="AG-elsewhere"), make.allocation(reference="AG-closed", hours=60)
    Project.objects.filter(pk=closed.project_id).update(tenant=tenant)
    Allocation.objects.filter(pk=closed.pk).update(state=Allocation.State.CLOSED)
    asked = "?q=Harbour&state__exact=open&o=-4"  # the fourth column: what was granted
    listed = client.get(f"{reverse(ALLOCATIONS)}{asked}&p=2")
    assert [row.reference for row in listed.context["cl"].result_list] == ["AG-0", "AG-3"]
    address = f'href="{reverse(FILE)}?o=-4&amp;q=Harbour&amp;state__exact=open" download'
    assert address in listed.content.decode()
    in_order = ["AG-2", "AG-4", "AG-0", "AG-3", "AG-1"]
    assert [line["reference"] for line in file_of(client, asked)] == in_order
    assert {line["reference"] for line in file_of(client)} == {*in_order, elsewhere.reference, closed.reference}


def test_a_line_of_the_file_says_what_the_row_says_and_runs_nothing(client: Client, officer: User) -> None:
    tenant = make.tenant(code="harbour", name_en='=HYPERLINK("x")', name_zh_hant="＋海港")
    project = make.project("gene-fold", tenant=tenant, title='@SUM(1),\n"quoted"')
    pool = make.pool("h800")
    row = make.allocation(
        reference="AG-7", account="gene", project=project, pool=pool, hours=300, end_on=make.today() + 12 * DAY
    )
    Allocation.objects.filter(pk=row.pk).update(used_seconds=100 * make.HOUR, held_seconds=201 * make.HOUR)
    text = client.get(reverse(FILE)).getvalue().decode("utf-8-sig")
    (line,) = csv.DictReader(io.StringIO(text, newline=""))
    assert line == {
        "reference": "AG-7",
        "account": "gene",
        "project": "gene-fold",
        "project_title": '\'@SUM(1),\n"quoted"',
        "tenant": "harbour",
        "tenant_name_en": '\'=HYPERLINK("x")',
        "tenant_name_zh_hant": "'＋海港",
        "tenant_name_zh_hans": tenant.name_zh_hans,
        "pool": "h800",
        "funding": row.funding,
        "state": "open",
        "standing": "overdrawn",
        "start_on": row.start_on.isoformat(),
        "end_on": row.end_on.isoformat(),
        "days_until_the_last_day": "12",
        "granted_gpu_seconds": "1080000",
        "used_gpu_seconds": "360000",
        "held_gpu_seconds": "723600",
        "left_gpu_seconds": "-3600",
        "granted_gpu_hours": "300.00",
        "used_gpu_hours": "100.00",
        "held_gpu_hours": "201.00",
        "left_gpu_hours": "-1.00",
        "used_percent": "33.33",
        "left_percent": "-0.33",
        "used_gpu_hours_a_day": "",
        "outlook": "nothing_left",
        "runs_out_earliest_on": "",
        "runs_out_latest_on": "",
    }


def test_the_file_tells_the_pace_that_the_list_tells(client: Client, officer: User) -> None:
    row = make.allocation(hours=1_000, account="team", start_on=make.today() - 60 * DAY)
    ended = timezone.now() - DAY
    run = make.Run(account="team", partition=row.pool.code, gpus=300, start_at=ended - timedelta(hours=1), end_at=ended)
    make.imported(run, cluster=row.pool.cluster)
    page = client.get(reverse(ALLOCATIONS))
    (shown,) = page.context["cl"].result_list
    (line,) = file_of(client)
    told = shown.card.forecast
    assert told.long.seconds == 300 * make.HOUR
    assert line["used_gpu_hours_a_day"] == decimal_text(told.long.seconds, told.long.days * 3600, 2)
    assert (line["outlook"], line["runs_out_earliest_on"]) == (told.outlook, str(told.earliest_on or ""))


@pytest.mark.parametrize("rows", [1, 3])
def test_the_file_takes_the_same_queries_for_any_number_of_rows(
    client: Client, officer: User, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(rows):
        make.allocation()
    with django_assert_num_queries(8):
        assert len(file_of(client)) == rows


def test_the_file_is_for_those_who_see_the_list_and_refuses_what_the_list_refuses(client: Client) -> None:
    make.allocation()
    client.force_login(make.staff(StaffRole.AUDITOR))
    assert len(file_of(client)) == 1
    assert client.post(reverse(FILE)).status_code == 405
    for asked in ("project__tenant__notes__contains=x", "state__exact__nonsense=1"):
        assert client.get(f"{reverse(FILE)}?{asked}")["Location"] == f"{reverse(ALLOCATIONS)}?e=1"
    client.force_login(make.staff(StaffRole.COMMITTEE_MEMBER))
    assert client.get(reverse(FILE)).status_code == 403
