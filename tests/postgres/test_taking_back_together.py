"""Several nights at the same moment, on a database where commits are real: each act of a take-back is done once."""

from functools import partial

import pytest
import time_machine

from allocations import exemptions
from allocations.models import LedgerEntry, Notice, TakeBackWarning
from allocations.taking_back import take_back_unused
from allocations.verifying import differences
from centre.models import Event
from centre.permissions import ProjectRole
from tests import make
from tests.allocations.unused_time import DUE, HOUR, LATER, START, WARNED_ON, at, books_until, given_hours, rule_of
from tests.postgres.acting import together

pytestmark = pytest.mark.usefixtures("committed")


def test_nights_at_the_same_moment_warn_once_and_take_once() -> None:
    with time_machine.travel(LATER, tick=False):
        pool = make.pool(from_on=START)
        rule_of(pool)
        allocations = [given_hours(pool) for _ in range(5)]
        for allocation in allocations:
            make.member(project=allocation.project, role=ProjectRole.LEAD)
        books_until(pool, at(DUE, 0))
        for day in (WARNED_ON, DUE):
            assert together([partial(take_back_unused, at=at(day))] * 4) == ["done"] * 4
    assert Event.objects.filter(act="warn_take_back").count() == 5
    assert list(TakeBackWarning.objects.values_list("outcome", flat=True)) == ["taken"] * 5
    taken = LedgerEntry.objects.filter(kind="forfeit").values_list("seconds", flat=True)
    assert list(taken) == [-640 * HOUR] * 5
    assert Notice.objects.count() == 10
    assert list(differences()) == []


def test_an_exemption_given_while_the_night_runs_comes_before_the_act_or_after_it() -> None:
    """Never between: the hours are taken and the warning says so, or they are not and it says exempted."""
    with time_machine.travel(LATER, tick=False):
        pool = make.pool(from_on=START)
        rule_of(pool)
        by = make.person()
        allocations = [given_hours(pool) for _ in range(8)]
        books_until(pool, at(DUE, 0))
        take_back_unused(at=at(WARNED_ON))

        def exempt_all() -> None:
            for allocation in reversed(allocations):
                exemptions.exempt(allocation=allocation, reason="late", by=by, at=at(DUE))

        assert together([partial(take_back_unused, at=at(DUE)), exempt_all]) == ["done"] * 2
    for allocation in allocations:
        allocation.refresh_from_db()
        outcome = TakeBackWarning.objects.get(allocation=allocation).outcome
        assert (outcome, allocation.granted_seconds) in {("taken", 360 * HOUR), ("exempted", 1_000 * HOUR)}
    assert list(differences()) == []
