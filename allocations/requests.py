"""What is asked about GPU time, and the answer: ask, propose, approve, decline, withdraw, lapse.

A team asks and waits. An officer proposes an act: up to the centre's threshold it is carried out at once, above it it
waits for a second officer. Answering says what was seen (`UPDATE .. WHERE state = 'asked'`), so that of two people who
click at the same time one is told that it is answered already. What an approval does is posted in the same transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from allocations import movements, staging
from allocations.carrying_out import carry_out, named, refuse_impossible
from allocations.models import Allocation, ChangeRequest, JobRun, LedgerEntry, RequestedRun
from allocations.posting import TAKES_DECISIONS, KeyReused, LedgerError
from allocations.refusals import (
    AlreadyAnswered,
    BenefitsFromIt,
    NoReason,
    NoSuchAnswer,
    NothingAsked,
    NotTheAsker,
    OwnRequest,
    RequestError,
    belongs_to_it,
    refuse_beneficiary,
    refuse_own,
    refuse_unsaid,
    touched_by,
)
from centre import audit
from centre.models import Centre, User

__all__ = [
    "CAN_BE_PART_APPROVED",
    "MOVES_HOURS",
    "TAKES_HOURS",
    "TRANSITIONS",
    "AlreadyAnswered",
    "BenefitsFromIt",
    "NoReason",
    "NoSuchAnswer",
    "NotTheAsker",
    "NothingAsked",
    "OwnRequest",
    "RequestError",
    "approve",
    "ask",
    "belongs_to_it",
    "decline",
    "lapse",
    "lapse_overdue",
    "propose",
    "refuse_beneficiary",
    "waits",
    "withdraw",
]

Kind = ChangeRequest.Kind
State = ChangeRequest.State

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.ASKED: frozenset(
            {State.APPROVED, State.PART_APPROVED, State.DECLINED, State.WITHDRAWN, State.LAPSED, State.CARRIED_OUT}
        ),
        State.APPROVED: frozenset(),
        State.PART_APPROVED: frozenset(),
        State.DECLINED: frozenset(),
        State.WITHDRAWN: frozenset(),
        State.LAPSED: frozenset(),
        State.CARRIED_OUT: frozenset(),
    }
)
"""Where a request may go from where it stands."""

TAKES_HOURS = TAKES_DECISIONS
"""States of an allocation in which something can be asked about it."""
MOVES_HOURS = frozenset({Kind.OPENING, Kind.TOP_UP, Kind.TRANSFER, Kind.TAKE_BACK, Kind.REFUND, Kind.REVERSAL})
"""What an officer can propose: each is carried out through the ledger."""
CAN_BE_PART_APPROVED = frozenset({Kind.OPENING, Kind.TOP_UP, Kind.TRANSFER, Kind.TAKE_BACK})


@transaction.atomic
def ask(
    *, allocation: Allocation, seconds: int, reason: str, by: User, at: datetime, key: str | None = None
) -> ChangeRequest:
    """Ask for `seconds` more GPU-seconds on an allocation; it waits for an officer.

    The same `key` sent twice asks once. Raises NothingAsked, PeriodClosed, KeyReused.
    """
    request = ChangeRequest(
        project_id=allocation.project_id,
        allocation=allocation,
        kind=Kind.TOP_UP,
        asked_seconds=seconds,
        reason=reason,
        asked_by=by,
        asked_at=at,
        key=key,
    )
    kept, is_new = keep(request, runs={}, wanted=frozenset())
    if is_new:
        record_asking(request, "ask_for_hours")
    return kept


@transaction.atomic
def propose(
    *,
    kind: ChangeRequest.Kind,
    allocation: Allocation,
    reason: str,
    by: User,
    at: datetime,
    key: str,
    seconds: int | None = None,
    to_allocation: Allocation | None = None,
    entry: LedgerEntry | None = None,
    runs: Sequence[JobRun] = (),
) -> ChangeRequest:
    """An officer's act: carried out at once up to the centre's threshold (CARRIED_OUT), else it waits (ASKED).

    Opening, top-up, transfer and take-back say how many `seconds` (GPU-seconds); a transfer names `to_allocation`, a
    reversal the `entry`, a refund the finished `runs`, of which all that is not refunded yet is meant. What an officer
    proposes for a project of their own always waits. The hours of a transfer that waits are held. The same `key` sent
    twice acts once and gives the first result; with other content KeyReused. Raises NothingAsked, NoReason, and what
    the ledger refuses (NotEnough, PeriodClosed, OtherPool, NothingToRefund, NotReversible, AlreadyReversed).
    """
    if kind not in MOVES_HOURS:
        raise NoSuchAnswer(_("Requests of this kind move no GPU-hours."))
    chosen = dict(JobRun.objects.refundable(allocation).filter(pk__in=[run.pk for run in runs]).values_list(*OF_RUN))
    amount = seconds
    if kind == Kind.REVERSAL and entry is not None:
        amount = abs(entry.seconds)
    elif kind == Kind.REFUND:
        amount = sum(chosen.values())
    request = ChangeRequest(
        project_id=allocation.project_id,
        allocation=allocation,
        to_allocation=to_allocation,
        entry=entry,
        kind=kind,
        asked_seconds=amount,
        reason=reason,
        asked_by=by,
        asked_at=at,
        key=key,
    )
    kept, is_new = keep(request, runs=chosen, wanted=frozenset(run.pk for run in runs))
    if not is_new:
        return kept
    if needs_a_second_person(request):
        if kind == Kind.TRANSFER:
            hold_for(request)
        record_asking(request, "propose")
        return request
    return carried_out_at_once(request)


OF_RUN = ("pk", "refundable_seconds")


def keep(request: ChangeRequest, *, runs: Mapping[int, int], wanted: frozenset[int]) -> tuple[ChangeRequest, bool]:
    """Save a request unless one of its key stands; returns the one that counts, and whether it is this one.

    A repeated form is recognised before anything is judged: by then its act may have changed what is possible. `runs`
    are the GPU-seconds that can be refunded by job run; `wanted` are the runs that were chosen.
    """
    if request.key is not None and (standing := standing_request(request, wanted)):
        return standing, False
    refuse_unsaid(request)
    try:
        refuse_impossible(request, runs=runs, wanted=len(wanted))
    except LedgerError:
        # the same form, sent at the same moment, may have done meanwhile what is impossible now
        if request.key is not None and (standing := standing_request(request, wanted)):
            return standing, False
        raise
    try:
        with transaction.atomic():
            request.save(force_insert=True)
    except IntegrityError:
        standing = standing_request(request, wanted)
        if standing is None:
            raise
        return standing, False
    RequestedRun.objects.bulk_create(
        [RequestedRun(request=request, run_id=run, seconds=seconds) for run, seconds in sorted(runs.items())]
    )
    return request, True


SAME_REQUEST = ("kind", "allocation_id", "to_allocation_id", "entry_id", "asked_by_id", "reason")


def standing_request(request: ChangeRequest, wanted: frozenset[int]) -> ChangeRequest | None:
    """The request that has this key already; KeyReused when it says something else."""
    standing = ChangeRequest.objects.filter(key=request.key).select_related("allocation", "asked_by").first()
    if standing is None:
        return None
    same = all(getattr(standing, field) == getattr(request, field) for field in SAME_REQUEST)
    if request.kind == Kind.REFUND:  # by now the runs may be refunded: what was chosen counts, not what is left of it
        same = same and wanted == frozenset(standing.runs.values_list("run", flat=True))
    else:
        same = same and standing.asked_seconds == request.asked_seconds
    if not same:
        raise KeyReused(
            _("This form was sent before with other content. Open the page anew to ask for something else.")
        )
    return standing


def needs_a_second_person(request: ChangeRequest) -> bool:
    """Above the centre's threshold, and for a project to which the officer belongs."""
    return (request.asked_seconds or 0) > own_rules().two_person_above_seconds or belongs_to_it(
        request, request.asked_by
    )


def own_rules() -> Centre:
    """The rules that the centre set itself; as they are by default where it has said nothing."""
    return Centre.objects.filter(pk=1).first() or Centre()


def hold_for(request: ChangeRequest) -> None:
    """Keep the hours of a waiting transfer aside; they are let go when it is answered, or lapse."""
    allocation = named(request.allocation)
    request.hold = movements.hold(
        allocation=allocation,
        seconds=request.asked_seconds or 0,
        by=request.asked_by,
        at=request.asked_at,
        key=f"request-{request.pk}-hold",
        reason=request.reason[:500],
        lapses_on=movements.accounting_day(allocation, request.asked_at)
        + timedelta(days=own_rules().requests_lapse_after_days),
        source_kind="request",
        source_reference=str(request.pk),
    )
    request.save(update_fields=["hold"])


def carried_out_at_once(request: ChangeRequest) -> ChangeRequest:
    """What is within the threshold is done by the officer alone."""
    request.state = State.CARRIED_OUT
    request.approved_seconds = request.asked_seconds
    request.answered_at = request.asked_at
    request.save(update_fields=["state", "approved_seconds", "answered_at"])
    entries = carry_out(request, approved_by=None, at=request.asked_at)
    record_asking(request, "carry_out_request", entries)
    return request


@transaction.atomic
def approve(
    *, request: ChangeRequest, by: User, at: datetime, seconds: int | None = None, answer: str = ""
) -> ChangeRequest:
    """Approve what was asked for, or fewer `seconds` (GPU-seconds) of it; the ledger moves in the same transaction.

    Approving twice what one has approved gives the first result. Raises OwnRequest, BenefitsFromIt, AlreadyAnswered,
    NothingAsked, NoReason (of a part), NoSuchAnswer; what the ledger refuses comes through, and then it still waits.
    """
    if request.kind not in MOVES_HOURS or request.allocation_id is None or request.asked_seconds is None:
        raise NoSuchAnswer(_("Requests of this kind are not approved here: they move no GPU-hours."))
    given = request.asked_seconds if seconds is None else seconds
    if not 0 < given <= request.asked_seconds:
        raise NothingAsked(_("Give more than 0 GPU-hours, and not more than were asked for."))
    if given != request.asked_seconds and request.kind not in CAN_BE_PART_APPROVED:
        raise NothingAsked(_("This can be approved as a whole, or declined."))
    if given != request.asked_seconds and not answer.strip():
        raise NoReason(_("Say in the answer why only a part is approved; the person who asked reads it."))
    refuse_own(request, by)
    refuse_beneficiary(request, by)
    state = State.APPROVED if given == request.asked_seconds else State.PART_APPROVED
    lock_for(request)
    request.refresh_from_db()
    if (request.state, request.answered_by_id, request.approved_seconds) == (state, by.pk, given):
        return request
    move(request, to=state, by=by, at=at, answer=answer, approved_seconds=given)
    let_go(request, by=by, at=at)
    entries = carry_out(request, approved_by=by, at=at)
    audit.record(
        act="approve_request",
        on=request,
        by=by,
        at=at,
        reason=answer,
        changes={
            "state": [State.ASKED, state],
            "approved_seconds": [None, given],
            "entries": ", ".join(str(entry.pk) for entry in entries),
        },
    )
    return request


@transaction.atomic
def decline(*, request: ChangeRequest, by: User, at: datetime, answer: str) -> ChangeRequest:
    """Say no, and why; held hours are let go. Raises OwnRequest, AlreadyAnswered."""
    refuse_own(request, by)
    lock_for(request)
    move(request, to=State.DECLINED, by=by, at=at, answer=answer)
    let_go(request, by=by, at=at)
    record_answer(request, "decline_request", by=by, at=at)
    return request


@transaction.atomic
def withdraw(*, request: ChangeRequest, by: User, at: datetime) -> ChangeRequest:
    """Take one's own request back; held hours are let go. Raises NotTheAsker, AlreadyAnswered."""
    if request.asked_by_id != by.pk:
        raise NotTheAsker(_("Only the person who asked can withdraw the request."))
    lock_for(request)
    move(request, to=State.WITHDRAWN, by=by, at=at, answer="")
    let_go(request, by=by, at=at)
    record_answer(request, "withdraw_request", by=by, at=at)
    return request


@transaction.atomic
def lapse(*, request: ChangeRequest, at: datetime, answer: str) -> ChangeRequest:
    """Nobody answered in time, or what it was about is over; held hours are let go. Raises AlreadyAnswered."""
    lock_for(request)
    move(request, to=State.LAPSED, by=None, at=at, answer=answer)
    let_go(request, by=None, at=at)
    record_answer(request, "lapse_request", by=None, at=at)
    return request


def lapse_overdue(*, at: datetime) -> list[ChangeRequest]:
    """Let every transfer lapse whose hold is overdue on its cluster's day, each by itself; returns those."""
    held = (
        ChangeRequest.objects.waiting()
        .filter(hold__lapses_on__lte=at.date() + timedelta(days=1))
        .select_related("hold", "allocation__pool__cluster")
    )
    lapsed = []
    for request in held:
        if request.hold is None or request.allocation is None or request.hold.lapses_on is None:
            continue
        if movements.accounting_day(request.allocation, at) < request.hold.lapses_on:
            continue
        try:
            lapsed.append(lapse(request=request, at=at, answer=_("Nobody answered in time.")))
        except AlreadyAnswered:
            continue  # somebody answered while this ran
    return lapsed


def waits(request: ChangeRequest) -> bool:
    """Whether the request can still be answered."""
    return bool(TRANSITIONS[State(request.state)])


def move(request: ChangeRequest, *, to: State, by: User | None, at: datetime, answer: str, **fields: Any) -> None:
    """Move the request from waiting to its answer, or raise AlreadyAnswered when it does not wait any more."""
    answered = {"state": to, "answer": answer, "answered_by": by, "answered_at": at, **fields}
    if not ChangeRequest.objects.filter(pk=request.pk, state=State.ASKED).update(**answered):
        raise AlreadyAnswered(_("This request is answered already. Look at it again."))
    for name, value in answered.items():
        setattr(request, name, value)


def lock_for(request: ChangeRequest) -> None:
    """Lock what an answer will touch in the order of the house: the cluster's usage, the allocations, the request."""
    if request.kind == Kind.REFUND:
        staging.lock_cluster(named(request.allocation).pool.cluster_id)
    movements.locked(touched_by(request))


def let_go(request: ChangeRequest, *, by: User | None, at: datetime) -> None:
    """Release the hours that were held while the request waited."""
    if request.hold is not None:
        movements.release(held=request.hold, by=by, at=at, reason=request.reason[:500])


def record_asking(request: ChangeRequest, act: str, entries: Sequence[LedgerEntry] = ()) -> None:
    """The event of something asked for or done at once: what, how much, and where to."""
    changes: dict[str, Any] = {
        "kind": request.kind,
        "allocation": [None, request.allocation],
        "asked_seconds": [None, request.asked_seconds],
    }
    if request.to_allocation is not None:
        changes["to_allocation"] = [None, request.to_allocation]
    if request.entry_id is not None:
        changes["entry"] = [None, request.entry_id]
    if entries:
        changes["entries"] = ", ".join(str(entry.pk) for entry in entries)
    audit.record(act=act, on=request, by=request.asked_by, at=request.asked_at, reason=request.reason, changes=changes)


def record_answer(request: ChangeRequest, act: str, *, by: User | None, at: datetime) -> None:
    changes = {"state": [State.ASKED, request.state]}
    audit.record(act=act, on=request, by=by, at=at, reason=request.answer, changes=changes)
