"""Who is owed which letter about an allocation, and that each gets it once.

A notice is a row: this person is told of this allocation that this threshold is crossed. `find_due` writes a row for
every threshold that is crossed, whatever nights were missed, and marks as over what no longer holds, so that it is told
again when it holds again. `send` puts all that a person has not been told yet into one letter.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet

from allocations.models import Allocation, Notice, NoticeOptOut, TakeBackWarning
from centre.models import Membership, Project, Representative
from centre.permissions import ProjectRole

Kind = Notice.Kind
TOLD_ROLES = (ProjectRole.LEAD, ProjectRole.MANAGER)
"""Who of a project's team is told of its allocations."""
ABOUT_TAKING_BACK = frozenset({Kind.TAKE_BACK_WARNED, Kind.TAKEN_BACK})
"""What the tenant's representatives are told too."""


class Owed(NamedTuple):
    """What makes a standing notice one of its kind."""

    allocation_id: int
    user_id: int
    kind: str
    threshold: int


@transaction.atomic
def owe(*, allocation: Allocation, kind: Notice.Kind, at: datetime, threshold: int = 0) -> None:
    """Owe a letter to everyone who is told about this allocation and did not decline its kind; once, however often.

    `threshold` is per cent used or days left. Of a take-back it is the number of its warning, without one the
    allocation's latest: a second warning is told again, the same one is not. Call it in the transaction of the act.
    """
    if kind in ABOUT_TAKING_BACK and not threshold:
        warnings = TakeBackWarning.objects.filter(allocation=allocation).order_by("-pk")
        threshold = warnings.values_list("pk", flat=True).first() or 0
    projects = Project.objects.filter(pk=allocation.project_id)
    told = people_told(projects, with_representatives=kind in ABOUT_TAKING_BACK)[allocation.project_id]
    declined = who_declined(told)[kind]
    write([Owed(allocation.pk, person, kind, threshold) for person in sorted(told - declined)], at=at)


def people_told(projects: QuerySet[Project], *, with_representatives: bool = False) -> defaultdict[int, set[int]]:
    """Per project, the people who are told of its allocations and may sign in: leads, managers, representatives."""
    told: defaultdict[int, set[int]] = defaultdict(set)
    team = Membership.objects.current().filter(project__in=projects, role__in=TOLD_ROLES, user__is_active=True)
    for project, person in team.order_by().values_list("project", "user"):
        told[project].add(person)
    if with_representatives:
        signing = Representative.objects.filter(
            tenant__projects__in=projects, ended_at__isnull=True, user__is_active=True
        )
        for project, person in signing.order_by().values_list("tenant__projects", "user"):
            told[project].add(person)
    return told


def who_declined(people: Iterable[int]) -> defaultdict[str, set[int]]:
    """Per kind of letter, those of the people who asked not to get it."""
    declined: defaultdict[str, set[int]] = defaultdict(set)
    for kind, person in NoticeOptOut.objects.filter(user__in=people).order_by().values_list("kind", "user"):
        declined[kind].add(person)
    return declined


def write(owed: Iterable[Owed], *, at: datetime) -> None:
    """Write notices that do not stand yet; one that another run wrote meanwhile stays as it is."""
    rows = [Notice(**one._asdict(), due_at=at) for one in owed]
    Notice.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1_000)
