"""The admin of GPU time: allocations are opened and given hours by two people; evidence is read, cheaply."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from allocations import requests
from allocations.models import (
    Allocation,
    ChangeRequest,
    JobRun,
    LedgerEntry,
    Notice,
    QuarantinedRecord,
    RunCharge,
    UsageImport,
)
from centre.models import Event, User
from centre.permissions import StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole


def signed_in(client: Client, role: StaffRole) -> User:
    user = make.staff(role)
    client.force_login(user)
    return user


def act_url(row: Any, act: str) -> str:
    return reverse(f"admin:allocations_{row._meta.model_name}_{act}", args=[row.pk])


def usage_import(file_name: str = "export.txt") -> UsageImport:
    return UsageImport.objects.create(
        cluster=make.cluster(), file_name=file_name, time_zone="UTC", received_at=timezone.now()
    )


def job_run(number: int, *, account: str = "", job_name: str = "") -> JobRun:
    seen_in = usage_import()
    return JobRun.objects.create(
        cluster=seen_in.cluster,
        job_id=str(number),
        job_id_raw=number,
        submit_at=timezone.now(),
        first_import=seen_in,
        usage_import=seen_in,
        state="COMPLETED",
        account=account or f"account-{number}",
        job_name=job_name,
        finished=True,
        as_of=timezone.now(),
        digest=str(number),
    )


def asked(word: str = "", *, by: User | None = None, hours: int = 10) -> ChangeRequest:
    allocation = make.allocation(reference=word, hours=100)
    return requests.ask(
        allocation=allocation,
        seconds=hours * make.HOUR,
        reason="More runs",
        by=by or make.staff(R.ALLOCATION_OFFICER),
        at=timezone.now(),
    )


def charge(word: str) -> LedgerEntry:
    return make.allocation(reference=word).entries.get()


def quarantined(word: str) -> QuarantinedRecord:
    return QuarantinedRecord.objects.create(usage_import=usage_import(word), line=1, text="?", reason="-")


def notice(word: str) -> Notice:
    return Notice.objects.create(
        allocation=make.allocation(reference=word),
        user=make.person(),
        kind="used_share",
        threshold=80,
        due_at=timezone.now(),
    )


LISTS: list[tuple[str, int, Callable[[str], object]]] = [
    ("allocation", 8, lambda word: make.allocation(reference=word)),
    ("ledgerentry", 6, charge),
    ("changerequest", 7, asked),
    ("usageimport", 7, usage_import),
    ("jobrun", 7, lambda word: job_run(len(word), account=word)),
    ("quarantinedrecord", 6, quarantined),
    ("notice", 6, notice),
]


@pytest.mark.parametrize(("model", "expected", "build"), LISTS)
def test_a_list_costs_the_same_for_one_row_and_three(
    model: str, expected: int, build: Callable[[str], object], client: Client
) -> None:
    signed_in(client, R.AUDITOR)
    url = reverse(f"admin:allocations_{model}_changelist")
    counts = []
    words: list[str] = []
    for new in (["alpha"], ["be", "gam"]):
        for word in new:
            build(word)
            words.append(f"{word}<")
        client.get(url)
        with CaptureQueriesContext(connection) as queries:
            page = client.get(url).content.decode()
        counts.append(len(queries))
        assert [word for word in words if word in page] == words
    assert counts == [expected, expected]


def test_the_allocation_list_answers_the_usual_question(client: Client) -> None:
    signed_in(client, R.ALLOCATION_OFFICER)
    row = make.allocation(reference="AG-1", hours=1_000, account="team-paid")
    ended = timezone.now() - timedelta(days=1)
    make.imported(
        make.Run(
            account="team-paid",
            partition=row.pool.code,
            gpus=1500,
            start_at=ended - timedelta(hours=1),
            end_at=ended,
        ),
        cluster=row.pool.cluster,
    )
    page = client.get(reverse("admin:allocations_allocation_changelist")).content.decode()
    told = (
        "AG-1",
        ">1,000<",
        ">1,500<small>150\u00a0%<",
        ">−500<small>−50\u00a0%<",
        ">50<",
        "Overdrawn by 500 GPU-hours.",
        ">Overdrawn<",
    )
    assert [text for text in told if text in page] == [*told]
    found = client.get(reverse("admin:allocations_allocation_changelist") + "?q=team-paid").content.decode()
    assert "AG-1" in found
    only = client.get(reverse("admin:allocations_allocation_changelist") + "?balance=within").content.decode()
    assert "AG-1" not in only


CONFIRMED = {"act_step": "confirmed"}
"""What the confirming page sends besides; the page itself is tested with the acts."""


def opening(**given: Any) -> dict[str, Any]:
    """What an officer fills in to open an allocation."""
    return {
        "project": make.project("harbour").pk,
        "pool": make.pool().pk,
        "reference": "AG-7",
        "account": "",
        "funding": "purchased",
        "start_on": make.today().isoformat(),
        "end_on": (make.today() + timedelta(days=90)).isoformat(),
        "seconds": "1000.5",
        "reason": "Agreement 7",
    } | given


def test_an_allocation_is_opened_by_one_officer_and_its_hours_given_by_another(client: Client) -> None:
    first = signed_in(client, R.ALLOCATION_OFFICER)
    client.post(reverse("admin:allocations_allocation_add"), opening() | CONFIRMED)
    opened = Allocation.objects.get()
    assert (opened.reference, opened.account, opened.granted_seconds) == ("AG-7", "harbour", 0)
    request = ChangeRequest.objects.get()
    assert (request.asked_by, request.asked_seconds, request.state) == (first, 1000 * 3600 + 1800, "asked")

    own = client.post(act_url(request, "approve"), {"seconds": "1000.5"}).content.decode()
    assert "You asked for this yourself" in own
    assert LedgerEntry.objects.count() == 0

    second = signed_in(client, R.ALLOCATION_OFFICER)
    before = client.get(act_url(request, "approve")).content.decode()
    cells = ['<td role="cell">0.00</td>', '<td role="cell">1,000.50</td>']
    assert [cell for cell in cells if cell in before] == cells
    client.post(act_url(request, "approve"), {"seconds": "1000.5", "answer": "Agreed"})
    entry = LedgerEntry.objects.get()
    assert (entry.kind, entry.seconds, entry.asked_by, entry.approved_by) == ("grant", 3_601_800, first, second)
    assert Allocation.objects.get().granted_seconds == 3_601_800


def test_a_request_approved_in_part_gives_that_part(client: Client) -> None:
    request = asked(hours=10)
    signed_in(client, R.ALLOCATION_OFFICER)
    refused = client.post(act_url(request, "approve"), {"seconds": "11"}).content.decode()
    assert "not more than were asked for" in refused
    client.post(act_url(request, "approve"), {"seconds": "4", "answer": "For now"} | CONFIRMED)
    request.refresh_from_db()
    assert (request.state, request.approved_seconds) == ("part_approved", 4 * make.HOUR)
    assert Allocation.objects.get().granted_seconds == 104 * make.HOUR


def test_a_request_is_declined_with_an_answer_and_withdrawn_only_by_who_asked(client: Client) -> None:
    declined, withdrawn = asked(), asked(by=(asking := make.staff(R.ALLOCATION_OFFICER)))
    signed_in(client, R.ALLOCATION_OFFICER)
    client.post(act_url(declined, "decline"), {"answer": "The pool is full."})
    assert "Only the person who asked" in client.post(act_url(withdrawn, "withdraw")).content.decode()
    client.force_login(asking)
    client.post(act_url(withdrawn, "withdraw"))
    assert [(row.state, row.answer) for row in ChangeRequest.objects.order_by("id")] == [
        ("declined", "The pool is full."),
        ("withdrawn", ""),
    ]
    assert [event.act for event in Event.objects.filter(object_type="allocations.changerequest").order_by("id")] == [
        "ask_for_hours",
        "ask_for_hours",
        "decline_request",
        "withdraw_request",
    ]


def test_nobody_approves_hours_for_a_project_that_they_belong_to(client: Client) -> None:
    request = asked()
    officer = signed_in(client, R.ALLOCATION_OFFICER)
    make.member(project=request.project, user=officer)
    page = client.post(act_url(request, "approve"), {"seconds": "10"}).content.decode()
    assert "You belong to this project" in page
    assert Allocation.objects.get().granted_seconds == 100 * make.HOUR


def test_an_overlapping_account_is_refused_in_a_sentence_and_what_was_typed_stays(client: Client) -> None:
    signed_in(client, R.ALLOCATION_OFFICER)
    given = opening()
    client.post(reverse("admin:allocations_allocation_add"), given | CONFIRMED)
    page = client.post(reverse("admin:allocations_allocation_add"), given | {"reference": "AG-8"}).content.decode()
    assert ("AG-7 already covers" in page, 'value="AG-8"' in page) == (True, True)
    assert [row.reference for row in Allocation.objects.all()] == ["AG-7"]


def test_officers_of_other_roles_may_look_and_not_ask_or_answer(client: Client) -> None:
    request = asked()
    for role in (R.TENANT_OFFICER, R.FINANCE_OFFICER, R.MANAGEMENT, R.AUDITOR, R.SUBSIDY_SECRETARY):
        signed_in(client, role)
        assert client.get(act_url(request, "change")).status_code == 200
        assert [client.post(act_url(request, act)).status_code for act in ("approve", "decline", "withdraw")] == [
            403
        ] * 3
        assert client.get(reverse("admin:allocations_allocation_add")).status_code == 403
    assert ChangeRequest.objects.get().state == "asked"


def test_a_run_is_found_by_its_number_and_its_account(client: Client) -> None:
    signed_in(client, R.ALLOCATION_OFFICER)
    for number in (4711, 4712):
        job_run(number)
    url = reverse("admin:allocations_jobrun_changelist")
    found = [
        [row.job_id for row in client.get(url, {"q": term}).context["cl"].result_list]
        for term in ("4711", "account-4712", "471", "4711_3")
    ]
    assert found == [["4711"], ["4712"], [], []]


def test_a_long_list_is_counted_only_up_to_a_limit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in(client, R.ALLOCATION_OFFICER)
    for number in range(3):
        job_run(number)
    monkeypatch.setattr("centre.admin.paging.COUNTED_ROWS", 2)
    monkeypatch.setattr(admin.site.get_model_admin(JobRun), "list_per_page", 1)
    page = client.get(reverse("admin:allocations_jobrun_changelist"))
    assert page.context["cl"].result_count == 2


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_pages_of_a_list_hold_every_row_once_in_its_order(
    client: Client, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    signed_in(client, R.ALLOCATION_OFFICER)
    rows = [job_run(number).pk for number in range(3)]
    monkeypatch.setattr(admin.site.get_model_admin(JobRun), "list_per_page", size)
    found: list[int] = []
    for number in range(1, -(-3 // size) + 1):
        answer = client.get(reverse("admin:allocations_jobrun_changelist"), {"p": number})
        assert answer.context["cl"].result_count == 3
        found += [row.pk for row in answer.context["cl"].result_list]
    assert found == rows[::-1]


def test_an_entry_shows_the_first_runs_behind_it_and_no_more(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    signed_in(client, R.AUDITOR)
    entry = charge("AG-1")
    for number in (31, 32, 33):
        RunCharge.objects.create(
            run=job_run(number, account=f"runs-{number}"),
            allocation=entry.allocation,
            day=make.today(),
            seconds=7200,
            entry=entry,
            recorded_at=timezone.now(),
        )
    monkeypatch.setattr("allocations.admin.entries.RunsOfEntry.shown", 2)
    page = client.get(act_url(entry, "change")).content.decode()
    assert [name for name in ("runs-31", "runs-32", "runs-33") if name in page] == ["runs-31", "runs-32"]


def test_a_hostile_job_name_is_shown_as_text(client: Client) -> None:
    signed_in(client, R.AUDITOR)
    run = job_run(1, job_name="<script>alert(1)</script>")
    page = client.get(act_url(run, "change")).content.decode()
    assert ("<script>alert(1)" in page, "&lt;script&gt;alert(1)" in page) == (False, True)


def test_a_project_page_shows_its_allocations_with_what_is_left(client: Client) -> None:
    signed_in(client, R.TENANT_OFFICER)
    allocation = make.allocation(reference="AG-9", hours=250)
    make.allocation(reference="AG-OTHER")
    for row in (allocation.project, allocation.project.tenant):
        page = client.get(reverse(f"admin:centre_{row._meta.model_name}_change", args=[row.pk])).content.decode()
        assert ("AG-9" in page, '<td class="num">250</td>' in page, "AG-OTHER" in page) == (True, True, False)
    signed_in(client, R.ADMINISTRATOR)  # machines and people, not GPU time
    page = client.get(reverse("admin:centre_project_change", args=[allocation.project.pk])).content.decode()
    assert "AG-9" not in page


def test_the_state_of_a_run_is_told_in_words_and_on_its_page_as_slurm_has_it_too(client: Client) -> None:
    signed_in(client, R.AUDITOR)
    row = job_run(7)
    JobRun.objects.filter(pk=row.pk).update(state="CANCELLED by 1000")
    listed = client.get(reverse("admin:allocations_jobrun_changelist")).content.decode()
    page = client.get(reverse("admin:allocations_jobrun_change", args=[row.pk])).content.decode()
    assert ("Cancelled</span>" in listed, "by 1000" in listed) == (True, False)
    assert ("Cancelled</span>" in page, "CANCELLED by 1000" in page) == (True, True)
