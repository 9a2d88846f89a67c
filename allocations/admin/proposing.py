"""How an officer's act on the ledger goes: fill in, look at the effect, confirm; then it is done, or waits."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import ledger, requests
from allocations.admin.effects import effects_of, headline
from allocations.carrying_out import refuse_impossible
from allocations.models import Allocation, ChangeRequest, JobRun
from allocations.refusals import refuse_unsaid
from centre.admin.acts import Confirmation, act_page
from centre.admin.confirming import exact_hours
from centre.admin.kept import KeptAdmin
from centre.http import signed_in
from centre.models import User
from centre.templatetags.portal import gpu_hours

REFUSALS = (ledger.LedgerError, requests.RequestError)
MAY_ACT = "allocations.change_allocation"
Kind = ChangeRequest.Kind
State = ChangeRequest.State


def text_field(label: Any, **options: Any) -> forms.CharField:
    """A few lines of text."""
    widget = forms.Textarea(attrs={"rows": 3, "cols": 60, "class": "vLargeTextField"})
    return forms.CharField(label=label, max_length=500, widget=widget, **options)


def reason_field() -> forms.CharField:
    """Why: every act says so."""
    return text_field(_("Reason"), help_text=_("The other officer, and later the auditor, read this."))


def facts_of(allocation: Allocation) -> list[tuple[Any, str]]:
    """What an officer looks at before hours move."""
    return [
        (_("Project"), str(allocation.project)),
        (_("Allocation"), f"{allocation.reference}, {allocation.get_funding_display()}"),
        (_("GPU pool"), str(allocation.pool)),
        (_("Period"), f"{date_format(allocation.start_on)} – {date_format(allocation.end_on)}"),
    ]


def balance_of(allocation: Allocation) -> list[tuple[Any, str]]:
    """The figures of an allocation as they stand."""
    return [
        (_("Granted (GPU-hours)"), gpu_hours(allocation.granted_seconds)),
        (_("Used (GPU-hours)"), gpu_hours(allocation.used_seconds)),
        (_("Held (GPU-hours)"), gpu_hours(allocation.held_seconds)),
        (_("Left (GPU-hours)"), gpu_hours(allocation.available_seconds)),
    ]


def refundable(allocation: Allocation, runs: Sequence[JobRun]) -> dict[int, int]:
    """What can be refunded of the chosen runs: GPU-seconds by run."""
    of_these = JobRun.objects.refundable(allocation).filter(pk__in=[run.pk for run in runs])
    return {run.pk: run.refundable_seconds for run in of_these}


def draft(kind: ChangeRequest.Kind, allocation: Allocation, by: User, given: Mapping[str, Any]) -> ChangeRequest:
    """What would be proposed, not saved; raises what makes it impossible as things stand."""
    runs: Sequence[JobRun] = given.get("runs", ())
    chosen = refundable(allocation, runs) if runs else {}
    entry = given.get("entry")
    seconds = given.get("seconds")
    if entry is not None:
        seconds = abs(entry.seconds)
    elif kind == Kind.REFUND:
        seconds = sum(chosen.values())
    request = ChangeRequest(
        project_id=allocation.project_id,
        allocation=allocation,
        to_allocation=given.get("to_allocation"),
        entry=entry,
        kind=kind,
        asked_seconds=seconds,
        asked_until_on=given.get("until_on"),
        reason=given["reason"],
        asked_by=by,
        asked_at=timezone.now(),
    )
    refuse_unsaid(request)
    refuse_impossible(request, runs=chosen, wanted=len(runs))
    return request


def what_comes_next(request: ChangeRequest) -> tuple[str, str]:
    """What happens when the act is confirmed, and the words on its button."""
    if not requests.needs_a_second_person(request):
        return gettext("This is within what one officer may do: it is carried out at once."), gettext("Carry out now")
    if requests.belongs_to_it(request, request.asked_by):
        why = gettext("You belong to this project: another officer has to approve it before it is carried out.")
    else:
        why = gettext("Another officer has to approve it before it is carried out.")
    if request.kind == Kind.TRANSFER:
        why += " " + gettext("Until then the GPU-hours are held.")
    return why, gettext("Send for approval")


def said_of(request: ChangeRequest) -> str:
    """What became of a proposal, as a sentence with its figures."""
    allocation = request.allocation
    if allocation is None:
        return gettext("The answer is given.")
    runs = request.runs.count() if request.kind == Kind.REFUND else 0
    allocation.refresh_from_db()
    said = {
        "what": headline(request, request.approved_seconds or request.asked_seconds, runs=runs),
        "reference": allocation.reference,
        "left": exact_hours(allocation.available_seconds),
        "state": request.get_state_display(),
    }
    if request.kind not in requests.MOVES_HOURS and request.state in GIVEN:
        return said_of_other(request, said)
    if request.state == State.CARRIED_OUT:
        return gettext("Carried out: %(what)s. %(reference)s now has %(left)s GPU-hours left.") % said
    if request.state in {State.APPROVED, State.PART_APPROVED}:
        return gettext("Approved and carried out: %(what)s. %(reference)s now has %(left)s GPU-hours left.") % said
    if request.state == State.ASKED:
        return gettext("Waiting for another officer’s approval: %(what)s.") % said
    return gettext("This was sent before: %(what)s. What became of it: %(state)s.") % said


GIVEN = frozenset({State.APPROVED, State.PART_APPROVED, State.CARRIED_OUT})


def said_of_other(request: ChangeRequest, said: Mapping[str, Any]) -> str:
    """What became of a request that moves no hours: a longer period, or what people saw to."""
    if request.kind in ChangeRequest.OF_DAYS:
        return gettext("Approved and carried out: %(what)s.") % said
    return gettext("The answer is given.")


def propose_page(
    request: HttpRequest,
    *,
    page: KeptAdmin[Any],
    row: Model,
    kind: ChangeRequest.Kind,
    allocation: Allocation,
    title: Any,
    button: Any,
    form: forms.Form,
    explanation: Any = "",
    facts: Sequence[tuple[Any, str]],
    also: Mapping[str, Any] | None = None,
    takes: bool = False,
    template: str = "admin/act.html",
    more: Mapping[str, Any] | None = None,
) -> HttpResponse:
    """The page of one kind of act; the form's fields and `also` are what `requests.propose` is told.

    `facts` say what it is about, and stand on both pages. `takes`: it takes hours away.
    """
    by = signed_in(request)

    def confirm(given: dict[str, Any]) -> Confirmation | None:
        if ChangeRequest.objects.filter(key=given["key"]).exists():
            return None  # sent before: what became of it is told
        asked = draft(kind, allocation, by, given | dict(also or {}))
        seconds = asked.asked_seconds or 0
        note, confirming = what_comes_next(asked)
        return Confirmation(
            headline=headline(asked, seconds, runs=len(given.get("runs", ()))),
            effects=effects_of(asked, seconds),
            note=note,
            button=confirming,
            facts=facts,
            danger=takes and not requests.needs_a_second_person(asked),
        )

    def run(given: dict[str, Any]) -> tuple[str, Model]:
        asked = requests.propose(kind=kind, allocation=allocation, by=by, at=timezone.now(), **given | dict(also or {}))
        return said_of(asked), allocation if asked.state in GIVEN else asked

    return act_page(
        request,
        admin=page,
        row=row,
        title=title,
        explanation=explanation,
        facts=[*facts, *balance_of(allocation)],
        form=form,
        button=button,
        run=run,
        refusals=REFUSALS,
        confirm=confirm,
        with_key=True,
        template=template,
        more=more,
    )
