"""Usage without an allocation, in the admin: whose it is, why it waits, and what an officer does about it."""

import re
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from allocations import drawing
from allocations.models import Allocation, DrawingAccount
from allocations.unmatched import Days, lines_of, without, would_be_charged
from centre.models import GpuPool, PoolMapping, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole
HOUR = make.HOUR
PAGE = "/admin/allocations/drawingaccount/unmatched/"


def ago(days: int) -> date:
    return make.today() - timedelta(days=days)


def used(
    pool: GpuPool, account: str, days_ago: int, *, hours: int = 2, user: str = "ann", partition: str = ""
) -> make.Run:
    start_at = datetime.combine(ago(days_ago), time(10), tzinfo=timezone.get_default_timezone())
    return make.Run(
        account=account,
        partition=partition or pool.code,
        start_at=start_at,
        end_at=start_at + timedelta(hours=hours),
        user=user,
    )


@pytest.fixture
def pool() -> GpuPool:
    return make.pool("h800")


@pytest.fixture
def officer(client: Client) -> User:
    user = make.staff(R.ALLOCATION_OFFICER)
    client.force_login(user)
    return user


def rows(response: Any) -> list[list[str]]:
    """The figures of the page's rows: GPU-hours and job runs."""
    found = re.findall(r'<th role="rowheader".*?</tr>', response.content.decode(), flags=re.DOTALL)
    return [re.findall(r'</span>(?:<a href="[^"]*">)?([\d,.]+)<', row) for row in found]


def ways(response: Any) -> list[str]:
    return [
        url.replace("&amp;", "&") for url in re.findall(r'<a class="way" href="([^"]+)"', response.content.decode())
    ]


def test_address_is_the_one_that_is_linked_to() -> None:
    assert reverse("admin:allocations_unmatched") == PAGE


def test_page_says_whose_usage_waits_since_when_and_why(client: Client, officer: User, pool: GpuPool) -> None:
    make.allocation(pool=pool, account="ended", start_on=ago(60), end_on=ago(20), reference="AG-1")
    make.imported(
        used(pool, "guest", 12, hours=5),
        used(pool, "guest", 9, user="ben"),
        used(pool, "ended", 20, hours=15),
        used(pool, "lost", 5, partition="a100", hours=1),
        cluster=pool.cluster,
    )
    page = client.get(PAGE)
    assert rows(page) == [["7.00", "2"], ["1.00", "1"], ["1.00", "1"]]
    text = " ".join(page.content.decode().split())
    assert "<strong>9 GPU-hours</strong> of 4 job runs" in text
    lines = lines_of([(pool.cluster_id, account) for account in ("guest", "ended", "lost")])
    assert [(line.account, line.days, sorted(line.by_user)) for line in lines] == [
        ("guest", (ago(12), ago(9)), ["ann", "ben"]),
        ("ended", (ago(19), ago(19)), ["ann"]),
        ("lost", (ago(5), ago(5)), ["ann"]),
    ]
    for sentence in (
        "No allocation covers guest on h800.",
        "ended is covered on h800 on other days only: AG-1 (",
        "No GPU pool is mapped for the partition “a100”. An administrator maps it on the page of the pool.",
    ):
        assert sentence in text


def test_ways_out_are_filled_in(client: Client, officer: User, pool: GpuPool) -> None:
    guest = make.project("guest")
    make.allocation(pool=pool, project=guest, start_on=ago(5))
    make.imported(used(pool, "guest", 12), cluster=pool.cluster)
    opening, draw = (urlsplit(way) for way in ways(client.get(PAGE)))
    assert (opening.path, draw.path) == (
        reverse("admin:allocations_allocation_add"),
        reverse("admin:allocations_drawingaccount_add"),
    )
    known = {"pool": [str(pool.pk)], "account": ["guest"]}
    until = {"start_on": [str(ago(12))], "end_on": [str(ago(6))]}
    assert parse_qs(opening.query) == known | until | {"project": [str(guest.pk)]}
    assert parse_qs(draw.query) == known | {"from_on": [str(ago(12))], "until_on": [str(ago(6))]}
    form = client.get(opening.geturl()).context["form"]
    assert {name: form[name].value() for name in ("account", "start_on", "end_on")} == {
        "account": "guest",
        "start_on": ago(12),
        "end_on": ago(6),
    }
    assert (form.initial["project"], form.initial["pool"]) == (guest, pool)


def test_opening_says_what_it_charges(client: Client, officer: User, pool: GpuPool) -> None:
    project = make.project("guest")
    make.imported(used(pool, "guest", 12), used(pool, "guest", 10), cluster=pool.cluster)
    given = {"project": project.pk, "pool": pool.pk, "reference": "AG-9", "funding": "internal", "account": ""}
    given |= {"start_on": ago(20), "end_on": ago(-20), "seconds": "0", "reason": "late"}
    url = reverse("admin:allocations_allocation_add")
    page = client.post(url, given)
    assert "2 job runs of guest wait for it: 4 GPU-hours are charged at once." in page.content.decode()
    assert not Allocation.objects.exists()
    done = client.post(url, given | {"act_step": "confirmed"}, follow=True)
    assert [str(message) for message in done.context["messages"]] == [
        "AG-9 is open, without GPU-hours yet. 4 GPU-hours of job runs that had waited were charged."
    ]


def test_a_way_in_an_address_that_cannot_be_is_left_out(client: Client, officer: User) -> None:
    for name in ("allocation", "drawingaccount"):
        url = reverse(f"admin:allocations_{name}_add")
        for query in (
            "pool=x&project=99999999999999999999&start_on=soon&from_on=1",
            "pool=12345&account=%00",
            "pool=-1",
        ):
            assert client.get(f"{url}?{query}").status_code == 200


def effects(response: Any) -> list[tuple[str, str, str]]:
    row = r'<tr role="row"><th role="rowheader" scope="row">(.*?)</th><td role="cell">(.*?)</td>'
    return re.findall(row + r'<td role="cell">(.*?)</td></tr>', response.content.decode())


def test_an_account_is_let_draw_after_a_look_at_the_effect(client: Client, officer: User, pool: GpuPool) -> None:
    allocation = make.allocation(pool=pool, reference="AG-1", hours=10)
    make.imported(used(pool, "guest", 12, hours=5), used(pool, "guest", 9, hours=7), cluster=pool.cluster)
    url = ways(client.get(PAGE))[1]
    given = {"account": "guest", "allocation": allocation.pk, "from_on": ago(12), "until_on": "", "reason": "a course"}
    page = client.post(url, given)
    assert effects(page) == [
        ("guest without an allocation, on these days (GPU-hours)", "12", "0"),
        ("Used of AG-1 (GPU-hours)", "0", "12"),
        ("Left of AG-1 (GPU-hours)", "10", "−2"),
    ]
    text = page.content.decode()
    assert "2 job runs that wait are charged at once." in text
    assert "AG-1 will be overdrawn." in text
    assert not DrawingAccount.objects.exists()
    done = client.post(url, given | {"act_step": "confirmed"}, follow=True)
    assert done.redirect_chain[-1][0] == PAGE
    (message,) = done.context["messages"]
    assert str(message).endswith("12 GPU-hours of job runs that had waited were charged.")
    assert "Nothing waits" in done.content.decode()
    row = DrawingAccount.objects.get()
    assert (row.account, row.until_on, row.made_by) == ("guest", allocation.end_on, officer)
    again = client.post(url, given | {"act_step": "confirmed"}, follow=True)
    assert (again.redirect_chain[-1][0], DrawingAccount.objects.count()) == (PAGE, 1)


def test_what_is_refused_is_said_with_everything_typed(client: Client, officer: User, pool: GpuPool) -> None:
    allocation = make.allocation(pool=pool, reference="AG-1", account="lab")
    url = reverse("admin:allocations_allocation_let_draw", args=[allocation.pk])
    page = client.post(url, {"account": "lab", "from_on": ago(12), "until_on": ago(9), "reason": "a course"})
    assert "AG-1 already covers the Slurm account lab on h800" in page.content.decode()
    assert page.context["form"]["reason"].value() == "a course"
    make.member(project=allocation.project, role=ProjectRole.VIEWER, user=officer)
    page = client.post(url, {"account": "guest", "from_on": ago(12), "until_on": ago(9), "reason": "a course"})
    assert "You belong to a project that this is about." in page.content.decode()
    assert not DrawingAccount.objects.exists()


def drawn(pool: GpuPool, by: User) -> DrawingAccount:
    allocation = make.allocation(pool=pool, reference="AG-1", hours=100)
    make.imported(used(pool, "guest", 12, hours=5), cluster=pool.cluster)
    told: dict[str, Any] = {"from_on": ago(20), "by": by, "at": timezone.now(), "reason": "a course"}
    return drawing.let_draw(allocation=allocation, account="guest", **told)[0]


def test_a_further_account_is_withdrawn_from_the_page_of_its_allocation(
    client: Client, officer: User, pool: GpuPool
) -> None:
    row = drawn(pool, officer)
    url = reverse("admin:allocations_drawingaccount_withdraw", args=[row.pk])
    page = client.get(reverse("admin:allocations_allocation_change", args=[row.allocation_id])).content.decode()
    assert f'<a href="{url}">Withdraw</a>' in page
    asked = client.post(url, {"reason": "over"})
    assert effects(asked) == [
        ("guest without an allocation, on these days (GPU-hours)", "0", "5"),
        ("Used of AG-1 (GPU-hours)", "5", "0"),
        ("Left of AG-1 (GPU-hours)", "95", "100"),
    ]
    done = client.post(url, {"reason": "over", "act_step": "confirmed"}, follow=True)
    assert [str(message) for message in done.context["messages"]] == [
        "The Slurm account guest was withdrawn from AG-1; 5 GPU-hours were given back."
    ]
    row.refresh_from_db()
    assert (row.withdrawn_by, Allocation.objects.get().used_seconds) == (officer, 0)
    assert url not in done.content.decode()
    again = client.post(url, {"reason": "over", "act_step": "confirmed"})
    assert "was withdrawn before" in again.content.decode()


@pytest.mark.parametrize("role", list(R))
def test_officers_act_others_read_and_the_rest_stays_outside(client: Client, pool: GpuPool, role: StaffRole) -> None:
    row = drawn(pool, make.staff(R.ALLOCATION_OFFICER))
    make.imported(used(pool, "other", 3), used(pool, "lost", 3, partition="a100"), cluster=pool.cluster)
    client.force_login(make.staff(role))
    looks = role in {R.ALLOCATION_OFFICER, R.TENANT_OFFICER, R.AUDITOR, R.ADMINISTRATOR}
    acts = role == R.ALLOCATION_OFFICER
    page = client.get(PAGE)
    assert page.status_code == (200 if looks else 403)
    expected = 2 if acts else 1 if role == R.ADMINISTRATOR else 0
    assert len(ways(page)) == expected
    assert (PAGE in client.get(reverse("admin:index")).content.decode()) is looks
    for url in (
        reverse("admin:allocations_drawingaccount_add"),
        reverse("admin:allocations_drawingaccount_withdraw", args=[row.pk]),
        reverse("admin:allocations_allocation_let_draw", args=[row.allocation_id]),
    ):
        assert client.get(url).status_code == (200 if acts else 403)
        sent = client.post(url, {"reason": "-", "act_step": "confirmed"})
        assert sent.status_code == (403 if not acts else 302 if "withdraw" in url else 200)
    row.refresh_from_db()
    assert (row.withdrawn_at is not None) is acts


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as done:
        assert client.get(url).status_code == 200
    return len(done)


def test_pages_take_the_same_queries_for_one_row_and_for_three(client: Client, officer: User, pool: GpuPool) -> None:
    allocation = make.allocation(pool=pool, hours=100)
    urls = [PAGE, reverse("admin:allocations_drawingaccount_changelist")]
    urls.append(reverse("admin:allocations_allocation_change", args=[allocation.pk]))
    counted = []
    for number in range(3):
        told: dict[str, Any] = {"from_on": ago(20), "by": officer, "at": timezone.now(), "reason": "a course"}
        drawing.let_draw(allocation=allocation, account=f"guest-{number}", **told)
        make.imported(used(pool, f"other-{number}", 3), used(pool, f"other-{number}", 9), cluster=pool.cluster)
        if number != 1:
            counted.append([queries(client, url) for url in urls])
    assert counted[0] == counted[1]


def test_account_is_searched_and_the_list_is_paged(client: Client, officer: User, pool: GpuPool) -> None:
    runs = [used(pool, f"visitor-{number:02}", 9, hours=1 + number % 3) for number in range(30)]
    make.imported(*runs, used(pool, "guest", 9), cluster=pool.cluster)
    first, second = client.get(PAGE), client.get(f"{PAGE}?page=2")
    assert (len(rows(first)), len(rows(second))) == (25, 6)
    assert "Page 1 of 2" in first.content.decode()
    assert len(rows(client.get(f"{PAGE}?q=guest"))) == 1
    assert "No account with this name waits" in client.get(f"{PAGE}?q=nobody").content.decode()


def test_hostile_names_are_inert(client: Client, officer: User, pool: GpuPool) -> None:
    evil = "<script>alert(1)</script>"
    make.imported(used(pool, "guest", 9, user=evil), used(pool, "lost", 9, partition=evil), cluster=pool.cluster)
    page = client.get(PAGE).content.decode()
    assert evil not in page
    assert "&lt;script&gt;" in page


def test_days_of_typed_and_untyped_gpus_of_a_pool_stand_in_one_line(pool: GpuPool) -> None:
    PoolMapping.objects.create(cluster=pool.cluster, pool=pool, kind="partition", name="batch", from_on=ago(700))
    make.imported(used(pool, "guest", 9), used(pool, "guest", 4, partition="batch"), cluster=pool.cluster)
    (line,) = lines_of([(pool.cluster_id, "guest")])
    assert (line.days, line.runs, line.seconds) == ((ago(9), ago(4)), 2, 4 * HOUR)
    assert [way.from_on for way in line.ways] == [ago(9)]


def test_a_preview_is_what_is_charged_then(pool: GpuPool, officer: User) -> None:
    allocation = make.allocation(pool=pool, hours=100)
    start_at = datetime.combine(ago(12), time(20), tzinfo=timezone.get_default_timezone())
    running = make.Run(account="guest", partition=pool.code, gpus=3, start_at=start_at)
    make.imported(running, used(pool, "guest", 5), used(pool, "guest", 30), cluster=pool.cluster)
    told: dict[str, Any] = {"account": "guest", "first": ago(11), "last": ago(4)}
    runs, seconds = would_be_charged(pool=pool, **told)
    assert (runs, seconds) == (2, (8 * 24 * 3 + 2) * HOUR)
    days: dict[str, Any] = {"from_on": ago(11), "until_on": ago(4), "by": officer, "at": timezone.now(), "reason": "-"}
    assert drawing.let_draw(allocation=allocation, account="guest", **days)[1] == seconds


def test_days_are_taken_out_of_days() -> None:
    def d(first: int, last: int) -> Days:
        return Days(date(2026, 3, first), date(2026, 3, last))

    assert without([d(1, 9)], []) == [d(1, 9)]
    assert without([d(1, 9)], [d(3, 4), d(8, 20)]) == [d(1, 2), d(5, 7)]
    assert without([d(1, 9)], [d(4, 6), d(1, 3), d(7, 9)]) == []
    assert without([d(5, 9)], [Days(date(2026, 1, 1), date.max)]) == []
