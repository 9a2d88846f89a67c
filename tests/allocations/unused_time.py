"""A pool with a take-back rule, allocations of 100 days on it, and the nights that judge them; for tests."""

from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from django.apps import apps

from allocations import rules
from allocations.models import Allocation, TakeBackRule, TakeBackWarning
from allocations.take_back_cases import Finding
from allocations.taking_back import take_back_unused
from centre.models import GpuPool
from centre.permissions import StaffRole
from tests import make

HOUR = make.HOUR
ZONE = ZoneInfo("Asia/Hong_Kong")
START, END = date(2026, 1, 1), date(2026, 4, 10)  # 100 days
HALF, WARNED_ON, DUE = date(2026, 2, 19), date(2026, 2, 20), date(2026, 3, 6)
"""The 50th day, the day after it, and 14 days later."""


LATER = datetime(2026, 12, 1, 12, tzinfo=ZONE)
"""When the tests run: the instants of the nights are passed in; imports only ask that they are over."""


def at(day: date, hour: int = 2) -> datetime:
    return datetime.combine(day, time(hour), tzinfo=ZONE)


def rule_of(
    pool: GpuPool, *, from_on: date = START, funding: str = "internal", approved: bool = True, **terms: int
) -> TakeBackRule:
    """Under 40 % at half time: warn, take back 14 days later; unless told otherwise."""
    asked_at = at(from_on)
    rule = TakeBackRule(pool=pool, funding=funding, from_on=from_on, reason="GPU time is scarce", **terms)
    rules.ask_rule(rule=rule, by=make.staff(StaffRole.ALLOCATION_OFFICER, since=asked_at), at=asked_at)
    return rules.approve_rule(rule=rule, by=make.person(), at=asked_at) if approved else rule


def given_hours(pool: GpuPool, *, hours: int = 1_000, funding: str = "internal", end_on: date = END) -> Allocation:
    return make.allocation(pool=pool, hours=hours, start_on=START, end_on=end_on, funding=funding, at=at(START, 0))


def books_until(pool: GpuPool, instant: datetime, *used: tuple[Allocation, date, int]) -> None:
    """The cluster's books reach that instant; an allocation used so many GPU-hours on a day, at noon."""
    runs = [make.run(allocation=row, hours=1, gpus=hours, start_at=at(day, 12)) for row, day, hours in used]
    make.imported(*runs, cluster=pool.cluster, as_of=instant)


def night(day: date, *, books: GpuPool | None = None, dry_run: bool = False) -> list[tuple[str, str]]:
    """What one night finds, as (allocation, what), with books until its midnight where a pool is named."""
    if books is not None:
        books_until(books, at(day, 0))
    return told(take_back_unused(at=at(day), dry_run=dry_run))


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.allocation.reference, str(finding.what)) for finding in findings]


def outcome(allocation: Allocation) -> tuple[str, int, int]:
    """Of its one warning; with the GPU-seconds granted and left now."""
    allocation.refresh_from_db()
    warning = TakeBackWarning.objects.get(allocation=allocation)
    return warning.outcome, allocation.granted_seconds, allocation.available_seconds


def row_counts() -> dict[str, int]:
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}
