"""What became of the GPU-hours left on a closed allocation follows from its usage as it is known now.

    left      = max(0, given - used - held)       given: all that was granted, before its own closing took anything
    carried   = min(left, the rule's most)         0 where no allocation follows
    forfeited = left - carried                     to the pool's reserve

`settle` compares this with what stands and posts the difference. So late usage first takes back the forfeit, then the
carry-over, up to their amounts; usage corrected downwards gives back in the same order; and the books depend on the
usage alone, not on the order in which it became known. What an allocation no longer has, because officers gave it away,
cannot be taken back from it; then the closed allocation shows as overdrawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Count, Q, Sum
from django.utils import translation
from django.utils.translation import gettext as _

from allocations import staging
from allocations.models import Allocation, LedgerEntry, PeriodEnd, PeriodEndRule
from allocations.movements import accounting_day, locked, record_movement
from allocations.posting import post
from centre.templatetags.portal import percent

Kind = LedgerEntry.Kind
AT_CLOSE, LATE = "period_end", "late_usage"


@dataclass
class Standing:
    """A link of a chain of allocations that follow each other, and what stands of its closing (GPU-seconds).

    `end` is None for one that is not closed; `corrections` counts those of late usage.
    """

    allocation: Allocation
    end: PeriodEnd | None
    carried: int = 0
    forfeited: int = 0
    corrections: int = 0

    @property
    def rule(self) -> PeriodEndRule:
        """By which it was closed."""
        if self.end is None:
            raise ValueError("This allocation is not closed.")
        return self.end.rule


def should_stand(*, left: int, most: int | None, follows: bool, not_below: int = 0) -> tuple[int, int]:
    """(carried over, forfeited) of the GPU-seconds left.

    `most` is the rule's limit (None: none); `not_below` is what cannot be taken back any more of what was carried over.
    """
    wanted = (left if most is None else min(left, most)) if follows else 0
    carried = max(wanted, not_below)
    return carried, max(0, left - carried)


@transaction.atomic
def settle(*, allocation: Allocation, at: datetime, closing: bool = False) -> list[LedgerEntry]:
    """Post what the usage of a closed allocation makes of its end, here and along the chain; returns the entries.

    `closing` when the period is just being closed: then they are a forfeit and a transfer, else corrections. Call it
    under `staging.lock_cluster`. Repeated, it posts nothing.
    """
    chain = chain_from(allocation)
    posted = _settle(chain, at=at, closing=closing)
    if posted:
        allocation.refresh_from_db(fields=["granted_seconds", "used_seconds", "held_seconds"])
    return posted


def settle_late_usage(*, at: datetime) -> None:
    """After usage was posted from the temporary table `usage_delta`: settle the closed allocations that it names."""
    closed = staging.rows(
        """
        SELECT id FROM allocations_allocation
        WHERE state = 'closed' AND id IN (SELECT allocation_id FROM usage_delta) ORDER BY end_on, id
        """
    )
    if closed:
        rows = Allocation.objects.filter(period_end__isnull=False).in_bulk([number for (number,) in closed])
        for (number,) in closed:
            if number in rows:
                settle(allocation=rows[number], at=at)


def chain_from(allocation: Allocation) -> list[Standing]:
    """The allocation and those that follow it, locked in the order of their numbers, with what stands of each end."""
    numbers = [number for (number,) in staging.rows(CHAIN, [allocation.pk])]
    rows = locked(Allocation(pk=number) for number in numbers)
    ends = {
        end.allocation_id: end
        for end in PeriodEnd.objects.filter(allocation__in=numbers).select_related(
            "rule__asked_by", "rule__approved_by"
        )
    }
    chain = [Standing(rows[number], ends.get(number)) for number in numbers]
    sums = {
        (entry["allocation"], entry["source_reference"]): (entry["sum"], entry["late"])
        for entry in LedgerEntry.objects.filter(
            allocation__in=numbers,
            source_kind__in=(AT_CLOSE, LATE),
            source_reference__in=[reference_of(allocation) for allocation in rows.values()],
        )
        .order_by()
        .values("allocation", "source_reference")
        .annotate(sum=Sum("seconds"), late=Count("pk", filter=Q(source_kind=LATE)))
    }
    for standing in chain:
        if standing.end is not None:
            reference = reference_of(standing.allocation)
            here, standing.corrections = sums.get((standing.allocation.pk, reference), (0, 0))
            standing.carried, _late = sums.get((standing.end.following_id or 0, reference), (0, 0))
            standing.forfeited = -here - standing.carried
    return chain


CHAIN = """
    WITH RECURSIVE chain(id, place) AS (
        SELECT id, 0 FROM allocations_allocation WHERE id = %s
        UNION ALL
        SELECT ended.following_id, chain.place + 1
        FROM chain JOIN allocations_periodend AS ended ON ended.allocation_id = chain.id
        WHERE ended.following_id IS NOT NULL
    )
    SELECT id FROM chain ORDER BY place
"""


def reference_of(allocation: Allocation) -> str:
    """By which the entries of an allocation's closing are known, on it and on the one that follows."""
    return f"period-end-{allocation.pk}"


def can_give_back(chain: Sequence[Standing]) -> int:
    """GPU-seconds that can be taken from the first of these allocations without its grant falling below zero."""
    if not chain:
        return 0
    first = chain[0]
    undone = first.forfeited + min(first.carried, can_give_back(chain[1:])) if first.end is not None else 0
    return first.allocation.granted_seconds + undone


def _settle(chain: Sequence[Standing], *, at: datetime, closing: bool = False, to_come: int = 0) -> list[LedgerEntry]:
    """Settle the first of the chain, and what follows; `to_come` is about to be added to what it was given.

    What raises the grant is posted before what lowers it: on its way no total passes below zero.
    """
    here, rest = chain[0], chain[1:]
    if here.end is None:
        return []
    row = here.allocation
    given = row.granted_seconds + here.carried + here.forfeited + to_come
    carried, forfeited = should_stand(
        left=max(0, given - row.used_seconds - row.held_seconds),
        most=here.end.most_seconds,
        follows=bool(rest),
        not_below=here.carried - min(here.carried, can_give_back(rest)),
    )
    carry, forfeit = carried - here.carried, forfeited - here.forfeited
    posted: list[LedgerEntry] = []
    if forfeit < 0:
        posted.append(_forfeit(here, forfeit, at=at, closing=closing))
    if carry < 0:
        posted += _settle(rest, at=at, to_come=carry)
    if carry:
        posted += _carry(here, rest[0], carry, at=at, closing=closing)
    if carry > 0:
        posted += _settle(rest, at=at)
    if forfeit > 0:
        posted.append(_forfeit(here, forfeit, at=at, closing=closing))
    return posted


def _forfeit(here: Standing, seconds: int, *, at: datetime, closing: bool) -> LedgerEntry:
    """Forfeit so many GPU-seconds more to the reserve; fewer than none: give them back."""
    key = f"{reference_of(here.allocation)}-forfeit"
    entry = _post(
        here.allocation,
        here,
        kind=Kind.FORFEIT if closing else Kind.CORRECTION,
        seconds=-seconds,
        key=key if closing else f"{key}-late-{here.corrections + 1}",
        reason=reason_of_forfeit(here, seconds, closing=closing),
        at=at,
    )
    here.forfeited += seconds
    here.corrections += not closing
    return entry


def _carry(here: Standing, following: Standing, seconds: int, *, at: datetime, closing: bool) -> list[LedgerEntry]:
    """Carry so many GPU-seconds more over; fewer than none: take them back."""
    key = f"{reference_of(here.allocation)}-carry"
    if not closing:
        key = f"{key}-late-{here.corrections + 1}"
    legs = [
        (here.allocation, following.allocation, -seconds, "out"),
        (following.allocation, here.allocation, seconds, "in"),
    ]
    entries = [
        _post(
            allocation,
            here,
            kind=Kind.TRANSFER if closing else Kind.CORRECTION,
            seconds=signed,
            key=f"{key}:{way}",
            reason=reason_of_carry(here, other, seconds, way=way, closing=closing),
            at=at,
        )
        for allocation, other, signed, way in legs
    ]
    here.carried += seconds
    here.corrections += not closing
    return entries


def _post(
    allocation: Allocation, ended: Standing, *, kind: Kind, seconds: int, key: str, reason: str, at: datetime
) -> LedgerEntry:
    """Post one entry of a closing with the people behind the rule, and its event."""
    rule = ended.rule
    entry, _is_new = post(
        allocation=allocation,
        kind=kind,
        total=LedgerEntry.Total.GRANTED,
        seconds=seconds,
        effective_on=accounting_day(allocation, at),
        key=key,
        at=at,
        asked_by=rule.asked_by,
        approved_by=rule.approved_by,
        reason=reason,
        source_kind=LATE if kind == Kind.CORRECTION else AT_CLOSE,
        source_reference=reference_of(ended.allocation),
        follows_from_usage=True,
    )
    acts = {Kind.CORRECTION: "settle_late_usage", Kind.TRANSFER: "carry_over"}
    record_movement(acts.get(kind, "forfeit"), entry, rule=rule.pk)
    return entry


def reason_of_forfeit(here: Standing, seconds: int, *, closing: bool) -> str:
    """Why hours went to the reserve or came back, kept in English like all that is recorded."""
    with translation.override("en"):
        pool = here.allocation.pool.code
        if not closing:
            if seconds < 0:
                return _("Usage of the ended period became known late: given back by the reserve of %(pool)s") % {
                    "pool": pool
                }
            return _("Usage of the ended period was corrected: forfeited to the reserve of %(pool)s") % {"pool": pool}
        return _("Forfeited to the reserve of %(pool)s at the end of the period (%(why)s)") % {
            "pool": pool,
            "why": why_forfeited(here),
        }


def why_forfeited(here: Standing) -> str:
    rule = here.rule
    if rule.carry_over == PeriodEndRule.CarryOver.NONE:
        return _("nothing is carried over")
    if here.end is not None and here.end.following_id is None:
        return _("no allocation followed within %(days)s days") % {"days": rule.wait_days}
    return _("beyond the %(share)s of what was granted that are carried over") % {"share": percent(rule.most_bp)}


def reason_of_carry(here: Standing, other: Allocation, seconds: int, *, way: str, closing: bool) -> str:
    """Why hours went over or came back, kept in English like all that is recorded."""
    with translation.override("en"):
        what = {"reference": other.reference, "how_much": how_much(here)}
        if closing:
            if way == "out":
                return _("Carried over to %(reference)s (%(how_much)s)") % what
            return _("Carried over from %(reference)s (%(how_much)s)") % what
        if seconds < 0:
            if way == "out":
                return _("Usage of the ended period became known late: taken back from %(reference)s") % what
            return _("Usage of the ended period became known late: taken back to %(reference)s") % what
        if way == "out":
            return _("Usage of the ended period was corrected: carried over to %(reference)s") % what
        return _("Usage of the ended period was corrected: carried over from %(reference)s") % what


def how_much(here: Standing) -> str:
    if here.rule.carry_over == PeriodEndRule.CarryOver.ALL:
        return _("all that was left")
    return _("at most %(share)s of what was granted") % {"share": percent(here.rule.most_bp)}
