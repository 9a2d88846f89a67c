"""Further Slurm accounts: an account draws on an allocation beside the one that the allocation names itself.

`let_draw` and `withdraw` charge at once what the change means for runs that are imported already, so that the books
come out as if it had been known from the start. A closed allocation can be drawn on, too: usage is a fact, and what is
learnt of an ended period is settled with its end, as all late usage is. Only one that is void takes nothing.

What draws never changes. To end it earlier, withdraw it and let the account draw on the days that stay.
"""

from datetime import date, datetime

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from allocations import staging
from allocations.models import Allocation, DrawingAccount
from allocations.movements import locked
from allocations.posting import LedgerError
from allocations.recharging import recharge_account
from allocations.refusals import BenefitsFromIt, NoReason, belongs_to_any, can_be_kept
from allocations.taken import AccountTaken, Wanted, refuse_taken
from centre import audit
from centre.models import Project, User

__all__ = ["AccountTaken", "AlreadyWithdrawn", "OutsideThePeriod", "VoidAllocation", "let_draw", "withdraw"]


class OutsideThePeriod(LedgerError):
    """A day on which the allocation is not there to be drawn on, or a last day before the first."""


class VoidAllocation(LedgerError):
    """The allocation never counted."""


class AlreadyWithdrawn(LedgerError):
    """Somebody withdrew the account before."""


@transaction.atomic
def let_draw(
    *,
    allocation: Allocation,
    account: str,
    from_on: date,
    until_on: date | None = None,
    by: User,
    at: datetime,
    reason: str,
) -> tuple[DrawingAccount, int]:
    """Let a further Slurm account draw on an allocation, both days included; by default until its last day.

    Returns the row and the GPU-seconds that were charged at once for runs that had waited. The same again changes
    nothing. Raises AccountTaken when the account's time is taken on one of the days, OutsideThePeriod, VoidAllocation,
    BenefitsFromIt for who belongs to a project concerned, NoReason, ValidationError for a name that cannot be one.
    """
    cluster = allocation.pool.cluster
    staging.lock_cluster(cluster.pk)
    row = locked([allocation])[allocation.pk]
    wanted = DrawingAccount(
        allocation=row,
        pool=row.pool,
        account=account,
        from_on=from_on,
        until_on=until_on or row.end_on,
        reason=reason,
        made_by=by,
        made_at=at,
    )
    if standing := standing_as(wanted):
        return standing, 0
    refuse_drawing(wanted)
    try:
        with transaction.atomic():
            wanted.save(force_insert=True)
    except IntegrityError as error:
        if "one_drawing_account_per_pool_and_day" in str(error) or "is_not_covered_by_name" in str(error):
            raise AccountTaken(
                _("The Slurm account %(account)s draws on an allocation of %(pool)s already on some of these days.")
                % {"account": account, "pool": row.pool.code}
            ) from error
        raise
    charged = recharge_account(
        cluster=cluster,
        account=account,
        first=wanted.from_on,
        last=wanted.until_on,
        source_reference=f"drawing-{wanted.pk}",
        at=at,
    )
    allocation.refresh_from_db(fields=["granted_seconds", "used_seconds", "held_seconds"])
    audit.record(
        act="let_account_draw",
        on=wanted,
        by=by,
        at=at,
        reason=reason,
        changes={
            "allocation": [None, row.reference],
            "account": [None, account],
            "from_on": [None, wanted.from_on],
            "until_on": [None, wanted.until_on],
            "charged_gpu_seconds": [None, charged],
        },
    )
    return wanted, charged


@transaction.atomic
def withdraw(*, drawing_account: DrawingAccount, by: User, at: datetime, reason: str) -> int:
    """End a drawing as if it had never been; returns the GPU-seconds that the allocation got back.

    The runs wait again for an allocation. Raises AlreadyWithdrawn, BenefitsFromIt, NoReason.
    """
    cluster = drawing_account.allocation.pool.cluster
    staging.lock_cluster(cluster.pk)
    refuse_withdrawal(drawing_account, by=by, reason=reason)
    standing = DrawingAccount.objects.filter(pk=drawing_account.pk, withdrawn_at__isnull=True)
    if not standing.update(withdrawn_by=by, withdrawn_at=at):
        raise AlreadyWithdrawn(
            _("The Slurm account %(account)s was withdrawn before.") % {"account": drawing_account.account}
        )
    given_back = -recharge_account(
        cluster=cluster,
        account=drawing_account.account,
        first=drawing_account.from_on,
        last=drawing_account.until_on,
        source_reference=f"withdrawal-{drawing_account.pk}",
        at=at,
    )
    drawing_account.refresh_from_db(fields=["withdrawn_by", "withdrawn_at"])
    drawing_account.allocation.refresh_from_db(fields=["granted_seconds", "used_seconds", "held_seconds"])
    audit.record(
        act="withdraw_account",
        on=drawing_account,
        by=by,
        at=at,
        reason=reason,
        changes={
            "withdrawn_at": [None, at],
            "allocation": drawing_account.allocation.reference,
            "given_back_gpu_seconds": [None, given_back],
        },
    )
    return given_back


def standing_as(wanted: DrawingAccount) -> DrawingAccount | None:
    """The row that lets the same account draw on the same allocation on the same days already."""
    return DrawingAccount.objects.filter(
        allocation=wanted.allocation,
        account=wanted.account,
        from_on=wanted.from_on,
        until_on=wanted.until_on,
        withdrawn_at__isnull=True,
    ).first()


def refuse_drawing(wanted: DrawingAccount) -> None:
    """Why an account cannot draw on an allocation, or not by this person; nothing when it can."""
    wanted.clean_fields(exclude=["allocation", "pool"])
    allocation = wanted.allocation
    _refuse_unsaid(wanted.reason)
    if allocation.state == Allocation.State.VOID:
        raise VoidAllocation(_("%(reference)s is void; nothing can draw on it.") % {"reference": allocation.reference})
    if wanted.until_on < wanted.from_on:
        raise OutsideThePeriod(_("The last day is before the first."))
    if wanted.from_on < allocation.start_on or wanted.until_on > allocation.end_on:
        raise OutsideThePeriod(
            _("%(reference)s lasts from %(first)s to %(last)s. Choose days within its period.")
            % {
                "reference": allocation.reference,
                "first": allocation.start_on.isoformat(),
                "last": allocation.end_on.isoformat(),
            }
        )
    refuse_taken(Wanted(pool=wanted.pool, account=wanted.account, first=wanted.from_on, last=wanted.until_on))
    _refuse_beneficiary(wanted, wanted.made_by)


def refuse_withdrawal(drawing_account: DrawingAccount, *, by: User, reason: str) -> None:
    """Why this person cannot withdraw the account."""
    _refuse_unsaid(reason)
    _refuse_beneficiary(drawing_account, by)


def _refuse_unsaid(reason: str) -> None:
    if not reason.strip():
        raise NoReason(_("Say why; the auditor reads it."))
    if not can_be_kept(reason):
        raise NoReason(_("The reason holds a character that cannot be kept. Write it anew."))


def _refuse_beneficiary(drawing_account: DrawingAccount, by: User) -> None:
    """Whose hours are taken, and whose runs are paid for, does not decide it."""
    account = drawing_account.account
    projects = {
        drawing_account.allocation.project_id,
        *Project.objects.filter(code=account).values_list("pk", flat=True),
        *Allocation.objects.filter(account=account).values_list("project_id", flat=True),
    }
    if belongs_to_any(projects, by):
        raise BenefitsFromIt(_("You belong to a project that this is about. An officer who does not has to do it."))
