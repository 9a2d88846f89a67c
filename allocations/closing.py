"""The end of a period: ended allocations are closed, and the pool's rule says what becomes of the hours that are left.

Each allocation is closed in a transaction of its own, so that an interrupted night loses nothing and the next one goes
on where it stopped. Allocations without a rule, or still waiting for a following one, are left as they are and named.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import DatabaseError, models, transaction
from django.db.models import F, Q
from django.utils import translation
from django.utils.translation import gettext as _

from allocations import requests, staging
from allocations.models import Allocation, ChangeRequest, LedgerEntry, PeriodEnd, PeriodEndRule
from allocations.movements import locked
from allocations.posting import TAKES_DECISIONS, LedgerError
from allocations.settling import AT_CLOSE, LATE, settle
from centre import audit
from centre.instants import going_on_from

Carry = PeriodEndRule.CarryOver
logger = logging.getLogger(__name__)


class Outcome(models.TextChoices):
    """What came of an ended allocation."""

    CLOSED = "closed"
    SETTLED = "settled"  # it was closed before; hours were let go or given back since
    WAITS = "waits"
    NO_RULE = "no_rule"
    CHANGED = "changed"  # by somebody else, just as it was to be closed
    FAILED = "failed"  # `why` says how; nothing of it was written


@dataclass(frozen=True)
class Closing:
    """What came of one ended allocation: GPU-seconds carried over to `following` and forfeited to the reserve.

    `waits_until` is the last day on which an allocation may still come that it can carry over to.
    """

    allocation: Allocation
    outcome: Outcome
    carried: int = 0
    forfeited: int = 0
    following: str = ""
    waits_until: date | None = None
    why: str = ""


def close_periods(*, at: datetime) -> list[Closing]:
    """Close what has ended by the day of its cluster; returns what came of each. Repeated, it does nothing more."""
    return list(_each_ended(at, preview=False))


def preview_closing(*, at: datetime) -> list[Closing]:
    """What `close_periods` would do now. Every closing is carried out and taken back, so nothing stays of it."""
    return list(_each_ended(at, preview=True))


def _each_ended(at: datetime, *, preview: bool) -> Iterator[Closing]:
    latest = at.date() + timedelta(days=1)  # no zone is further ahead
    ended = (
        Allocation.objects.filter(state__in=TAKES_DECISIONS, end_on__lt=latest)
        .select_related("pool__cluster", "project")
        .order_by("pool__code", "end_on", "pk")
    )
    rules = list(PeriodEndRule.objects.in_force(on=latest))
    clock = going_on_from(at)
    for allocation in ended:
        if allocation.end_on >= today_of(allocation, at):
            continue
        rule = rule_for(allocation, rules)
        if rule is None:
            yield Closing(allocation, Outcome.NO_RULE)
            continue
        try:
            with transaction.atomic():
                found = _close(allocation, rule, clock)
                if preview:
                    transaction.set_rollback(True)
        except (LedgerError, DatabaseError) as error:  # the others are closed all the same
            logger.exception("The period of %s could not be closed.", allocation.reference)
            found = Closing(allocation, Outcome.FAILED, why=str(error))
        if found is not None:
            yield found
    left = Allocation.objects.filter(
        state=Allocation.State.CLOSED,
        period_end__isnull=False,
        granted_seconds__gt=F("used_seconds") + F("held_seconds"),
    )
    for allocation in left.select_related("pool__cluster", "period_end__following").order_by("pk"):
        with transaction.atomic():
            staging.lock_cluster(allocation.pool.cluster_id)
            settled = _told(allocation, Outcome.SETTLED, settle(allocation=allocation, at=clock()))
            if preview:
                transaction.set_rollback(True)
        yield settled


def today_of(allocation: Allocation, at: datetime) -> date:
    return at.astimezone(allocation.pool.cluster.zone).date()


def rule_for(allocation: Allocation, rules: Sequence[PeriodEndRule]) -> PeriodEndRule | None:
    """The rule in force for the pool on the last day of the allocation; `rules` are approved ones, the latest first."""
    for rule in rules:
        if rule.pool_id == allocation.pool_id and rule.from_on <= allocation.end_on:
            return rule
    return None


def following_of(allocation: Allocation, rule: PeriodEndRule) -> Allocation | None:
    """The allocation that goes on where this one ended, of the same project, pool and funding; it is not closed yet.

    Its own period may be over by now, when nights were missed: then it is closed next, and carries over in its turn.
    """
    return (
        Allocation.objects.filter(
            project=allocation.project_id,
            pool=allocation.pool_id,
            funding=allocation.funding,
            state__in=TAKES_DECISIONS,
            start_on__gt=allocation.start_on,
            start_on__lte=allocation.end_on + timedelta(days=rule.wait_days),
        )
        .exclude(pk=allocation.pk)
        .order_by("start_on", "pk")
        .first()
    )


def _close(ended: Allocation, rule: PeriodEndRule, clock: Callable[[], datetime]) -> Closing | None:
    """Close one allocation; None when somebody else has closed it by now.

    The lock on the cluster's usage keeps imports of late usage, and a second closing, before or after this one.
    """
    staging.lock_cluster(ended.pool.cluster_id)
    at = clock()
    today = today_of(ended, at)
    following = None if rule.carry_over == Carry.NONE else following_of(ended, rule)
    waits_until = ended.end_on + timedelta(days=rule.wait_days)
    if rule.carry_over != Carry.NONE and following is None and today <= waits_until:
        return Closing(ended, Outcome.WAITS, waits_until=waits_until)
    of_it = ChangeRequest.objects.waiting().filter(Q(allocation=ended) | Q(to_allocation=ended))
    waiting = list(of_it.select_related("allocation", "to_allocation", "hold__allocation"))
    rows = locked(
        row
        for row in (ended, following, *(row for one in waiting for row in (one.allocation, one.to_allocation)))
        if row is not None
    )
    row = rows[ended.pk]
    if row.state not in TAKES_DECISIONS or row.end_on != ended.end_on:
        return None
    if following is not None and rows[following.pk].state not in TAKES_DECISIONS:
        return Closing(ended, Outcome.CHANGED)
    if of_it.exclude(pk__in=[request.pk for request in waiting]).exists():
        return Closing(ended, Outcome.CHANGED)
    _lapse(waiting, at)
    Allocation.objects.filter(pk=row.pk).update(state=Allocation.State.CLOSED)
    before, row.state = row.state, Allocation.State.CLOSED
    end = PeriodEnd.objects.create(
        allocation=row,
        rule=rule,
        following=following,
        most_seconds=rule.most_carried_over(granted_itself(row)),
        closed_at=at,
    )
    posted = settle(allocation=row, at=at, closing=True)
    audit.record(
        act="close_period",
        on=row,
        by=None,
        at=at,
        changes={
            "state": [before, row.state],
            "rule": rule,
            "following": following,
            "most_seconds": end.most_seconds,
        },
    )
    row.period_end = end
    return _told(row, Outcome.CLOSED, posted)


def granted_itself(allocation: Allocation) -> int:
    """GPU-seconds that an allocation was granted, without what was carried over to it from earlier periods.

    A share of these is what a rule carries over: hours do not pile up from period to period, and late usage of an
    earlier period does not change what this one may carry over.
    """
    carried = LedgerEntry.objects.filter(allocation=allocation, source_kind__in=(AT_CLOSE, LATE))
    sums = carried.aggregate(sum=models.Sum("seconds"))
    # Where officers took more away again than was granted to it itself, nothing of its own is left to carry over.
    return max(0, allocation.granted_seconds - int(sums["sum"] or 0))


def _lapse(waiting: Sequence[ChangeRequest], at: datetime) -> None:
    """Requests on an allocation whose period is over wait for nothing any more; their holds are let go."""
    for request in waiting:
        with translation.override("en"):
            answer = _("The period of the allocation has ended.")
        try:
            requests.lapse(request=request, at=at, answer=answer)
        except requests.AlreadyAnswered:
            continue  # between our look and the lock


def _told(allocation: Allocation, outcome: Outcome, posted: Sequence[LedgerEntry]) -> Closing:
    """What the entries on the allocation itself say; those on the following ones mirror them."""
    own = [entry for entry in posted if entry.allocation_id == allocation.pk]
    carried = -sum(entry.seconds for entry in own if entry.key.endswith(":out"))
    following = allocation.period_end.following
    return Closing(
        allocation,
        outcome,
        carried=carried,
        forfeited=-sum(entry.seconds for entry in own) - carried,
        following=following.reference if following is not None else "",
    )
