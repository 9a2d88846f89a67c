"""At the boundary of an allocation many take at once what is enough for some of them: never more than there is."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest
from django.utils import timezone

from allocations import movements, requests
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from allocations.verifying import differences
from centre.models import Event, User
from centre.permissions import StaffRole
from tests import make
from tests.postgres.acting import TakeAll, process_takers, thread_takers, threads, together
from tests.postgres.boundary import faults, left_by_entries, oversold
from tests.postgres.taking import WAYS, Take

pytestmark = pytest.mark.usefixtures("committed")

HOUR = make.HOUR
ATTEMPTS = 64
ROUNDS = [3, pytest.param(200, marks=pytest.mark.hard)]
Kind = ChangeRequest.Kind
Takers = Callable[[], AbstractContextManager[TakeAll]]
TAKERS = [
    pytest.param(partial(thread_takers, 64), id="64-threads"),
    pytest.param(partial(process_takers, 8), id="8-processes"),
]


def officer() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


class Boundary:
    """A pool with a project whose allocations are taken from, and one allocation that transfers go to."""

    def __init__(self) -> None:
        self.pool, self.project = make.pool(), make.project()
        self.target = make.allocation(project=self.project, pool=self.pool, account="target")
        self.asking, self.approving = officer(), officer()

    def source(self, number: int, *, seconds: int) -> Allocation:
        return make.allocation(project=self.project, pool=self.pool, account=f"source-{number}", seconds=seconds)

    def takes(self, source: Allocation, amounts: list[int], ways: tuple[str, ...]) -> list[Take]:
        return [
            Take(
                way=ways[n % len(ways)],
                seconds=seconds,
                key=f"take-{source.pk}-{n}",
                source=source.pk,
                target=self.target.pk,
                asking=self.asking.pk,
                approving=self.approving.pk,
            )
            for n, seconds in enumerate(amounts)
        ]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize("takers", TAKERS)
def test_many_at_the_boundary_take_exactly_as_much_as_fits(takers: Takers, rounds: int) -> None:
    boundary = Boundary()
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    with takers() as take_all:
        for number in range(rounds):
            fitting = draw.randrange(1, ATTEMPTS)
            if number % 2:  # attempts of one size: how many fit is known
                size = draw.randrange(1, 10 * HOUR)
                amounts, before = [size] * ATTEMPTS, fitting * size + draw.randrange(size)
            else:
                amounts = [draw.randrange(1, 10 * HOUR) for _ in range(ATTEMPTS)]
                before = sum(draw.sample(amounts, fitting))
            source = boundary.source(number, seconds=before)
            answers = take_all(boundary.takes(source, amounts, WAYS))
            found = faults(source=source.pk, target=boundary.target.pk, before=before, asked=amounts, answers=answers)
            assert found == [], f"round {number}"
            if number % 2:
                assert answers.count("done") == fitting, f"round {number}"
    assert list(differences()) == bare_posts_without_an_event()


def bare_posts_without_an_event() -> list[str]:
    """What the attempts by `post` alone leave out, told in the words of the verification."""
    entries = LedgerEntry.objects.filter(source_kind="test", kind="hold").order_by("pk").values_list("pk", flat=True)
    return [f"Entry {pk}: 0 events of the audit trail tell of it, not one." for pk in entries]


@pytest.mark.parametrize("takers", TAKERS)
def test_naive_check_before_the_write_oversells_and_is_caught(takers: Takers) -> None:
    """The control: the same race, the same checker, and a check that is a read before the write."""
    boundary = Boundary()
    caught = []
    with takers() as take_all:
        for number in range(3):
            source = boundary.source(number, seconds=3 * HOUR)
            amounts = [HOUR] * ATTEMPTS
            answers = take_all(boundary.takes(source, amounts, ("naive",)))
            caught += faults(
                source=source.pk, target=boundary.target.pk, before=3 * HOUR, asked=amounts, answers=answers
            )
            assert (left_by_entries(source.pk) < 0) == bool(oversold([source.pk]))
    assert [fault for fault in caught if "are left" in fault]


def test_transfers_in_both_directions_at_once_neither_lose_hours_nor_wait_for_each_other() -> None:
    boundary = Boundary()
    one, other = boundary.source(1, seconds=8 * HOUR), boundary.source(2, seconds=8 * HOUR)

    def move(number: int) -> object:
        source, target = (one, other) if number % 2 else (other, one)
        return movements.transfer(
            source=Allocation.objects.get(pk=source.pk),
            target=Allocation.objects.get(pk=target.pk),
            seconds=HOUR,
            by=boundary.asking,
            approved_by=boundary.approving,
            at=timezone.now(),
            key=f"move-{number}",
            reason="to and fro",
        )

    assert together([partial(move, number) for number in range(16)]) == ["done"] * 16
    assert oversold([one.pk, other.pk]) == []
    assert (left_by_entries(one.pk), left_by_entries(other.pk)) == (8 * HOUR, 8 * HOUR)


def test_one_hold_let_go_by_many_is_let_go_once() -> None:
    allocation = make.allocation(hours=5)
    by = officer()
    held = movements.hold(
        allocation=allocation, seconds=2 * HOUR, by=by, at=timezone.now(), key="hold", reason="for an offer"
    )

    def release() -> object:
        row = LedgerEntry.objects.select_related("allocation").get(pk=held.pk)
        return movements.release(held=row, by=by, at=timezone.now(), reason="not needed")

    assert together([release] * 16) == ["AlreadyResolved"] * 15 + ["done"]
    assert (oversold([allocation.pk]), left_by_entries(allocation.pk)) == ([], 5 * HOUR)
    assert LedgerEntry.objects.filter(reverses=held).count() == 1


@pytest.mark.parametrize("number", range(3))
def test_one_transfer_answered_by_many_in_every_way_is_answered_once_and_its_hold_with_it(number: int) -> None:
    boundary = Boundary()
    source = boundary.source(number, seconds=5 * HOUR)
    request = requests.propose(
        kind=Kind.TRANSFER,
        allocation=source,
        to_allocation=boundary.target,
        seconds=2 * HOUR,
        reason="more is needed there",
        by=boundary.asking,
        at=timezone.now(),
        key="form",
    )
    asked = ChangeRequest.objects.select_related("allocation", "to_allocation", "hold__allocation", "asked_by")

    def answer(how: str, by: User) -> object:
        row, at = asked.get(pk=request.pk), timezone.now()
        if how == "approve":
            return requests.approve(request=row, by=by, at=at)
        if how == "decline":
            return requests.decline(request=row, by=by, at=at, answer="not now")
        if how == "withdraw":
            return requests.withdraw(request=row, by=boundary.asking, at=at)
        return requests.lapse(request=row, at=at, answer="too late")

    answering = [officer() for _ in range(8)]
    ways = ("approve", "decline", "withdraw", "lapse") * 2
    met = together([partial(answer, how, by) for how, by in zip(ways, answering, strict=True)])
    assert met == ["AlreadyAnswered"] * 7 + ["done"]
    request.refresh_from_db()
    moved = 2 * HOUR if request.state == ChangeRequest.State.APPROVED else 0
    assert left_by_entries(source.pk) == 5 * HOUR - moved
    assert oversold([source.pk, boundary.target.pk]) == []
    assert LedgerEntry.objects.filter(reverses=request.hold).count() == 1
    assert list(differences()) == []


def proposed_by_many(source: Allocation, by: User, **said: object) -> set[int]:
    """The numbers of the requests that 16 threads get who send one form at the same moment."""

    def propose() -> str:
        request = requests.propose(
            allocation=Allocation.objects.select_related("pool__cluster").get(pk=source.pk),
            reason="because",
            by=by,
            at=timezone.now(),
            key="one form",
            **said,  # type: ignore[arg-type]
        )
        return str(request.pk)

    with threads(16) as at_once:
        return {int(number) for number in at_once([propose] * 16)}


@pytest.mark.parametrize("number", range(5))
def test_one_form_sent_by_many_asks_once_for_all_that_is_left_and_all_see_that_request(number: int) -> None:
    boundary = Boundary()
    source = boundary.source(number, seconds=5 * HOUR)
    seen = proposed_by_many(
        source, boundary.asking, kind=Kind.TRANSFER, to_allocation=boundary.target, seconds=5 * HOUR
    )
    request = ChangeRequest.objects.get()
    assert seen == {request.pk}
    assert (request.state, left_by_entries(source.pk), oversold([source.pk])) == ("asked", 0, [])
    assert LedgerEntry.objects.filter(kind="hold").count() == 1
    assert Event.objects.filter(act="propose").count() == 1


def test_one_form_sent_by_many_is_carried_out_once_where_one_officer_may() -> None:
    make.centre(two_person_above_seconds=100 * HOUR)
    boundary = Boundary()
    source = boundary.source(1, seconds=5 * HOUR)
    seen = proposed_by_many(source, boundary.asking, kind=Kind.TAKE_BACK, seconds=5 * HOUR)
    request = ChangeRequest.objects.get()
    assert seen == {request.pk}
    assert (request.state, left_by_entries(source.pk), oversold([source.pk])) == ("carried_out", 0, [])
    assert Event.objects.filter(act="carry_out_request").count() == 1
    assert list(differences()) == []
