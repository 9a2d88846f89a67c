"""Random histories of allocations, further accounts and imports, and their books by names that any order gives."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from io import BytesIO
from itertools import pairwise
from typing import Any

from django.db import transaction
from django.utils import timezone
from hypothesis import strategies as st

from allocations import drawing
from allocations.ledger import AccountTaken
from allocations.models import Allocation, DrawingAccount
from allocations.usage import import_usage
from allocations.verifying import differences
from centre.models import Cluster, GpuPool, User
from tests import make
from tests.allocations.books import opened, query

FIRST = date(2024, 3, 4)
DAYS = 8
POOLS = ("p0", "p1")
ACCOUNTS = ("ann", "ben")
LetDraw = Callable[[Allocation, "Cover", User], DrawingAccount]
Withdraw = Callable[[DrawingAccount, User], object]


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


@dataclass(frozen=True)
class Cover:
    """Days on which an account's time on a pool is taken: by an allocation of its own, or of the pool's host."""

    pool: str
    account: str
    first: int
    last: int
    draws: bool


@dataclass(frozen=True)
class Told:
    """A run: whole hours from the first midnight on; an export tells of it as it was then."""

    number: int
    account: str
    pool: str
    start: int
    hours: int
    gpus: int


@dataclass(frozen=True)
class History:
    """What is known in the end, what was withdrawn again, the exports by their hour, and an order of it all."""

    covers: tuple[Cover, ...]
    withdrawn: tuple[Cover, ...]
    runs: tuple[Told, ...]
    exports: tuple[int, ...]
    order: tuple[int, ...]


@st.composite
def histories(draw: st.DrawFn) -> History:
    covers: list[Cover] = []
    for pool in POOLS:
        for account in ACCOUNTS:
            ends = sorted(draw(st.sets(st.integers(0, DAYS - 1), max_size=4)))
            for first, last in pairwise(ends):
                kind = draw(st.sampled_from(("nobody", "own", "draws")))
                if kind != "nobody" and last - 1 >= first:
                    covers.append(Cover(pool, account, first, last - 1, kind == "draws"))
    span = st.tuples(st.integers(0, DAYS - 1), st.integers(0, DAYS - 1)).map(sorted)
    withdrawn = draw(
        st.lists(
            st.builds(
                lambda pool, account, days: Cover(pool, account, days[0], days[1], True),
                st.sampled_from(POOLS),
                st.sampled_from(ACCOUNTS),
                span,
            ).filter(lambda cover: cover not in covers),  # the same again is the row that stands: no second one
            max_size=3,
        )
    )
    told = st.tuples(
        st.sampled_from(ACCOUNTS), st.sampled_from(POOLS), st.integers(0, 150), st.integers(1, 60), st.integers(1, 4)
    )
    runs = [Told(n, *one) for n, one in enumerate(draw(st.lists(told, min_size=1, max_size=6)), start=1)]
    exports = draw(st.lists(st.integers(20, 24 * DAYS), min_size=1, max_size=3, unique=True))
    steps = len(covers) + 2 * len(withdrawn) + len(exports)
    order = draw(st.permutations(range(steps)))
    return History(tuple(covers), tuple(withdrawn), tuple(runs), tuple(exports), tuple(order))


def let_draw(allocation: Allocation, cover: Cover, by: User) -> DrawingAccount:
    row, _charged = drawing.let_draw(
        allocation=allocation,
        account=cover.account,
        from_on=day(cover.first),
        until_on=day(cover.last),
        by=by,
        at=timezone.now(),
        reason="for a test",
    )
    return row


def withdraw(row: DrawingAccount, by: User) -> object:
    return drawing.withdraw(drawing_account=row, by=by, at=timezone.now(), reason="for a test")


class Played:
    """A centre in which a history is played; `let_draw` and `withdraw` may be broken ones."""

    def __init__(self, history: History, *, let_draw: LetDraw = let_draw, withdraw: Withdraw = withdraw) -> None:
        self.history = history
        self._let_draw, self._withdraw = let_draw, withdraw
        self.by = make.person()
        self.cluster: Cluster = make.cluster("hgx")
        self.pools: dict[str, GpuPool] = {
            code: make.pool(code, cluster=self.cluster, from_on=date(2020, 1, 1)) for code in POOLS
        }
        self.hosts: dict[str, Allocation] = {}
        self.standing: dict[Cover, DrawingAccount] = {}

    def host(self, pool: str) -> Allocation:
        if pool not in self.hosts:
            self.hosts[pool] = opened(
                account=f"host-{pool}", pool=self.pools[pool], start_on=day(0), end_on=day(DAYS), hours=10
            )
        return self.hosts[pool]

    def known_from_the_start(self) -> None:
        for cover in self.history.covers:
            self.cover(cover)
        for hour in sorted(self.history.exports):
            self.export(hour)

    def in_its_order(self) -> None:
        """Every step once; what was let draw for a while and stands in the way of another is withdrawn before."""
        steps: list[Callable[[], object]] = [
            *(lambda cover=cover: self.cover(cover) for cover in self.history.covers),
            *(lambda cover=cover: self.for_a_while(cover) for cover in self.history.withdrawn),
            *(lambda cover=cover: self.end(cover) for cover in self.history.withdrawn),
            *(lambda hour=hour: self.export(hour) for hour in self.history.exports),
        ]
        for number in self.history.order:
            steps[number]()
        for cover in list(self.standing):
            self.end(cover)

    def cover(self, cover: Cover) -> None:
        try:
            self._cover(cover)
        except AccountTaken:
            for other in [each for each in self.standing if (each.pool, each.account) == (cover.pool, cover.account)]:
                self.end(other)
            self._cover(cover)

    def _cover(self, cover: Cover) -> None:
        if cover.draws:
            self._let_draw(self.host(cover.pool), cover, self.by)
        else:
            opened(
                account=cover.account,
                pool=self.pools[cover.pool],
                start_on=day(cover.first),
                end_on=day(cover.last),
                hours=10,
            )

    def for_a_while(self, cover: Cover) -> None:
        if cover in self.standing:
            return
        try:
            self.standing[cover] = self._let_draw(self.host(cover.pool), cover, self.by)
        except AccountTaken:
            return

    def end(self, cover: Cover) -> None:
        if row := self.standing.pop(cover, None):
            self._withdraw(row, self.by)

    def export(self, hour: int) -> None:
        """What sacct says at that hour of the runs that have begun."""
        midnight = datetime.combine(FIRST, datetime.min.time(), tzinfo=self.cluster.zone)

        def at(hours: int) -> datetime:
            return midnight + timedelta(hours=hours)

        lines = [make.DELIMITER.join(make.FIELDS)]
        for told in self.history.runs:
            if told.start < hour:
                ended = told.start + told.hours <= hour
                run = make.Run(
                    account=told.account,
                    partition=told.pool,
                    gpus=told.gpus,
                    start_at=at(told.start),
                    end_at=at(told.start + told.hours) if ended else None,
                    number=told.number,
                )
                lines.append(run.line(self.cluster))
        import_usage(
            stream=BytesIO("".join(f"{line}\n" for line in lines).encode()),
            file_name="test.txt",
            cluster=self.cluster,
            at=timezone.now(),
            as_of=at(hour),
        )


def books() -> dict[str, list[tuple[object, ...]]]:
    """The books by names and days, without the numbers of rows, which an order decides."""
    of_charges = (
        "FROM allocations_runcharge c JOIN allocations_jobrun r ON r.id = c.run_id "
        "JOIN allocations_allocation a ON a.id = c.allocation_id"
    )
    return {
        "waiting": query("SELECT job_id_raw, unmatched_seconds FROM allocations_jobrun ORDER BY 1"),
        "charges": query(
            f"SELECT r.job_id_raw, a.reference, c.day, SUM(c.seconds) {of_charges} "
            "GROUP BY r.job_id_raw, a.reference, c.day HAVING SUM(c.seconds) <> 0 ORDER BY 1, 2, 3"
        ),
        "usage": query(
            "SELECT a.reference, e.effective_on, SUM(e.seconds) FROM allocations_ledgerentry e "
            "JOIN allocations_allocation a ON a.id = e.allocation_id WHERE e.total = 'used' "
            "GROUP BY a.reference, e.effective_on HAVING SUM(e.seconds) <> 0 ORDER BY 1, 2"
        ),
        "daily": query(
            "SELECT a.reference, d.day, d.user_name, d.outcome, d.seconds FROM allocations_dailyusage d "
            "JOIN allocations_allocation a ON a.id = d.allocation_id WHERE d.seconds <> 0 ORDER BY 1, 2, 3, 4"
        ),
        "totals": query(
            "SELECT reference, used_seconds FROM allocations_allocation WHERE used_seconds <> 0 ORDER BY 1"
        ),
    }


def books_of(history: History, *, in_its_order: bool, **broken: Any) -> dict[str, list[tuple[object, ...]]]:
    """The books after a history, taken back afterwards; verified, unless an act of it is a broken one."""
    with transaction.atomic():
        played = Played(history, **broken)
        played.in_its_order() if in_its_order else played.known_from_the_start()
        found = books()
        if not broken:
            assert list(differences()) == []
        transaction.set_rollback(True)
    return found
