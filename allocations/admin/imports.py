"""Usage imports: hand an export over, watch it being imported, read what it did, try again what failed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.admin.import_health import health_page
from allocations.admin.setting_aside import groups_of, set_aside_page
from allocations.admin.uploading import upload_page
from allocations.import_effects import effects_of, entries_of
from allocations.importing import stored_files, working
from allocations.ledger_pages import Turning
from allocations.ledger_words import KINDS
from allocations.models import LedgerEntry, QuarantinedRecord, UsageImport
from allocations.models.imports import MOST_CLAIMS
from centre import audit
from centre.admin.acts import act_page, act_urls, page_of, row_of_act
from centre.admin.kept import ActLink, HistoryAdmin
from centre.admin.paging import CappedPaginator
from centre.http import signed_in
from centre.templatetags.portal import gpu_hours

MAY_IMPORT: Final = "allocations.import_usage"
REFRESH_SECONDS: Final = 3
NO_WORKER_AFTER: Final = timedelta(minutes=1)
SHOWN_EFFECTS: Final = 20
ENTRIES_PER_PAGE: Final = 50

State = UsageImport.State


@dataclass(frozen=True)
class Watch:
    """How far an unfinished import is."""

    before: int
    """Imports that come first."""
    percent: int
    no_worker: bool
    """It waits, and nobody seems to be at work."""
    worker_is_gone: bool
    """Who took it up has not been heard of for longer than a lease."""
    tries_left: int


def watch(usage_import: UsageImport, *, at: datetime) -> Watch:
    """Where an unfinished import stands in the queue, and whether anybody works. At most two queries."""
    if usage_import.state == State.RUNNING:
        lost = usage_import.lease_until is not None and usage_import.lease_until < at
        is_reading = usage_import.phase != UsageImport.Phase.MERGING  # while it merges its row cannot be written
        return Watch(0, usage_import.read_percent, no_worker=False, worker_is_gone=lost and is_reading, tries_left=0)
    unfinished = UsageImport.objects.unfinished()
    first = Q(received_at__lt=usage_import.received_at) | Q(
        received_at=usage_import.received_at, pk__lt=usage_import.pk
    )
    counted = unfinished.aggregate(
        before=Count("pk", filter=first | Q(state=State.RUNNING)),
        at_work=Count("pk", filter=Q(state=State.RUNNING, lease_until__gt=at) | Q(phase=UsageImport.Phase.MERGING)),
    )
    due_at = usage_import.try_again_at or usage_import.received_at
    return Watch(
        before=counted["before"],
        percent=0,
        no_worker=not counted["at_work"] and due_at + NO_WORKER_AFTER < at,
        worker_is_gone=False,
        tries_left=MOST_CLAIMS - usage_import.claims,
    )


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
    list_filter = ("state", "source", "cluster")
    search_fields = ("file_name", "sha256")
    search_help_text = _("By the name of the file, or its SHA-256 sum.")
    ordering = ("-id",)
    fields = ("state",)

    @admin.display(description=_("charged (GPU-hours)"), ordering="charged_gpu_seconds")
    def charged(self, obj: UsageImport) -> str:
        return gpu_hours(obj.charged_gpu_seconds, 2)

    def get_queryset(self, request: HttpRequest) -> QuerySet[UsageImport]:
        return super().get_queryset(request).select_related("cluster", "by", "token")

    def heading(self, obj: UsageImport) -> str:
        return gettext("Import %(number)s: %(file)s") % {"number": obj.pk, "file": obj.file_name}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_IMPORT)

    def get_urls(self) -> list[URLPattern]:
        acts: list[Any] = [
            ("try-again", self.try_again),
            ("set-aside", self.set_aside),
            ("entries", self.entries),
            ("file", self.file),
        ]
        health = path(
            "health/",
            self.admin_site.admin_view(lambda request: health_page(request, self)),
            name="allocations_import_health",
        )
        return [health, *act_urls(self, acts), *super().get_urls()]

    def acts(self, request: HttpRequest, obj: UsageImport) -> list[ActLink]:
        if obj.state == State.FAILED and request.user.has_perm(MAY_IMPORT):
            return [ActLink(_("Try again"), "../try-again/")]
        return []

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any) -> Any:
        usage_import: UsageImport = options["obj"]
        now = timezone.now()
        is_watched = usage_import.is_unfinished and request.GET.get("refresh") != "off"
        context |= {
            "import": usage_import,
            "now": now,
            "is_new": now - usage_import.received_at < timedelta(minutes=1),
            "is_watched": is_watched,
            "refresh_seconds": REFRESH_SECONDS,
            "may_import": request.user.has_perm(MAY_IMPORT),
            "may_see_allocations": request.user.has_perm("allocations.view_allocation"),
            **(self.shown_while_unfinished(usage_import, now) if usage_import.is_unfinished else {}),
            **(self.shown_when_done(usage_import) if usage_import.state == State.DONE else {}),
        }
        response = super().render_change_form(request, context, *args, **options)
        if is_watched:
            response["Refresh"] = str(REFRESH_SECONDS)
        return response

    def shown_while_unfinished(self, usage_import: UsageImport, now: datetime) -> dict[str, Any]:
        return {"watch": watch(usage_import, at=now)}

    def shown_when_done(self, usage_import: UsageImport) -> dict[str, Any]:
        groups = groups_of(usage_import)
        of_mended = usage_import.source == UsageImport.Source.MENDED
        return {
            "warnings": [gettext(line) for line in usage_import.warning.splitlines()],
            "effects": effects_of(usage_import, most=SHOWN_EFFECTS),
            "groups": groups,
            "waiting": sum(group.waiting for group in groups),
            "mended": sum(group.mended for group in groups),
            "set_aside": sum(group.set_aside for group in groups),
            "mended_from": QuarantinedRecord.objects.filter(mended_in=usage_import).first() if of_mended else None,
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return upload_page(request, self)

    def try_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Put a failed import into the queue again, with the file that was kept."""
        usage_import: UsageImport = row_of_act(self, request, object_id, MAY_IMPORT)

        def run(given: dict[str, Any]) -> tuple[str, UsageImport]:
            if not working.try_again(usage_import=usage_import, by=signed_in(request), at=timezone.now()):
                raise working.ClaimLost(
                    gettext("It does not stand as failed any more: somebody has begun it again by now.")
                )
            return gettext("It is imported again now; this page shows how far it is."), usage_import

        return act_page(
            request,
            admin=self,
            row=usage_import,
            title=_("Try again"),
            explanation=_(
                "The file is kept and is imported once more, as it is. This helps where the cause lay outside the "
                "file: a full disk, a database that was away, a cluster that was not set up yet. A file that is "
                "itself at fault fails again; export it anew and import that."
            ),
            facts=[(_("It failed because"), usage_import.error)] if usage_import.error else [],
            button=_("Try again"),
            run=run,
            refusals=(working.ClaimLost,),
        )

    def set_aside(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return set_aside_page(request, self, row_of_act(self, request, object_id, MAY_IMPORT))

    def entries(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The ledger entries that the import posted, a page at a time."""
        usage_import: UsageImport = row_of_act(self, request, object_id, "allocations.view_usageimport")
        entries = entries_of(usage_import).select_related("allocation__project").order_by("pk")
        paginator = CappedPaginator(entries, ENTRIES_PER_PAGE)
        page = paginator.get_page(request.GET.get("page"))
        rows: list[LedgerEntry] = list(page.object_list)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Ledger entries of this import"),
            "opts": self.opts,
            "import": usage_import,
            "import_url": page_of(usage_import),
            "heading": self.heading(usage_import),
            "rows": [(entry, KINDS[entry.kind]) for entry in rows],
            "turning": Turning(page, paginator, title=_("Ledger entries of this import")),
            "may_see_entries": request.user.has_perm("allocations.view_ledgerentry"),
        }
        request.current_app = self.admin_site.name  # read by the {% url %} tag
        return TemplateResponse(request, "admin/allocations/usageimport/entries.html", context)

    def file(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The file as it is kept, compressed; that it was taken is written down."""
        usage_import: UsageImport = row_of_act(self, request, object_id, "allocations.view_usageimport")
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        try:
            if not usage_import.stored_as:
                raise FileNotFoundError
            kept = stored_files.path_of(usage_import.stored_as).open("rb")
        except OSError:
            self.message_user(request, gettext("The file of this import is not kept here (any more)."), messages.ERROR)
            return HttpResponseRedirect(page_of(usage_import))
        if request.method == "GET":
            audit.record(act="take_usage_file", on=usage_import, by=signed_in(request), at=timezone.now())
        name = f"usage-import-{usage_import.pk}-{usage_import.cluster.code}.txt.gz"
        return FileResponse(kept, as_attachment=True, filename=name, content_type="application/gzip")
