"""Charts are worked out in whole numbers: what is drawn is what was charged."""

import re
from fractions import Fraction
from random import Random
from time import thread_time

import pytest
from django.template.loader import render_to_string
from django.utils.translation import override

from centre.charts import GAP_ABOVE, PLOT_HEIGHT, Bar, BarChart, QuotaBar, axis_number, percentage, whole_percent
from centre.stacked_chart import Layer, StackedBar, StackedChart

HOUR = 3600


def shares(bar: QuotaBar) -> list[tuple[str, str, str]]:
    return [(part.name, part.start, part.width) for part in bar.parts]


def chart_of(*values: int, plan: int | None = None, per_unit: int = 1) -> BarChart:
    bars = [Bar(f"day {day}", str(day), value, str(value)) for day, value in enumerate(values, 1)]
    return BarChart(title="Used", unit="GPU-hours", bars=bars, plan=plan, per_unit=per_unit)


def test_quota_bar_draws_used_running_held_and_left_one_after_the_other() -> None:
    bar = QuotaBar(granted=1000, used=500, running=100, held=50)
    assert shares(bar) == [
        ("used", "0.000", "40.000"),
        ("running", "40.000", "10.000"),
        ("held", "50.000", "5.000"),
        ("left", "55.000", "45.000"),
    ]
    assert (bar.left, bar.overdrawn, bar.used_percent, bar.over_start) == (450, 0, 50, None)


def test_quota_bar_leaves_out_what_is_nothing() -> None:
    assert shares(QuotaBar(granted=1000, used=0)) == [("left", "0.000", "100.000")]
    assert shares(QuotaBar(granted=0, used=0)) == []


def test_quota_bar_that_is_overdrawn_is_as_long_as_what_was_used() -> None:
    bar = QuotaBar(granted=800, used=1000, running=100)
    assert shares(bar) == [("used", "0.000", "90.000"), ("running", "90.000", "10.000")]
    assert (bar.left, bar.overdrawn, bar.over_start, bar.over_width) == (-200, 200, "80.000", "20.000")
    assert bar.used_percent == 125


def test_quota_bar_planned_is_a_place_on_the_bar_and_never_beyond_it() -> None:
    assert QuotaBar(granted=1000, used=1, planned=640).planned_at == "64.000"
    assert QuotaBar(granted=1000, used=1, planned=0).planned_at == "0.000"
    assert QuotaBar(granted=1000, used=1, planned=5000).planned_at == "100.000"
    assert QuotaBar(granted=1000, used=1).planned_at is None
    assert QuotaBar(granted=0, used=0, planned=0).planned_at is None


def test_quota_bar_parts_always_fill_the_bar_exactly() -> None:
    random = Random(7)
    for _round in range(500):
        used = random.randrange(10**12)
        bar = QuotaBar(
            granted=random.randrange(1, 10**12),
            used=used,
            running=random.randrange(used + 1),
            held=random.randrange(10**11),
        )
        assert sum(Fraction(part.width) for part in bar.parts) == 100
        assert sum(part.seconds for part in bar.parts) == bar.length


def test_percentages_are_cut_and_whole_ones_are_rounded_half_up() -> None:
    assert [percentage(1, 3), percentage(2, 3), percentage(5, 3), percentage(-1, 3), percentage(1, 0)] == [
        "33.333",
        "66.666",
        "100.000",
        "0.000",
        "0.000",
    ]
    assert [whole_percent(1, 200), whole_percent(1, 201), whole_percent(3, 2), whole_percent(1, 0)] == [1, 0, 150, 0]


@pytest.mark.parametrize(
    ("highest", "per_unit", "labels"),
    [
        (2242 * HOUR, HOUR, ["3,000", "2,000", "1,000", "0"]),
        (4, 1, ["4", "3", "2", "1", "0"]),
        (1000, 1, ["1,000", "500", "0"]),
        (HOUR // 2, HOUR, ["0.6", "0.4", "0.2", "0"]),
        (0, HOUR, ["1", "0"]),
    ],
)
def test_axis_is_written_in_its_unit_with_round_numbers(highest: int, per_unit: int, labels: list[str]) -> None:
    assert [tick.label for tick in chart_of(highest, per_unit=per_unit).ticks] == labels


def test_axis_reaches_the_plan_when_no_bar_does() -> None:
    chart = chart_of(10, plan=95)
    assert (chart.ticks[0].label, chart.ticks[0].y, chart.plan_y) == ("100", GAP_ABOVE, GAP_ABOVE + 8)


def test_bars_stand_on_the_zero_line_and_their_height_follows_the_value() -> None:
    chart = chart_of(0, 1, 500, 1000)
    assert [bar.height for bar in chart.drawn] == [0, 1, PLOT_HEIGHT // 2, PLOT_HEIGHT]
    assert {bar.y + bar.height for bar in chart.drawn} == {chart.height}
    assert [bar.slot_x for bar in chart.drawn] == ["0.000", "25.000", "50.000", "75.000"]


def test_a_lone_bar_is_no_wall() -> None:
    assert [(bar.x, bar.width) for bar in chart_of(5).drawn] == [("44.000", "12.000")]


def test_axis_labels_are_few_and_name_the_first_and_the_last_day() -> None:
    assert [(label.text, label.anchor, label.always) for label in chart_of(*range(30)).axis_labels] == [
        ("1", "start", True),
        ("8", "middle", False),
        ("16", "middle", True),
        ("23", "middle", False),
        ("30", "end", True),
    ]
    assert [label.text for label in chart_of(1).axis_labels] == ["1"]
    assert chart_of().axis_labels == []


def test_axis_number_follows_the_language_and_keeps_its_decimals() -> None:
    with override("zh-hant"):
        assert [axis_number(Fraction(25000)), axis_number(Fraction(1, 20)), axis_number(Fraction(0))] == [
            "25,000",
            "0.05",
            "0",
        ]


def test_chart_shows_every_value_in_its_table_and_escapes_names() -> None:
    chart = BarChart(title="<b>Used</b>", unit="GPU-hours", bars=[Bar("<i>Monday</i>", "Mo", 7, "7.0")])
    page = render_to_string("components/chart.html", {"chart": chart})
    assert page.count('<td class="num">7.0</td>') == 1
    assert page.count("&lt;i&gt;Monday&lt;/i&gt;") == 3  # in the bar's title, the summary and the table
    assert "<b>" not in page
    assert "<i>" not in page


def test_chart_without_bars_says_so() -> None:
    assert "Nothing to show yet." in render_to_string("components/chart.html", {"chart": chart_of()})


def test_quota_bar_tells_in_words_what_it_draws() -> None:
    bar = QuotaBar(granted=800 * HOUR, used=1000 * HOUR, running=100 * HOUR)
    page = render_to_string("components/quota_bar.html", {"bar": bar, "headline": True})
    assert 'aria-label="1,000 of 800 GPU-hours used"' in page
    assert "overdrawn <b>200</b>" in page
    assert "of it running now <b>100</b>" in page


def test_chart_takes_under_a_tenth_of_a_millisecond_per_bar() -> None:
    chart = chart_of(*range(365))
    render_to_string("components/chart.html", {"chart": chart})
    best = min(
        elapsed(lambda: render_to_string("components/chart.html", {"chart": chart_of(*range(365))})) for _ in range(5)
    )
    assert best / 365 < 0.0001


def elapsed(work: object) -> float:
    """Seconds of the processor that a call takes, whatever else the machine does."""
    assert callable(work)
    start = thread_time()
    work()
    return thread_time() - start


# ------------------------------------------------------------------------------------------------------- layers


def stacked(*bars: tuple[int, ...]) -> StackedChart:
    layers = [Layer(name, name.title(), "-") for name in ("completed", "failed", "other")]
    return StackedChart(
        title="Used",
        unit="GPU-hours",
        bars=[
            StackedBar(f"day {n}", str(n), sum(bar), str(sum(bar)), bar, [*map(str, bar)]) for n, bar in enumerate(bars)
        ],
        layers=layers[: len(bars[0])],
    )


def drawn_layers(chart: StackedChart) -> list[list[tuple[str, int, int]]]:
    """(layer, upper edge, height) of each bar, from the ground up."""
    part = re.compile(r'url\(#layer-(\w+)\)" class="c-part" x="[\d.]+%" y="(\d+)" width="[\d.]+%" height="(\d+)"')
    return [
        [(name, int(y), int(height)) for name, y, height in part.findall(mark)]
        for mark in str(chart.marks).split("\n<g")
    ]


def test_layers_stand_on_each_other_and_end_where_the_whole_bar_would() -> None:
    random = Random(11)
    for _round in range(200):
        bars = [tuple(random.choice((0, random.randrange(10**6))) for _layer in range(3)) for _bar in range(20)]
        chart = stacked(*bars)
        whole = chart_of(*map(sum, bars))
        for bar, mark, single in zip(bars, drawn_layers(chart), whole.drawn, strict=True):
            ground = GAP_ABOVE + PLOT_HEIGHT
            for _name, y, height in mark:
                assert (y + height, height > 0) == (ground, True)
                ground = y
            assert abs(ground - single.y) <= 1
            assert bool(mark) == (sum(bar) > 0)


def test_little_of_a_layer_is_not_nothing_and_nothing_is_not_drawn() -> None:
    assert [[name for name, *_place in bar] for bar in drawn_layers(stacked((1, 0, 0), (0, 0, 0), (5, 0, 10**6)))] == [
        ["completed"],
        [],
        ["completed", "other"],
    ]


def test_stacked_chart_has_every_figure_in_its_table_and_hostile_names_are_inert() -> None:
    chart = StackedChart(
        title="Used",
        unit="GPU-hours",
        bars=[StackedBar("<b>day", "1", 3, "3", (1, 2), ("1", "2"))],
        layers=[Layer("completed", "<i>Done", "1"), Layer("failed", "Failed", "2")],
        total_label="All",
    )
    page = render_to_string("components/stacked_chart.html", {"chart": chart})
    assert ["<b>day" in page, "<i>Done" in page] == [False, False]
    row = '<tr><th scope="row">&lt;b&gt;day</th><td class="num">3</td><td class="num">1</td><td class="num">2</td></tr>'
    assert row in page
