"""Warnings of unused GPU time and what came of them, and the allocations that are exempted."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import exemptions, ledger, requests
from allocations.models import Allocation, TakeBackExemption, TakeBackWarning
from allocations.planned_use import Period, beyond_need, planned_from
from centre.admin.acts import Text, act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm, chosen
from centre.admin.kept import ActLink, HistoryAdmin
from centre.http import signed_in
from centre.templatetags.portal import gpu_hours, written_instant

MAY_EXEMPT = "allocations.change_allocation"
REFUSALS = (ledger.LedgerError, requests.RequestError)


class ExemptionForm(ReasonForm):
    allocation = chosen(TakeBackExemption, "allocation")
    field_order = ("allocation", "reason")


@admin.register(TakeBackWarning)
class TakeBackWarningAdmin(HistoryAdmin[TakeBackWarning]):
    list_display = ("reference", "project", "warned_at", "used", "planned", "due_on", "outcome", "taken")
    list_select_related = ("allocation__project", "entry")
    list_filter = ("outcome", "due_on", "rule__pool", "rule__funding")
    search_fields = ("allocation__reference", "allocation__project__code", "allocation__project__title")
    search_help_text = _("By allocation or project.")
    ordering = ("-warned_at", "-id")
    fields = (
        *("allocation", "rule", "checked_on", "used", "planned", "warned_at", "due_on", "outcome", "settled_at"),
        *("taken", "entry"),
    )
    readonly_fields = ("used", "planned", "taken")

    def heading(self, obj: TakeBackWarning) -> str:
        return f"{obj.allocation.reference}: {obj}"

    def get_queryset(self, request: HttpRequest) -> QuerySet[TakeBackWarning]:
        return super().get_queryset(request).select_related("allocation__project", "allocation__pool", "rule", "entry")

    @admin.display(description=_("allocation"), ordering="allocation__reference")
    def reference(self, obj: TakeBackWarning) -> str:
        return obj.allocation.reference

    @admin.display(description=_("project"), ordering="allocation__project__code")
    def project(self, obj: TakeBackWarning) -> str:
        return obj.allocation.project.code

    @admin.display(description=_("used by then (GPU-hours)"), ordering="used_seconds")
    def used(self, obj: TakeBackWarning) -> str:
        return gpu_hours(obj.used_seconds)

    @admin.display(description=_("planned by then (GPU-hours)"), ordering="planned_seconds")
    def planned(self, obj: TakeBackWarning) -> str:
        return gpu_hours(obj.planned_seconds)

    @admin.display(description=_("taken back (GPU-hours)"))
    def taken(self, obj: TakeBackWarning) -> str:
        return gpu_hours(-obj.entry.seconds if obj.entry is not None else None)

    def acts(self, request: HttpRequest, obj: TakeBackWarning) -> list[ActLink]:
        if obj.outcome != TakeBackWarning.Outcome.WARNED or not request.user.has_perm(MAY_EXEMPT):
            return []
        if TakeBackExemption.objects.filter(allocation=obj.allocation, ended_at__isnull=True).exists():
            return []
        return [ActLink(_("Exempt this allocation"), "../exempt/")]

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("exempt", self.exempt)]), *super().get_urls()]

    def exempt(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Spare the allocation, with the reason; the warning ends as exempted on its day."""
        row: TakeBackWarning = row_of_act(self, request, object_id, MAY_EXEMPT)

        def run(given: dict[str, Any]) -> tuple[str, TakeBackWarning]:
            exemptions.exempt(allocation=row.allocation, by=signed_in(request), at=timezone.now(), **given)
            return gettext("Nothing is taken back from %(reference)s until the exemption is ended.") % {
                "reference": row.allocation.reference
            }, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("Exempt this allocation"),
            explanation=_("Rules take nothing back from the allocation while it is exempted."),
            facts=[
                *facts_of(row.allocation),
                (_("Used by the check (GPU-hours)"), gpu_hours(row.used_seconds)),
                (_("Planned by the check (GPU-hours)"), gpu_hours(row.planned_seconds)),
                (_("Taken back on"), date_format(row.due_on)),
                (_("Would be taken then (GPU-hours)"), gpu_hours(would_lose(row))),
            ],
            form=ReasonForm(request.POST or None),
            button=_("Exempt"),
            run=run,
            refusals=REFUSALS,
        )


@admin.register(TakeBackExemption)
class TakeBackExemptionAdmin(HistoryAdmin[TakeBackExemption]):
    list_display = ("reference", "project", "reason", "by", "from_at", "ended_at", "ended_by")
    list_select_related = ("allocation__project", "by", "ended_by")
    list_filter = (("ended_at", admin.EmptyFieldListFilter),)
    search_fields = ("allocation__reference", "allocation__project__code", "allocation__project__title", "reason")
    search_help_text = _("By allocation, project or reason.")
    ordering = ("-from_at", "-id")
    fields = ("allocation", "reason", "by", "from_at", "ended_at", "ended_by")

    def heading(self, obj: TakeBackExemption) -> str:
        return gettext("Exemption of %(reference)s") % {"reference": obj.allocation.reference}

    def get_queryset(self, request: HttpRequest) -> QuerySet[TakeBackExemption]:
        return super().get_queryset(request).select_related("allocation__project", "allocation__pool", "by")

    @admin.display(description=_("allocation"), ordering="allocation__reference")
    def reference(self, obj: TakeBackExemption) -> str:
        return obj.allocation.reference

    @admin.display(description=_("project"), ordering="allocation__project__code")
    def project(self, obj: TakeBackExemption) -> str:
        return obj.allocation.project.code

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_EXEMPT)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Spare an allocation before a rule warns of it."""
        if not self.has_add_permission(request):
            raise PermissionDenied

        def run(given: dict[str, Any]) -> tuple[str, TakeBackExemption]:
            exemption = exemptions.exempt(by=signed_in(request), at=timezone.now(), **given)
            return gettext("Nothing is taken back from %(reference)s until the exemption is ended.") % {
                "reference": exemption.allocation.reference
            }, exemption

        return act_page(
            request,
            admin=self,
            row=None,
            title=_("Exempt an allocation"),
            explanation=_("Rules take nothing back from the allocation while it is exempted."),
            form=ExemptionForm(request.POST or None),
            button=_("Exempt"),
            run=run,
            refusals=REFUSALS,
        )

    def acts(self, request: HttpRequest, obj: TakeBackExemption) -> list[ActLink]:
        if obj.ended_at is not None or not request.user.has_perm(MAY_EXEMPT):
            return []
        return [ActLink(_("End the exemption"), "../end/")]

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("end", self.end)]), *super().get_urls()]

    def end(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """From now on the rules count for the allocation again."""
        row: TakeBackExemption = row_of_act(self, request, object_id, MAY_EXEMPT)

        def run(given: dict[str, Any]) -> tuple[str, TakeBackExemption]:
            exemptions.end_exemption(exemption=row, by=signed_in(request), at=timezone.now())
            return gettext("The rules count for %(reference)s again.") % {"reference": row.allocation.reference}, row

        return act_page(
            request,
            admin=self,
            row=row,
            title=_("End the exemption"),
            explanation=_("The rules count for the allocation again; a warning that is due is carried out tonight."),
            facts=[
                *facts_of(row.allocation),
                (_("Exempted by"), f"{row.by}, {written_instant(row.from_at)}"),
                (_("Reason"), row.reason),
            ],
            button=_("End the exemption"),
            danger=True,
            run=run,
            refusals=REFUSALS,
        )


def facts_of(allocation: Allocation) -> list[tuple[Text, Text]]:
    """Whose hours these are, and how many are left."""
    return [
        (_("Project"), str(allocation.project)),
        (_("Allocation"), f"{allocation.reference}, {allocation.get_funding_display()}"),
        (_("Period"), f"{date_format(allocation.start_on)} – {date_format(allocation.end_on)}"),
        (_("Granted (GPU-hours)"), gpu_hours(allocation.granted_seconds)),
        (_("Left (GPU-hours)"), gpu_hours(allocation.available_seconds)),
    ]


def would_lose(warning: TakeBackWarning) -> int:
    """GPU-seconds beyond the planned remainder on the day of the act, if nothing more were used until then."""
    allocation = warning.allocation
    period = Period(allocation.start_on, allocation.end_on)
    remainder = planned_from(warning.due_on, granted=allocation.granted_seconds, period=period)
    return beyond_need(available=allocation.available_seconds, remainder=remainder)
