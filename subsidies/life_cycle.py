"""The life of an application: its states, what the public calls them, and the only moves that exist.

    draft -> submitted -> screening <-> clarification -> under_assessment -> ready_for_committee (<-> deferred)
          -> decided -> offered -> accepted

with the exits ineligible, withdrawn, not approved, declined and lapsed. Pages, verbs, tests and the database's own
check on recorded steps all read this one table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _


class State(models.TextChoices):
    DRAFT = "draft", _("Draft")
    SUBMITTED = "submitted", _("Submitted")
    SCREENING = "screening", _("Screening")
    CLARIFICATION = "clarification", _("Clarification")
    UNDER_ASSESSMENT = "under_assessment", _("Under assessment")
    READY_FOR_COMMITTEE = "ready_for_committee", _("Ready for the committee")
    DEFERRED = "deferred", _("Deferred")
    DECIDED = "decided", _("Decided")
    OFFERED = "offered", _("Offered")
    ACCEPTED = "accepted", _("Accepted")
    INELIGIBLE = "ineligible", _("Ineligible")
    WITHDRAWN = "withdrawn", _("Withdrawn")
    NOT_APPROVED = "not_approved", _("Not approved")
    DECLINED = "declined", pgettext_lazy("application", "Declined")
    LAPSED = "lapsed", _("Lapsed")


PUBLIC_NAMES: Final[Mapping[State, Promise]] = MappingProxyType(
    {
        State.DRAFT: _("Not sent yet"),
        State.SUBMITTED: _("Received"),
        State.SCREENING: _("Being checked"),
        State.CLARIFICATION: _("Waiting for your answer"),
        State.UNDER_ASSESSMENT: _("Being assessed"),
        State.READY_FOR_COMMITTEE: _("With the committee"),
        State.DEFERRED: _("With the committee"),
        State.DECIDED: _("With the committee"),  # held until the decision is released
        State.OFFERED: _("Offer made"),
        State.ACCEPTED: _("Offer accepted"),
        State.INELIGIBLE: _("Not eligible"),
        State.WITHDRAWN: _("Withdrawn"),
        State.NOT_APPROVED: _("Not approved"),
        State.DECLINED: _("Offer declined"),
        State.LAPSED: _("Lapsed"),
    }
)
"""What an applicant reads: where the case is, without what is still held back."""

TONES: Final[Mapping[str, str]] = MappingProxyType(
    {
        State.DRAFT: "quiet",
        State.SUBMITTED: "info",
        State.SCREENING: "info",
        State.CLARIFICATION: "warn",
        State.UNDER_ASSESSMENT: "info",
        State.READY_FOR_COMMITTEE: "info",
        State.DEFERRED: "warn",
        State.DECIDED: "info",
        State.OFFERED: "info",
        State.ACCEPTED: "ok",
        State.INELIGIBLE: "bad",
        State.WITHDRAWN: "quiet",
        State.NOT_APPROVED: "bad",
        State.DECLINED: "quiet",
        State.LAPSED: "quiet",
    }
)
"""The colour of a state's badge."""

TRANSITIONS: Final[Mapping[State, tuple[State, ...]]] = MappingProxyType(
    {
        State.DRAFT: (State.SUBMITTED, State.WITHDRAWN),
        State.SUBMITTED: (State.SCREENING, State.WITHDRAWN),
        State.SCREENING: (State.CLARIFICATION, State.UNDER_ASSESSMENT, State.INELIGIBLE, State.WITHDRAWN),
        State.CLARIFICATION: (State.SCREENING, State.WITHDRAWN, State.LAPSED),
        State.UNDER_ASSESSMENT: (State.READY_FOR_COMMITTEE, State.WITHDRAWN),
        State.READY_FOR_COMMITTEE: (State.DEFERRED, State.DECIDED, State.WITHDRAWN),
        State.DEFERRED: (State.READY_FOR_COMMITTEE, State.WITHDRAWN),
        State.DECIDED: (State.OFFERED, State.NOT_APPROVED),
        State.OFFERED: (State.ACCEPTED, State.DECLINED, State.LAPSED),
        State.ACCEPTED: (),
        State.INELIGIBLE: (),
        State.WITHDRAWN: (),
        State.NOT_APPROVED: (),
        State.DECLINED: (),
        State.LAPSED: (),
    }
)
"""From each state, the states that may follow."""

UNDECIDED: Final = (
    State.SUBMITTED,
    State.SCREENING,
    State.CLARIFICATION,
    State.UNDER_ASSESSMENT,
    State.READY_FOR_COMMITTEE,
    State.DEFERRED,
)
"""Received, and still before the decision."""

ROAD_TO_DECISION: Final = (
    State.SUBMITTED,
    State.SCREENING,
    State.UNDER_ASSESSMENT,
    State.READY_FOR_COMMITTEE,
    State.DECIDED,
)
"""The straight road from receipt to decision, without detours."""


class CaseError(Exception):
    """Why a case cannot go on as asked, as a sentence for a screen."""


class AlreadyDecided(CaseError):
    """Somebody else moved the case first; what was seen no longer stands."""


class NotPossible(CaseError):
    """The case stands where this cannot be done."""


def may_move(before: str, after: str) -> bool:
    """Whether the table has this move."""
    return State(after) in TRANSITIONS[State(before)]


def road_to_decision(state: str) -> tuple[State, ...]:
    """The states still to pass until the decision, that one included; from a detour, by the way back.

    Raises NotPossible when the application is not before its decision.
    """
    seen = State(state)
    if seen not in UNDECIDED:
        raise NotPossible(
            gettext("The application is not waiting for a decision; its state is “%(state)s”.") % {"state": seen.label}
        )
    if seen is State.CLARIFICATION:
        return ROAD_TO_DECISION[1:]
    if seen is State.DEFERRED:
        return ROAD_TO_DECISION[3:]
    return ROAD_TO_DECISION[ROAD_TO_DECISION.index(seen) + 1 :]
