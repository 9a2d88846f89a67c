"""Bars of several layers, drawn on the server: the same geometry as `centre.charts`, and a pattern for each layer.

A layer is told by its pattern and by its place as much as by its colour, and the table below the drawing has every
figure. `components/stacked_chart.html` draws it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from centre.charts import Bar, BarChart, DrawnBar, Text

MOST_BARS = 62  # two months of days; more are too thin to be told apart on a phone
PART = '<rect fill="url(#layer-{})" class="c-part" x="{}%" y="{}" width="{}%" height="{}"/>'
MARK = '<g class="c-slot"><title>{}</title><rect class="c-reach" x="{}%" y="0" width="{}%" height="100%"/>{}</g>'
CELL = '<td class="num">{}</td>'
ROW = '<tr><th scope="row">{}</th><td class="num">{}</td>{}</tr>'


@dataclass(frozen=True)
class Layer:
    """One kind of what is stacked: the name of its pattern, what it is called, and how its sum is written."""

    name: str
    label: Text
    shown: str


@dataclass(frozen=True)
class StackedBar(Bar):
    """A bar with the value of each layer from the ground up, and how each is written; `value` is their sum."""

    parts: Sequence[int] = ()
    parts_shown: Sequence[str] = ()


@dataclass(frozen=True)
class StackedChart(BarChart):
    """Bars from zero that are made of layers; every bar has as many parts as there are layers."""

    bars: Sequence[StackedBar]
    layers: Sequence[Layer] = ()
    total_label: Text = ""  # of the table's column with the whole bars

    @property
    def marks(self) -> SafeString:
        """The bars as SVG. Each layer ends where the sum up to it lies, so that rounding never adds up."""
        drawn = zip(self.bars, self.drawn, strict=True)
        return format_html_join("\n", MARK, (self._mark(bar, place) for bar, place in drawn))

    def _mark(self, bar: StackedBar, drawn: DrawnBar) -> tuple[object, ...]:
        below, ground, rects = 0, self.height, []
        for layer, part in zip(self.layers, bar.parts, strict=True):
            below += part
            roof = min(self.down(below), self.height - 1) if below else self.height  # little is not nothing
            if part and ground > roof:
                rects.append((layer.name, drawn.x, roof, drawn.width, ground - roof))
                ground = roof
        return self._told(bar), drawn.slot_x, drawn.slot_width, format_html_join("", PART, rects)

    def _told(self, bar: StackedBar) -> str:
        """What the pointer is told: the whole bar, and each layer that has something."""
        parts = [
            f"{layer.label}: {shown}"
            for layer, part, shown in zip(self.layers, bar.parts, bar.parts_shown, strict=True)
            if part
        ]
        return "\n".join([f"{bar.label}: {bar.shown} {self.unit}", *parts])

    @property
    def rows(self) -> SafeString:
        """The same figures as rows of a table: the whole bar, then its layers."""
        return format_html_join(
            "\n",
            ROW,
            ((bar.label, bar.shown, format_html_join("", CELL, ((s,) for s in bar.parts_shown))) for bar in self.bars),
        )

    @property
    def heads(self) -> SafeString:
        """The layers as headings of the table."""
        return format_html_join("", '<th scope="col" class="num">{}</th>', ((layer.label,) for layer in self.layers))
