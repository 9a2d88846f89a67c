"""The page of import health: how fresh each cluster's usage is, which windows are missing, and runs without an end."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.importing.health import Gap
from allocations.importing.runaways import days_back, runaways, with_cost
from allocations.importing.standing import (
    LATE_AFTER,
    LOOKED_BACK,
    NO_WORKER_AFTER,
    ClusterStanding,
    standings,
    unmatched_usage,
)
from allocations.ledger_pages import Turning
from allocations.models import QuarantinedRecord
from allocations.run_states import in_words
from centre.admin.paging import CappedPaginator
from centre.exports import Text
from centre.models import Cluster

MAY_LOOK: Final = "allocations.view_usageimport"
MAY_SEE_RUNS: Final = "allocations.view_jobrun"
MAY_SEE_RECORDS: Final = "allocations.view_quarantinedrecord"
GAPS_PER_PAGE: Final = 10
RUNS_PER_PAGE: Final = 25
MOST_COUNTED: Final = 1_000
SOME_DAY: Final = datetime(2001, 1, 1, tzinfo=UTC)  # stretches of time are told from it
LONGEST: Final = 20 * 365 * 86_400  # seconds that are told in words


@dataclass(frozen=True)
class Card:
    """How the imports of one cluster stand, in words and with a tone."""

    standing: ClusterStanding
    tone: str
    badge: Text
    remark: str


@dataclass(frozen=True)
class GapLine:
    """A missing window as the page shows it."""

    cluster: Cluster
    gap: Gap
    lasts: str
    days: int
    """For how many days a new export has to reach back."""


@dataclass(frozen=True)
class RunLine:
    """A run without an end as the page shows it."""

    run: Any  # with what runaways() and with_cost() add
    state: Text
    tone: str
    limit: str
    """Its time limit, in words; empty where it has none."""
    beyond: str
    """How far beyond it was, in words; empty where it was not."""
    days: int


def health_page(request: HttpRequest, page: ModelAdmin[Any]) -> HttpResponse:
    """Everything that somebody has to know who looks after the imports; a constant number of queries."""
    if not request.user.has_perm(MAY_LOOK):
        raise PermissionDenied
    now = timezone.now()
    found, queue = standings(at=now)
    coverage = {each.cluster.pk: each.coverage for each in found if each.coverage is not None}
    clusters = {each.cluster.pk: each.cluster for each in found}
    missing = sorted(
        ((gap, clusters[pk]) for pk, covers in coverage.items() for gap in covers.gaps),
        key=lambda each: (each[0].ends, each[1].code),
        reverse=True,
    )
    gaps = Paginator(missing, GAPS_PER_PAGE).get_page(request.GET.get("gaps"))
    lost = with_cost(runaways(coverage)).select_related("cluster").order_by("start_at", "pk")
    runs = CappedPaginator(lost, RUNS_PER_PAGE).get_page(request.GET.get("runs"))
    context = {
        **page.admin_site.each_context(request),
        "title": _("Import health"),
        "now": now,
        "cards": [card_of(standing) for standing in found],
        "queue": queue,
        "late_hours": LATE_AFTER // timedelta(hours=1),
        "looked_back_days": LOOKED_BACK.days,
        "no_worker_minutes": NO_WORKER_AFTER // timedelta(minutes=1),
        "gaps": [gap_line(gap, cluster, at=now) for gap, cluster in gaps],
        "gap_turning": turning(gaps, _("Missing windows"), "gaps"),
        "runs": [run_line(run, at=now) for run in runs],
        "run_turning": turning(runs, _("Runs without an end"), "runs"),
        "windows_are_told": any(covers.latest_told is not None for covers in coverage.values()),
        "waits": list(waits(request.user)),
        "may_see_runs": request.user.has_perm(MAY_SEE_RUNS),
    }
    request.current_app = page.admin_site.name  # read by the {% url %} tag
    return TemplateResponse(request, "admin/allocations/import_health.html", context)


def turning(page: Any, title: Any, field: str) -> Turning | None:
    """The leafing below a list; None where it has one page."""
    if page.paginator.num_pages < 2:
        return None
    return Turning(page, page.paginator, title=title, prefixed_page_field=field)


def card_of(standing: ClusterStanding) -> Card:
    """The worst that is to be said of a cluster, and what to do about it."""
    if standing.is_never:
        return Card(
            standing,
            "warn",
            _("Never imported"),
            gettext("GPUs are in service here, but no usage has come in yet. Set the collector up on the cluster."),
        )
    if standing.is_late:
        return Card(
            standing,
            "warn",
            _("Late"),
            gettext("No newer usage has come in. Does the collector run? Its journal on the cluster says why not."),
        )
    if standing.failed:
        return Card(standing, "bad", _("Import failed"), "")
    if not standing.in_service:
        return Card(standing, "quiet", _("Not in service"), "")
    return Card(standing, "ok", _("Up to date"), "")


def gap_line(gap: Gap, cluster: Cluster, *, at: datetime) -> GapLine:
    return GapLine(cluster, gap, lasts=timesince(gap.begins, gap.ends, depth=2), days=days_back(gap.begins, at=at))


def run_line(run: Any, *, at: datetime) -> RunLine:
    state, tone = in_words(run.state)
    beyond: int = run.beyond_seconds or 0
    return RunLine(
        run=run,
        state=state,
        tone=tone,
        limit=lasting(run.time_limit_minutes * 60) if run.time_limit_minutes is not None else "",
        beyond=lasting(beyond) if beyond > 0 else "",
        days=days_back(run.as_of, at=at),
    )


def lasting(seconds: int) -> str:
    """A stretch of time in its two largest units."""
    return timesince(SOME_DAY, SOME_DAY + timedelta(seconds=min(seconds, LONGEST)), depth=2)


def waits(user: Any) -> Any:
    """What else waits for a person: (how much, what it means, where it is dealt with)."""
    if user.has_perm(MAY_SEE_RECORDS):
        waiting = QuarantinedRecord.objects.filter(state=QuarantinedRecord.State.WAITING).order_by()
        number = waiting[:MOST_COUNTED].count()
        url = reverse("admin:allocations_quarantinedrecord_changelist")
        yield "records", number, None, f"{url}?state__exact={QuarantinedRecord.State.WAITING}"
    if user.has_perm(MAY_SEE_RUNS):
        runs, seconds = unmatched_usage()
        yield "unmatched", runs, seconds, reverse("admin:allocations_unmatched")
