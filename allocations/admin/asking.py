"""Requests about GPU time: one officer asks, another looks at what would change and answers."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import ledger, requests
from allocations.models import Allocation, ChangeRequest
from centre.admin.acts import Effect, act_page, act_urls, row_of_act
from centre.admin.kept import ActLink, HistoryAdmin, KeptAdmin
from centre.forms import GpuHoursField
from centre.http import signed_in
from centre.models import User
from centre.templatetags.portal import gpu_hours, written_instant

REFUSALS = (ledger.LedgerError, requests.RequestError)
MAY_ANSWER = "allocations.change_allocation"


def text_field(label: Any, **options: Any) -> forms.CharField:
    """A few lines of text."""
    widget = forms.Textarea(attrs={"rows": 3, "cols": 60, "class": "vLargeTextField"})
    return forms.CharField(label=label, max_length=500, widget=widget, **options)


class AskingForm(forms.Form):
    seconds = GpuHoursField(label=_("GPU-hours"), min_value=0, help_text=_("How many more than are granted now."))
    reason = text_field(_("Reason"), help_text=_("The other officer, and later the auditor, read this."))


class ApprovalForm(forms.Form):
    seconds = GpuHoursField(label=_("GPU-hours to give"), min_value=0, help_text=_("As asked, or fewer."))
    answer = text_field(_("Answer"), required=False, help_text=_("The person who asked reads this."))


class RefusalForm(forms.Form):
    answer = text_field(_("Answer"), help_text=_("Why not. The person who asked reads this."))


def facts_of(allocation: Allocation) -> list[tuple[Any, str]]:
    """What an officer looks at before giving hours."""
    return [
        (_("Project"), str(allocation.project)),
        (_("Allocation"), f"{allocation.reference}, {allocation.get_funding_display()}"),
        (_("GPU pool"), str(allocation.pool)),
        (_("Period"), f"{date_format(allocation.start_on)} – {date_format(allocation.end_on)}"),
        (_("Used (GPU-hours)"), gpu_hours(allocation.used_seconds)),
    ]


def ask_page(request: HttpRequest, page: KeptAdmin[Allocation], allocation: Allocation) -> HttpResponse:
    """Ask for more hours on an allocation; nothing is given yet."""

    def run(given: dict[str, Any]) -> tuple[str, ChangeRequest]:
        asked = requests.ask(allocation=allocation, by=signed_in(request), at=timezone.now(), **given)
        return gettext("%(hours)s GPU-hours on %(reference)s wait for another officer’s approval.") % {
            "hours": gpu_hours(asked.asked_seconds),
            "reference": allocation.reference,
        }, asked

    return act_page(
        request,
        admin=page,
        row=allocation,
        title=_("Ask for more GPU-hours"),
        explanation=_("Nothing changes until another officer has approved the request."),
        facts=[
            *facts_of(allocation),
            (_("Granted (GPU-hours)"), gpu_hours(allocation.granted_seconds)),
            (_("Left (GPU-hours)"), gpu_hours(allocation.available_seconds)),
        ],
        form=AskingForm(request.POST or None),
        button=_("Ask for approval"),
        run=run,
        refusals=REFUSALS,
    )


@admin.register(ChangeRequest)
class ChangeRequestAdmin(HistoryAdmin[ChangeRequest]):
    list_display = ("asked_at", "project_code", "reference", "kind", "hours", "state", "asked_by", "answered_by")
    list_select_related = ("project", "allocation", "asked_by", "answered_by")
    list_filter = ("state", "kind")
    search_fields = ("project__code", "project__title", "allocation__reference", "asked_by__email", "asked_by__name")
    search_help_text = _("By project, allocation, or the person who asked.")
    ordering = ("-asked_at",)
    fields = (
        "project",
        "allocation",
        "kind",
        "state",
        "hours",
        "given",
        "reason",
        "asked_by",
        "asked_at",
        "answer",
        "answered_by",
        "answered_at",
    )
    readonly_fields = ("hours", "given")

    def heading(self, obj: ChangeRequest) -> str:
        return f"{obj.project.code}: {obj.get_kind_display()}"

    @admin.display(description=_("project"), ordering="project__code")
    def project_code(self, obj: ChangeRequest) -> str:
        return obj.project.code

    @admin.display(description=_("allocation"), ordering="allocation__reference")
    def reference(self, obj: ChangeRequest) -> str:
        return obj.allocation.reference if obj.allocation else "–"

    @admin.display(description=_("asked for (GPU-hours)"), ordering="asked_seconds")
    def hours(self, obj: ChangeRequest) -> str:
        return gpu_hours(obj.asked_seconds)

    @admin.display(description=_("approved (GPU-hours)"))
    def given(self, obj: ChangeRequest) -> str:
        return gpu_hours(obj.approved_seconds)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChangeRequest]:
        return (
            super()
            .get_queryset(request)
            .select_related("project", "allocation__project", "allocation__pool", "asked_by")
        )

    def acts(self, request: HttpRequest, obj: ChangeRequest) -> list[ActLink]:
        if not requests.waits(obj) or not request.user.has_perm(MAY_ANSWER):
            return []
        if obj.asked_by_id == request.user.pk:
            return [ActLink(_("Withdraw"), "../withdraw/")]
        links = [ActLink(_("Decline"), "../decline/")]
        if obj.kind == ChangeRequest.Kind.TOP_UP and obj.allocation_id:
            links.insert(0, ActLink(_("Approve"), "../approve/"))
        return links

    def get_urls(self) -> list[URLPattern]:
        acts = [("approve", self.approve), ("decline", self.decline), ("withdraw", self.withdraw)]
        return [*act_urls(self, acts), *super().get_urls()]

    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Before and after, then the hours are given; the officer who asked is told that somebody else has to."""
        row: ChangeRequest = row_of_act(self, request, object_id, MAY_ANSWER)
        asked = row.asked_seconds or 0

        def run(given: dict[str, Any]) -> tuple[str, ChangeRequest]:
            requests.approve(request=row, by=signed_in(request), at=timezone.now(), **given)
            return gettext("%(hours)s GPU-hours were given to %(reference)s.") % {
                "hours": gpu_hours(row.approved_seconds),
                "reference": row.allocation,
            }, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Approve the request"),
            facts=self.facts(row),
            effects=self.effects(row),
            form=ApprovalForm(request.POST or None, initial={"seconds": asked}),
            button=_("Give the GPU-hours"),
            run=run,
            refusals=REFUSALS,
        )

    def decline(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: ChangeRequest = row_of_act(self, request, object_id, MAY_ANSWER)

        def run(given: dict[str, Any]) -> tuple[str, ChangeRequest]:
            requests.decline(request=row, by=signed_in(request), at=timezone.now(), **given)
            return gettext("The request was declined."), row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Decline the request"),
            facts=self.facts(row),
            form=RefusalForm(request.POST or None),
            button=_("Decline"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )

    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: ChangeRequest = row_of_act(self, request, object_id, MAY_ANSWER)

        def run(given: dict[str, Any]) -> tuple[str, ChangeRequest]:
            requests.withdraw(request=row, by=signed_in(request), at=timezone.now())
            return gettext("The request was withdrawn."), row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Withdraw the request"),
            facts=self.facts(row),
            button=_("Withdraw"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )

    def facts(self, row: ChangeRequest) -> list[tuple[Any, str]]:
        """Who asked for what, why, and for which allocation."""
        asked_by: User = row.asked_by
        return [
            *(facts_of(row.allocation) if row.allocation else [(_("Project"), str(row.project))]),
            (_("Asked for by"), f"{asked_by}, {written_instant(row.asked_at)}"),
            (_("Reason"), row.reason),
        ]

    def effects(self, row: ChangeRequest) -> list[Effect]:
        """What the allocation has now, and would have if all that was asked for were given."""
        allocation, asked = row.allocation, row.asked_seconds or 0
        if allocation is None:
            return []
        return [
            Effect(
                _("Granted (GPU-hours)"),
                gpu_hours(allocation.granted_seconds),
                gpu_hours(allocation.granted_seconds + asked),
            ),
            Effect(
                _("Left (GPU-hours)"),
                gpu_hours(allocation.available_seconds),
                gpu_hours(allocation.available_seconds + asked),
            ),
        ]
