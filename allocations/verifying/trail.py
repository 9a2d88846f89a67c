"""The audit trail's own account of the entries: amount, people and instant, told once."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from allocations.models import LedgerEntry
from allocations.verifying.reading import Part, person
from centre.models import Event

NUMBER_OF_A_ROW = re.compile(r"\(#(\d+)\)\Z")
"""The trail keeps a row by its name and its number: “Name <mail> (#7)”."""


@dataclass(frozen=True)
class Told:
    """What one event says of an entry; None where it does not say."""

    event: int
    allocation: str
    at: datetime
    asked_by: int | None
    approved_by: int | None
    seconds: int | None
    reason: str


def wrong_trail(part: Part) -> Iterator[str]:
    """Each entry that was decided has one event on its allocation, which says the same."""
    told: dict[int, list[Told]] = defaultdict(list)
    events = Event.objects.filter(
        object_type="allocations.allocation",
        object_id__in=[str(number) for number in part.allocations],
        changes__has_key="entry",
    )
    columns = ("pk", "object_id", "at", "actor", "changes", "reason")
    for pk, allocation, at, actor, changes, reason in events.order_by("pk").values_list(*columns).iterator():
        number = what_became(changes["entry"])
        if not isinstance(number, int) or number not in part.entries:
            yield f"Event {pk}: it tells of entry {number} on allocation #{allocation}, where there is none."
            continue
        told[number].append(
            Told(
                event=pk,
                allocation=allocation,
                at=at,
                asked_by=actor,
                approved_by=number_of(what_became(changes.get("approved_by"))),
                seconds=amount_in(changes),
                reason=reason,
            )
        )
    for entry in part.entries.values():
        if len(events_of := told[entry.pk]) == 1:
            yield from compared(entry, events_of[0])
        else:
            yield f"Entry {entry.pk}: {len(events_of)} events of the audit trail tell of it, not one."


def what_became(change: Any) -> Any:
    """The new value of `[old, new]`."""
    return change[1] if isinstance(change, list) and len(change) == 2 else None


def number_of(row: Any) -> int | None:
    found = NUMBER_OF_A_ROW.search(row) if isinstance(row, str) else None
    return int(found[1]) if found else None


def amount_in(changes: dict[str, Any]) -> int | None:
    """GPU-seconds, said as such or as what was granted before and after."""
    if isinstance(seconds := changes.get("gpu_seconds"), int):
        return seconds
    granted = changes.get("granted_seconds")
    if isinstance(granted, list) and len(granted) == 2 and isinstance(granted[1], int):
        return granted[1] - int(granted[0] or 0)
    return None


def compared(entry: LedgerEntry, told: Told) -> Iterator[str]:
    if told.allocation != str(entry.allocation_id):
        yield f"Entry {entry.pk}: it is on allocation #{entry.allocation_id}, event {told.event} on #{told.allocation}."
    if told.seconds != entry.seconds:
        yield f"Entry {entry.pk}: it moves {entry.seconds} GPU-seconds, event {told.event} says {told.seconds}."
    if told.asked_by != entry.asked_by_id:
        yield (
            f"Entry {entry.pk}: {person(entry.asked_by_id)} asked for it, "
            f"event {told.event} says {person(told.asked_by)}."
        )
    if told.approved_by != entry.approved_by_id:
        yield (
            f"Entry {entry.pk}: {person(entry.approved_by_id)} approved it, "
            f"event {told.event} says {person(told.approved_by)}."
        )
    if told.reason != entry.reason:
        yield f"Entry {entry.pk}: its reason is “{entry.reason}”, event {told.event} says “{told.reason}”."
    if told.at != entry.recorded_at:
        yield f"Entry {entry.pk}: it was recorded at {entry.recorded_at}, event {told.event} says {told.at}."
