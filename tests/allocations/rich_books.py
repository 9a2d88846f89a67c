"""Books in which every kind of entry stands, made through the verbs: small enough to be verified hundreds of times."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from itertools import count
from typing import Any

from django.utils import timezone

from allocations import movements, requests
from allocations.closing import close_periods
from allocations.models import Allocation, ChangeRequest, JobRun, LedgerEntry, PeriodEnd, PeriodEndRule
from centre.models import GpuPool, User
from centre.permissions import StaffRole
from tests import make
from tests.allocations.books import opened

HOUR = make.HOUR
ALONE = 600
"""GPU-seconds that one officer may move alone."""

Kind = ChangeRequest.Kind


def monday() -> datetime:
    """Ten in the morning, some days ago."""
    return datetime.combine(make.today() - timedelta(days=9), time(10), tzinfo=timezone.get_default_timezone())


@dataclass
class RichBooks:
    """Two officers, a pool and its allocations; what is done is asked for by one and approved by the other."""

    asking: User = field(default_factory=lambda: make.staff(StaffRole.ALLOCATION_OFFICER))
    approving: User = field(default_factory=lambda: make.staff(StaffRole.ALLOCATION_OFFICER))
    pool: GpuPool = field(default_factory=make.pool)
    keys: Iterator[int] = field(default_factory=lambda: count(1))

    def asked(self, kind: Kind, allocation: Allocation, **said: Any) -> ChangeRequest:
        return requests.propose(
            kind=kind,
            allocation=Allocation.objects.get(pk=allocation.pk),
            by=self.asking,
            at=timezone.now(),
            reason="for a test",
            key=f"form-{next(self.keys)}",
            **said,
        )

    def done(self, kind: Kind, allocation: Allocation, *, given: int | None = None, **said: Any) -> LedgerEntry:
        """The act, approved (in part where fewer seconds are `given`); returns its last entry."""
        request = self.asked(kind, allocation, **said)
        requests.approve(request=request, by=self.approving, at=timezone.now(), seconds=given, answer="as agreed")
        return self.last_entry()

    def last_entry(self) -> LedgerEntry:
        return LedgerEntry.objects.latest("pk")

    def use(self, *runs: make.Run, hours_ago: int) -> None:
        """What an export of so many hours ago says of these runs."""
        as_of = timezone.now().replace(microsecond=0) - timedelta(hours=hours_ago)
        make.imported(*runs, cluster=self.pool.cluster, as_of=as_of)


def rich_books() -> RichBooks:
    """Usage of several days and users with corrections and refunds, and every act, some reversed, lapsed or waiting."""
    make.centre(two_person_above_seconds=ALONE)
    books = RichBooks()
    one, two = (make.allocation(pool=books.pool, hours=500) for _ in range(2))
    brought_in = opened(account="brought-in", pool=books.pool, hours=100)
    use(books, one, brought_in)
    give_and_take(books, one, two)
    refund(books, one)
    late_usage(closed_period())
    return books


def use(books: RichBooks, one: Allocation, brought_in: Allocation) -> None:
    """Runs over midnight, of three users; one turns out shorter, one belongs to another user, one to nobody."""
    at = monday()
    runs = [
        make.run(allocation=one, hours=20, gpus=2, start_at=at, user="ada", number=101),
        make.run(allocation=one, hours=3, start_at=at + timedelta(days=1), user="ada", number=102),
        make.run(allocation=one, hours=30, start_at=at + timedelta(days=1), user="ben", number=103),
        make.run(allocation=one, hours=4, start_at=at + timedelta(days=2), user="", number=104),
        make.run(allocation=brought_in, hours=5, gpus=8, start_at=at, user="cho", number=105),
        make.run(allocation=brought_in, start_at=at + timedelta(days=8), user="cho", running=True, number=106),
    ]
    an_hour: dict[str, Any] = {"start_at": at, "end_at": at + timedelta(hours=1)}
    nobodys = make.Run(account="nobody", partition=books.pool.code, number=107, **an_hour)
    books.use(*runs, nobodys, hours_ago=3)
    corrected = (
        make.run(allocation=one, hours=2, start_at=at + timedelta(days=1), user="ada", number=102),
        make.run(allocation=one, hours=4, start_at=at + timedelta(days=2), user="eve", number=104),
    )
    books.use(*corrected, hours_ago=2)


def give_and_take(books: RichBooks, one: Allocation, two: Allocation) -> None:
    """Every act on granted and held hours."""
    given = books.done(Kind.TOP_UP, one, seconds=10 * HOUR)
    books.done(Kind.TOP_UP, one, seconds=10 * HOUR)
    books.done(Kind.REVERSAL, one, entry=given)
    books.done(Kind.TOP_UP, two, seconds=9 * HOUR, given=7 * HOUR)
    books.asked(Kind.TOP_UP, two, seconds=ALONE)  # carried out at once
    books.done(Kind.TAKE_BACK, one, seconds=3 * HOUR)
    moved = books.done(Kind.TRANSFER, one, to_allocation=two, seconds=40 * HOUR)
    books.done(Kind.TRANSFER, two, to_allocation=one, seconds=5 * HOUR, given=4 * HOUR)
    books.done(Kind.REVERSAL, two, entry=moved)
    empty = make.allocation(pool=books.pool, hours=0)
    books.done(Kind.OPENING, empty, seconds=HOUR)
    requests.decline(
        request=books.asked(Kind.TRANSFER, one, to_allocation=two, seconds=HOUR),
        by=books.approving,
        at=timezone.now(),
        answer="not now",
    )
    books.asked(Kind.TRANSFER, one, to_allocation=two, seconds=2 * HOUR)  # waits, its hours are held
    books.asked(Kind.TAKE_BACK, two, seconds=HOUR)  # waits
    for seconds, is_released in ((HOUR, True), (HOUR, False), (2 * HOUR, False)):
        held = movements.hold(
            allocation=one,
            seconds=seconds,
            by=books.asking,
            at=timezone.now(),
            key=f"hold-{next(books.keys)}",
            reason="for an offer",
        )
        if is_released:
            movements.release(held=held, by=books.approving, at=timezone.now(), reason="it was turned down")


def refund(books: RichBooks, one: Allocation) -> None:
    """Two refunds, of which one is reversed; and one whose run turns out to have cost less."""
    runs = {run.job_id_raw: run for run in JobRun.objects.all()}
    books.done(Kind.REFUND, one, runs=[runs[101]])
    reversed_later = books.done(Kind.REFUND, one, runs=[runs[102], runs[103]])
    books.done(Kind.REVERSAL, one, entry=reversed_later)
    books.done(Kind.REFUND, one, runs=[runs[103]])
    shorter = make.run(
        allocation=one, hours=25, start_at=monday() + timedelta(days=1), user="ben", number=103, state="NODE_FAIL"
    )
    books.use(shorter, hours_ago=1)


def closed_period(*, held_hours: int = 0) -> PeriodEnd:
    """A period that ended ten days ago, with 100 GPU-hours granted and 30 used; at most 50 % is carried over."""
    pool = make.pool()
    make.period_end_rule(pool=pool, carry_over=PeriodEndRule.CarryOver.AT_MOST, most_bp=5_000)
    begin, end = make.today() - timedelta(days=60), make.today() - timedelta(days=10)
    ended = make.allocation(pool=pool, hours=100, start_on=begin, end_on=end, account="ended")
    make.allocation(
        pool=pool,
        hours=10,
        project=ended.project,
        start_on=end + timedelta(days=1),
        end_on=make.today() + timedelta(days=90),
        account="ended",
    )
    at = timezone.now().replace(microsecond=0) - timedelta(days=30)
    make.imported(make.run(allocation=ended, hours=30, start_at=at), cluster=pool.cluster)
    if held_hours:
        held: dict[str, Any] = {"seconds": held_hours * HOUR, "key": "hold", "reason": "for an offer"}
        movements.hold(allocation=ended, by=make.person(), at=timezone.now(), **held)
    close_periods(at=timezone.now())
    return PeriodEnd.objects.get()


def late_usage(end: PeriodEnd) -> None:
    """More of the ended period becomes known: it comes out of the forfeit, then out of what was carried over."""
    at = timezone.now().replace(microsecond=0) - timedelta(days=29)
    make.imported(make.run(allocation=end.allocation, hours=45, start_at=at), cluster=end.allocation.pool.cluster)
