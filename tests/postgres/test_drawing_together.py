"""Accounts let draw, withdrawn and opened for at the same moment as imports: covered once, nothing waits for ever."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from allocations import drawing
from allocations.models import Allocation, DrawingAccount
from allocations.verifying import differences
from centre.models import GpuPool, User
from tests import make
from tests.postgres.acting import together

pytestmark = pytest.mark.usefixtures("committed")


def use(pool: GpuPool, number: int) -> None:
    start_at = timezone.now().replace(microsecond=0) - timedelta(days=20 - number)
    run = make.Run(account="guest", partition=pool.code, start_at=start_at, end_at=start_at + timedelta(hours=30))
    make.imported(run, cluster=pool.cluster)


def let_draw(allocation: Allocation, by: User) -> None:
    drawing.let_draw(
        allocation=Allocation.objects.select_related("pool__cluster").get(pk=allocation.pk),
        account="guest",
        from_on=make.today() - timedelta(days=30),
        by=by,
        at=timezone.now(),
        reason="for a test",
    )


def withdraw(row: DrawingAccount, by: User) -> None:
    drawing.withdraw(
        drawing_account=DrawingAccount.objects.get(pk=row.pk), by=by, at=timezone.now(), reason="for a test"
    )


@pytest.mark.parametrize("attempt", range(4))
def test_an_account_is_covered_once_whoever_comes_first(attempt: int) -> None:
    pool = make.pool()
    hosts = [make.allocation(pool=pool) for _ in range(3)]
    people = [make.person() for _ in range(3)]
    acts: list[Callable[[], object]] = [
        *(partial(let_draw, host, by) for host, by in zip(hosts, people, strict=True)),
        partial(make.allocation, pool=pool, account="guest"),
        *(partial(use, pool, number) for number in range(3)),
    ]
    assert Counter(together(acts)) == {"AccountTaken": 3, "done": 1 + 3}
    covering = DrawingAccount.objects.count() + Allocation.objects.filter(account="guest").count()
    assert covering == 1
    assert list(differences()) == []


@pytest.mark.parametrize("attempt", range(4))
def test_withdrawals_openings_and_imports_together_wait_for_nobody_for_ever(attempt: int) -> None:
    pool = make.pool()
    host, by = make.allocation(pool=pool), make.person()
    let_draw(host, by)
    row = DrawingAccount.objects.get()
    became = together(
        [
            *(partial(use, pool, number) for number in range(3)),
            partial(withdraw, row, by),
            partial(withdraw, row, make.person()),
            partial(make.allocation, pool=pool, account="other"),
        ]
    )
    assert Counter(became) == {"AlreadyWithdrawn": 1, "done": 5}
    assert list(differences()) == []
