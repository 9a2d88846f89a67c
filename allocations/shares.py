"""The two shares of the machines that the centre tells about, each always with its own name: *committed* and *used*.

* Committed on a day: over all allocations that cover it and are not void, granted / days of the period, summed up;
  over what that day's capacity can give, less outages. It says how much of the machines is promised.
* Used: GPU-seconds charged over what was available on the last 30 full accounting days before the latest import of each
  cluster. It says how much of the machines did work.

Both are fractions of GPU-seconds. A share of nothing is None, never 0: there are no figures yet.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

from allocations.models import Allocation, DailyUsage, UsageImport
from centre import facility
from centre.facility import PoolService, Share

FULL_DAYS = 30


@dataclass(frozen=True)
class UsedShare:
    """The used share, the instant that the books reach, and the days it is about (the widest, over all clusters)."""

    share: Share
    as_of: datetime
    first_on: date
    last_on: date


@dataclass(frozen=True)
class Shares:
    """Both shares, and the record of the machines that they were worked out from."""

    services: list[PoolService]
    committed: Share | None
    used: UsedShare | None


def shares(*, at: datetime) -> Shares:
    """Read both shares as they stand at an instant, in six queries."""
    imported = UsageImport.objects.latest_as_of()
    earliest = min([*imported.values(), at]).date() - timedelta(days=FULL_DAYS + 2)
    services = facility.services(first_on=earliest, last_on=at.date() + timedelta(days=1))
    return Shares(services=services, committed=committed(services, at=at), used=used(services, imported))


def committed(services: list[PoolService], *, at: datetime) -> Share | None:
    """Promised over available, on the accounting day of each pool's cluster."""
    days = {service.pool.pk: at.astimezone(service.pool.cluster.zone).date() for service in services}
    whole = sum(service.available_seconds(days[service.pool.pk], days[service.pool.pk]) for service in services)
    part = sum(Allocation.objects.committed_per_pool(days).values(), Fraction(0))
    return Share(part=part, whole=whole) if whole else None


def used(services: list[PoolService], imported: dict[int, datetime]) -> UsedShare | None:
    """Charged over available; a cluster without an import is left out, because nothing is known of it yet."""
    windows = {
        service.pool.pk: full_days_before(imported[service.pool.cluster_id], service)
        for service in services
        if service.pool.cluster_id in imported
    }
    if not windows:
        return None
    first_on = min(first for first, _ in windows.values())
    last_on = max(last for _, last in windows.values())
    whole = sum(
        service.available_seconds(*windows[service.pool.pk]) for service in services if service.pool.pk in windows
    )
    per_pool = DailyUsage.objects.all().per_pool_and_day(first_on=first_on, last_on=last_on)
    part = sum(
        seconds
        for pool, (first, last) in windows.items()
        for day, seconds in per_pool.get(pool, {}).items()
        if first <= day <= last
    )
    if not whole:
        return None
    as_of = min(imported[service.pool.cluster_id] for service in services if service.pool.pk in windows)
    return UsedShare(share=Share(part=Fraction(part), whole=whole), as_of=as_of, first_on=first_on, last_on=last_on)


def full_days_before(instant: datetime, service: PoolService) -> tuple[date, date]:
    """The last 30 accounting days that were over at an instant: first and last."""
    today = instant.astimezone(service.pool.cluster.zone).date()
    return today - timedelta(days=FULL_DAYS), today - timedelta(days=1)
