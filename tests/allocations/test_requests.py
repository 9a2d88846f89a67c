"""Acts of officers: carried out at once up to the centre's threshold, above it by a second officer, and each once."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from allocations import movements, requests
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from allocations.posting import KeyReused, NotEnough, PeriodClosed
from allocations.verifying import differences
from centre.models import Event, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = pytest.mark.django_db

HOUR = make.HOUR
AT = timezone.now()
Kind = ChangeRequest.Kind
State = ChangeRequest.State


@pytest.fixture
def asking() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


@pytest.fixture
def answering() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


def proposed(
    kind: ChangeRequest.Kind, allocation: Allocation, by: User, *, key: str = "k", **said: Any
) -> ChangeRequest:
    return requests.propose(kind=kind, allocation=allocation, by=by, at=AT, key=key, **{"reason": "because", **said})


def two_of_one_pool() -> tuple[Allocation, Allocation]:
    pool = make.pool()
    return make.allocation(pool=pool, hours=100), make.allocation(pool=pool, hours=100)


def balances(*allocations: Allocation) -> list[tuple[int, int]]:
    """What is left and what is held of each, in GPU-hours."""
    rows = [Allocation.objects.get(pk=allocation.pk) for allocation in allocations]
    return [(row.available_seconds // HOUR, row.held_seconds // HOUR) for row in rows]


def test_ten_requests_of_a_project_wait_at_most_and_another_says_what_to_do() -> None:
    project, team = make.project(), make.person()
    said: dict[str, Any] = {"kind": Kind.OTHER, "project": project, "reason": "-", "by": team, "at": AT}
    waiting = [requests.ask(key=f"k{number}", **said) for number in range(10)]
    with pytest.raises(requests.TooManyWaiting) as refused:
        requests.ask(key="one more", **said)
    assert str(refused.value).startswith("10 requests of this project wait for the centre’s answer already. Withdraw")
    assert requests.ask(key="k3", **said) == waiting[3]  # a form that is sent again is recognised all the same
    assert requests.ask(**(said | {"project": make.project()})).state == State.ASKED
    requests.withdraw(request=waiting[0], by=team, at=AT)
    assert requests.ask(key="one more", **said).state == State.ASKED
    assert ChangeRequest.objects.waiting().filter(project=project).count() == 10


def test_what_officers_propose_is_no_request_of_the_team(asking: User) -> None:
    allocation = make.allocation(hours=100)
    for number in range(11):
        proposed(Kind.TAKE_BACK, allocation, asking, key=f"k{number}", seconds=HOUR)
    assert requests.ask(allocation=allocation, seconds=HOUR, reason="-", by=make.person(), at=AT).state == State.ASKED


def test_a_transfer_waits_with_its_hours_held_and_moves_when_a_second_officer_approves(
    asking: User, answering: User
) -> None:
    source, target = two_of_one_pool()
    request = proposed(Kind.TRANSFER, source, asking, seconds=30 * HOUR, to_allocation=target)
    assert (request.state, balances(source, target)) == (State.ASKED, [(70, 30), (100, 0)])
    requests.approve(request=request, by=answering, at=AT)
    assert (request.state, balances(source, target)) == (State.APPROVED, [(70, 0), (130, 0)])
    out = LedgerEntry.objects.get(kind="transfer", allocation=source)
    assert (out.seconds, out.asked_by, out.approved_by) == (-30 * HOUR, asking, answering)
    assert (out.source_kind, out.source_reference, out.reason) == ("request", str(request.pk), "because")
    assert list(differences()) == []


@pytest.mark.parametrize("end", ["decline", "withdraw", "lapse"])
def test_a_transfer_that_is_not_approved_lets_its_hours_go_once(asking: User, answering: User, end: str) -> None:
    source, target = two_of_one_pool()
    request = proposed(Kind.TRANSFER, source, asking, seconds=30 * HOUR, to_allocation=target)

    def ended() -> ChangeRequest:
        row = ChangeRequest.objects.get(pk=request.pk)
        if end == "decline":
            return requests.decline(request=row, by=answering, at=AT, answer="no")
        if end == "withdraw":
            return requests.withdraw(request=row, by=asking, at=AT)
        return requests.lapse(request=row, at=AT, answer="late")

    ended()
    assert balances(source, target) == [(100, 0), (100, 0)]
    with pytest.raises(requests.AlreadyAnswered):
        ended()
    with pytest.raises(requests.AlreadyAnswered):
        requests.approve(request=request, by=answering, at=AT)
    with pytest.raises(movements.AlreadyResolved):
        movements.release(held=LedgerEntry.objects.get(kind="hold"), by=asking, at=AT, reason="again")
    assert balances(source, target) == [(100, 0), (100, 0)]
    assert list(differences()) == []


def test_a_transfer_lapses_on_the_day_that_the_centre_has_set(asking: User) -> None:
    make.centre(requests_lapse_after_days=10)
    source, target = two_of_one_pool()
    request = proposed(Kind.TRANSFER, source, asking, seconds=30 * HOUR, to_allocation=target)
    assert requests.lapse_overdue(at=AT + timedelta(days=9)) == []
    assert requests.lapse_overdue(at=AT + timedelta(days=10)) == [request]
    assert requests.lapse_overdue(at=AT + timedelta(days=11)) == []
    request.refresh_from_db()
    assert (request.state, balances(source)) == (State.LAPSED, [(100, 0)])


def test_part_of_a_transfer_is_approved_and_the_rest_stays(asking: User, answering: User) -> None:
    source, target = two_of_one_pool()
    request = proposed(Kind.TRANSFER, source, asking, seconds=30 * HOUR, to_allocation=target)
    requests.approve(request=request, by=answering, at=AT, seconds=10 * HOUR, answer="for now")
    assert (request.state, balances(source, target)) == (State.PART_APPROVED, [(90, 0), (110, 0)])


def test_up_to_the_threshold_an_officer_acts_alone_and_above_it_not(asking: User) -> None:
    make.centre(two_person_above_seconds=5 * HOUR)
    source, target = two_of_one_pool()
    small = proposed(Kind.TRANSFER, source, asking, key="a", seconds=5 * HOUR, to_allocation=target)
    large = proposed(Kind.TRANSFER, source, asking, key="b", seconds=5 * HOUR + 1, to_allocation=target)
    assert (small.state, large.state) == (State.CARRIED_OUT, State.ASKED)
    assert LedgerEntry.objects.filter(kind="transfer", approved_by=None).count() == 2


def test_within_the_threshold_nobody_gives_to_their_own_project(asking: User) -> None:
    make.centre(two_person_above_seconds=5 * HOUR)
    source, target = two_of_one_pool()
    make.member(project=target.project, role=ProjectRole.VIEWER, user=asking)
    request = proposed(Kind.TRANSFER, source, asking, seconds=HOUR, to_allocation=target)
    assert request.state == State.ASKED


def test_who_belongs_to_the_receiving_project_does_not_approve_a_transfer(asking: User, answering: User) -> None:
    source, target = two_of_one_pool()
    make.representative(tenant=target.project.tenant, user=answering)
    request = proposed(Kind.TRANSFER, source, asking, seconds=HOUR, to_allocation=target)
    with pytest.raises(requests.BenefitsFromIt):
        requests.approve(request=request, by=answering, at=AT)
    assert balances(source, target) == [(99, 1), (100, 0)]


def test_first_hours_of_an_allocation_are_a_grant(asking: User, answering: User) -> None:
    allocation = make.allocation(hours=0)
    requests.approve(request=proposed(Kind.OPENING, allocation, asking, seconds=HOUR), by=answering, at=AT)
    entry = LedgerEntry.objects.get(allocation=allocation)
    assert (entry.kind, entry.effective_on, entry.seconds) == ("grant", allocation.start_on, HOUR)


def test_unused_hours_are_taken_back_and_never_more_than_are_left(asking: User, answering: User) -> None:
    allocation = make.allocation(hours=100)
    with pytest.raises(NotEnough):
        proposed(Kind.TAKE_BACK, allocation, asking, key="a", seconds=101 * HOUR)
    request = proposed(Kind.TAKE_BACK, allocation, asking, key="b", seconds=100 * HOUR)
    other = proposed(Kind.TAKE_BACK, allocation, asking, key="c", seconds=40 * HOUR)
    requests.approve(request=other, by=answering, at=AT)
    with pytest.raises(NotEnough):
        requests.approve(request=request, by=answering, at=AT)
    request.refresh_from_db()
    assert (request.state, balances(allocation)) == (State.ASKED, [(60, 0)])


def test_a_wrong_entry_is_reversed_once(asking: User, answering: User) -> None:
    allocation = make.allocation(hours=100)
    wrong = movements.take_back(
        allocation=allocation, seconds=HOUR, by=asking, approved_by=answering, at=AT, key="wrong", reason="slip"
    )
    first = proposed(Kind.REVERSAL, allocation, asking, key="a", entry=wrong)
    second = proposed(Kind.REVERSAL, allocation, asking, key="b", entry=wrong)
    requests.approve(request=first, by=answering, at=AT)
    with pytest.raises(movements.AlreadyReversed):
        requests.approve(request=second, by=answering, at=AT)
    with pytest.raises(movements.AlreadyReversed):
        proposed(Kind.REVERSAL, allocation, asking, key="c", entry=wrong)
    assert balances(allocation) == [(100, 0)]
    with pytest.raises(requests.NothingAsked):
        requests.approve(request=second, by=answering, at=AT, seconds=1)


def test_an_approval_in_part_says_why(asking: User, answering: User) -> None:
    request = proposed(Kind.TOP_UP, make.allocation(), asking, seconds=2 * HOUR)
    with pytest.raises(requests.NoReason):
        requests.approve(request=request, by=answering, at=AT, seconds=HOUR)
    requests.approve(request=request, by=answering, at=AT, seconds=HOUR, answer="the rest next month")
    assert request.state == State.PART_APPROVED


def test_hours_that_moved_on_are_not_taken_by_a_reversal(asking: User, answering: User) -> None:
    source, target = two_of_one_pool()
    grant = LedgerEntry.objects.get(allocation=source, kind="grant")
    movements.transfer(
        source=source, target=target, seconds=HOUR, by=asking, approved_by=answering, at=AT, key="t", reason="moved"
    )
    with pytest.raises(NotEnough):
        proposed(Kind.REVERSAL, source, asking, entry=grant)


def test_a_form_sent_twice_asks_once_and_with_other_content_is_refused(asking: User) -> None:
    source, target = two_of_one_pool()
    first = proposed(Kind.TRANSFER, source, asking, seconds=60 * HOUR, to_allocation=target)
    assert proposed(Kind.TRANSFER, source, asking, seconds=60 * HOUR, to_allocation=target) == first
    changed: tuple[dict[str, Any], ...] = (
        {"seconds": HOUR},
        {"reason": "else"},
        {"to_allocation": make.allocation(pool=source.pool)},
    )
    for other in changed:
        with pytest.raises(KeyReused):
            proposed(Kind.TRANSFER, source, asking, **{"seconds": 60 * HOUR, "to_allocation": target, **other})
    assert (ChangeRequest.objects.count(), balances(source)) == (1, [(40, 60)])


def test_an_approval_sent_twice_by_one_officer_shows_the_first_result(asking: User, answering: User) -> None:
    allocation = make.allocation(hours=100)
    request = proposed(Kind.TOP_UP, allocation, asking, seconds=HOUR)
    for _ in range(2):
        requests.approve(request=ChangeRequest.objects.get(pk=request.pk), by=answering, at=AT)
    with pytest.raises(requests.AlreadyAnswered):
        requests.approve(request=request, by=make.staff(StaffRole.ALLOCATION_OFFICER), at=AT)
    assert balances(allocation) == [(101, 0)]


def test_a_closed_allocation_takes_no_acts(asking: User, answering: User) -> None:
    source, target = two_of_one_pool()
    request = proposed(Kind.TOP_UP, source, asking, seconds=HOUR)
    Allocation.objects.filter(pk=source.pk).update(state=Allocation.State.CLOSED)
    with pytest.raises(PeriodClosed):
        requests.approve(request=request, by=answering, at=AT)
    source.refresh_from_db()
    for kind, said in (
        (Kind.TOP_UP, {"seconds": HOUR}),
        (Kind.TAKE_BACK, {"seconds": HOUR}),
        (Kind.TRANSFER, {"seconds": HOUR, "to_allocation": target}),
    ):
        with pytest.raises(PeriodClosed):
            proposed(kind, source, asking, key=kind, **said)
    with pytest.raises(PeriodClosed):
        proposed(Kind.TRANSFER, target, asking, key="to a closed one", seconds=HOUR, to_allocation=source)
    assert balances(source, target) == [(100, 0), (100, 0)]


def test_an_act_says_why(asking: User) -> None:
    with pytest.raises(requests.NoReason):
        proposed(Kind.TOP_UP, make.allocation(), asking, seconds=HOUR, reason="  ")


def test_every_step_of_a_request_is_on_the_trail(asking: User, answering: User) -> None:
    source, target = two_of_one_pool()
    request = proposed(Kind.TRANSFER, source, asking, seconds=HOUR, to_allocation=target)
    requests.approve(request=request, by=answering, at=AT, answer="agreed")
    trail = Event.objects.order_by("pk").filter(object_type="allocations.changerequest")
    assert [(event.act, event.actor, event.reason) for event in trail] == [
        ("propose", asking, "because"),
        ("approve_request", answering, "agreed"),
    ]
    moved = Event.objects.order_by("pk").filter(object_type="allocations.allocation", act="transfer")
    assert [event.changes["entry"] for event in moved] == [
        [None, entry.pk] for entry in LedgerEntry.objects.filter(kind="transfer").order_by("pk")
    ]


def test_who_would_get_the_hours_back_neither_reverses_a_transfer_alone_nor_approves_it(
    asking: User, answering: User
) -> None:
    """The reversal is asked for on the allocation that received; the officer belongs to the project that gave."""
    make.centre(two_person_above_seconds=50 * HOUR)
    source, target = two_of_one_pool()
    _out, into = movements.transfer(
        source=source, target=target, seconds=HOUR, by=asking, approved_by=answering, at=AT, key="t", reason="slip"
    )
    make.member(project=source.project, user=asking)
    request = proposed(Kind.REVERSAL, target, asking, entry=into)
    assert request.state == State.ASKED
    other = proposed(Kind.REVERSAL, target, answering, key="other", entry=into)
    assert other.state == State.CARRIED_OUT
    make.centre(two_person_above_seconds=0)
    _out, into = movements.transfer(
        source=source, target=target, seconds=HOUR, by=asking, approved_by=answering, at=AT, key="u", reason="slip"
    )
    request = proposed(Kind.REVERSAL, target, answering, key="third", entry=into)
    with pytest.raises(requests.BenefitsFromIt):
        requests.approve(request=request, by=asking, at=AT)


@pytest.mark.parametrize("reason", ["half\ud800", "nothing\0here"])
def test_a_reason_that_no_database_keeps_is_refused_with_a_sentence(asking: User, reason: str) -> None:
    with pytest.raises(requests.NoReason):
        proposed(Kind.TOP_UP, make.allocation(), asking, seconds=HOUR, reason=reason)
    assert ChangeRequest.objects.count() == 0


def test_more_than_can_be_meant_is_refused_with_a_sentence(asking: User, answering: User) -> None:
    allocation = make.allocation(hours=1)
    for seconds in (10**16 + 1, 2**63):
        with pytest.raises(requests.NothingAsked):
            proposed(Kind.TOP_UP, allocation, asking, seconds=seconds)
    requests.approve(request=proposed(Kind.TOP_UP, allocation, asking, seconds=10**16), by=answering, at=AT)
    assert balances(allocation) == [((10**16 + HOUR) // HOUR, 0)]
