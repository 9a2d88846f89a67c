"""What GPU time puts on the desk: requests and rules that wait for a second officer, and imports that went wrong."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations import requests
from allocations.importing.runaways import runaways
from allocations.importing.standing import ClusterStanding, Queue, standings, unmatched_usage
from allocations.models import ChangeRequest, PeriodEndRule, QuarantinedRecord, TakeBackRule, UsageImport
from allocations.models.rules import PoolRule
from centre.desk import group_of, noted
from centre.exports import Text
from centre.models import User
from centre.registry import DeskGroup, DeskLine, DeskPart
from centre.templatetags.portal import gpu_hours, grouped

MAY_ANSWER = "allocations.change_allocation"
MAY_IMPORT = "allocations.import_usage"
HEALTH = "admin:allocations_import_health"
MOST_COUNTED = 1_000  # records that could not be read; beyond it the number says nothing more

Kind = ChangeRequest.Kind
WOULD_BE_DONE: Mapping[ChangeRequest.Kind, tuple[Text, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.OPENING: (_("Open an allocation with %(hours)s GPU-hours"), ("hours",)),
        Kind.TOP_UP: (_("Give %(hours)s more GPU-hours"), ("hours",)),
        Kind.TAKE_BACK: (_("Take %(hours)s GPU-hours back"), ("hours",)),
        Kind.REFUND: (_("Refund job runs of %(hours)s GPU-hours"), ("hours",)),
        Kind.REVERSAL: (_("Reverse an entry of %(hours)s GPU-hours"), ("hours",)),
        Kind.TRANSFER: (_("Move %(hours)s GPU-hours to %(reference)s"), ("hours", "reference")),
        Kind.EXTENSION: (_("Let the period last until %(day)s"), ("day",)),
    }
)
"""What a request would do when it is approved, and what has to be known to say so."""


WAITS = {DeskPart.WAITING: "me", DeskPart.ASKED: "another"}
"""How the list of requests is filtered for each part."""


def requests_waiting(user: User, at: datetime) -> Iterator[DeskGroup]:
    """Requests that this person may approve, and those they asked for themselves. Two queries.

    Nobody approves what they asked for, nor hours of a project that they belong to, on either side of a transfer.
    """
    kinds = requests.answers(user)
    if not kinds:
        return
    waiting = ChangeRequest.objects.waiting().select_related(
        "project__tenant", "allocation", "to_allocation", "asked_by"
    )
    waiting = waiting if len(kinds) == len(Kind) else waiting.filter(kind__in=kinds)
    parts = {DeskPart.WAITING: waiting.answerable_by(user), DeskPart.ASKED: waiting.filter(asked_by=user)}
    for part, rows in parts.items():
        yield group_of(
            rows,
            part=part,
            title=gettext("Requests about GPU-hours"),
            line=line_of_request,
            url=f"{reverse('admin:allocations_changerequest_changelist')}?waits={WAITS[part]}",
        )


def line_of_request(row: ChangeRequest, part: DeskPart) -> DeskLine:
    page = "approve" if part == DeskPart.WAITING else "change"
    concerns = {"project": row.project.code, "tenant": str(row.project.tenant)}
    return DeskLine(
        title=asked_in_words(row),
        note=noted(part, row.asked_by, gettext("For %(project)s of %(tenant)s.") % concerns),
        url=reverse(f"admin:allocations_changerequest_{page}", args=[row.pk]),
        since=row.asked_at,
    )


def asked_in_words(row: ChangeRequest) -> str:
    """What would be done, as a short sentence; for what has none, the kind of the request."""
    said = {
        "hours": gpu_hours(row.asked_seconds) if row.asked_seconds is not None else None,
        "reference": row.to_allocation.reference if row.to_allocation is not None else None,
        "day": date_format(row.asked_until_on) if row.asked_until_on is not None else None,
    }
    sentence, needed = WOULD_BE_DONE.get(Kind(row.kind), ("", ()))
    if not sentence or any(said[name] is None for name in needed):
        return str(row.get_kind_display())
    return str(sentence) % said


def rules_waiting(user: User, at: datetime) -> Iterator[DeskGroup]:
    """Rules of unused time to approve, and those that one asked for. Two queries for each of the two kinds."""
    if not user.has_perm(MAY_ANSWER):
        return
    for model, title in ((PeriodEndRule, gettext("Period-end rules")), (TakeBackRule, gettext("Take-back rules"))):
        waiting = model.objects.waiting().select_related("pool", "asked_by")
        parts = {DeskPart.WAITING: waiting.exclude(asked_by=user), DeskPart.ASKED: waiting.filter(asked_by=user)}
        changelist = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for part, rows in parts.items():
            yield group_of(rows, part=part, title=title, line=line_of_rule, url=f"{changelist}?standing=waiting")


def line_of_rule(row: PoolRule, part: DeskPart) -> DeskLine:
    page = "approve" if part == DeskPart.WAITING else "change"
    from_on = gettext("Counts from %(day)s on.") % {"day": date_format(row.from_on)}
    return DeskLine(
        title=rule_in_words(row),
        note=noted(part, row.asked_by, from_on),
        url=reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[row.pk]),
        since=row.asked_at,
    )


def rule_in_words(row: PoolRule) -> str:
    if isinstance(row, TakeBackRule):
        return gettext("Take unused GPU-hours of %(pool)s back (%(funding)s)") % {
            "pool": row.pool.code,
            "funding": row.get_funding_display(),
        }
    return gettext("When a period on %(pool)s ends: %(rule)s") % {"pool": row.pool.code, "rule": row}


def imports_gone_wrong(user: User, at: datetime) -> Iterator[DeskGroup]:
    """What an officer has to know of the usage imports; the page of import health tells more. Nine queries."""
    if not user.has_perm(MAY_IMPORT):
        return
    clusters, queue = standings(at=at)
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
    yield DeskGroup(
        part=DeskPart.WAITING,
        title=gettext("Usage imports"),
        lines=shown,
        count=len(shown),
        url=reverse("admin:allocations_usageimport_changelist"),
    )


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
