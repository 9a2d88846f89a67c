"""Pace, forecast and plan of an allocation as sentences for its team. No query."""

from dataclasses import dataclass
from datetime import date

from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from allocations.forecast import Forecast, Outlook, Pace
from allocations.quota import Card, Phase
from allocations.scheduling import SchedulerState, Why
from centre.templatetags.portal import gpu_hours, grouped, rounded

FEW_HOURS = 10  # below so many GPU-hours a day, a pace is told with one decimal


@dataclass(frozen=True)
class PaceFigure:
    """A pace as it is shown: GPU-hours per day, and over which days."""

    hours: str
    over: str


@dataclass(frozen=True)
class CardWords:
    """What the card of one allocation says about its end."""

    card: Card

    @property
    def forecast(self) -> Forecast:
        return self.card.forecast

    @property
    def is_stopped(self) -> bool:
        """Nothing can be foretold while no job may start: suspended, by whomever."""
        scheduling = self.card.scheduling
        beyond = {Why.USED_UP, Why.NOT_BEGUN, Why.ENDED}
        return scheduling.state == SchedulerState.BLOCKED and scheduling.why not in beyond

    @cached_property
    def short(self) -> str:  # noqa: PLR0911  one line per outlook
        """The state of the allocation in one sentence, as in a list."""
        if self.is_stopped:
            return str(self.card.scheduling.why.label)
        if self.card.phase == Phase.OVERDRAWN:
            over = gpu_hours(-self.card.allocation.available_seconds)
            return _("Overdrawn by %(hours)s GPU-hours.") % {"hours": over}
        ends = self.day(self.card.allocation.end_on)
        match self.forecast.outlook:
            case Outlook.NOTHING_LEFT:
                return _("All GPU-hours are used.")
            case Outlook.NOT_BEGUN:
                return _("Can be used from %(day)s on.") % {"day": self.day(self.card.allocation.start_on)}
            case Outlook.RUNS_OUT | Outlook.MAY_RUN_OUT:
                return _("%(runs_out)s.") % {"runs_out": self.answer}
            case Outlook.LASTS:
                return _("Lasts until the period ends on %(day)s.") % {"day": ends}
            case Outlook.NO_USAGE_YET:
                return _("No usage yet. The period ends on %(day)s.") % {"day": ends}
            case Outlook.NO_RECENT_USAGE:
                return _("No usage lately. The period ends on %(day)s.") % {"day": ends}
        return _("The period ends on %(day)s.") % {"day": ends}

    @property
    def answer(self) -> str:  # noqa: PLR0911  one line per outlook
        """When the hours run out, in a few words without a full stop."""
        if self.is_stopped:
            return _("No forecast while jobs cannot start")
        told = self.forecast
        match told.outlook:
            case Outlook.RUNS_OUT if told.earliest_on == told.latest_on == self.card.on:
                return _("Runs out today")
            case Outlook.RUNS_OUT if told.earliest_on == told.latest_on:
                return _("Runs out on %(day)s") % {"day": self.day(told.latest_on)}
            case Outlook.RUNS_OUT:
                days = {"first": self.day(told.earliest_on), "last": self.day(told.latest_on)}
                return _("Runs out between %(first)s and %(last)s") % days
            case Outlook.MAY_RUN_OUT:
                return _("Runs out on %(day)s at the earliest") % {"day": self.day(told.earliest_on)}
            case Outlook.LASTS:
                return _("Lasts until the period ends")
            case Outlook.NOTHING_LEFT:
                return _("Nothing is left")
            case Outlook.NOT_BEGUN:
                return _("Not begun yet")
            case Outlook.NO_USAGE_YET:
                return _("No usage yet")
            case Outlook.NO_RECENT_USAGE:
                return _("No usage in %(days)s") % {"days": days_text(told.long.days)}
            case Outlook.NO_BOOKS:
                return _("No usage known yet")
        return _("Too early to tell")

    @property
    def because(self) -> str:  # noqa: PLR0911  one line per outlook
        """At which pace, and what is left over then; empty where there is nothing to add."""
        told = self.forecast
        if self.is_stopped:
            return ""
        match told.outlook:
            case Outlook.RUNS_OUT:
                return _("at the pace of %(days)s.") % {"days": self.both_windows}
            case Outlook.MAY_RUN_OUT:
                return _(
                    "at the pace of %(faster)s. At the pace of %(slower)s it lasts until the period ends, with about "
                    "%(hours)s GPU-hours left over."
                ) % {
                    "faster": days_text(told.faster.days),
                    "slower": days_text(told.slower.days),
                    "hours": gpu_hours(told.left_over_most),
                }
            case Outlook.LASTS:
                return self.left_over
            case Outlook.NO_USAGE_YET:
                return _("When it runs out can be told once a full day of use is known.")
            case Outlook.TOO_EARLY | Outlook.NO_BOOKS:
                return _("The pace is known once the records of a full day have come in.")
            case Outlook.NO_RECENT_USAGE:
                return _("Nothing runs out while nothing is used.")
        return ""

    @property
    def left_over(self) -> str:
        """What lasts beyond the period, at both paces."""
        least, most = gpu_hours(self.forecast.left_over_least), gpu_hours(self.forecast.left_over_most)
        if least == most:
            return _("with about %(hours)s GPU-hours left over, at the pace of %(days)s.") % {
                "hours": most,
                "days": self.both_windows,
            }
        return _("with about %(least)s to %(most)s GPU-hours left over, at the pace of %(days)s.") % {
            "least": least,
            "most": most,
            "days": self.both_windows,
        }

    @property
    def both_windows(self) -> str:
        """The days over which both paces were taken: the last 7 to 30 days, or fewer of a young allocation."""
        short, long = self.forecast.short.days, self.forecast.long.days
        if short == long:
            return days_text(long)
        return _("the last %(short)s to %(long)s days") % {"short": short, "long": long}

    @property
    def paces(self) -> list[PaceFigure]:
        """The pace over 7 and over 30 days; one of them where the allocation has no more days, none without a day."""
        told = self.forecast
        shown = [told.short] if told.short.days == told.long.days else [told.short, told.long]
        return [PaceFigure(pace_text(pace), days_text(pace.days)) for pace in shown if pace.days]

    @property
    def plan(self) -> str:
        """How use stands to an even use of the period; empty where there is no plan to compare with."""
        planned = self.card.planned
        if planned is None:
            return ""
        ahead = self.card.allocation.used_seconds - planned
        hours = gpu_hours(abs(ahead))
        if rounded(abs(ahead), 3600, 0) == 0:
            return _("As much is used as an even use of the period would have used.")
        if ahead > 0:
            return _("%(hours)s GPU-hours ahead of an even use of the period.") % {"hours": hours}
        return _("%(hours)s GPU-hours behind an even use of the period.") % {"hours": hours}

    def day(self, day: date | None) -> str:
        """A day to come, without its year where that is the present one."""
        if day is None:
            return ""
        return date_format(day, "MONTH_DAY_FORMAT" if day.year == self.card.on.year else "DATE_FORMAT")


def pace_text(pace: Pace) -> str:
    """GPU-hours per day, with a decimal where it is few."""
    if not pace.days:
        return gpu_hours(0)
    places = 1 if 0 < pace.per_day < FEW_HOURS * 3600 else 0
    return grouped(rounded(pace.seconds, pace.days * 3600, places), places)


def days_text(days: int) -> str:
    """The days of one pace: the last 7 days."""
    return ngettext("the last %(days)s day", "the last %(days)s days", days) % {"days": days}
