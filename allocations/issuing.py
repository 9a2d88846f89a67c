"""Statements are issued: once per project and month, in order, numbered without gaps, and the same for ever.

locks   every cluster's usage, in order   no import, and no allocation that is just being opened, is half seen
        the project's allocations         no entry is half seen: their numbers are safe marks (allocations.statements)
        the running number, last of all   so that it has no gaps and no doubles
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from django.db import DatabaseError, models, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from allocations import staging
from allocations.importing.health import Coverage, coverage_of_clusters
from allocations.models import Allocation, LedgerEntry, Statement
from allocations.movements import locked
from allocations.posting import LedgerError
from allocations.statements import (
    NOTHING_TOLD,
    Asked,
    Extent,
    adds_up,
    canonical,
    content_of,
    digest_of,
    extent_of,
    first_day,
    last_day,
    months_to_tell,
    next_month,
)
from centre import audit
from centre.models import Cluster, Project, User

NUMBER_LOCK: Final = 0x73746D74  # an advisory lock of our own
logger = logging.getLogger(__name__)


class StatementRefused(LedgerError):
    """A statement cannot be issued now; the message is a sentence for a person."""


class MonthNotOver(StatementRefused):
    """On a cluster's clock the month still goes on."""


class BooksIncomplete(StatementRefused):
    """The usage of a cluster is not known up to the end of the month."""


class EarlierMonthFirst(StatementRefused):
    """Statements are issued in the order of their months."""


class NothingToTell(StatementRefused):
    """No hours were given or used in or before the month."""


def issue(
    *, project: Project, month: date, by: User | None, at: datetime, coverage: Mapping[int, Coverage] | None = None
) -> Statement:
    """Issue the statement of a project and month (any of its days); a second time it gives the one that stands.

    `coverage` is what imports cover by the cluster's number, where the caller has just asked. Raises MonthNotOver,
    BooksIncomplete, EarlierMonthFirst, NothingToTell.
    """
    month = first_day(month)
    with transaction.atomic():
        for cluster in Cluster.objects.order_by("pk"):
            staging.lock_cluster(cluster.pk)
        standing = Statement.objects.filter(project=project, month=month).first()
        if standing is not None:
            return standing
        rows = locked(Allocation.objects.filter(project=project))
        previous = Statement.objects.filter(project=project).order_by("-month").first()
        refuse_unfinished(list(rows.values()), month, at=at, coverage=coverage)
        refuse_out_of_turn(project, month, previous)
        entries = LedgerEntry.objects.filter(allocation__in=rows)
        last_entry = entries.aggregate(last=Max("pk"))["last"] or 0
        before = extent_of(previous) if previous else NOTHING_TOLD
        content = content_of(Asked(project, month, Extent(last_day(month), last_entry), before, previous))
        if not adds_up(content):
            raise StatementRefused(
                _("The books of %(project)s do not add up. Have the operator run the check of the ledger.")
                % {"project": project.code}
            )
        return _keep(project, month, last_entry=last_entry, content=content, previous=previous, by=by, at=at)


def refuse_unfinished(
    rows: list[Allocation], month: date, *, at: datetime, coverage: Mapping[int, Coverage] | None = None
) -> None:
    """Raise unless the month is over on every cluster where the project had hours, and its usage is known."""
    first, last = month, last_day(month)
    covering = [
        row for row in rows if row.state != Allocation.State.VOID and row.start_on <= last and row.end_on >= first
    ]
    clusters = {row.pool.cluster_id: row.pool.cluster for row in covering}
    zones = [cluster.zone for cluster in clusters.values()] or [timezone.get_default_timezone()]
    if any(at < datetime.combine(next_month(month), time.min, tzinfo=zone) for zone in zones):
        raise MonthNotOver(_("%(month)s is not over yet. Its statement is issued afterwards.") % named(month))
    if clusters and coverage is None:
        coverage = coverage_of_clusters()
    for number, cluster in sorted(clusters.items()):
        covered = (coverage or {}).get(number)
        begins = datetime.combine(first, time.min, tzinfo=cluster.zone)
        ends = datetime.combine(next_month(month), time.min, tzinfo=cluster.zone)
        if covered is None or covered.complete_until(since=begins) < ends:
            raise BooksIncomplete(
                _(
                    "The usage of %(cluster)s is not known up to the end of %(month)s. Import what is missing; the "
                    "page about imports names the gaps."
                )
                % {**named(month), "cluster": cluster.code}
            )


def refuse_out_of_turn(project: Project, month: date, previous: Statement | None) -> None:
    """Raise unless the month is the next one that has something to tell."""
    if previous is not None and month < previous.month:
        raise EarlierMonthFirst(
            _("The statement of %(later)s is issued already; what is learnt of %(month)s appears in the next one.")
            % {**named(month), "later": month_text(previous.month)}
        )
    to_tell = months_to_tell(project, previous, through=month)
    if month not in to_tell:
        raise NothingToTell(
            _("%(project)s had no GPU-hours in %(month)s; there is nothing to tell.")
            % {**named(month), "project": project.code}
        )
    if to_tell[0] != month:
        raise EarlierMonthFirst(
            _("The statement of %(earlier)s has to be issued before that of %(month)s.")
            % {**named(month), "earlier": month_text(to_tell[0])}
        )


def named(month: date) -> dict[str, str]:
    return {"month": month_text(month)}


def month_text(month: date) -> str:
    """The month and year in the reader's language."""
    return date_format(month, "YEAR_MONTH_FORMAT")


def _keep(
    project: Project,
    month: date,
    *,
    last_entry: int,
    content: dict[str, object],
    previous: Statement | None,
    by: User | None,
    at: datetime,
) -> Statement:
    """Number the statement and write it, with its event."""
    if staging.is_postgres():
        staging.rows("SELECT pg_advisory_xact_lock(%s)", [NUMBER_LOCK])
    sequence = (Statement.objects.aggregate(last=Max("sequence"))["last"] or 0) + 1
    before = {"sequence": previous.sequence, "digest": previous.digest} if previous else None
    text = canonical(
        {**content, "sequence": sequence, "last_entry": last_entry, "as_of": at.isoformat(), "previous": before}
    )
    statement = Statement.objects.create(
        project=project,
        month=month,
        sequence=sequence,
        last_entry=last_entry,
        as_of=at,
        issued_at=at,
        issued_by=by,
        content=text,
        digest=digest_of(text),
    )
    audit.record(
        act="issue_statement",
        on=statement,
        by=by,
        at=at,
        changes={"project": project.code, "number": statement.number, "digest": statement.digest},
    )
    return statement


class Outcome(models.TextChoices):
    """What came of a month that was due."""

    ISSUED = "issued"
    WAITS = "waits"  # `why` says for what
    FAILED = "failed"  # `why` says how; nothing of it was written


@dataclass(frozen=True)
class Issued:
    """A project's month that was due, and what came of it."""

    project: Project
    month: date
    outcome: Outcome
    statement: Statement | None = None
    why: str = ""


def issue_due(*, at: datetime, after_days: int = 3) -> Iterator[Issued]:
    """Issue what is due: months that have been over for `after_days` days, each project by itself.

    A project whose month waits or fails is told, and goes on the next time; the others go on now.
    """
    through = latest_due(at, after_days=after_days)
    coverage = coverage_of_clusters()
    projects = Project.objects.filter(allocations__isnull=False).select_related("tenant").distinct().order_by("pk")
    for project in list(projects):
        previous = Statement.objects.filter(project=project).order_by("-month").first()
        if previous is not None and previous.month >= through:
            continue
        for month in months_to_tell(project, previous, through=through):
            try:
                found = issue(project=project, month=month, by=None, at=at, coverage=coverage)
            except StatementRefused as refusal:
                yield Issued(project, month, Outcome.WAITS, why=str(refusal))
                break
            except (LedgerError, DatabaseError) as error:  # the other projects get theirs all the same
                logger.exception("The statement of %s for %s could not be issued.", project.code, month)
                yield Issued(project, month, Outcome.FAILED, why=str(error))
                break
            yield Issued(project, month, Outcome.ISSUED, found)


def latest_due(at: datetime, *, after_days: int) -> date:
    """The latest month that has been over for so many days, in the portal's time zone."""
    day = timezone.localdate(at) - timedelta(days=after_days)
    return first_day(first_day(day) - timedelta(days=1))
