"""Who is owed which letter about an allocation, and that each gets it once.

A notice is a row: this person is told of this allocation that this threshold is crossed. `find_due` writes a row for
every threshold that is crossed, whatever nights were missed, and marks as over what no longer holds, so that it is told
again when it holds again. `send` puts all that a person has not been told yet into one letter.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import QuerySet

from allocations.emails import about_gpu_time
from allocations.models import Allocation, Notice, NoticeOptOut, TakeBackWarning, UsageImport
from allocations.movements import accounting_day
from centre import audit, emails
from centre.models import Membership, Project, Representative, User

Kind = Notice.Kind
USED_PERCENT = (75, 90, 100)
DAYS_LEFT = (30, 14, 7)


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
    if kind in Notice.ABOUT_TAKING_BACK and not threshold:
        warnings = TakeBackWarning.objects.filter(allocation=allocation).order_by("-pk")
        threshold = warnings.values_list("pk", flat=True).first() or 0
    projects = Project.objects.filter(pk=allocation.project_id)
    told = people_told(projects, with_representatives=kind in Notice.ABOUT_TAKING_BACK)[allocation.project_id]
    declined = who_declined(told)[kind]
    write([Owed(allocation.pk, person, kind, threshold) for person in sorted(told - declined)], at=at)


@transaction.atomic
def find_due(*, at: datetime) -> None:
    """Write down what is crossed and not on record, and mark as over what does not hold any more.

    Looked at are the open allocations in their period, each on its cluster's day. Whatever nights were missed, every
    threshold that is crossed by now is recorded, so that a lower one is not told later. What no longer holds, after a
    top-up or a longer period, or for somebody who left the team, is marked as over and told again when it holds again;
    somebody who joined is told what stands. The number of queries does not depend on how much there is.
    """
    nearby = Allocation.objects.filter(
        state=Allocation.State.OPEN,
        granted_seconds__gt=0,
        start_on__lte=at.date() + timedelta(days=1),  # a cluster's day may be one off that of UTC
        end_on__gte=at.date() - timedelta(days=1),
    )
    crossed = {}
    for allocation in nearby.select_related("pool__cluster"):
        today = accounting_day(allocation, at)
        if allocation.start_on <= today <= allocation.end_on:
            crossed[allocation.pk] = (allocation.project_id, crossed_by(allocation, on=today))
    told = people_told(Project.objects.filter(allocations__in=nearby))
    declined = who_declined(set().union(*told.values()))
    hold = {
        Owed(allocation, person, kind, threshold)
        for allocation, (project, thresholds) in crossed.items()
        for kind, threshold in thresholds
        for person in told[project]
    }
    standing = {
        Owed(*row): pk
        for pk, *row in Notice.objects.standing()
        .filter(kind__in=Notice.CAN_BE_DECLINED, allocation__in=nearby)
        .values_list("pk", *Owed._fields)
    }
    over = [pk for owed, pk in standing.items() if owed.allocation_id in crossed and owed not in hold]
    clear(Notice.objects.filter(pk__in=over), at=at)
    settled = TakeBackWarning.objects.filter(settled_at__isnull=False)
    warned = Notice.objects.filter(kind=Kind.TAKE_BACK_WARNED, sent_at__isnull=True)
    clear(warned.filter(threshold__in=settled.values("pk")), at=at)
    write(sorted(owed for owed in hold - standing.keys() if owed.user_id not in declined[owed.kind]), at=at)


def crossed_by(allocation: Allocation, *, on: date) -> list[tuple[Notice.Kind, int]]:
    """The thresholds that an allocation has crossed on a day of its period, in whole numbers."""
    used, granted, left = allocation.used_seconds, allocation.granted_seconds, allocation.days_left(on=on)
    shares = [(Kind.USED_SHARE, percent) for percent in USED_PERCENT if used * 100 >= percent * granted]
    return [*shares, *((Kind.DAYS_LEFT, days) for days in DAYS_LEFT if left <= days)]


def people_told(projects: QuerySet[Project], *, with_representatives: bool = False) -> defaultdict[int, set[int]]:
    """Per project, the people who are told of its allocations and may sign in: leads, managers, representatives."""
    told: defaultdict[int, set[int]] = defaultdict(set)
    team = Membership.objects.current().filter(project__in=projects, role__in=Notice.TOLD_ROLES, user__is_active=True)
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


def clear(notices: QuerySet[Notice], *, at: datetime) -> None:
    """Mark standing notices as over."""
    notices.filter(cleared_at__isnull=True).update(cleared_at=at)


@dataclass
class Sending:
    """What came of a run: people whose letter was handed over, and people whose could not be."""

    sent: list[User] = field(default_factory=list)
    undelivered: list[User] = field(default_factory=list)


def send(*, at: datetime) -> Sending:
    """One letter to each person with all that they were not told yet; each by itself, so that none waits for another.

    The notices of a person are locked, marked as sent and handed to the mail server in one transaction. Of two runs at
    once the second finds them taken and passes on. A letter that cannot be delivered leaves its notices unsent, for the
    next night. A run that is killed loses nothing. It may tell one person twice: when it dies after the mail server
    took the letter and before the transaction is committed, that person's letter goes out again the next night; e-mail
    offers no way to do both at once.
    """
    result = Sending()
    books_as_of = UsageImport.objects.latest_as_of()
    for user in User.objects.filter(pk__in=Notice.objects.to_send().values("user")).order_by("pk"):
        with transaction.atomic():
            letter = take_letter(user, books_as_of, at=at)
            if letter is None:
                continue
            if emails.deliver([(user, letter)], at=at):
                transaction.set_rollback(True)
                result.undelivered.append(user)
            else:
                result.sent.append(user)
    return result


def take_letter(user: User, books_as_of: Mapping[int, datetime], *, at: datetime) -> EmailMessage | None:
    """Mark a person's unsent notices as sent and put them into a letter; None when another run has them."""
    owed = list(
        Notice.objects.to_send()
        .filter(user=user)
        .select_for_update(skip_locked=True, of=("self",))
        .select_related("allocation__project", "allocation__pool__cluster")
        .order_by("pk")
    )
    if not owed:
        return None
    Notice.objects.filter(pk__in=[notice.pk for notice in owed]).update(sent_at=at)
    return about_gpu_time(user=user, owed=owed, warnings=warnings_of(owed), books_as_of=books_as_of, at=at)


def warnings_of(owed: Iterable[Notice]) -> dict[int, TakeBackWarning]:
    """The take-back warnings that notices are about, by number."""
    named = [notice.threshold for notice in owed if notice.kind in Notice.ABOUT_TAKING_BACK]
    return TakeBackWarning.objects.select_related("entry").in_bulk(named) if named else {}


@transaction.atomic
def choose_letters(*, user: User, wanted: Collection[str], at: datetime) -> None:
    """Say which of the letters that can be declined a person wants; what waits of the others is not sent any more.

    `wanted` are kinds of `Notice.CAN_BE_DECLINED`; every other of them is declined.
    """
    before = list(NoticeOptOut.objects.filter(user=user).order_by("kind").values_list("kind", flat=True))
    after = sorted(kind for kind in Notice.CAN_BE_DECLINED if kind not in wanted)
    if before == after:
        return
    NoticeOptOut.objects.filter(user=user, kind__in=wanted).delete()
    fresh = [NoticeOptOut(user=user, kind=kind, since=at) for kind in after if kind not in before]
    NoticeOptOut.objects.bulk_create(fresh, ignore_conflicts=True)
    clear(Notice.objects.filter(user=user, kind__in=after, sent_at__isnull=True), at=at)
    changes = {"letters_declined": [", ".join(before), ", ".join(after)]}
    audit.record(act="choose_letters", on=user, by=user, at=at, changes=changes)
