"""Why a request about GPU time cannot be made or answered, each reason with a sentence for a screen."""

from collections.abc import Set
from datetime import datetime

from django.utils.translation import gettext as _

from allocations import movements
from allocations.models import Allocation, ChangeRequest
from allocations.posting import MOST_SECONDS, TAKES_DECISIONS, PeriodClosed
from centre.first_person import why_gone
from centre.models import Membership, Representative, User
from centre.models.tenants import Standing

Kind = ChangeRequest.Kind
MAY_PROPOSE = "allocations.change_allocation"
"""What lets an officer propose an act. See centre.permissions."""
WITHOUT_AMOUNT = frozenset({Kind.MEMBERS, Kind.OTHER})


class RequestError(Exception):
    """Why a request could not be made or answered, as a sentence for a screen."""


class NothingAsked(RequestError):
    """The amount is not a positive number of GPU-seconds, or more is to be given than was asked for."""


class NoReason(RequestError):
    """Every act says why."""


class AlreadyAnswered(RequestError):
    """The request does not wait any more."""


class OwnRequest(RequestError):
    """Nobody answers what they asked for themselves."""


class BenefitsFromIt(RequestError):
    """Nobody approves hours for a project that they belong to."""


class NotOfTheProject(RequestError):
    """What is asked about is another project's, or the project takes no requests any more."""


class TooManyWaiting(RequestError):
    """So many requests of the project wait that no further one is taken."""


class NotTheAsker(RequestError):
    """Only the person who asked can withdraw a request."""


class NoSuchAnswer(RequestError):
    """Requests of this kind are not made, or not answered, in this way."""


class AskerGone(RequestError):
    """Who asked does not count as the first of two people any more."""


def refuse_without_asker(request: ChangeRequest, at: datetime) -> None:
    """AskerGone where who asked left meanwhile: a closed account, or an officer who is none any more.

    What somebody of the team asked for stays the team's, also when they have left the project.
    """
    of_team = (
        request.kind in ChangeRequest.OF_TEAMS
        and Membership.objects.filter(project=request.project_id, user=request.asked_by_id).exists()
    )
    gone = why_gone(request.asked_by, at=at, permission="" if of_team else MAY_PROPOSE)
    if gone:
        raise AskerGone(gone + " " + _("Decline it; who still needs it asks anew."))


def refuse_own(request: ChangeRequest, by: User) -> None:
    if request.asked_by_id == by.pk:
        raise OwnRequest(_("You asked for this yourself. Another officer has to answer it."))


def refuse_beneficiary(request: ChangeRequest, by: User) -> None:
    if belongs_to_it(request, by):
        raise BenefitsFromIt(_("You belong to this project. An officer who does not has to answer it."))


def belongs_to_it(request: ChangeRequest, user: User) -> bool:
    """Whether the person is of a team, or signs for a tenant, that the request is about; on any side of a move."""
    return belongs_to_any({request.project_id, *(allocation.project_id for allocation in touched_by(request))}, user)


def belongs_to_any(projects: Set[int], user: User) -> bool:
    """Whether the person is of the team of one of these projects, or signs for a tenant of one."""
    return (
        Membership.objects.current().filter(project__in=projects, user=user).exists()
        or Representative.objects.filter(tenant__projects__in=projects, user=user, ended_at=None).exists()
    )


def touched_by(request: ChangeRequest) -> list[Allocation]:
    """The allocations on which the request would post; of a transfer to reverse, both."""
    touched = [request.allocation, request.to_allocation]
    if request.entry is not None:
        touched += [leg.allocation for leg in movements.legs_of(request.entry)]
    return [allocation for allocation in touched if allocation is not None]


def refuse_strange(request: ChangeRequest) -> None:
    """NotOfTheProject when a team asks about what is not its own, or for a project that is closed."""
    if request.project.standing == Standing.CLOSED:
        raise NotOfTheProject(_("This project is closed. Nothing can be asked for it any more."))
    for allocation in (request.allocation, request.to_allocation):
        if allocation is not None and allocation.project_id != request.project_id:
            raise NotOfTheProject(
                _("The allocation %(reference)s is not one of this project.") % {"reference": allocation.reference}
            )


def refuse_unsaid(request: ChangeRequest) -> None:
    """NothingAsked, NoReason, PeriodClosed for what can be told from the request alone."""
    refuse_no_amount(request)
    if not request.reason.strip():
        raise NoReason(_("Say why; whoever answers, and later the auditor, read it."))
    if not can_be_kept(request.reason):
        raise NoReason(_("The reason holds a character that cannot be kept. Write it anew."))
    if (request.asked_seconds or 0) > MOST_SECONDS:
        raise NothingAsked(_("This is more than any machine could give. Check the number of GPU-hours."))
    if request.kind in ChangeRequest.OF_DAYS:
        return  # the verb says what becomes of a closed period
    for allocation in (request.allocation, request.to_allocation):
        if allocation is not None:
            refuse_if_over(allocation)


def refuse_no_amount(request: ChangeRequest) -> None:
    """NothingAsked when it does not say how much, until when, or where to."""
    if request.kind in WITHOUT_AMOUNT:
        return
    if request.allocation is None:
        raise NothingAsked(_("Choose an allocation."))
    if request.kind in ChangeRequest.OF_DAYS:
        if request.asked_until_on is None:
            raise NothingAsked(_("Say until which day the period should last."))
    elif (request.asked_seconds or 0) <= 0 and request.kind != Kind.REFUND:
        raise NothingAsked(_("Ask for more than 0 GPU-hours."))
    if request.kind == Kind.TRANSFER and request.to_allocation is None:
        raise NothingAsked(_("Choose the allocation to which the GPU-hours go."))


def can_be_kept(text: str) -> bool:
    """Whether both databases take the text: no NUL, no half of a character."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def refuse_if_over(allocation: Allocation) -> None:
    if allocation.state not in TAKES_DECISIONS:
        raise PeriodClosed(
            _("The allocation %(reference)s is closed; it takes no more GPU-hours.")
            % {"reference": allocation.reference}
        )
