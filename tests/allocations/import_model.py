"""What the books should say after some exports, worked out a second time: nothing here imports the portal's code.

Given what the exports said as rows, who pays (a plan), and the zone: which observation of each run is the true one, and
GPU-seconds per run, allocation and day as plain sums in Python's whole numbers.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.allocations.life_exports import Look, observed
from tests.allocations.slurm_life import Row

RunKey = tuple[int, int]
"""Job number and submission: Slurm keeps at most one record for both."""
ON_ITS_WAY = {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING"}
GPUS = re.compile(r"(?:^|,)gres/gpu(?::([^=]+))?=([0-9]+)")


@dataclass(frozen=True)
class Payer:
    """An allocation: it takes an account's time on a pool on these days."""

    account: str
    pool: str
    first: date
    last: date

    @property
    def name(self) -> str:
        return f"{self.account}/{self.pool}/{self.first}"


@dataclass(frozen=True)
class Plan:
    """Who pays: (kind, name) of GPUs to (pool, first day), and the allocations."""

    pools: Mapping[tuple[str, str], tuple[str, date]]
    payers: Sequence[Payer]

    def payer(self, kind: str, name: str, account: str, day: date) -> str | None:
        pool, first = self.pools.get((kind, name), ("", date.max))
        found = [p.name for p in self.payers if (p.pool, p.account) == (pool, account) and p.first <= day <= p.last]
        return found[0] if found and first <= day else None


@dataclass
class Books:
    """What is compared. `runs`: what the run's row says; the sums leave zeros out."""

    runs: dict[RunKey, tuple[object, ...]] = field(default_factory=dict)
    charges: dict[tuple[RunKey, str, date], int] = field(default_factory=lambda: defaultdict(int))
    entries: dict[tuple[str, date], int] = field(default_factory=lambda: defaultdict(int))
    daily: dict[tuple[str, date, str], int] = field(default_factory=lambda: defaultdict(int))
    totals: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def differences(self, other: "Books") -> list[str]:
        """Where another one says something else, a few of each kind."""
        found = []
        for part in ("runs", "charges", "entries", "daily", "totals"):
            ours, theirs = getattr(self, part), getattr(other, part)
            keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
            found += [f"{part} {key}: {ours.get(key)} / {theirs.get(key)}" for key in keys[:5]]
        return found


def gpus_of(tres: str) -> dict[str, int]:
    """GPUs by type; "" for those of no type."""
    typed = {kind: int(number) for kind, number in GPUS.findall(tres) if kind}
    total = [int(number) for kind, number in GPUS.findall(tres) if not kind]
    rest = (total[0] if total else sum(typed.values())) - sum(typed.values())
    return {**typed, **({"": rest} if rest else {})}


def seconds_by_day(begin: int, until: int, zone: ZoneInfo) -> dict[date, int]:
    """The part of a span that falls on each day of a zone."""
    shares = {}
    day = datetime.fromtimestamp(begin, zone).date()
    while (midnight := datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) < until:
        following = day + timedelta(days=1)
        ends = datetime(following.year, following.month, following.day, tzinfo=zone).timestamp()
        if shared := int(min(until, ends) - max(begin, midnight)):
            shares[day] = shared
        day = following
    return shares


def true_ones(observations: Sequence[tuple[Look, Row]]) -> list[tuple[Look, Row]]:
    """The observations that nothing outranks: ended over on its way, later over earlier, then the latest instant.

    More than one only where exports of the same second contradict each other.
    """

    def rank(seen: tuple[Look, Row]) -> tuple[bool, int, int]:
        look, row = seen
        ended = row.end is not None and row.state.split()[0] not in ON_ITS_WAY
        return ended, look.as_of, row.end or row.start or row.submit

    best = max(map(rank, observations))
    return [seen for seen in observations if rank(seen) == best]


def books_of(
    looks: Iterable[Look], *, plan: Plan, zone: ZoneInfo, stored: Mapping[RunKey, tuple[object, ...]]
) -> Books:
    """The books after these exports. `stored`: among contradictions of the same second the stored one may stand."""
    seen: dict[RunKey, list[tuple[Look, Row]]] = defaultdict(list)
    for look, row in observed(list(looks)):
        seen[row.raw, row.submit].append((look, row))
    books = Books()
    for key, observations in seen.items():
        has_user = any("User" in look.fields for look, _row in observations)
        has_index = any("DBIndex" in look.fields for look, _row in observations)
        could_be = []
        for look, row in true_ones(observations):
            shown = row._replace(user=row.user if has_user else "")
            charges, unmatched = charges_of(shown, look.as_of, plan, zone)
            could_be.append((said_of(shown, look.as_of, unmatched, with_index=has_index), charges, shown.user))
        chosen = [one for one in could_be if one[0] == stored.get(key)] or could_be
        said, charges, user = chosen[0]
        books.runs[key] = said
        for (payer, day), seconds in charges.items():
            books.charges[key, payer, day] += seconds
            books.entries[payer, day] += seconds
            books.daily[payer, day, user] += seconds
            books.totals[payer] += seconds
    return books


def charges_of(row: Row, as_of: int, plan: Plan, zone: ZoneInfo) -> tuple[dict[tuple[str, date], int], int]:
    """GPU-seconds by payer and day, and those that nobody pays."""
    charges: dict[tuple[str, date], int] = defaultdict(int)
    unmatched = 0
    if row.start is None or row.state == "PENDING":
        return charges, 0
    days = seconds_by_day(max(row.submit, row.start), row.end if row.end is not None else as_of, zone)
    for gpu_type, gpus in gpus_of(row.tres).items():
        kind, name = ("tres", f"gres/gpu:{gpu_type}") if gpu_type else ("partition", row.partition)
        for day, seconds in days.items():
            payer = plan.payer(kind, name, row.account, day)
            if payer is None:
                unmatched += gpus * seconds
            else:
                charges[payer, day] += gpus * seconds
    return charges, unmatched


def said_of(row: Row, as_of: int, unmatched: int, *, with_index: bool) -> tuple[object, ...]:
    """What the run's row should say."""
    state = row.state.split()[0]
    ended = row.end is not None and state not in ON_ITS_WAY
    index = str(row.db_index) if with_index else None
    gpus = sum(gpus_of(row.tres).values())
    return (
        *(index, state, row.account, row.user, row.partition, row.start, row.end),
        *(gpus, row.tres, ended, as_of, unmatched),
    )
