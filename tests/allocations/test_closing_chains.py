"""Allocations that follow each other, and what may have happened to them before their own period is closed."""

from datetime import datetime
from typing import Any

import pytest
from django.utils import timezone

from allocations import movements
from allocations.closing import close_periods
from allocations.models import Allocation
from allocations.verifying import differences
from tests import make
from tests.allocations.test_closing import Carry, balance, days_ago, ended, followed_by, noon, reasons

pytestmark = pytest.mark.django_db

HOUR = make.HOUR


def chain(**rule: Any) -> tuple[Allocation, Allocation, Allocation]:
    """Three allocations of 100, 10 and 20 GPU-hours that ended 40 and 10 days ago, and that goes on."""
    pool = make.pool()
    make.period_end_rule(pool=pool, **rule)
    first = ended(pool, start_on=days_ago(60), end_on=days_ago(40))
    second = followed_by(first, hours=10, end_on=days_ago(10))
    return first, second, followed_by(second, hours=20)


def close(*instants: datetime) -> None:
    for at in (*instants, timezone.now()):
        close_periods(at=at)


def test_hours_that_were_carried_over_and_taken_away_again_leave_nothing_to_carry_over() -> None:
    first, second, third = chain(carry_over=Carry.AT_MOST, most_bp=5_000)
    then = noon(days_ago(30), first.pool)
    close_periods(at=then)
    assert balance(second) == (60, 60)
    movements.take_back(
        allocation=second,
        seconds=55 * HOUR,
        by=make.person(),
        approved_by=make.person(),
        at=then,
        key="taken",
        reason="not needed",
    )
    close()
    assert (balance(second), balance(third)) == ((0, 0), (20, 20))
    assert second.period_end.most_seconds == 0
    assert list(differences()) == []


@pytest.mark.parametrize("nights", ["every night", "all missed"])
def test_missed_nights_end_like_nights_that_were_not(nights: str) -> None:
    first, second, third = chain(carry_over=Carry.ALL, wait_days=10)
    close(*([noon(days_ago(39), first.pool), noon(days_ago(20), first.pool)] if nights == "every night" else []))
    assert [balance(each) for each in (first, second, third)] == [(0, 0), (0, 0), (130, 130)]
    assert list(differences()) == []


def test_a_suspended_allocation_still_follows() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=Carry.ALL)
    allocation = ended(pool)
    following = followed_by(allocation, reference="NEXT")
    Allocation.objects.filter(pk=following.pk).update(state=Allocation.State.SUSPENDED)
    close()
    assert balance(following) == (150, 150)
    assert reasons(allocation) == ["Carried over to NEXT (all that was left)"]
