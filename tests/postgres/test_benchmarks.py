"""Each benchmark at a tiny size, so that it still runs when it is wanted, and the page that keeps the results."""

from pathlib import Path

import pytest
from django.apps import apps
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone

from allocations import staging
from allocations.models import Allocation, JobRun, LedgerEntry
from allocations.verifying.totals import wrong_totals
from allocations.verifying.usage import wrong_daily_usage, wrong_entries_of_usage, wrong_run_charges
from centre.urls import urlpatterns as of_the_portal
from tests.benchmarks import admin, imports, job_runs, ledger, pages
from tests.benchmarks.many_projects import Looked
from tests.benchmarks.many_runs import Amounts
from tests.benchmarks.page import INTRODUCTION, with_section

FEW = Amounts(entries=260, runs=600, same_projects=1, same_entries=20, same_runs=50, imports_a_day=1)
SIZES = (8, 24)


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


@pytest.mark.hard
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


def page_that_grows(_request: HttpRequest) -> HttpResponse:
    """What no page may do: it goes through every allocation of the portal, with queries for each."""
    sums = [allocation.entries.count() for allocation in Allocation.objects.all() for _ in range(5)]
    return HttpResponse(str(sum(sums)))


urlpatterns = [*of_the_portal, path("grows/", page_that_grows)]


@pytest.mark.hard
@pytest.mark.usefixtures("committed")
@pytest.mark.urls(__name__)
def test_pages_are_measured_at_each_size_and_one_that_grows_is_caught() -> None:
    growing: pages.Page[Looked] = pages.Page("one that grows", lambda looked: looked.lead, lambda _looked: "/grows/")
    results = pages.measure(sizes=SIZES, amounts=FEW, rounds=3, pages=[*pages.PAGES, growing])
    *ours, caught = results
    spent = [each for result in results for each in result.spent.values()]
    assert [len(each) for each in spent] == [3] * len(SIZES) * len(results)
    assert all(one.client > 0 < one.server for each in spent for one in each)
    assert {page.page: page.queries for page in ours if page.queries[8] != page.queries[24]} == {}
    assert {page.page: page.queries for page in ours if page.queries[24] > pages.QUERY_LIMIT} == {}
    assert caught.growth > pages.GROWTH_LIMIT
    assert caught.queries[24] == caught.queries[8] + 5 * (24 - 8)
    header, _line, *lines = pages.table(results).splitlines()
    assert (header.count("|"), len(lines)) == (6, len(results))


@pytest.mark.usefixtures("committed")
def test_books_of_the_seeded_centre_are_right_and_the_same_in_total_at_every_size() -> None:
    for size in SIZES:
        with pages.filled(size, FEW, at=timezone.now()) as place, pages.standing_on(place.connection):
            for look in (
                *(wrong_totals, wrong_entries_of_usage),
                *(wrong_run_charges, wrong_daily_usage),
            ):
                assert list(look()) == []
            assert (LedgerEntry.objects.count(), JobRun.objects.count()) == (260, 600)
            of_first = LedgerEntry.objects.filter(allocation__project=place.looked.project)
            assert (of_first.count(), JobRun.objects.filter(account="project-00000").count()) == (80, 200)


def test_page_keeps_the_limits_only_with_little_growth_and_few_queries() -> None:
    def measured(many: float, queries: int) -> pages.Measured:
        few = [pages.Spent(4.0, 6.0), pages.Spent(5.0, 5.0), pages.Spent(90.0, 10.0)]
        return pages.Measured(
            "a page", {200: few, 10_000: [pages.Spent(many, 0.0)] * 3}, queries={200: 1, 10_000: queries}
        )

    assert measured(12.0, 12).keeps_the_limits
    assert not measured(12.1, 12).keeps_the_limits
    assert not measured(12.0, 13).keeps_the_limits


@pytest.mark.usefixtures("committed")
def test_lists_and_forms_of_the_administration_are_measured() -> None:
    few, many = admin.Size.of(240, 12), admin.Size.of(480, 24)
    of = {"allocations.jobrun", "allocations.ledgerentry"}
    results = admin.measure(few=few, many=many, rounds=1, of=of)
    assert results.rows == {"allocations.ledgerentry": 481, "allocations.jobrun": 480}
    ways = [one.way for one, _result in results.lists if one.label == "allocations.jobrun"]
    assert [way for way in ways if not way.startswith("cluster: ")] == [
        *(admin.AS_IT_OPENS, "last page"),
        *(f"search {term}" for term in admin.SEARCHES["allocations.jobrun"]),
        *("progress: Not finished yet", "progress: Without an allocation"),
    ]
    assert len([way for way in ways if way.startswith("cluster: ")]) == 2  # that of the runs, and that of the award
    beyond = {one.way: queries for one, result in results.lists if (queries := admin.most_queries(result)) > 8}
    assert beyond == {}
    forms = {result.page for result in results.forms}
    assert {
        "allocations.ledgerentry: change",
        "allocations.ledgerentry: reverse",
        "allocations.jobrun: history",
    } <= forms
    assert {result.page: result.queries for result in results.forms if len(set(result.queries.values())) > 1} == {}
    assert len(admin.table_of_lists(results).splitlines()) == 2 + len(of)
    assert len(admin.table_of_forms(results).splitlines()) == 2 + len(forms)


def test_long_list_keeps_tighter_limits_than_a_shorter_one() -> None:
    def measured(milliseconds: float, queries: int) -> pages.Measured:
        return pages.Measured("a list", {1_000_000: [pages.Spent(milliseconds, 0.0)] * 3}, {1_000_000: queries})

    results = admin.Results(lists=[], forms=[], rows={"long": 1_000_000, "short": 99_999})
    kept = {
        label: [results.keeps_list_limits(label, measured(*each)) for each in ((60, 8), (61, 8), (60, 9), (121, 8))]
        for label in ("long", "short")
    }
    assert kept == {"long": [True, False, False, False], "short": [True, True, True, False]}


def test_form_keeps_its_limit_only_without_growth_and_further_queries() -> None:
    def measured(many: float, queries: int) -> pages.Measured:
        few = [pages.Spent(20.0, 0.0)] * 3
        return pages.Measured("a form", {1: few, 2: [pages.Spent(many, 0.0)] * 3}, queries={1: 5, 2: queries})

    assert [admin.keeps_form_limits(measured(*each)) for each in ((23.9, 5), (24.1, 5), (20.0, 6))] == [
        *(True, False, False)
    ]


def test_a_section_of_the_page_is_written_without_the_others() -> None:
    page = with_section("", "ledger", "first\n")
    assert page == f"{INTRODUCTION}\n<!-- ledger -->\nfirst\n<!-- end of ledger -->\n"
    page = with_section(page, "import", "rows")
    again = with_section(page, "ledger", r"second \1")
    assert again == page.replace("first", r"second \1")
