"""What the centre's own records put on the desk: staff roles that wait for a second person. See centre.registry."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet, Window
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from centre.models import Appointment, User
from centre.registry import DESK_SHOWS, DeskGroup, DeskLine, DeskPart

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


def appointments_waiting(user: User, at: datetime) -> Iterator[DeskGroup]:
    """Staff roles to approve, not one's own nor asked for by oneself; and those that one asked for. Two queries."""
    if not user.has_perm("centre.approve_appointment"):
        return
    waiting = Appointment.objects.waiting().select_related("user", "asked_by").order_by("asked_at", "pk")
    parts = {
        DeskPart.WAITING: waiting.exclude(asked_by=user).exclude(user=user),
        DeskPart.ASKED: waiting.filter(asked_by=user),
    }
    for part, rows in parts.items():
        yield group_of(
            rows,
            part=part,
            title=_("Staff roles"),
            line=line_of_appointment,
            url=f"{reverse('admin:centre_appointment_changelist')}?standing=waiting",
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
