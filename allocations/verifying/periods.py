"""Closed periods and take-backs by rule: what became of unused GPU time against the rule that says so."""

from collections import defaultdict
from collections.abc import Iterator

from allocations.models import Allocation, LedgerEntry, PeriodEnd, TakeBackWarning

ENDS_AT_A_TIME = 200
OF_CLOSING = ("period_end", "late_usage")


def wrong_period_ends() -> Iterator[str]:
    """What was carried over and forfeited follows from what was given, used and held, and from the rule's limit."""
    closed = Allocation.objects.filter(state="closed", period_end__isnull=True).order_by("pk")
    for reference in closed.values_list("reference", flat=True).iterator():
        yield f"Allocation {reference}: it is closed, and no period end says by which rule."
    last = 0
    ends = PeriodEnd.objects.select_related("allocation", "following", "rule").order_by("pk")
    while found := list(ends.filter(pk__gt=last)[:ENDS_AT_A_TIME]):
        last = found[-1].pk
        entries: dict[int, list[LedgerEntry]] = defaultdict(list)
        carried_over: dict[int, int] = defaultdict(int)
        touched = [number for end in found for number in (end.allocation_id, end.following_id) if number]
        for entry in LedgerEntry.objects.filter(allocation__in=touched, source_kind__in=OF_CLOSING).order_by("pk"):
            carried_over[entry.allocation_id] += entry.seconds
            ended = entry.source_reference.removeprefix("period-end-")
            if ended.isdecimal():
                entries[int(ended)].append(entry)
        for end in found:
            yield from wrong_period_end(end, entries[end.allocation_id])
            yield from wrong_limit(end, carried_over[end.allocation_id])


def wrong_period_end(end: PeriodEnd, entries: list[LedgerEntry]) -> Iterator[str]:
    """The closing of one period against the books as they are now."""
    ended, what = end.allocation, f"Period end of {end.allocation.reference}"
    if ended.state != "closed":
        yield f"{what}: the allocation is {ended.state}, not closed."
    for entry in entries:
        if (entry.asked_by_id, entry.approved_by_id) != (end.rule.asked_by_id, end.rule.approved_by_id):
            yield f"{what}: others stand behind entry {entry.pk} than behind its rule."
    taken = -sum(entry.seconds for entry in entries if entry.allocation_id == end.allocation_id)
    carried = sum(entry.seconds for entry in entries if entry.allocation_id == end.following_id)
    forfeited = taken - carried
    left = ended.granted_seconds + taken - ended.used_seconds - ended.held_seconds
    due = what_is_due(end, left, carried)
    if (carried, forfeited) != due and (released := released_since(end, entries)):
        due = what_is_due(end, left - released, carried)  # the next night settles them
    if (carried, forfeited) != due:
        yield (
            f"{what}: {carried} GPU-seconds were carried over and {forfeited} forfeited; "
            f"its usage and rule say {due[0]} and {due[1]}."
        )


def what_is_due(end: PeriodEnd, left: int, carried: int) -> tuple[int, int]:
    """(carried over, forfeited) of the GPU-seconds left; what the following one could not give back stays carried."""
    left = max(0, left)
    most = left if end.most_seconds is None else min(left, end.most_seconds)
    due = most if end.following_id else 0
    if carried > due and was_emptied(end):
        due = carried
    return due, max(0, left - due)


def released_since(end: PeriodEnd, entries: list[LedgerEntry]) -> int:
    """GPU-seconds of holds on the ended allocation that were let go after its closing was last settled."""
    releases = LedgerEntry.objects.filter(allocation=end.allocation_id, kind="release")
    since = releases.filter(pk__gt=entries[-1].pk) if entries else releases.filter(recorded_at__gt=end.closed_at)
    return sum(since.values_list("seconds", flat=True))


def was_emptied(end: PeriodEnd) -> bool:
    """Whether the allocation that follows was left without any granted hours since some were carried over to it."""
    granted = LedgerEntry.objects.filter(allocation=end.following_id, total="granted").order_by("pk")
    stands, has_begun = 0, False
    for reference, seconds in granted.values_list("source_reference", "seconds").iterator():
        stands += seconds
        has_begun = has_begun or reference == f"period-end-{end.allocation_id}"
        if has_begun and stands == 0:
            return True
    return False


def wrong_limit(end: PeriodEnd, carried_over: int) -> Iterator[str]:
    """The limit that was frozen is the rule's share of what the allocation was granted itself.

    Nothing is granted to a closed allocation any more; `carried_over` is what closings moved on it, its own included.
    """
    given = max(0, end.allocation.granted_seconds - carried_over)
    limits = {"none": 0, "all": None, "at_most": given * end.rule.most_bp // 10_000}
    limit = limits[end.rule.carry_over]
    if end.most_seconds != limit:
        yield (
            f"Period end of {end.allocation.reference}: at most {end.most_seconds} GPU-seconds are to be carried over, "
            f"its rule says {limit}."
        )


def wrong_take_backs() -> Iterator[str]:
    """What was taken back after a warning is a forfeit on its allocation, by the two people who made the rule."""
    taken = TakeBackWarning.objects.filter(outcome="taken").select_related("entry", "rule").order_by("pk")
    for warning in taken.iterator():
        entry, rule = warning.entry, warning.rule
        if entry is None or (entry.kind, entry.allocation_id) != ("forfeit", warning.allocation_id):
            yield f"Take-back warning {warning.pk}: entry {warning.entry_id} is no forfeit on its allocation."
        elif (entry.source_kind, entry.source_reference) != ("take_back_rule", str(warning.pk)):
            yield f"Take-back warning {warning.pk}: entry {entry.pk} names another source."
        elif (entry.asked_by_id, entry.approved_by_id) != (rule.asked_by_id, rule.approved_by_id):
            yield f"Take-back warning {warning.pk}: others stand behind entry {entry.pk} than behind its rule."
    named = TakeBackWarning.objects.filter(entry__isnull=False)
    for pk in (
        LedgerEntry.objects.filter(source_kind="take_back_rule")
        .exclude(pk__in=named.values("entry"))
        .order_by("pk")
        .values_list("pk", flat=True)
        .iterator()
    ):
        yield f"Entry {pk}: it was taken back by rule, and no warning names it."
