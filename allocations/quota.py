"""What a project's page says of each allocation: the card, its badge, and what to do next. Plain facts, no query."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property

from django.db.models import TextChoices
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from allocations.forecast import Forecast, forecast, planned_by
from allocations.models import Allocation, ChangeRequest, TakeBackWarning
from allocations.planned_use import Period, beyond_need, planned_from, planned_through, still_to_use
from allocations.request_words import asked_text
from allocations.scheduling import Scheduling, scheduling_of
from centre.charts import Bar, BarChart, QuotaBar
from centre.models import GpuPool, Project
from centre.models.tenants import Standing
from centre.templatetags.portal import gpu_hours

ENDS_SOON_DAYS = 30
NEARLY_USED_BP = 9_000  # from here on the team is told: basis points of what was granted
CHART_DAYS = 30


class Phase(TextChoices):
    """Where an allocation stands for its team: state, period and hours in one word."""

    SUSPENDED = "suspended", gettext_lazy("Suspended")
    CLOSED = "closed", gettext_lazy("Closed")
    ENDED = "ended", gettext_lazy("Ended")
    NOT_BEGUN = "not_begun", gettext_lazy("Not begun yet")
    OVERDRAWN = "overdrawn", gettext_lazy("Overdrawn")
    USED_UP = "used_up", gettext_lazy("Used up")
    ENDS_SOON = "ends_soon", gettext_lazy("Ends soon")
    NEARLY_USED = "nearly_used", gettext_lazy("Nearly used up")
    OPEN = "open", gettext_lazy("Open")


TONES = {
    Phase.SUSPENDED: "bad",
    Phase.CLOSED: "quiet",
    Phase.ENDED: "quiet",
    Phase.NOT_BEGUN: "info",
    Phase.OVERDRAWN: "bad",
    Phase.USED_UP: "warn",
    Phase.ENDS_SOON: "warn",
    Phase.NEARLY_USED: "warn",
    Phase.OPEN: "ok",
}
STANDING_TONES = {Standing.ACTIVE: "ok", Standing.SUSPENDED: "bad", Standing.CLOSED: "quiet"}


@dataclass(frozen=True)
class Card:
    """One allocation as its team reads it on a day.

    `running` is the part of used that belongs to unfinished runs; `account_is_shared` says that runs of
    its Slurm account may be another project's; `as_of` is how far the cluster's books reach; `when_used_up` is the
    centre's rule for new jobs; `per_day` are the GPU-seconds used on each of the last days (at least 30 full ones);
    `warning` says that unused hours will be taken back.
    """

    project: Project
    allocation: Allocation
    running: int
    account_is_shared: bool
    on: date
    as_of: datetime | None
    when_used_up: str
    per_day: Mapping[date, int] = field(default_factory=dict)
    warning: TakeBackWarning | None = None

    @property
    def bar(self) -> QuotaBar:
        allocation = self.allocation
        return QuotaBar(
            granted=allocation.granted_seconds,
            used=allocation.used_seconds,
            running=self.running,
            held=allocation.held_seconds,
            planned=self.planned,
        )

    @property
    def period(self) -> Period:
        return Period(self.allocation.start_on, self.allocation.end_on)

    @property
    def books_reach(self) -> datetime | None:
        """The instant of the latest import in the time of the cluster, by which its days are counted."""
        return self.as_of.astimezone(self.allocation.pool.cluster.zone) if self.as_of else None

    @property
    def planned(self) -> int | None:
        """What an even use would have used when the books end; None before the period, or without any import."""
        if self.books_reach is None or self.allocation.start_on > self.on:
            return None
        return planned_by(self.books_reach, granted=self.allocation.granted_seconds, period=self.period)

    @cached_property
    def forecast(self) -> Forecast:
        return forecast(
            available=self.allocation.available_seconds,
            used=self.allocation.used_seconds,
            per_day=self.per_day,
            as_of=self.books_reach,
            today=self.on,
            period=self.period,
        )

    @cached_property
    def scheduling(self) -> Scheduling:
        return scheduling_of(self.allocation, on=self.on, when_used_up=self.when_used_up)

    @property
    def days_left(self) -> int:
        return self.allocation.days_left(on=self.on)

    @property
    def phase(self) -> Phase:
        allocation = self.allocation
        states = {allocation.state, self.project.standing}
        ordered = (
            (Phase.CLOSED, Allocation.State.CLOSED in states or Standing.CLOSED in states),
            (Phase.SUSPENDED, Allocation.State.SUSPENDED in states or Standing.SUSPENDED in states),
            (Phase.OVERDRAWN, allocation.is_overdrawn),
            (Phase.ENDED, allocation.end_on < self.on),
            (Phase.NOT_BEGUN, allocation.start_on > self.on),
            (Phase.USED_UP, allocation.available_seconds == 0),
            (Phase.ENDS_SOON, self.days_left <= ENDS_SOON_DAYS),
            (Phase.NEARLY_USED, self.is_nearly_used),
        )
        return next((phase for phase, holds in ordered if holds), Phase.OPEN)

    @property
    def is_nearly_used(self) -> bool:
        """Nine tenths of what was granted, or more, are used or held."""
        allocation = self.allocation
        taken = allocation.used_seconds + allocation.held_seconds
        return taken * 10_000 >= allocation.granted_seconds * NEARLY_USED_BP

    @property
    def tone(self) -> str:
        return TONES[self.phase]

    @property
    def is_over(self) -> bool:
        """Closed, or its period has passed: told in one line instead of a card."""
        return self.allocation.state == Allocation.State.CLOSED or self.allocation.end_on < self.on


@dataclass(frozen=True)
class NextStep:
    """A sentence about what happened and one about what to do; `tone` as of a note (warn, bad, info).

    `request` is what the team asked the centre for already, which helps against it and still waits.
    """

    tone: str
    what: str
    do: str
    request: ChangeRequest | None = None


def next_steps(project: Project, cards: Iterable[Card], waiting: Sequence[ChangeRequest] = ()) -> list[NextStep]:
    """What the team has to know before it starts the next job, the most pressing first.

    `waiting` are its requests that are not answered yet, with their allocations.
    """
    if project.standing == Standing.CLOSED:
        return [NextStep("info", _("This project is closed."), _("What you see here is kept as a record."))]
    if project.standing == Standing.SUSPENDED:
        return [NextStep("bad", _("This project is suspended."), _("Talk to the centre before you start new jobs."))]
    steps = []
    current = [card for card in cards if not card.is_over]
    for step_of in (next_step, take_back_step):
        steps += [asked_already(card, step, waiting) for card in current if (step := step_of(card)) is not None]
    if not any(card.allocation.start_on <= card.on for card in current):
        steps.append(no_hours(current))
    return sorted(steps, key=lambda step: ("bad", "warn", "info").index(step.tone))


def no_hours(upcoming: Sequence[Card]) -> NextStep:
    """Nothing can be used today; perhaps something begins later."""
    if upcoming:
        first = min(card.allocation.start_on for card in upcoming)
        what = _("The GPU-hours of this project can be used from %(day)s on.") % {"day": day_text(first)}
        return NextStep("info", what, _("Jobs that run before that day are not covered."))
    what = _("This project has no GPU-hours to use at the moment.")
    return NextStep("info", what, _("Ask the centre for an allocation when you are ready to begin."))


HELPS = {
    Phase.OVERDRAWN: frozenset({ChangeRequest.Kind.TOP_UP, ChangeRequest.Kind.TRANSFER}),
    Phase.USED_UP: frozenset({ChangeRequest.Kind.TOP_UP, ChangeRequest.Kind.TRANSFER}),
    Phase.NEARLY_USED: frozenset({ChangeRequest.Kind.TOP_UP, ChangeRequest.Kind.TRANSFER}),
    Phase.ENDS_SOON: frozenset({ChangeRequest.Kind.EXTENSION}),
}
"""What a team can ask for against what an allocation tells it."""


def asked_already(card: Card, step: NextStep, waiting: Iterable[ChangeRequest]) -> NextStep:
    """The step of an allocation's phase, saying of what helps against it that it was asked for, instead of to ask."""
    number = card.allocation.pk
    for request in waiting:
        gets = request.to_allocation_id if request.kind == ChangeRequest.Kind.TRANSFER else request.allocation_id
        if gets == number and request.kind in HELPS.get(card.phase, ()):
            said = {"day": day_text(timezone.localdate(request.asked_at)), "asked": asked_text(request)}
            do = _("A request has waited for the centre’s answer since %(day)s: %(asked)s.") % said
            return replace(step, do=do, request=request)
    return step


def next_step(card: Card) -> NextStep | None:
    """What one allocation asks of its team; None when all is well."""
    allocation = card.allocation
    named = {"pool": allocation.pool.gpu_model, "reference": allocation.reference}
    match card.phase:
        case Phase.SUSPENDED:
            what = _("The allocation %(reference)s on %(pool)s is suspended.") % named
            return NextStep("bad", what, _("Talk to the centre before you start new jobs."))
        case Phase.OVERDRAWN:
            hours = gpu_hours(-allocation.available_seconds)
            what = _("%(pool)s is overdrawn: %(hours)s GPU-hours more were used than granted.") % {
                **named,
                "hours": hours,
            }
            return NextStep("bad", what, _("Ask the centre for more hours before you start new jobs."))
        case Phase.USED_UP:
            what = _("All GPU-hours on %(pool)s are used.") % named
            return NextStep("warn", what, _("Ask the centre for more hours before you start new jobs."))
        case Phase.ENDS_SOON:
            days = (allocation.end_on - card.on).days
            soon = _("The period on %(pool)s ends in %(days)s days, on %(day)s, with %(hours)s GPU-hours left.")
            if days == 0:
                soon = _("Today is the last day of the period on %(pool)s. %(hours)s GPU-hours are left.")
            elif days == 1:
                soon = _("The period on %(pool)s ends tomorrow, on %(day)s, with %(hours)s GPU-hours left.")
            what = soon % {
                **named,
                "days": days,
                "day": day_text(allocation.end_on),
                "hours": gpu_hours(allocation.available_seconds),
            }
            return NextStep("warn", what, _("Plan your last jobs, or ask the centre in good time if you need longer."))
        case Phase.NEARLY_USED:
            what = _("The hours on %(pool)s are nearly used up: %(left)s of %(granted)s GPU-hours left.") % {
                **named,
                "left": gpu_hours(allocation.available_seconds),
                "granted": gpu_hours(allocation.granted_seconds),
            }
            return NextStep("warn", what, _("Ask the centre for more hours in good time, if you need them."))
    return None


def take_back_step(card: Card) -> NextStep | None:
    """Unused hours will be taken back by rule; how many, when, and how much use averts it."""
    allocation, warning = card.allocation, card.warning
    if warning is None or allocation.state != Allocation.State.OPEN:
        return None
    granted, period = allocation.granted_seconds, Period(allocation.start_on, allocation.end_on)
    remainder = planned_from(warning.due_on, granted=granted, period=period)
    takes = beyond_need(available=allocation.available_seconds, remainder=remainder)
    wanted = still_to_use(
        used=allocation.used_seconds,
        planned=planned_through(warning.due_on - timedelta(days=1), granted=granted, period=period),
        under_bp=warning.rule.under_bp,
    )
    if not takes or not wanted:
        return None
    what = _(
        "%(hours)s unused GPU-hours on %(pool)s will be taken back on %(day)s unless %(wanted)s more are used before."
    ) % {
        "hours": gpu_hours(takes),
        "pool": allocation.pool.gpu_model,
        "day": day_text(warning.due_on),
        "wanted": gpu_hours(-(-wanted // 3600) * 3600),
    }
    return NextStep("warn", what, _("Use them in time, or tell the centre why you will need them later."))


def usage_chart(*, title: str, per_day: dict[date, int], last_on: date) -> BarChart:
    """GPU-hours used on each of the 30 days that end on `last_on`; `per_day` are GPU-seconds."""
    days = [last_on - timedelta(days=ago) for ago in range(CHART_DAYS - 1, -1, -1)]
    bars = [
        Bar(
            label=day_text(day),
            short_label=date_format(day, "MONTH_DAY_FORMAT"),
            value=per_day.get(day, 0),
            shown=gpu_hours(per_day.get(day, 0), 1),
        )
        for day in days
    ]
    return BarChart(title=title, unit=_("GPU-hours"), bars=bars, per_unit=3600)


def day_today(pool: GpuPool, at: datetime) -> date:
    """The accounting day of a pool's cluster at an instant."""
    return at.astimezone(pool.cluster.zone).date()


def day_text(day: date) -> str:
    return date_format(day, "DATE_FORMAT")


def whole_day(day: date) -> str:
    """A day that is not broken over two lines, for a heading on a phone."""
    return day_text(day).replace(" ", "\N{NO-BREAK SPACE}")
