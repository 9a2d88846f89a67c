"""Each benchmark at a tiny size, so that it still runs when it is wanted, and the page that keeps the results."""

import pytest

from tests.benchmarks import ledger
from tests.benchmarks.page import INTRODUCTION, with_section


@pytest.mark.usefixtures("committed")
def test_ledger_is_measured_every_way_and_its_books_are_right() -> None:
    measured = ledger.measure(rounds=2, threads=3, postings=2, allocations=4)
    assert {key: len(rates) for key, rates in measured.rates.items()} == {
        (shape, way): 2 for shape in ("hot", "spread") for way in ("ours", "floor", "row lock")
    }
    assert all(rate > 0 for rates in measured.rates.values() for rate in rates)
    header, _line, hot, spread = ledger.table(measured).splitlines()
    assert header.startswith("| postings per second | ours | floor | row lock |")
    assert (hot.startswith("| hot: 3 threads, one allocation"), spread.count("|")) == (True, 8)


@pytest.mark.usefixtures("committed")
def test_single_writer_is_measured() -> None:
    assert ledger.alone(5) > 0


def test_limit_is_kept_only_where_both_hot_and_spread_keep_it() -> None:
    def measured(hot: float, spread: float) -> ledger.Measured:
        rates = {(shape, way): [100.0, 100.0, 100.0] for shape in ledger.SHAPES for way in ledger.WAYS}
        rates["hot", "ours"], rates["spread", "ours"] = [hot, hot, 1.0], [spread, 1.0, spread]
        return ledger.Measured(rates, postings=1, threads=1, allocations=1)

    assert measured(70.0, 70.0).keeps_the_limit
    assert not measured(69.0, 90.0).keeps_the_limit
    assert not measured(90.0, 69.0).keeps_the_limit


def test_a_section_of_the_page_is_written_without_the_others() -> None:
    page = with_section("", "ledger", "first\n")
    assert page == f"{INTRODUCTION}\n<!-- ledger -->\nfirst\n<!-- end of ledger -->\n"
    page = with_section(page, "import", "rows")
    again = with_section(page, "ledger", r"second \1")
    assert again == page.replace("first", r"second \1")
