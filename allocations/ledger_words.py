"""The ledger in words that a project's team uses: what an entry did, who stands behind it, and where it came from."""

import re
from typing import Final

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from allocations.models import LedgerEntry
from centre.models import User
from centre.registry import Link

Kind = LedgerEntry.Kind
Words = str | Promise

KINDS: Final[dict[str, Words]] = {
    Kind.GRANT: gettext_lazy("Granted"),
    Kind.TOP_UP: gettext_lazy("Granted in addition"),
    Kind.CHARGE: gettext_lazy("Used by job runs"),
    Kind.REFUND: gettext_lazy("Given back for job runs"),
    Kind.TRANSFER: gettext_lazy("Moved between allocations"),
    Kind.FORFEIT: gettext_lazy("Returned to the centre"),
    Kind.CORRECTION: gettext_lazy("Corrected"),
    Kind.REVERSAL: gettext_lazy("An earlier entry undone"),
    Kind.HOLD: pgettext_lazy("GPU-hours", "Set aside"),
    Kind.RELEASE: gettext_lazy("No longer set aside"),
}
"""What the list can be narrowed by."""

SAID_MORE_PRECISELY: Final[dict[tuple[str, str], Words]] = {
    (Kind.GRANT, "onboard"): gettext_lazy("Brought over when the books began"),
    (Kind.GRANT, "upload"): gettext_lazy("Brought over when the books began"),
    (Kind.REFUND, "usage"): gettext_lazy("Use of job runs corrected downwards"),
    (Kind.FORFEIT, "period_end"): gettext_lazy("Returned to the centre at the end of the period"),
    (Kind.FORFEIT, "take_back_rule"): gettext_lazy("Unused hours returned to the centre"),
    (Kind.TRANSFER, "period_end"): gettext_lazy("Carried over at the end of the period"),
    (Kind.CORRECTION, "late_usage"): gettext_lazy("End of the period worked out anew"),
    (Kind.CORRECTION, "refund_follows"): gettext_lazy("Refund corrected"),
}
BY_RULE: Final = frozenset({"period_end", "late_usage", "take_back_rule"})
BY_USAGE: Final = frozenset({"usage", "refund_follows"})


def what(entry: LedgerEntry, partner: str | None = None) -> str:
    """What the entry did. `partner` is the other allocation of a move; "" when the reader may not know it."""
    if entry.kind == Kind.TRANSFER and entry.source_kind != "period_end" and partner is not None:
        if not partner:
            to, come = _("Moved to another project"), _("Moved here from another project")
        else:
            to = _("Moved to %(reference)s") % {"reference": partner}
            come = _("Moved here from %(reference)s") % {"reference": partner}
        return to if entry.seconds < 0 else come
    return str(SAID_MORE_PRECISELY.get((entry.kind, entry.source_kind), KINDS[entry.kind]))


def who(entry: LedgerEntry) -> list[str]:
    """Who stands behind the entry, a line for each; both people must be loaded."""
    if entry.source_kind in BY_USAGE:
        return [_("Worked out from job runs")]
    if entry.source_kind in BY_RULE:
        return [_("By rule")]
    lines = []
    if entry.kind == LedgerEntry.Kind.RELEASE and entry.asked_by is not None:
        return [_("%(person)s answered the request") % {"person": entry.asked_by.get_full_name()}]
    if entry.asked_by is not None:
        lines.append(_("%(person)s asked") % {"person": entry.asked_by.get_full_name()})
    if entry.approved_by is not None:
        lines.append(_("%(person)s approved") % {"person": entry.approved_by.get_full_name()})
    return lines or [_("The centre, on bringing over its books")]


NUMBERED: Final[dict[str, Words]] = {
    "award": gettext_lazy("Award %(number)s"),
    "order": gettext_lazy("Order %(number)s"),
    "onboard": gettext_lazy("The books before this portal (%(number)s)"),
    "upload": gettext_lazy("Spreadsheet upload %(number)s"),
}
SOURCES: Final[dict[str, Words]] = {
    "period_end": gettext_lazy("End of the period"),
    "late_usage": gettext_lazy("Use that became known after the end of the period"),
    "take_back_rule": gettext_lazy("Rule about unused GPU-hours"),
}
OF_AN_ENTRY: Final = frozenset({"reversal", "hold", "refund_follows"})
"""Their reference is the number of another entry of the same allocation."""


def source(entry: LedgerEntry, *, code: str, user: User) -> Link:
    """Where the entry came from, with the way there for those who may go it; `code` is the project's."""
    kind, reference = entry.source_kind, entry.source_reference
    if kind == "usage":
        return _usage(reference, user)
    if kind == "request":
        return _in_admin(_("Request %(number)s") % {"number": reference}, "changerequest", reference, user)
    if kind in OF_AN_ENTRY and reference.isdecimal():
        return Link(_("Entry %(number)s") % {"number": reference}, reverse("ledger_entry", args=[code, reference]))
    if kind in NUMBERED:
        return Link(str(NUMBERED[kind]) % {"number": reference})
    return Link(SOURCES.get(kind, _("Decision of the centre")))


def _usage(reference: str, user: User) -> Link:
    if imported := re.fullmatch(r"import-(\d+)", reference):
        return _in_admin(_("Import %(number)s of job runs") % {"number": imported[1]}, "usageimport", imported[1], user)
    if reference.startswith("opening-"):
        return Link(_("Job runs from before the allocation was opened"))
    if reference.startswith("withdrawal-"):
        return Link(_("Job runs of a Slurm account that was withdrawn"))
    return Link(_("Job runs that found their allocation later"))


def _in_admin(text: str, model: str, number: str, user: User) -> Link:
    """A link into the administration, for those who may look there."""
    may_look = number.isdecimal() and user.is_staff and user.has_perm(f"allocations.view_{model}")
    return Link(text, reverse(f"admin:allocations_{model}_change", args=[number]) if may_look else "")
