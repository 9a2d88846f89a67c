"""A longer period: by two people, charged as if always known, refused where another or a closing stands."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine

from allocations import closing, drawing, extending, notices, requests, taking_back
from allocations.models import (
    Allocation,
    ChangeRequest,
    JobRun,
    Notice,
    TakeBackRule,
    TakeBackWarning,
)
from allocations.posting import PeriodClosed, TwoPeopleNeeded
from allocations.take_back_cases import What
from allocations.verifying import differences
from centre.models import Event, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
DAY = timedelta(days=1)
HOUR = make.HOUR
Kind = ChangeRequest.Kind
State = ChangeRequest.State


@pytest.fixture(autouse=True)
def noon() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def asking() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


@pytest.fixture
def answering() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


def ended(days_ago: int = 5, **said: Any) -> Allocation:
    """An allocation whose last day was so many days ago, not closed yet."""
    return make.allocation(end_on=make.today() - days_ago * DAY, **said)


def proposed(allocation: Allocation, days: int, by: User, *, key: str = "k") -> ChangeRequest:
    """A period that lasts until so many days from today."""
    return requests.propose(
        kind=Kind.EXTENSION,
        allocation=allocation,
        until_on=make.today() + days * DAY,
        reason="because",
        by=by,
        at=NOW,
        key=key,
    )


def extend(allocation: Allocation, days: int) -> int:
    return extending.extend(
        allocation=allocation,
        until_on=make.today() + days * DAY,
        by=make.person(),
        approved_by=make.person(),
        at=NOW,
        reason="for a test",
    )


def use(allocation: Allocation, *, days_ago: int, hours: int = 1, account: str = "") -> None:
    start_at = NOW - days_ago * DAY
    run = make.Run(
        account=account or allocation.account,
        partition=allocation.pool.code,
        start_at=start_at,
        end_at=start_at + timedelta(hours=hours),
    )
    make.imported(run, cluster=allocation.pool.cluster)


def test_an_extension_waits_for_a_second_officer_whatever_the_threshold(asking: User, answering: User) -> None:
    make.centre(two_person_above_seconds=10**15)
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    request = proposed(allocation, 40, asking)
    assert (request.state, Allocation.objects.get().end_on) == (State.ASKED, make.today() + 10 * DAY)
    with pytest.raises(requests.OwnRequest):
        requests.approve(request=request, by=asking, at=NOW)
    requests.approve(request=request, by=answering, at=NOW, answer="good")
    assert (request.state, request.approved_until_on) == (State.APPROVED, make.today() + 40 * DAY)
    assert Allocation.objects.get().end_on == make.today() + 40 * DAY
    assert list(differences()) == []


def test_an_earlier_day_than_asked_for_is_a_part_and_says_why(asking: User, answering: User) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    request = proposed(allocation, 40, asking)
    earlier = make.today() + 20 * DAY
    with pytest.raises(requests.NoReason):
        requests.approve(request=request, by=answering, at=NOW, until_on=earlier)
    with pytest.raises(requests.NothingAsked):
        requests.approve(request=request, by=answering, at=NOW, until_on=make.today() + 41 * DAY, answer="more")
    with pytest.raises(extending.NotLater):
        requests.approve(request=request, by=answering, at=NOW, until_on=make.today() + 10 * DAY, answer="same")
    request.refresh_from_db()
    requests.approve(request=request, by=answering, at=NOW, until_on=earlier, answer="the pool is full then")
    assert (request.state, Allocation.objects.get().end_on) == (State.PART_APPROVED, earlier)
    assert list(differences()) == []


def test_runs_of_the_added_days_are_charged_at_once_and_on_their_days() -> None:
    allocation = ended(5, hours=100)
    use(allocation, days_ago=10, hours=2)
    use(allocation, days_ago=3, hours=5)
    allocation.refresh_from_db()
    assert (allocation.used_seconds, JobRun.objects.unmatched().count()) == (2 * HOUR, 1)
    assert extend(allocation, 30) == 5 * HOUR
    assert (allocation.used_seconds, JobRun.objects.unmatched().count()) == (7 * HOUR, 0)
    use(allocation, days_ago=1)
    allocation.refresh_from_db()
    assert allocation.used_seconds == 8 * HOUR
    assert list(differences()) == []


def test_a_further_account_keeps_its_own_last_day() -> None:
    allocation = ended(5)
    drawing.let_draw(
        allocation=allocation, account="guest", from_on=allocation.start_on, by=make.person(), at=NOW, reason="-"
    )
    use(allocation, days_ago=3, account="guest")
    assert extend(allocation, 30) == 0
    drawing.let_draw(
        allocation=allocation,
        account="guest",
        from_on=make.today() - 4 * DAY,
        until_on=allocation.end_on,
        by=make.person(),
        at=NOW,
        reason="-",
    )
    allocation.refresh_from_db()
    assert allocation.used_seconds == HOUR
    assert list(differences()) == []


def test_a_period_does_not_grow_into_that_of_another_allocation(asking: User) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    make.allocation(
        project=allocation.project,
        pool=allocation.pool,
        reference="NEXT",
        start_on=make.today() + 20 * DAY,
        end_on=make.today() + 90 * DAY,
    )
    with pytest.raises(extending.AccountTaken, match="NEXT"):
        proposed(allocation, 20, asking)
    with pytest.raises(extending.AccountTaken, match="NEXT"):
        extend(allocation, 20)
    extend(allocation, 19)
    host = make.allocation(pool=allocation.pool)
    drawing.let_draw(
        allocation=host,
        account="lent",
        from_on=make.today() + 30 * DAY,
        by=make.person(),
        at=NOW,
        reason="-",
    )
    lent = make.allocation(pool=allocation.pool, account="lent", end_on=make.today() + 10 * DAY)
    with pytest.raises(extending.AccountTaken, match=host.reference):
        extend(lent, 30)


def test_a_day_that_is_no_later_or_is_over_is_refused() -> None:
    allocation = ended(5)
    for days in (-5, -6, -1):
        with pytest.raises(extending.NotLater):
            extend(allocation, days)
    assert extend(allocation, 0) == 0
    assert allocation.end_on == make.today()


@pytest.mark.parametrize(
    ("today", "latest"),
    [(date(2026, 6, 15), date(2031, 6, 15)), (date(2028, 2, 29), date(2033, 2, 28))],
)
def test_a_period_lasts_five_years_from_today_at_most(noon: Any, today: date, latest: date) -> None:
    at = datetime(today.year, today.month, today.day, 4, tzinfo=UTC)
    noon.move_to(at)
    allocation, officer, second = make.allocation(end_on=today), make.person(), make.person()
    said: dict[str, Any] = {"allocation": allocation, "by": officer, "at": at, "reason": "-"}
    for day in (latest + DAY, date(2199, 12, 31)):
        with pytest.raises(extending.TooFar) as refused:
            extending.extend(until_on=day, approved_by=second, **said)
        assert f"until {latest:%-d %b %Y} at most" in str(refused.value)
        for act in (requests.ask, requests.propose):
            with pytest.raises(extending.TooFar):
                act(kind=Kind.EXTENSION, until_on=day, key=f"{act.__name__}-{day}", **said)
    assert not ChangeRequest.objects.exists()
    assert extending.extend(until_on=latest, approved_by=second, **said) == 0
    assert Allocation.objects.get().end_on == latest


def test_two_people_stand_behind_an_extension() -> None:
    allocation, one = make.allocation(), make.person()
    for second in (None, one):
        with pytest.raises(TwoPeopleNeeded):
            extending.extend(
                allocation=allocation,
                until_on=make.today() + 200 * DAY,
                by=one,
                approved_by=second,
                at=NOW,
                reason="alone",
            )
    assert not Event.objects.filter(act="extend_allocation").exists()


def test_a_closed_period_stays_closed_and_its_waiting_extension_lapses(asking: User, answering: User) -> None:
    allocation = ended(2, hours=100)
    make.period_end_rule(pool=allocation.pool)
    request = proposed(allocation, 30, asking)
    closing.close_periods(at=NOW)
    request.refresh_from_db()
    assert request.state == State.LAPSED
    allocation.refresh_from_db()
    with pytest.raises(PeriodClosed, match="settled"):
        extend(allocation, 30)
    with pytest.raises(PeriodClosed):
        proposed(allocation, 30, asking, key="again")
    with pytest.raises(requests.AlreadyAnswered):
        requests.approve(request=request, by=answering, at=NOW)
    assert list(differences()) == []


def test_an_extension_before_the_night_keeps_the_period_from_being_closed() -> None:
    allocation = ended(2, hours=100)
    make.period_end_rule(pool=allocation.pool)
    (planned,) = closing.preview_closing(at=NOW)
    assert planned.forfeited == 100 * HOUR
    extend(allocation, 3)
    assert closing.close_periods(at=NOW) == []
    (closed,) = closing.close_periods(at=NOW + 4 * DAY)
    assert (closed.outcome, closed.forfeited) == ("closed", 100 * HOUR)
    assert list(differences()) == []


def test_a_take_back_warning_is_judged_by_the_longer_period() -> None:
    """Half of what an even pace needs was used; with three times the days that is more than enough."""
    start_on = make.today() - 50 * DAY
    allocation = make.allocation(hours=100, start_on=start_on, end_on=make.today() + 49 * DAY)
    rule = TakeBackRule.objects.create(
        pool=allocation.pool,
        funding=allocation.funding,
        check_at_bp=5_000,
        under_bp=9_000,
        warn_days=14,
        from_on=start_on,
        reason="-",
        asked_by=make.person(),
        asked_at=NOW,
        approved_by=make.person(),
        approved_at=NOW,
    )
    run = make.run(allocation=allocation, hours=30, start_at=NOW - 40 * DAY)
    began = datetime.combine(start_on, datetime.min.time(), tzinfo=UTC) - DAY
    make.imported(run, cluster=allocation.pool.cluster, covers_from=began, as_of=NOW)
    (warned,) = taking_back.take_back_unused(at=NOW)
    assert (warned.what, warned.rule) == (What.WARNED, rule)
    extend(allocation, 249)
    due = NOW + 14 * DAY
    with time_machine.travel(due, tick=False):
        make.imported(cluster=allocation.pool.cluster, covers_from=NOW - DAY, as_of=due)
        (found,) = taking_back.take_back_unused(at=due)
    assert found.what == What.CAUGHT_UP
    assert TakeBackWarning.objects.get().outcome == TakeBackWarning.Outcome.CAUGHT_UP
    allocation.refresh_from_db()
    assert allocation.granted_seconds == 100 * HOUR
    assert list(differences()) == []


def test_notices_of_a_near_end_are_over_and_come_again(asking: User) -> None:
    allocation = make.allocation(end_on=make.today() + 6 * DAY)
    make.member(project=allocation.project, role=ProjectRole.LEAD)

    def standing() -> list[int]:
        return sorted(Notice.objects.standing().filter(kind="days_left").values_list("threshold", flat=True))

    notices.find_due(at=NOW)
    assert standing() == [7, 14, 30]
    extend(allocation, 60)
    notices.find_due(at=NOW)
    assert standing() == []
    notices.find_due(at=NOW + 50 * DAY)
    assert standing() == [14, 30]


def test_an_extension_is_on_the_trail_with_before_and_after(asking: User, answering: User) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    request = proposed(allocation, 40, asking)
    requests.approve(request=request, by=answering, at=NOW)
    event = Event.objects.get(act="extend_allocation")
    assert (event.object_id, event.actor, event.reason) == (str(allocation.pk), asking, "because")
    assert event.changes["end_on"] == ["2026-06-25", "2026-07-25"]
    assert event.changes["request"] == str(request.pk)
    assert str(answering.pk) in event.changes["approved_by"][1]


@pytest.mark.parametrize("day", ["2026-07-24", "2026-07-26"])
def test_verify_finds_a_last_day_that_nobody_approved(asking: User, answering: User, day: str) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    requests.approve(request=proposed(allocation, 40, asking), by=answering, at=NOW)
    assert list(differences()) == []
    Allocation.objects.filter(pk=allocation.pk).update(end_on=day)
    assert [line for line in differences() if "2026-07-25" in line and day in line]


def test_verify_finds_an_approved_extension_that_did_not_happen(asking: User, answering: User) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    request = proposed(allocation, 40, asking)
    ChangeRequest.objects.filter(pk=request.pk).update(
        state="approved", approved_until_on=request.asked_until_on, answered_by=answering, answered_at=NOW
    )
    assert len(list(differences())) == 1
