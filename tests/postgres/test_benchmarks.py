"""Each benchmark at a tiny size, so that it still runs when it is wanted, and the page that keeps the results."""

from pathlib import Path

import pytest
from django.apps import apps

from allocations import staging
from tests.benchmarks import imports, job_runs, ledger
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


@pytest.mark.usefixtures("committed")
def test_import_is_measured_beside_copies_of_all_that_it_fills(tmp_path: Path) -> None:
    measured = imports.measure(runs=300, stored=2_000, scratch=tmp_path)
    assert (measured.runs, measured.stored) == (300, 2_000)
    for table in imports.TABLES:
        assert staging.number(f"SELECT COUNT(*) FROM beside.{table}") >= staging.number(  # the second import came later
            f"SELECT COUNT(*) FROM {table} WHERE id <= (SELECT MAX(id) FROM beside.{table})"
        )
    assert staging.number("SELECT COUNT(*) FROM beside.allocations_jobrun") == 2_300
    assert staging.number("SELECT SUM(seconds) FROM beside.allocations_runcharge") == staging.number(
        "SELECT SUM(seconds) FROM allocations_runcharge"
    )
    hanging = (
        "SELECT replace(pg_get_indexdef(indexrelid), {schema!r}, '') FROM pg_index "
        "WHERE indrelid = '{schema}{table}'::regclass"
    )
    keys = "SELECT conname FROM pg_constraint WHERE contype IN ('f', 'c') AND conrelid = '{schema}{table}'::regclass"
    for table in imports.TABLES:
        ours, copied = (
            [len(staging.rows(sql.format(schema=schema, table=table))) for sql in (hanging, keys)]
            for schema in ("public.", "beside.")
        )
        assert ours == copied


@pytest.mark.usefixtures("committed")
def test_baseline_has_every_table_that_an_import_fills(tmp_path: Path) -> None:
    cluster = job_runs.centre()
    names = [model._meta.db_table for model in apps.get_models()]
    before = {name: staging.number(f"SELECT COUNT(*) FROM {name}") for name in names}
    imports.imported(job_runs.write_export(tmp_path / "export.txt", 200), cluster)
    grown = {name for name in names if staging.number(f"SELECT COUNT(*) FROM {name}") > before[name]}
    assert grown <= set(imports.TABLES)
    assert {"allocations_jobrun", "allocations_runcharge", "allocations_ledgerentry", "centre_event"} <= grown


def test_limits_of_the_import_are_kept_only_when_all_are() -> None:
    def measured(first: float, again: float, megabytes: int) -> imports.Measured:
        nothing, baseline = imports.Spent(0.0, 0.0), imports.Spent(1.0, 3.0)
        return imports.Measured(
            1, 0, nothing, imports.Spent(first, 0.0), imports.Spent(0.0, again), baseline, megabytes
        )

    assert measured(10.0, 6.0, 300).keeps_the_limits
    assert not measured(10.1, 6.0, 300).keeps_the_limits
    assert not measured(10.0, 6.1, 300).keeps_the_limits
    assert not measured(10.0, 6.0, 301).keeps_the_limits


def test_a_section_of_the_page_is_written_without_the_others() -> None:
    page = with_section("", "ledger", "first\n")
    assert page == f"{INTRODUCTION}\n<!-- ledger -->\nfirst\n<!-- end of ledger -->\n"
    page = with_section(page, "import", "rows")
    again = with_section(page, "ledger", r"second \1")
    assert again == page.replace("first", r"second \1")
