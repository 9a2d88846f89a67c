"""What GPU time is worth: the list price of a day, the subsidy's share. Whole numbers; rounded once, half up.

list value (cents)  =  sum of GPU-seconds x cents per GPU-hour / 3600
subsidy (cents)     =  the same x rate in basis points / 10000
"""

from collections.abc import Iterable, Sequence
from datetime import date

from centre.amounts import rounded
from centre.models import GpuPool, ListPrice

PER_HOUR = 3600
PER_WHOLE = 10_000


def cent_seconds(parts: Iterable[tuple[int, int]]) -> int:
    """The sum of GPU-seconds x cents per GPU-hour over (GPU-seconds, cents per GPU-hour): exact, not yet divided."""
    return sum(seconds * price for seconds, price in parts)


def list_value_cents(of: int) -> int:
    """Cent-seconds at list price, in cents."""
    return rounded(of, PER_HOUR)


def subsidy_cents(of: int, *, rate_bp: int) -> int:
    """The share of cent-seconds that a rate pays, in cents."""
    return rounded(of * rate_bp, PER_HOUR * PER_WHOLE)


def list_prices(pools: Sequence[GpuPool], *, on: date) -> dict[int, int]:
    """Cents per GPU-hour on a day, by the pools' ids; a pool without a price by then is not in it."""
    newest = ListPrice.objects.on(on).filter(pool__in=[pool.pk for pool in pools]).order_by("pool", "from_on")
    return dict(newest.values_list("pool_id", "cents_per_gpu_hour"))  # the latest of each pool comes last, and stays
