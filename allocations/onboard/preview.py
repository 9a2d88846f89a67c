"""What an upload would do to the books as they are now, line by line.

The lines are really taken, by the code that applies them, in a transaction that is then taken back. What the preview
says is therefore what applying does, and no rule is written a second time. It is kept in rows, so that reading it,
page by page, costs nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from allocations.models import OnboardingFile, OnboardingLine, OnboardingUpload
from allocations.onboard.call import Call, Outcome, Verdict
from allocations.onboard.kinds import UPLOADED
from allocations.onboard.lines import Line, Sheet, parse
from allocations.onboard.recognising import PROBLEM, Recognised
from centre import audit
from centre.machines import MachineError
from centre.members import MemberError
from centre.models import User
from centre.tenants import TenantError

LONGEST_NAME_OF_A_LINE = 300
NAMED_BY = {
    OnboardingFile.Kind.TENANTS: ("code", "name_en"),
    OnboardingFile.Kind.PROJECTS: ("code", "title"),
    OnboardingFile.Kind.MEMBERS: ("project", "email", "name"),
    OnboardingFile.Kind.ALLOCATIONS: ("reference", "project", "pool"),
}


class UploadError(Exception):
    """Why an upload cannot be looked at or applied, as a sentence for a screen."""


class Withdrawn(UploadError):
    """Somebody withdrew the upload: what is not in the books of it stays out."""


class Unsettled(UploadError):
    """The database refused what no single line is to blame for."""


@dataclass(frozen=True)
class Judged:
    """A line, and what it came to."""

    file: OnboardingFile
    line: Line
    verdict: Verdict

    @property
    def said(self) -> tuple[str, int, str, list[list[str]]]:
        """What it does, in no language."""
        changes = [[change.column, change.before, change.after] for change in self.verdict.changes]
        return self.file.kind, self.line.number, self.verdict.outcome.value, changes


def receive(*, files: Sequence[Recognised], key: str, by: User, at: datetime) -> OnboardingUpload:
    """Keep the files and look at them; the same `key` sent twice keeps them once. Raises Unsettled."""
    standing = OnboardingUpload.objects.filter(key=key, uploaded_by=by).first()
    if standing is not None:
        return standing
    with transaction.atomic():
        upload = OnboardingUpload.objects.create(uploaded_by=by, uploaded_at=at, looked_at=at, key=key)
        for kind in UPLOADED:
            for file in files:
                if file.kind.name == kind:
                    OnboardingFile.objects.create(
                        upload=upload,
                        kind=kind,
                        name=file.name,
                        sha256=hashlib.sha256(file.content).hexdigest(),
                        size_bytes=len(file.content),
                        content=file.content,
                        unused=file.sheet.unknown,
                    )
        audit.record(
            act="receive_upload",
            on=upload,
            by=by,
            at=at,
            changes={"files": [f"{file.name} ({file.sha256})" for file in upload.files.defer("content")]},
        )
        return look(upload=upload, by=by, at=at)


@transaction.atomic
def look(*, upload: OnboardingUpload, by: User, at: datetime) -> OnboardingUpload:
    """Compare the upload with the books as they are now and keep what comes of it. Raises Withdrawn, Unsettled."""
    upload = locked(upload)
    refuse_withdrawn(upload)
    files = list(upload.files.all())
    call = Call(
        at=at, by=by
    )  # opening balances as the operator's: whose name they get is settled when they are applied
    with transaction.atomic():
        judged = judge(files, call)
        transaction.set_rollback(True)
    keep(upload, files, judged)
    upload.looked_at = at
    upload.digest = digest_of(judged)
    upload.opening_seconds = sum(seconds for _project, seconds in call.opened)
    upload.save(update_fields=["looked_at", "digest", "opening_seconds"])
    return upload


def locked(upload: OnboardingUpload) -> OnboardingUpload:
    """The upload as it stands, locked."""
    return OnboardingUpload.objects.select_for_update(of=("self",)).select_related("withdrawn_by").get(pk=upload.pk)


def refuse_withdrawn(upload: OnboardingUpload) -> None:
    """Raise Withdrawn where somebody withdrew it."""
    if upload.withdrawn_by is not None:
        raise Withdrawn(
            _("%(person)s withdrew this upload. Hand the files over again if they are still needed.")
            % {"person": upload.withdrawn_by.get_full_name()}
        )


def judge(files: Iterable[OnboardingFile], call: Call) -> list[Judged]:
    """Take the lines of these files, for good; the caller may take that back. Raises Unsettled."""
    by_kind = {file.kind: file for file in files}
    judged = []
    try:
        for name, kind in UPLOADED.items():
            file = by_kind.get(name)
            if file is None:
                continue
            lines = sheet_of(file).lines
            kind.take(lines, call)
            judged += [Judged(file, line, call.verdicts[line.key]) for line in lines]
    except (IntegrityError, MachineError, TenantError, MemberError) as error:
        reason = _("The database refused it: %(error)s Did someone else write at the same time? Then try again.")
        raise Unsettled(reason % {"error": error}) from error
    return [Judged(each.file, each.line, call.verdicts[each.line.key]) for each in judged]


def sheet_of(file: OnboardingFile) -> Sheet:
    """The lines of a file as it was received."""
    kind = UPLOADED[file.kind]
    return parse(
        file.name,
        bytes(file.content),
        kind=kind.name,
        needed=kind.needed,
        optional=(*kind.optional, PROBLEM),
    )


def digest_of(judged: Iterable[Judged]) -> str:
    """A digest of what the lines do: who applies names the preview that they saw."""
    said: list[Any] = [each.said for each in judged]
    return hashlib.sha256(json.dumps(said, ensure_ascii=True).encode()).hexdigest()


def keep(upload: OnboardingUpload, files: Sequence[OnboardingFile], judged: Sequence[Judged]) -> None:
    """Write what came of every line in place of what stood."""
    OnboardingLine.objects.filter(file__upload=upload).delete()
    OnboardingLine.objects.bulk_create(
        [
            OnboardingLine(
                file=each.file,
                number=each.line.number,
                what=name_of(each),
                verdict=each.verdict.outcome.value,
                changes=each.said[3],
                problem=each.verdict.problem,
            )
            for each in judged
        ],
        batch_size=1_000,
    )
    for file in files:
        outcomes = [each.verdict.outcome for each in judged if each.file is file]
        for outcome in Outcome:
            setattr(file, outcome.value, outcomes.count(outcome))
        file.save(update_fields=[outcome.value for outcome in Outcome])


def name_of(judged: Judged) -> str:
    """What a line is about, from its own cells."""
    columns = NAMED_BY[OnboardingFile.Kind(judged.file.kind)]
    cells = (judged.line.cells.get(column, "") for column in columns)
    return " · ".join(cell for cell in cells if cell)[:LONGEST_NAME_OF_A_LINE]
