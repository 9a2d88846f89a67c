"""What the ledger should say, kept as plain sums: the model against which random histories are compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass
class Run:
    """A job run on one day: what it costs, and up to how much of that was decided to be given back."""

    place: int
    number: int
    gpus: int
    seconds: int
    decided: int = 0

    @property
    def charged(self) -> int:
        return self.gpus * self.seconds

    @property
    def refundable(self) -> int:
        return self.charged - min(self.decided, self.charged)


@dataclass
class Account:
    """One allocation: plain sums, and what was left after each step."""

    given: int = 0
    held: int = 0
    closed: bool = False
    forfeited: int = 0
    runs: list[Run] = field(default_factory=list)
    past: list[tuple[datetime, int]] = field(default_factory=list)

    @property
    def granted(self) -> int:
        return self.given - self.forfeited

    @property
    def used(self) -> int:
        return sum(run.refundable for run in self.runs)

    @property
    def left(self) -> int:
        return self.granted - self.used - self.held

    def settle(self) -> None:
        """Once the period is closed, what is left is forfeited; late usage comes out of that first."""
        if self.closed:
            self.forfeited = max(0, self.given - self.used - self.held)


@dataclass
class Asked:
    """A request that waits: what its approval gives (negative: takes) where, and what is held until then."""

    kind: str
    place: int
    seconds: int
    to: int | None = None
    run: Run | None = None

    @property
    def held(self) -> int:
        return self.seconds if self.kind == "transfer" else 0

    def carry_out(self, accounts: Sequence[Account], seconds: int) -> None:
        account = accounts[self.place]
        if self.kind == "top_up":
            account.given += seconds
        elif self.kind == "take_back":
            account.given -= seconds
        elif self.kind == "transfer" and self.to is not None:
            account.given -= seconds
            accounts[self.to].given += seconds
        elif self.run is not None:
            self.run.decided += seconds
