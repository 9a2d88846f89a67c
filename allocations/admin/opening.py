"""Opening an allocation: what it is and its first GPU-hours, on one form; then a look at what will be."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations import ledger, requests
from allocations.admin.effects import effects_of, headline
from allocations.admin.proposing import REFUSALS, draft, reason_field, said_of, what_comes_next
from allocations.models import Allocation, ChangeRequest
from allocations.unmatched import would_be_charged
from centre.admin.acts import Confirmation, Effect, act_page
from centre.admin.choosing import chosen, day, prefilled
from centre.admin.confirming import exact_hours
from centre.admin.kept import KeptAdmin
from centre.forms import GpuHoursField
from centre.http import signed_in
from centre.templatetags.portal import grouped

Kind = ChangeRequest.Kind
DESCRIBED_BY = ("project", "pool", "reference", "account", "funding", "start_on", "end_on")


class OpeningForm(forms.Form):
    """What an officer says of a new allocation."""

    project = chosen(Allocation, "project")
    pool = chosen(Allocation, "pool")
    reference = forms.CharField(
        label=_("Reference"),
        max_length=80,
        help_text=_("The number of the agreement, award or order; no two are the same."),
    )
    account = forms.CharField(
        label=_("Slurm account"),
        max_length=128,
        required=False,
        help_text=_("Whose job runs draw on it. Leave it empty to take the project’s code."),
    )
    funding = forms.ChoiceField(label=_("Funding"), choices=[("", "–"), *Allocation.Funding.choices])
    start_on = day(label=_("First day"))
    end_on = day(label=_("Last day"), help_text=_("Both days are included."))
    seconds = GpuHoursField(
        label=_("GPU-hours to ask for"),
        min_value=0,
        help_text=_("The first hours of the allocation. 0: none yet."),
    )
    reason = reason_field()

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        first, last = given.get("start_on"), given.get("end_on")
        if first and last and last < first:
            self.add_error("end_on", _("The last day is before the first."))
        return given


def described(given: dict[str, Any]) -> Allocation:
    """The allocation that the form describes, not saved and without hours."""
    said = {name: given[name] for name in DESCRIBED_BY}
    said["account"] = said["account"] or given["project"].code
    return Allocation(**said, created_at=timezone.now())


def standing(described_now: Allocation, key: str) -> Allocation | None:
    """The allocation that this form, sent before, has opened; refused when the reference or the key is another's."""
    asked = ChangeRequest.objects.filter(key=key).select_related("allocation").first()
    taken = asked.allocation if asked else Allocation.objects.filter(reference=described_now.reference).first()
    if taken is None:
        return None
    is_same = all(getattr(taken, name) == getattr(described_now, name) for name in ("project_id", "pool_id", *FACTS))
    if asked and not is_same:
        raise ledger.KeyReused(
            gettext("This form was sent before with other content. Open the page anew to ask for something else.")
        )
    if asked or (is_same and not taken.granted_seconds and not taken.requests.exists()):
        return taken
    raise ValidationError({"reference": gettext("Another allocation has this reference.")})


FACTS = DESCRIBED_BY[2:]


def waiting_for(new: Allocation) -> str:
    """What an allocation that is about to be opened takes at once, as a sentence; nothing when nothing waits."""
    runs, seconds = would_be_charged(pool=new.pool, account=new.account, first=new.start_on, last=new.end_on)
    if not seconds:
        return ""
    said = {"runs": grouped(runs, 0), "hours": exact_hours(seconds), "account": new.account}
    return (
        ngettext(
            "%(runs)s job run of %(account)s waits for it: %(hours)s GPU-hours are charged at once.",
            "%(runs)s job runs of %(account)s wait for it: %(hours)s GPU-hours are charged at once.",
            runs,
        )
        % said
    )


def charged_at_once(opened: Allocation) -> str:
    """What was charged to an allocation as it was opened, as a sentence; nothing when nothing had waited."""
    if not opened.used_seconds:
        return ""
    return gettext("%(hours)s GPU-hours of job runs that had waited were charged.") % {
        "hours": exact_hours(opened.used_seconds)
    }


def open_page(request: HttpRequest, page: KeptAdmin[Allocation]) -> HttpResponse:
    """Open an allocation, and ask for its first hours in the same breath."""
    if not page.has_add_permission(request):
        raise PermissionDenied
    by = signed_in(request)

    def confirm(given: dict[str, Any]) -> Confirmation | None:
        new = described(given)
        if standing(new, given["key"]) is not None:
            return None
        new.full_clean(exclude=["project", "pool"])
        ledger.refuse_overlap(new)
        opened = Effect(_("Allocation"), _("none"), _("%(reference)s, open") % {"reference": new.reference})
        waits = waiting_for(new)
        if not given["seconds"]:
            note = gettext("It is open at once and takes the job runs of its Slurm account.")
            return Confirmation(
                headline=gettext("Open %(reference)s without GPU-hours") % {"reference": new.reference},
                effects=[opened],
                note=f"{note} {waits}".strip(),
                button=gettext("Open the allocation"),
            )
        asked = draft(Kind.OPENING, new, by, given)
        note, button = what_comes_next(asked)
        opens = gettext("The allocation is opened at once and takes the job runs of its Slurm account.")
        if requests.needs_a_second_person(asked):
            note = gettext("Its GPU-hours are given when another officer has approved them.")
        return Confirmation(
            headline=headline(asked, given["seconds"]),
            effects=[opened, *effects_of(asked, given["seconds"])],
            note=" ".join(part for part in (opens, waits, note) if part),
            button=button,
        )

    @transaction.atomic
    def run(given: dict[str, Any]) -> tuple[str, Allocation]:
        at = timezone.now()
        opened = standing(described(given), given["key"]) or ledger.open_allocation(
            **{name: given[name] for name in DESCRIBED_BY},
            reason=given["reason"],
            seconds=0,
            by=by,
            approved_by=None,
            at=at,
            source_kind="request",
        )
        charged = charged_at_once(opened)
        if not given["seconds"]:
            sentence = gettext("%(reference)s is open, without GPU-hours yet.") % {"reference": opened}
            return f"{sentence} {charged}".strip(), opened
        asked = requests.propose(
            kind=Kind.OPENING,
            allocation=opened,
            seconds=given["seconds"],
            reason=given["reason"],
            by=by,
            at=at,
            key=given["key"],
        )
        is_open = gettext("%(reference)s is open.") % {"reference": opened}
        return " ".join(part for part in (is_open, charged, said_of(asked)) if part), opened

    return act_page(
        request,
        admin=page,
        row=None,
        title=_("Open an allocation"),
        explanation=_(
            "The allocation is open at once and takes the job runs of its Slurm account. "
            "GPU-hours above the centre’s threshold are given when another officer approves them."
        ),
        form=OpeningForm(request.POST or None, initial=prefilled(OpeningForm, request.GET)),
        button=_("Continue"),
        run=run,
        refusals=REFUSALS,
        confirm=confirm,
        with_key=True,
    )
