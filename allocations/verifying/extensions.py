"""Last days of allocations against the requests and events that moved them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from allocations.models import Allocation, ChangeRequest
from allocations.verifying.reading import ALLOCATIONS_AT_A_TIME, person
from allocations.verifying.trail import number_of, what_became
from centre.models import Event

GIVEN = frozenset({"approved", "part_approved", "carried_out"})
KIND_OF = {"extend_allocation": "extension", "end_allocation_early": "early_end"}
"""The acts that move a last day, and the kind of request behind each."""
WHAT_IT_DOES = {"extension": "longer", "early_end": "shorter"}


@dataclass(frozen=True)
class Moved:
    """What one event says of a last day that became later or earlier; `kind` is that of its request."""

    event: int
    kind: str
    before: Any
    after: Any
    request: str
    asked_by: int | None
    approved_by: int | None


def wrong_extensions() -> Iterator[str]:
    """Each approved extension or early end moved the last day once, to the approved day; and nothing else moved it."""
    last = 0
    rows = Allocation.objects.order_by("pk")
    while found := list(rows.filter(pk__gt=last)[:ALLOCATIONS_AT_A_TIME]):
        last = found[-1].pk
        moved: dict[str, list[Moved]] = defaultdict(list)
        events = Event.objects.filter(
            object_type="allocations.allocation",
            object_id__in=[str(row.pk) for row in found],
            act__in=KIND_OF,
        )
        columns = ("pk", "act", "object_id", "actor", "changes")
        for pk, act, allocation, actor, changes in events.order_by("pk").values_list(*columns):
            before, after = changes["end_on"][0], what_became(changes["end_on"])
            approver = number_of(what_became(changes.get("approved_by")))
            told = Moved(pk, KIND_OF[act], before, after, str(changes.get("request")), actor, approver)
            moved[allocation].append(told)
        given: dict[str, list[ChangeRequest]] = defaultdict(list)
        for request in ChangeRequest.objects.filter(allocation__in=found, kind__in=KIND_OF.values(), state__in=GIVEN):
            given[str(request.allocation_id)].append(request)
        for row in found:
            yield from wrong_days(row, moved[str(row.pk)])
            yield from wrong_pairs(moved[str(row.pk)], given[str(row.pk)])


def wrong_days(allocation: Allocation, moved: list[Moved]) -> Iterator[str]:
    """Each move begins where the one before ended; the last one says the day. A closed period may be shorter."""
    for earlier, later in pairwise(moved):
        if earlier.after != later.before:
            yield f"Event {later.event}: the last day was {later.before}, event {earlier.event} says {earlier.after}."
    stands = allocation.end_on.isoformat()
    if moved and allocation.state != "closed" and moved[-1].after != stands:
        yield (
            f"Allocation {allocation.reference}: its last day is {stands}, "
            f"event {moved[-1].event} says {moved[-1].after}."
        )


def wrong_pairs(moved: list[Moved], given: list[ChangeRequest]) -> Iterator[str]:
    """Requests and events, each with its other; two people stand behind every one."""
    requests = {str(request.pk): request for request in given}
    told: dict[str, int] = defaultdict(int)
    for one in moved:
        if one.approved_by is None or one.approved_by == one.asked_by:
            who, what = person(one.asked_by), WHAT_IT_DOES[one.kind]
            yield f"Event {one.event}: {who} made a period {what} without a second person."
        if not one.request:
            continue  # not asked for by a request
        told[one.request] += 1
        request = requests.get(one.request)
        if request is None or request.kind != one.kind or request.approved_until_on is None:
            what = WHAT_IT_DOES[one.kind]
            yield f"Event {one.event}: it names request {one.request}, which made no period {what}."
        elif (request.approved_until_on.isoformat(), request.asked_by_id, request.answered_by_id) != (
            *(one.after, one.asked_by, one.approved_by),
        ):
            yield f"Request {request.pk}: its day or its people are others than event {one.event} says."
    for number, request in requests.items():
        if told[number] != 1:
            what = WHAT_IT_DOES[request.kind]
            yield f"Request {request.pk}: {told[number]} events of the audit trail made its period {what}, not one."
