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
    """Each of the teams was sent these words a moment ago."""


@transaction.atomic
def write_to_teams(*, allocations: Sequence[Allocation], text: str, by: User, at: datetime) -> list[Allocation]:
    """Send what the officer wrote to the leads and managers of the allocations' projects: one letter per person.

    It goes out when the transaction is committed, and stands on the trail of each allocation that it is about; those
    are returned. What the same words were sent about a moment ago is left out. Raises NoReason, and WrittenAlready when
    nothing is left.
    """
    said = kept_reason(text)
    rows = locked(allocations)  # two that send the same form wait for each other here
    already = written_already(allocations, text=said, at=at)
    concerned = [row for number, row in rows.items() if number not in already]
    if not concerned:
        raise WrittenAlready(_("This letter was sent to these teams a moment ago. Nothing was sent again."))
    audit.record_all(act=ACT, on=[(row, {}) for row in concerned], by=by, at=at, reason=said)
    tell_teams(what=What.WRITTEN, allocations=concerned, reason=said)
    return concerned


def written_already(allocations: Sequence[Allocation], *, text: str, at: datetime) -> frozenset[int]:
    """The numbers of those about which the same words were sent a moment ago; one query."""
    of_these = Event.objects.filter(
        act=ACT,
        reason=text.strip(),
        at__gt=at - ONCE_WITHIN,
        object_type=Allocation._meta.label_lower,
        object_id__in=[str(row.pk) for row in allocations],
    )
    return frozenset(int(number) for number in of_these.values_list("object_id", flat=True))
