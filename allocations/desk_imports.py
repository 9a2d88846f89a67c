"""What the imports of usage put on the desk: what went wrong, and how each cluster's books stand."""

from collections.abc import Sequence

from django.urls import reverse
from django.utils.translation import gettext, ngettext

from allocations.importing.runaways import runaways
from allocations.importing.standing import ClusterStanding, Queue, unmatched_usage
from allocations.models import QuarantinedRecord, UsageImport
from centre.registry import DESK_SHOWS, DeskGroup, DeskLine, DeskPart
from centre.templatetags.portal import gpu_hours, grouped, written_instant

HEALTH = "admin:allocations_import_health"
MOST_COUNTED = 1_000  # records that could not be read; beyond it the number says nothing more


def gone_wrong(clusters: Sequence[ClusterStanding], queue: Queue) -> DeskGroup:
    """What an officer has to know of the imports; the page of import health tells more. Three queries."""
    lines = [
        *(line_of_cluster(standing) for standing in clusters),
        line_of_queue(queue),
        line_of_failures(clusters),
        line_of_quarantine(),
        line_of_unmatched(),
        line_of_gaps(clusters),
        line_of_runaways(clusters),
    ]
    shown = tuple(line for line in lines if line is not None)
    return DeskGroup(
        part=DeskPart.WAITING, title=gettext("Usage imports"), lines=shown, count=len(shown), url=reverse(HEALTH)
    )


def how_they_stand(clusters: Sequence[ClusterStanding]) -> DeskGroup:
    """The age of each cluster's books, the oldest first, and what is missing in them. No query."""
    oldest = sorted(clusters, key=lambda each: (each.as_of is not None, each.as_of or each.at, each.cluster.code))
    return DeskGroup(
        part=DeskPart.STANDING,
        title=gettext("Usage imports"),
        lines=tuple(line_of_books(standing) for standing in oldest[:DESK_SHOWS]),
        count=len(oldest),
        url=reverse(HEALTH),
    )


def line_of_books(standing: ClusterStanding) -> DeskLine:
    """When usage last came in from a cluster, and whether a window is missing, where anybody can tell."""
    cluster = {"cluster": standing.cluster.code}
    if standing.as_of is None:
        return DeskLine(
            title=gettext("%(cluster)s: no usage has come in yet") % cluster,
            note=gettext("Its job runs are not in the books."),
            url=reverse(HEALTH),
        )
    return DeskLine(
        title=gettext("Usage of %(cluster)s") % cluster,
        note=" ".join(
            (gettext("In the books as of %(instant)s.") % {"instant": written_instant(standing.as_of)}, gaps(standing))
        ),
        url=reverse(HEALTH),
        since=standing.as_of,
    )


def gaps(standing: ClusterStanding) -> str:
    """How many windows are missing; where exports do not say what they cover, that nobody can tell."""
    covers = standing.coverage
    if covers is not None and covers.gaps:
        number = len(covers.gaps)
        missing = ngettext("%(number)s window is missing.", "%(number)s windows are missing.", number)
        return missing % {"number": grouped(number, 0)}
    if covers is None or standing.untold_since:
        return gettext("Whether a window is missing, nobody can tell.")
    return gettext("No window is missing.")


def line_of_cluster(standing: ClusterStanding) -> DeskLine | None:
    """A cluster whose usage is late. One that never had any is being set up; the page of import health names it."""
    if not standing.is_late:
        return None
    return DeskLine(
        title=gettext("Usage of %(cluster)s is late") % {"cluster": standing.cluster.code},
        note=gettext("What its projects used since then is not in the books yet."),
        url=reverse(HEALTH),
        since=standing.as_of,
    )


def line_of_queue(queue: Queue) -> DeskLine | None:
    if queue.unattended_since is None:
        return None
    return DeskLine(
        title=gettext("Nobody is at work on the imports"),
        note=gettext("Files wait; the worker has to be started on the portal’s server."),
        url=reverse(HEALTH),
        since=queue.unattended_since,
    )


def line_of_failures(clusters: Sequence[ClusterStanding]) -> DeskLine | None:
    failed = [standing for standing in clusters if standing.failed]
    number = sum(standing.failed for standing in failed)
    if not number:
        return None
    return DeskLine(
        title=ngettext("%(number)d import failed", "%(number)d imports failed", number) % {"number": number},
        note=gettext("Nothing newer was imported from the cluster since."),
        url=f"{reverse('admin:allocations_usageimport_changelist')}?state__exact={UsageImport.State.FAILED}",
        since=min(standing.failures[-1].received_at for standing in failed),
    )


def line_of_quarantine() -> DeskLine | None:
    waiting = QuarantinedRecord.objects.filter(state=QuarantinedRecord.State.WAITING).order_by()
    number = waiting[:MOST_COUNTED].count()
    if not number:
        return None
    title = ngettext("%(number)s record could not be read", "%(number)s records could not be read", number)
    if number == MOST_COUNTED:
        title = gettext("%(number)s records or more could not be read")
    return DeskLine(
        title=title % {"number": grouped(number, 0)},
        note=gettext("What they used is not charged until they are mended or set aside."),
        url=f"{reverse('admin:allocations_quarantinedrecord_changelist')}"
        f"?state__exact={QuarantinedRecord.State.WAITING}",
    )


def line_of_unmatched() -> DeskLine | None:
    runs, seconds = unmatched_usage()
    if not runs:
        return None
    title = ngettext(
        "%(hours)s GPU-hours of %(number)s run have no allocation",
        "%(hours)s GPU-hours of %(number)s runs have no allocation",
        runs,
    )
    return DeskLine(
        title=title % {"hours": gpu_hours(seconds), "number": grouped(runs, 0)},
        note=gettext("They are charged to nobody until an allocation covers them."),
        url=reverse("admin:allocations_unmatched"),
    )


def line_of_gaps(clusters: Sequence[ClusterStanding]) -> DeskLine | None:
    gaps = [gap for each in clusters if each.coverage is not None for gap in each.coverage.gaps]
    if not gaps:
        return None
    title = ngettext("%(number)s window is missing", "%(number)s windows are missing", len(gaps))
    return DeskLine(
        title=title % {"number": grouped(len(gaps), 0)},
        note=gettext("No export covers that time; export it again."),
        url=f"{reverse(HEALTH)}#missing-windows",
        since=min(gap.begins for gap in gaps),
    )


def line_of_runaways(clusters: Sequence[ClusterStanding]) -> DeskLine | None:
    coverage = {each.cluster.pk: each.coverage for each in clusters if each.coverage is not None}
    number = runaways(coverage).order_by()[:MOST_COUNTED].count() if coverage else 0
    if not number:
        return None
    title = ngettext("%(number)s run seems to have no end", "%(number)s runs seem to have no end", number)
    return DeskLine(
        title=title % {"number": grouped(number, 0)},
        note=gettext("Far beyond their limit, or not listed by Slurm any more."),
        url=f"{reverse(HEALTH)}#runs-without-end",
    )
