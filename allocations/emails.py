"""The letter about GPU time: what a person was not told yet of all of their allocations, with the figures of now.

Plain text in the person's language; names and titles are made inert by `centre.emails.one_line`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.core.mail import EmailMessage
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from allocations.models import Allocation, Notice, TakeBackWarning
from allocations.planned_use import Period, beyond_need, planned_from
from centre.emails import absolute, greeted, letter, one_line, project_line
from centre.models import User
from centre.templatetags.portal import gpu_hours, written_instant

Kind = Notice.Kind
MOST_PRESSING = (
    (Kind.TAKEN_BACK, None),
    (Kind.TAKE_BACK_WARNED, None),
    (Kind.USED_SHARE, 100),
    (Kind.DAYS_LEFT, 7),
    (Kind.USED_SHARE, 90),
    (Kind.DAYS_LEFT, 14),
    (Kind.USED_SHARE, 75),
    (Kind.DAYS_LEFT, 30),
)
"""In which order a letter tells; a take-back is pressing whatever its number."""


@dataclass(frozen=True)
class Said:
    """A sentence about what is, and what to do about it."""

    what: str
    do: str


@dataclass(frozen=True)
class Part:
    """What a letter says of one allocation: plain lines, in the current language."""

    heading: str
    allocation: str
    said: Sequence[Said]
    figures: str
    as_of: str
    period: str
    link: str


def about_gpu_time(
    *,
    user: User,
    owed: Sequence[Notice],
    warnings: Mapping[int, TakeBackWarning],
    books_as_of: Mapping[int, datetime],
    at: datetime,
) -> EmailMessage:
    """One letter of everything that a person is owed (at least one notice), the most pressing first.

    The notices come with allocation, project, pool and cluster; `warnings` are those that take-backs name,
    `books_as_of` says of each cluster how far its usage was imported.
    """
    per_allocation: defaultdict[int, list[Notice]] = defaultdict(list)
    for notice in sorted(owed, key=lambda notice: (pressing(notice), notice.allocation.end_on, notice.pk)):
        per_allocation[notice.allocation_id].append(notice)
    with override(user.language):
        parts = [part_of(notices, warnings, books_as_of, at) for notices in per_allocation.values()]
        context = {
            "name": greeted(user.name),
            "subject": subject_of(parts),
            "parts": parts,
            "choose_link": absolute(reverse("notices")),
        }
        return letter("gpu_time", user, context)


def pressing(notice: Notice) -> int:
    """How far down a letter it stands."""
    threshold = None if notice.kind in Notice.ABOUT_TAKING_BACK else notice.threshold
    return MOST_PRESSING.index((Kind(notice.kind), threshold))


def subject_of(parts: Sequence[Part]) -> str:
    """The most pressing sentence where there is one allocation, else how many there are."""
    if len(parts) == 1:
        return _("%(allocation)s: %(what)s") % {"allocation": parts[0].allocation, "what": parts[0].said[0].what}
    return ngettext(
        "GPU-hours: %(count)s allocation needs a look", "GPU-hours: %(count)s allocations need a look", len(parts)
    ) % {"count": len(parts)}


def part_of(
    notices: Sequence[Notice],
    warnings: Mapping[int, TakeBackWarning],
    books_as_of: Mapping[int, datetime],
    at: datetime,
) -> Part:
    """What is said of one allocation; of several thresholds of a kind only the most pressing, which comes first."""
    allocation = notices[0].allocation
    today = at.astimezone(allocation.pool.cluster.zone).date()
    named = {notice.kind: notice for notice in reversed(notices)}
    figures = _("Used: %(used)s of %(granted)s GPU-hours. Left: %(left)s.") % {
        "used": gpu_hours(allocation.used_seconds),
        "granted": gpu_hours(allocation.granted_seconds),
        "left": gpu_hours(allocation.available_seconds),
    }
    if allocation.held_seconds:
        figures += " " + _("Held: %(held)s.") % {"held": gpu_hours(allocation.held_seconds)}
    as_of = books_as_of.get(allocation.pool.cluster_id)
    return Part(
        heading=project_line(allocation.project),
        allocation=one_line(
            _("%(reference)s (%(model)s GPUs)")
            % {"reference": allocation.reference, "model": allocation.pool.gpu_model}
        ),
        said=[say(notice, warnings.get(notice.threshold), today) for notice in notices if named[notice.kind] is notice],
        figures=figures,
        as_of=_("(As of %(instant)s)") % {"instant": written_instant(as_of)} if as_of else "",
        period=_("First day: %(first)s. Last day: %(last)s.")
        % {"first": written_day(allocation.start_on), "last": written_day(allocation.end_on)},
        link=absolute(allocation.project.get_absolute_url()),
    )


def say(notice: Notice, warning: TakeBackWarning | None, today: date) -> Said:
    """A notice in words, with the figures of now."""
    if notice.kind == Kind.USED_SHARE:
        return say_used(notice.allocation)
    if notice.kind == Kind.DAYS_LEFT:
        return say_days_left(notice.allocation, today)
    return say_taken(warning) if notice.kind == Kind.TAKEN_BACK else say_warned(notice.allocation, warning)


def say_used(allocation: Allocation) -> Said:
    if allocation.used_seconds > allocation.granted_seconds:
        over = allocation.used_seconds - allocation.granted_seconds
        return Said(
            _("All GPU-hours are used, and %(over)s more.") % {"over": gpu_hours(over)},
            _("Job runs that go on are still charged. Stop what need not run, and ask the centre for more GPU-hours."),
        )
    percent = allocation.used_seconds * 100 // max(1, allocation.granted_seconds)
    if percent >= 100:
        return Said(
            _("All GPU-hours are used."),
            _("Job runs that go on are still charged. Stop what need not run, or ask the centre for more GPU-hours."),
        )
    return Said(
        _("%(percent)s %% of the GPU-hours are used.") % {"percent": percent},
        _("Look at what the team still plans to run. If what is left will not do, ask the centre for more in time."),
    )


def say_days_left(allocation: Allocation, today: date) -> Said:
    left = allocation.days_left(on=today)
    what = (
        ngettext("%(days)s day is left, today included.", "%(days)s days are left, today included.", left)
        % {"days": left}
        if left
        else _("The period is over.")
    )
    return Said(
        what,
        _(
            "Run what you still need before the last day ends. The rule of the GPU pool says "
            "whether unused GPU-hours are carried over or lost."
        ),
    )


def would_be_taken(allocation: Allocation, *, on: date) -> int:
    """GPU-seconds beyond the planned remainder on a day, if nothing more were used until then."""
    period = Period(allocation.start_on, allocation.end_on)
    remainder = planned_from(on, granted=allocation.granted_seconds, period=period)
    return beyond_need(available=allocation.available_seconds, remainder=remainder)


def say_warned(allocation: Allocation, warning: TakeBackWarning | None) -> Said:
    if warning is None:
        return Said(_("Unused GPU-hours will be taken back."), _("Ask the centre when, and how many."))
    return Said(
        _("Unused GPU-hours will be taken back on %(day)s, unless the use catches up.")
        % {"day": written_day(warning.due_on)},
        _(
            "Until %(checked)s the team used %(used)s GPU-hours, where an even pace would have used %(planned)s. "
            "On %(day)s the centre takes back what is then left beyond what an even pace needs until the last day: "
            "%(takes)s GPU-hours if nothing more is used. "
            "Use the GPU-hours before, or tell the centre why they are needed later."
        )
        % {
            "checked": written_day(warning.checked_on),
            "used": gpu_hours(warning.used_seconds),
            "planned": gpu_hours(warning.planned_seconds),
            "day": written_day(warning.due_on),
            "takes": gpu_hours(would_be_taken(allocation, on=warning.due_on)),
        },
    )


def say_taken(warning: TakeBackWarning | None) -> Said:
    do = _("What is left stays yours until the last day. If the team will need more, ask the centre.")
    if warning is None or warning.entry is None:
        return Said(_("Unused GPU-hours were taken back."), do)
    return Said(
        _("%(hours)s unused GPU-hours were taken back on %(day)s.")
        % {"hours": gpu_hours(abs(warning.entry.seconds)), "day": written_day(warning.entry.effective_on)},
        do,
    )


def written_day(day: date) -> str:
    return date_format(day, "DATE_FORMAT")
