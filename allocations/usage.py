"""Importing a cluster's usage: read and stage the file, merge it into the job runs, charge what changed.

Reading and staging take no lock. The merge, the charges and the record of the import are one transaction under the
cluster's lock: whatever happens, there is nothing of an import or all of it, and the same file again changes nothing.
"""

import hashlib
from datetime import UTC, datetime
from typing import BinaryIO, cast
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils.translation import gettext as _

from allocations import merging, staging
from allocations.models import QuarantinedRecord, UsageImport
from allocations.posting import add_to_daily_usage
from allocations.recharging import RUN_COLUMNS, recharge
from allocations.slurm.sacct import BadRecord, Export, Record, UnreadableExport, open_export
from centre import audit
from centre.instants import going_on_from
from centre.models import Cluster, User

__all__ = ["UnreadableExport", "import_usage"]


class HashedFile:
    """A file that is read once, and in passing its SHA-256 and size."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._sha256.update(block)
        self.size += len(block)
        return block

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def import_usage(
    *,
    stream: BinaryIO,
    file_name: str,
    cluster: Cluster,
    at: datetime,
    by: User | None = None,
    as_of: datetime | None = None,
    zone: ZoneInfo | None = None,
) -> UsageImport:
    """Import the output of `sacct -a -X -P --duplicates`; returns the import with its counts.

    `as_of` is the instant at which sacct ran: unfinished runs are charged up to it. Without it the latest instant in
    the file stands in for it, and the import says so. Times without an offset are in `zone`, by default the cluster's.
    Raises UnreadableExport, with nothing written, when the file lacks what is needed or `as_of` cannot be right.
    """
    clock = going_on_from(at)
    with (
        staging.temporary_table("staged", merging.STAGED_COLUMNS),
        staging.temporary_table("staged_bad", merging.BAD_COLUMNS),
    ):
        file = HashedFile(stream)
        export = open_export(cast(BinaryIO, file), zone=zone or cluster.zone, cluster=cluster.code)
        with staging.without_locks():
            stage_file(export)
        instant = settled_as_of(export, given=as_of, at=at)
        usage_import = UsageImport(
            cluster=cluster,
            state=UsageImport.State.DONE,
            file_name=file_name[:300],
            sha256=file.sha256,
            size_bytes=file.size,
            time_zone=str(zone or cluster.zone),
            as_of=instant,
            as_of_was_given=as_of is not None,
            warning=warnings_of(export, as_of=instant, as_of_was_given=as_of is not None),
            by=by,
            received_at=at,
            read=export.read,
            ignored=export.ignored,
        )
        with transaction.atomic(), staging.temporary_table("changed_run", RUN_COLUMNS):
            staging.lock_cluster(cluster.pk)
            # What is recorded carries the instant of recording, not that at which reading began: the ledger as of an
            # instant in between must not change when a long import commits.
            usage_import.finished_at = clock()
            merge(usage_import, at=usage_import.finished_at)
    return usage_import


def stage_file(export: Export) -> None:
    """Read the whole file into the staging tables."""
    for rows in staging.in_chunks(export):
        merging.stage([row for row in rows if row.__class__ is Record])
        bad = [(row.line, row.text, row.reason) for row in rows if row.__class__ is BadRecord]
        if bad:
            staging.fill("staged_bad", merging.BAD, bad)


def settled_as_of(export: Export, *, given: datetime | None, at: datetime) -> datetime | None:
    """The instant at which the export was made; None when neither the caller nor the file tells.

    Never the clock. UnreadableExport when the given one cannot be right.
    """
    latest = None if export.latest is None else datetime.fromtimestamp(export.latest, UTC)
    if given is None:
        if latest is not None and latest > at:
            raise UnreadableExport(
                _("The file speaks of %(latest)s, which is in the future. Is its time zone right?")
                % {"latest": latest.isoformat()}
            )
        return latest
    if given > at:
        raise UnreadableExport(_("The export instant %(as_of)s is in the future.") % {"as_of": given.isoformat()})
    if latest is not None and latest > given:
        raise UnreadableExport(
            _("The export instant %(as_of)s is earlier than %(latest)s in the file. Is its time zone right?")
            % {"as_of": given.isoformat(), "latest": latest.isoformat()}
        )
    return given.astimezone(UTC).replace(microsecond=0)


def warnings_of(export: Export, *, as_of: datetime | None, as_of_was_given: bool) -> str:
    """What the officer should know about the file, a sentence a line."""
    lines = []
    if as_of is None:
        lines.append(_("No export instant was given, and no run in the file tells one: this import says nothing new."))
    elif not as_of_was_given:
        lines.append(
            _("No export instant was given: running jobs are charged up to the latest instant that stands in the file.")
        )
    if export.guessable_delimiter:
        lines.append(
            _(
                "The delimiter can be typed into a job's name, so that a name could imitate a record. "
                "Export with a random delimiter of 16 characters or more."
            )
        )
    return "\n".join(lines)


def merge(usage_import: UsageImport, *, at: datetime) -> None:
    """Merge the staged file, charge what changed, and write the import with its counts. Inside a transaction."""
    usage_import.state = UsageImport.State.RUNNING
    usage_import.save(force_insert=True)
    merging.find_runs(usage_import.cluster_id)
    if usage_import.as_of is not None:  # else no record was staged
        merging.judge(int(usage_import.as_of.timestamp()))
    merging.keep_superseded()
    add_to_daily_usage(merging.renamed_usage("-", "run.user_name"))
    add_to_daily_usage(merging.renamed_usage("", "staged.user_name"))
    merging.replace_rows(usage_import)
    last = merging.add_runs(usage_import)
    merging.keep_lost(usage_import)
    merging.fill_gaps()
    merging.note_changed_runs(usage_import, last)
    usage_import.charged_gpu_seconds = recharge(
        cluster=usage_import.cluster, source_reference=f"import-{usage_import.pk}", at=at
    )
    keep_quarantined(usage_import)
    fates = merging.fates()
    usage_import.accepted = fates.get("new", 0) + fates.get("wins", 0)
    usage_import.unchanged = sum(fates.values()) - usage_import.accepted
    usage_import.quarantined = usage_import.read - usage_import.ignored - sum(fates.values())
    usage_import.unmatched = merging.unmatched_runs(usage_import, last)
    usage_import.state = UsageImport.State.DONE
    usage_import.save()
    audit.record(
        act="import_usage",
        on=usage_import,
        by=usage_import.by,
        at=at,
        changes={
            "cluster": [None, usage_import.cluster.code],
            "sha256": [None, usage_import.sha256],
            "as_of": [None, usage_import.as_of],
            "accepted": [None, usage_import.accepted],
            "charged_gpu_seconds": [None, usage_import.charged_gpu_seconds],
        },
    )


def keep_quarantined(usage_import: UsageImport) -> None:
    staging.execute(
        """
        INSERT INTO allocations_quarantinedrecord (usage_import_id, line, text, reason, state, resolution)
        SELECT %s, line, text, reason, %s, '' FROM staged_bad ORDER BY line
        """,
        [usage_import.pk, QuarantinedRecord.State.WAITING.value],
    )
