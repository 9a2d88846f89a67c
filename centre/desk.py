"""What the centre's own records put on the desk: staff roles that wait for a second person. See centre.registry.

And how an app turns rows into groups of lines: only the first rows are read, all of them are counted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, F, Q, QuerySet, Value, When, Window
from django.db.models.expressions import BaseExpression, Combinable
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from centre.models import Appointment, User
from centre.registry import DESK_SHOWS, DeskGroup, DeskLine, DeskPart, DeskParts

ASKS = (DeskPart.WAITING, DeskPart.ASKED)  # the parts of what one person asks and another answers
LineOf = Callable[[Any, DeskPart], DeskLine]  # the part decides where the line leads, and what it says


def group_of(rows: QuerySet[Any], *, part: DeskPart, title: str, line: LineOf, url: str) -> DeskGroup:
    """The first rows as lines, and how many there are, in one query."""
    shown = list(rows.annotate(in_all=Window(Count("pk")))[:DESK_SHOWS])
    return DeskGroup(
        part=part,
        title=title,
        lines=tuple(line(row, part) for row in shown),
        count=shown[0].in_all if shown else 0,
        url=url,
    )


def first_of_each(
    rows: QuerySet[Any], *, kind: Combinable, order_by: Sequence[BaseExpression | F]
) -> dict[Any, tuple[list[Any], int]]:
    """Rows sorted into kinds: of each the first ones in that order, and how many there are, in one query."""
    ranked = rows.annotate(desk_kind=kind).annotate(
        in_all=Window(Count("pk"), partition_by="desk_kind"),
        place=Window(RowNumber(), partition_by="desk_kind", order_by=list(order_by)),
    )
    found: dict[Any, tuple[list[Any], int]] = {}
    for row in ranked.filter(place__lte=DESK_SHOWS).order_by("desk_kind", "place"):
        found.setdefault(row.desk_kind, ([], row.in_all))[0].append(row)
    return found


def waiting_and_asked(
    rows: QuerySet[Any], *, user: User, title: str, line: LineOf, urls: Mapping[DeskPart, str]
) -> Iterator[DeskGroup]:
    """What waits for this person, and beside it what they asked for themselves, the oldest first, in one query."""
    asked = Case(When(Q(asked_by=user), then=Value(DeskPart.ASKED.value)), default=Value(DeskPart.WAITING.value))
    found = first_of_each(rows, kind=asked, order_by=(F("asked_at"), F("pk")))
    for part, url in urls.items():
        shown, count = found.get(part.value, ([], 0))
        yield DeskGroup(part=part, title=title, lines=tuple(line(row, part) for row in shown), count=count, url=url)


def appointments_waiting(user: User, at: datetime, parts: DeskParts) -> Iterator[DeskGroup]:
    """Staff roles to approve, not one's own nor asked for by oneself; and those that one asked for. One query."""
    if parts.isdisjoint(ASKS) or not user.has_perm("centre.approve_appointment"):
        return
    rows = Appointment.objects.waiting().filter(Q(asked_by=user) | ~Q(user=user)).select_related("user", "asked_by")
    listed = f"{reverse('admin:centre_appointment_changelist')}?standing=waiting"
    yield from waiting_and_asked(
        rows, user=user, title=_("Staff roles"), line=line_of_appointment, urls=dict.fromkeys(ASKS, listed)
    )


def line_of_appointment(row: Appointment, part: DeskPart) -> DeskLine:
    page = "approve" if part == DeskPart.WAITING else "change"
    return DeskLine(
        title=_("%(role)s: %(person)s") % {"role": row.get_role_display(), "person": row.user.get_full_name()},
        note=noted(part, row.asked_by, _("From %(day)s on.") % {"day": date_format(row.from_on)}),
        url=reverse(f"admin:centre_appointment_{page}", args=[row.pk]),
        since=row.asked_at,
    )


def noted(part: DeskPart, asked_by: User | None, *what: str) -> str:
    """The line below a title: what it concerns, and who asked where that is somebody else."""
    said = [each for each in what if each]
    if part == DeskPart.WAITING and asked_by is not None:
        said.append(_("Asked for by %(person)s.") % {"person": asked_by.get_full_name()})
    return " ".join(said)
