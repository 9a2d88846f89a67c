"""What a change of a pool's capacity or outages does to its months: where more is promised than the pool can give.

The same figures as the capacity board's: what was granted, spread over the days of each period, against what is
available less outages.
"""

from collections.abc import Iterator
from datetime import date
from fractions import Fraction

from django.db.models import Max

from allocations.commitments import Month, granted_stretches, months_from, spread
from allocations.models import Allocation
from centre.amounts import rounded
from centre.facility import PoolService
from centre.registry import OverCommitment

MOST_MONTHS = 120


def over_commitments(now: PoolService, then: PoolService, first_on: date) -> Iterator[OverCommitment]:
    """The months from that day's on that are over-committed now or would be; in two queries."""
    last_on = Allocation.objects.not_void().filter(pool=now.pool).aggregate(last=Max("end_on"))["last"]
    if last_on is None or last_on < first_on:
        return
    first = Month.of(first_on)
    months = months_from(first, min(first.until(Month.of(last_on)) + 1, MOST_MONTHS))
    granted = granted_stretches(first_on=months[0].first_on, last_on=months[-1].last_on)
    for month, promised in zip(months, spread(granted.get(now.pool.pk, ()), months), strict=True):
        before, after = (
            beyond(promised, service.available_seconds(month.first_on, month.last_on)) for service in (now, then)
        )
        if before or after:
            yield OverCommitment(month.first_on, before, after)


def beyond(promised: Fraction, available: int) -> int:
    """GPU-seconds promised that are not available, at least 1 when there are any."""
    over = promised - available
    return max(rounded(over.numerator, over.denominator), 1) if over > 0 else 0
