"""The setting of random histories of the ledger: where they are played, how an act is called, what always holds."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from allocations import ending_early, extending, requests, suspending
from allocations.ledger import top_up
from allocations.models import Allocation, ChangeRequest, JobRun, LedgerEntry
from allocations.scheduling import scheduling_of
from allocations.verifying import differences
from centre.models import Event, User
from centre.permissions import ProjectRole, StaffRole
from tests import make
from tests.allocations.ledger_model import Account, Asked, Run

PLACES = 3
PERIODS = ((-10, 4), (-10, 90), (2, 120))
"""First and last day of each place, counted from the day on which a history begins."""
FOLLOWED_ON = 200
"""On that day another allocation takes the account of the first place."""
ALONE = 20
"""GPU-seconds up to which an officer acts alone."""
A_WHILE = timedelta(seconds=20)
"""Long acts record the instant at which they come to it: none takes as long as this."""

STORED = (
    *("granted_seconds", "used_seconds", "held_seconds"),
    *("state", "start_on", "end_on", "suspended_at", "suspended_because"),
)

places = st.integers(0, PLACES - 1)
choices = st.randoms(use_true_random=False)
Verb = Callable[..., Any]
Refusal = type[Exception] | None
T = TypeVar("T")


def some(name: str) -> Callable[[Any], bool]:
    """For a rule that needs something to act on."""
    return lambda machine: bool(getattr(machine, name, ()))


def one_of(things: Sequence[T], choice: random.Random) -> T:
    return things[choice.randrange(len(things))]


class LedgerSetting(RuleBasedStateMachine):
    """Three allocations of one pool, two officers, and a third one who belongs to the project of the first.

    `verbs` are those that a control breaks.
    """

    verbs: ClassVar[Mapping[str, Verb]] = MappingProxyType(
        {
            "top_up": top_up,
            "suspend": suspending.suspend_allocation,
            "resume": suspending.resume_allocation,
            "end_early": ending_early.end_early,
            "extend": extending.extend,
            "suspend_several": suspending.suspend_allocations,
            "resume_several": suspending.resume_allocations,
            "approve": requests.approve,
            "scheduling": scheduling_of,
        }
    )

    @initialize()
    def begin(self) -> None:
        self.block = transaction.atomic()
        self.block.__enter__()
        make.centre(two_person_above_seconds=ALONE)
        self.asking: User = make.staff(StaffRole.ALLOCATION_OFFICER)
        self.approving: User = make.staff(StaffRole.ALLOCATION_OFFICER)
        self.now = datetime.combine(make.today() - timedelta(days=25), time(12), tzinfo=timezone.get_default_timezone())
        self.exported = self.recorded = self.now
        self.instants: list[datetime] = []
        self.pool = make.pool()
        make.period_end_rule(pool=self.pool)
        self.model = [Account(first=self.day(first), last=self.day(last)) for first, last in PERIODS]
        self.allocations = [
            make.allocation(pool=self.pool, seconds=0, at=self.now, start_on=account.first, end_on=account.last)
            for account in self.model
        ]
        self.model[0].follows = self.day(FOLLOWED_ON)
        make.allocation(
            project=self.allocations[0].project,
            pool=self.pool,
            account=self.allocations[0].account,
            seconds=0,
            at=self.now,
            start_on=self.day(FOLLOWED_ON),
            end_on=self.day(FOLLOWED_ON + 30),
        )
        self.insider: User = make.staff(StaffRole.ALLOCATION_OFFICER)
        make.member(project=self.allocations[0].project, role=ProjectRole.MEMBER, user=self.insider)
        self.keys = 0
        self.runs: list[Run] = []
        self.holds: list[tuple[int, LedgerEntry]] = []
        self.gifts: list[tuple[int, int, LedgerEntry]] = []
        self.waiting: list[tuple[ChangeRequest, Asked]] = []
        self.answered: list[ChangeRequest] = []
        self.sent: list[tuple[Verb, dict[str, Any]]] = []

    def teardown(self) -> None:
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    # What the rules are written with

    def tick(self) -> datetime:
        """An instant of its own for each act."""
        self.now += timedelta(seconds=1)
        return self.now

    @property
    def today(self) -> date:
        return self.now.astimezone(self.pool.cluster.zone).date()

    def day(self, further: int) -> date:
        return self.today + timedelta(days=further)

    def act(self, verb: Verb, *, refusal: Refusal = None, **said: Any) -> Any:
        """Call a verb; where the model says that it is refused, it has to be, and nothing may have changed."""
        said["at"] = self.tick()
        if refusal is None:
            return verb(**said)
        before = self.recorded_so_far()
        with pytest.raises(refusal):
            verb(**said)
        assert self.recorded_so_far() == before
        return None

    def recorded_so_far(self) -> tuple[int, int, int]:
        asked = ChangeRequest.objects.filter(state="asked")
        return LedgerEntry.objects.count(), asked.count(), Event.objects.count()

    def act_with_key(self, verb: Verb, *, refusal: Refusal, **said: Any) -> Any:
        """An act that carries a key: once it is done it may be sent again (`send_again`)."""
        self.keys += 1
        said |= {"key": f"key-{self.keys}", "reason": "history"}
        done = self.act(verb, refusal=refusal, **said)
        if refusal is None:
            self.sent.append((verb, {**said, "at": self.now}))
        return done

    # What has to hold after every step

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        rows = Allocation.objects.order_by("pk").values_list(*STORED)
        assert list(rows[:PLACES]) == [account.stored for account in self.model]
        waiting = JobRun.objects.order_by("pk").values_list("job_id_raw", "unmatched_seconds")
        assert list(waiting) == [(run.number, self.model[run.place].waits(run)) for run in self.runs]
        for account in self.model:
            account.remember(max(self.now, self.recorded))
        is_ahead = self.recorded > self.now
        self.instants.append(self.recorded + A_WHILE if is_ahead else self.now)
        self.recorded = self.now

    @precondition(some("instants"))
    @rule(place=places, choice=choices)
    def look_back(self, place: int, choice: random.Random) -> None:
        """What was left at a past instant is the sum of what was recorded by then."""
        instant = one_of(self.instants, choice)
        entries = LedgerEntry.objects.as_of(instant).filter(allocation=self.allocations[place])
        assert sum(entries.values_list("seconds", flat=True)) == self.model[place].left_at(instant)

    @precondition(some("model"))
    @rule()
    def verify(self) -> None:
        assert list(differences()) == []
