"""The desk: what waits for whom, there and in the admin index."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from allocations import requests, rules
from allocations.models import (
    Allocation,
    ChangeRequest,
    PeriodEndRule,
    QuarantinedRecord,
    TakeBackRule,
    UsageImport,
)
from centre import appointments, registry
from centre.models import Cluster, User
from centre.permissions import StaffRole
from centre.registry import DeskGroup, DeskLine, DeskPart, DeskParts
from subsidies import awards
from subsidies.awards import Asked
from subsidies.models import Decision
from tests import make
from tests.allocations.watched import some_of_each
from tests.subsidies import cases

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole
AT = timezone.now()
ABOVE_THRESHOLD = 1_000_000 * make.HOUR
WAITING, ASKED = DeskPart.WAITING, DeskPart.ASKED
DESK_QUERIES = 21
INDEX_QUERIES = 17


@pytest.fixture
def asking() -> User:
    return make.staff(R.ALLOCATION_OFFICER, name="Ada Asking")


@pytest.fixture
def answering() -> User:
    return make.staff(R.ALLOCATION_OFFICER)


def proposed(by: User, allocation: Allocation | None = None, *, key: str = "k", **said: Any) -> ChangeRequest:
    return requests.propose(
        kind=said.pop("kind", ChangeRequest.Kind.TOP_UP),
        allocation=allocation or make.allocation(),
        seconds=said.pop("seconds", ABOVE_THRESHOLD),
        reason="because",
        by=by,
        at=AT - timedelta(days=3),
        key=key,
        **said,
    )


def titles(user: User, part: DeskPart = WAITING) -> list[str]:
    """What stands in a part of somebody's desk, the person loaded anew as for a request."""
    sections = registry.desk_of(User.objects.get(pk=user.pk), AT)
    return [
        str(line.title)
        for section in sections
        if section.part == part
        for group in section.groups
        for line in group.lines
    ]


def everything_waits(asking: User) -> None:
    """One of each matter that can wait, asked for by people who are in no other test."""
    proposed(asking)
    rules.ask_rule(rule=period_end_rule(), by=asking, at=AT)
    rules.ask_rule(rule=take_back_rule(), by=asking, at=AT)
    usage_import(state=UsageImport.State.FAILED)
    quarantined(usage_import(), rows=2)
    asked_role()
    awards.record_refusal(application=cases.application(), reason="-", by=cases.secretary(), at=AT)


def period_end_rule() -> PeriodEndRule:
    return PeriodEndRule(pool=make.pool("ended"), from_on=date(2040, 1, 1), carry_over="none", reason="-")


def take_back_rule() -> TakeBackRule:
    return TakeBackRule(pool=make.pool("taken"), from_on=date(2040, 1, 1), funding="internal", reason="-")


def usage_import(*, state: str = UsageImport.State.DONE, cluster: Cluster | None = None) -> UsageImport:
    return UsageImport.objects.create(
        cluster=cluster or make.cluster(), file_name="x.txt", time_zone="UTC", received_at=AT, state=state, as_of=AT
    )


def quarantined(usage_import: UsageImport, *, rows: int) -> None:
    for line in range(rows):
        QuarantinedRecord.objects.create(usage_import=usage_import, line=line, text="?", reason="-")


def asked_role(*, user: User | None = None, by: User | None = None) -> Any:
    return appointments.ask(
        user=user or make.person(name="Nora New"),
        role=R.AUDITOR,
        from_on=make.today(),
        reason="-",
        by=by or make.staff(R.ADMINISTRATOR),
        at=AT,
    )


def test_each_role_sees_what_it_may_answer(asking: User) -> None:
    everything_waits(asking)
    case = Decision.objects.get().application
    seen = {role: titles(make.staff(role)) for role in StaffRole}
    expected: dict[StaffRole, list[str]] = {role: [] for role in StaffRole}
    expected[R.ALLOCATION_OFFICER] = [
        "Give 1,000,000 more GPU-hours",
        "When a period on ended ends: Nothing is carried over",
        "Take unused GPU-hours of taken back (Internal)",
        "1 import failed",
        "2 records could not be read",
    ]
    expected[R.ADMINISTRATOR] = ["Auditor: Nora New"]
    expected[R.COMMITTEE_CHAIR] = [f"Do not approve {case.number}"]
    assert seen == expected


def test_a_line_says_for_whom_who_asked_and_leads_to_the_page_of_the_act(asking: User, answering: User) -> None:
    project = make.project("maps", tenant=make.tenant(name_en="Harbour University"))
    request = proposed(asking, make.allocation(project=project))
    [section] = registry.waits_for(answering, AT)
    [group] = section.groups
    [line] = group.lines
    assert request.allocation is not None
    assert (line.note, line.url, line.since) == (
        f"For {request.allocation.reference}: maps of Harbour University. Asked for by Ada Asking.",
        reverse("admin:allocations_changerequest_approve", args=[request.pk]),
        AT - timedelta(days=3),
    )


def test_what_one_asked_for_is_told_apart_and_leads_to_where_it_is_withdrawn(asking: User) -> None:
    request = proposed(asking)
    assert (titles(asking), titles(asking, ASKED)) == ([], ["Give 1,000,000 more GPU-hours"])
    [section] = registry.desk_of(asking, AT, parts=frozenset({ASKED}))
    page = reverse("admin:allocations_changerequest_change", args=[request.pk])
    assert [line.url for group in section.groups for line in group.lines] == [page]
    client = Client()
    client.force_login(asking)
    assert "../withdraw/" in client.get(page).content.decode()


def test_nobody_is_shown_hours_of_their_own_project_to_approve(asking: User) -> None:
    own = make.allocation()
    other = make.allocation(pool=own.pool, seconds=ABOVE_THRESHOLD)
    member = make.member(project=own.project, user=make.staff(R.ALLOCATION_OFFICER))
    representative = make.representative(tenant=own.project.tenant, user=make.staff(R.ALLOCATION_OFFICER))
    stranger = make.staff(R.ALLOCATION_OFFICER)
    proposed(asking, own, key="up")
    proposed(asking, other, key="move", kind=ChangeRequest.Kind.TRANSFER, to_allocation=own)
    both = ["Give 1,000,000 more GPU-hours", f"Move 1,000,000 GPU-hours to {own.reference}"]
    assert (titles(member), titles(representative), titles(stranger)) == ([], [], both)


def test_nobody_is_shown_their_own_appointment_to_approve() -> None:
    asker, subject, third = (make.staff(R.ADMINISTRATOR) for _ in range(3))
    asked_role(user=subject, by=asker)
    assert [len(titles(user)) for user in (asker, subject, third)] == [0, 0, 1]
    assert [len(titles(user, ASKED)) for user in (asker, subject, third)] == [1, 0, 0]


def test_nobody_is_shown_a_decision_that_they_cannot_confirm() -> None:
    recorder, receiver = make.staff(R.SUBSIDY_SECRETARY), make.staff(R.SUBSIDY_SECRETARY)
    application = cases.application(by=receiver)
    awards.record_refusal(application=application, reason="-", by=recorder, at=AT)
    for both_roles in (recorder, receiver):
        make.staff(R.COMMITTEE_CHAIR, user=both_roles)
    assert application.lead is not None
    lead = make.staff(R.COMMITTEE_CHAIR, user=application.lead)
    signatory = make.representative(tenant=application.tenant, user=make.staff(R.COMMITTEE_CHAIR))
    shown = [len(titles(user)) for user in (recorder, receiver, lead, signatory, cases.chair())]
    assert shown == [0, 0, 0, 0, 1]
    assert titles(recorder, ASKED) == [f"Do not approve {application.number}"]


def test_what_is_answered_leaves_both_desks(asking: User, answering: User) -> None:
    request = proposed(asking)
    rule = rules.ask_rule(rule=period_end_rule(), by=asking, at=AT)
    assert [len(titles(answering)), len(titles(asking, ASKED))] == [2, 2]
    requests.approve(request=request, by=answering, at=AT)
    rules.refuse_rule(rule=rule, by=answering, at=AT, answer="no")
    assert [titles(answering), titles(asking, ASKED)] == [[], []]
    appointment, administrator = asked_role(), make.staff(R.ADMINISTRATOR)
    assert titles(administrator) == ["Auditor: Nora New"]
    appointments.approve(appointment=appointment, by=administrator, at=AT)
    assert titles(administrator) == []
    chair = cases.chair()
    decision = awards.record_refusal(application=cases.application(), reason="-", by=cases.secretary(), at=AT)
    assert len(titles(chair)) == 1
    awards.confirm_decision(decision=decision, by=chair, at=AT)
    assert titles(chair) == []


def test_a_failed_import_waits_until_a_later_one_of_its_cluster_is_good(answering: User) -> None:
    cluster = make.cluster()
    usage_import(cluster=cluster)
    usage_import(state=UsageImport.State.FAILED, cluster=cluster)
    usage_import()
    assert titles(answering) == ["1 import failed"]
    usage_import(cluster=cluster)
    assert titles(answering) == []


def test_a_long_group_is_cut_counted_and_leads_to_its_list(
    client: Client, asking: User, answering: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocation = make.allocation()
    for number in range(registry.DESK_SHOWS + 3):
        proposed(asking, allocation, key=str(number))
    client.force_login(answering)
    listed = reverse("admin:allocations_changerequest_changelist") + "?waits=me"
    for url in (reverse("desk"), reverse("admin:index")):
        page = client.get(url).content.decode()
        assert page.count("Give 1,000,000 more GPU-hours") == registry.DESK_SHOWS
        assert f'<a href="{listed}">and 3 more<' in page
        assert '<span class="desk-count">8</span>' in page
    assert "8 requests" in client.get(listed).content.decode()


def test_the_desk_is_for_staff_and_says_when_nothing_waits(client: Client, answering: User) -> None:
    client.force_login(make.person())
    assert client.get(reverse("desk")).status_code == 404
    for role in StaffRole:
        client.force_login(make.staff(role))
        page = client.get(reverse("desk")).content.decode()
        assert ("Nothing waits for you" in page, 'aria-current="true">Desk<' in page) == (True, True), role


def test_who_asked_only_still_reads_that_nothing_waits_for_them(client: Client, asking: User) -> None:
    proposed(asking)
    client.force_login(asking)
    page = client.get(reverse("desk")).content.decode()
    assert "Nothing waits for you" in page
    assert "Asked for by you, waiting for somebody else" in page
    assert "Give 1,000,000 more" not in client.get(reverse("admin:index")).content.decode()


def test_names_from_outside_are_shown_as_text(client: Client, answering: User) -> None:
    hostile = make.staff(R.ALLOCATION_OFFICER, name="<script>alert(1)</script>")
    proposed(hostile)
    client.force_login(answering)
    for url in (reverse("desk"), reverse("admin:index")):
        page = client.get(url).content.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page


def test_every_address_on_the_desk_opens(client: Client, asking: User) -> None:
    everything_waits(asking)
    opened = 0
    for user in (asking, *(make.staff(role) for role in StaffRole)):
        client.force_login(user)
        for section in registry.desk_of(user, AT):
            for group in section.groups:
                for url in (group.url, *(line.url for line in group.lines)):
                    assert client.get(url).status_code == 200, url
                    opened += 1
    assert opened > 15


@pytest.mark.parametrize("rows", [1, 3])
def test_desk_and_index_cost_the_same_however_much_waits(
    client: Client, asking: User, answering: User, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(rows):
        proposed(asking, key=str(number))
        proposed(answering, key=f"own {number}")
        rules.ask_rule(
            rule=PeriodEndRule(pool=make.pool(), from_on=date(2040, 1, 1), carry_over="none", reason="-"),
            by=asking,
            at=AT,
        )
        usage_import(state=UsageImport.State.FAILED)
    some_of_each(rows)
    quarantined(usage_import(), rows=rows)
    for _ in range(rows):
        condition = Asked(text="-", due_on=date(2020, 1, 1))
        cases.award(decision=cases.decision(conditions=[condition]))
        cases.application()
    client.force_login(answering)
    client.get(reverse("admin:index"))
    with django_assert_num_queries(DESK_QUERIES):
        client.get(reverse("desk"))
    with django_assert_num_queries(INDEX_QUERIES):
        client.get(reverse("admin:index"))


def test_staff_of_whom_an_app_says_that_something_waits_land_at_the_desk(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    auditor, other = make.staff(R.AUDITOR), make.staff(R.AUDITOR)

    def lines(user: User, at: datetime, parts: DeskParts) -> list[DeskGroup]:
        part = WAITING if user == auditor else ASKED
        line = DeskLine(title="A case to read", note="", url="/")
        return [DeskGroup(part=part, title="Cases", lines=(line,), count=1, url="/")]

    def landing(user: User) -> str:
        client.force_login(user)
        return str(client.get(reverse("after_sign_in"))["Location"])

    index, desk = reverse("admin:index"), reverse("desk")
    assert (landing(auditor), landing(other), landing(make.staff(R.FINANCE_OFFICER))) == (index, index, desk)
    monkeypatch.setattr(registry, "desk_lines", [lines])
    assert (landing(auditor), landing(other)) == (desk, index)
    client.force_login(auditor)
    assert "A case to read" in client.get(desk).content.decode()
