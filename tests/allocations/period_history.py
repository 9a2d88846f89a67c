"""The machine over every verb of the ledger: to what moves hours it adds what is done with the period itself.

Suspending and resuming, an earlier and a later last day (by two officers at once, or asked and answered), nights that
close what is over. Hours go on being given, taken, held and used in every state, and the model says what is refused.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from allocations import suspending
from allocations.closing import close_periods
from allocations.ending_early import NotEarlier
from allocations.extending import NotLater, TooFar
from allocations.models import Allocation, ChangeRequest
from allocations.posting import PeriodClosed, TwoPeopleNeeded
from allocations.refusals import BenefitsFromIt, NothingAsked
from allocations.taken import AccountTaken
from centre.models import Event
from tests.allocations.ledger_history import LedgerHistory
from tests.allocations.ledger_model import Asked
from tests.allocations.ledger_setting import A_WHILE, PLACES, Refusal, places, some

EARLIER: Mapping[str, Refusal] = {"": None, "closed": PeriodClosed, "day": NotEarlier}
LATER: Mapping[str, Refusal] = {
    "": None,
    "closed": PeriodClosed,
    "day": NotLater,
    "far": TooFar,
    "taken": AccountTaken,
}
ACTS = ("suspend_allocation", "resume_allocation", "end_allocation_early", "extend_allocation")
DAY = timedelta(days=1)
NIGHTS = 20
"""So many pass at most: no history reaches beyond today."""
BOUNDARIES = (
    "last day",
    "day before it",
    "day after it",
    "before the next one",
    "day of the next one",
    "far",
    "too far",
)

days = st.one_of(st.integers(-2, 12), st.sampled_from(BOUNDARIES))
"""A day, from the day of the act on, or one at a boundary of what the model allows."""
several = st.lists(places, min_size=2, max_size=PLACES, unique=True).map(sorted)


class PeriodHistory(LedgerHistory):
    """The whole machine."""

    @initialize()
    def begin(self) -> None:
        self.nights = 0
        super().begin()

    # What the rules are written with

    def day_of(self, place: int, said: int | str) -> date:
        if isinstance(said, int):
            return self.day(said)
        account, today = self.model[place], self.today
        follows = account.follows or account.last + 30 * DAY
        far = today.replace(year=today.year + 5) if (today.month, today.day) != (2, 29) else date(today.year + 5, 2, 28)
        boundaries = (account.last, account.last - DAY, account.last + DAY, follows - DAY, follows, far, far + DAY)
        return dict(zip(BOUNDARIES, boundaries, strict=True))[said]

    def assert_told(self, *acts: tuple[str, int, object, object]) -> None:
        """What the audit trail says of the last act: (act, place, before, after) for each allocation, and no more."""
        events = Event.objects.filter(at=self.now, act__in=ACTS).order_by("pk")
        told = [
            (act, number, changes.get("state") or changes.get("end_on"))
            for act, number, changes in events.values_list("act", "object_id", "changes")
        ]
        assert told == [
            (act, str(self.allocations[place].pk), [str(before), str(after)]) for act, place, before, after in acts
        ]

    # Suspending and resuming

    @rule(place=places)
    def suspend(self, place: int) -> None:
        """Only what is open can be suspended; anybody who may suspend may suspend their own project, too."""
        refusal = None if self.model[place].state == "open" else suspending.AlreadyDecided
        said: dict[str, Any] = {"allocation": self.fresh(place), "by": self.insider, "reason": f" why {place} "}
        self.act(self.verbs["suspend"], refusal=refusal, **said)
        if not refusal:
            self.now_suspended(place, f"why {place}")
            self.assert_told(("suspend_allocation", place, "open", "suspended"))

    @rule(place=places, is_insider=st.booleans())
    def resume(self, place: int, is_insider: bool) -> None:
        refusal: Refusal = None if self.model[place].state == "suspended" else suspending.AlreadyDecided
        if is_insider and place == 0:
            refusal = BenefitsFromIt  # whatever its state
        by = self.insider if is_insider else self.asking
        self.act(self.verbs["resume"], refusal=refusal, allocation=self.fresh(place), by=by, reason="cleared up")
        if not refusal:
            self.now_resumed(place)
            self.assert_told(("resume_allocation", place, "suspended", "open"))

    @rule(which=several)
    def suspend_several(self, which: list[int]) -> None:
        """Those that are not open are left out, and the others suspended all the same."""
        going = [place for place in which if self.model[place].state == "open"]
        rows = [self.allocations[place] for place in reversed(which)]
        moved = self.act(self.verbs["suspend_several"], allocations=rows, by=self.asking, reason="several")
        self.assert_moved(moved, which, going)
        for place in going:
            self.now_suspended(place, "several")
        self.assert_told(*(("suspend_allocation", place, "open", "suspended") for place in going))

    @rule(which=several, is_insider=st.booleans())
    def resume_several(self, which: list[int], is_insider: bool) -> None:
        own = {0} if is_insider else set()
        by = self.insider if is_insider else self.asking
        going = [place for place in which if self.model[place].state == "suspended" and place not in own]
        rows = [self.allocations[place] for place in which]
        moved = self.act(self.verbs["resume_several"], allocations=rows, by=by, reason="several")
        self.assert_moved(moved, which, going)
        for place in going:
            self.now_resumed(place)
        self.assert_told(*(("resume_allocation", place, "suspended", "open") for place in going))

    def now_suspended(self, place: int, why: str) -> None:
        self.model[place].suspended_at, self.model[place].suspended_because = self.now, why

    def now_resumed(self, place: int) -> None:
        self.model[place].suspended_at, self.model[place].suspended_because = None, ""

    def assert_moved(self, moved: suspending.Moved, which: list[int], going: list[int]) -> None:
        numbers = {place: self.allocations[place].pk for place in which}
        assert [row.pk for row in moved.done] == [numbers[place] for place in going]
        left_out = [numbers[place] for place in which if place not in going]
        assert [each.allocation.pk for each in moved.left_out] == left_out

    @precondition(some("model"))
    @rule(place=places)
    def look_at_new_jobs(self, place: int) -> None:
        row = Allocation.objects.select_related("project__tenant").get(pk=self.allocations[place].pk)
        found = self.verbs["scheduling"](row, on=self.today, when_used_up="slowed").state
        assert found == self.model[place].new_jobs(today=self.today)

    # Another last day, by two officers at once

    @rule(place=places, day=days, second=st.integers(0, 9))
    def end_early(self, place: int, day: int | str, second: int) -> None:
        self.move_last_day("end_early", place, self.day_of(place, day), alone=second == 0)

    @rule(place=places, day=days, second=st.integers(0, 9))
    def extend(self, place: int, day: int | str, second: int) -> None:
        self.move_last_day("extend", place, self.day_of(place, day), alone=second == 0)

    def move_last_day(self, verb: str, place: int, day: date, *, alone: bool) -> None:
        """What is given back or charged at once is what the runs cost on the days between."""
        account = self.model[place]
        refusal = TwoPeopleNeeded if alone else self.refusal_of_day(verb, place, day)
        said: dict[str, Any] = {"last_on" if verb == "end_early" else "until_on": day, "reason": "history"}
        said |= {"allocation": self.fresh(place), **self.two()}
        if alone:
            said["approved_by"] = self.asking
        moved = self.act(self.verbs[verb], refusal=refusal, **said)
        if refusal:
            return
        before, charged = account.last, account.all_charged()
        account.last = day
        assert moved == abs(account.all_charged() - charged)
        self.assert_told((ACTS[2] if verb == "end_early" else ACTS[3], place, before, day))
        self.verify()
        said["allocation"] = self.fresh(place)
        self.act(self.verbs[verb], refusal=EARLIER["day"] if verb == "end_early" else LATER["day"], **said)

    def refusal_of_day(self, verb: str, place: int, day: date) -> Refusal:
        account = self.model[place]
        if verb == "end_early":
            return EARLIER[account.why_not_earlier(day, today=self.today)]
        return LATER[account.why_not_later(day, today=self.today)]

    # Another last day, proposed by one officer and answered by another

    @rule(place=places, day=days)
    def propose_early_end(self, place: int, day: int | str) -> None:
        self.propose_day(Asked("early_end", place, until_on=self.day_of(place, day)))

    @rule(place=places, day=days)
    def propose_extension(self, place: int, day: int | str) -> None:
        self.propose_day(Asked("extension", place, until_on=self.day_of(place, day)))

    def propose_day(self, asked: Asked) -> None:
        self.propose(asked, self.refusal_to_carry_out(asked, asked.until_on))

    def refusal_to_carry_out(self, asked: Asked, day: date | None) -> Refusal:
        assert day is not None
        return self.refusal_of_day("end_early" if asked.kind == "early_end" else "extend", asked.place, day)

    def answer_to(self, asked: Asked, *, in_part: bool) -> tuple[dict[str, Any], Refusal]:
        """An extension can be approved to an earlier day than was asked for; an early end as a whole."""
        if asked.until_on is None:
            return super().answer_to(asked, in_part=in_part)
        day = asked.until_on - DAY if in_part else asked.until_on
        if in_part and asked.kind == "early_end":
            return {"until_on": day}, NothingAsked
        return {"until_on": day}, self.refusal_to_carry_out(asked, day)

    # The end of a period

    @rule(is_worked=st.booleans())
    def pass_a_night(self, is_worked: bool) -> None:
        """The next day; periods that are over stay open until the work of a night is done."""
        if self.nights < NIGHTS:
            self.nights += 1
            self.now += DAY
            if is_worked:
                self.close_what_is_over()

    @rule(place=places, now=st.integers(0, 3))
    def close(self, place: int, now: int) -> None:
        """Close one period, seldom, so that most of a history is about open allocations."""
        if now == 0 and not self.model[place].closed:
            if self.model[place].why_not_earlier(self.today, today=self.today) == "":
                self.move_last_day("end_early", place, self.today, alone=False)
            self.pass_a_night(is_worked=True)

    def close_what_is_over(self) -> None:
        """What is left of each period that is over is forfeited, and what waits for it lapses."""
        over = [place for place, account in enumerate(self.model) if not account.closed and account.last < self.today]
        unsettled = [place for place, account in enumerate(self.model) if account.closed and account.left > 0]
        closings = self.act(close_periods)
        outcomes = sorted((closing.allocation.pk, str(closing.outcome)) for closing in closings)
        due = [(place, "closed") for place in over] + [(place, "settled") for place in unsettled]
        assert outcomes == sorted((self.allocations[place].pk, outcome) for place, outcome in due)
        for waiting in [each for each in self.waiting if {each[1].place, each[1].to} & set(over)]:
            request, asked = waiting
            assert ChangeRequest.objects.get(pk=request.pk).state == "lapsed"
            self.waiting.remove(waiting)
            self.answered.append(request)
            self.model[asked.place].held -= asked.held
        for place in over:
            self.model[place].closed = True
        for account in self.model:
            account.settle()
        self.now += A_WHILE
