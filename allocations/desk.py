"""What GPU time puts on the desk: requests and rules that wait for a second officer."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType

from django.db.models import Q
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import requests
from allocations.models import ChangeRequest, PeriodEndRule, TakeBackRule
from allocations.models.rules import PoolRule
from centre.desk import ASKS, noted, waiting_and_asked
from centre.exports import Text
from centre.models import User
from centre.registry import DeskGroup, DeskLine, DeskPart, DeskParts
from centre.templatetags.portal import gpu_hours

MAY_ANSWER = "allocations.change_allocation"

Kind = ChangeRequest.Kind
WOULD_BE_DONE: Mapping[ChangeRequest.Kind, tuple[Text, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.OPENING: (_("Open an allocation with %(hours)s GPU-hours"), ("hours",)),
        Kind.TOP_UP: (_("Give %(hours)s more GPU-hours"), ("hours",)),
        Kind.TAKE_BACK: (_("Take %(hours)s GPU-hours back"), ("hours",)),
        Kind.REFUND: (_("Refund job runs of %(hours)s GPU-hours"), ("hours",)),
        Kind.REVERSAL: (_("Reverse an entry of %(hours)s GPU-hours"), ("hours",)),
        Kind.TRANSFER: (_("Move %(hours)s GPU-hours to %(reference)s"), ("hours", "reference")),
        Kind.EXTENSION: (_("Let the period last until %(day)s"), ("day",)),
        Kind.EARLY_END: (_("Let the period end early, on %(day)s"), ("day",)),
    }
)
"""What a request would do when it is approved, and what has to be known to say so."""


WAITS = {DeskPart.WAITING: "me", DeskPart.ASKED: "another"}
"""How the list of requests is filtered for each part."""


def requests_waiting(user: User, at: datetime, parts: DeskParts) -> Iterator[DeskGroup]:
    """Requests that this person may approve, and those they asked for themselves. One query.

    Nobody approves what they asked for, nor hours of a project that they belong to, on either side of a transfer.
    """
    kinds = requests.answers(user)
    if not kinds or parts.isdisjoint(ASKS):
        return
    waiting = ChangeRequest.objects.waiting().select_related(
        "project__tenant", "allocation", "to_allocation", "asked_by"
    )
    waiting = waiting if len(kinds) == len(Kind) else waiting.filter(kind__in=kinds)
    answerable = ChangeRequest.objects.answerable_by(user).order_by().values("pk")
    changelist = reverse("admin:allocations_changerequest_changelist")
    yield from waiting_and_asked(
        waiting.filter(Q(asked_by=user) | Q(pk__in=answerable)),
        user=user,
        title=gettext("Requests about GPU-hours"),
        line=line_of_request,
        urls={part: f"{changelist}?waits={WAITS[part]}" for part in ASKS},
    )


def line_of_request(row: ChangeRequest, part: DeskPart) -> DeskLine:
    page = "approve" if part == DeskPart.WAITING else "change"
    concerns = {"project": row.project.code, "tenant": str(row.project.tenant), "reference": ""}
    concerned = gettext("For %(project)s of %(tenant)s.")
    if row.allocation is not None:
        concerns["reference"] = row.allocation.reference
        concerned = gettext("For %(reference)s: %(project)s of %(tenant)s.")
    return DeskLine(
        title=asked_in_words(row),
        note=noted(part, row.asked_by, concerned % concerns),
        url=reverse(f"admin:allocations_changerequest_{page}", args=[row.pk]),
        since=row.asked_at,
    )


def asked_in_words(row: ChangeRequest) -> str:
    """What would be done, as a short sentence; for what has none, the kind of the request."""
    said = {
        "hours": gpu_hours(row.asked_seconds) if row.asked_seconds is not None else None,
        "reference": row.to_allocation.reference if row.to_allocation is not None else None,
        "day": date_format(row.asked_until_on) if row.asked_until_on is not None else None,
    }
    sentence, needed = WOULD_BE_DONE.get(Kind(row.kind), ("", ()))
    if not sentence or any(said[name] is None for name in needed):
        return str(row.get_kind_display())
    return str(sentence) % said


def rules_waiting(user: User, at: datetime, parts: DeskParts) -> Iterator[DeskGroup]:
    """Rules of unused time to approve, and those that one asked for. One query for each of the two kinds."""
    if parts.isdisjoint(ASKS) or not user.has_perm(MAY_ANSWER):
        return
    for model, title in ((PeriodEndRule, gettext("Period-end rules")), (TakeBackRule, gettext("Take-back rules"))):
        changelist = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        yield from waiting_and_asked(
            model.objects.waiting().select_related("pool", "asked_by"),
            user=user,
            title=title,
            line=line_of_rule,
            urls=dict.fromkeys(ASKS, f"{changelist}?standing=waiting"),
        )


def line_of_rule(row: PoolRule, part: DeskPart) -> DeskLine:
    page = "approve" if part == DeskPart.WAITING else "change"
    from_on = gettext("Counts from %(day)s on.") % {"day": date_format(row.from_on)}
    return DeskLine(
        title=rule_in_words(row),
        note=noted(part, row.asked_by, from_on),
        url=reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[row.pk]),
        since=row.asked_at,
    )


def rule_in_words(row: PoolRule) -> str:
    if isinstance(row, TakeBackRule):
        return gettext("Take unused GPU-hours of %(pool)s back (%(funding)s)") % {
            "pool": row.pool.code,
            "funding": row.get_funding_display(),
        }
    return gettext("When a period on %(pool)s ends: %(rule)s") % {"pool": row.pool.code, "rule": row}
