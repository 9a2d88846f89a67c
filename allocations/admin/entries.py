"""The ledger's entries: found by allocation, read one by one, and reversed once."""

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import movements, requests
from allocations.admin.movements import reverse_page
from allocations.admin.proposing import MAY_ACT
from allocations.models import Allocation, LedgerEntry, RunCharge
from centre.admin.acts import act_urls, row_of_act
from centre.admin.kept import ActLink, HistoryAdmin, HistoryInline
from centre.models import Project
from centre.templatetags.portal import gpu_hours


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
        "explained",
    )
    readonly_fields = ("hours", "explained")
    inlines = (RunsOfEntry,)

    def heading(self, obj: LedgerEntry) -> str:
        return gettext("Entry %(number)s: %(kind)s") % {"number": obj.pk, "kind": obj.get_kind_display()}

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerEntry]:
        """With all that its page shows of an entry; the list reads less (`list_select_related`)."""
        rows = super().get_queryset(request)
        if request.resolver_match is None or "object_id" not in request.resolver_match.kwargs:
            return rows
        return rows.select_related("allocation__project", "allocation__pool", "asked_by", "approved_by", "reverses")

    def acts(self, request: HttpRequest, obj: LedgerEntry) -> list[ActLink]:
        """An entry can be reversed once, by the rules of the ledger, while its allocation takes decisions."""
        if obj.allocation.state not in requests.TAKES_HOURS or not request.user.has_perm(MAY_ACT):
            return []
        try:
            movements.refuse_irreversible(obj)
            movements.refuse_reversed(obj)
        except (movements.NotReversible, movements.AlreadyReversed):
            return []
        return [ActLink(_("Reverse this entry"), "../reverse/")]

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("reverse", self.reverse)]), *super().get_urls()]

    def reverse(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return reverse_page(request, self, row_of_act(self, request, object_id, MAY_ACT))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LedgerEntry], search_term: str
    ) -> tuple[QuerySet[LedgerEntry], bool]:
        """Through the allocations, which are few; entries are found by their index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        code = term.lower()  # accounts and codes have no other letters
        of_project = Q(project__in=Project.objects.filter(code=code))
        found = Allocation.objects.filter(Q(reference__icontains=term) | Q(account=code) | of_project)
        return queryset.filter(allocation__in=list(found.order_by().values_list("pk", flat=True)[:200])), False

    @admin.display(description=_("explained"))
    def explained(self, obj: LedgerEntry) -> SafeString:
        url = reverse("ledger_entry", args=[obj.allocation.project.code, obj.pk])
        return format_html('<a href="{}">{}</a>', url, gettext("How this entry comes about, adding up"))

    @admin.display(description=_("allocation"))
    def reference(self, obj: LedgerEntry) -> str:
        return obj.allocation.reference

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: LedgerEntry) -> str:
        return gpu_hours(obj.seconds, 2)
