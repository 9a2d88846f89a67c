"""What people see of taking back: the dry run, the command, a rule's effect, exemptions, and the pages."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from functools import partial
from html import unescape
from io import StringIO

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from allocations import exemptions
from allocations.models import (
    Allocation,
    TakeBackExemption,
    TakeBackWarning,
)
from allocations.posting import PeriodClosed
from allocations.refusals import BenefitsFromIt, NoReason
from allocations.take_back_preview import preview
from allocations.taking_back import take_back_unused
from centre.models import Event, GpuPool, User
from centre.permissions import ProjectRole, StaffRole
from tests import make
from tests.allocations.unused_time import (
    DUE,
    HALF,
    HOUR,
    LATER,
    START,
    WARNED_ON,
    at,
    books_until,
    given_hours,
    night,
    row_counts,
    rule_of,
    told,
)

LIST_QUERIES = {"takebackwarning": 7, "takebackexemption": 6}
RULE_QUERIES = 11

pytestmark = [pytest.mark.django_db, pytest.mark.page]


@pytest.fixture(autouse=True)
def much_later() -> Iterator[None]:
    with time_machine.travel(LATER, tick=False):
        yield


@pytest.fixture
def pool() -> GpuPool:
    return make.pool(from_on=date(2025, 1, 1))


# ---------------------------------------------------------------------------------------------- dry run


def test_dry_run_finds_the_same_and_writes_nothing(pool: GpuPool) -> None:
    rule_of(pool)
    due, fresh, waiting = (
        given_hours(pool),
        given_hours(pool, end_on=date(2026, 3, 5) + timedelta(days=64)),
        given_hours(make.pool(from_on=date(2025, 1, 1))),
    )
    rule_of(waiting.pool)
    night(WARNED_ON, books=pool)
    books_until(pool, at(DUE, 0))
    before = row_counts()
    dry = take_back_unused(at=at(DUE), dry_run=True)
    assert dict(told(dry)) == {due.reference: "taken", fresh.reference: "warned", waiting.reference: "waiting"}
    assert row_counts() == before
    assert take_back_unused(at=at(DUE)) == dry


def test_command_prints_who_loses_what(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    night(WARNED_ON, books=pool)
    books_until(pool, at(DUE, 0), (allocation, date(2026, 3, 1), 100))
    waiting = given_hours(make.pool(cluster=make.cluster("stalled"), from_on=date(2025, 1, 1)))
    rule_of(waiting.pool)

    def said(*arguments: str) -> str:
        out = StringIO()
        with time_machine.travel(at(DUE), tick=False):
            call_command("take_back_unused", *arguments, stdout=out)
        return " ".join(out.getvalue().split())

    line = f"{allocation.reference} taken back 2026-03-05 100.00 640.00 540.00 2026-03-06"
    end = "Allocations warned: 0; 540.00 GPU-hours taken back from 1; waiting for usage: 1."
    dry = said("--dry-run")
    assert line in dry
    assert dry.endswith(f"Dry run, nothing is changed. {end}")
    real = said()
    assert line in real
    assert f"{waiting.reference} waits for usage of stalled 2026-02-19" in real
    assert real.endswith(f"2026-02-19 {end}")
    again = said()
    assert allocation.reference not in again
    assert again.endswith("Allocations warned: 0; 0.00 GPU-hours taken back from 0; waiting for usage: 1.")


def test_preview_tells_the_effect_of_a_rule_before_it_is_approved(pool: GpuPool) -> None:
    rule = rule_of(pool, approved=False, from_on=date(2026, 2, 25))
    early, late, busy = given_hours(pool), given_hours(pool, end_on=date(2026, 6, 30)), given_hours(pool)
    spared = given_hours(pool, hours=10)
    exemptions.exempt(allocation=spared, reason="the data come late", by=make.person(), at=at(START))
    books_until(pool, at(date(2026, 2, 25), 1), (busy, HALF, 400))
    before = row_counts()
    rows = preview(rule, at(date(2026, 2, 25)))
    assert [(row.allocation, row.takes, row.remark) for row in rows] == [
        (early, 550 * HOUR, "Left alone: it was to be checked before the rule counts"),
        (late, 1_000 * HOUR - 1_000 * HOUR * 126 // 181, "Checked when 1 Apr 2026 is over"),
        (spared, 55 * HOUR // 10, "Exempted"),
    ]
    assert (rows[0].until, rows[0].used, rows[0].planned) == (date(2026, 2, 24), 0, 550 * HOUR)
    assert row_counts() == before


# ---------------------------------------------------------------------------------------------- exemptions


def test_exemption_needs_a_reason_an_outsider_and_an_open_allocation(pool: GpuPool) -> None:
    allocation, by = given_hours(pool), make.person()
    exempt = partial(exemptions.exempt, allocation=allocation, at=at(START))
    with pytest.raises(NoReason):
        exempt(reason=" ", by=by)
    for insider in (
        make.member(project=allocation.project),
        make.representative(tenant=allocation.project.tenant),
    ):
        with pytest.raises(BenefitsFromIt):
            exempt(reason="because", by=insider)
    first = exempt(reason="because", by=by)
    assert exempt(reason="because", by=by) == first
    with pytest.raises(exemptions.AlreadyExempted):
        exempt(reason="another reason", by=by)
    assert TakeBackExemption.objects.count() == 1
    with pytest.raises(BenefitsFromIt):
        exemptions.end_exemption(exemption=first, by=make.member(project=allocation.project), at=at(START))
    exemptions.end_exemption(exemption=first, by=by, at=at(START, 3))
    with pytest.raises(exemptions.AlreadyEnded):
        exemptions.end_exemption(exemption=first, by=by, at=at(START, 4))
    Allocation.objects.filter(pk=allocation.pk).update(state="closed")
    with pytest.raises(PeriodClosed):
        exempt(reason="because", by=by)
    acts = Event.objects.filter(object_type="allocations.allocation", object_id=str(allocation.pk)).order_by("pk")
    assert list(acts.values_list("act", "actor")) == [
        ("open_allocation", acts[0].actor_id),
        ("exempt_from_take_back", by.pk),
        ("end_exemption", by.pk),
    ]


# ---------------------------------------------------------------------------------------------- pages


def signed_in(client: Client, role: StaffRole) -> User:
    with time_machine.travel(at(START), tick=False):  # roles count from a day on
        user = make.staff(role)
    client.force_login(user)
    return user


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def warned(pool: GpuPool) -> TakeBackWarning:
    rule_of(pool)
    given_hours(pool)
    night(WARNED_ON, books=pool)
    return TakeBackWarning.objects.get()


def test_officer_exempts_from_a_warning_and_ends_it_again(client: Client, pool: GpuPool) -> None:
    warning = warned(pool)
    officer = signed_in(client, StaffRole.ALLOCATION_OFFICER)
    address = reverse("admin:allocations_takebackwarning_exempt", args=[warning.pk])
    assert "Would be taken then (GPU-hours) 640" in page(client, address)
    assert client.post(address, {"reason": "the data come late"}).status_code == 302
    exemption = TakeBackExemption.objects.get()
    assert (exemption.allocation, exemption.reason, exemption.by) == (warning.allocation, "the data come late", officer)
    change = reverse("admin:allocations_takebackwarning_change", args=[warning.pk])
    assert "Exempt this allocation" not in page(client, change)
    client.post(reverse("admin:allocations_takebackexemption_end", args=[exemption.pk]))
    exemption.refresh_from_db()
    assert exemption.ended_by == officer
    assert "Exempt this allocation" in page(client, change)


def test_officer_exempts_an_allocation_before_any_warning(client: Client, pool: GpuPool) -> None:
    allocation = given_hours(pool)
    officer = signed_in(client, StaffRole.ALLOCATION_OFFICER)
    address = reverse("admin:allocations_takebackexemption_add")
    assert "Search and choose" in client.get(address).content.decode()
    client.post(address, {"allocation": allocation.pk, "reason": "the data come late"})
    exemption = TakeBackExemption.objects.get()
    assert (exemption.allocation, exemption.by) == (allocation, officer)
    signed_in(client, StaffRole.AUDITOR)
    assert client.get(address).status_code == 403


@pytest.mark.parametrize("role", [StaffRole.AUDITOR, StaffRole.MANAGEMENT])
def test_who_only_looks_cannot_exempt(client: Client, pool: GpuPool, role: StaffRole) -> None:
    warning = warned(pool)
    signed_in(client, role)
    address = reverse("admin:allocations_takebackwarning_exempt", args=[warning.pk])
    assert client.post(address, {"reason": "because"}).status_code == 403
    assert TakeBackExemption.objects.count() == 0


def test_member_of_the_project_is_told_why_they_cannot_exempt(client: Client, pool: GpuPool) -> None:
    warning = warned(pool)
    officer = signed_in(client, StaffRole.ALLOCATION_OFFICER)
    make.member(project=warning.allocation.project, user=officer)
    address = reverse("admin:allocations_takebackwarning_exempt", args=[warning.pk])
    response = client.post(address, {"reason": "because"})
    assert "You belong to this project." in response.content.decode()
    assert TakeBackExemption.objects.count() == 0


@pytest.mark.parametrize("rows", [1, 3])
def test_lists_take_the_same_queries_for_any_number_of_rows(
    client: Client, pool: GpuPool, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    rule = rule_of(pool)
    for _ in range(rows):
        given_hours(pool)
    night(WARNED_ON, books=pool)
    for allocation in Allocation.objects.all():
        exemptions.exempt(allocation=allocation, reason="late", by=make.person(), at=at(WARNED_ON, 5))
    signed_in(client, StaffRole.ALLOCATION_OFFICER)
    for model, queries in LIST_QUERIES.items():
        with django_assert_num_queries(queries):
            text = page(client, reverse(f"admin:allocations_{model}_changelist"))
        assert all(allocation.reference in text for allocation in Allocation.objects.all())
    address = reverse("admin:allocations_takebackrule_change", args=[rule.pk])
    with time_machine.travel(at(WARNED_ON, 6), tick=False):
        page(client, address)  # what the first page of a process reads once
        with django_assert_num_queries(RULE_QUERIES):
            text = page(client, address)
    assert text.count("Exempted") == rows


def test_rule_page_shows_who_would_lose_what_today(client: Client, pool: GpuPool) -> None:
    rule = rule_of(pool, approved=False)
    allocation = given_hours(pool)
    books_until(pool, at(WARNED_ON, 0), (allocation, HALF, 30))
    signed_in(client, StaffRole.AUDITOR)
    with time_machine.travel(at(WARNED_ON, 6), tick=False):
        text = page(client, reverse("admin:allocations_takebackrule_change", args=[rule.pk]))
    row = (
        f"{allocation.reference} {allocation.project.code} 19 Feb 2026 30 500 970 470 Warned once the rule is approved"
    )
    assert "Who would lose what today" in text
    assert row in text


def test_team_is_told_what_will_be_taken_and_how_to_avert_it(client: Client, pool: GpuPool) -> None:
    warning = warned(pool)
    lead = make.member(project=warning.allocation.project, role=ProjectRole.LEAD)
    client.force_login(lead)
    address = f"/projects/{warning.allocation.project.code}/"
    told_so = (
        "640 unused GPU-hours on H800 will be taken back on 6 Mar 2026 unless 256 more are used before. "
        "Use them in time, or tell the centre why you will need them later."
    )
    with time_machine.travel(at(WARNED_ON, 9), tick=False):
        assert told_so in page(client, address)
        exemptions.exempt(allocation=warning.allocation, reason="late", by=make.person(), at=at(WARNED_ON, 9))
        assert "taken back" not in page(client, address)
