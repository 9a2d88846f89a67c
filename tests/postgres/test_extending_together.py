"""Extensions at the same moment as each other, as imports and as openings: each once, nothing waits for ever."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from allocations import requests
from allocations.models import Allocation, ChangeRequest
from allocations.verifying import differences
from centre.models import Event, User
from centre.permissions import StaffRole
from tests import make
from tests.postgres.acting import together

pytestmark = pytest.mark.usefixtures("committed")
DAY = timedelta(days=1)


def officer() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


def asked(allocation: Allocation, days: int = 30) -> ChangeRequest:
    until_on = make.today() + days * DAY
    return requests.ask(
        kind=ChangeRequest.Kind.EXTENSION,
        allocation=allocation,
        until_on=until_on,
        reason="-",
        by=officer(),
        at=timezone.now(),
    )


def approve(row: ChangeRequest, by: User) -> None:
    request = ChangeRequest.objects.select_related("allocation__pool__cluster").get(pk=row.pk)
    requests.approve(request=request, by=by, at=timezone.now())


def use(allocation: Allocation, days_ago: int) -> None:
    start_at = timezone.now().replace(microsecond=0) - days_ago * DAY
    run = make.Run(
        account=allocation.account,
        partition=allocation.pool.code,
        start_at=start_at,
        end_at=start_at + timedelta(hours=2),
    )
    make.imported(run, cluster=allocation.pool.cluster)


@pytest.mark.parametrize("attempt", range(4))
def test_of_two_officers_one_makes_the_period_longer(attempt: int) -> None:
    allocation = make.allocation(end_on=make.today() + 10 * DAY)
    row = asked(allocation)
    became = together([partial(approve, row, officer()) for _ in range(2)])
    assert became == ["AlreadyAnswered", "done"]
    assert Event.objects.filter(act="extend_allocation").count() == 1
    assert Allocation.objects.get().end_on == make.today() + 30 * DAY
    assert list(differences()) == []


@pytest.mark.parametrize("attempt", range(4))
def test_an_extension_among_imports_and_openings_charges_each_run_once(attempt: int) -> None:
    """A run is charged whether it comes before the longer period or after it."""
    allocation = make.allocation(end_on=make.today() - 10 * DAY)
    use(allocation, 8)
    row, by = asked(allocation), officer()
    opening = partial(
        make.allocation,
        project=allocation.project,
        pool=allocation.pool,
        start_on=make.today() + 20 * DAY,
        end_on=make.today() + 90 * DAY,
    )
    acts: list[Callable[[], object]] = [
        *(partial(use, allocation, days_ago) for days_ago in (3, 4, 5)),
        partial(approve, row, by),
        opening,
    ]
    assert Counter(together(acts)) == {"AccountTaken": 1, "done": 4}
    allocation.refresh_from_db()
    row.refresh_from_db()
    is_longer = row.state == ChangeRequest.State.APPROVED
    assert allocation.used_seconds == (4 * 2 * make.HOUR if is_longer else 0)
    assert list(differences()) == []
