"""Random histories of the ledger against a small model of its own: balances are right at every commit, now and then."""

import random
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from allocations.ledger import top_up
from allocations.models import Allocation, LedgerEntry
from allocations.movements import AlreadyResolved, AlreadyReversed, hold, release, reverse, take_back, transfer
from allocations.posting import NotEnough, post
from allocations.verifying import differences
from centre.models import User
from centre.permissions import StaffRole
from tests import make

START = datetime(2026, 1, 1, tzinfo=UTC)
AMOUNTS = st.one_of(st.integers(1, 20), st.integers(1, 10_000_000_000))
TO_TAKE = st.one_of(st.sampled_from(("half of what is left", "all that is left", "one more than is left")), AMOUNTS)
PLACES = st.integers(0, 2)


@dataclass
class Account:
    """One allocation as the model keeps it: plain sums, and what they were after each step."""

    granted: int = 0
    used: int = 0
    held: int = 0
    past: list[tuple[datetime, int]] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.granted - self.used - self.held


class LedgerHistory(RuleBasedStateMachine):
    """Verbs in any order; the model decides by itself what has to be refused."""

    @initialize()
    def begin(self) -> None:
        self.block = transaction.atomic()
        self.block.__enter__()
        self.asking: User = make.staff(StaffRole.ALLOCATION_OFFICER)
        self.approving: User = make.staff(StaffRole.ALLOCATION_OFFICER)
        pool = make.pool()
        self.allocations = [make.allocation(pool=pool, seconds=0, at=START) for _ in range(3)]
        self.model = [Account() for _ in self.allocations]
        self.now = START
        self.keys = 0
        self.holds: list[tuple[int, LedgerEntry]] = []
        self.gifts: list[tuple[int, int, LedgerEntry]] = []
        for place in range(3):
            self.give(place=place, seconds=1_000_000, twice=False)

    def teardown(self) -> None:
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    def tick(self) -> dict[str, Any]:
        """What every act carries, at an instant of its own."""
        self.now += timedelta(seconds=1)
        return {"at": self.now, "reason": "history"}

    def two(self) -> dict[str, Any]:
        return {"by": self.asking, "approved_by": self.approving}

    def seconds_of(self, place: int, amount: int | str) -> int:
        """An amount in words stands for one at the boundary of what the model says is left."""
        if isinstance(amount, int):
            return amount
        left = self.model[place].left
        return max(1, left // 2 if amount.startswith("half") else left + amount.startswith("one more"))

    def key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    @rule(place=PLACES, seconds=AMOUNTS, twice=st.booleans())
    def give(self, place: int, seconds: int, twice: bool) -> None:
        key, when = self.key(), self.tick()
        for _ in range(2 if twice else 1):
            entry = top_up(
                allocation=self.allocations[place],
                seconds=seconds,
                key=key,
                source_kind="test",
                effective_on=date(2026, 1, 1),
                **self.two(),
                **when,
            )
        self.model[place].granted += seconds
        self.gifts.append((place, seconds, entry))

    @rule(place=PLACES, amount=TO_TAKE)
    def take(self, place: int, amount: int | str) -> None:
        seconds = self.seconds_of(place, amount)
        account = self.model[place]
        act: dict[str, Any] = {
            "allocation": self.allocations[place],
            "seconds": seconds,
            "key": self.key(),
            **self.two(),
        }
        if seconds > account.left:
            with pytest.raises(NotEnough):
                take_back(**act, **self.tick())
        else:
            take_back(**act, **self.tick())
            account.granted -= seconds

    @rule(source=PLACES, further=st.integers(1, 2), amount=TO_TAKE)
    def move(self, source: int, further: int, amount: int | str) -> None:
        seconds = self.seconds_of(source, amount)
        target = (source + further) % 3
        act: dict[str, Any] = {
            "source": self.allocations[source],
            "target": self.allocations[target],
            "key": self.key(),
            **self.two(),
        }
        if seconds > self.model[source].left:
            with pytest.raises(NotEnough):
                transfer(seconds=seconds, **act, **self.tick())
        else:
            transfer(seconds=seconds, **act, **self.tick())
            self.model[source].granted -= seconds
            self.model[target].granted += seconds

    @rule(place=PLACES, amount=TO_TAKE)
    def keep_aside(self, place: int, amount: int | str) -> None:
        seconds = self.seconds_of(place, amount)
        act: dict[str, Any] = {
            "allocation": self.allocations[place],
            "seconds": seconds,
            "by": self.asking,
            "key": self.key(),
        }
        if seconds > self.model[place].left:
            with pytest.raises(NotEnough):
                hold(**act, **self.tick())
        else:
            self.holds.append((place, hold(**act, **self.tick())))
            self.model[place].held += seconds

    @precondition(lambda self: bool(getattr(self, "holds", ())))
    @rule(choice=st.randoms(use_true_random=False), again=st.booleans())
    def let_go(self, choice: random.Random, again: bool) -> None:
        place, held = self.holds.pop(choice.randrange(len(self.holds)))
        release(held=held, by=self.asking, **self.tick())
        self.model[place].held += held.seconds
        if again:
            with pytest.raises(AlreadyResolved):
                release(held=held, by=self.asking, **self.tick())

    @precondition(lambda self: bool(getattr(self, "gifts", ())))
    @rule(choice=st.randoms(use_true_random=False))
    def take_a_gift_back(self, choice: random.Random) -> None:
        place, seconds, entry = self.gifts[choice.randrange(len(self.gifts))]
        if seconds > self.model[place].left:
            with pytest.raises(NotEnough):
                reverse(entry=entry, **self.two(), **self.tick())
            return
        reverse(entry=entry, **self.two(), **self.tick())
        self.model[place].granted -= seconds
        self.gifts.remove((place, seconds, entry))
        with pytest.raises(AlreadyReversed):
            reverse(entry=entry, **self.two(), **self.tick())

    @rule(place=PLACES, seconds=AMOUNTS)
    def use(self, place: int, seconds: int) -> None:
        """Usage is a fact: it is charged also past zero."""
        post(
            allocation=self.allocations[place],
            kind=LedgerEntry.Kind.CHARGE,
            seconds=-seconds,
            effective_on=date(2026, 1, 1),
            key=self.key(),
            at=self.tick()["at"],
            source_kind="test",
        )
        self.model[place].used += seconds

    @invariant()
    def totals_are_those_of_the_model(self) -> None:
        if not hasattr(self, "model"):
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT granted_seconds, used_seconds, held_seconds FROM allocations_allocation ORDER BY id")
            stored = [tuple(row) for row in cursor.fetchall()]
        assert stored == [(account.granted, account.used, account.held) for account in self.model]
        for account in self.model:
            account.past.append((self.now, account.left))

    @precondition(lambda self: hasattr(self, "model"))
    @rule(place=PLACES, choice=st.randoms(use_true_random=False))
    def look_back(self, place: int, choice: random.Random) -> None:
        """What was left at a past instant is the sum of what was recorded by then."""
        if past := self.model[place].past:
            instant, left = past[choice.randrange(len(past))]
            entries = LedgerEntry.objects.filter(allocation=self.allocations[place], recorded_at__lte=instant)
            assert sum(entries.values_list("seconds", flat=True)) == left

    @precondition(lambda self: getattr(self, "keys", 0) % 7 == 6)
    @rule()
    def verify(self) -> None:
        assert list(differences()) == []


@pytest.mark.django_db
def test_any_history_keeps_the_balances_of_the_model() -> None:
    run(examples=20, steps=30)


@pytest.mark.hard
@pytest.mark.django_db
def test_ten_thousand_steps_keep_the_balances_of_the_model() -> None:
    run(examples=200, steps=50)


def run(*, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        LedgerHistory,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.django_db
def test_posting_that_overlooks_a_used_key_is_caught() -> None:
    """The control: an entry written with ON CONFLICT DO NOTHING moves the total all the same."""
    allocation = make.allocation(hours=10)
    entry = LedgerEntry.objects.get(allocation=allocation)
    assert list(differences()) == []
    for _ in range(3):
        Allocation.objects.filter(pk=allocation.pk).update(granted_seconds=allocation.granted_seconds + entry.seconds)
        copy = LedgerEntry.objects.get(pk=entry.pk)
        copy.pk = None
        LedgerEntry.objects.bulk_create([copy], ignore_conflicts=True)
    assert LedgerEntry.objects.filter(allocation=allocation).count() == 1
    assert len(list(differences())) == 1
