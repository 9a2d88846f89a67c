"""Closings, imports of late usage and transfers at the same moment: nothing is done twice, nothing waits for ever."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from allocations import movements, rules
from allocations.closing import close_periods
from allocations.models import Allocation, PeriodEndRule
from allocations.verifying import differences
from centre.models import GpuPool
from centre.permissions import StaffRole
from tests import make
from tests.postgres.acting import together

pytestmark = pytest.mark.usefixtures("committed")

HOUR = make.HOUR


def two_periods(pool: GpuPool, account: str, hours: int = 100) -> tuple[Allocation, Allocation]:
    """An allocation that ended ten days ago and the one that follows it; the following one has the lower number."""
    day = make.today() - timedelta(days=10)
    project = make.project()
    following = make.allocation(
        pool=pool, project=project, hours=hours, start_on=day + timedelta(days=1), account=account
    )
    ended = make.allocation(pool=pool, project=project, hours=hours, end_on=day, account=account)
    return ended, following


def use(ended: Allocation, hours: int, number: int) -> None:
    start_at = timezone.now() - timedelta(days=30 - number)
    make.imported(
        make.run(allocation=ended, hours=hours, start_at=start_at.replace(microsecond=0)), cluster=ended.pool.cluster
    )


def close() -> None:
    close_periods(at=timezone.now())


def test_four_closings_together_close_once() -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=PeriodEndRule.CarryOver.AT_MOST, most_bp=1_000)
    pairs = [two_periods(pool, f"account-{number}") for number in range(5)]
    assert together([close] * 4) == ["done"] * 4
    for ended, following in pairs:
        ended.refresh_from_db()
        following.refresh_from_db()
        assert (ended.granted_seconds, following.granted_seconds) == (0, 110 * HOUR)
        assert ended.entries.filter(source_kind="period_end").count() == 2
    assert list(differences()) == []


@pytest.mark.parametrize("attempt", range(4))
def test_closing_imports_and_transfers_together_give_the_books_of_one_after_another(attempt: int) -> None:
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=PeriodEndRule.CarryOver.AT_MOST, most_bp=5_000)
    ended, following = two_periods(pool, "lab")
    other = make.allocation(pool=pool)
    asking, approving = make.person(), make.person()

    def transfer(number: int) -> None:
        movements.transfer(
            source=Allocation.objects.get(pk=following.pk),
            target=Allocation.objects.get(pk=other.pk),
            seconds=HOUR,
            by=asking,
            approved_by=approving,
            at=timezone.now(),
            key=f"transfer-{number}",
            reason="moved",
        )

    acts: list[Callable[[], object]] = [
        *(partial(use, ended, 20, number) for number in range(4)),
        close,
        close,
        *(partial(transfer, number) for number in range(5)),
    ]
    assert together(acts) == ["done"] * len(acts)
    for row in (ended, following):
        row.refresh_from_db()
    assert (ended.used_seconds, ended.granted_seconds) == (80 * HOUR, 80 * HOUR)
    assert following.granted_seconds == (100 + 20 - 5) * HOUR
    assert list(differences()) == []


def test_one_of_two_first_rules_approved_together_counts() -> None:
    pool = make.pool()
    at = timezone.now()
    asked = [
        rules.ask_rule(
            rule=PeriodEndRule(
                pool=pool, from_on=make.today() - timedelta(days=90), carry_over="none", reason="for a test"
            ),
            by=make.staff(StaffRole.ALLOCATION_OFFICER),
            at=at,
        )
        for _ in range(3)
    ]

    def approve(rule: PeriodEndRule) -> str:
        try:
            rules.approve_rule(rule=rule, by=make.person(), at=at)
        except rules.TooLate:
            return "too late"
        return "approved"

    together([partial(approve, rule) for rule in asked])
    assert PeriodEndRule.objects.approved().count() == 1
