"""Entries that somebody decided: each with the entry that it undoes or belongs to, and the people behind it."""

from collections.abc import Iterator

from allocations.models import Allocation, LedgerEntry
from allocations.verifying.reading import Part, parts
from allocations.verifying.trail import wrong_trail
from centre.models import Centre

NEED_TWO_PEOPLE = frozenset({"grant", "top_up", "transfer", "forfeit", "refund", "correction", "reversal"})


def wrong_decisions() -> Iterator[str]:
    """Every check of the entries that do not come from usage, some allocations at a time; and what usage never says."""
    threshold = Centre.objects.filter(pk=1).values_list("two_person_above_seconds", flat=True).first() or 0
    for part in parts():
        yield from wrong_undoings(part)
        yield from wrong_corrections(part)
        yield from wrong_transfers(part)
        yield from missing_people(part, threshold)
        yield from wrong_trail(part)
    usage = LedgerEntry.objects.filter(source_kind="usage")
    decided = usage.exclude(asked_by=None, approved_by=None, reverses=None, lapses_on=None)
    for pk in decided.order_by("pk").values_list("pk", flat=True).iterator():
        yield f"Entry {pk}: it follows from usage, yet it names a person, an entry or a day as a decision does."


def wrong_undoings(part: Part) -> Iterator[str]:
    """A reversal or release is minus the entry that it names, on the same allocation and total."""
    for entry in part.entries.values():
        undone = entry.reverses
        if entry.kind not in {"reversal", "release"}:
            if entry.reverses_id is not None:
                yield f"Entry {entry.pk}: it undoes entry {entry.reverses_id}, but it is no reversal and no release."
        elif undone is None:
            yield f"Entry {entry.pk}: it undoes no entry that there is."
        elif (entry.kind == "release") != (undone.kind == "hold") or undone.kind in {"charge", "reversal", "release"}:
            yield f"Entry {entry.pk}: a {entry.kind} does not undo entry {undone.pk}, a {undone.kind}."
        elif (undone.allocation_id, undone.total, undone.seconds) != (entry.allocation_id, entry.total, -entry.seconds):
            yield f"Entry {entry.pk}: it is not minus entry {undone.pk}, which it undoes, on the same allocation."
        elif entry.source_reference != str(undone.pk):
            yield f"Entry {entry.pk}: it undoes entry {undone.pk}, but its source is {entry.source_reference}."


def wrong_corrections(part: Part) -> Iterator[str]:
    """A correction of a refund names one on the same allocation, by the same people."""
    for entry in part.entries.values():
        if entry.source_kind != "refund_follows":
            continue
        named = entry.source_reference
        refund = part.entries.get(int(named)) if named.isdecimal() else None
        if refund is None or (refund.kind, refund.allocation_id) != ("refund", entry.allocation_id):
            yield f"Entry {entry.pk}: it corrects entry {named}, which is no refund on its allocation."
        elif (entry.asked_by_id, entry.approved_by_id) != (refund.asked_by_id, refund.approved_by_id):
            yield f"Entry {entry.pk}: other people stand behind it than behind refund {refund.pk}, which it corrects."


def wrong_transfers(part: Part) -> Iterator[str]:
    """Both legs exist, between two allocations of one pool, sum zero, by the same people at the same instant."""
    legs = [entry for entry in part.entries.values() if is_leg(entry)]
    other_keys = {leg.pk: key_of_other_leg(leg.key) for leg in legs}
    others = {other.key: other for other in LedgerEntry.objects.filter(key__in=other_keys.values()).order_by("pk")}
    undone = set(
        LedgerEntry.objects.filter(reverses__in=[*other_keys, *(other.pk for other in others.values())]).values_list(
            "reverses", flat=True
        )
    )
    pools = dict(
        Allocation.objects.filter(pk__in={other.allocation_id for other in others.values()}).values_list("pk", "pool")
    )
    for leg in legs:
        other = others.get(other_keys[leg.pk])
        if other is None or other.kind != leg.kind:
            yield f"Entry {leg.pk}: the other half of this transfer is missing."
        elif leg.key.endswith(":out"):
            own_pool = part.allocations[leg.allocation_id].pool_id
            if leg.seconds + other.seconds:
                yield f"Entry {leg.pk}: it moves {leg.seconds} GPU-seconds, the other half {other.pk} {other.seconds}."
            if leg.allocation_id == other.allocation_id or own_pool != pools.get(other.allocation_id):
                yield f"Entry {leg.pk}: the other half {other.pk} is not on another allocation of the same pool."
            if (leg.pk in undone) != (other.pk in undone):
                yield f"Entry {leg.pk}: of it and the other half {other.pk} only one was reversed."
            if behind(leg) != behind(other):
                yield f"Entry {leg.pk}: other people, or another instant, stand behind the other half {other.pk}."


def is_leg(entry: LedgerEntry) -> bool:
    """A transfer, or what late usage changes about one that carried over."""
    return entry.kind == "transfer" or (entry.source_kind == "late_usage" and entry.key.endswith((":out", ":in")))


def key_of_other_leg(key: str) -> str:
    begin, _, way = key.rpartition(":")
    return f"{begin}:{'in' if way == 'out' else 'out'}"


def behind(entry: LedgerEntry) -> tuple[object, ...]:
    return entry.asked_by_id, entry.approved_by_id, entry.recorded_at, entry.source_kind, entry.source_reference


def missing_people(part: Part, threshold: int) -> Iterator[str]:
    """Nobody, or one person twice, behind a decision above the threshold as it is now.

    Where the threshold was higher before, an entry may rightly have one person; that the trail names the same one is
    another check.
    """
    for entry in part.entries.values():
        is_exempt = entry.kind == "grant" and entry.source_kind == "onboard"
        if entry.kind not in NEED_TWO_PEOPLE or is_exempt or abs(entry.seconds) <= threshold:
            continue
        if entry.asked_by_id == entry.approved_by_id:
            yield f"Entry {entry.pk}: it needs two people, one who asked and another who approved."
