"""What a team sees of its requests, asks and takes back: by whom, once, in words, and in how many queries."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from allocations import requests
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from centre import members, tenants
from centre.models import Project, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]
NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
DAY = timedelta(days=1)
HOUR = make.HOUR
LIST_QUERIES = 8
"""Session, person, staff roles, project, its award, how many requests, a page of them, the centre."""
ONE_QUERIES = 8
"""Session, person, staff roles, project, its award, the request, its entries, the centre."""
ASK_QUERIES = 10
"""Session, person, staff roles, project, its award, the centre; for the cards four."""
Kind = ChangeRequest.Kind
State = ChangeRequest.State
Capture = Callable[..., Any]


@pytest.fixture(autouse=True)
def noon() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def project() -> Project:
    return make.project("gene-fold", lead=make.person("lead@example.org", name="Leading Person"))


@pytest.fixture
def lead(project: Project) -> User:
    return project.memberships.get(role=ProjectRole.LEAD).user


@pytest.fixture
def allocation(project: Project) -> Allocation:
    return make.allocation(project=project, pool=make.pool("h800"), hours=1_000, reference="AWARD-1")


@pytest.fixture
def officer() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER, name="Answering Officer")


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    page = response.content.decode()
    main = page[page.index("<main") : page.index("</main>")]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def key_in(client: Client, kind: str) -> str:
    page = client.get(f"/projects/gene-fold/requests/new/?kind={kind}").content.decode()
    found = re.search(r'name="key" value="([0-9a-f]{32})"', page)
    assert found
    return found[1]


def send(client: Client, kind: str, **said: Any) -> Any:
    key = said.pop("key", None) or key_in(client, kind)
    form = {"reason": "We need it.", "key": key, **said}
    return client.post(f"/projects/gene-fold/requests/new/?kind={kind}", form)


def asked(project: Project, by: User, **said: Any) -> ChangeRequest:
    given = {"kind": Kind.OTHER, "reason": "because", **said}
    return requests.ask(project=project, by=by, at=NOW, **given)


# --------------------------------------------------------------------------------------------------- who may


def test_everybody_of_the_project_sees_and_only_lead_and_manager_ask(
    client: Client, project: Project, lead: User, allocation: Allocation
) -> None:
    row = asked(project, lead)
    pages = ["/projects/gene-fold/requests/", f"/projects/gene-fold/requests/{row.pk}/"]
    acts = ["/projects/gene-fold/requests/new/?kind=other", f"/projects/gene-fold/requests/{row.pk}/withdraw/"]

    def answers(user: User) -> tuple[set[int], set[int], bool]:
        client.force_login(user)
        seen = {client.get(path).status_code for path in pages}
        tried = {client.post(path).status_code for path in acts} | {client.get(path).status_code for path in acts}
        offered = client.get(pages[0]).status_code == 200 and "/requests/new/" in client.get(pages[0]).content.decode()
        return seen, tried, offered

    for role in (ProjectRole.MEMBER, ProjectRole.VIEWER):
        assert answers(make.member(project=project, role=role)) == ({200}, {403}, False)
    assert answers(make.representative(tenant=project.tenant)) == ({200}, {403}, False)
    assert answers(make.staff(StaffRole.AUDITOR)) == ({200}, {403}, False)
    assert answers(make.staff(StaffRole.COMMITTEE_MEMBER)) == ({404}, {404}, False)
    manager = make.member(project=project, role=ProjectRole.MANAGER)
    assert answers(manager) == ({200}, {200, 302}, True)
    row.refresh_from_db()
    assert (row.state, row.answered_by) == (State.WITHDRAWN, manager)  # in the place of the lead, who asked
    members.remove_member(membership=manager.memberships.get(), by=None, at=NOW)
    assert answers(manager) == ({404}, {404}, False)


def test_requests_of_another_project_and_of_officers_among_themselves_are_not_found(
    client: Client, project: Project, lead: User, allocation: Allocation, officer: User
) -> None:
    other = make.project("other", lead=lead)
    foreign = asked(other, lead)
    inner = requests.propose(
        kind=Kind.TAKE_BACK, allocation=allocation, seconds=HOUR, reason="inner", by=officer, at=NOW, key="k"
    )
    client.force_login(lead)
    for row in (foreign, inner):
        assert client.get(f"/projects/gene-fold/requests/{row.pk}/").status_code == 404
        assert client.post(f"/projects/gene-fold/requests/{row.pk}/withdraw/").status_code == 404
    assert "inner" not in text_of(client, "/projects/gene-fold/requests/")


def test_a_closed_project_asks_for_nothing(client: Client, project: Project, lead: User) -> None:
    tenants.close_project(project=project, reason="over", by=None, at=NOW)
    client.force_login(lead)
    assert "/requests/new/" not in client.get("/projects/gene-fold/requests/").content.decode()
    response = send(client, "other")
    assert "closed" in response.content.decode()
    assert not ChangeRequest.objects.exists()


# --------------------------------------------------------------------------------------------------- asking


def test_an_eleventh_request_is_refused_in_words_and_what_was_typed_stays(
    client: Client, project: Project, lead: User
) -> None:
    for _number in range(10):
        asked(project, lead)
    client.force_login(lead)
    page = unescape(send(client, "other", reason="An eleventh wish.").content.decode())
    assert "10 requests of this project wait for the centre’s answer already. Withdraw one" in page
    assert "An eleventh wish." in page
    assert ChangeRequest.objects.count() == 10


def test_more_hours_are_asked_for_once_however_often_the_form_is_sent(
    client: Client, lead: User, allocation: Allocation
) -> None:
    client.force_login(lead)
    key = key_in(client, "top_up")
    said = {"allocation": allocation.pk, "seconds": "12.5", "key": key}
    first, second = send(client, "top_up", **said), send(client, "top_up", **said)
    row = ChangeRequest.objects.get()
    assert (first.status_code, first.url) == (302, f"/projects/gene-fold/requests/{row.pk}/")
    assert second.url == first.url
    assert (row.kind, row.asked_seconds, row.asked_by, row.state) == ("top_up", 45_000, lead, State.ASKED)
    other = send(client, "top_up", **{**said, "seconds": "13"})
    assert "sent before with other content" in other.content.decode()
    assert ChangeRequest.objects.count() == 1


def test_a_longer_period_is_asked_for_and_a_day_that_is_not_later_keeps_what_was_typed(
    client: Client, lead: User, allocation: Allocation
) -> None:
    client.force_login(lead)
    wrong = send(client, "extension", allocation=allocation.pk, until_on=allocation.end_on.isoformat())
    page = wrong.content.decode()
    assert "lasts until 13 Oct 2026 already" in page
    assert f'value="{allocation.end_on.isoformat()}"' in page
    assert "We need it." in page
    assert not ChangeRequest.objects.exists()
    later = allocation.end_on + 30 * DAY
    assert send(client, "extension", allocation=allocation.pk, until_on=later.isoformat()).status_code == 302
    assert ChangeRequest.objects.get().asked_until_on == later


def test_a_transfer_of_a_team_holds_its_hours_once_and_withdrawing_lets_them_go(
    client: Client, project: Project, lead: User, allocation: Allocation
) -> None:
    target = make.allocation(project=project, pool=allocation.pool, account="second", hours=1, reference="AWARD-2")
    client.force_login(lead)
    too_much = send(client, "transfer", allocation=allocation.pk, to_allocation=target.pk, seconds="1001")
    assert "Only 1,000.00 GPU-hours are left on AWARD-1" in too_much.content.decode()
    key = key_in(client, "transfer")
    for _ in range(2):
        sent = send(client, "transfer", allocation=allocation.pk, to_allocation=target.pk, seconds="900", key=key)
        assert sent.status_code == 302
    row = ChangeRequest.objects.get()
    allocation.refresh_from_db()
    assert allocation.held_seconds == 900 * HOUR
    path = f"/projects/gene-fold/requests/{row.pk}/"
    assert "900 GPU-hours of AWARD-1 are set aside until the centre answers" in text_of(client, path)
    assert "Withdraw what was asked?" in text_of(client, f"{path}withdraw/")
    for _ in range(2):
        assert client.post(f"{path}withdraw/").headers["Location"] == path
    assert LedgerEntry.objects.filter(kind="release").count() == 1
    allocation.refresh_from_db()
    assert (allocation.held_seconds, allocation.available_seconds) == (0, 1_000 * HOUR)
    assert "Withdrawn" in text_of(client, path)


def test_a_lead_lets_go_hours_that_were_held_by_somebody_who_left(
    client: Client, project: Project, lead: User, allocation: Allocation, officer: User
) -> None:
    target = make.allocation(project=project, pool=allocation.pool, account="second", hours=1, reference="AWARD-2")
    gone = make.member(project=project, role=ProjectRole.MANAGER)
    wanted: dict[str, Any] = {
        "allocation": allocation,
        "to_allocation": target,
        "seconds": 900 * HOUR,
        "reason": "to move",
        "at": NOW,
    }
    kept = requests.ask(project=project, kind=Kind.TRANSFER, by=gone, key="gone", **wanted)
    members.remove_member(membership=gone.memberships.get(), by=lead, at=NOW)
    client.force_login(lead)
    path = f"/projects/gene-fold/requests/{kept.pk}/"
    assert f"{path}withdraw/" in client.get(path).content.decode()

    for _twice in range(2):
        assert client.post(f"{path}withdraw/").headers["Location"] == path

    assert "The request was withdrawn." in text_of(client, path)
    allocation.refresh_from_db()
    kept.refresh_from_db()
    assert (kept.state, kept.answered_by, allocation.held_seconds) == (State.WITHDRAWN, lead, 0)


def test_what_an_officer_proposed_is_not_the_teams_to_withdraw(
    client: Client, project: Project, lead: User, allocation: Allocation, officer: User
) -> None:
    row = requests.propose(
        kind=Kind.TOP_UP, allocation=allocation, seconds=HOUR, reason="more", by=officer, at=NOW, key="k"
    )
    client.force_login(lead)
    path = f"/projects/gene-fold/requests/{row.pk}/"
    assert f"{path}withdraw/" not in client.get(path).content.decode()
    client.post(f"{path}withdraw/")
    assert "Only the person who asked can withdraw the request." in text_of(client, path)
    row.refresh_from_db()
    assert row.state == State.ASKED


def test_words_are_asked_without_an_allocation(client: Client, project: Project, lead: User) -> None:
    client.force_login(lead)
    assert send(client, "members", reason="Two <b>guests</b>.").status_code == 302
    assert send(client, "other", reason="  ").status_code == 200
    row = ChangeRequest.objects.get()
    assert (row.kind, row.project, row.allocation, row.reason) == ("members", project, None, "Two <b>guests</b>.")
    assert "Two &lt;b&gt;guests&lt;/b&gt;." in client.get("/projects/gene-fold/requests/").content.decode()


def test_an_allocation_of_another_project_is_refused_in_a_forged_form(
    client: Client, project: Project, lead: User, allocation: Allocation
) -> None:
    foreign = make.allocation(pool=allocation.pool)
    make.allocation(project=project, pool=allocation.pool, account="second")
    client.force_login(lead)
    forged: tuple[tuple[str, dict[str, Any]], ...] = (
        ("top_up", {"allocation": foreign.pk, "seconds": "1"}),
        ("extension", {"allocation": foreign.pk, "until_on": "2027-01-01"}),
        ("transfer", {"allocation": foreign.pk, "to_allocation": allocation.pk, "seconds": "1"}),
        ("transfer", {"allocation": allocation.pk, "to_allocation": foreign.pk, "seconds": "1"}),
    )
    for kind, said in forged:
        assert "Choose one of this project’s allocations." in unescape(send(client, kind, **said).content.decode())
    with pytest.raises(requests.NotOfTheProject):
        asked(project, lead, kind=Kind.TOP_UP, allocation=foreign, seconds=HOUR)
    assert not ChangeRequest.objects.exists()


def test_what_makes_no_sense_is_not_offered(client: Client, project: Project, lead: User) -> None:
    client.force_login(lead)

    def offered() -> set[str]:
        page = client.get("/projects/gene-fold/requests/new/").content.decode()
        return set(re.findall(r"\?kind=(\w+)", page))

    assert offered() == {"members", "other"}
    first = make.allocation(project=project)
    assert offered() == {"members", "other", "top_up", "extension"}
    make.allocation(project=project, pool=first.pool, account="second")
    assert offered() == {"members", "other", "top_up", "extension", "transfer"}
    for kind in ("refund", "nothing", ""):
        page = client.get(f"/projects/gene-fold/requests/new/?kind={kind}").content.decode()
        assert "?kind=top_up" in page


MORE_THAN_NONE = "Ask for more than 0 GPU-hours."
NO_NUMBER = "Write a number of GPU-hours in digits, such as 12,000 or 1.5."
TOO_MUCH = "This is more than any machine could give. Check the number of GPU-hours."


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ("0", MORE_THAN_NONE),
        ("-5", MORE_THAN_NONE),
        ("-0.5", MORE_THAN_NONE),
        ("", "Say how many GPU-hours."),
        ("abc", NO_NUMBER),
        ("NaN", NO_NUMBER),
        ("12,5", NO_NUMBER),
        ("12,00", NO_NUMBER),
        ("1,234 567", NO_NUMBER),
        ("1.255", "Write GPU-hours with two decimals at most, such as 1.25."),
        ("1e-400", "Write GPU-hours with two decimals at most, such as 1.25."),
        ("1e999", TOO_MUCH),
        ("1e9999999", TOO_MUCH),
        ("9999999999999.99", TOO_MUCH),
    ],
)
def test_an_amount_that_cannot_be_meant_is_refused_in_words_with_all_kept(
    client: Client, lead: User, allocation: Allocation, seconds: str, told: str
) -> None:
    client.force_login(lead)
    response = send(client, "top_up", allocation=allocation.pk, seconds=seconds)
    page = unescape(response.content.decode())
    errors = response.context["form"].errors
    assert (response.status_code, [*errors.get("seconds", ()), *errors.get("__all__", ())]) == (200, [told])
    assert ("We need it." in page, f'value="{seconds}"' in page) == (True, bool(seconds))
    assert not ChangeRequest.objects.exists()


@pytest.mark.parametrize(
    ("typed", "hours"),
    [
        ("12,000", 12_000),
        ("1,234,567.5", 1_234_567.5),
        (" 12 000 ", 12_000),
        ("12\u00a0000", 12_000),
        ("12’000", 12_000),
        ("１２，０００", 12_000),
        ("1e3", 1_000),
    ],
)
def test_thousands_may_be_set_apart(
    client: Client, lead: User, allocation: Allocation, typed: str, hours: float
) -> None:
    client.force_login(lead)
    assert send(client, "top_up", allocation=allocation.pk, seconds=typed).status_code == 302
    assert ChangeRequest.objects.get().asked_seconds == hours * HOUR


@pytest.mark.parametrize(
    ("kind", "said", "field", "told"),
    [
        (
            "extension",
            {"until_on": "31/02/2026"},
            "until_on",
            "There is no such day in the calendar. Write it like 2026-01-31.",
        ),
        ("extension", {"until_on": ""}, "until_on", "Say until which day the period should last."),
        (
            "extension",
            {"until_on": "2199-12-31"},
            "until_on",
            "A period can be made to last until 15 Jun 2031 at most. Check the year.",
        ),
        (
            "extension",
            {"until_on": "2027-12-31", "reason": "x" * 501},
            "reason",
            "This is too long: shorten it to 500 characters. It has 501 now.",
        ),
        (
            "other",
            {"reason": "y" * 2_001},
            "reason",
            "This is too long: shorten it to 2000 characters. It has 2001 now.",
        ),
        ("other", {"reason": "a\0b"}, "reason", "This holds a character that cannot be kept. Write it anew."),
        ("other", {"reason": " "}, "reason", "Say what you need."),
    ],
)
def test_days_and_texts_that_cannot_be_meant_are_refused_in_words_with_all_kept(
    client: Client, lead: User, allocation: Allocation, kind: str, said: dict[str, str], field: str, told: str
) -> None:
    client.force_login(lead)
    response = send(client, kind, **({"allocation": allocation.pk} | said))
    assert (response.status_code, dict(response.context["form"].errors)) == (200, {field: [told]})
    typed = response.context["form"][field].value()
    assert typed == said[field]
    assert not ChangeRequest.objects.exists()


# --------------------------------------------------------------------------------------------------- the way of one


def test_a_request_shows_its_way_to_the_ledger(
    client: Client, project: Project, lead: User, allocation: Allocation, officer: User
) -> None:
    row = asked(project, lead, kind=Kind.TOP_UP, allocation=allocation, seconds=9 * HOUR, reason="more folds")
    path = f"/projects/gene-fold/requests/{row.pk}/"
    client.force_login(lead)
    before = text_of(client, path)
    assert "Waiting for the centre" in before
    assert "Withdraw this request" in before
    requests.approve(request=row, by=officer, at=NOW, seconds=6 * HOUR, answer="as much as there is")
    after = text_of(client, path)
    assert "Approved in part" in after
    assert "as much as there is" in after
    assert "AWARD-1 got 6 of the 9 GPU-hours asked for." in after
    assert "Withdraw this request" not in after
    entry = LedgerEntry.objects.get(kind="top_up")
    assert f"/projects/gene-fold/ledger/{entry.pk}/" in client.get(path).content.decode()
    assert "as much as there is" in text_of(client, "/projects/gene-fold/requests/")


def test_what_waits_stands_first_and_pages_turn(client: Client, project: Project, lead: User) -> None:
    old = asked(project, lead, reason="the oldest")
    for number in range(25):
        row = asked(project, lead, reason=f"number {number}")
        requests.withdraw(request=row, by=lead, at=NOW)
    client.force_login(lead)
    response = client.get("/projects/gene-fold/requests/")
    shown = [row.record.pk for row in response.context["table"].paginated_rows]
    assert (len(shown), shown[0]) == (20, old.pk)
    for page in ("2", "99", "9" * 40):  # beyond the last page stands the last page
        answer = client.get(f"/projects/gene-fold/requests/?page={page}")
        assert (answer.status_code, len(answer.context["table"].paginated_rows)) == (200, 6)


def test_what_was_withdrawn_was_not_answered(client: Client, project: Project, lead: User) -> None:
    requests.withdraw(request=asked(project, lead), by=lead, at=NOW)
    client.force_login(lead)
    text = text_of(client, "/projects/gene-fold/requests/")
    assert "15 Jun 2026, 12:00 HKT Withdrawn Withdrawn 15 Jun 2026, 12:00 HKT –" in text


def test_pages_ask_the_same_number_of_queries_for_one_and_for_three(
    client: Client,
    project: Project,
    lead: User,
    allocation: Allocation,
    officer: User,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    client.force_login(lead)
    said = {"kind": Kind.TOP_UP, "allocation": allocation, "seconds": HOUR}
    rows = [asked(project, lead, **said)]
    requests.approve(request=rows[0], by=officer, at=NOW)
    for count in (1, 3):
        while len(rows) < count:
            rows.append(asked(project, lead, **said))
            make.allocation(project=project, pool=allocation.pool, account=f"further-{len(rows)}")
        with django_assert_num_queries(LIST_QUERIES):
            client.get("/projects/gene-fold/requests/")
        with django_assert_num_queries(ONE_QUERIES):
            client.get(f"/projects/gene-fold/requests/{rows[0].pk}/")
        with django_assert_num_queries(ASK_QUERIES):
            client.get("/projects/gene-fold/requests/new/?kind=top_up")


# --------------------------------------------------------------------------------------------------- the letter


def test_the_asker_gets_one_letter_in_their_language_with_an_inert_answer(
    project: Project,
    lead: User,
    allocation: Allocation,
    officer: User,
    django_capture_on_commit_callbacks: Capture,
) -> None:
    row = asked(project, lead, kind=Kind.TOP_UP, allocation=allocation, seconds=9 * HOUR)
    answer = "half\r\nBcc: everybody@example.org\n\n" + "x" * 2_000
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(2):
            fresh = ChangeRequest.objects.get(pk=row.pk)
            requests.approve(request=fresh, by=officer, at=NOW, seconds=6 * HOUR, answer=answer)
    (letter,) = mail.outbox
    assert letter.to == [lead.email]
    assert letter.subject == "Approved in part: 9 more GPU-hours for AWARD-1"
    assert "AWARD-1 got 6 of the 9 GPU-hours asked for." in letter.body
    assert "half Bcc: everybody@example.org" in letter.body
    assert max(len(line) for line in letter.body.splitlines()) < 700
    assert f"/projects/gene-fold/requests/{row.pk}/" in letter.body


@pytest.mark.parametrize("left_by", ["removal", "lock", "being an officer"])
def test_who_left_or_is_an_officer_gets_no_letter(
    project: Project,
    lead: User,
    officer: User,
    django_capture_on_commit_callbacks: Capture,
    left_by: str,
) -> None:
    asker = make.staff(StaffRole.ALLOCATION_OFFICER) if left_by == "being an officer" else lead
    row = asked(project, asker)
    if left_by == "removal":
        make.member(project=project, role=ProjectRole.LEAD)
        members.remove_member(membership=lead.memberships.get(), by=None, at=NOW)
    if left_by == "lock":
        User.objects.filter(pk=lead.pk).update(is_active=False)
    with django_capture_on_commit_callbacks(execute=True):
        requests.decline(request=row, by=officer, at=NOW, answer="no")
    assert mail.outbox == []
