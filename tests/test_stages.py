"""What `make test` says of itself: counts come from pytest's report, and a stage that is broken is not called good."""

from pathlib import Path

from tests import hard_results
from tests.stages import Counts, Stage, counted, summary_line

REPORT = """<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="2" failures="1" skipped="1" tests="7">
<testcase classname="tests.test_books" name="test_good"/>
<testcase classname="tests.test_books" name="test_bad"><failure message="no"/></testcase>
<testcase classname="tests.test_books" name="test_left_out"><skipped message="not here"/></testcase>
<testcase classname="tests.test_books" name="test_breaks_afterwards"/>
<testcase classname="tests.test_books" name="test_breaks_afterwards"><error message="no"/></testcase>
<testcase classname="" name="tests.test_unreadable"><error message="said by the first process"/></testcase>
<testcase classname="" name="tests.test_unreadable"><error message="said by the second process"/></testcase>
</testsuite></testsuites>"""


def test_counts_are_read_from_the_report_and_each_test_counts_once(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert counted(report) == Counts(passed=1, failed=3, skipped=1)


def test_summary_line_sums_all_stages() -> None:
    stages = [
        Stage(name="sqlite", seconds=1.0, budget=60, counts=Counts(passed=4, failed=1, skipped=2)),
        Stage(name="browser", seconds=1.0, budget=60, counts=Counts(passed=3)),
    ]
    assert summary_line(stages) == "7 passed, 1 failed, 2 skipped"


def test_stage_that_broke_without_a_failed_test_has_failed() -> None:
    assert Stage(name="static", seconds=1.0, budget=60, counts=Counts(broken=True)).failed
    assert not Stage(name="static", seconds=1.0, budget=60, counts=Counts(passed=1)).failed


def test_long_results_keep_the_stages_that_did_not_run() -> None:
    def row(name: str, failed: int) -> Stage:
        return Stage(name=name, seconds=90, budget=None, counts=Counts(passed=3, failed=failed))

    first = hard_results.written("", [row("sqlite", 0), row("browser", 1)], on="2026-11-01", commit="aaa")
    second = hard_results.written(first, [row("postgres", 0), row("browser", 0)], on="2026-11-02", commit="bbb")
    assert [line for line in second.splitlines() if "`" in line and line.startswith("|")] == [
        "| sqlite | ok | 3 | 0 | 0 | 1.5 | 2026-11-01 | `aaa` |",
        "| postgres | ok | 3 | 0 | 0 | 1.5 | 2026-11-02 | `bbb` |",
        "| browser | ok | 3 | 0 | 0 | 1.5 | 2026-11-02 | `bbb` |",
    ]
    assert "| browser | FAILED | 3 | 1 |" in first
