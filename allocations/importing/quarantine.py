"""Records that could not be read: mended and imported again, or set aside with a reason. Each is resolved once.

A mended record is an import of its own: a file of the original first line and the mended text, of the same instant and
time zone. The counts of the original import never change; the record names the import that it went into.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import Final
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from allocations import merging
from allocations.importing import stored_files, working
from allocations.importing.receiving import receive
from allocations.models import QuarantinedRecord, UsageImport
from allocations.slurm.header import Header, UnreadableExport, read_header
from allocations.slurm.sacct import BadRecord, Export, Record, Row, open_export
from centre import audit
from centre.models import User

log = logging.getLogger(__name__)
State = QuarantinedRecord.State

LONGEST_TEXT: Final = 10_000
"""Characters that are kept of a bad record; one that is as long may have been cut."""
SUMMARISED: Final = frozenset({merging.TWO_RUNS, merging.BEYOND_ITS_EXPORT})
"""Reasons whose records were read: what is kept of them is a summary, not their line."""
_AT_A_TIME: Final = 500


class QuarantineError(Exception):
    """Why a record cannot be resolved so, as a sentence for the person. Nothing was changed."""


class AlreadyResolved(QuarantineError):
    """Somebody else was quicker."""


class NotMended(QuarantineError):
    """The text is still no record that can be imported."""


@dataclass(frozen=True)
class Field:
    """One field of a record as its text reads: `text` is None where the text ends before it."""

    name: str
    text: str | None


def zone_of(usage_import: UsageImport) -> ZoneInfo:
    """In which zone the times of an import's file are read."""
    return ZoneInfo(usage_import.time_zone)


def instant_of(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def is_cut(record: QuarantinedRecord) -> bool:
    """Whether the end of the record may be missing from what is kept."""
    return len(record.text) >= LONGEST_TEXT


def is_summary(record: QuarantinedRecord) -> bool:
    """Whether what is kept says what the record was about, in place of its line."""
    return record.reason in SUMMARISED


def header_of(usage_import: UsageImport) -> Header | None:
    """The names of the fields in an import's file; None where its first line was not kept."""
    try:
        return read_header(usage_import.header)
    except UnreadableExport:
        return None


def fields_of(header: Header, text: str) -> tuple[list[Field], list[str]]:
    """A text cut at the delimiter: a part for each named field, and the parts that are too many."""
    named, parts = header.fields, text.split(header.delimiter)
    if not header.exact:  # everything right of the first free text is one text
        named = (*header.fields[: header.first_free], ", ".join(header.fields[header.first_free :]))
        parts = text.split(header.delimiter, header.full - 1)
    fields = [Field(name, parts[i] if i < len(parts) else None) for i, name in enumerate(named)]
    return fields, parts[len(named) :]


def mend(*, record: QuarantinedRecord, text: str, by: User, at: datetime) -> UsageImport:
    """Import a waiting record again, with the text as mended; returns the import that it went into.

    It counts as of the instant, and in the time zone, of the import that it comes from. Raises AlreadyResolved, or
    NotMended with what is wrong when the text does not come out as exactly one record that the books take up. Then
    nothing has changed anywhere.
    """
    original = record.usage_import
    text = text.rstrip("\n")
    contents = f"{original.header}\n{text}\n".encode()
    kept = ""
    try:
        with transaction.atomic():
            _hold(record)
            latest = only_record(contents, original)
            usage_import, _is_new = receive(
                stream=BytesIO(contents),
                file_name=_("%(file)s, line %(line)s, mended")
                % {"file": original.file_name[:250], "line": record.line},
                cluster=original.cluster,
                source=UsageImport.Source.MENDED,
                at=at,
                by=by,
                as_of=as_of_mended(original, latest),
                zone=ZoneInfo(original.time_zone),
                claimed_by=working.this_worker(),
            )
            kept = usage_import.stored_as
            working.work_on(usage_import, at=at)
            if (usage_import.read, usage_import.accepted + usage_import.unchanged) != (1, 1):
                refused = usage_import.quarantine.first()
                raise NotMended(
                    _(refused.reason) if refused else _("No record came out of it. Mend one record at a time.")
                )
            record.state, record.mended_in, record.resolution = State.MENDED, usage_import, text
            record.resolved_by, record.resolved_at = by, at
            record.save(update_fields=["state", "mended_in", "resolution", "resolved_by", "resolved_at"])
            audit.record(
                act="mend_record",
                on=record,
                by=by,
                at=at,
                changes={"state": [State.WAITING.value, State.MENDED.value], "mended_in": [None, usage_import.pk]},
            )
    except BaseException as error:
        if kept:
            stored_files.forget(kept)
        if isinstance(error, UnreadableExport):
            raise NotMended(str(error)) from error
        if isinstance(error, OSError):
            log.exception("A mended record could not be kept")
            raise NotMended(
                _("The portal cannot keep the file at the moment. Nothing was imported; try again later.")
            ) from error
        raise
    return usage_import


def only_record(contents: bytes, original: UsageImport) -> int | None:
    """The latest instant of the only record of a mended file, in epoch seconds; NotMended when it is not that."""
    export = open_export(BytesIO(contents), zone=ZoneInfo(original.time_zone), cluster=original.cluster.code)
    rows = _first_rows(export)
    if len(rows) == 1 and isinstance(rows[0], Record):
        return export.latest
    bad = next((row for row in rows if isinstance(row, BadRecord)), None)
    if bad is not None:
        raise NotMended(_(bad.reason))
    if len(rows) > 1:
        raise NotMended(_("These are several records. Mend one record at a time."))
    raise NotMended(_("This is no job run: it is empty, a step of a job, or the first line again."))


def _first_rows(export: Export) -> list[Row]:
    return [row for _number, row in zip(range(3), export, strict=False)]


def as_of_mended(original: UsageImport, latest: int | None) -> datetime | None:
    """The instant of the original import; where that was only read off its file, the record may be later."""
    if original.as_of is None or original.as_of_was_given or latest is None:
        return original.as_of
    return max(original.as_of, datetime.fromtimestamp(latest, UTC))


def set_aside(*, record: QuarantinedRecord, reason: str, by: User, at: datetime) -> None:
    """Leave a waiting record out of the books for good. Raises AlreadyResolved."""
    with transaction.atomic():
        _hold(record)
        set_aside_all(records=QuarantinedRecord.objects.filter(pk=record.pk), reason=reason, by=by, at=at)
    record.refresh_from_db()


@transaction.atomic
def set_aside_all(*, records: QuerySet[QuarantinedRecord], reason: str, by: User, at: datetime) -> int:
    """Leave those of the records that still wait out of the books for good; returns how many these were."""
    waiting = records.filter(state=State.WAITING).order_by("pk").select_for_update(of=("self",))
    pks = list(waiting.values_list("pk", flat=True))
    for first in range(0, len(pks), _AT_A_TIME):
        some = pks[first : first + _AT_A_TIME]
        QuarantinedRecord.objects.filter(pk__in=some).update(
            state=State.SET_ASIDE, resolution=reason, resolved_by=by, resolved_at=at
        )
        moved = {"state": [State.WAITING.value, State.SET_ASIDE.value]}
        rows: Iterable[QuarantinedRecord] = QuarantinedRecord.objects.filter(pk__in=some).order_by("pk")
        audit.record_all(act="set_aside_record", on=[(row, moved) for row in rows], by=by, at=at, reason=reason)
    return len(pks)


def _hold(record: QuarantinedRecord) -> None:
    """Lock a record that still waits, so that two officers resolve it one after the other."""
    held = QuarantinedRecord.objects.select_for_update(of=("self",)).select_related("resolved_by").get(pk=record.pk)
    if held.state == State.WAITING:
        return
    who = held.resolved_by.get_full_name() if held.resolved_by else ""
    if held.state == State.MENDED:
        raise AlreadyResolved(_("%(person)s has mended this record by now. Nothing was changed.") % {"person": who})
    raise AlreadyResolved(_("%(person)s has set this record aside by now. Nothing was changed.") % {"person": who})
