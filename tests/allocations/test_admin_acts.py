"""Officers act on the ledger in the admin: what is filled in is shown with its effect, confirmed, and done once."""

import re
from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from allocations import ledger, requests
from allocations.models import Allocation, ChangeRequest, JobRun, LedgerEntry
from allocations.slurm.nodes import names_node
from centre.models import User
from centre.permissions import StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]

HOUR = make.HOUR
R = StaffRole
ALONE = 1_000_000 * HOUR
"""A threshold below which one officer acts alone."""
TEN = datetime.combine(make.today() - timedelta(days=3), time(10), tzinfo=timezone.get_default_timezone())


@pytest.fixture
def officer(client: Client) -> User:
    user = make.staff(R.ALLOCATION_OFFICER)
    client.force_login(user)
    return user


def act_url(row: Any, act: str) -> str:
    return reverse(f"admin:allocations_{row._meta.model_name}_{act}", args=[row.pk])


def form_key(response: Any) -> str:
    """The key that a page of an act carries."""
    keys = set(re.findall(r'name="act_key" value="([0-9a-f]{32})"', response.content.decode()))
    assert len(keys) == 1
    return str(keys.pop())


def effects(response: Any) -> list[tuple[str, str, str]]:
    """The figures that a page shows: what, now, afterwards."""
    row = r'<tr role="row"><th role="rowheader" scope="row">(.*?)</th><td role="cell">(.*?)</td>'
    return re.findall(row + r'<td role="cell">(.*?)</td></tr>', response.content.decode())


def hidden(response: Any) -> dict[str, list[str]]:
    """What the confirming page carries: its hidden fields, as a browser sends them."""
    sent: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', response.content.decode()):
        if name != "csrfmiddlewaretoken":
            sent.setdefault(name, []).append(value)
    return sent


def said(response: Any) -> list[str]:
    """The messages of the page that an act leads to."""
    return [str(message) for message in response.context["messages"]]


def check(client: Client, url: str, given: dict[str, Any]) -> Any:
    """Fill in a fresh form and send it: the confirming page."""
    return client.post(url, given | {"act_key": form_key(client.get(url))})


def confirm(client: Client, url: str, page: Any) -> Any:
    return client.post(url, hidden(page) | {"act_step": "confirmed"}, follow=True)


def left(*allocations: Allocation) -> list[int]:
    """What is left of each, in whole GPU-hours."""
    return [Allocation.objects.get(pk=row.pk).available_seconds // HOUR for row in allocations]


def refused(response: Any) -> str:
    """The sentence of the note that refuses."""
    return " ".join(re.findall(r'<p class="errornote" role="alert">(.*?)</p>', response.content.decode()))


def failed_run(allocation: Allocation, *, node: str = "gpu07", hours: int = 4, state: str = "NODE_FAIL") -> JobRun:
    told = make.run(allocation=allocation, hours=hours, start_at=TEN, state=state)
    make.imported(told, cluster=allocation.pool.cluster)
    JobRun.objects.filter(job_id_raw=told.number).update(node_list=node)
    return JobRun.objects.get(job_id_raw=told.number)


def test_a_top_up_is_shown_confirmed_and_waits_for_a_second_officer(client: Client, officer: User) -> None:
    allocation = make.allocation(reference="AG-1", hours=100)
    url = act_url(allocation, "top_up")
    page = check(client, url, {"seconds": "20.5", "reason": "One more <run>"})
    assert effects(page) == [
        ("Granted (GPU-hours)", "100.00", "120.50"),
        ("Left (GPU-hours)", "100.00", "120.50"),
    ]
    text = page.content.decode()
    shown = [part in text for part in ("Give 20.50 more GPU-hours to AG-1", "One more &lt;run&gt;", "Another officer")]
    assert shown == [True, True, True]
    assert ChangeRequest.objects.count() == 0

    done = confirm(client, url, page)
    asked = ChangeRequest.objects.get()
    assert (asked.kind, asked.state, asked.asked_seconds, asked.asked_by) == ("top_up", "asked", 73_800, officer)
    assert said(done) == ["Waiting for another officer’s approval: Give 20.50 more GPU-hours to AG-1."]
    assert (done.redirect_chain[-1][0], left(allocation)) == (act_url(asked, "change"), [100])

    own = client.post(act_url(asked, "approve"), {"seconds": "20.5"})
    assert "You asked for this yourself" in refused(own)
    client.force_login(make.staff(R.ALLOCATION_OFFICER))
    before = client.get(act_url(asked, "approve"))
    assert effects(before)[1] == ("Left (GPU-hours)", "100.00", "120.50")
    done = client.post(act_url(asked, "approve"), {"seconds": "20.5"}, follow=True)
    assert said(done) == [
        "Approved and carried out: Give 20.50 more GPU-hours to AG-1. AG-1 now has 120.50 GPU-hours left."
    ]


def test_within_the_threshold_an_act_is_carried_out_at_once(client: Client, officer: User) -> None:
    make.centre(two_person_above_seconds=ALONE)
    allocation = make.allocation(reference="AG-1", hours=100)
    url = act_url(allocation, "take_back")
    page = check(client, url, {"seconds": "30", "reason": "Unused"})
    assert ("carried out at once" in page.content.decode(), left(allocation)) == (True, [100])
    done = confirm(client, url, page)
    assert said(done) == [
        "Carried out: Take back 30 unused GPU-hours from AG-1. AG-1 now has 70 GPU-hours left.",
    ]
    assert (done.redirect_chain[-1][0], left(allocation)) == (act_url(allocation, "change"), [70])


def test_more_than_is_left_is_refused_before_anything_is_confirmed(client: Client, officer: User) -> None:
    allocation = make.allocation(reference="AG-1", hours=100)
    page = check(client, act_url(allocation, "take_back"), {"seconds": "100.01", "reason": "Unused"})
    assert refused(page) == "Only 100.00 GPU-hours are left on AG-1; this would take 100.01."
    assert ('value="100.01"' in page.content.decode(), ChangeRequest.objects.count()) == (True, 0)


def found_in_search_box(client: Client, url: str) -> list[str]:
    """What the only search box of a page offers before anything is typed, asked for as its script does."""
    page = client.get(url).content.decode()
    given = dict(re.findall(r'data-(ajax--url|app-label|model-name|field-name)="([^"]+)"', page))
    asked = {name.replace("-", "_"): value for name, value in given.items() if name != "ajax--url"}
    address = f"{given['ajax--url'].replace('&amp;', '&')}&{urlencode(asked)}"
    return [found["text"] for found in client.get(address).json()["results"]]


def test_a_transfer_shows_both_allocations_and_holds_the_hours_until_it_is_approved(
    client: Client, officer: User
) -> None:
    pool = make.pool()
    source = make.allocation(reference="FROM", hours=100, pool=pool)
    target = make.allocation(reference="TO", hours=10, pool=pool)
    elsewhere = make.allocation(reference="ELSEWHERE")
    url = act_url(source, "transfer")
    assert found_in_search_box(client, url) == ["TO"]
    other = check(client, url, {"to_allocation": elsewhere.pk, "seconds": "1", "reason": "-"})
    assert "Select a valid choice" in other.content.decode()

    page = check(client, url, {"to_allocation": target.pk, "seconds": "40", "reason": "Swap"})
    assert effects(page) == [
        ("FROM: Granted (GPU-hours)", "100", "60"),
        ("FROM: Left (GPU-hours)", "100", "60"),
        ("TO: Granted (GPU-hours)", "10", "50"),
        ("TO: Left (GPU-hours)", "10", "50"),
    ]
    confirm(client, url, page)
    assert left(source, target) == [60, 10]
    asked = ChangeRequest.objects.get()

    client.force_login(make.staff(R.ALLOCATION_OFFICER))
    approving = act_url(asked, "approve")
    assert effects(client.get(approving)) == [
        ("FROM: Granted (GPU-hours)", "100", "60"),
        ("FROM: Held (GPU-hours)", "40", "0"),
        ("FROM: Left (GPU-hours)", "60", "60"),
        ("TO: Granted (GPU-hours)", "10", "50"),
        ("TO: Left (GPU-hours)", "10", "50"),
    ]
    part = client.post(approving, {"seconds": "15", "answer": "Not all"})
    assert effects(part)[2:] == [
        ("FROM: Left (GPU-hours)", "60", "85"),
        ("TO: Granted (GPU-hours)", "10", "25"),
        ("TO: Left (GPU-hours)", "10", "25"),
    ]
    assert left(source, target) == [60, 10]
    confirm(client, approving, part)
    asked.refresh_from_db()
    assert (asked.state, asked.answer, left(source, target)) == ("part_approved", "Not all", [85, 25])


def test_who_goes_back_finds_everything_typed_and_the_same_form(client: Client, officer: User) -> None:
    allocation = make.allocation(hours=100)
    url = act_url(allocation, "top_up")
    page = check(client, url, {"seconds": "20", "reason": "Because"})
    back = client.post(url, hidden(page) | {"act_step": "change"})
    text = back.content.decode()
    assert ('value="20"' in text, ">\nBecause</textarea>" in text, form_key(back)) == (True, True, form_key(page))
    assert ChangeRequest.objects.count() == 0


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("top_up", {"seconds": "20"}),
    ("take_back", {"seconds": "100"}),
    ("transfer", {"seconds": "100"}),
    ("refund", {}),
]


def case(act: str) -> tuple[Allocation, dict[str, Any]]:
    """An allocation with 100 GPU-hours left, and what its form needs besides."""
    pool = make.pool()
    allocation = make.allocation(reference="FROM", hours=104, pool=pool)
    run = failed_run(allocation)
    more: dict[str, Any] = {}
    if act == "transfer":
        more["to_allocation"] = make.allocation(reference="TO", hours=10, pool=pool).pk
    if act == "refund":
        more["runs"] = [run.pk]
    return allocation, {"reason": "Because", **more}


@pytest.mark.parametrize("threshold", [0, ALONE])
@pytest.mark.parametrize(("act", "given"), KINDS)
def test_a_form_sent_twice_acts_once_and_shows_the_first_result(
    act: str, given: dict[str, Any], threshold: int, client: Client, officer: User
) -> None:
    make.centre(two_person_above_seconds=threshold)
    allocation, more = case(act)
    url = act_url(allocation, act)
    page = check(client, url, given | more)
    first = confirm(client, url, page)
    once = (left(allocation), LedgerEntry.objects.count(), ChangeRequest.objects.count())
    for again in (confirm(client, url, page), client.post(url, given | more | hidden(page), follow=True)):
        assert (said(again), again.redirect_chain[-1]) == (said(first), first.redirect_chain[-1])
        assert (left(allocation), LedgerEntry.objects.count(), ChangeRequest.objects.count()) == once


def test_the_same_key_with_other_content_is_refused_and_what_was_typed_stays(client: Client, officer: User) -> None:
    allocation = make.allocation(hours=100)
    url = act_url(allocation, "top_up")
    page = check(client, url, {"seconds": "20", "reason": "Because"})
    confirm(client, url, page)
    key = form_key(page)
    for step in ("", "confirmed"):
        sent = {"act_key": key, "act_step": step, "seconds": "21", "reason": "Something else"}
        again = client.post(url, sent)
        text = again.content.decode()
        assert "sent before with other content" in refused(again)
        assert ('value="21"' in text, "Something else</textarea>" in text) == (True, True)
    assert [row.asked_seconds for row in ChangeRequest.objects.all()] == [20 * HOUR]


def test_two_forms_with_the_same_content_are_two_acts(client: Client, officer: User) -> None:
    """The control: what tells two acts from one sent twice is the key and nothing else."""
    allocation = make.allocation(hours=100)
    url = act_url(allocation, "top_up")
    for _time in range(2):
        confirm(client, url, check(client, url, {"seconds": "20", "reason": "Because"}))
    assert ChangeRequest.objects.count() == 2


def test_an_act_without_a_reason_is_refused(client: Client, officer: User) -> None:
    allocation = make.allocation(hours=100)
    for act in ("top_up", "take_back"):
        page = check(client, act_url(allocation, act), {"seconds": "20", "reason": "  "})
        assert "This field is required." in page.content.decode()
    assert ChangeRequest.objects.count() == 0


def test_refunded_runs_are_found_by_day_node_and_end_and_given_back_in_sum(client: Client, officer: User) -> None:
    allocation = make.allocation(reference="AG-1", hours=100)
    failed = [failed_run(allocation, node=node) for node in ("gpu[01-08]", "gpu12")]
    failed_run(allocation, node="gpu03", state="COMPLETED")
    url = act_url(allocation, "refund")

    def shown(**search: str) -> set[int]:
        page = client.get(url, {"first_on": "", "last_on": "", "node": "", "state": ""} | search)
        return {run.pk for run, _is_chosen, _state in page.context["runs"]}

    failing = {run.pk for run in failed}
    assert shown(state="NODE_FAIL") == failing
    assert shown(node="gpu07") == {failed[0].pk}
    assert shown(last_on=(make.today() - timedelta(days=5)).isoformat()) == set()
    assert len(shown(first_on=(make.today() - timedelta(days=5)).isoformat())) == 3

    page = check(client, url, {"runs": [run.pk for run in failed], "reason": "Node failed"})
    assert "Refund 8 GPU-hours of 2 job runs to AG-1" in page.content.decode()
    assert effects(page) == [("Used (GPU-hours)", "12", "4"), ("Left (GPU-hours)", "88", "96")]
    confirm(client, url, page)
    asked = ChangeRequest.objects.get()
    client.force_login(make.staff(R.ALLOCATION_OFFICER))
    approving = client.get(act_url(asked, "approve"))
    assert {run.pk for run, _is_chosen, _state in approving.context["runs"]} == failing
    assert effects(approving) == effects(page)
    client.post(act_url(asked, "approve"), {"answer": ""})
    assert (left(allocation), shown(state="NODE_FAIL")) == ([96], set())


def test_only_runs_of_the_allocation_can_be_refunded(client: Client, officer: User) -> None:
    allocation, other = make.allocation(hours=100), make.allocation(hours=100)
    failed_run(allocation)
    page = check(client, act_url(allocation, "refund"), {"runs": [failed_run(other).pk], "reason": "-"})
    assert ("Select a valid choice" in page.content.decode(), ChangeRequest.objects.count()) == (True, 0)


def test_the_number_of_a_run_is_sent_as_it_is_and_not_grouped() -> None:
    run = JobRun(pk=1_234_567, job_id="1")
    run.refundable_seconds = HOUR
    rows = render_to_string(
        "admin/allocations/run_rows.html", {"runs": [(run, True, ("Failed", "bad"))], "may_choose": True}
    )
    assert re.findall(r'<input type="checkbox"[^>]*>', rows) == [
        '<input type="checkbox" name="runs" value="1234567" id="run-1234567" checked>'
    ]


def test_all_runs_found_are_ticked_when_asked(client: Client, officer: User) -> None:
    allocation = make.allocation(hours=100)
    run = failed_run(allocation)
    page = client.get(act_url(allocation, "refund"), {"all": "1"})
    assert [(run.pk, is_chosen) for run, is_chosen, _state in page.context["runs"]] == [(run.pk, True)]


def test_the_refund_page_costs_the_same_for_one_run_and_three(client: Client, officer: User) -> None:
    allocation = make.allocation(hours=100)
    url = act_url(allocation, "refund")
    counts = []
    for new in (1, 2):
        for _each in range(new):
            failed_run(allocation)
        client.get(url)
        with CaptureQueriesContext(connection) as queries:
            page = client.get(url)
        counts.append((len(queries), len(page.context["runs"])))
    assert counts == [(6, 1), (6, 3)]


def test_an_entry_is_reversed_once_and_usage_never(client: Client, officer: User) -> None:
    make.centre(two_person_above_seconds=ALONE)
    allocation = make.allocation(reference="AG-1", hours=100)
    failed_run(allocation)
    grant = allocation.entries.get(kind="grant")
    top_up = ledger.top_up(
        allocation=allocation,
        seconds=50 * HOUR,
        by=officer,
        approved_by=make.person(),
        at=timezone.now(),
        key="given twice",
        reason="-",
        source_kind="test",
    )
    page = check(client, act_url(top_up, "reverse"), {"reason": "Given twice"})
    assert effects(page) == [("Granted (GPU-hours)", "150", "100"), ("Left (GPU-hours)", "146", "96")]
    assert f"Reverse entry {top_up.pk} (Top-up, 50 GPU-hours) on AG-1" in page.content.decode()
    confirm(client, act_url(top_up, "reverse"), page)
    assert left(allocation) == [96]

    def offers(entry: LedgerEntry) -> bool:
        return "../reverse/" in client.get(act_url(entry, "change")).content.decode()

    charge = allocation.entries.get(kind="charge")
    assert [offers(entry) for entry in (grant, top_up, charge)] == [True, False, False]
    again = check(client, act_url(top_up, "reverse"), {"reason": "Once more"})
    assert "was reversed before" in refused(again)


def opening(**given: Any) -> dict[str, Any]:
    """What an officer fills in to open an allocation."""
    return {
        "project": make.project().pk,
        "pool": make.pool().pk,
        "reference": "AG-7",
        "account": "",
        "funding": "purchased",
        "start_on": make.today().isoformat(),
        "end_on": (make.today() + timedelta(days=90)).isoformat(),
        "seconds": "500",
        "reason": "Agreement 7",
    } | given


@pytest.mark.parametrize(("hours", "asked"), [("500", 1), ("0", 0)])
def test_an_opening_sent_twice_opens_once(hours: str, asked: int, client: Client, officer: User) -> None:
    url = reverse("admin:allocations_allocation_add")
    given = opening(seconds=hours)
    page = check(client, url, given)
    assert effects(page)[0] == ("Allocation", "none", "AG-7, open")
    assert Allocation.objects.count() == 0
    first, again = confirm(client, url, page), confirm(client, url, page)
    assert (said(again), again.redirect_chain[-1]) == (said(first), first.redirect_chain[-1])
    assert (Allocation.objects.count(), ChangeRequest.objects.count()) == (1, asked)
    other = client.post(url, given | hidden(page) | {"account": "another"})
    refusal = "sent before with other content" if asked else "Another allocation has this reference."
    assert (refusal in other.content.decode(), Allocation.objects.count()) == (True, 1)


def test_the_first_hours_are_a_grant_from_the_first_day(client: Client, officer: User) -> None:
    make.centre(two_person_above_seconds=ALONE)
    url = reverse("admin:allocations_allocation_add")
    done = confirm(client, url, check(client, url, opening()))
    assert said(done) == [
        "AG-7 is open. Carried out: Give 500 GPU-hours to the new allocation AG-7. AG-7 now has 500 GPU-hours left."
    ]
    entry = LedgerEntry.objects.get()
    assert (entry.kind, entry.seconds, entry.effective_on) == ("grant", 500 * HOUR, make.today())


def proposed(kind: ChangeRequest.Kind, allocation: Allocation, by: User, **more: Any) -> ChangeRequest:
    return requests.propose(
        kind=kind, allocation=allocation, reason="Because", by=by, at=timezone.now(), key=f"key-{kind}", **more
    )


def one_of_each(by: User) -> list[ChangeRequest]:
    """Every kind of proposal, waiting."""
    pool = make.pool()
    source, target = make.allocation(hours=100, pool=pool), make.allocation(hours=100, pool=pool)
    run = failed_run(source)
    kind = ChangeRequest.Kind
    return [
        proposed(kind.OPENING, target, by, seconds=HOUR),
        proposed(kind.TOP_UP, source, by, seconds=HOUR),
        proposed(kind.TAKE_BACK, source, by, seconds=HOUR),
        proposed(kind.TRANSFER, source, by, seconds=HOUR, to_allocation=target),
        proposed(kind.REFUND, source, by, runs=[run]),
        proposed(kind.REVERSAL, target, by, entry=target.entries.get(kind="grant")),
    ]


def test_every_kind_is_withdrawn_by_who_asked(client: Client, officer: User) -> None:
    for row in one_of_each(officer):
        client.post(act_url(row, "withdraw"))
    assert {row.state for row in ChangeRequest.objects.all()} == {"withdrawn"}


def test_every_kind_is_declined_by_another_officer_with_an_answer(client: Client, officer: User) -> None:
    for row in one_of_each(make.staff(R.ALLOCATION_OFFICER)):
        client.post(act_url(row, "decline"), {"answer": "No"})
    assert {(row.state, row.answer) for row in ChangeRequest.objects.all()} == {("declined", "No")}


def test_every_kind_is_approved_by_another_officer_and_not_by_a_beneficiary(client: Client, officer: User) -> None:
    rows = one_of_each(make.staff(R.ALLOCATION_OFFICER))
    beneficiary = make.staff(R.ALLOCATION_OFFICER)
    for row in rows[:2]:  # the two projects that all of them are about
        make.member(project=row.project, user=beneficiary)
    client.force_login(beneficiary)
    for row in rows:
        assert "You belong to this project" in refused(client.post(act_url(row, "approve"), {"seconds": "1"}))
    client.force_login(officer)
    for row in rows:
        client.post(act_url(row, "approve"), {"seconds": "1"})
    assert [row.state for row in ChangeRequest.objects.order_by("id")] == ["approved"] * 6


def test_an_approval_sent_twice_carries_out_once_and_shows_the_first_result(client: Client, officer: User) -> None:
    allocation = make.allocation(reference="AG-1", hours=100)
    row = proposed(ChangeRequest.Kind.TOP_UP, allocation, make.staff(R.ALLOCATION_OFFICER), seconds=HOUR)
    first, again = (client.post(act_url(row, "approve"), {"seconds": "1"}, follow=True) for _time in range(2))
    assert (said(first), left(allocation)) == (said(again), [101])
    client.force_login(make.staff(R.ALLOCATION_OFFICER))
    third = client.post(act_url(row, "approve"), {"seconds": "1"})
    assert ("answered already" in refused(third), left(allocation)) == (True, [101])


def test_the_list_says_whose_turn_it_is(client: Client, officer: User) -> None:
    other = make.staff(R.ALLOCATION_OFFICER)
    mine = make.allocation(hours=100)
    make.member(project=mine.project, user=officer)
    kind = ChangeRequest.Kind.TOP_UP
    for_me = proposed(kind, make.allocation(), other, seconds=HOUR)
    own = requests.ask(allocation=make.allocation(), seconds=HOUR, reason="-", by=officer, at=timezone.now())
    of_my_project = requests.ask(allocation=mine, seconds=HOUR, reason="-", by=other, at=timezone.now())
    url = reverse("admin:allocations_changerequest_changelist")

    def listed(whose: str) -> set[int]:
        return {row.pk for row in client.get(url, {"waits": whose}).context["cl"].result_list}

    assert (listed("me"), listed("another")) == ({for_me.pk}, {own.pk, of_my_project.pk})
    requests.decline(request=for_me, by=officer, at=timezone.now(), answer="-")
    assert (listed("me"), listed("another")) == (set(), {own.pk, of_my_project.pk})
    client.force_login(make.staff(R.AUDITOR))
    assert listed("me") == set()


ACTS = ("top_up", "transfer", "take_back", "refund")


@pytest.mark.parametrize("role", [R.AUDITOR, R.MANAGEMENT, R.TENANT_OFFICER, R.FINANCE_OFFICER])
def test_who_only_looks_is_offered_no_act_and_gets_403(role: StaffRole, client: Client) -> None:
    allocation = make.allocation(hours=100)
    entry = allocation.entries.get()
    client.force_login(make.staff(role))
    urls = [*(act_url(allocation, act) for act in ACTS), act_url(entry, "reverse")]
    assert [(client.get(url).status_code, client.post(url).status_code) for url in urls] == [(403, 403)] * 5
    for row in (allocation, entry):
        page = client.get(act_url(row, "change"))
        assert (page.status_code, page.context["acts"]) == (200, [])


@pytest.mark.parametrize(("state", "left"), [("closed", 1), ("void", 0)])
def test_what_is_closed_gives_and_takes_nothing(state: str, left: int, client: Client, officer: User) -> None:
    """A closed one still takes late usage, so that a further account may be let draw on it."""
    allocation = make.allocation(hours=100)
    entry = allocation.entries.get()

    def offered() -> list[int]:
        return [len(client.get(act_url(row, "change")).context["acts"]) for row in (allocation, entry)]

    assert offered() == [8, 1]
    Allocation.objects.filter(pk=allocation.pk).update(state=state)
    assert offered() == [left, 0]
    page = check(client, act_url(allocation, "top_up"), {"seconds": "1", "reason": "-"})
    assert ("is closed" in refused(page), ChangeRequest.objects.count()) == (True, 0)


NODES: list[tuple[str, str, bool]] = [
    ("gpu07", "gpu07", True),
    ("gpu[01-08]", "gpu07", True),
    ("gpu[01-08]", "gpu7", False),
    ("gpu[1-12]", "gpu12", True),
    ("gpu[01-03,07],login1", "gpu07", True),
    ("gpu[01-03,07],login1", "login1", True),
    ("gpu[01-03,07],login1", "gpu04", False),
    ("rack[1-2]n[01-04]", "rack2n03", True),
    ("gpu070", "gpu07", False),
    ("None assigned", "gpu07", False),
    ("gpu[01-", "gpu01", False),
    ("", "", False),
]


@pytest.mark.parametrize(("node_list", "node", "expected"), NODES)
def test_a_node_is_found_in_a_list_of_nodes(node_list: str, node: str, expected: bool) -> None:
    assert names_node(node_list, node) is expected


HOSTILE: list[Callable[[], str]] = [lambda: "<script>alert(1)</script>", lambda: '"><b>x</b>']


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_on_the_confirming_page(text: Callable[[], str], client: Client, officer: User) -> None:
    allocation = make.allocation(hours=100)
    run = failed_run(allocation, node=text())
    page = check(client, act_url(allocation, "refund"), {"runs": [run.pk], "reason": text()})
    search = client.get(act_url(allocation, "refund"), {"first_on": "", "node": text(), "all": text()})
    for response in (page, search):
        assert (response.status_code, text() in response.content.decode()) == (200, False)
