"""Small charts drawn on the server: what the templates under `components/` need, worked out in whole numbers.

Geometry is a percentage of the drawing's width, or whole pixels of its height, so that type keeps its size when the
drawing becomes narrow. Stored values (GPU-seconds, cents) are only ever compared and divided as integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

Text = str | Promise
DAY: Text = _("Day")

PLOT_HEIGHT = 160  # pixels between the zero line and the highest grid line
GAP_ABOVE = 8  # pixels above the highest grid line, so that its label and a full bar fit
WIDEST_BAR = 12_000  # thousandths of a per cent of the width: a lone bar is not a wall
LABELS_SHOWN = 5
MARK = (
    '<g class="c-slot"><title>{}: {} {}</title><rect class="c-reach" x="{}%" y="0" width="{}%" height="100%"/>'
    '<rect class="c-bar" x="{}%" y="{}" width="{}%" height="{}"/></g>'
)
ROW = '<tr><th scope="row">{}</th><td class="num">{}</td></tr>'


def percentage(part: int, whole: int) -> str:
    """A share as text with three decimals and no unit, cut, never above 100: an SVG length once `%` is added."""
    thousandths = min(max(part * 100_000 // whole, 0), 100_000) if whole > 0 else 0
    return length(thousandths)


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
    return length(int(high.replace(".", "")) - int(low.replace(".", "")))


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
        while True:
            for nice in (1, 2, 5):
                if nice * ten >= wanted:
                    return nice * ten * self.per_unit
            ten *= 10

    @cached_property
    def top(self) -> Fraction:
        """The value at the highest grid line."""
        highest = max([bar.value for bar in self.bars] + [self.plan or 0, 0])
        steps: int = -(-Fraction(highest) // self.step)
        return self.step * max(steps, 1)

    @cached_property
    def pixels_per_value(self) -> Fraction:
        return PLOT_HEIGHT / self.top

    def down(self, value: Fraction | int) -> int:
        """How far below the drawing's upper edge a value lies, in whole pixels."""
        return GAP_ABOVE + PLOT_HEIGHT - round(value * self.pixels_per_value)

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
        """Where each bar stands; a bar takes three quarters of its slot."""
        bars = max(len(self.bars), 1)
        slot, width = 100_000 // bars, min(75_000 // bars, WIDEST_BAR)
        scale = self.pixels_per_value
        drawn = []
        for place, bar in enumerate(self.bars):
            left = 100_000 * place // bars
            height = (2 * bar.value * scale.numerator + scale.denominator) // (2 * scale.denominator)
            height = max(height, 1 if bar.value > 0 else 0)  # little is not nothing
            drawn.append(
                DrawnBar(
                    label=bar.label,
                    shown=bar.shown,
                    x=length(left + (slot - width) // 2),
                    width=length(width),
                    slot_x=length(left),
                    slot_width=length(slot),
                    y=self.height - height,
                    height=height,
                )
            )
        return drawn

    @property
    def marks(self) -> SafeString:
        """The bars as SVG, each with its words and, behind it, the ground that answers to the pointer.

        Put together here and not in the template, which takes several times as long for a year of days.
        """
        return format_html_join(
            "\n",
            MARK,
            (
                (bar.label, bar.shown, self.unit, bar.slot_x, bar.slot_width, bar.x, bar.y, bar.width, bar.height)
                for bar in self.drawn
            ),
        )

    @property
    def rows(self) -> SafeString:
        """The same figures as rows of a table."""
        return format_html_join("\n", ROW, ((bar.label, bar.shown) for bar in self.bars))

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
        labels = []
        for nth, spot in enumerate(spots):
            x, anchor = 100_000 * (2 * spot + 1) // (2 * last + 2), "middle"
            if crowded and spot == 0:
                x, anchor = 0, "start"
            elif crowded and spot == last:
                x, anchor = 100_000, "end"
            labels.append(AxisLabel(length(x), anchor, self.bars[spot].short_label, nth % 2 == 0 or shown <= 3))
        return labels

    @property
    def highest(self) -> Bar | None:
        """The first of the highest bars; none where there is nothing to see."""
        best = max(self.bars, key=lambda bar: bar.value, default=None)
        return best if best is not None and best.value > 0 else None


def length(thousandths: int) -> str:
    """An SVG length in per cent, from thousandths of a per cent."""
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
