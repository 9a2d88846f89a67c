"""A state machine over every verb of the ledger: the model decides by itself what has to be done and what refused."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from io import BytesIO
from typing import Any, TypeVar

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from allocations import movements, refunds, requests
from allocations.closing import close_periods
from allocations.ledger import top_up
from allocations.models import Allocation, ChangeRequest, JobRun, LedgerEntry
from allocations.posting import KeyReused, NotEnough, PeriodClosed
from allocations.usage import import_usage
from allocations.verifying import differences
from centre.models import User
from centre.permissions import StaffRole
from tests import make
from tests.allocations.ledger_model import Account, Asked, Run

PLACES = 3
ALONE = 20
"""GPU-seconds up to which an officer acts alone."""
WORDS = ("half of what is left", "all that is left", "one more than is left")

places = st.integers(0, PLACES - 1)
amounts = st.one_of(st.integers(1, ALONE + 1), st.integers(1, 10_000_000))
to_take = st.one_of(st.sampled_from(WORDS), amounts)
choices = st.randoms(use_true_random=False)
Verb = Callable[..., Any]
T = TypeVar("T")


def some(name: str) -> Callable[[Any], bool]:
    """For a rule that needs something to act on."""
    return lambda machine: bool(getattr(machine, name, ()))


def one_of(things: Sequence[T], choice: random.Random) -> T:
    return things[choice.randrange(len(things))]


class LedgerHistory(RuleBasedStateMachine):
    """Three allocations of one pool, two officers, and everything that can be done to the books."""

    @initialize()
    def begin(self) -> None:
        self.block = transaction.atomic()
        self.block.__enter__()
        make.centre(two_person_above_seconds=ALONE)
        self.asking: User = make.staff(StaffRole.ALLOCATION_OFFICER)
        self.approving: User = make.staff(StaffRole.ALLOCATION_OFFICER)
        self.now = datetime.combine(make.today() - timedelta(days=5), time(12), tzinfo=timezone.get_default_timezone())
        self.pool = make.pool()
        make.period_end_rule(pool=self.pool)
        self.allocations = [make.allocation(pool=self.pool, seconds=0, at=self.now) for _ in range(PLACES)]
        self.model = [Account() for _ in self.allocations]
        self.keys = 0
        self.runs: list[Run] = []
        self.holds: list[tuple[int, LedgerEntry]] = []
        self.gifts: list[tuple[int, int, LedgerEntry]] = []
        self.waiting: list[tuple[ChangeRequest, Asked]] = []
        self.answered: list[ChangeRequest] = []
        self.sent: list[tuple[Verb, dict[str, Any]]] = []
        for place in range(PLACES):
            self.give(place=place, amount=1_000_000)

    def teardown(self) -> None:
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    # What the rules are written with

    def tick(self) -> datetime:
        """An instant of its own for each act."""
        self.now += timedelta(seconds=1)
        return self.now

    def act(self, verb: Verb, *, refusal: type[Exception] | None = None, **said: Any) -> Any:
        """Call a verb; where the model says that it is refused, it has to be, and nothing may have changed."""
        said["at"] = self.tick()
        if refusal is None:
            return verb(**said)
        before = LedgerEntry.objects.count(), ChangeRequest.objects.filter(state="asked").count()
        with pytest.raises(refusal):
            verb(**said)
        assert before == (LedgerEntry.objects.count(), ChangeRequest.objects.filter(state="asked").count())
        return None

    def act_with_key(self, verb: Verb, *, refusal: type[Exception] | None, **said: Any) -> Any:
        """An act that carries a key: once it is done it may be sent again (`send_again`)."""
        self.keys += 1
        said |= {"key": f"key-{self.keys}", "reason": "history"}
        done = self.act(verb, refusal=refusal, **said)
        if refusal is None:
            self.sent.append((verb, said))
        return done

    def refusal(self, *at: int, taking: int = 0) -> type[Exception] | None:
        """Why a decision on these allocations, which takes so much from the first, must not be."""
        if any(self.model[place].closed for place in at):
            return PeriodClosed
        return NotEnough if taking and taking > self.model[at[0]].left else None

    def seconds_of(self, place: int, amount: int | str) -> int:
        """An amount in words stands for one at the boundary of what the model says is left."""
        if isinstance(amount, int):
            return amount
        left = self.model[place].left
        return max(1, left // 2 if amount == WORDS[0] else left + (amount == WORDS[2]))

    def fresh(self, place: int) -> Allocation:
        """The allocation as it stands, as a page would load it."""
        return Allocation.objects.get(pk=self.allocations[place].pk)

    def two(self) -> dict[str, User]:
        return {"by": self.asking, "approved_by": self.approving}

    # Verbs of the ledger

    @rule(place=places, amount=amounts)
    def give(self, place: int, amount: int) -> None:
        refusal = self.refusal(place)
        given = {"allocation": self.allocations[place], "seconds": amount, "source_kind": "test", **self.two()}
        entry = self.act_with_key(top_up, refusal=refusal, **given)
        if not refusal:
            self.model[place].given += amount
            self.gifts.append((place, amount, entry))

    @rule(place=places, amount=to_take)
    def take(self, place: int, amount: int | str) -> None:
        seconds = self.seconds_of(place, amount)
        refusal = self.refusal(place, taking=seconds)
        taken = {"allocation": self.allocations[place], "seconds": seconds, **self.two()}
        self.act_with_key(movements.take_back, refusal=refusal, **taken)
        if not refusal:
            self.model[place].given -= seconds

    @rule(source=places, further=st.integers(1, PLACES - 1), amount=to_take)
    def move(self, source: int, further: int, amount: int | str) -> None:
        seconds, target = self.seconds_of(source, amount), (source + further) % PLACES
        refusal = self.refusal(source, target, taking=seconds)
        moved = {"source": self.allocations[source], "target": self.allocations[target], "seconds": seconds}
        if refusal is PeriodClosed and not self.model[source].closed and seconds > self.model[source].left:
            refusal = NotEnough  # the source is asked first
        self.act_with_key(movements.transfer, refusal=refusal, **moved, **self.two())
        if not refusal:
            self.model[source].given -= seconds
            self.model[target].given += seconds

    @rule(place=places, amount=to_take)
    def keep_aside(self, place: int, amount: int | str) -> None:
        seconds = self.seconds_of(place, amount)
        refusal = self.refusal(place, taking=seconds)
        kept = {"allocation": self.allocations[place], "seconds": seconds, "by": self.asking}
        entry = self.act_with_key(movements.hold, refusal=refusal, **kept)
        if not refusal:
            self.holds.append((place, entry))
            self.model[place].held += seconds

    @precondition(some("holds"))
    @rule(choice=choices)
    def let_go(self, choice: random.Random) -> None:
        place, held = self.holds.pop(choice.randrange(len(self.holds)))
        let_go: dict[str, Any] = {"held": held, "by": self.asking, "reason": "history"}
        self.act(movements.release, **let_go)
        self.model[place].held += held.seconds
        self.act(movements.release, refusal=movements.AlreadyResolved, **let_go)

    @precondition(some("gifts"))
    @rule(choice=choices)
    def take_a_gift_back(self, choice: random.Random) -> None:
        place, seconds, entry = gift = one_of(self.gifts, choice)
        refusal = self.refusal(place, taking=seconds)
        undone = {"entry": entry, "reason": "history", **self.two()}
        self.act(movements.reverse, refusal=refusal, **undone)
        if not refusal:
            self.model[place].given -= seconds
            self.gifts.remove(gift)
            self.act(movements.reverse, refusal=movements.AlreadyReversed, **undone)

    @precondition(some("sent"))
    @rule(choice=choices)
    def send_again(self, choice: random.Random) -> None:
        """The same key acts once, whatever has become of the allocation; with other content it is refused."""
        verb, said = one_of(self.sent, choice)
        before = LedgerEntry.objects.count()
        self.act(verb, **said)
        assert LedgerEntry.objects.count() == before
        self.act(verb, refusal=KeyReused, **{**said, "seconds": said["seconds"] + 1})

    # Usage: a fact, charged also past zero and after the end

    @rule(place=places, gpus=st.integers(1, 8), seconds=st.integers(1, 40_000))
    def use(self, place: int, gpus: int, seconds: int) -> None:
        self.keys += 1
        run = Run(place=place, number=self.keys, gpus=gpus, seconds=seconds)
        self.runs.append(run)
        self.model[place].runs.append(run)
        self.import_run(run)

    @precondition(some("runs"))
    @rule(choice=choices, seconds=st.integers(0, 40_000))
    def learn_better(self, choice: random.Random, seconds: int) -> None:
        """A later export says that a run took another time; refunds of it follow."""
        run = one_of(self.runs, choice)
        if run.seconds != seconds:
            run.seconds = seconds
            self.import_run(run)

    def import_run(self, run: Run) -> None:
        allocation, at = self.allocations[run.place], self.tick()
        begin = datetime.combine(make.today() - timedelta(days=6), time(1), tzinfo=self.pool.cluster.zone)
        told = make.Run(
            account=allocation.account,
            partition=self.pool.code,
            gpus=run.gpus,
            start_at=begin,
            end_at=begin + timedelta(seconds=run.seconds),
            number=run.number,
        )
        text = f"{make.DELIMITER.join(make.FIELDS)}\n{told.line(self.pool.cluster)}\n"
        stream = BytesIO(text.encode())
        import_usage(stream=stream, file_name="history.txt", cluster=self.pool.cluster, at=at, as_of=at)
        self.model[run.place].settle()

    # Requests: proposed by one officer, answered by another

    @rule(place=places, amount=amounts)
    def propose_top_up(self, place: int, amount: int) -> None:
        self.propose(Asked("top_up", place, amount), self.refusal(place))

    @rule(place=places, amount=to_take)
    def propose_take_back(self, place: int, amount: int | str) -> None:
        seconds = self.seconds_of(place, amount)
        self.propose(Asked("take_back", place, seconds), self.refusal(place, taking=seconds))

    @rule(place=places, further=st.integers(1, PLACES - 1), amount=to_take)
    def propose_transfer(self, place: int, further: int, amount: int | str) -> None:
        seconds, to = self.seconds_of(place, amount), (place + further) % PLACES
        refusal = self.refusal(place, to, taking=seconds)
        self.propose(Asked("transfer", place, seconds, to=to), refusal, to_allocation=self.fresh(to))

    @precondition(some("runs"))
    @rule(choice=choices)
    def propose_refund(self, choice: random.Random) -> None:
        run = one_of(self.runs, choice)
        refusal = self.refusal(run.place)
        if not refusal and not run.refundable:
            refusal = refunds.NothingToRefund
        row = JobRun.objects.get(job_id_raw=run.number)
        self.propose(Asked("refund", run.place, run.refundable, run=run), refusal, runs=[row])

    def propose(self, asked: Asked, refusal: type[Exception] | None, **more: Any) -> None:
        said = {"kind": ChangeRequest.Kind(asked.kind), "allocation": self.fresh(asked.place), **more}
        if asked.run is None:
            said["seconds"] = asked.seconds
        verb = self.act if asked.run else self.act_with_key
        if asked.run:
            self.keys += 1
            said |= {"key": f"key-{self.keys}", "reason": "history"}
        request = verb(requests.propose, refusal=refusal, by=self.asking, **said)
        if refusal:
            return
        if asked.seconds <= ALONE:
            assert request.state == "carried_out"
            asked.carry_out(self.model, asked.seconds)
        else:
            assert request.state == "asked"
            self.model[asked.place].held += asked.held
            self.waiting.append((request, asked))

    @precondition(some("waiting"))
    @rule(choice=choices, in_part=st.booleans())
    def approve(self, choice: random.Random, in_part: bool) -> None:
        request, asked = waiting = one_of(self.waiting, choice)
        seconds = asked.seconds // 2 if in_part and asked.run is None else asked.seconds
        places_of = [asked.place] if asked.to is None else [asked.place, asked.to]
        refusal: type[Exception] | None = None
        if any(self.model[place].closed for place in places_of):
            refusal = PeriodClosed
        elif not self.fits(asked, seconds):
            refusal = NotEnough
        elif asked.run is not None and asked.run.refundable != asked.seconds:
            refusal = refunds.RunsChanged
        request = ChangeRequest.objects.get(pk=request.pk)
        self.act(requests.approve, refusal=refusal, request=request, by=self.approving, seconds=seconds, answer="so")
        if not refusal:
            self.waiting.remove(waiting)
            self.answered.append(request)
            self.model[asked.place].held -= asked.held
            asked.carry_out(self.model, seconds)

    def fits(self, asked: Asked, seconds: int) -> bool:
        takes = asked.kind in {"take_back", "transfer"}
        return not takes or seconds <= self.model[asked.place].left + asked.held

    @precondition(some("waiting"))
    @rule(choice=choices, how=st.sampled_from(("decline", "withdraw", "lapse")))
    def end_without_effect(self, choice: random.Random, how: str) -> None:
        request, asked = waiting = one_of(self.waiting, choice)
        request = ChangeRequest.objects.get(pk=request.pk)
        if how == "decline":
            self.act(requests.decline, request=request, by=self.approving, answer="no")
        elif how == "withdraw":
            self.act(requests.withdraw, request=request, by=self.asking)
        else:
            self.act(requests.lapse, request=request, answer="nobody answered")
        self.waiting.remove(waiting)
        self.answered.append(request)
        self.model[asked.place].held -= asked.held

    @precondition(some("answered"))
    @rule(choice=choices)
    def answer_again(self, choice: random.Random) -> None:
        """A request is answered once."""
        request = ChangeRequest.objects.get(pk=one_of(self.answered, choice).pk)
        late: dict[str, Any] = {"refusal": requests.AlreadyAnswered, "request": request}
        self.act(requests.decline, by=self.approving, answer="no", **late)
        self.act(requests.approve, by=make.staff(StaffRole.ALLOCATION_OFFICER), **late)

    # The end of a period

    @rule(place=places, now=st.integers(0, 3))
    def close(self, place: int, now: int) -> None:
        """Close one period, seldom, so that most of a history is about open allocations: what is left is forfeited."""
        if now == 0 and not self.model[place].closed:
            Allocation.objects.filter(pk=self.allocations[place].pk).update(end_on=self.now.date() - timedelta(days=1))
            closing = self.act(close_periods)[0]
            assert (closing.allocation.pk, closing.outcome) == (self.allocations[place].pk, "closed")
            for waiting in [waiting for waiting in self.waiting if place in (waiting[1].place, waiting[1].to)]:
                self.waiting.remove(waiting)
                self.answered.append(waiting[0])
                self.model[waiting[1].place].held -= waiting[1].held
            self.model[place].closed = True
            for account in self.model:
                account.settle()  # the night looks after the others too

    # What has to hold after every step

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

    @precondition(some("model"))
    @rule(place=places, choice=choices)
    def look_back(self, place: int, choice: random.Random) -> None:
        """What was left at a past instant is the sum of what was recorded by then."""
        if past := self.model[place].past:
            instant, left = one_of(past, choice)
            entries = LedgerEntry.objects.as_of(instant).filter(allocation=self.allocations[place])
            assert sum(entries.values_list("seconds", flat=True)) == left

    @precondition(some("model"))
    @rule()
    def verify(self) -> None:
        assert list(differences()) == []
