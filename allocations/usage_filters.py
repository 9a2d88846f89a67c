"""What a team asks its usage and its job runs for: days, pool or allocation, member, how the runs ended.

Everything stands in the address, so that what is shown can be kept, sent and turned into a file.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from allocations.models import Allocation
from allocations.models.usage import Outcome
from centre.days import validate_day
from centre.forms import TextField
from centre.stacked_chart import MOST_BARS

USUAL_DAYS = 30
OF_POOL = "pool:"
MONTHS = 12


class Step(models.TextChoices):
    """What one bar of the chart, and one line of the file, stands for."""

    DAY = "day", pgettext_lazy("step", "Day")
    WEEK = "week", pgettext_lazy("step", "Week")
    MONTH = "month", pgettext_lazy("step", "Month")


class Split(models.TextChoices):
    """What the bars are made of."""

    OUTCOME = "outcome", gettext_lazy("How the runs ended")
    POOL = "pool", gettext_lazy("GPU pool")


def day_field(label: Any) -> forms.DateField:
    return forms.DateField(
        label=label,
        input_formats=["%Y-%m-%d"],
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        validators=[validate_day],
        error_messages={"invalid": gettext_lazy("There is no such day in the calendar. Write it like 2026-01-31.")},
    )


def choice_field(label: Any, choices: Sequence[Any]) -> forms.ChoiceField:
    told = {"invalid_choice": gettext_lazy("“%(value)s” is none of the choices. Choose one from the list.")}
    return forms.ChoiceField(label=label, choices=choices, required=False, error_messages=told)


class UseForm(forms.Form):
    """Days and filters that the usage page and the list of runs share. `today` is the last day there can be.

    Without days the last 30 are meant; without a last day, today; a last day to come is as good as today.
    """

    def __init__(self, asked: Mapping[str, Any], *, allocations: Sequence[Allocation], today: date) -> None:
        self.today = today
        self.allocations = list(allocations)
        data = {name: str(asked.get(name) or "") for name in asked}
        data["to"] = data.get("to") or today.isoformat()
        data["from"] = data.get("from") or usual_first(data["to"], today=today).isoformat()
        super().__init__(data, label_suffix="")
        self.fields["from"] = day_field(self.label_from)
        self.fields["to"] = day_field(self.label_to)
        self.fields["where"] = choice_field(gettext_lazy("Pool or allocation"), self.places())
        self.fields["member"] = TextField(
            label=gettext_lazy("Member"), required=False, max_length=128, widget=forms.Select
        )
        self.fields["outcome"] = choice_field(
            gettext_lazy("How the runs ended"), [("", gettext_lazy("All")), *Outcome.choices]
        )
        self.name_members([])

    label_from: Any = gettext_lazy("From")
    label_to: Any = gettext_lazy("To")

    def places(self) -> list[Any]:
        """What "pool or allocation" offers; pools only where there are several."""
        pools = {row.pool.code: str(row.pool) for row in self.allocations}
        groups: list[Any] = [("", _("All"))]
        if len(pools) > 1:
            groups.append((_("GPU pools"), [(OF_POOL + code, name) for code, name in sorted(pools.items())]))
        groups.append((_("Allocations"), [(row.reference, row.reference) for row in self.allocations]))
        return groups

    def name_members(self, members: Iterable[tuple[str, str]]) -> None:
        """Offer these members, as (user name, text); the one that was asked for stays among them."""
        offered = dict(members)
        asked = self.data.get("member") or ""
        if asked and asked not in offered:
            offered[asked] = asked
        widget = self.fields["member"].widget
        assert isinstance(widget, forms.Select)  # noqa: S101  made above
        widget.choices = [("", _("Everybody")), *offered.items()]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("from"), cleaned.get("to")
        if first and last and last < first:
            self.add_error("to", _("The last day lies before the first, %(first)s.") % {"first": first.isoformat()})
        elif first and first > self.today:
            self.add_error("from", ValidationError(_("This day is still to come.")))
        return cleaned

    @property
    def first(self) -> date:
        day: date = self.cleaned_data["from"]
        return day

    @property
    def last(self) -> date:
        day: date = self.cleaned_data["to"]
        return min(day, self.today)

    @property
    def member(self) -> str:
        return str(self.cleaned_data.get("member") or "")

    @property
    def outcome(self) -> Outcome | None:
        asked = self.cleaned_data.get("outcome")
        return Outcome(asked) if asked else None

    @property
    def where(self) -> list[Allocation]:
        """The allocations that were asked for."""
        asked = str(self.cleaned_data.get("where") or "")
        if asked.startswith(OF_POOL):
            return [row for row in self.allocations if row.pool.code == asked.removeprefix(OF_POOL)]
        return [row for row in self.allocations if asked in {"", row.reference}]

    @property
    def is_narrowed(self) -> bool:
        return any(self.data.get(name) for name in ("where", "member", "outcome"))

    def address(self, **changed: str) -> str:
        """The query of an address that shows this again with something changed, `?` included."""
        asked = {name: self.data.get(name) or "" for name in self.fields} | changed
        return "?" + urlencode({name: value for name, value in asked.items() if value})


def usual_first(last: str, *, today: date) -> date:
    """The first of the days that are shown when only the last one was named."""
    try:
        end = min(date.fromisoformat(last), today)
        return end - timedelta(days=USUAL_DAYS - 1)
    except (ValueError, OverflowError):
        return today - timedelta(days=USUAL_DAYS - 1)


class UsageForm(UseForm):
    """What of a project's usage, in which steps, and what the bars are made of."""

    def __init__(self, asked: Mapping[str, Any], *, allocations: Sequence[Allocation], today: date) -> None:
        super().__init__(asked, allocations=allocations, today=today)
        self.fields["step"] = choice_field(gettext_lazy("A bar for each"), Step.choices)
        self.fields["split"] = choice_field(gettext_lazy("Split by"), Split.choices)
        self.order_fields(["from", "to", "step", "split", "where", "member", "outcome"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not self.errors and len(buckets(self.first, self.last, Step.MONTH)) > MOST_BARS:
            told = _("More than %(months)s months cannot be shown at once. Choose a later first day.")
            self.add_error("from", told % {"months": MOST_BARS})
        return cleaned

    @property
    def asked_step(self) -> Step:
        return Step(self.cleaned_data.get("step") or Step.DAY)

    @property
    def step(self) -> Step:
        """The step that was asked for, or the next coarser one that fits on a screen."""
        steps = list(Step)
        wanted = steps[steps.index(self.asked_step) :]
        return next(step for step in wanted if len(buckets(self.first, self.last, step)) <= MOST_BARS)

    @property
    def split(self) -> Split:
        return Split(self.cleaned_data.get("split") or Split.OUTCOME)

    def presets(self) -> list[tuple[str, str, bool]]:
        """(text, address, whether it is what is shown) of days that are often asked for."""
        today = self.today
        this_month = today.replace(day=1)
        end_of_last = this_month - timedelta(days=1)
        year_ago = (end_of_last.replace(day=1) - timedelta(days=31 * (MONTHS - 2))).replace(day=1)
        choices = (
            (_("Last 7 days"), today - timedelta(days=6), today, Step.DAY),
            (_("Last 30 days"), today - timedelta(days=29), today, Step.DAY),
            (_("This month"), this_month, today, Step.DAY),
            (_("Last month"), end_of_last.replace(day=1), end_of_last, Step.DAY),
            (_("Last 12 months"), year_ago, today, Step.MONTH),
        )
        shown = (self.first, self.last, self.step) if self.is_valid() else None
        return [
            (
                text,
                self.address(**{"from": first.isoformat(), "to": last.isoformat(), "step": step.value}),
                (first, last, step) == shown,
            )
            for text, first, last, step in choices
        ]


def start_of(day: date, step: Step) -> date:
    """The first day of the step that a day lies in; weeks begin on Monday."""
    if step == Step.WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if step == Step.MONTH else day


def buckets(first: date, last: date, step: Step) -> list[tuple[date, date]]:
    """The steps from a first to a last day, both included; the outer ones hold only the days asked for."""
    starts: list[date] = []
    day = first
    # One more than can be shown is enough to know that they are too many.
    while day <= last and len(starts) <= MOST_BARS:
        starts.append(day)
        day = next_start(day, step)
    ends = [start - timedelta(days=1) for start in starts[1:]]
    return list(zip(starts, [*ends, min(last, day - timedelta(days=1))], strict=True))


def next_start(day: date, step: Step) -> date:
    """The first day of the step after the one that a day lies in."""
    if step == Step.DAY:
        return day + timedelta(days=1)
    if step == Step.WEEK:
        return start_of(day, step) + timedelta(days=7)
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
