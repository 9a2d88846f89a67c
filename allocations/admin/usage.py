"""Imports, job runs and what they cost: evidence, to read. The tables are long: lists search and count by index."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.models import JobRun, QuarantinedRecord, RunCharge, RunObservation, UsageImport
from centre.admin.kept import CappedPaginator, HistoryAdmin, HistoryInline
from centre.models import Cluster
from centre.templatetags.portal import gpu_hours


class QuarantineOfImport(HistoryInline[QuarantinedRecord]):
    model = QuarantinedRecord
    fk_name = "usage_import"
    fields = ("line", "text", "why", "state")
    readonly_fields = ("why",)
    verbose_name_plural = _("Records that could not be read (the first 50)")

    @admin.display(description=_("reason"))
    def why(self, obj: QuarantinedRecord) -> str:
        return gettext(obj.reason)


@admin.register(UsageImport)
class UsageImportAdmin(HistoryAdmin[UsageImport]):
    list_display = (
        "file_name",
        "cluster",
        "as_of",
        "state",
        "read",
        "accepted",
        "unchanged",
        "ignored",
        "quarantined",
        "unmatched",
        "charged",
    )
    list_select_related = ("cluster",)
    list_filter = ("state", "cluster")
    search_fields = ("file_name", "sha256")
    search_help_text = _("By the name of the file, or its SHA-256 sum.")
    ordering = ("-id",)
    inlines = (QuarantineOfImport,)
    fieldsets = (
        (None, {"fields": ("file_name", "cluster", "state", "warning", "error", "by", "received_at", "finished_at")}),
        (
            _("Records"),
            {"fields": ("read", "accepted", "unchanged", "ignored", "quarantined", "unmatched", "charged")},
        ),
        (
            _("The file"),
            {
                "fields": (
                    "as_of",
                    "as_of_was_given",
                    "time_zone",
                    "first_submit_at",
                    "last_instant_at",
                    "size_bytes",
                    "sha256",
                )
            },
        ),
    )
    readonly_fields = ("charged",)

    @admin.display(description=_("charged (GPU-hours)"), ordering="charged_gpu_seconds")
    def charged(self, obj: UsageImport) -> str:
        return gpu_hours(obj.charged_gpu_seconds, 2)


class ChargesOfRun(HistoryInline[RunCharge]):
    model = RunCharge
    fk_name = "run"
    fields = ("day", "allocation", "hours", "entry_number", "recorded_at")
    readonly_fields = ("hours", "entry_number")
    related = ("allocation",)
    verbose_name_plural = _("What it was charged")
    show_change_link = False

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: RunCharge) -> str:
        return gpu_hours(obj.seconds, 2)

    @admin.display(description=_("ledger entry"))
    def entry_number(self, obj: RunCharge) -> int:
        return obj.entry_id


class ObservationsOfRun(HistoryInline[RunObservation]):
    model = RunObservation
    fk_name = "run"
    fields = ("as_of", "state", "start_at", "end_at", "gpus", "finished", "usage_import")
    related = ("usage_import",)
    verbose_name_plural = _("What other exports said of it")
    show_change_link = False


class FinishedFilter(admin.SimpleListFilter):
    title = _("progress")
    parameter_name = "progress"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("running", _("Not finished yet")), ("unmatched", _("Without an allocation"))]

    def queryset(self, request: Any, queryset: QuerySet[JobRun]) -> QuerySet[JobRun]:
        if self.value() == "running":
            return queryset.filter(finished=False)
        return queryset.filter(unmatched_seconds__gt=0) if self.value() == "unmatched" else queryset


@admin.register(JobRun)
class JobRunAdmin(HistoryAdmin[JobRun]):
    list_display = (
        "job_id",
        "cluster",
        "account",
        "user_name",
        "partition",
        "gpus",
        "state",
        "start_at",
        "end_at",
        "unmatched",
    )
    list_select_related = ("cluster",)
    list_filter = (FinishedFilter, "cluster")
    search_fields = ("job_id",)
    search_help_text = _("By the job’s number or the Slurm account, written in full.")
    ordering = ("-id",)
    sortable_by = ()
    paginator = CappedPaginator
    inlines = (ChargesOfRun, ObservationsOfRun)
    fieldsets = (
        (None, {"fields": ("job_id", "number", "cluster", "account", "user_name", "job_name")}),
        (_("What ran"), {"fields": ("state", "exit_code", "partition", "qos", "gpus", "alloc_tres", "node_list")}),
        (
            _("When"),
            {"fields": ("submit_at", "eligible_at", "start_at", "end_at", "time_limit_minutes", "finished", "as_of")},
        ),
        (_("Charging"), {"fields": ("unmatched", "first_import", "usage_import")}),
    )
    readonly_fields = ("unmatched", "number")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[JobRun], search_term: str
    ) -> tuple[QuerySet[JobRun], bool]:
        """Both indexes begin with the cluster; there are few, and naming them all lets the indexes answer."""
        term = search_term.strip()
        if not term:
            return queryset, False
        clusters = list(Cluster.objects.values_list("pk", flat=True))
        wanted = Q(cluster__in=clusters, account=term)
        if term.isascii() and term.isdigit() and len(term) < 19:
            wanted |= Q(cluster__in=clusters, job_id_raw=int(term))
        elif "_" in term or "+" in term:
            wanted |= Q(job_id=term)
        return queryset.filter(wanted), False

    @admin.display(description=_("without an allocation (GPU-hours)"))
    def unmatched(self, obj: JobRun) -> str:
        return gpu_hours(obj.unmatched_seconds, 2) if obj.unmatched_seconds else "–"

    @admin.display(description=_("number in Slurm"))
    def number(self, obj: JobRun) -> str:
        """As Slurm writes it, not grouped like an amount."""
        return str(obj.job_id_raw)


@admin.register(QuarantinedRecord)
class QuarantinedRecordAdmin(HistoryAdmin[QuarantinedRecord]):
    list_display = ("line", "file", "why", "state")
    list_select_related = ("usage_import",)
    list_filter = ("state",)
    search_fields = ("usage_import__file_name",)
    search_help_text = _("By the name of the imported file.")
    ordering = ("-id",)
    paginator = CappedPaginator
    fields = ("usage_import", "line", "text", "why", "state", "resolution", "resolved_by", "resolved_at")
    readonly_fields = ("why",)

    @admin.display(description=_("reason"))
    def why(self, obj: QuarantinedRecord) -> str:
        """Reasons are kept in English and told in the reader's language."""
        return gettext(obj.reason)

    @admin.display(description=_("file"))
    def file(self, obj: QuarantinedRecord) -> str:
        return obj.usage_import.file_name
