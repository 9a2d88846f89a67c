"""Allocations: what was granted, what is left, how fast it goes, and the acts that move it."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import requests
from allocations.admin.allocation_file import as_file
from allocations.admin.allocation_list import (
    OverdrawnFilter,
    PeriodFilter,
    UsageFilter,
    days_away,
    share,
    with_below,
)
from allocations.admin.drawing import AccountsOfAllocation, DrawForm, let_draw_page
from allocations.admin.movements import (
    end_early_page,
    extend_page,
    take_back_page,
    top_up_page,
    transfer_page,
)
from allocations.admin.onboarding import as_download
from allocations.admin.opening import open_page
from allocations.admin.proposing import MAY_ACT
from allocations.admin.refunding import refund_page
from allocations.admin.suspending import moves_of, resume_page, suspend_page
from allocations.admin.together import ACTS, go_to, together_page
from allocations.cards import cards_in_list, ready
from allocations.forecast_words import CardWords
from allocations.models import Allocation, ChangeRequest, LedgerEntry
from allocations.posting import TAKES_DECISIONS
from centre.admin.acts import act_urls, row_of_act
from centre.admin.confirming import exact_hours
from centre.admin.kept import ActLink, HistoryAdmin, HistoryInline
from centre.http import centre_of
from centre.row_numbers import is_row_number
from centre.templatetags.portal import badge, gpu_hours

LEFT = F("granted_seconds") - F("used_seconds") - F("held_seconds")


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
        return exact_hours(obj.asked_seconds)


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
        "pace",
        "outlook",
        "last_day",
        "standing",
    )
    list_filter = ("state", OverdrawnFilter, PeriodFilter, UsageFilter, "funding", "pool")
    search_fields = (
        "reference",
        "account",
        "project__code",
        "project__title",
        "project__tenant__code",
        "project__tenant__name_en",
        "project__tenant__name_zh_hant",
        "project__tenant__name_zh_hans",
    )
    search_help_text = _("By reference, Slurm account, project or tenant.")
    actions = ("extend_chosen", "write_to_chosen", "suspend_chosen", "resume_chosen")
    inlines = (AccountsOfAllocation, RequestsOfAllocation, EntriesOfAllocation)
    fieldsets = (
        (None, {"fields": ("reference", "project", "pool", "account", "funding", "start_on", "end_on", "state")}),
        (_("GPU-hours"), {"fields": ("granted", "used", "held", "left", "ledger")}),
    )
    readonly_fields = ("granted", "used", "held", "left", "ledger")

    def get_fieldsets(self, request: HttpRequest, obj: Allocation | None = None) -> Any:
        """Since when and why it is suspended stands there while it is."""
        usual = super().get_fieldsets(request, obj)
        if obj is None or obj.suspended_at is None:
            return usual
        return [*usual, (_("Suspended"), {"fields": ("suspended_at", "suspended_because")})]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Allocation]:
        rows: Any = super().get_queryset(request)
        known: QuerySet[Allocation] = ready(rows).select_related("project__tenant")
        return known

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With pace and outlook of what the page shows: one query more, however many rows."""
        page = super().get_changelist_instance(request)
        rows = list(page.result_list)
        cards = cards_in_list(rows, at=timezone.now(), centre=centre_of(request))
        for row in rows:
            row.card = cards[row.pk]
        page.result_list = rows
        return page

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Allocation], search_term: str
    ) -> tuple[QuerySet[Allocation], bool]:
        """The list's search, and the search box of a move: there only what can take GPU-hours of the same pool."""
        found, many = super().get_search_results(request, queryset, search_term)
        source = request.GET.get("takes_from", "")
        if is_row_number(source):
            pool = Allocation.objects.filter(pk=source).values("pool")
            found = found.filter(pool__in=pool, state__in=TAKES_DECISIONS).exclude(pk=source)
        return found, many

    @admin.display(description=_("project"), ordering="project__code")
    def project_code(self, obj: Allocation) -> SafeString:
        return with_below(obj.project.code, obj.project.tenant.name)

    @admin.display(description=_("GPU pool"), ordering="pool__code")
    def pool_code(self, obj: Allocation) -> str:
        return obj.pool.code

    @admin.display(description=_("granted (GPU-hours)"), ordering="granted_seconds")
    def granted(self, obj: Allocation) -> str:
        return gpu_hours(obj.granted_seconds)

    @admin.display(description=_("used (GPU-hours)"), ordering="used_seconds")
    def used(self, obj: Allocation) -> SafeString:
        return with_below(gpu_hours(obj.used_seconds), share(obj.used_seconds, obj.granted_seconds))

    @admin.display(description=_("held (GPU-hours)"))
    def held(self, obj: Allocation) -> str:
        return gpu_hours(obj.held_seconds)

    @admin.display(description=_("left (GPU-hours)"), ordering=LEFT)
    def left(self, obj: Allocation) -> SafeString:
        return with_below(gpu_hours(obj.available_seconds), share(obj.available_seconds, obj.granted_seconds))

    @admin.display(description=_("used a day (GPU-hours)"))
    def pace(self, obj: Any) -> str:
        """GPU-hours per day over the last 30 full days that the books know."""
        days = obj.card.forecast.long
        return gpu_hours(int(days.per_day)) if days.days else "–"

    @admin.display(description=_("outlook"))
    def outlook(self, obj: Any) -> str:
        """Why no job starts or how much is overdrawn; else when the GPU-hours run out at the pace of the last days."""
        words = CardWords(obj.card)
        return words.short if words.is_stopped or obj.is_overdrawn else words.answer

    @admin.display(description=_("ledger"))
    def ledger(self, obj: Allocation) -> SafeString:
        url = f"{reverse('ledger', args=[obj.project.code])}?{urlencode({'allocation': obj.reference})}"
        return format_html('<a href="{}">{}</a>', url, gettext("Read the ledger, also as of a past day"))

    @admin.display(description=_("last day"), ordering="end_on")
    def last_day(self, obj: Any) -> SafeString:
        return with_below(date_format(obj.end_on), days_away(obj.end_on, on=obj.card.on))

    @admin.display(description=_("state"), ordering="state")
    def standing(self, obj: Any) -> SafeString:
        """As the team reads it: state, period and hours in one word."""
        return badge(obj.card.phase.label, obj.card.tone)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("allocations.add_allocation")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return open_page(request, self)

    def acts(self, request: HttpRequest, obj: Allocation) -> list[ActLink]:
        if not request.user.has_perm(MAY_ACT) or obj.state == Allocation.State.VOID:
            return []
        links = [
            ActLink(_("Give more GPU-hours"), "../top-up/"),
            ActLink(_("Move GPU-hours"), "../transfer/"),
            ActLink(_("Take back GPU-hours"), "../take-back/"),
            ActLink(_("Refund job runs"), "../refund/"),
            ActLink(_("Let the period last longer"), "../extend/"),
            ActLink(_("End the period early"), "../end-early/"),
            *moves_of(obj),
        ]
        further = ActLink(_("Let a further account draw"), "../let-draw/")
        return [*links, further] if obj.state in requests.TAKES_HOURS else [further]

    def get_urls(self) -> list[URLPattern]:
        acts = [
            ("top-up", self.top_up),
            ("transfer", self.transfer),
            ("take-back", self.take_back),
            ("refund", self.refund),
            ("extend", self.extend),
            ("end-early", self.end_early),
            ("suspend", self.suspend),
            ("resume", self.resume),
            ("let-draw", self.let_draw),
        ]
        together = [
            path(
                f"together/{name}/",
                self.admin_site.admin_view(partial(self.together, name=name)),
                name=f"allocations_allocation_together_{name}",
            )
            for name in ACTS
        ]
        as_csv = path("csv/", self.admin_site.admin_view(self.as_csv), name="allocations_allocation_csv")
        return [as_csv, *together, *act_urls(self, acts), *super().get_urls()]

    def as_csv(self, request: HttpRequest) -> HttpResponseBase:
        """What the list shows for the same address, over all its pages, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        try:
            shown = super().get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:allocations_allocation_changelist") + "?e=1")  # as the list does
        now = timezone.now()
        name = f"allocations_{timezone.localdate(now).isoformat()}.csv"
        return as_download(as_file(shown, at=now, centre=centre_of(request)), name)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_ACT)

    def together(self, request: HttpRequest, name: str) -> HttpResponse:
        """An act on the allocations that were chosen in the list."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        return together_page(request, self, name)

    @admin.action(description=_("Let the chosen periods last longer"), permissions=["decide"])
    def extend_chosen(self, request: HttpRequest, queryset: QuerySet[Allocation]) -> HttpResponse | None:
        return go_to("extend", request, queryset, self)

    @admin.action(description=_("Write to the teams of the chosen"), permissions=["decide"])
    def write_to_chosen(self, request: HttpRequest, queryset: QuerySet[Allocation]) -> HttpResponse | None:
        return go_to("notify", request, queryset, self)

    @admin.action(description=_("Suspend the chosen"), permissions=["decide"])
    def suspend_chosen(self, request: HttpRequest, queryset: QuerySet[Allocation]) -> HttpResponse | None:
        return go_to("suspend", request, queryset, self)

    @admin.action(description=_("Resume the chosen"), permissions=["decide"])
    def resume_chosen(self, request: HttpRequest, queryset: QuerySet[Allocation]) -> HttpResponse | None:
        return go_to("resume", request, queryset, self)

    def top_up(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return top_up_page(request, self, row_of_act(self, request, object_id, MAY_ACT))

    def transfer(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return transfer_page(request, self, row_of_act(self, request, object_id, MAY_ACT))

    def take_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return take_back_page(request, self, row_of_act(self, request, object_id, MAY_ACT))

    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return refund_page(request, self, row_of_act(self, request, object_id, MAY_ACT))

    def extend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return extend_page(request, self, row_of_act(self, request, object_id, MAY_ACT))

    def end_early(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return end_early_page(request, self, row_of_act(self, request, object_id, MAY_ACT))

    def suspend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return suspend_page(request, self, row_of_act(self, request, object_id, MAY_ACT))

    def resume(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return resume_page(request, self, row_of_act(self, request, object_id, MAY_ACT))

    def let_draw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row: Allocation = row_of_act(self, request, object_id, MAY_ACT)
        return let_draw_page(request, self, allocation=row, form=DrawForm(request.POST or None))
