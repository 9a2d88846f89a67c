"""A longer period: an allocation gets a later last day, and runs that waited for the added days are charged at once.

The books come out as if the later day had been known from the start. A period that was closed stays closed: what was
left of it is settled, so a longer time is a new allocation's. Hours are neither given nor taken; but what would be
forfeited at the end of a period can be used after an extension, so two people always stand behind one.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from allocations import staging
from allocations.last_days import move_last_day
from allocations.ledger import COVERED_ONCE
from allocations.models import Allocation
from allocations.movements import accounting_day, locked
from allocations.posting import TAKES_DECISIONS, TOTALS, LedgerError, PeriodClosed, TwoPeopleNeeded
from allocations.taken import AccountTaken, Wanted, refuse_taken, why_taken
from centre.models import User

__all__ = ["AccountTaken", "NotLater", "TooFar", "extend", "latest_on", "refuse_extension"]

ACT = "extend_allocation"
MOST_YEARS = 5
"""How far ahead a last day may lie: no machine is promised for longer, so a later year was mistyped."""


class NotLater(LedgerError):
    """The day asked for is no later last day, or is over already."""


class TooFar(LedgerError):
    """The day asked for lies further ahead than the centre can promise."""


def latest_on(today: date) -> date:
    """The latest last day that can be asked for on a day."""
    year = today.year + MOST_YEARS
    return date(year, 2, 28) if (today.month, today.day) == (2, 29) else today.replace(year=year)


@transaction.atomic
def extend(
    *,
    allocation: Allocation,
    until_on: date,
    by: User,
    approved_by: User | None,
    at: datetime,
    reason: str,
    source_reference: str = "",
) -> int:
    """Let the period of an allocation last until a later day, which is included.

    Returns the GPU-seconds that were charged at once for runs of the added days. `source_reference` is the number of
    the request behind it. A further account that draws on the allocation keeps its own last day. Raises NotLater,
    TooFar, PeriodClosed, AccountTaken when another allocation takes the account's time on one of the added days,
    TwoPeopleNeeded.
    """
    if approved_by is None or approved_by.pk == by.pk:
        raise TwoPeopleNeeded(_("A longer period needs two people: one who asks and another who approves."))
    staging.lock_cluster(allocation.pool.cluster_id)
    row = locked([allocation])[allocation.pk]
    refuse_extension(row, until_on=until_on, at=at)
    try:
        with transaction.atomic():
            charged = move_last_day(
                row,
                to=until_on,
                act=ACT,
                source="extension",
                by=by,
                approved_by=approved_by,
                at=at,
                reason=reason,
                request=source_reference,
            )
    except IntegrityError as error:
        if any(rule in str(error) for rule in COVERED_ONCE):
            raise AccountTaken(
                _("Another allocation already covers the Slurm account %(account)s on %(pool)s on some of these days.")
                % {"account": row.account, "pool": row.pool.code}
            ) from error
        raise
    allocation.refresh_from_db(fields=[*TOTALS, "end_on"])
    return charged


def refuse_extension(allocation: Allocation, *, until_on: date, at: datetime) -> None:
    """Why the period cannot last until that day as things stand; nothing when it can."""
    refuse_day(allocation, until_on=until_on, at=at)
    refuse_taken(added_days(allocation, until_on))


def refuse_day(allocation: Allocation, *, until_on: date, at: datetime) -> None:
    """PeriodClosed, NotLater or TooFar for what can be told from the allocation alone; no query."""
    today = accounting_day(allocation, at)
    said = {
        "reference": allocation.reference,
        "last": date_format(allocation.end_on),
        "today": date_format(today),
        "latest": date_format(latest_on(today)),
    }
    if allocation.state not in TAKES_DECISIONS:
        raise PeriodClosed(
            _(
                "The period of %(reference)s was closed and what was left of it is settled, so it cannot become "
                "longer. A new allocation can follow it."
            )
            % said
        )
    if until_on <= allocation.end_on:
        raise NotLater(_("%(reference)s lasts until %(last)s already. Choose a later day.") % said)
    if until_on < today:
        raise NotLater(_("That day is over. Choose a day from %(today)s on.") % said)
    if until_on > latest_on(today):
        raise TooFar(_("A period can be made to last until %(latest)s at most. Check the year.") % said)


def added_days(allocation: Allocation, until_on: date) -> Wanted:
    return Wanted(
        pool=allocation.pool,
        account=allocation.account,
        first=allocation.end_on + timedelta(days=1),
        last=until_on,
        besides=allocation.pk,
    )


def why_no_extensions(allocations: Sequence[Allocation], *, until_on: date, at: datetime) -> list[str]:
    """For each allocation why its period cannot last until that day, as a sentence, or nothing; two queries for all."""
    taken = why_taken([added_days(allocation, until_on) for allocation in allocations])
    return [
        why_no_day(allocation, until_on=until_on, at=at) or why
        for allocation, why in zip(allocations, taken, strict=True)
    ]


def why_no_day(allocation: Allocation, *, until_on: date, at: datetime) -> str:
    """Why the day is no later last day, by the allocation alone."""
    try:
        refuse_day(allocation, until_on=until_on, at=at)
    except LedgerError as refused:
        return str(refused)
    return ""
