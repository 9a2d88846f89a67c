"""Exemptions from take-back: an officer who does not belong to the project spares an allocation, and says why."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from allocations import movements
from allocations.models import Allocation, ChangeRequest, TakeBackExemption
from allocations.refusals import BenefitsFromIt, NoReason, RequestError, belongs_to_it, refuse_if_over
from centre import audit
from centre.models import User


class AlreadyExempted(RequestError):
    """Nothing is taken back from the allocation already."""


class AlreadyEnded(RequestError):
    """The exemption does not count any more."""


@transaction.atomic
def exempt(*, allocation: Allocation, reason: str, by: User, at: datetime) -> TakeBackExemption:
    """Take nothing back by rule from this allocation until the exemption is ended.

    The same person giving the same reason twice exempts once. A warning that is not due yet stays and ends as exempted.
    Raises NoReason, BenefitsFromIt, AlreadyExempted; PeriodClosed when the allocation is over.
    """
    reason = reason.strip()
    if not reason:
        raise NoReason(_("Say why; the team, and later the auditor, read it."))
    refuse_own_project(allocation, by)
    refuse_if_over(movements.locked([allocation])[allocation.pk])
    try:
        with transaction.atomic():
            exemption = TakeBackExemption.objects.create(allocation=allocation, reason=reason, by=by, from_at=at)
    except IntegrityError:
        standing = TakeBackExemption.objects.filter(allocation=allocation, ended_at=None).first()
        if standing is None:
            raise
        if (standing.by_id, standing.reason) == (by.pk, reason):
            return standing
        raise AlreadyExempted(_("This allocation is exempted already.")) from None
    audit.record(
        act="exempt_from_take_back",
        on=allocation,
        by=by,
        at=at,
        reason=reason,
        changes={"exemption": [None, exemption.pk]},
    )
    return exemption


@transaction.atomic
def end_exemption(*, exemption: TakeBackExemption, by: User, at: datetime) -> TakeBackExemption:
    """From now on the rules count for the allocation again. Raises BenefitsFromIt, AlreadyEnded."""
    refuse_own_project(exemption.allocation, by)
    movements.locked([exemption.allocation])
    standing = TakeBackExemption.objects.filter(pk=exemption.pk, ended_at=None)
    if not standing.update(ended_at=at, ended_by=by):
        raise AlreadyEnded(_("This exemption was ended before."))
    exemption.ended_at, exemption.ended_by = at, by
    audit.record(
        act="end_exemption",
        on=exemption.allocation,
        by=by,
        at=at,
        changes={"exemption": exemption.pk},
    )
    return exemption


def refuse_own_project(allocation: Allocation, by: User) -> None:
    if belongs_to_it(ChangeRequest(project_id=allocation.project_id), by):
        raise BenefitsFromIt(_("You belong to this project. An officer who does not has to do this."))
