"""The capacity board's figures: per GPU pool and month, what the machines can give and what is promised of it.

* In service: GPUs of the pool by its dated capacity. Lost to outages: what they would have given and did not.
* Available: GPU-seconds that the pool can give in the month, less outages (`centre.facility`).
* Committed: what was granted, spread evenly over the days of each allocation's period (`allocations.commitments`).
* Used: GPU-seconds charged for the days of the month, as far as the books of the cluster reach.
* Left free: available less committed. A month with more committed than available is over-committed.
* Asked for: the asks of applications that are received and not decided, spread over the period that they ask for.
* If approved: committed and what the chosen applications ask for; without a choice, what all of them ask for.

Sums are exact fractions of GPU-seconds; they are rounded to whole GPU-seconds once, when a figure is read. Whether a
month is over is decided before any rounding. Nothing here asks the database but `board`, in a fixed number of queries.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cached_property

from allocations.commitments import Month, Stretch, granted_stretches, months_from, spread
from allocations.models import DailyUsage, UsageImport
from centre import facility
from centre.amounts import rounded
from centre.facility import PoolService, Share, Step
from centre.models import GpuPool, User
from subsidies.life_cycle import UNDECIDED
from subsidies.models import Application, ApplicationAsk

MONTHS_SHOWN = 12


@dataclass(frozen=True)
class Asked:
    """What one application in assessment asks for: GPU-seconds by the number of the pool, spread over its period."""

    application: int
    start_on: date
    end_on: date
    seconds: Mapping[int, int]

    def stretch(self, pool: int) -> Stretch:
        return self.start_on, self.end_on, self.seconds.get(pool, 0)


@dataclass(frozen=True)
class Load:
    """GPU-seconds that a month is to carry, against what is available in it."""

    seconds: Fraction
    available: int

    @property
    def whole_seconds(self) -> int:
        return whole(self.seconds)

    @property
    def share(self) -> Share | None:
        """Of what is available; None where nothing is."""
        return Share(self.seconds, self.available) if self.available else None

    @property
    def left(self) -> int:
        """GPU-seconds that remain free, below zero when there are none and more was promised."""
        return whole(self.available - self.seconds)

    @property
    def is_over(self) -> bool:
        return self.seconds > self.available

    @property
    def over(self) -> int:
        """GPU-seconds beyond what is available, at least 1 when it is over at all; else 0."""
        return max(whole(self.seconds - self.available), 1) if self.is_over else 0

    @property
    def over_bp(self) -> int | None:
        """What is beyond over what is available, in basis points; None where nothing is available."""
        return Share(self.seconds - self.available, self.available).bp if self.is_over and self.available else None


@dataclass(frozen=True)
class PoolMonth:
    """One line of the board: a pool in a month.

    `used` is None where nothing is known of the month; `used_until` is the day up to which the books tell it, and None
    once they tell the whole month.
    """

    month: Month
    gpus_first: int
    gpus_last: int
    steps: tuple[Step, ...]
    lost: int
    committed: Load
    asked: Fraction
    chosen: Fraction | None
    used: int | None
    used_until: date | None
    is_running: bool

    @property
    def available(self) -> int:
        return self.committed.available

    @property
    def asked_seconds(self) -> int:
        return whole(self.asked)

    @property
    def chosen_seconds(self) -> int | None:
        return None if self.chosen is None else whole(self.chosen)

    @property
    def added(self) -> Fraction:
        """What would be promised on top: what was chosen, or all that is asked for."""
        return self.asked if self.chosen is None else self.chosen

    @cached_property
    def if_approved(self) -> Load:
        """What would be committed with it."""
        return Load(self.committed.seconds + self.added, self.available)

    @property
    def used_share(self) -> Share | None:
        """Of what is available in the month; None until the books tell the whole of it, as a part misleads."""
        if self.used is None or self.used_until is not None or not self.available:
            return None
        return Share(Fraction(self.used), self.available)


@dataclass(frozen=True)
class PoolBoard:
    """A pool's months, and the instant that the books of its cluster reach (None before the first import)."""

    pool: GpuPool
    months: tuple[PoolMonth, ...]
    books_as_of: datetime | None

    @property
    def over(self) -> list[PoolMonth]:
        """The months with more committed than available."""
        return [month for month in self.months if month.committed.is_over]

    @property
    def over_if_approved(self) -> list[PoolMonth]:
        """The months that are not over now and would be with the applications."""
        return [month for month in self.months if month.if_approved.is_over and not month.committed.is_over]

    @cached_property
    def scale(self) -> int:
        """GPU-seconds that the longest bar stands for."""
        return max(max(month.available, month.if_approved.whole_seconds) for month in self.months)


@dataclass(frozen=True)
class Board:
    """The board as it stands at an instant. `asks` are all applications in assessment, `chosen` those looked at."""

    at: datetime
    months: tuple[Month, ...]
    pools: tuple[PoolBoard, ...]
    asks: tuple[Asked, ...]
    chosen: frozenset[int]


def whole(seconds: Fraction) -> int:
    """Whole GPU-seconds, half up in size."""
    return rounded(seconds.numerator, seconds.denominator)


def board(*, first: Month, at: datetime, chosen: Collection[int] = ()) -> Board:
    """Read the board from a month on, in seven queries; `chosen` are numbers (pk) of applications in assessment.

    What is chosen and no longer in assessment is left out.
    """
    months = months_from(first, MONTHS_SHOWN)
    first_on, last_on = months[0].first_on, months[-1].last_on
    services = facility.services(first_on=first_on, last_on=last_on)
    granted = granted_stretches(first_on=first_on, last_on=last_on)
    asks = asks_in_assessment()
    imported = UsageImport.objects.latest_as_of()
    latest = max(imported.values(), default=at).date() + timedelta(days=1)  # no zone is further ahead
    used = DailyUsage.objects.all().per_pool_and_day(first_on=first_on, last_on=min(last_on, latest))
    known = frozenset(chosen) & {asked.application for asked in asks}
    return Board(
        at=at,
        months=months,
        pools=tuple(
            pool_board(
                service=service,
                months=months,
                granted=granted.get(service.pool.pk, []),
                asks=asks,
                chosen=known,
                used=used.get(service.pool.pk, {}),
                books_as_of=imported.get(service.pool.cluster_id),
                at=at,
            )
            for service in services
        ),
        asks=tuple(asks),
        chosen=known,
    )


def asks_in_assessment() -> list[Asked]:
    """Every application that was received and is not decided, with what it asks for; in one query."""
    rows = ApplicationAsk.objects.filter(application__state__in=UNDECIDED).order_by("application", "pool")
    values = rows.values_list(
        "application", "application__starts_on", "application__ends_on", "pool", "gpu_seconds", named=False
    )
    periods: dict[int, tuple[date, date]] = {}
    seconds: dict[int, dict[int, int]] = {}
    for application, start_on, end_on, pool, asked in values:
        if start_on is None or end_on is None:  # only a draft may lack its period, and none of these is one
            continue
        periods[application] = start_on, end_on
        seconds.setdefault(application, {})[pool] = asked
    return [Asked(number, *period, seconds[number]) for number, period in periods.items()]


def visible_in_assessment(user: User) -> list[Application]:
    """The applications in assessment whose papers this person may see, the longest waiting first; in one query."""
    rows = Application.objects.visible_to(user).filter(state__in=UNDECIDED).select_related("tenant")
    return list(rows.order_by("received_on", "number"))


def pool_board(
    *,
    service: PoolService,
    months: Sequence[Month],
    granted: Sequence[Stretch],
    asks: Sequence[Asked],
    chosen: frozenset[int],
    used: Mapping[date, int],
    books_as_of: datetime | None,
    at: datetime,
) -> PoolBoard:
    """The lines of one pool; arithmetic only. `used` is what was charged per accounting day."""
    zone, pool = service.pool.cluster.zone, service.pool.pk
    today = at.astimezone(zone).date()
    books_on = books_as_of.astimezone(zone).date() if books_as_of else None
    of_pool = [asked for asked in asks if pool in asked.seconds]
    committed = spread(granted, months)
    asked = spread([one.stretch(pool) for one in of_pool], months)
    picked = spread([one.stretch(pool) for one in of_pool if one.application in chosen], months)
    used_in: Counter[Month] = Counter()
    for day, seconds in used.items():
        used_in[Month.of(day)] += seconds
    undisturbed = replace(service, gaps=())
    lines = []
    for nth, month in enumerate(months):
        first_on, last_on = month.first_on, month.last_on
        available = service.available_seconds(first_on, last_on)
        is_known = books_on is not None and books_on >= first_on
        lines.append(
            PoolMonth(
                month=month,
                gpus_first=service.gpus_on(first_on),
                gpus_last=service.gpus_on(last_on),
                steps=tuple(step for step in service.steps if first_on < step.from_on <= last_on),
                lost=undisturbed.available_seconds(first_on, last_on) - available,
                committed=Load(committed[nth], available),
                asked=asked[nth],
                chosen=picked[nth] if chosen else None,
                used=used_in.get(month, 0) if is_known else None,
                used_until=books_on if is_known and books_on is not None and books_on <= last_on else None,
                is_running=first_on <= today <= last_on,
            )
        )
    return PoolBoard(pool=service.pool, months=tuple(lines), books_as_of=books_as_of)
