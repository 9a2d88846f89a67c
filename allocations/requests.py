"""What is asked of the centre about GPU time, and the answer: ask, approve, decline, withdraw.

One person asks, another answers. Answering says what was seen (`UPDATE .. WHERE state = 'asked'`), so that of two
people who click at the same time one is told that it is answered already. Approving posts the hours in the same
transaction.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from allocations import ledger
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from centre import audit
from centre.models import Membership, Representative, User

State = ChangeRequest.State

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.ASKED: frozenset({State.APPROVED, State.PART_APPROVED, State.DECLINED, State.WITHDRAWN}),
        State.APPROVED: frozenset(),
        State.PART_APPROVED: frozenset(),
        State.DECLINED: frozenset(),
        State.WITHDRAWN: frozenset(),
    }
)
"""Where a request may go from where it stands."""

TAKES_HOURS = frozenset({Allocation.State.OPEN, Allocation.State.SUSPENDED})
"""Allocations that can still be given hours."""


class RequestError(Exception):
    """Why a request could not be made or answered, as a sentence for a screen."""


class NothingAsked(RequestError):
    """The amount is not a positive number of GPU-seconds, or more is to be given than was asked for."""


class AllocationOver(RequestError):
    """The allocation is closed or void; it takes no more hours."""


class AlreadyAnswered(RequestError):
    """The request does not wait any more."""


class OwnRequest(RequestError):
    """Nobody answers what they asked for themselves."""


class BenefitsFromIt(RequestError):
    """Nobody approves hours for a project that they belong to."""


class NotTheAsker(RequestError):
    """Only the person who asked can withdraw a request."""


class NoSuchAnswer(RequestError):
    """Requests of this kind are not answered by giving hours."""


@transaction.atomic
def ask(*, allocation: Allocation, seconds: int, reason: str, by: User, at: datetime) -> ChangeRequest:
    """Ask for `seconds` more GPU-seconds on an allocation. Raises NothingAsked, AllocationOver."""
    if seconds <= 0:
        raise NothingAsked(_("Ask for more than 0 GPU-hours."))
    refuse_if_over(allocation)
    request = ChangeRequest.objects.create(
        project_id=allocation.project_id,
        allocation=allocation,
        kind=ChangeRequest.Kind.TOP_UP,
        asked_seconds=seconds,
        reason=reason,
        asked_by=by,
        asked_at=at,
    )
    audit.record(
        act="ask_for_hours",
        on=request,
        by=by,
        at=at,
        reason=reason,
        changes={"allocation": [None, allocation], "asked_seconds": [None, seconds]},
    )
    return request


@transaction.atomic
def approve(
    *, request: ChangeRequest, by: User, at: datetime, seconds: int | None = None, answer: str = ""
) -> LedgerEntry:
    """Give the GPU-seconds that were asked for, or fewer; returns the entry that grants them.

    Raises OwnRequest, BenefitsFromIt, AlreadyAnswered, AllocationOver, NothingAsked, NoSuchAnswer; what the ledger
    refuses comes through.
    """
    if request.kind != ChangeRequest.Kind.TOP_UP or request.allocation_id is None or request.asked_seconds is None:
        raise NoSuchAnswer(_("Only requests for more GPU-hours are approved here."))
    given = request.asked_seconds if seconds is None else seconds
    if not 0 < given <= request.asked_seconds:
        raise NothingAsked(_("Give more than 0 GPU-hours, and not more than were asked for."))
    refuse_own(request, by)
    refuse_beneficiary(request, by)
    allocation = (
        Allocation.objects.select_for_update(of=("self",)).select_related("pool__cluster").get(pk=request.allocation_id)
    )
    refuse_if_over(allocation)
    state = State.APPROVED if given == request.asked_seconds else State.PART_APPROVED
    move(request, to=state, by=by, at=at, answer=answer, approved_seconds=given)
    entry = ledger.top_up(
        allocation=allocation,
        seconds=given,
        by=request.asked_by,
        approved_by=by,
        at=at,
        key=f"request-{request.pk}",
        reason=request.reason[:500],
        source_kind="request",
        source_reference=str(request.pk),
    )
    audit.record(
        act="approve_request",
        on=request,
        by=by,
        at=at,
        reason=answer,
        changes={"state": [State.ASKED, state], "approved_seconds": [None, given], "entry": [None, entry.pk]},
    )
    return entry


@transaction.atomic
def decline(*, request: ChangeRequest, by: User, at: datetime, answer: str) -> ChangeRequest:
    """Say no, and why. Raises OwnRequest, AlreadyAnswered."""
    refuse_own(request, by)
    move(request, to=State.DECLINED, by=by, at=at, answer=answer)
    audit.record(
        act="decline_request",
        on=request,
        by=by,
        at=at,
        reason=answer,
        changes={"state": [State.ASKED, State.DECLINED]},
    )
    return request


@transaction.atomic
def withdraw(*, request: ChangeRequest, by: User, at: datetime) -> ChangeRequest:
    """Take one's own request back. Raises NotTheAsker, AlreadyAnswered."""
    if request.asked_by_id != by.pk:
        raise NotTheAsker(_("Only the person who asked can withdraw the request."))
    move(request, to=State.WITHDRAWN, by=by, at=at, answer="")
    audit.record(act="withdraw_request", on=request, by=by, at=at, changes={"state": [State.ASKED, State.WITHDRAWN]})
    return request


def waits(request: ChangeRequest) -> bool:
    """Whether the request can still be answered."""
    return bool(TRANSITIONS[State(request.state)])


def move(request: ChangeRequest, *, to: State, by: User, at: datetime, answer: str, **fields: Any) -> None:
    """Move the request from waiting to its answer, or raise AlreadyAnswered when it does not wait any more."""
    answered = {"state": to, "answer": answer, "answered_by": by, "answered_at": at, **fields}
    if not ChangeRequest.objects.filter(pk=request.pk, state=State.ASKED).update(**answered):
        raise AlreadyAnswered(_("This request is answered already. Look at it again."))
    for name, value in answered.items():
        setattr(request, name, value)


def refuse_own(request: ChangeRequest, by: User) -> None:
    if request.asked_by_id == by.pk:
        raise OwnRequest(_("You asked for this yourself. Another officer has to answer it."))


def refuse_beneficiary(request: ChangeRequest, by: User) -> None:
    belongs = Membership.objects.current().filter(project=request.project_id, user=by).exists()
    if belongs or Representative.objects.filter(tenant__projects=request.project_id, user=by, ended_at=None).exists():
        raise BenefitsFromIt(_("You belong to this project. An officer who does not has to answer it."))


def refuse_if_over(allocation: Allocation) -> None:
    if allocation.state not in TAKES_HOURS:
        raise AllocationOver(
            _("The allocation %(reference)s is closed; it takes no more GPU-hours.")
            % {"reference": allocation.reference}
        )
