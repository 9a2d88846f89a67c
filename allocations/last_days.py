"""What an allocation's last day decides: which job runs it covers, and what moving that day does to the books."""

from datetime import date, datetime

from allocations.models import Allocation, DrawingAccount
from allocations.recharging import recharge_account
from centre import audit
from centre.models import User


def move_last_day(
    row: Allocation,
    *,
    to: date,
    act: str,
    source: str,
    by: User,
    approved_by: User,
    at: datetime,
    reason: str,
    request: str,
) -> int:
    """Set the last day of a locked allocation, charge anew the days between, and keep it on the audit trail.

    The days are those of the allocation's account and of the accounts that draw on it. `act` is how the audit trail
    calls it, `source` how the entries of usage do, `request` the number of the request behind it. Returns the
    GPU-seconds that were charged; less than nothing where they were given back. The cluster's usage is locked.
    """
    before = row.end_on
    first, last = sorted((before, to))
    Allocation.objects.filter(pk=row.pk).update(end_on=to)
    further = DrawingAccount.objects.standing().filter(allocation=row, until_on__gt=first)
    accounts = {row.account, *further.values_list("account", flat=True)}
    charged = sum(
        recharge_account(
            cluster=row.pool.cluster,
            account=account,
            first=first,
            last=last,
            source_reference=f"{source}-{row.pk}-{at:%Y%m%dT%H%M%S%f}-{number}",
            at=at,
        )
        for number, account in enumerate(sorted(accounts))
    )
    changes = {
        "end_on": [before, to],
        "approved_by": [None, approved_by],
        "request": request,
        "charged_gpu_seconds": charged,
    }
    audit.record(act=act, on=row, by=by, at=at, reason=reason, changes=changes)
    return charged
