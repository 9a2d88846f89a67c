"""Allocations and their ledger: what was granted, what is left, and every entry that moved it."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import ledger, requests
from allocations.admin.asking import ask_page
from allocations.models import Allocation, ChangeRequest, LedgerEntry, RunCharge
from centre.admin.acts import act_page, act_urls, row_of_act
from centre.admin.choosing import chosen, day
from centre.admin.kept import ActLink, CappedPaginator, HistoryAdmin, HistoryInline
from centre.forms import GpuHoursField
from centre.http import signed_in
from centre.templatetags.portal import gpu_hours

LEFT = F("granted_seconds") - F("used_seconds") - F("held_seconds")
REFUSALS = (ledger.LedgerError, requests.RequestError)


class OverdrawnFilter(admin.SimpleListFilter):
    title = _("balance")
    parameter_name = "balance"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("overdrawn", _("Overdrawn")), ("within", _("Within its grant"))]

    def queryset(self, request: Any, queryset: QuerySet[Allocation]) -> QuerySet[Allocation]:
        if self.value() == "overdrawn":
            return queryset.filter(granted_seconds__lt=F("used_seconds") + F("held_seconds"))
        if self.value() == "within":
            return queryset.filter(granted_seconds__gte=F("used_seconds") + F("held_seconds"))
        return queryset


class PeriodFilter(admin.SimpleListFilter):
    title = _("period")
    parameter_name = "period"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("now", _("Running today")),
            ("ending", _("Ends within 30 days")),
            ("ended", _("Ended")),
            ("to_come", _("Begins later")),
        ]

    def queryset(self, request: Any, queryset: QuerySet[Allocation]) -> QuerySet[Allocation]:
        today = timezone.localdate()
        wanted = {
            "now": Q(start_on__lte=today, end_on__gte=today),
            "ending": Q(start_on__lte=today, end_on__gte=today, end_on__lt=today + timedelta(days=30)),
            "ended": Q(end_on__lt=today),
            "to_come": Q(start_on__gt=today),
        }
        return queryset.filter(wanted.get(self.value() or "", Q()))


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
    funding = forms.ChoiceField(label=_("Funding"), choices=Allocation.Funding.choices)
    start_on = day(label=_("First day"))
    end_on = day(label=_("Last day"), help_text=_("Both days are included."))
    seconds = GpuHoursField(
        label=_("GPU-hours to ask for"),
        min_value=0,
        help_text=_("Another officer approves them before they can be used. 0: none yet."),
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "class": "vLargeTextField"}),
    )

    def clean_reference(self) -> str:
        reference: str = self.cleaned_data["reference"]
        if Allocation.objects.filter(reference=reference).exists():
            raise forms.ValidationError(_("Another allocation has this reference."))
        return reference

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        first, last = given.get("start_on"), given.get("end_on")
        if first and last and last < first:
            self.add_error("end_on", _("The last day is before the first."))
        return given


class EntriesOfAllocation(HistoryInline[LedgerEntry]):
    model = LedgerEntry
    fk_name = "allocation"
    fields = ("recorded_at", "kind", "hours", "effective_on", "asked_by", "approved_by", "reason")
    readonly_fields = ("hours",)
    related = ("asked_by", "approved_by")
    shown = 20
    verbose_name_plural = _("The latest ledger entries")

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: LedgerEntry) -> str:
        return gpu_hours(obj.seconds, 2)


class RequestsOfAllocation(HistoryInline[ChangeRequest]):
    model = ChangeRequest
    fk_name = "allocation"
    fields = ("asked_at", "kind", "hours", "state", "asked_by", "answered_by")
    readonly_fields = ("hours",)
    related = ("asked_by", "answered_by")
    verbose_name_plural = _("Requests")

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: ChangeRequest) -> str:
        return gpu_hours(obj.asked_seconds)


@admin.register(Allocation)
class AllocationAdmin(HistoryAdmin[Allocation]):
    """Opened and given hours by acts; nothing about an allocation is written by hand."""

    list_display = (
        "reference",
        "project_code",
        "pool_code",
        "granted",
        "used",
        "left",
        "standing",
        "start_on",
        "end_on",
        "funding",
        "other_account",
    )
    list_select_related = ("project", "pool")
    list_filter = ("state", OverdrawnFilter, PeriodFilter, "funding", "pool")
    search_fields = (
        "reference",
        "account",
        "project__code",
        "project__title",
        "project__tenant__code",
        "project__tenant__name_en",
    )
    search_help_text = _("By reference, Slurm account, project or tenant.")
    inlines = (RequestsOfAllocation, EntriesOfAllocation)
    fieldsets = (
        (None, {"fields": ("reference", "project", "pool", "account", "funding", "start_on", "end_on", "state")}),
        (_("GPU-hours"), {"fields": ("granted", "used", "held", "left")}),
    )
    readonly_fields = ("granted", "used", "held", "left")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Allocation]:
        return super().get_queryset(request).select_related("project", "pool")

    @admin.display(description=_("project"), ordering="project__code")
    def project_code(self, obj: Allocation) -> str:
        return obj.project.code

    @admin.display(description=_("other account"), ordering="account")
    def other_account(self, obj: Allocation) -> str:
        """The Slurm account, where it is not simply the project's code."""
        return obj.account if obj.account != obj.project.code else "–"

    @admin.display(description=_("GPU pool"), ordering="pool__code")
    def pool_code(self, obj: Allocation) -> str:
        return obj.pool.code

    @admin.display(description=_("granted (GPU-hours)"), ordering="granted_seconds")
    def granted(self, obj: Allocation) -> str:
        return gpu_hours(obj.granted_seconds)

    @admin.display(description=_("used (GPU-hours)"), ordering="used_seconds")
    def used(self, obj: Allocation) -> str:
        return gpu_hours(obj.used_seconds)

    @admin.display(description=_("held (GPU-hours)"))
    def held(self, obj: Allocation) -> str:
        return gpu_hours(obj.held_seconds)

    @admin.display(description=_("left (GPU-hours)"), ordering=LEFT)
    def left(self, obj: Allocation) -> str:
        return gpu_hours(obj.available_seconds)

    @admin.display(description=_("state"), ordering="state")
    def standing(self, obj: Allocation) -> str:
        state = str(obj.get_state_display())
        return gettext("%(state)s, overdrawn") % {"state": state} if obj.is_overdrawn else state

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("allocations.add_allocation")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Open an allocation without hours, and ask for its hours in the same breath."""
        if not self.has_add_permission(request):
            raise PermissionDenied

        @transaction.atomic
        def run(given: dict[str, Any]) -> tuple[str, Allocation]:
            by, at = signed_in(request), timezone.now()
            seconds = given.pop("seconds")
            opened = ledger.open_allocation(**given, seconds=0, by=by, approved_by=None, at=at, source_kind="request")
            if not seconds:
                return gettext("%(reference)s is open, without GPU-hours yet.") % {"reference": opened}, opened
            requests.ask(allocation=opened, seconds=seconds, reason=given["reason"], by=by, at=at)
            return gettext("%(reference)s is open. %(hours)s GPU-hours wait for another officer’s approval.") % {
                "reference": opened,
                "hours": gpu_hours(seconds),
            }, opened

        return act_page(
            request,
            admin=self,
            row=None,
            title=_("Open an allocation"),
            explanation=_(
                "The allocation is open at once and takes the job runs of its Slurm account. "
                "GPU-hours are given only when another officer approves them."
            ),
            form=OpeningForm(request.POST or None),
            button=_("Open the allocation"),
            run=run,
            refusals=REFUSALS,
        )

    def acts(self, request: HttpRequest, obj: Allocation) -> list[ActLink]:
        if obj.state in requests.TAKES_HOURS and request.user.has_perm("allocations.change_allocation"):
            return [ActLink(_("Ask for more GPU-hours"), "../ask/")]
        return []

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("ask", self.ask)]), *super().get_urls()]

    def ask(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return ask_page(request, self, row_of_act(self, request, object_id, "allocations.change_allocation"))


class RunsOfEntry(HistoryInline[RunCharge]):
    model = RunCharge
    fk_name = "entry"
    fields = ("run", "account", "user_name", "gpus", "day", "hours")
    readonly_fields = ("account", "user_name", "gpus", "hours")
    related = ("run",)
    verbose_name_plural = _("The job runs behind this entry (the first 50)")
    show_change_link = False

    @admin.display(description=_("Slurm account"))
    def account(self, obj: RunCharge) -> str:
        return obj.run.account

    @admin.display(description=_("user name on the cluster"))
    def user_name(self, obj: RunCharge) -> str:
        return obj.run.user_name

    @admin.display(description=_("GPUs"))
    def gpus(self, obj: RunCharge) -> int:
        return obj.run.gpus

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: RunCharge) -> str:
        return gpu_hours(obj.seconds, 2)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(HistoryAdmin[LedgerEntry]):
    list_display = (
        "id",
        "recorded_at",
        "reference",
        "kind",
        "hours",
        "effective_on",
        "asked_by",
        "approved_by",
        "reason",
    )
    list_select_related = ("allocation", "asked_by", "approved_by")
    list_filter = ("kind",)
    search_fields = ("key",)
    search_help_text = _("By the allocation’s reference, its Slurm account, or its project’s code.")
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator
    fields = (
        "allocation",
        "kind",
        "hours",
        "seconds",
        "effective_on",
        "recorded_at",
        "asked_by",
        "approved_by",
        "reason",
        "source_kind",
        "source_reference",
        "reverses",
        "key",
    )
    readonly_fields = ("hours",)
    inlines = (RunsOfEntry,)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        """Through the allocations, which are few; entries are found by their index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Allocation.objects.filter(
            Q(reference__icontains=term) | Q(account__iexact=term) | Q(project__code__iexact=term)
        )
        return queryset.filter(allocation__in=list(found.values_list("pk", flat=True)[:200])), False

    @admin.display(description=_("allocation"))
    def reference(self, obj: LedgerEntry) -> str:
        return obj.allocation.reference

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: LedgerEntry) -> str:
        return gpu_hours(obj.seconds, 2)
