"""Acts on an allocation's page that move hours: top up, move to another allocation, take back; reverse an entry."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.admin.proposing import facts_of, propose_page, reason_field, text_field
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from allocations.posting import TAKES_DECISIONS
from centre.admin.choosing import NamedSearch, ReasonForm, day
from centre.admin.confirming import exact_hours
from centre.admin.kept import KeptAdmin
from centre.forms import GpuHoursField
from centre.templatetags.portal import gpu_hours, written_instant

Kind = ChangeRequest.Kind


class TopUpForm(forms.Form):
    seconds = GpuHoursField(label=_("GPU-hours"), min_value=0, help_text=_("How many more than are granted now."))
    reason = reason_field()


class TakeBackForm(forms.Form):
    seconds = GpuHoursField(
        label=_("GPU-hours to take back"), min_value=0, help_text=_("At most what is left; what was used stays used.")
    )
    reason = reason_field()


class ExtendForm(forms.Form):
    until_on = day(label=_("Last day"), help_text=_("Later than the last day now; it is included."))
    reason = reason_field()


class EndEarlyForm(forms.Form):
    until_on = day(label=_("New last day"), help_text=_("Earlier than the last day now, today at the earliest."))
    reason = text_field(_("Reason"), help_text=_("The other officer and the auditor read this; the team is told it."))


class AllocationsField(forms.ModelChoiceField[Allocation]):
    """Allocations by reference, project and what is left."""

    def label_from_instance(self, obj: Allocation) -> str:
        return gettext("%(reference)s, %(project)s, until %(last)s: %(hours)s GPU-hours left") % {
            "reference": obj.reference,
            "project": obj.project.code,
            "last": date_format(obj.end_on),
            "hours": gpu_hours(obj.available_seconds),
        }


class TransferForm(forms.Form):
    to_allocation = AllocationsField(
        label=_("To allocation"),
        queryset=Allocation.objects.none(),
        widget=NamedSearch(ChangeRequest._meta.get_field("to_allocation"), admin.site),
        help_text=_("Allocations of the same GPU pool that take GPU-hours."),
    )
    seconds = GpuHoursField(label=_("GPU-hours to move"), min_value=0)
    reason = reason_field()

    def __init__(self, *args: Any, source: Allocation, **options: Any) -> None:
        super().__init__(*args, **options)
        field: Any = self.fields["to_allocation"]
        others = Allocation.objects.filter(pool=source.pool_id, state__in=TAKES_DECISIONS).exclude(pk=source.pk)
        field.queryset = others.select_related("project")
        field.widget.among = {"takes_from": source.pk}


def top_up_page(request: HttpRequest, page: KeptAdmin[Any], allocation: Allocation) -> HttpResponse:
    return propose_page(
        request,
        page=page,
        row=allocation,
        kind=Kind.TOP_UP,
        allocation=allocation,
        title=_("Give more GPU-hours"),
        facts=facts_of(allocation),
        form=TopUpForm(request.POST or None),
        button=_("Continue"),
    )


def transfer_page(request: HttpRequest, page: KeptAdmin[Any], allocation: Allocation) -> HttpResponse:
    return propose_page(
        request,
        page=page,
        row=allocation,
        kind=Kind.TRANSFER,
        allocation=allocation,
        title=_("Move GPU-hours to another allocation"),
        facts=facts_of(allocation),
        form=TransferForm(request.POST or None, source=allocation),
        button=_("Continue"),
    )


def take_back_page(request: HttpRequest, page: KeptAdmin[Any], allocation: Allocation) -> HttpResponse:
    return propose_page(
        request,
        page=page,
        row=allocation,
        kind=Kind.TAKE_BACK,
        allocation=allocation,
        title=_("Take back unused GPU-hours"),
        explanation=_("What is taken back goes to the reserve of the GPU pool."),
        facts=facts_of(allocation),
        form=TakeBackForm(request.POST or None),
        button=_("Continue"),
        takes=True,
    )


def extend_page(request: HttpRequest, page: KeptAdmin[Any], allocation: Allocation) -> HttpResponse:
    further = allocation.drawing_accounts.standing().order_by("account", "from_on")
    draws = [
        (_("Further Slurm account"), f"{row.account}, {date_format(row.from_on)} – {date_format(row.until_on)}")
        for row in further
    ]
    return propose_page(
        request,
        page=page,
        row=allocation,
        kind=Kind.EXTENSION,
        allocation=allocation,
        title=_("Let the period last longer"),
        explanation=_(
            "Job runs of the added days that wait are charged at once. A further Slurm account draws until its own "
            "last day; let it draw on the added days by itself. Another officer always approves."
        ),
        facts=[*facts_of(allocation), *draws],
        form=ExtendForm(request.POST or None),
        button=_("Continue"),
    )


def end_early_page(request: HttpRequest, page: KeptAdmin[Any], allocation: Allocation) -> HttpResponse:
    return propose_page(
        request,
        page=page,
        row=allocation,
        kind=Kind.EARLY_END,
        allocation=allocation,
        title=_("End the period early"),
        explanation=_(
            "Jobs that run after the new last day are not covered. After that day the period is closed by the rule of "
            "the GPU pool. Another officer always approves; then the team is written."
        ),
        facts=facts_of(allocation),
        form=EndEarlyForm(request.POST or None),
        button=_("Continue"),
    )


def facts_of_entry(entry: LedgerEntry) -> list[tuple[Any, str]]:
    """What an officer looks at before an entry is reversed."""
    people = " / ".join(str(person) for person in (entry.asked_by, entry.approved_by) if person is not None)
    return [
        (_("Entry"), f"{entry.pk}, {entry.get_kind_display()}"),
        (_("GPU-hours"), exact_hours(entry.seconds)),
        (_("Recorded at"), written_instant(entry.recorded_at)),
        (_("Asked for by / approved by"), people or "–"),
        (_("Reason of the entry"), entry.reason or "–"),
    ]


def reverse_page(request: HttpRequest, page: KeptAdmin[Any], entry: LedgerEntry) -> HttpResponse:
    return propose_page(
        request,
        page=page,
        row=entry,
        kind=Kind.REVERSAL,
        allocation=entry.allocation,
        title=_("Reverse this entry"),
        explanation=_(
            "The entry stays in the ledger. Another one that names it takes its effect back; "
            "of a transfer both halves are reversed."
        ),
        facts=[*facts_of(entry.allocation), *facts_of_entry(entry)],
        form=ReasonForm(request.POST or None),
        button=_("Continue"),
        also={"entry": entry},
        takes=True,
    )
