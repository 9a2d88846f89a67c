"""A row in every table whose rows are written once, and the tables by name."""

from datetime import datetime, time, timedelta

from django.utils import timezone

from allocations import requests
from allocations.models import ChangeRequest, JobRun, PeriodEnd, PeriodEndRule, TakeBackRule
from centre.models import GpuPool
from centre.permissions import StaffRole
from tests import make

WRITTEN_ONCE = (
    "allocations_ledgerentry",
    "allocations_runcharge",
    "allocations_runrefund",
    "allocations_runobservation",
    "allocations_requestedrun",
    "allocations_periodend",
    "centre_event",
)


def a_row_in_each() -> None:
    """A run that was seen running, then ended, then was refunded, on an allocation whose period was closed."""
    allocation = make.allocation(hours=100)
    ten = datetime.combine(make.today() - timedelta(days=3), time(10), tzinfo=timezone.get_default_timezone())
    running = make.run(allocation=allocation, start_at=ten, running=True)
    make.imported(running, cluster=allocation.pool.cluster, as_of=ten + timedelta(hours=1))
    ended = make.run(allocation=allocation, start_at=ten, hours=2, number=running.number)
    make.imported(ended, cluster=allocation.pool.cluster)
    asking, answering = make.staff(StaffRole.ALLOCATION_OFFICER), make.staff(StaffRole.ALLOCATION_OFFICER)
    refund = requests.propose(
        kind=ChangeRequest.Kind.REFUND,
        allocation=allocation,
        runs=list(JobRun.objects.all()),
        reason="a node failed",
        by=asking,
        at=timezone.now(),
        key="refund",
    )
    requests.approve(request=refund, by=answering, at=timezone.now())
    rule = period_end_rule(allocation.pool, approved=True)
    PeriodEnd.objects.create(allocation=allocation, rule=rule, closed_at=timezone.now())


def period_end_rule(pool: GpuPool, *, approved: bool) -> PeriodEndRule:
    return PeriodEndRule.objects.create(pool=pool, carry_over="none", **by_two_people(approved=approved))


def take_back_rule(pool: GpuPool, *, approved: bool) -> TakeBackRule:
    return TakeBackRule.objects.create(pool=pool, funding="subsidised", **by_two_people(approved=approved))


def by_two_people(*, approved: bool) -> dict[str, object]:
    at = timezone.now()
    asked = {"from_on": make.today(), "reason": "agreed", "asked_by": make.person(), "asked_at": at}
    return asked | ({"approved_by": make.person(), "approved_at": at} if approved else {})
