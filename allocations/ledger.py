"""The verbs of GPU time: an allocation is opened, hours are given.

Each writes its entry and its event in one transaction.
"""

from datetime import date, datetime

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from allocations import staging
from allocations.models import Allocation, LedgerEntry
from allocations.posting import KeyReused, LedgerError, NotEnough, PeriodClosed, TwoPeopleNeeded, post
from allocations.recharging import recharge_account
from allocations.taken import AccountTaken, Wanted, refuse_taken
from centre import audit
from centre.models import GpuPool, Project, User

__all__ = [
    "AccountTaken",
    "KeyReused",
    "LedgerError",
    "NotEnough",
    "PeriodClosed",
    "TwoPeopleNeeded",
    "open_allocation",
    "top_up",
]


COVERED_ONCE = ("one_allocation_covers_an_account_pool_and_day", "an_allocation_covers_no_further_account")
"""The rules of the database that refuse a second allocation for an account, pool and day."""


def open_allocation(
    *,
    project: Project,
    pool: GpuPool,
    reference: str,
    account: str = "",
    funding: str,
    start_on: date,
    end_on: date,
    seconds: int,
    by: User | None,
    approved_by: User | None,
    at: datetime,
    reason: str,
    source_kind: str,
    source_reference: str = "",
) -> Allocation:
    """Open an allocation and grant it `seconds` GPU-seconds (0: none yet); what waited for it is charged at once.

    `account` is the Slurm account that draws on it, by default the project's code; both days are included. Raises
    AccountTaken when another allocation covers the account and pool on one of the days, TwoPeopleNeeded when the grant
    lacks a second person, ValidationError when a field cannot be right.
    """
    allocation = Allocation(
        project=project,
        pool=pool,
        reference=reference,
        account=account or project.code,
        funding=funding,
        start_on=start_on,
        end_on=end_on,
        created_at=at,
    )
    allocation.full_clean(exclude=["project", "pool"])
    with transaction.atomic():
        # Before the row: who inserts first and waits for the cluster then would stop whoever holds the cluster.
        staging.lock_cluster(pool.cluster_id)
        refuse_overlap(allocation)
        try:
            with transaction.atomic():
                allocation.save(force_insert=True)
        except IntegrityError as error:
            if any(rule in str(error) for rule in COVERED_ONCE):
                raise AccountTaken(
                    _(
                        "Another allocation already covers the Slurm account %(account)s on %(pool)s on some of "
                        "these days."
                    )
                    % {"account": allocation.account, "pool": pool.code}
                ) from error
            raise
        grant: LedgerEntry | None = None
        if seconds:
            grant, _is_new = post(
                allocation=allocation,
                kind=LedgerEntry.Kind.GRANT,
                seconds=seconds,
                effective_on=start_on,
                key=f"grant:{allocation.pk}",
                at=at,
                asked_by=by,
                approved_by=approved_by,
                reason=reason,
                source_kind=source_kind,
                source_reference=source_reference,
            )
        recharge_account(
            cluster=pool.cluster,
            account=allocation.account,
            first=start_on,
            last=end_on,
            source_reference=f"opening-{allocation.pk}",
            at=at,
        )
        allocation.refresh_from_db(fields=["granted_seconds", "used_seconds", "held_seconds"])
        audit.record(
            act="open_allocation",
            on=allocation,
            by=by,
            at=at,
            reason=reason,
            changes={
                "project": [None, project.code],
                "pool": [None, pool.code],
                "account": [None, allocation.account],
                "funding": [None, funding],
                "start_on": [None, start_on],
                "end_on": [None, end_on],
                "granted_seconds": [None, seconds],
                "approved_by": [None, approved_by],
                **({"entry": [None, grant.pk]} if grant else {}),
            },
        )
    return allocation


def refuse_overlap(allocation: Allocation) -> None:
    """AccountTaken, naming the other, when another allocation takes this one's account and pool on one of its days."""
    refuse_taken(
        Wanted(
            pool=allocation.pool,
            account=allocation.account,
            first=allocation.start_on,
            last=allocation.end_on,
            besides=allocation.pk or 0,
        )
    )


def top_up(
    *,
    allocation: Allocation,
    seconds: int,
    by: User | None,
    approved_by: User | None,
    at: datetime,
    key: str,
    reason: str,
    source_kind: str,
    source_reference: str = "",
    effective_on: date | None = None,
    kind: LedgerEntry.Kind = LedgerEntry.Kind.TOP_UP,
) -> LedgerEntry:
    """Grant further `seconds` GPU-seconds to an allocation; the same `key` sent twice acts once.

    `kind` is GRANT for the first hours of an allocation that was opened without any. Raises TwoPeopleNeeded,
    PeriodClosed, or KeyReused when the key stands for something else.
    """
    with transaction.atomic():
        entry, is_new = post(
            allocation=allocation,
            kind=kind,
            seconds=seconds,
            effective_on=effective_on or at.astimezone(allocation.pool.cluster.zone).date(),
            key=key,
            at=at,
            asked_by=by,
            approved_by=approved_by,
            reason=reason,
            source_kind=source_kind,
            source_reference=source_reference,
        )
        if is_new:
            audit.record(
                act="top_up",
                on=allocation,
                by=by,
                at=at,
                reason=reason,
                changes={
                    "granted_seconds": [allocation.granted_seconds - seconds, allocation.granted_seconds],
                    "approved_by": [None, approved_by],
                    "entry": [None, entry.pk],
                },
            )
    return entry
