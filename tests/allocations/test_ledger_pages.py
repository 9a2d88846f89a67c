"""The pages of the ledger: what they say, to whom, as of when, and in how many queries."""

import csv
import random
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from allocations import ledger_pages, movements
from allocations.balances import Books
from allocations.models import Allocation, LedgerEntry, RunCharge
from allocations.posting import post
from centre import members
from centre.models import Event, GpuPool, User
from centre.permissions import ProjectRole, StaffRole
from tests import make
from tests.allocations.rich_books import RichBooks, rich_books

pytestmark = [pytest.mark.django_db, pytest.mark.page]
NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
HOUR = make.HOUR
LIST_QUERIES = 9
"""Session, person, staff roles, project, its allocations, a page of entries, what was left after each, the centre."""
PAST_QUERIES = 10
"""And the totals as of an instant."""
RECENT_QUERIES = 11 if connection.vendor == "postgresql" else 10
"""Of an instant of the last hour PostgreSQL is asked whether something is still being recorded."""
ENTRY_QUERIES = 11
"""From the session to the centre: the entry comes with what undid it, its runs with their page. Who may read the audit
trail has one more; for a charge nothing else is looked for."""


@pytest.fixture(autouse=True)
def noon() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def allocation() -> Allocation:
    project = make.project("gene-fold", lead=make.person(name="Leading Person"))
    at = NOW - timedelta(days=50)
    return make.allocation(project=project, pool=make.pool("h800"), hours=1_000, reference="AWARD-1", at=at)


def lead_of(allocation: Allocation) -> User:
    return allocation.project.memberships.get(role=ProjectRole.LEAD).user


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    page = response.content.decode()
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def correct(allocation: Allocation, seconds: int, *, at: datetime, key: str, reason: str = "for a test") -> LedgerEntry:
    """Any entry that moves what was granted, with two people behind it."""
    entry, _new = post(
        allocation=allocation,
        kind=LedgerEntry.Kind.CORRECTION,
        total=LedgerEntry.Total.GRANTED,
        seconds=seconds,
        effective_on=at.date(),
        key=key,
        at=at,
        asked_by=make.person(),
        approved_by=make.person(),
        reason=reason,
        source_kind="test",
        follows_from_usage=True,
    )
    return entry


def shown(client: Client, query: str = "", code: str = "gene-fold") -> list[tuple[int, int, int]]:
    """(number, seconds, left afterwards) of the lines that a page of the ledger shows."""
    response = client.get(f"/projects/{code}/ledger/{query}")
    assert response.status_code == 200
    rows = response.context["table"].data
    return [(line.entry.pk, line.entry.seconds, line.left_after) for line in rows]


# ------------------------------------------------------------------------------------------------- who may see


def test_ledger_is_open_to_the_team_and_to_staff_of_all_projects(client: Client, allocation: Allocation) -> None:
    project, number = allocation.project, allocation.entries.get().pk
    paths = ["/projects/gene-fold/ledger/", "/projects/gene-fold/ledger.csv", f"/projects/gene-fold/ledger/{number}/"]

    def answers(user: User) -> set[int]:
        client.force_login(user)
        return {client.get(path).status_code for path in paths}

    assert answers(lead_of(allocation)) == {200}
    assert answers(make.member(project=project, role=ProjectRole.VIEWER)) == {200}
    assert answers(make.representative(tenant=project.tenant)) == {200}
    assert answers(make.staff(StaffRole.AUDITOR)) == {200}
    assert answers(make.staff(StaffRole.COMMITTEE_MEMBER)) == {404}
    other = make.allocation(project=make.project("other", lead=make.person()))
    assert answers(lead_of(other)) == {404}
    former = make.member(project=project)
    assert answers(former) == {200}
    members.remove_member(membership=former.memberships.get(), by=None, at=NOW)
    assert answers(former) == {404}


def test_entry_of_another_project_is_not_found_under_ones_own(client: Client, allocation: Allocation) -> None:
    foreign = make.allocation(project=make.project("other"), reference="FOREIGN").entries.get()
    client.force_login(lead_of(allocation))
    assert client.get(f"/projects/gene-fold/ledger/{foreign.pk}/").status_code == 404
    assert client.get("/projects/gene-fold/ledger/999999999999999999999/").status_code == 404
    response = client.get("/projects/gene-fold/ledger/?allocation=FOREIGN")
    assert (response.status_code, "table" in response.context) == (400, False)


def test_other_half_of_a_move_names_a_foreign_allocation_to_nobody_who_may_not_see_it(
    client: Client, allocation: Allocation
) -> None:
    foreign = make.allocation(project=make.project("other"), pool=allocation.pool, reference="FOREIGN")
    _out, come = movements.transfer(
        source=foreign,
        target=allocation,
        seconds=HOUR,
        by=make.person(),
        approved_by=make.person(),
        at=NOW,
        key="move",
        reason="-",
    )
    client.force_login(lead_of(allocation))
    assert "Moved here from another project" in text_of(client, "/projects/gene-fold/ledger/")
    entry = text_of(client, f"/projects/gene-fold/ledger/{come.pk}/")
    assert ["FOREIGN" in entry, "which you do not belong to" in entry] == [False, True]
    client.force_login(make.staff(StaffRole.AUDITOR))
    assert "Moved here from FOREIGN" in text_of(client, "/projects/gene-fold/ledger/")
    assert "of FOREIGN : −1.00 GPU-hours, the other half" in text_of(client, f"/projects/gene-fold/ledger/{come.pk}/")


# ---------------------------------------------------------------------------------------------------- what it says


def test_ledger_tells_each_entry_with_what_was_left(client: Client, allocation: Allocation) -> None:
    asked, approved = make.person(name="Asking Officer"), make.person(name="Approving Officer")
    movements.take_back(
        allocation=allocation, seconds=90 * HOUR, by=asked, approved_by=approved, at=NOW, key="k", reason="not needed"
    )
    client.force_login(lead_of(allocation))
    text = text_of(client, "/projects/gene-fold/ledger/")
    figures = {"Granted": "910.00", "Used": "0.00", "Set aside": "0.00", "Left": "910.00"}
    shown = " ".join(f"{name} (GPU-hours) {value}" for name, value in figures.items())
    assert f"As of 15 Jun 2026, 12:00:00 HKT {shown}" in text
    assert (
        "15 Jun 2026, 12:00:00 HKT 15 Jun 2026 Returned to the centre not needed Asking Officer asked "
        "Approving Officer approved Decision of the centre −90.00 910.00 26 Apr 2026, 12:00:00 HKT"
    ) in text
    assert "+1,000.00 1,000.00 Here the ledger begins, with nothing." in text


def test_ledger_of_a_project_without_allocations_says_so(client: Client) -> None:
    project = make.project("new", lead=make.person())
    client.force_login(project.memberships.get().user)
    assert "No ledger yet" in text_of(client, "/projects/new/ledger/")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("as_of=tomorrow", "Write the day and the time"),
        ("as_of=2026-06-15T12:00:01", "still to come"),
        ("as_of=0001-01-01T00:00", "Check the year"),
        ("as_of=9999-12-31T23:59:59", "still to come"),
        ("kind=steal", "steal"),
    ],
)
def test_what_cannot_be_meant_is_answered_with_a_sentence(
    client: Client, allocation: Allocation, query: str, told: str
) -> None:
    client.force_login(lead_of(allocation))
    response = client.get(f"/projects/gene-fold/ledger/?{query}")
    assert (response.status_code, told in response.content.decode()) == (400, True)
    assert client.get(f"/projects/gene-fold/ledger.csv?{query}").status_code == 400


def test_hostile_text_is_inert_in_the_ledger_its_entry_and_its_file(client: Client, allocation: Allocation) -> None:
    evil = "=cmd()<script>alert(1)</script>\u202e" + "x" * 400
    entry = correct(allocation, -HOUR, at=NOW, key="<script>", reason=evil)
    run = make.run(allocation=allocation, start_at=NOW - timedelta(hours=3), name="<script>run</script>")
    make.imported(run, cluster=allocation.pool.cluster, as_of=NOW)
    charge = LedgerEntry.objects.latest("pk")
    client.force_login(make.staff(StaffRole.AUDITOR))
    for path in ("", f"{entry.pk}/", f"{charge.pk}/"):
        assert "<script>" not in client.get(f"/projects/gene-fold/ledger/{path}").content.decode()
    reasons = [row["reason"] for row in rows_of_file(client)]
    assert [reason.startswith("'=cmd()") for reason in reasons] == [False, True, False]


# ------------------------------------------------------------------------------------------- as of a past instant


def test_books_of_an_instant_never_change(client: Client, allocation: Allocation, noon: Any) -> None:
    correct(allocation, -HOUR, at=NOW - timedelta(hours=2), key="before")
    client.force_login(lead_of(allocation))
    paths = [f"/projects/gene-fold/ledger{end}?as_of=2026-06-15T11:00:00" for end in ("/", ".csv")]

    def seen() -> list[Any]:
        text = text_of(client, paths[0])
        return [text, b"".join(client.get(paths[1]).streaming_content)]  # type: ignore[attr-defined]

    before = seen()
    assert "Left (GPU-hours) 999.00" in before[0]
    correct(allocation, -7 * HOUR, at=NOW, key="after")
    noon.shift(timedelta(hours=9))
    assert seen() == before
    assert "Left (GPU-hours) 992.00" in text_of(client, "/projects/gene-fold/ledger/")


def test_reading_that_ignores_when_entries_were_recorded_is_caught(
    client: Client, allocation: Allocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what the test above compares differs for it."""
    monkeypatch.setattr(ledger_pages, "Books", lambda allocation, _as_of=None: Books(allocation))
    client.force_login(lead_of(allocation))
    path = "/projects/gene-fold/ledger/?as_of=2026-06-15T11:00:00"
    before = text_of(client, path)
    correct(allocation, -7 * HOUR, at=NOW, key="after")
    assert text_of(client, path) != before


def test_second_that_is_asked_for_is_included(client: Client, allocation: Allocation) -> None:
    entry = correct(allocation, -HOUR, at=NOW - timedelta(minutes=1, microseconds=-999_999), key="late in it")
    client.force_login(lead_of(allocation))
    assert [number for number, *_ in shown(client, "?as_of=2026-06-15T11:59:00")] == [
        entry.pk,
        allocation.entries.earliest("pk").pk,
    ]
    assert len(shown(client, "?as_of=2026-06-15T11:58:59")) == 1


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.hard) for seed in (2, 3, 4, 5))])
def test_ledger_equals_an_independent_sum_on_every_page_at_any_instant(
    client: Client, allocation: Allocation, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Random entries, recorded out of order, among those of another allocation; a small model adds them up."""
    drawn = random.Random(seed)
    monkeypatch.setattr(ledger_pages, "ENTRIES_PER_PAGE", 7)
    other = make.allocation(project=allocation.project, pool=allocation.pool, account="other", reference="OTHER")
    first = allocation.entries.get()
    model = [(first.pk, first.seconds, first.recorded_at, "grant")]
    for nth in range(24):
        at = NOW - timedelta(seconds=drawn.randrange(1, 90_000))
        seconds = drawn.choice((-1, 1)) * drawn.randrange(1, 5_000)
        if drawn.random() < 0.3:
            correct(other, 5, at=at, key=f"other-{nth}")
        if drawn.random() < 0.3:
            held = movements.hold(allocation=allocation, seconds=abs(seconds), by=None, at=at, key=f"h{nth}", reason="")
            model.append((held.pk, held.seconds, at, "hold"))
        else:
            entry = correct(allocation, seconds, at=at, key=f"own-{nth}")
            model.append((entry.pk, seconds, at, "correction"))
    client.force_login(lead_of(allocation))
    instants = [None, *(NOW - timedelta(seconds=drawn.randrange(90_000)) for _ in range(2))]
    for instant in instants:
        by_then = [row for row in model if instant is None or row[2] < instant + timedelta(seconds=1)]
        for kind in ("", "hold", "correction"):
            left, wanted = 0, []
            for number, seconds, _at, of_kind in by_then:
                left += seconds
                if kind in {"", of_kind}:
                    wanted.append((number, seconds, left))
            for order in ("", "oldest"):
                as_of = f"{ledger_pages.written(instant)}" if instant else ""
                query = f"?allocation=AWARD-1&kind={kind}&as_of={as_of}&order={order}"
                assert leafed(client, query) == (wanted if order else wanted[::-1])
                rows = rows_of_file(client, query)
                told = [(int(r["entry"]), int(r["gpu_seconds"]), int(r["left_gpu_seconds"])) for r in rows]
                assert told == (wanted if order else wanted[::-1])
            totals = client.get(f"/projects/gene-fold/ledger/{query}").context["totals"]
            assert totals.left == left


def leafed(client: Client, query: str) -> list[tuple[int, int, int]]:
    """Every line, page after page by the links to the next; and back again, which must show the same."""
    found, back = shown(client, query), query
    while ways := {rel: url for rel, _text, url in client.get(f"/projects/gene-fold/ledger/{query}").context["ways"]}:
        back = query
        if "next" not in ways:
            assert shown(client, ways["prev"]) == found[-len(shown(client, query)) - 7 : -len(shown(client, query))]
            break
        query = ways["next"]
        found += shown(client, query)
    assert back
    return found


def rows_of_file(client: Client, query: str = "") -> list[dict[str, str]]:
    response = client.get(f"/projects/gene-fold/ledger.csv{query}")
    assert response.status_code == 200
    text = b"".join(response.streaming_content).decode("utf-8-sig")  # type: ignore[attr-defined]
    return list(csv.DictReader(text.splitlines()))


# ------------------------------------------------------------------------------------------------ one entry explained


@pytest.fixture
def pool(allocation: Allocation) -> GpuPool:
    return allocation.pool


def test_charge_is_explained_by_runs_that_add_up(client: Client, allocation: Allocation, pool: GpuPool) -> None:
    """A run over midnight, seen running and then ended: each entry adds only what is new of its day."""
    start = datetime(2026, 6, 14, 15, tzinfo=UTC)  # 23:00 in Hong Kong
    number = 4711
    told: dict[str, Any] = {"gpus": 8, "number": number, "name": "train", "user": "u9"}
    member = make.member(project=allocation.project, name="Running Person", cluster_user="u9")
    running = make.run(allocation=allocation, start_at=start, running=True, **told)
    make.imported(running, cluster=pool.cluster, as_of=start + timedelta(hours=2))
    ended = make.run(allocation=allocation, start_at=start, hours=4, **told)
    make.imported(ended, cluster=pool.cluster, as_of=NOW)
    first_day, second_day, rest = LedgerEntry.objects.filter(kind="charge").order_by("pk")
    client.force_login(member)
    text = text_of(client, f"/projects/gene-fold/ledger/{first_day.pk}/")
    assert "Used by job runs: −8.00 GPU-hours" in text
    assert "4711 train Running Person 14 Jun 2026, 23:00:00 HKT – 15 Jun 2026, 03:00:00 HKT" in text
    assert "8 GPUs × 3,600 s = 28,800 28,800 1–1 of 1" in text
    assert "The line together 8.00 28,800 This entry −8.00 −28,800 It adds up" in text
    assert "Left before this entry 1,000.00 3,600,000 This entry −8.00 −28,800 Left afterwards 992.00" in text
    text = text_of(client, f"/projects/gene-fold/ledger/{second_day.pk}/")
    assert "8 GPUs × 3,600 s = 28,800 as it was known then; a later entry corrects it 28,800" in text
    text = text_of(client, f"/projects/gene-fold/ledger/{rest.pk}/")
    assert "8 GPUs × 10,800 s = 86,400 less 28,800 that earlier entries charged 57,600" in text
    assert "It adds up" in text


def test_usage_that_turned_out_smaller_is_explained(client: Client, allocation: Allocation, pool: GpuPool) -> None:
    start = datetime(2026, 6, 14, 20, tzinfo=UTC)
    for hours, running in ((0, True), (1, False)):
        run = make.run(allocation=allocation, start_at=start, hours=hours, running=running, gpus=2, number=77)
        make.imported(run, cluster=pool.cluster, as_of=NOW - timedelta(hours=2 - (not running)))
    refund = LedgerEntry.objects.get(kind="refund")
    client.force_login(lead_of(allocation))
    text = text_of(client, f"/projects/gene-fold/ledger/{refund.pk}/")
    assert "Use of job runs corrected downwards: +10.00 GPU-hours" in text
    assert "2 GPUs × 3,600 s = 7,200 less 43,200 that earlier entries charged −36,000" in text
    assert "It adds up" in text


def test_lines_that_do_not_add_up_are_not_called_right(client: Client, allocation: Allocation, pool: GpuPool) -> None:
    run = make.run(allocation=allocation, start_at=NOW - timedelta(hours=3))
    make.imported(run, cluster=pool.cluster, as_of=NOW)
    charge = RunCharge.objects.get()
    charge.pk, charge.seconds = None, 1
    charge.save(force_insert=True)
    client.force_login(lead_of(allocation))
    text = text_of(client, f"/projects/gene-fold/ledger/{charge.entry_id}/")
    assert ["It adds up" in text, "do not add up" in text] == [False, True]


def test_runs_behind_a_charge_are_paged_and_the_pages_add_up(
    client: Client, allocation: Allocation, pool: GpuPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_pages, "RUNS_PER_PAGE", 2)
    runs = [make.run(allocation=allocation, start_at=NOW - timedelta(hours=3), gpus=gpus) for gpus in (1, 2, 4, 8, 16)]
    make.imported(*runs, cluster=pool.cluster, as_of=NOW)
    entry = LedgerEntry.objects.get(kind="charge")
    client.force_login(lead_of(allocation))
    text = text_of(client, f"/projects/gene-fold/ledger/{entry.pk}/?page=2")
    charged = list(RunCharge.objects.order_by("pk").values_list("seconds", flat=True))
    parts = [f"{sum(part):,}" for part in (charged[:2], charged[2:4], charged[4:])]
    lines = re.search(
        r"Lines on the pages before \S+ (\S+) Lines on this page \S+ (\S+) Lines on the pages after \S+ (\S+) "
        r"All 5 lines together 31\.00 111,600 This entry −31\.00 −111,600 It adds up",
        text,
    )
    assert lines is not None
    assert list(lines.groups()) == parts


def test_every_kind_of_entry_is_explained_to_the_auditor_and_to_its_team(client: Client) -> None:
    """Books in which every act stands: each entry opens, adds up, and shows the auditor its request and its event."""
    with time_machine.travel(NOW, tick=True):
        books: RichBooks = rich_books()
    auditor, team = Client(), client
    auditor.force_login(make.staff(StaffRole.AUDITOR))
    by_project: dict[str, User] = {}
    refunds = 0
    for entry in LedgerEntry.objects.select_related("allocation__project"):
        project = entry.allocation.project
        path = f"/projects/{project.code}/ledger/{entry.pk}/"
        response = auditor.get(path)
        assert response.status_code == 200
        behind = response.context["behind"]
        assert bool(behind.events) == (entry.source_kind != "usage")
        assert bool(behind.request) == (entry.source_kind == "request" or entry.kind == "reversal")
        assert response.context.get("adds_up", True)
        refunds += "evidence" in response.context and response.context["evidence"].is_refund
        if project.code not in by_project:
            by_project[project.code] = make.member(project=project)
        team.force_login(by_project[project.code])
        assert "audit trail" not in text_of(team, path)
    assert refunds >= 2
    assert books.asking.get_full_name()


def test_entry_that_was_undone_says_so_and_leads_there(client: Client, allocation: Allocation) -> None:
    grant = allocation.entries.get()
    (undone,) = movements.reverse(entry=grant, by=make.person(), approved_by=make.person(), at=NOW, reason="mistake")
    client.force_login(lead_of(allocation))
    assert f"This entry was undone later. See entry {undone.pk}" in text_of(
        client, f"/projects/gene-fold/ledger/{grant.pk}/"
    )
    text = text_of(client, f"/projects/gene-fold/ledger/{undone.pk}/")
    assert f"Entry {grant.pk} : what was recorded there is undone by this entry." in text
    assert Event.objects.filter(act="reverse").count() == 1


def test_ledger_is_reached_from_the_quota_card_and_from_the_administration(
    client: Client, allocation: Allocation
) -> None:
    client.force_login(make.staff(StaffRole.AUDITOR))
    ledger, number = "/projects/gene-fold/ledger/", allocation.entries.get().pk
    assert f'href="{ledger}?allocation=AWARD-1"' in client.get("/projects/gene-fold/").content.decode()
    page = client.get(f"/admin/allocations/allocation/{allocation.pk}/change/").content.decode()
    assert f'href="{ledger}?allocation=AWARD-1"' in page
    page = client.get(f"/admin/allocations/ledgerentry/{number}/change/").content.decode()
    assert f'href="{ledger}{number}/"' in page


# ------------------------------------------------------------------------------------------------------- queries


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(
    ("query", "queries"),
    [
        ("", LIST_QUERIES),
        ("?as_of=2026-06-15T10:00:00", PAST_QUERIES),
        ("?as_of=2026-06-15T12:00:00", RECENT_QUERIES),
    ],
)
def test_ledger_takes_the_same_queries_for_any_number_of_entries(
    client: Client,
    allocation: Allocation,
    rows: int,
    query: str,
    queries: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for nth in range(rows - 1):
        correct(allocation, 1 + nth, at=NOW - timedelta(hours=2), key=f"{nth}")
    client.force_login(lead_of(allocation))
    with django_assert_num_queries(queries):
        found = shown(client, query)
    assert len(found) == rows


@pytest.mark.parametrize("rows", [1, 3])
def test_entry_takes_the_same_queries_for_any_number_of_runs(
    client: Client, allocation: Allocation, pool: GpuPool, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    runs = [make.run(allocation=allocation, start_at=NOW - timedelta(hours=3)) for _ in range(rows)]
    make.imported(*runs, cluster=pool.cluster, as_of=NOW)
    entry = LedgerEntry.objects.get(kind="charge")
    assert entry.effective_on == date(2026, 6, 15)
    client.force_login(lead_of(allocation))
    with django_assert_num_queries(ENTRY_QUERIES):
        response = client.get(f"/projects/gene-fold/ledger/{entry.pk}/")
    assert response.context["evidence"].count == rows
