"""Requests in the words of the people who ask: what was asked for, what came of it. Plain facts, no query."""

from collections.abc import Mapping
from typing import Any

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from allocations.models import ChangeRequest
from centre.templatetags.portal import NOTHING, gpu_hours

Kind = ChangeRequest.Kind
State = ChangeRequest.State
TONES = {
    State.ASKED: "info",
    State.APPROVED: "ok",
    State.CARRIED_OUT: "ok",
    State.PART_APPROVED: "warn",
    State.DECLINED: "bad",
    State.WITHDRAWN: "quiet",
    State.LAPSED: "quiet",
}
SAYS_YES = frozenset({State.APPROVED, State.PART_APPROVED, State.CARRIED_OUT})


def hours_of(seconds: int | None) -> str:
    """GPU-hours with decimals only where there are any."""
    return gpu_hours(seconds, 2 if (seconds or 0) % 3600 else 0)


def said_of(request: ChangeRequest) -> dict[str, Any]:
    """What sentences about a request are filled with."""
    asked, given = request.asked_until_on, request.approved_until_on
    return {
        "hours": hours_of(request.asked_seconds),
        "given": hours_of(request.approved_seconds),
        "reference": request.allocation.reference if request.allocation else NOTHING,
        "other": request.to_allocation.reference if request.to_allocation else NOTHING,
        "day": date_format(asked) if asked else NOTHING,
        "given_day": date_format(given) if given else NOTHING,
    }


def asked_text(request: ChangeRequest) -> str:
    """What was asked for, in a line without a full stop."""
    said = said_of(request)
    match request.kind:
        case Kind.TOP_UP:
            return _("%(hours)s more GPU-hours for %(reference)s") % said
        case Kind.EXTENSION:
            return _("A longer period for %(reference)s, until %(day)s") % said
        case Kind.EARLY_END:
            return _("An earlier end of the period of %(reference)s, on %(day)s") % said
        case Kind.TRANSFER:
            return _("Move %(hours)s GPU-hours from %(reference)s to %(other)s") % said
    return str(request.get_kind_display())


EFFECTS: Mapping[tuple[Kind, bool], Promise] = {
    (Kind.TOP_UP, False): gettext_lazy("%(reference)s got %(given)s more GPU-hours."),
    (Kind.TOP_UP, True): gettext_lazy("%(reference)s got %(given)s of the %(hours)s GPU-hours asked for."),
    (Kind.EXTENSION, False): gettext_lazy("%(reference)s now lasts until %(given_day)s."),
    (Kind.EXTENSION, True): gettext_lazy("%(reference)s now lasts until %(given_day)s; asked for was %(day)s."),
    (Kind.EARLY_END, False): gettext_lazy("The period of %(reference)s now ends on %(given_day)s."),
    (Kind.TRANSFER, False): gettext_lazy("%(given)s GPU-hours were moved from %(reference)s to %(other)s."),
    (Kind.TRANSFER, True): gettext_lazy(
        "%(given)s of the %(hours)s GPU-hours asked for were moved from %(reference)s to %(other)s."
    ),
}
"""What a yes did, by kind and whether it was given in part."""


def effect_text(request: ChangeRequest) -> str:
    """What the centre's yes did, as a sentence; nothing where it was no yes, or moved nothing in the books."""
    words = EFFECTS.get((Kind(request.kind), request.state == State.PART_APPROVED))
    return str(words) % said_of(request) if words is not None and request.state in SAYS_YES else ""


def answer_text(request: ChangeRequest) -> str:
    """The answer's own words; those of a request that lapsed are the portal's, and come in the reader's language."""
    return _(request.answer) if request.state == State.LAPSED and request.answer else request.answer


def state_text(request: ChangeRequest) -> str:
    """What came of it in a word or two."""
    if request.state in SAYS_YES and request.kind in {Kind.MEMBERS, Kind.OTHER}:
        return _("Done")
    return str(request.get_state_display())
