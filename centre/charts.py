"""Small charts drawn on the server: what the templates under `components/` need, worked out in whole numbers.

Geometry is a percentage of the drawing's width, or whole pixels of its height, so that type keeps its size when the
drawing becomes narrow. Stored values (GPU-seconds, cents) are only ever compared and divided as integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import count

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise
DAY: Text = _("Day")

PLOT_HEIGHT = 160  # pixels between the zero line and the highest grid line
GAP_ABOVE = 8  # pixels above the highest grid line, so that its label and a full bar fit
WIDEST_BAR = Fraction(12)  # percent of the width: a lone bar is not a wall
LABELS_SHOWN = 5


def percentage(part: int, whole: int) -> str:
    """A share as text with three decimals and no unit, cut, never above 100: an SVG length once `%` is added."""
    thousandths = min(max(part * 100_000 // whole, 0), 100_000) if whole > 0 else 0
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def whole_percent(part: int, whole: int) -> int:
    """A share in whole per cent, half up; 0 of nothing."""
    return (part * 200 + whole) // (whole * 2) if whole > 0 else 0


# ---------------------------------------------------------------------------------------------- one allocation


@dataclass(frozen=True)
class Part:
    """One stretch of a quota bar: where it begins and how wide it is, in per cent of the bar."""

    name: str
    label: Text
    seconds: int
    start: str
    width: str


@dataclass(frozen=True)
class QuotaBar:
    """What was granted and where it went, in GPU-seconds.

    `used` includes `running`; `planned` is what should be used by now.
    The bar is as long as what was granted, or longer where more was used and held than that.
    """

    granted: int
    used: int
    running: int = 0
    held: int = 0
    planned: int | None = None

    @property
    def left(self) -> int:
        """What can still be used; below zero when overdrawn."""
        return self.granted - self.used - self.held

    @property
    def overdrawn(self) -> int:
        """How far use and holds went past the grant; 0 when they did not."""
        return max(-self.left, 0)

    @property
    def length(self) -> int:
        """GPU-seconds that the whole bar stands for."""
        return max(self.granted, self.used + self.held)

    @property
    def parts(self) -> list[Part]:
        """The stretches from left to right: used, running now, held, left. Those of nothing are left out."""
        drawn = []
        begin = 0
        for name, label, seconds in (
            ("used", _("used"), self.used - self.running),
            ("running", _("running now"), self.running),
            ("held", _("held"), self.held),
            ("left", _("left"), max(self.left, 0)),
        ):
            if seconds > 0:
                width = percentage(begin + seconds, self.length), percentage(begin, self.length)
                drawn.append(Part(name, label, seconds, width[1], difference(*width)))
                begin += seconds
        return drawn

    @property
    def over_start(self) -> str | None:
        """Where the grant ends inside the bar, when more was used than granted."""
        return percentage(self.granted, self.length) if self.overdrawn else None

    @property
    def over_width(self) -> str:
        return difference("100.000", self.over_start or "100.000")

    @property
    def planned_at(self) -> str | None:
        return None if self.planned is None or self.length == 0 else percentage(self.planned, self.length)

    @property
    def used_percent(self) -> int:
        """Of what was granted, in whole per cent; above 100 when overdrawn."""
        return whole_percent(self.used, self.granted)


def difference(high: str, low: str) -> str:
    """Between two percentages of `percentage`, exactly."""
    thousandths = int(high.replace(".", "")) - int(low.replace(".", ""))
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


# ---------------------------------------------------------------------------------------------- bars over days


@dataclass(frozen=True)
class Bar:
    """One bar: its full and its short name, its value (a whole number) and how that is written, without the unit."""

    label: Text
    short_label: Text
    value: int
    shown: str


@dataclass(frozen=True)
class DrawnBar:
    """Where a bar stands. Across in per cent of the width, down in pixels."""

    label: Text
    shown: str
    x: str
    width: str
    slot_x: str
    slot_width: str
    y: int
    height: int


@dataclass(frozen=True)
class Tick:
    y: int
    label: str


@dataclass(frozen=True)
class AxisLabel:
    """A name below the bars; those that are not `always` are dropped where the drawing is narrow."""

    x: str
    anchor: str
    text: Text
    always: bool


@dataclass(frozen=True)
class BarChart:
    """Bars from zero, in the order given, none below zero.

    `per_unit` says how many of a bar's values make one of the unit on the axis (3600 when values are GPU-seconds and
    the axis shows GPU-hours). `plan` is a line across, in the same numbers as the values.
    """

    title: Text
    unit: Text
    bars: Sequence[Bar]
    plan: int | None = None
    plan_shown: str = ""
    per_unit: int = 1
    heading: Text = DAY  # of the table's first column
    height: int = PLOT_HEIGHT + GAP_ABOVE

    @cached_property
    def step(self) -> Fraction:
        """Between two grid lines, in values: 1, 2 or 5 times a power of ten of the axis' unit, at most four of them."""
        highest = max([bar.value for bar in self.bars] + [self.plan or 0, 0])
        if highest == 0:
            return Fraction(self.per_unit)
        wanted = Fraction(highest, 4 * self.per_unit)
        ten = Fraction(1)
        while ten > wanted:
            ten /= 10
        for power in count():
            for nice in (1, 2, 5):
                step = nice * ten * 10**power
                if step >= wanted:
                    return step * self.per_unit
        raise AssertionError  # count() does not end

    @cached_property
    def top(self) -> Fraction:
        """The value at the highest grid line."""
        highest = max([bar.value for bar in self.bars] + [self.plan or 0, 0])
        return self.step * max(-(-Fraction(highest) // self.step), 1)

    def down(self, value: Fraction | int) -> int:
        """How far below the drawing's upper edge a value lies, in whole pixels."""
        return GAP_ABOVE + PLOT_HEIGHT - round(value * PLOT_HEIGHT / self.top)

    @property
    def ticks(self) -> list[Tick]:
        """The grid lines from the highest to zero, with what is written beside them."""
        lines = int(self.top / self.step)
        return [
            Tick(self.down(self.step * line), axis_number(self.step * line / self.per_unit))
            for line in range(lines, -1, -1)
        ]

    @property
    def drawn(self) -> list[DrawnBar]:
        bars = len(self.bars)
        slot = Fraction(100, bars) if bars else Fraction(0)
        width = min(slot * 3 / 4, WIDEST_BAR)
        drawn = []
        for place, bar in enumerate(self.bars):
            left = slot * place
            height = PLOT_HEIGHT + GAP_ABOVE - self.down(max(bar.value, 0))
            if bar.value > 0 and height == 0:
                height = 1  # little is not nothing
            drawn.append(
                DrawnBar(
                    label=bar.label,
                    shown=bar.shown,
                    x=length(left + (slot - width) / 2),
                    width=length(width),
                    slot_x=length(left),
                    slot_width=length(slot),
                    y=self.height - height,
                    height=height,
                )
            )
        return drawn

    @property
    def plan_y(self) -> int | None:
        return None if self.plan is None else self.down(self.plan)

    @property
    def axis_labels(self) -> list[AxisLabel]:
        """At most five names, evenly spread, the first and the last among them."""
        last = len(self.bars) - 1
        if last < 0:
            return []
        shown = min(len(self.bars), LABELS_SHOWN)
        gaps = max(shown - 1, 1)
        spots = [(2 * nth * last + gaps) // (2 * gaps) for nth in range(shown)]
        crowded = last >= LABELS_SHOWN  # the outer names of many bars lean inwards
        slot = Fraction(100, last + 1)
        labels = []
        for nth, spot in enumerate(spots):
            x, anchor = slot * spot + slot / 2, "middle"
            if crowded and spot == 0:
                x, anchor = Fraction(0), "start"
            elif crowded and spot == last:
                x, anchor = Fraction(100), "end"
            labels.append(AxisLabel(length(x), anchor, self.bars[spot].short_label, nth % 2 == 0 or shown <= 3))
        return labels

    @property
    def highest(self) -> Bar | None:
        """The first of the highest bars; none where there is nothing to see."""
        best = max(self.bars, key=lambda bar: bar.value, default=None)
        return best if best is not None and best.value > 0 else None


def length(percent: Fraction) -> str:
    """An SVG length in per cent, with three decimals."""
    thousandths = int(percent * 1000)
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def axis_number(number: Fraction) -> str:
    """A round number of an axis in the reader's language, with no more decimals than it has."""
    decimals = 0
    while number.denominator != 1 and decimals < 6:
        number *= 10
        decimals += 1
    digits = f"{int(number):0{decimals + 1}d}"
    if decimals:
        digits = f"{digits[:-decimals]}.{digits[-decimals:]}"
    return str(number_format(digits, decimal_pos=decimals, force_grouping=True))
