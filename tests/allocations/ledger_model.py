"""What the ledger should say, kept as plain sums: the model against which random histories are compared.

It imports nothing of the portal. Why an act is refused it says in a word of its own: "closed", "day", "far", "taken".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

MOST_YEARS = 5
"""A period lasts so many years from today at most."""


@dataclass
class Run:
    """A job run, in the cluster's own time; and up to how much of each of its days was decided to be given back."""

    place: int
    number: int
    gpus: int
    begin: datetime
    seconds: int
    decided: dict[date, int] = field(default_factory=dict)

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(seconds=self.seconds)

    @property
    def spent(self) -> dict[date, int]:
        """GPU-seconds by day, whoever takes them."""
        midnight = datetime.combine(self.begin.date() + timedelta(days=1), time.min)
        parts = (self.begin, min(self.end, midnight)), (midnight, max(self.end, midnight))
        seconds = {begin.date(): int((end - begin).total_seconds()) for begin, end in parts}
        return {day: self.gpus * part for day, part in seconds.items() if part}


@dataclass
class Account:
    """One allocation: its days (both included), plain sums, and by how much each step moved what was left.

    `follows` is the first day on which another allocation takes its runs.
    """

    first: date
    last: date
    follows: date | None = None
    given: int = 0
    held: int = 0
    closed: bool = False
    suspended_at: datetime | None = None
    suspended_because: str = ""
    forfeited: int = 0
    runs: list[Run] = field(default_factory=list)
    moved: list[tuple[datetime, int]] = field(default_factory=list)

    @property
    def state(self) -> str:
        if self.closed:
            return "closed"
        return "open" if self.suspended_at is None else "suspended"

    @property
    def stored(self) -> tuple[int, int, int, str, date, date, datetime | None, str]:
        """What the row of the allocation says."""
        totals = self.granted, self.used, self.held
        return *totals, self.state, self.first, self.last, self.suspended_at, self.suspended_because

    @property
    def granted(self) -> int:
        return self.given - self.forfeited

    @property
    def used(self) -> int:
        return sum(sum(self.refundable(run).values()) for run in self.runs)

    @property
    def left(self) -> int:
        return self.granted - self.used - self.held

    def remember(self, instant: datetime) -> None:
        """What a step changed was recorded at this instant."""
        self.moved.append((instant, self.left - sum(seconds for _instant, seconds in self.moved)))

    def left_at(self, instant: datetime) -> int:
        """What was left by what was on record then."""
        return sum(seconds for recorded, seconds in self.moved if recorded <= instant)

    def charged(self, run: Run) -> dict[date, int]:
        """What a run costs on the days of the period."""
        return {day: seconds for day, seconds in run.spent.items() if self.first <= day <= self.last}

    def refundable(self, run: Run) -> dict[date, int]:
        """What it costs less what was given back of it: never more than it costs now."""
        charged = self.charged(run)
        return {day: seconds - min(run.decided.get(day, 0), seconds) for day, seconds in charged.items()}

    def all_charged(self) -> int:
        return sum(sum(self.charged(run).values()) for run in self.runs)

    def waits(self, run: Run) -> int:
        """What no allocation takes."""
        return sum(run.spent.values()) - sum(self.charged(run).values())

    def settle(self) -> None:
        """Once the period is closed, what is left is forfeited; late usage comes out of that first."""
        if self.closed:
            self.forfeited = max(0, self.given - self.used - self.held)

    def why_not_earlier(self, last: date, *, today: date) -> str:
        """Why the period cannot end on that day; a suspended one can."""
        if self.closed:
            return "closed"
        return "" if max(today, self.first) <= last < self.last else "day"

    def why_not_later(self, last: date, *, today: date) -> str:
        """Why the period cannot last until that day; a suspended one can, and one that is over but not closed."""
        if self.closed:
            return "closed"
        if last <= self.last or last < today:
            return "day"
        if (last.year, last.month, last.day) > (today.year + MOST_YEARS, today.month, today.day):
            return "far"
        return "taken" if self.follows is not None and last >= self.follows else ""

    def new_jobs(self, *, today: date) -> str:
        """What becomes of them where they are slowed once the hours are used up."""
        if self.state != "open" or not self.first <= today <= self.last:
            return "blocked"
        return "open" if self.left > 0 else "slowed"


@dataclass
class Asked:
    """A request that waits: what its approval does, in hours or with the last day, and what is held until then."""

    kind: str
    place: int
    seconds: int = 0
    until_on: date | None = None
    to: int | None = None
    run: Run | None = None

    @property
    def held(self) -> int:
        return self.seconds if self.kind == "transfer" else 0

    @property
    def said(self) -> dict[str, int | date]:
        """How much, or until when, as it is asked and approved."""
        return {"seconds": self.seconds} if self.until_on is None else {"until_on": self.until_on}

    def carry_out(self, accounts: Sequence[Account], *, seconds: int = 0, until_on: date | None = None) -> None:
        account = accounts[self.place]
        if self.kind == "top_up":
            account.given += seconds
        elif self.kind == "take_back":
            account.given -= seconds
        elif self.kind == "transfer" and self.to is not None:
            account.given -= seconds
            accounts[self.to].given += seconds
        elif self.run is not None:
            for day, part in account.refundable(self.run).items():
                self.run.decided[day] = self.run.decided.get(day, 0) + part
        elif until_on is not None:
            account.last = until_on
