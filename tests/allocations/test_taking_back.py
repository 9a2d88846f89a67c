"""Unused hours are taken back by rule: after a warning, to the planned remainder, once, and on complete books only."""

import random
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
import time_machine
from django.db import IntegrityError, transaction

from allocations import exemptions, movements, refunds, taking_back
from allocations.models import (
    Allocation,
    JobRun,
    LedgerEntry,
    Notice,
    TakeBackWarning,
)
from allocations.taking_back import take_back_unused
from allocations.verifying import differences
from centre.models import Event, GpuPool
from centre.permissions import ProjectRole
from tests import make
from tests.allocations.unused_time import (
    DUE,
    END,
    HALF,
    HOUR,
    LATER,
    START,
    WARNED_ON,
    at,
    books_until,
    given_hours,
    night,
    outcome,
    row_counts,
    rule_of,
    told,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def much_later() -> Iterator[None]:
    with time_machine.travel(LATER, tick=False):
        yield


@pytest.fixture
def pool() -> GpuPool:
    return make.pool(from_on=date(2025, 1, 1))


# ---------------------------------------------------------------------------------------------- the check


def test_under_used_allocation_is_warned_the_night_after_its_check_day(pool: GpuPool) -> None:
    rule, allocation = rule_of(pool), given_hours(pool)
    lead = make.member(project=allocation.project, role=ProjectRole.LEAD)
    books_until(pool, at(HALF, 0), (allocation, date(2026, 1, 5), 199))
    assert night(HALF, books=pool) == []
    assert night(WARNED_ON, books=pool) == [(allocation.reference, "warned")]
    warning = TakeBackWarning.objects.get()
    assert (warning.rule, warning.checked_on, warning.due_on) == (rule, HALF, DUE)
    assert (warning.used_seconds, warning.planned_seconds) == (199 * HOUR, 500 * HOUR)
    assert list(Notice.objects.values_list("kind", "user", "threshold")) == [("take_back_warned", lead.pk, warning.pk)]
    event = Event.objects.get(act="warn_take_back")
    assert (event.object_id, event.changes["due_on"]) == (str(allocation.pk), [None, "2026-03-06"])
    assert "199.00 of 500.00 planned GPU-hours used by 2026-02-19, less than 40 %" in event.reason


def test_allocation_at_the_share_is_not_warned(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    books_until(pool, at(WARNED_ON, 0), (allocation, HALF, 200))
    assert night(WARNED_ON) == []


def test_refunded_hours_do_not_count_as_used(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    books_until(pool, at(WARNED_ON, 0), (allocation, HALF, 150), (allocation, HALF, 60))
    assert night(WARNED_ON) == []
    refunds.refund(
        allocation=allocation,
        runs={JobRun.objects.get(gpus=60).pk: 60 * HOUR},
        by=make.person(),
        approved_by=make.person(),
        at=at(WARNED_ON, 1),
        reason="node failed",
        key="r",
    )
    assert night(WARNED_ON) == [(allocation.reference, "warned")]
    assert TakeBackWarning.objects.get().used_seconds == 150 * HOUR


def test_rule_counts_for_its_pool_and_funding_only(pool: GpuPool) -> None:
    rule_of(pool)
    given_hours(pool, funding="purchased")
    given_hours(make.pool(cluster=pool.cluster, from_on=date(2025, 1, 1)))
    mine = given_hours(pool)
    assert night(WARNED_ON, books=pool) == [(mine.reference, "warned")]


def test_rule_that_is_not_approved_or_counts_only_after_the_check_day_does_nothing(pool: GpuPool) -> None:
    rule_of(pool, approved=False)
    rule_of(pool, from_on=WARNED_ON)
    given_hours(pool)
    assert night(WARNED_ON, books=pool) == []


def test_latest_rule_that_counts_by_the_check_day_is_the_one(pool: GpuPool) -> None:
    rule_of(pool)
    later = rule_of(pool, from_on=date(2026, 2, 1), warn_days=20)
    rule_of(pool, from_on=date(2026, 3, 1), warn_days=30)
    given_hours(pool)
    night(WARNED_ON, books=pool)
    assert TakeBackWarning.objects.get().rule == later


def test_accounting_day_is_the_clusters(pool: GpuPool) -> None:
    """The check day ends at midnight in Hong Kong, eight hours before it does in Greenwich."""
    rule_of(pool)
    given_hours(pool)
    books_until(pool, at(WARNED_ON, 0))
    assert told(take_back_unused(at=at(HALF, 23))) == []
    assert [what for _, what in told(take_back_unused(at=at(WARNED_ON, 0)))] == ["warned"]


def test_warning_is_not_given_when_its_days_do_not_fit_in_the_period(pool: GpuPool) -> None:
    rule_of(pool)
    given_hours(pool)
    assert night(END - timedelta(days=13), books=pool) == []
    assert [what for _, what in night(END - timedelta(days=14), books=pool)] == ["warned"]


def test_exempted_allocation_is_not_warned(pool: GpuPool) -> None:
    rule_of(pool)
    allocation, by = given_hours(pool), make.person()
    exemption = exemptions.exempt(allocation=allocation, reason="the data come late", by=by, at=at(START))
    assert night(WARNED_ON, books=pool) == []
    exemptions.end_exemption(exemption=exemption, by=by, at=at(WARNED_ON))
    assert night(WARNED_ON, books=pool) == [(allocation.reference, "warned")]


# ---------------------------------------------------------------------------------------------- complete books


def test_stalled_import_costs_nobody_their_hours(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    assert night(WARNED_ON) == [(allocation.reference, "waiting")]
    books_until(pool, at(HALF, 23))
    assert night(WARNED_ON) == [(allocation.reference, "waiting")]
    assert TakeBackWarning.objects.count() == 0
    assert night(WARNED_ON, books=pool) == [(allocation.reference, "warned")]
    books_until(pool, at(DUE - timedelta(days=1), 23))
    assert night(DUE) == [(allocation.reference, "waiting")]
    assert outcome(allocation) == ("warned", 1_000 * HOUR, 1_000 * HOUR)
    assert night(DUE, books=pool) == [(allocation.reference, "taken")]


def exported(pool: GpuPool, begins: date, ends: date) -> None:
    """An export that is known to cover the time between two midnights."""
    make.imported(cluster=pool.cluster, as_of=at(ends, 0), covers_from=at(begins, 0))


def test_missing_window_costs_nobody_their_hours_until_it_is_exported_again(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    lost, found = START + timedelta(days=9), START + timedelta(days=10)
    exported(pool, START, lost)
    exported(pool, found, WARNED_ON)
    assert night(WARNED_ON) == [(allocation.reference, "waiting")]
    exported(pool, lost, found)
    assert night(WARNED_ON) == [(allocation.reference, "warned")]


def test_window_that_was_missing_before_the_period_matters_to_nobody_in_it(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    exported(pool, START - timedelta(days=9), START - timedelta(days=8))
    exported(pool, START, WARNED_ON)
    assert night(WARNED_ON) == [(allocation.reference, "warned")]


def test_window_that_is_missing_after_the_days_that_are_judged_does_not_hold_them_up(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    exported(pool, START, WARNED_ON)
    exported(pool, WARNED_ON + timedelta(days=1), WARNED_ON + timedelta(days=2))
    assert night(WARNED_ON + timedelta(days=2)) == [(allocation.reference, "warned")]


# ---------------------------------------------------------------------------------------------- the act


def test_what_is_beyond_the_planned_remainder_is_taken_to_the_second(pool: GpuPool) -> None:
    rule = rule_of(pool)
    allocation = make.allocation(
        pool=pool, seconds=3_600_001, start_on=START, end_on=END, funding="internal", at=at(START, 0)
    )
    books_until(pool, at(WARNED_ON, 0), (allocation, date(2026, 1, 5), 100))
    held_at = at(WARNED_ON, 1)
    movements.hold(allocation=allocation, seconds=7 * HOUR, by=None, at=held_at, key="h", reason="an offer")
    night(WARNED_ON)
    assert night(DUE - timedelta(days=1), books=pool) == []
    books_until(pool, at(DUE, 0))
    (finding,) = take_back_unused(at=at(DUE), dry_run=True)
    assert night(DUE) == [(allocation.reference, "taken")]
    # 36 of 100 days are to come: 36 * 3,600,001 / 100 = 1,296,000.36 GPU-seconds are planned for them.
    taken = 3_600_001 - 100 * HOUR - 7 * HOUR - 1_296_000
    entry = LedgerEntry.objects.get(kind="forfeit")
    assert (entry.seconds, finding.takes, entry.effective_on) == (-taken, taken, DUE)
    assert outcome(allocation) == ("taken", 3_600_001 - taken, 1_296_000)
    warning = TakeBackWarning.objects.get()
    assert (warning.entry, warning.settled_at) == (entry, at(DUE))
    assert (entry.asked_by, entry.approved_by) == (rule.asked_by, rule.approved_by)
    assert (entry.key, entry.source_kind) == (f"take-back-{warning.pk}", "take_back_rule")
    assert "100.00 of 640.00 planned GPU-hours used by 2026-03-05, less than 40 %" in entry.reason
    assert list(differences()) == []


def test_a_night_run_twice_acts_once(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    make.member(project=allocation.project, role=ProjectRole.LEAD)
    books_until(pool, at(DUE, 0))
    for day, what in ((WARNED_ON, "warned"), (DUE, "taken")):
        assert night(day) == [(allocation.reference, what)]
        before = row_counts()
        assert night(day) == []
        assert row_counts() == before
    assert night(DUE + timedelta(days=1), books=pool) == []
    assert list(Notice.objects.order_by("pk").values_list("kind", flat=True)) == ["take_back_warned", "taken_back"]


def test_missed_nights_are_caught_up_and_the_warning_keeps_its_days(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    late = WARNED_ON + timedelta(days=10)
    assert night(late, books=pool) == [(allocation.reference, "warned")]
    warning = TakeBackWarning.objects.get()
    assert (warning.checked_on, warning.due_on) == (HALF, late + timedelta(days=14))
    much_later = warning.due_on + timedelta(days=9)  # 23 days after the warning: 17 of 100 days are to come
    assert night(much_later, books=pool) == [(allocation.reference, "taken")]
    days_left = (END - much_later).days + 1
    assert outcome(allocation) == ("taken", days_left * 10 * HOUR, days_left * 10 * HOUR)


def test_team_that_caught_up_keeps_its_hours(pool: GpuPool) -> None:
    rule_of(pool)
    behind, ahead = given_hours(pool), given_hours(pool)
    night(WARNED_ON, books=pool)
    yesterday = DUE - timedelta(days=1)  # the 64th day: 640 are planned, 256 are 40 % of it
    books_until(pool, at(DUE, 0), (behind, yesterday, 255), (ahead, yesterday, 256))
    assert dict(night(DUE)) == {behind.reference: "taken", ahead.reference: "caught_up"}
    assert outcome(ahead) == ("caught_up", 1_000 * HOUR, 744 * HOUR)
    assert outcome(behind) == ("taken", (1_000 - 385) * HOUR, 360 * HOUR)
    assert Event.objects.get(act="settle_take_back").changes["outcome"] == ["warned", "caught_up"]


def test_allocation_exempted_after_the_warning_keeps_its_hours(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    night(WARNED_ON, books=pool)
    exemptions.exempt(allocation=allocation, reason="the data come late", by=make.person(), at=at(WARNED_ON, 9))
    assert night(DUE - timedelta(days=1)) == []
    assert night(DUE) == [(allocation.reference, "exempted")]  # whether or not usage came in
    assert outcome(allocation) == ("exempted", 1_000 * HOUR, 1_000 * HOUR)


def test_nothing_is_taken_where_no_more_is_left_than_planned(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    night(WARNED_ON, books=pool)
    movements.hold(allocation=allocation, seconds=640 * HOUR, by=None, at=at(DUE, 1), key="h", reason="an offer")
    assert night(DUE, books=pool) == [(allocation.reference, "over")]
    assert outcome(allocation) == ("over", 1_000 * HOUR, 360 * HOUR)


@pytest.mark.parametrize("state", ["suspended", "closed", "void"])
def test_warning_is_over_with_its_allocation(pool: GpuPool, state: str) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    night(WARNED_ON, books=pool)
    Allocation.objects.filter(pk=allocation.pk).update(state=state)
    assert night(WARNED_ON + timedelta(days=1)) == [(allocation.reference, "over")]
    assert outcome(allocation) == ("over", 1_000 * HOUR, 1_000 * HOUR)


def test_warning_is_over_when_the_period_has_ended(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    night(WARNED_ON, books=pool)
    assert night(END + timedelta(days=1)) == [(allocation.reference, "over")]
    assert outcome(allocation)[0] == "over"


# ---------------------------------------------------------------------------------------------- once


def test_database_refuses_a_second_warning_by_the_same_rule(pool: GpuPool) -> None:
    rule_of(pool)
    given_hours(pool)
    night(WARNED_ON, books=pool)
    again = TakeBackWarning.objects.get()
    again.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        again.save(force_insert=True)


def test_two_runs_that_saw_the_same_act_once(pool: GpuPool) -> None:
    """A second run that judged before the first one wrote finds nothing to do once it has the lock."""
    rule_of(pool)
    allocation = given_hours(pool)
    books_until(pool, at(DUE, 0))
    for day in (WARNED_ON, DUE):
        (seen,) = take_back_unused(at=at(day), dry_run=True)
        night(day)
        assert taking_back.act_on(seen.allocation, at=at(day)) is None
    assert LedgerEntry.objects.filter(kind="forfeit").count() == 1
    assert outcome(allocation)[0] == "taken"


def test_outcome_that_was_decided_meanwhile_takes_the_entry_back(pool: GpuPool) -> None:
    rule_of(pool)
    allocation = given_hours(pool)
    night(WARNED_ON, books=pool)
    books_until(pool, at(DUE, 0))
    (seen,) = take_back_unused(at=at(DUE), dry_run=True)
    warning = TakeBackWarning.objects.get()
    TakeBackWarning.objects.update(outcome="over", settled_at=at(DUE))
    with pytest.raises(taking_back.AlreadySettled), transaction.atomic():
        taking_back.settle(seen, warning, at=at(DUE))
    assert outcome(allocation) == ("over", 1_000 * HOUR, 1_000 * HOUR)


# ---------------------------------------------------------------------------------------------- a second computation


def expected(*, seconds: int, end_on: date, uses: dict[date, int], nights: list[tuple[date, date]]) -> tuple[str, int]:
    """(outcome or "", GPU-seconds taken) of one allocation, in plain arithmetic; a night is its day and the books'."""
    days = (end_on - START).days + 1
    half = START + timedelta(days=(days + 1) // 2 - 1)
    due = None

    def under(last: date) -> bool:
        used = sum(amount for day, amount in uses.items() if day <= last)
        elapsed = (last - START).days + 1
        return used * 10 < 4 * (seconds * elapsed // days)

    for day, complete_until in nights:
        if due is None:
            fits = day + timedelta(days=5) <= end_on
            if day > half and fits and complete_until > half and under(half):
                due = day + timedelta(days=5)
        elif day > end_on:
            return "over", 0
        elif day >= due and complete_until >= day:
            if not under(day - timedelta(days=1)):
                return "caught_up", 0
            left = seconds - sum(amount for used_on, amount in uses.items() if used_on < complete_until)
            taken = left - seconds * ((end_on - day).days + 1) // days
            return ("taken", taken) if taken > 0 else ("over", 0)
    return ("warned", 0) if due is not None else ("", 0)


@pytest.mark.parametrize("seed", range(6))
def test_random_nights_agree_with_plain_arithmetic(pool: GpuPool, seed: int) -> None:
    """Several allocations, random use, nights missed and imports that stall: the same end as computed by hand."""
    chance = random.Random(seed)
    rule_of(pool, warn_days=5)
    teams = []
    for _ in range(6):
        end_on = START + timedelta(days=chance.randrange(12, 40))
        seconds = chance.randrange(100 * HOUR, 300 * HOUR)
        allocation = make.allocation(
            pool=pool, seconds=seconds, start_on=START, end_on=end_on, funding="internal", at=at(START, 0)
        )
        busy = chance.choice([0, 2, 5, 9])
        uses = {
            START + timedelta(days=n): chance.randrange(1, busy + 2) * HOUR
            for n in range((end_on - START).days + 1)
            if busy and chance.random() < 0.8
        }
        teams.append((allocation, seconds, end_on, uses))
    nights, complete = [], START
    day = START
    while day < START + timedelta(days=45):
        day += timedelta(days=chance.choice([1, 1, 1, 2, 4]))
        if chance.random() < 0.75:
            runs = [
                (team, used_on, used // HOUR)
                for team, _, _, uses in teams
                for used_on, used in uses.items()
                if complete <= used_on < day
            ]
            books_until(pool, at(day, 0), *runs)
            complete = day
        take_back_unused(at=at(day))
        nights.append((day, complete))
    for allocation, seconds, end_on, uses in teams:
        taken = LedgerEntry.objects.filter(allocation=allocation, kind="forfeit").values_list("seconds", flat=True)
        found = TakeBackWarning.objects.filter(allocation=allocation).values_list("outcome", flat=True)
        wanted = expected(seconds=seconds, end_on=end_on, uses=uses, nights=nights)
        assert ("".join(found), -sum(taken)) == wanted
    assert list(differences()) == []
