"""Acts on periods that are wrong in one way each: the controls of the machine in `period_history`."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from allocations import ending_early, extending, ledger, requests, suspending
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from allocations.posting import PeriodClosed, TwoPeopleNeeded
from allocations.scheduling import Scheduling, scheduling_of
from centre import audit
from centre.models import User
from tests import make
from tests.allocations.ledger_setting import Verb
from tests.allocations.period_history import PeriodHistory

Step = Callable[[PeriodHistory], object]


def suspend_unwritten(*, allocation: Allocation, reason: str, by: User, at: datetime) -> Allocation:
    """It says that it is done, on the trail too, and writes nothing."""
    if why := suspending.why_not(allocation, to=Allocation.State.SUSPENDED):
        raise suspending.AlreadyDecided(why)
    audit.record(
        act="suspend_allocation", on=allocation, by=by, at=at, reason=reason, changes={"state": ["open", "suspended"]}
    )
    return allocation


def resume_what_is_closed(*, allocation: Allocation, reason: str, by: User, at: datetime) -> Allocation:
    """A period that was closed is open again."""
    if allocation.state != Allocation.State.CLOSED:
        return suspending.resume_allocation(allocation=allocation, reason=reason, by=by, at=at)
    suspending.refuse_own_project(allocation, by)
    Allocation.objects.filter(pk=allocation.pk).update(
        state=Allocation.State.OPEN, suspended_at=None, suspended_because=""
    )
    return allocation


def suspend_anew(*, allocations: Sequence[Allocation], reason: str, by: User, at: datetime) -> suspending.Moved:
    """What is suspended already is not left alone: it gets another instant and reason."""
    moved = suspending.suspend_allocations(allocations=allocations, reason=reason, by=by, at=at)
    numbers = [row.pk for row in allocations]
    Allocation.objects.filter(pk__in=numbers, state=Allocation.State.SUSPENDED).update(
        suspended_at=at, suspended_because=reason
    )
    return moved


def resume_ones_own(*, allocations: Sequence[Allocation], reason: str, by: User, at: datetime) -> suspending.Moved:
    """Whose project it is is not asked."""
    return suspending.resume_allocations(allocations=allocations, reason=reason, by=make.person(), at=at)


def end_early_leaving_hours(*, last_on: date, **said: Any) -> int:
    """The hours of the days that are cut off stay charged."""
    ending_early.refuse_early_end(said["allocation"], last_on=last_on, at=said["at"])
    return only_the_day(ending_early.ACT, last_on, **said)


def extend_forgetting_hours(*, until_on: date, **said: Any) -> int:
    """The runs that waited for the added days go on waiting."""
    extending.refuse_extension(said["allocation"], until_on=until_on, at=said["at"])
    return only_the_day(extending.ACT, until_on, **said)


def only_the_day(
    act: str, day: date, *, allocation: Allocation, by: User, approved_by: User, at: datetime, reason: str
) -> int:
    if approved_by == by:
        raise TwoPeopleNeeded
    changes = {"end_on": [allocation.end_on, day], "approved_by": [None, approved_by], "request": ""}
    Allocation.objects.filter(pk=allocation.pk).update(end_on=day)
    audit.record(act=act, on=allocation, by=by, at=at, reason=reason, changes=changes)
    return 0


def approve_without_effect(*, request: ChangeRequest, **said: Any) -> ChangeRequest:
    """Another last day is approved, and stays what it was."""
    if request.kind not in ChangeRequest.OF_DAYS:
        return requests.approve(request=request, **said)
    given = requests.what_is_given(request, seconds=None, until_on=said["until_on"], answer=said["answer"])
    requests.move(
        request,
        to=given.state,
        by=said["by"],
        at=said["at"],
        answer=said["answer"],
        approved_until_on=given.until_on,
    )
    return request


def top_up_not_when_suspended(*, allocation: Allocation, **said: Any) -> LedgerEntry:
    """A suspended allocation takes hours as any other that is not closed."""
    if Allocation.objects.get(pk=allocation.pk).state == Allocation.State.SUSPENDED:
        raise PeriodClosed
    return ledger.top_up(allocation=allocation, **said)


def jobs_start_all_the_same(allocation: Allocation, **said: Any) -> Scheduling:
    """That it is suspended does not reach the scheduler."""
    if allocation.state == Allocation.State.SUSPENDED:
        allocation.state = Allocation.State.OPEN
    return scheduling_of(allocation, **said)


@dataclass(frozen=True)
class Broken:
    """A verb of the machine, what stands in for it, and the shortest history in which that is seen."""

    verb: str
    broken: Verb
    steps: tuple[Step, ...]

    @property
    def machine(self) -> type[PeriodHistory]:
        verbs: Mapping[str, Verb] = {**PeriodHistory.verbs, self.verb: self.broken}
        return type("BrokenHistory", (PeriodHistory,), {"verbs": verbs})


def approve_first(machine: PeriodHistory) -> None:
    machine.approve(choice=random.Random(0), in_part=False)


BROKEN = (
    Broken("suspend", suspend_unwritten, (lambda m: m.suspend(place=1),)),
    Broken(
        "resume",
        resume_what_is_closed,
        (lambda m: m.close(place=1, now=0), lambda m: m.resume(place=1, is_insider=False)),
    ),
    Broken(
        "suspend_several",
        suspend_anew,
        (lambda m: m.suspend(place=1), lambda m: m.suspend_several(which=[0, 1])),
    ),
    Broken(
        "resume_several",
        resume_ones_own,
        (lambda m: m.suspend(place=0), lambda m: m.resume_several(which=[0, 1], is_insider=True)),
    ),
    Broken(
        "end_early",
        end_early_leaving_hours,
        (
            lambda m: m.use(place=1, gpus=1, hour=47, seconds=7_200),  # from an hour before a midnight to an hour after
            lambda m: m.end_early(place=1, day=1, second=1),
        ),
    ),
    Broken(
        "extend",
        extend_forgetting_hours,
        (
            lambda m: m.use(place=0, gpus=1, hour=5 * 24 - 1, seconds=7_200),
            lambda m: m.extend(place=0, day="day after it", second=1),
        ),
    ),
    Broken("approve", approve_without_effect, (lambda m: m.propose_early_end(place=1, day=3), approve_first)),
    Broken(
        "approve", approve_without_effect, (lambda m: m.propose_extension(place=1, day="day after it"), approve_first)
    ),
    Broken(
        "top_up",
        top_up_not_when_suspended,
        (lambda m: m.suspend(place=1), lambda m: m.give(place=1, amount=100)),
    ),
    Broken(
        "scheduling",
        jobs_start_all_the_same,
        (lambda m: m.suspend(place=1), lambda m: m.look_at_new_jobs(place=1)),
    ),
)
