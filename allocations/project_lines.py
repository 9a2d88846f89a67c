"""What a list says of each project in one line: what is left, how fast it goes, what comes next. No query."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from django.utils.translation import gettext as _

from allocations.forecast_words import CardWords
from allocations.quota import Card, Phase
from allocations.scheduling import SchedulerState, Scheduling
from centre.templatetags.portal import grouped, rounded


@dataclass(frozen=True)
class ProjectLine:
    """One project's allocations that are not over yet, told by the one that is most pressing.

    `imports` are the instants of the latest imports behind the figures.
    """

    pressing: Card | None
    count: int
    pace: str
    imports: frozenset[datetime] = frozenset()

    @property
    def scheduling(self) -> Scheduling | None:
        return self.pressing.scheduling if self.pressing else None

    @property
    def sentence(self) -> str:
        """What comes next; it names the GPUs where there is more than one allocation to choose from."""
        if self.pressing is None:
            return _("No GPU-hours to use at the moment.")
        told = CardWords(self.pressing).short
        if self.count == 1:
            return told
        return _("%(pool)s: %(state)s") % {"pool": self.pressing.allocation.pool.gpu_model, "state": told}


def line_of(cards: Iterable[Card]) -> ProjectLine:
    """The line of a project from the cards of its allocations."""
    cards = sorted(cards, key=pressing)
    return ProjectLine(
        pressing=cards[0] if cards else None,
        count=len(cards),
        pace=pace_of(cards),
        imports=frozenset(card.as_of for card in cards if card.as_of),
    )


def pressing(card: Card) -> tuple[int, date]:
    """The order in which a team should look: what stops its jobs, what ends or runs out first, what begins later."""
    if card.phase == Phase.NOT_BEGUN:
        return 2, card.allocation.start_on
    if card.scheduling.state != SchedulerState.OPEN or card.allocation.available_seconds <= 0:
        return 0, card.allocation.end_on
    return 1, min(card.forecast.earliest_on or card.allocation.end_on, card.allocation.end_on)


def pace_of(cards: Iterable[Card]) -> str:
    """GPU-hours per day over the last 7 days, of all allocations together; empty before a full day is known."""
    paces = [card.forecast.short for card in cards if card.forecast.short.days]
    if not paces:
        return ""
    together = sum((pace.per_day for pace in paces), start=paces[0].per_day * 0)
    return grouped(rounded(together.numerator, together.denominator * 3600, 0), 0)
