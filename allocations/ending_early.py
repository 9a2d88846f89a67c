"""A shorter period: an allocation gets an earlier last day, and what runs after it is not covered any more.

The books come out as if the earlier day had been known from the start: what was charged on the days cut off is given
back, and those runs wait for an allocation that takes them. Nothing is closed here: `closing.close_periods` does that
after the new last day, by the rule of the pool. Hours that could have been used are lost by it, so two people always
stand behind one, as behind a longer period.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from allocations import staging
from allocations.last_days import move_last_day
from allocations.models import Allocation, ChangeRequest, JobRun, PeriodEndRule
from allocations.movements import accounting_day, locked
from allocations.posting import TAKES_DECISIONS, TOTALS, LedgerError, PeriodClosed, TwoPeopleNeeded
from allocations.team_letters import What, tell_teams
from centre.models import User

ACT = "end_allocation_early"
Carry = PeriodEndRule.CarryOver


class NotEarlier(LedgerError):
    """The day asked for is no earlier last day, lies before the period, or is over already."""


@transaction.atomic
def end_early(
    *,
    allocation: Allocation,
    last_on: date,
    by: User,
    approved_by: User | None,
    at: datetime,
    reason: str,
    source_reference: str = "",
) -> int:
    """Let the period of an allocation end on an earlier day, which is still included.

    Returns the GPU-seconds that were given back for runs of the days cut off. `source_reference` is the number of the
    request behind it. Raises NotEarlier, PeriodClosed, TwoPeopleNeeded.
    """
    if approved_by is None or approved_by.pk == by.pk:
        raise TwoPeopleNeeded(_("An earlier end needs two people: one who asks and another who approves."))
    staging.lock_cluster(allocation.pool.cluster_id)
    row = locked([allocation])[allocation.pk]
    refuse_early_end(row, last_on=last_on, at=at)
    charged = move_last_day(
        row,
        to=last_on,
        act=ACT,
        source="early-end",
        by=by,
        approved_by=approved_by,
        at=at,
        reason=reason,
        request=source_reference,
    )
    allocation.refresh_from_db(fields=[*TOTALS, "end_on"])
    tell_teams(what=What.ENDED_EARLY, allocations=[row], reason=reason)
    return -charged


def refuse_early_end(allocation: Allocation, *, last_on: date, at: datetime) -> None:
    """Why the period cannot end on that day as things stand; nothing when it can. No query."""
    today = accounting_day(allocation, at)
    said = {
        "reference": allocation.reference,
        "first": date_format(allocation.start_on),
        "last": date_format(allocation.end_on),
        "today": date_format(today),
    }
    if allocation.state not in TAKES_DECISIONS:
        raise PeriodClosed(_("The period of %(reference)s was closed already; it cannot end earlier.") % said)
    if last_on >= allocation.end_on:
        raise NotEarlier(_("%(reference)s lasts until %(last)s. Choose an earlier day.") % said)
    if last_on < today:
        raise NotEarlier(_("That day is over. Choose a day from %(today)s on.") % said)
    if last_on < allocation.start_on:
        raise NotEarlier(_("The period of %(reference)s begins on %(first)s. Choose that day or a later one.") % said)


@dataclass(frozen=True)
class Ending:
    """What would become of an allocation at an earlier last day, if nothing more were used until then.

    `carried` and `forfeited` are GPU-seconds; `rule` is None where the pool has none, and then nothing is closed.
    """

    rule: PeriodEndRule | None
    following: Allocation | None
    carried: int
    forfeited: int
    running: int
    waiting: Sequence[ChangeRequest]


def preview_early_end(allocation: Allocation, *, last_on: date, besides: int | None = None) -> Ending:
    """What ending on that day would do, by the rule that then holds. Reads, no more.

    `besides` is the number of the request about it, which does not count among those that wait.
    """
    from allocations.closing import (  # noqa: PLC0415  closing answers requests, which carry this out
        following_of,
        granted_itself,
        rule_for,
    )

    shorter = Allocation.objects.select_related("pool", "project").get(pk=allocation.pk)
    shorter.end_on = last_on
    rule = rule_for(shorter, list(PeriodEndRule.objects.in_force(on=last_on + timedelta(days=1))))
    following = following_of(shorter, rule) if rule is not None and rule.carry_over != Carry.NONE else None
    left = max(0, shorter.available_seconds)
    carried = 0
    if rule is not None and following is not None:
        most = rule.most_carried_over(granted_itself(shorter))
        carried = left if most is None else min(left, most)
    of_it = Q(allocation=allocation) | Q(to_allocation=allocation)
    return Ending(
        rule=rule,
        following=following,
        carried=carried,
        forfeited=left - carried if rule is not None else 0,
        running=JobRun.objects.unfinished()
        .filter(cluster=shorter.pool.cluster_id, account=shorter.account, start_at__isnull=False)
        .count(),
        waiting=[each for each in ChangeRequest.objects.waiting().filter(of_it) if each.pk != besides],
    )
