"""A state machine over the verbs that move hours: the model decides by itself what has to be done and what refused.

What is done with the period joins in `period_history`, whose machine is the one that is run.
"""

import random
from datetime import datetime, time, timedelta
from io import BytesIO
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from allocations import movements, refunds, requests
from allocations.models import Allocation, ChangeRequest, JobRun, LedgerEntry
from allocations.posting import KeyReused, NotEnough, PeriodClosed
from allocations.usage import import_usage
from centre.models import User
from centre.permissions import StaffRole
from tests import make
from tests.allocations.ledger_model import Asked, Run
from tests.allocations.ledger_setting import (
    A_WHILE,
    ALONE,
    PLACES,
    LedgerSetting,
    Refusal,
    choices,
    one_of,
    places,
    some,
)

WORDS = ("half of what is left", "all that is left", "one more than is left")

amounts = st.one_of(st.integers(1, ALONE + 1), st.integers(1, 10_000_000))
to_take = st.one_of(st.sampled_from(WORDS), amounts)
hours_on = st.integers(-6 * 24, 10 * 24)
"""When a run begins, in hours from today's midnight. The cluster's clock may be days ahead of the officers': only so
can there be runs on days that an early end cuts off."""


class LedgerHistory(LedgerSetting):
    """Everything that moves hours, by usage or by officers."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        for place in range(PLACES):
            self.give(place=place, amount=1_000_000)

    # What the rules are written with

    def refusal(self, *at: int, taking: int = 0) -> Refusal:
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
        entry = self.act_with_key(self.verbs["top_up"], refusal=refusal, **given)
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
        """The same key acts once, whatever has become of the allocation; with other content it is refused.

        The accounting day is content of an entry: on another day a verb of the ledger refuses, and acts as little.
        """
        verb, said = one_of(self.sent, choice)
        before, then = LedgerEntry.objects.count(), said["at"].astimezone(self.pool.cluster.zone).date()
        is_content = verb is not requests.propose and then != self.today
        self.act(verb, refusal=KeyReused if is_content else None, **said)
        assert LedgerEntry.objects.count() == before
        day = said.get("until_on")
        other = {"until_on": day + timedelta(days=1)} if day else {"seconds": said["seconds"] + 1}
        self.act(verb, refusal=KeyReused, **{**said, **other})

    # Usage: a fact, charged also past zero and after the end

    @rule(place=places, gpus=st.integers(1, 8), hour=hours_on, seconds=st.integers(1, 40_000))
    def use(self, place: int, gpus: int, hour: int, seconds: int) -> None:
        self.keys += 1
        begin = datetime.combine(self.today, time.min) + timedelta(hours=hour)
        run = Run(place=place, number=self.keys, gpus=gpus, begin=begin, seconds=0)
        self.runs.append(run)
        self.model[place].runs.append(run)
        self.tell_of(run, seconds)

    @precondition(some("runs"))
    @rule(choice=choices, seconds=st.integers(0, 40_000))
    def learn_better(self, choice: random.Random, seconds: int) -> None:
        """A later export says that a run took another time; refunds of it follow."""
        run = one_of(self.runs, choice)
        if run.seconds != seconds:
            self.tell_of(run, seconds)

    def tell_of(self, run: Run, seconds: int) -> None:
        """Import what is known of a run by now; each export is made later than the one before."""
        account, zone = self.model[run.place], self.pool.cluster.zone
        before, run.seconds = account.charged(run), seconds
        told = make.Run(
            account=self.allocations[run.place].account,
            partition=self.pool.code,
            gpus=run.gpus,
            start_at=run.begin.replace(tzinfo=zone),
            end_at=run.end.replace(tzinfo=zone),
            number=run.number,
        )
        self.exported = at = max(self.tick(), self.exported + 2 * A_WHILE, run.end.replace(tzinfo=zone))
        text = f"{make.DELIMITER.join(make.FIELDS)}\n{told.line(self.pool.cluster)}\n"
        stream = BytesIO(text.encode())
        import_usage(stream=stream, file_name="history.txt", cluster=self.pool.cluster, at=at, as_of=at)
        self.recorded = at
        if at == self.now:
            self.now += A_WHILE
        if account.charged(run) != before:
            account.settle()

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
        refusal, refundable = self.refusal(run.place), self.refundable(run)
        if not refusal and not refundable:
            refusal = refunds.NothingToRefund
        row = JobRun.objects.get(job_id_raw=run.number)
        self.propose(Asked("refund", run.place, refundable, run=run), refusal, runs=[row])

    def refundable(self, run: Run) -> int:
        return sum(self.model[run.place].refundable(run).values())

    def propose(self, asked: Asked, refusal: Refusal, **more: Any) -> None:
        said = {"kind": ChangeRequest.Kind(asked.kind), "allocation": self.fresh(asked.place), **more}
        if asked.run is None:
            said |= asked.said
        verb = self.act if asked.run else self.act_with_key
        if asked.run:
            self.keys += 1
            said |= {"key": f"key-{self.keys}", "reason": "history"}
        request = verb(requests.propose, refusal=refusal, by=self.asking, **said)
        if refusal:
            return
        if asked.until_on is None and asked.seconds <= ALONE:
            assert request.state == "carried_out"
            asked.carry_out(self.model, seconds=asked.seconds)
        else:
            assert request.state == "asked"
            self.model[asked.place].held += asked.held
            self.waiting.append((request, asked))

    @precondition(some("waiting"))
    @rule(choice=choices, in_part=st.booleans())
    def approve(self, choice: random.Random, in_part: bool) -> None:
        request, asked = waiting = one_of(self.waiting, choice)
        said, refusal = self.answer_to(asked, in_part=in_part)
        request = ChangeRequest.objects.get(pk=request.pk)
        self.act(self.verbs["approve"], refusal=refusal, request=request, by=self.approving, answer="so", **said)
        if not refusal:
            self.waiting.remove(waiting)
            self.answered.append(request)
            self.model[asked.place].held -= asked.held
            asked.carry_out(self.model, **said)

    def answer_to(self, asked: Asked, *, in_part: bool) -> tuple[dict[str, Any], Refusal]:
        """What an approval says, and why it must not be."""
        seconds = asked.seconds // 2 if in_part and asked.run is None else asked.seconds
        places_of = [asked.place] if asked.to is None else [asked.place, asked.to]
        refusal: Refusal = None
        if any(self.model[place].closed for place in places_of):
            refusal = PeriodClosed
        elif not self.fits(asked, seconds):
            refusal = NotEnough
        elif asked.run is not None and self.refundable(asked.run) != asked.seconds:
            refusal = refunds.RunsChanged
        return {"seconds": seconds}, refusal

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
