"""Applying an upload: who may apply what, and doing exactly what the preview said, once, or nothing.

Teams (tenants, projects, members) are the tenant officers', opening balances the allocation officers'. Hours that come
in by upload have two people behind them: who handed the file over asked, who applies it approves. Only when all its
new balances together stay within the centre's threshold may one officer do both. The database holds the same rule: its
exemption for the operator's command does not cover uploads.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from allocations.asking import own_rules
from allocations.models import OnboardingFile, OnboardingLine, OnboardingStep, OnboardingUpload
from allocations.onboard.call import Call, Outcome
from allocations.onboard.preview import Judged, UploadError, judge, locked, look, refuse_withdrawn
from allocations.refusals import belongs_to_any
from centre import audit
from centre.first_person import why_gone
from centre.models import User

Part = OnboardingStep.Part
SOURCE: Final = "upload"
TEAM_RIGHTS: Final = (
    *("centre.add_tenant", "centre.change_tenant", "centre.add_project", "centre.change_project"),
    *("centre.add_membership", "centre.change_membership", "centre.add_user", "centre.change_user"),
    "centre.add_clusteruser",
)
MAY_HAND_OVER: Final = "allocations.add_onboardingupload"
HOUR_RIGHTS: Final = ("allocations.add_allocation",)
HOURS: Final = OnboardingFile.Kind.ALLOCATIONS


class LookAgain(UploadError):
    """The books, or the preview, are no longer what the person saw."""


class NotYours(UploadError):
    """Nothing in the upload is this person's to apply (any more)."""


class SecondOfficerNeeded(UploadError):
    """Who applies opening balances is not who handed them over, and does not belong to a project that gets them."""


@dataclass(frozen=True)
class Standing:
    """What of an upload is not in the books yet, what of it this person may apply now, and who else has to act."""

    part: OnboardingStep.Part | None
    lines: int
    """How many lines would be applied."""
    waiting: int
    """How many lines are not in the books yet, whoever applies them."""
    wrong: int
    notes: tuple[str, ...]


def standing_of(upload: OnboardingUpload, files: Iterable[OnboardingFile], user: User) -> Standing:
    """Where an upload stands for a person, by the last look at the books. What is withdrawn waits for nobody."""
    rows = list(files)
    if upload.withdrawn_at is not None:
        return Standing(part=None, lines=0, waiting=0, wrong=sum(file.wrong for file in rows), notes=())
    teams = sum(file.new + file.changed for file in rows if file.kind != HOURS)
    hours = sum(file.new + file.changed for file in rows if file.kind == HOURS)
    may_teams = teams > 0 and user.has_perms(list(TEAM_RIGHTS))
    may_hours = hours > 0 and user.has_perms(list(HOUR_RIGHTS))
    notes = []
    if teams and not may_teams:
        notes.append(_("A tenant officer has to apply the tenants, projects and members."))
    if hours and not may_hours:
        notes.append(_("An allocation officer has to apply the opening balances."))
    elif may_hours and upload.uploaded_by_id == user.pk and needs_a_second(upload.opening_seconds):
        may_hours = False
        notes.append(_("Another allocation officer has to apply the opening balances, because you handed them over."))
    elif may_hours and teams and not may_teams:
        may_hours = False
        notes.append(_("The opening balances can be applied after that."))
    part = {(True, True): Part.ALL, (True, False): Part.TEAMS, (False, True): Part.HOURS}.get((may_teams, may_hours))
    if part is Part.TEAMS and not hours:
        part = Part.ALL
    return Standing(
        part=part,
        lines=teams * may_teams + hours * may_hours,
        waiting=teams + hours,
        wrong=sum(file.wrong for file in rows),
        notes=tuple(notes),
    )


def needs_a_second(seconds: int) -> bool:
    """Whether opening balances of so many GPU-seconds together need an officer besides who handed them over."""
    return seconds > own_rules().two_person_above_seconds


def apply(*, upload: OnboardingUpload, digest: str, key: str, by: User, at: datetime) -> tuple[OnboardingStep, bool]:
    """Do what the preview with this `digest` says, as far as it is this person's; whether it was done now.

    The same `key` sent twice acts once. Raises LookAgain where the books have changed since, NotYours,
    SecondOfficerNeeded, Withdrawn, Unsettled; then nothing is done.
    """
    with transaction.atomic():
        upload = locked(upload)
        done = OnboardingStep.objects.filter(key=key, upload=upload, by=by).first()
        if done is not None:
            return done, False
        refuse_withdrawn(upload)
        if digest != upload.digest:
            raise LookAgain(
                _("This preview was made anew since you saw it. Nothing was applied; look at it once more.")
            )
        files = list(upload.files.all())
        standing = standing_of(upload, files, by)
        if standing.part is None:
            raise NotYours(" ".join(standing.notes) or _("The books hold all of it already: nothing was applied."))
        if standing.part is Part.TEAMS:
            files = [file for file in files if file.kind != HOURS]
        call = call_of(upload, by=by, at=at)
        judged = judge(files, call)
        refuse_what_was_not_seen(files, judged)
        refuse_one_person(upload, call)
        of_part = [each for each in judged if standing.part is not Part.HOURS or each.file.kind == HOURS]
        outcomes = [each.verdict.outcome for each in of_part]
        step = OnboardingStep.objects.create(
            upload=upload,
            part=standing.part,
            by=by,
            at=at,
            key=key,
            new=outcomes.count(Outcome.NEW),
            changed=outcomes.count(Outcome.CHANGED),
            left_out=outcomes.count(Outcome.WRONG),
        )
        audit.record(
            act="apply_upload",
            on=upload,
            by=by,
            at=at,
            changes={"part": step.part, "new": step.new, "changed": step.changed, "left_out": step.left_out},
        )
        look(upload=upload, by=by, at=at)
    return step, True


def call_of(upload: OnboardingUpload, *, by: User, at: datetime) -> Call:
    """In whose name the lines are taken."""
    one_person = upload.uploaded_by_id == by.pk
    return Call(
        at=at,
        by=by,
        asked_by=by if one_person else upload.uploaded_by,
        approved_by=None if one_person else by,
        source=SOURCE,
        source_prefix=f"{upload.pk}, ",
    )


def refuse_what_was_not_seen(files: Sequence[OnboardingFile], judged: Sequence[Judged]) -> None:
    """Raise LookAgain unless every line came to what the preview says of it."""
    lines = OnboardingLine.objects.filter(file__in=[file.pk for file in files])
    seen = {
        (kind, number): (verdict, changes)
        for kind, number, verdict, changes in lines.values_list("file__kind", "number", "verdict", "changes")
    }
    came = {(kind, number): (verdict, changes) for kind, number, verdict, changes in (each.said for each in judged)}
    if seen != came:
        raise LookAgain(
            _("The books have changed since this preview was made. Nothing was applied; look at it once more.")
        )


def refuse_one_person(upload: OnboardingUpload, call: Call) -> None:
    """Raise SecondOfficerNeeded where hours would be given by one person, or by someone who has a part in them."""
    if not call.opened or call.by is None:
        return
    needs = needs_a_second(sum(seconds for _project, seconds in call.opened))
    if needs and upload.uploaded_by_id == call.by.pk:
        raise SecondOfficerNeeded(_("Another allocation officer has to apply the opening balances."))
    gone = why_gone(upload.uploaded_by, at=call.at, permission=MAY_HAND_OVER) if needs else ""
    if gone:
        raise SecondOfficerNeeded(
            gone + " " + _("Withdraw it, hand the file over yourself, and let a colleague apply it.")
        )
    if belongs_to_any({project for project, _seconds in call.opened}, call.by):
        raise SecondOfficerNeeded(
            _("You belong to a project that gets hours here. Another officer has to apply the opening balances.")
        )
