"""What spreadsheet uploads put on the desk: opening balances of a colleague that this officer may apply."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.models import OnboardingFile, OnboardingUpload
from allocations.onboard.applying import HOUR_RIGHTS, HOURS
from centre.desk import group_of, noted
from centre.models import User
from centre.registry import DeskGroup, DeskLine, DeskPart, DeskParts
from centre.templatetags.portal import gpu_hours

SHOWN_FOR: Final = timedelta(days=30)
"""An upload that nobody applied for so long was given up; it stays in the list of uploads."""


def balances_waiting(user: User, at: datetime, parts: DeskParts) -> Iterator[DeskGroup]:
    """Opening balances of others' uploads, once the teams that they are for stand in the books. One query."""
    if DeskPart.WAITING not in parts or not user.has_perms(list(HOUR_RIGHTS)):
        return
    files = OnboardingFile.objects.filter(upload=OuterRef("pk"))
    changes_something = Q(new__gt=0) | Q(changed__gt=0)
    waiting = (
        OnboardingUpload.objects.standing()
        .filter(Exists(files.filter(changes_something, kind=HOURS)), uploaded_at__gt=at - SHOWN_FOR)
        .exclude(uploaded_by=user)
        .exclude(Exists(files.filter(changes_something).exclude(kind=HOURS)))
    )
    yield group_of(
        waiting.select_related("uploaded_by").order_by("uploaded_at", "pk"),
        part=DeskPart.WAITING,
        title=gettext("Opening balances from a spreadsheet"),
        line=line_of_upload,
        url=reverse("admin:allocations_onboardingupload_changelist"),
    )


def line_of_upload(row: OnboardingUpload, part: DeskPart) -> DeskLine:
    return DeskLine(
        title=_("Apply opening balances of %(hours)s GPU-hours") % {"hours": gpu_hours(row.opening_seconds)},
        note=noted(part, row.uploaded_by),
        url=reverse("admin:allocations_onboardingupload_change", args=[row.pk]),
        since=row.uploaded_at,
    )
