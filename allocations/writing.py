"""A letter in the centre's own words to the teams of several allocations."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from allocations.models import Allocation
from allocations.movements import locked
from allocations.posting import LedgerError
from allocations.suspending import kept_reason
from allocations.team_letters import What, tell_teams
from centre import audit
from centre.models import Event, User

ACT = "write_to_teams"
ONCE_WITHIN = timedelta(minutes=30)
"""The same words to the same team within this time are a form that was sent twice."""


class WrittenAlready(LedgerError):
    """One of the teams was sent these words a moment ago."""


@transaction.atomic
def write_to_teams(*, allocations: Sequence[Allocation], text: str, by: User, at: datetime) -> None:
    """Send what the officer wrote to the leads and managers of the allocations' projects: one letter per person.

    It goes out when the transaction is committed, and stands on the trail of each allocation. Raises NoReason,
    WrittenAlready.
    """
    said = kept_reason(text)
    rows = locked(allocations).values()  # two that send the same form wait for each other here
    numbers = [str(row.pk) for row in rows]
    of_these = Event.objects.filter(object_type=Allocation._meta.label_lower, object_id__in=numbers)
    if of_these.filter(act=ACT, reason=said, at__gt=at - ONCE_WITHIN).exists():
        raise WrittenAlready(_("This letter was sent to one of these teams a moment ago. Nothing was sent again."))
    audit.record_all(act=ACT, on=[(row, {}) for row in rows], by=by, at=at, reason=said)
    tell_teams(what=What.WRITTEN, allocations=allocations, reason=said)
