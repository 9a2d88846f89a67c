"""Job runs and what they cost, and everything that exports said of them: evidence, to read."""

from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from allocations.admin.mending import instant_of
from allocations.importing import looking_up, quarantine
from allocations.ledger_pages import Turning
from allocations.models import JobRun, RunCharge, RunObservation, RunRefund, UsageImport
from allocations.models.usage import RunContent
from allocations.run_states import in_words
from centre.admin.acts import act_urls, page_of, row_of_act
from centre.admin.kept import HistoryAdmin, HistoryInline
from centre.models import Cluster
from centre.row_numbers import is_row_number
from centre.templatetags.portal import NOTHING, badge, gpu_hours

OBSERVATIONS_PER_PAGE: Final = 50
ALWAYS_SHOWN: Final = ("state", "start_at", "end_at", "gpus")
NOT_COMPARED: Final = {*ALWAYS_SHOWN, "as_of", "digest", "finished"}
ALSO_COMPARED: Final = tuple(field for field in RunContent._meta.get_fields() if field.name not in NOT_COMPARED)
"""What an export says of a run beside what the table always shows."""


@dataclass(frozen=True)
class Cell:
    """One value of an observation, and whether it differs from what counts."""

    shown: str
    differs: bool


@dataclass(frozen=True)
class Difference:
    """One further thing that an observation says otherwise."""

    label: str
    said: str
    counts: str


@dataclass(frozen=True)
class Observation:
    """What one import said of a run, beside what counts."""

    counts: bool
    row: JobRun | RunObservation
    cells: list[Cell]
    others: list[Difference]
    line_url: str


class OfRun(HistoryInline[Any]):
    """Rows of a run with their ledger entries."""

    fk_name = "run"
    fields = ("day", "allocation", "hours", "entry_number", "recorded_at")
    readonly_fields = ("hours", "entry_number")
    related = ("allocation",)
    show_change_link = False
    may_see_entries = False

    @admin.display(description=_("GPU-hours"))
    def hours(self, obj: RunCharge | RunRefund) -> str:
        return gpu_hours(obj.seconds, 2)

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        self.may_see_entries = request.user.has_perm("allocations.view_ledgerentry")  # made anew for each request
        return super().get_formset(request, obj, **options)

    @admin.display(description=_("ledger entry"))
    def entry_number(self, obj: RunCharge | RunRefund) -> str | SafeString:
        if not self.may_see_entries:
            return str(obj.entry_id)
        url = reverse("admin:allocations_ledgerentry_change", args=[obj.entry_id])
        return format_html('<a href="{}">{}</a>', url, obj.entry_id)


class ChargesOfRun(OfRun):
    model = RunCharge
    verbose_name_plural = _("What it was charged")


class RefundsOfRun(OfRun):
    model = RunRefund
    verbose_name_plural = _("What was refunded of it")


class FinishedFilter(admin.SimpleListFilter):
    title = _("progress")
    parameter_name = "progress"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("running", _("Not finished yet")), ("unmatched", _("Without an allocation"))]

    def queryset(self, request: Any, queryset: QuerySet[JobRun]) -> QuerySet[JobRun]:
        if self.value() == "running":
            return queryset.filter(finished=False)
        return queryset.filter(unmatched_seconds__gt=0) if self.value() == "unmatched" else queryset


class ClusterFilter(admin.SimpleListFilter):
    title = _("cluster")
    parameter_name = "cluster"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(cluster.pk), str(cluster)) for cluster in clusters_for(request)]

    def queryset(self, request: Any, queryset: QuerySet[JobRun]) -> QuerySet[JobRun]:
        value = self.value() or ""
        is_known = value in {choice for choice, _name in self.lookup_choices}
        return queryset.filter(cluster__pk=value) if is_known else queryset


def clusters_for(request: HttpRequest) -> list[Cluster]:
    """All clusters, which are few; read once for each request."""
    if not hasattr(request, "clusters"):
        request.clusters = list(Cluster.objects.order_by("code"))  # type: ignore[attr-defined]  # kept for the request
    return list(request.clusters)  # type: ignore[attr-defined]


def written(value: Any) -> str:
    """A value of a run as the page shows it."""
    if value is None or value == "":
        return NOTHING
    return date_format(localtime(value), "DATETIME_FORMAT") if hasattr(value, "tzinfo") else str(value)


def observation(row: JobRun | RunObservation, run: JobRun) -> Observation:
    """What one import said, compared with what counts."""
    cells = []
    for name in ALWAYS_SHOWN:
        said = getattr(row, name)
        shown = str(in_words(said)[0]) if name == "state" else written(said)
        cells.append(Cell(shown, differs=said != getattr(run, name)))
    others = [
        Difference(capfirst(str(field.verbose_name)), written(said), written(counts))  # type: ignore[union-attr]
        for field in ALSO_COMPARED
        if (said := getattr(row, field.name)) != (counts := getattr(run, field.name))
    ]
    return Observation(
        counts=row is run,
        row=row,
        cells=cells,
        others=others,
        line_url=f"../lines/?import={row.usage_import_id}",
    )


@admin.register(JobRun)
class JobRunAdmin(HistoryAdmin[JobRun]):
    """The tables are long: the list searches and counts by index."""

    list_display = (
        "job_id",
        "cluster",
        "account",
        "user_name",
        "partition",
        "gpus",
        "outcome",
        "start_at",
        "end_at",
        "unmatched",
    )
    list_select_related = ("cluster",)
    list_filter = (FinishedFilter, ClusterFilter)
    search_fields = ("job_id",)
    search_help_text = _("By the job’s number, the user name on the cluster, or the Slurm account, written in full.")
    ordering = ("-id",)
    sortable_by = ()
    inlines = (ChargesOfRun, RefundsOfRun)
    fieldsets = (
        (None, {"fields": ("job_id", "number", "cluster", "account", "user_name", "job_name")}),
        (
            _("What ran"),
            {"fields": ("slurm_state", "exit_code", "partition", "qos", "gpus", "alloc_tres", "node_list")},
        ),
        (
            _("When"),
            {"fields": ("submit_at", "eligible_at", "start_at", "end_at", "time_limit_minutes", "finished", "as_of")},
        ),
        (_("Charging"), {"fields": ("unmatched", "first_import", "usage_import")}),
    )
    readonly_fields = ("unmatched", "number", "slurm_state")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[JobRun], search_term: str
    ) -> tuple[QuerySet[JobRun], bool]:
        """Each kind of name by its index. That of accounts begins with the cluster: there are few, so all are named."""
        term = search_term.strip()
        if not term:
            return queryset, False
        clusters = clusters_for(request)
        wanted = Q(cluster__in=clusters, account=term) | Q(user_name=term) | Q(job_id=term)
        if is_row_number(term):
            wanted |= Q(cluster__in=clusters, job_id_raw=int(term))
        return queryset.filter(wanted), False

    @admin.display(description=_("without an allocation (GPU-hours)"))
    def unmatched(self, obj: JobRun) -> str:
        return gpu_hours(obj.unmatched_seconds, 2) if obj.unmatched_seconds else "–"

    @admin.display(description=_("state"))
    def outcome(self, obj: JobRun) -> SafeString:
        text, tone = in_words(obj.state)
        return badge(text, tone)

    @admin.display(description=_("state"))
    def slurm_state(self, obj: JobRun) -> SafeString:
        """In words, and as Slurm has it, which tells who cancelled it."""
        return format_html('{} <span class="mono">{}</span>', self.outcome(obj), obj.state)

    @admin.display(description=_("number in Slurm"))
    def number(self, obj: JobRun) -> str:
        """As Slurm writes it, not grouped like an amount."""
        return str(obj.job_id_raw)

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("lines", self.lines)]), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any) -> Any:
        run: JobRun = options["obj"]
        pages = Paginator(
            RunObservation.objects.filter(run=run).select_related("usage_import").order_by("as_of", "pk"),
            OBSERVATIONS_PER_PAGE,
        )
        page = pages.get_page(request.GET.get("observations"))
        told = [observation(row, run) for row in page.object_list]
        is_last = page.number == pages.num_pages
        told = sorted([*told, observation(run, run)], key=lambda each: each.row.as_of) if is_last else told
        title = _("What exports said of it")
        turning = Turning(page, pages, title=title, prefixed_page_field="observations")
        context |= {
            "run": run,
            "observations": told,
            "observations_title": title,
            "turning": turning if pages.num_pages > 1 else None,
            "may_see_imports": request.user.has_perm("allocations.view_usageimport"),
        }
        return super().render_change_form(request, context, *args, **options)

    def lines(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The lines about the run in the kept file of one import, read to a bound."""
        run: JobRun = row_of_act(self, request, object_id, "allocations.view_usageimport")
        number = request.GET.get("import", "")
        if not is_row_number(number):
            raise Http404
        usage_import = UsageImport.objects.filter(pk=number, cluster=run.cluster_id).select_related("cluster").first()
        if usage_import is None:
            raise Http404
        found = looking_up.lines_of_run(usage_import, run)
        header = quarantine.header_of(usage_import)
        context = {
            **self.admin_site.each_context(request),
            "title": _("What the file says of this run"),
            "opts": self.opts,
            "run": run,
            "run_url": page_of(run),
            "import": usage_import,
            "import_url": page_of(usage_import),
            "found": found,
            "lines": [
                (
                    line,
                    [(field, instant_of(field)) for field in quarantine.fields_of(header, line.text)[0]]
                    if header
                    else [],
                )
                for line in (found.lines if found else [])
            ],
            "bound": looking_up.MOST_READ // 1_000_000,
        }
        request.current_app = self.admin_site.name  # read by the {% url %} tag
        return TemplateResponse(request, "admin/allocations/jobrun/lines.html", context)
