"""Receiving an export: once this returns, the file is on the disk and its row in the queue. It is imported later."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from django.db import transaction
from django.utils.translation import gettext as _

from allocations.importing import stored_files, tasks
from allocations.importing.working import LEASE
from allocations.models import ImportToken, UsageImport
from allocations.slurm.header import UnreadableExport
from centre import audit
from centre.models import Cluster, User

CLOCKS_MAY_DIFFER = timedelta(minutes=2)
SENT_TWICE = timedelta(minutes=10)
"""For how long the same file from the same person is the same form, sent again; later it is imported once more."""


NOT_ALIKE_EVERYWHERE = frozenset(("Factory", "localtime"))
"""Time zones that are another one on another machine."""


class TokenRevoked(Exception):
    """The token of a collector was revoked while the file came in."""


class GuessableDelimiter(UnreadableExport):
    """A collector's export whose delimiter could have been typed into a job's name."""


def receive(
    *,
    stream: stored_files.Readable,
    file_name: str,
    cluster: Cluster,
    source: UsageImport.Source,
    at: datetime,
    by: User | None = None,
    token: ImportToken | None = None,
    as_of: datetime | None = None,
    covers_from: datetime | None = None,
    zone: ZoneInfo | None = None,
    claimed_by: str = "",
) -> tuple[UsageImport, bool]:
    """Keep an export and put it into the queue; returns the import, and whether it is new.

    `as_of` is the instant at which sacct ran, `covers_from` the beginning of its window (-S); times without an offset
    are in `zone`, by default the cluster's. A collector that sends a file again, because it did not hear the answer,
    gets the import that stands, and so does a person whose form is sent twice. `claimed_by`: the caller goes on to
    import it himself, under this worker's name. Raises UnreadableExport, with nothing kept, when the file cannot be an
    export or an instant or the zone cannot be right, TokenRevoked when the token stands no more once the file is there.
    """
    refuse_zone(zone, cluster)
    as_of, covers_from = whole_second(as_of), whole_second(covers_from)
    refuse_window(as_of=as_of, covers_from=covers_from, at=at)
    kept = stored_files.keep(stream, folder=cluster.code, at=at)
    try:
        if source == UsageImport.Source.COLLECTOR and kept.header.guessable_delimiter:
            raise GuessableDelimiter(
                _(
                    "The delimiter can be typed into a job's name, so that a name could imitate a record. "
                    "Draw a random one of 16 characters or more for each export."
                )
            )
        with transaction.atomic():
            if token is not None:
                # The second try of a collector may come while the first is still at it: one after the other.
                held = ImportToken.objects.select_for_update().get(pk=token.pk)
                if held.revoked_at is not None:  # a slow body may come in for hours
                    raise TokenRevoked
            already = standing_import(cluster, kept.sha256, as_of, source)
            if source == UsageImport.Source.UPLOAD and by is not None:
                User.objects.select_for_update().filter(pk=by.pk).first()  # a form that is sent twice
                already = standing_upload(cluster, kept.sha256, as_of, zone=zone or cluster.zone, by=by, at=at)
            if already:
                stored_files.forget(kept.name)
                return already, False
            usage_import = UsageImport.objects.create(
                cluster=cluster,
                source=source,
                token=token,
                file_name=file_name[:300],
                sha256=kept.sha256,
                size_bytes=kept.size_bytes,
                stored_as=kept.name,
                stored_bytes=kept.stored_bytes,
                header=kept.header.text,
                time_zone=str(zone or cluster.zone),
                as_of=as_of,
                as_of_was_given=as_of is not None,
                covers_from=covers_from,
                by=by,
                received_at=at,
                **(claim_of(claimed_by, at=at) if claimed_by else {}),
            )
            audit.record(
                act="receive_usage",
                on=usage_import,
                by=by,
                at=at,
                changes={
                    "cluster": [None, cluster.code],
                    "sha256": [None, kept.sha256],
                    "source": [None, source.value],
                    **({"token": [None, token.prefix]} if token else {}),
                },
            )
            if not claimed_by:
                transaction.on_commit(tasks.nudge)
    except BaseException:
        stored_files.forget(kept.name)
        raise
    return usage_import, True


def standing_import(
    cluster: Cluster, sha256: str, as_of: datetime | None, source: UsageImport.Source
) -> UsageImport | None:
    """The import of the same export that a collector has handed over already, unless it failed."""
    if source != UsageImport.Source.COLLECTOR:
        return None
    same = UsageImport.objects.filter(cluster=cluster, sha256=sha256, as_of=as_of, source=source)
    return same.exclude(state=UsageImport.State.FAILED).first()


def standing_upload(
    cluster: Cluster, sha256: str, as_of: datetime | None, *, zone: ZoneInfo, by: User, at: datetime
) -> UsageImport | None:
    """The import of a form that was sent twice: the same person handed over the same a moment ago."""
    same = UsageImport.objects.filter(
        cluster=cluster, sha256=sha256, as_of=as_of, source=UsageImport.Source.UPLOAD, time_zone=str(zone), by=by
    )
    return same.filter(received_at__gt=at - SENT_TWICE).exclude(state=UsageImport.State.FAILED).first()


def claim_of(worker: str, *, at: datetime) -> dict[str, object]:
    """The columns of an import that is received and taken up at once."""
    return {"state": UsageImport.State.RUNNING, "claims": 1, "worker": worker, "lease_until": at + LEASE}


def whole_second(instant: datetime | None) -> datetime | None:
    return instant and instant.astimezone(UTC).replace(microsecond=0)


def refuse_zone(zone: ZoneInfo | None, cluster: Cluster) -> None:
    """UnreadableExport for a zone that another machine does not know, or takes for another one."""
    name = str(zone)
    if zone is None or name == cluster.time_zone:
        return
    if name in NOT_ALIKE_EVERYWHERE or name not in available_timezones():
        raise UnreadableExport(_("“%(name)s” is not the name of a time zone, such as Asia/Hong_Kong.") % {"name": name})


def refuse_window(*, as_of: datetime | None, covers_from: datetime | None, at: datetime) -> None:
    """UnreadableExport when the export was made in the future, or its window ends before it begins."""
    if as_of is not None and as_of > at + CLOCKS_MAY_DIFFER:
        raise UnreadableExport(_("The export instant %(as_of)s is in the future.") % {"as_of": as_of.isoformat()})
    if covers_from is not None and covers_from > (as_of or at):
        raise UnreadableExport(
            _("The window begins at %(first)s, which is after its end. Check the instants.")
            % {"first": covers_from.isoformat()}
        )
