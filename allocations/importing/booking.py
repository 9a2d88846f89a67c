"""Entering an export into the books: read and stage the kept file, merge it into the job runs, charge what changed.

Reading and staging take no lock. The merge, the charges and the record of the import are one transaction under the
cluster's lock: whatever happens, there is nothing of an import or all of it, and the same file again changes nothing.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Final, cast
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from allocations import merging, staging
from allocations.importing import stored_files
from allocations.importing.leases import Lease
from allocations.importing.statistics import correct_statistics
from allocations.models import QuarantinedRecord, UsageImport
from allocations.posting import add_to_daily_usage
from allocations.recharging import recharge
from allocations.slurm.sacct import BadRecord, Export, Record, UnreadableExport, open_export
from centre import audit

STAGED_AT_ONCE: Final = 8_000_000
"""Bytes of the file whose rows are held in memory, however few they are."""

ZONES_LIE_APART: Final = timedelta(hours=26)  # at most: from -12 to +14


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


def book(usage_import: UsageImport, *, clock: Callable[[], datetime]) -> None:
    """Enter the kept file of an import that was taken up into the books; afterwards it is done, with its counts.

    Raises UnreadableExport, with nothing charged, when the file cannot be read or its instants cannot be right.
    """
    cluster, began = usage_import.cluster, clock()
    lease = Lease(usage_import, clock=clock)
    lease.begin(UsageImport.Phase.READING)
    with (
        staging.temporary_table("staged", merging.STAGED_COLUMNS),
        staging.temporary_table("staged_bad", merging.BAD_COLUMNS),
        stored_files.opened(usage_import.stored_as) as contents,
    ):
        file = HashedFile(contents)
        export = open_export(cast(BinaryIO, file), zone=ZoneInfo(usage_import.time_zone), cluster=cluster.code)
        for _chunk in stage_file(export):
            lease.go_on(file.size)
        if file.sha256 != usage_import.sha256:
            raise UnreadableExport(_("The kept file is not the one that was received: its SHA-256 sum differs."))
        given = usage_import.as_of if usage_import.as_of_was_given else None
        usage_import.as_of = settled_as_of(export, given=given, at=began)
        refuse_late_window(usage_import)
        usage_import.warning = warnings_of(export, as_of=usage_import.as_of, as_of_was_given=given is not None)
        usage_import.read, usage_import.ignored = export.read, export.ignored
        lease.begin(UsageImport.Phase.MERGING, read_bytes=file.size)
        with transaction.atomic(), merging.tables():
            lease.hold()
            staging.lock_cluster(cluster.pk)
            # What is recorded carries the instant of recording, not that at which reading began: the ledger as of an
            # instant in between must not change when a long import commits.
            usage_import.finished_at = clock()
            merge(usage_import, at=usage_import.finished_at)


def stage_file(export: Export) -> Iterator[int]:
    """Read the whole file into the staging tables; yields after each chunk, between transactions."""
    for rows in export.in_chunks(rows=staging.CHUNK, size=STAGED_AT_ONCE):
        with staging.without_locks():
            merging.stage([row for row in rows if row.__class__ is Record])
            bad = [(row.line, row.text, row.reason) for row in rows if row.__class__ is BadRecord]
            if bad:
                staging.fill("staged_bad", merging.BAD, bad)
        yield len(rows)


def settled_as_of(export: Export, *, given: datetime | None, at: datetime) -> datetime | None:
    """The instant at which the export was made; None when neither the caller nor the file tells.

    Never the clock. UnreadableExport when the given one cannot be right: a time zone that is wrong moves many records
    by hours. A record that is later by more than any two zones lie apart is damaged itself, and is set aside.
    """
    seconds, bound = export.latest, int(((given or at) + ZONES_LIE_APART).timestamp())
    if seconds is not None and seconds > bound:
        seconds = merging.quarantine_beyond(bound)
    latest = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    if given is None:
        if latest is not None and latest > at:
            raise UnreadableExport(
                _("The file speaks of %(latest)s, which is in the future. Is its time zone right?")
                % {"latest": latest.isoformat()}
            )
        return latest
    if latest is not None and latest > given:
        raise UnreadableExport(
            _("The export instant %(as_of)s is earlier than %(latest)s in the file. Is its time zone right?")
            % {"as_of": given.isoformat(), "latest": latest.isoformat()}
        )
    return given


def refuse_late_window(usage_import: UsageImport) -> None:
    """UnreadableExport when the window would begin after the instant that the file itself tells."""
    begins, ends = usage_import.covers_from, usage_import.as_of
    if begins is not None and ends is not None and begins > ends:
        raise UnreadableExport(
            _(
                "The window begins at %(first)s, but the latest instant in the file is %(last)s. "
                "Give the export instant."
            )
            % {"first": begins.isoformat(), "last": ends.isoformat()}
        )


def warnings_of(export: Export, *, as_of: datetime | None, as_of_was_given: bool) -> str:
    """What the officer should know about the file, an English sentence of the catalogue a line."""
    lines = []
    if as_of is None:
        lines.append(
            gettext_noop("No export instant was given, and no run in the file tells one: this import says nothing new.")
        )
    elif not as_of_was_given:
        lines.append(
            gettext_noop(
                "No export instant was given: running jobs are charged up to the latest instant that stands "
                "in the file."
            )
        )
    if export.guessable_delimiter:
        lines.append(
            gettext_noop(
                "The delimiter can be typed into a job's name, so that a name could imitate a record. "
                "Export with a random delimiter of 16 characters or more."
            )
        )
    return "\n".join(lines)


def merge(usage_import: UsageImport, *, at: datetime) -> None:
    """Merge the staged file, charge what changed, and complete the import with its counts. Inside a transaction."""
    correct_statistics()
    if usage_import.as_of is not None:  # else no record was staged
        as_of = int(usage_import.as_of.timestamp())
        merging.find_runs(usage_import.cluster_id, as_of)
        merging.judge(as_of)
    merging.keep_superseded()
    add_to_daily_usage(merging.regrouped_usage("-"))
    add_to_daily_usage(merging.regrouped_usage(""))
    merging.replace_rows(usage_import)
    last = merging.add_runs(usage_import)
    correct_statistics()
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
    usage_import.error, usage_import.phase, usage_import.lease_until = "", "", None
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
