"""Requests and their answers against the entries that they led to."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from django.db.models import Sum

from allocations.models import ChangeRequest, LedgerEntry, RequestedRun, RunRefund
from allocations.verifying.reading import person

REQUESTS_AT_A_TIME = 1_000
GIVEN = frozenset({"approved", "part_approved", "carried_out"})

Moved = tuple[str, int | None, int]  # kind of entry, allocation, GPU-seconds


def wrong_requests() -> Iterator[str]:
    """Each request has the entries that its answer allows, and each entry of a request has its request."""
    last = 0
    while found := list(
        ChangeRequest.objects.filter(pk__gt=last)
        .select_related("entry__reversed_by", "hold__reversed_by")
        .order_by("pk")[:REQUESTS_AT_A_TIME]
    ):
        last = found[-1].pk
        about = {number for request in found for number in (request.allocation_id, request.to_allocation_id)}
        of_these = LedgerEntry.objects.filter(allocation__in=about - {None}, source_kind="request")
        entries: dict[str, list[LedgerEntry]] = defaultdict(list)
        for entry in of_these.filter(source_reference__in=[str(request.pk) for request in found]).order_by("pk"):
            entries[entry.source_reference].append(entry)
        for request in found:
            yield from wrong_request(request, entries[str(request.pk)])
        yield from wrong_choices(found)
    yield from entries_without_a_request()


def wrong_request(request: ChangeRequest, entries: list[LedgerEntry]) -> Iterator[str]:
    holds = [entry for entry in entries if entry.kind == "hold"]
    moves = [entry for entry in entries if entry.kind != "hold"]
    yield from wrong_hold(request, holds)
    if request.kind == "reversal" and request.state in GIVEN:
        reversal = getattr(request.entry, "reversed_by", None)
        moves = [*moves, *([reversal] if reversal else [])]
    moved = sorted((entry.kind, entry.allocation_id, entry.seconds) for entry in moves)
    due = sorted(what_follows(request))
    if moved != due:
        yield f"Request {request.pk}: by its answer {in_words(due)} follows, its entries say {in_words(moved)}."
    asked, approved = request.asked_seconds, request.approved_seconds
    if request.state in {"approved", "carried_out"} and due and asked != approved:
        yield f"Request {request.pk}: {asked} GPU-seconds were asked for and approved whole, it says {approved}."
    if request.state == "approved" and request.asked_until_on != request.approved_until_on:
        yield (
            f"Request {request.pk}: {request.asked_until_on} was asked for and approved, "
            f"it says {request.approved_until_on}."
        )
    for entry in moves:
        if (entry.asked_by_id, entry.approved_by_id) != (request.asked_by_id, request.answered_by_id):
            yield (
                f"Entry {entry.pk}: {person(entry.asked_by_id)} asked and {person(entry.approved_by_id)} approved, "
                f"request {request.pk} says {person(request.asked_by_id)} and {person(request.answered_by_id)}."
            )


def what_follows(request: ChangeRequest) -> list[Moved]:
    """The movements that the request's answer allows."""
    if request.state not in GIVEN:
        return []
    seconds = request.approved_seconds or 0
    first: Moved
    match request.kind:
        case "opening":
            first = ("grant", request.allocation_id, seconds)
        case "top_up":
            first = ("top_up", request.allocation_id, seconds)
        case "refund":
            first = ("refund", request.allocation_id, seconds)
        case "take_back":
            first = ("forfeit", request.allocation_id, -seconds)
        case "transfer":
            return [
                ("transfer", request.allocation_id, -seconds),
                ("transfer", request.to_allocation_id, seconds),
            ]
        case "reversal" if request.entry is not None:
            sign = -1 if request.entry.seconds > 0 else 1
            first = ("reversal", request.entry.allocation_id, sign * seconds)
        case _:
            return []
    return [first]


def in_words(moved: Sequence[Moved]) -> str:
    return ", ".join(f"{kind} of {seconds} on #{allocation}" for kind, allocation, seconds in moved) or "nothing"


def wrong_hold(request: ChangeRequest, holds: list[LedgerEntry]) -> Iterator[str]:
    """The hold of a request keeps what was asked for aside exactly as long as the request waits."""
    if [hold.pk for hold in holds] != ([request.hold_id] if request.hold_id else []):
        yield f"Request {request.pk}: it names hold {request.hold_id}, its entries are {[hold.pk for hold in holds]}."
    elif holds and request.hold is not None:
        hold = holds[0]
        kept = (hold.allocation_id, hold.seconds, hold.asked_by_id)
        if kept != (request.allocation_id, -(request.asked_seconds or 0), request.asked_by_id):
            yield f"Request {request.pk}: its hold {hold.pk} is of another allocation, amount or person."
        if hasattr(request.hold, "reversed_by") == (request.state == "asked"):
            yield f"Request {request.pk}: it is {request.state}, which its hold {hold.pk} does not follow."


def wrong_choices(requests: list[ChangeRequest]) -> Iterator[str]:
    """A refund gives back the runs that were chosen, each by what was asked."""
    given_for = [str(request.pk) for request in requests if request.kind == "refund" and request.state in GIVEN]
    runs: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    chosen = RequestedRun.objects.filter(request__in=[int(number) for number in given_for])
    for request, run, seconds in chosen.values_list("request", "run", "seconds"):
        runs[request, run][0] += seconds
    given = RunRefund.objects.filter(
        entry__kind="refund", entry__source_kind="request", entry__source_reference__in=given_for
    )
    sums = given.order_by().values_list("entry__source_reference", "run").annotate(sum=Sum("seconds"))
    for reference, run, seconds in sums:
        runs[int(reference), run][1] += seconds
    for (request, run), (asked, refunded) in sorted(runs.items()):
        if asked != refunded:
            yield f"Request {request}: {asked} GPU-seconds of run #{run} were chosen, {refunded} are refunded."


def entries_without_a_request() -> Iterator[str]:
    """Entries that name a request as their source, and come of none on their allocation."""
    last = 0
    while found := list(
        LedgerEntry.objects.filter(source_kind="request", pk__gt=last)
        .order_by("pk")
        .values_list("pk", "source_reference", "allocation")[:REQUESTS_AT_A_TIME]
    ):
        last = found[-1][0]
        numbers = {int(reference) for _, reference, _ in found if reference.isdecimal()}
        of_request = {
            str(number): both
            for number, *both in ChangeRequest.objects.filter(pk__in=numbers).values_list(
                "pk", "allocation", "to_allocation"
            )
        }
        for pk, reference, allocation in found:
            if allocation not in of_request.get(reference, ()):
                yield f"Entry {pk}: it names request {reference}, and no such request is about its allocation."
