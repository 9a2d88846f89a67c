"""The letter that tells a project's leads and managers what the centre decided about their allocations.

It goes out when the decision is committed: one letter per person about all allocations of one decision, in their
language. The officer's name is not told; the centre decided.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial

from django.db import models, transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from allocations.models import Allocation
from centre.emails import absolute, deliver, letter, one_line
from centre.models import Membership, User
from centre.permissions import ProjectRole

ANSWER_FOR_IT = (ProjectRole.LEAD, ProjectRole.MANAGER)
"""Who in a team is written to: those who may ask and act for it."""
MOST_OF_A_REASON = 600
MOST_OF_A_SUBJECT = 60


class What(models.TextChoices):
    """What was decided."""

    SUSPENDED = "suspended"
    RESUMED = "resumed"
    ENDED_EARLY = "ended_early"
    WRITTEN = "written"


def tell_teams(*, what: What, allocations: Iterable[Allocation], reason: str) -> None:
    """Send the letters once the decision is committed."""
    numbers = [allocation.pk for allocation in allocations]
    if numbers:
        transaction.on_commit(partial(send, what, numbers, reason))


def written_to(allocations: Iterable[Allocation]) -> dict[User, list[Allocation]]:
    """Whom a decision about these allocations is told, each with what concerns them; one query.

    Those who lead or manage the projects now and may sign in, by name.
    """
    of_project: defaultdict[int, list[Allocation]] = defaultdict(list)
    for allocation in allocations:
        of_project[allocation.project_id].append(allocation)
    joined = (
        Membership.objects.current()
        .filter(project__in=of_project.keys(), role__in=ANSWER_FOR_IT, user__is_active=True)
        .select_related("user")
        .order_by("user__name", "user__email", "project__code")
    )
    told: dict[User, list[Allocation]] = {}
    for membership in joined:
        told.setdefault(membership.user, []).extend(of_project[membership.project_id])
    return told


def send(what: What, numbers: list[int], reason: str) -> None:
    """Write to everybody concerned over one connection."""
    rows = Allocation.objects.filter(pk__in=numbers).select_related("project", "pool")
    letters = []
    for user, concerned in written_to(rows.order_by("project__code", "reference")).items():
        with override(user.language):
            context = {
                "name": one_line(user.name),
                "subject": subject_of(what, concerned),
                "parts": [
                    {
                        "project": f"{row.project.code}: {one_line(row.project.title)}",
                        "what": sentence_of(what, row),
                        "link": absolute(row.project.get_absolute_url()),
                    }
                    for row in concerned
                ],
                "opening": opening_of(what),
                "means": meaning_of(what),
                "reason": one_line(reason, MOST_OF_A_REASON),
            }
            letters.append((user, letter("allocation_decided", user, context)))
    deliver(letters, at=timezone.now())


def opening_of(what: What) -> str:
    """The first sentence of the letter."""
    if what == What.WRITTEN:
        return _("The centre writes to you about GPU-hours of your projects.")
    return _("The centre decided this about GPU-hours of your projects.")


def subject_of(what: What, concerned: list[Allocation]) -> str:
    if what == What.WRITTEN:
        return _("A message from the centre about %(references)s") % {
            "references": one_line(", ".join(row.reference for row in concerned), MOST_OF_A_SUBJECT)
        }
    if len(concerned) == 1:
        return sentence_of(what, concerned[0])
    match what:
        case What.SUSPENDED:
            return ngettext(
                "%(count)s allocation was suspended", "%(count)s allocations were suspended", len(concerned)
            ) % {"count": len(concerned)}
        case What.RESUMED:
            return ngettext(
                "%(count)s allocation can be used again", "%(count)s allocations can be used again", len(concerned)
            ) % {"count": len(concerned)}
    return ngettext("%(count)s period ends earlier", "%(count)s periods end earlier", len(concerned)) % {
        "count": len(concerned)
    }


def sentence_of(what: What, row: Allocation) -> str:
    """What was decided about one allocation."""
    said = {
        "reference": one_line(row.reference),
        "pool": one_line(row.pool.gpu_model),
        "day": date_format(row.end_on, "DATE_FORMAT"),
    }
    match what:
        case What.SUSPENDED:
            return _("The allocation %(reference)s (%(pool)s GPUs) was suspended.") % said
        case What.RESUMED:
            return _("The allocation %(reference)s (%(pool)s GPUs) can be used again.") % said
        case What.WRITTEN:
            return _("%(reference)s (%(pool)s GPUs), until %(day)s") % said
    return _("The period of %(reference)s (%(pool)s GPUs) now ends on %(day)s.") % said


def meaning_of(what: What) -> str:
    """What it means for the next job, and what the team can do."""
    match what:
        case What.SUSPENDED:
            return _(
                "New jobs do not start until the centre resumes it. Jobs that run already go on and are charged. The "
                "GPU-hours stay, and so does the last day of the period. Ask the centre if this seems to be a mistake."
            )
        case What.RESUMED:
            return _("New jobs start again as before. The last day of the period is what it was.")
        case What.WRITTEN:
            return ""
    return _(
        "Jobs that run after the last day are not covered. The rule of the GPU pool says whether unused GPU-hours are "
        "carried over or lost. If you need them later, ask the centre before the last day."
    )
