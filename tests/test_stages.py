"""What `make test` says of itself: counts come from pytest's report, and a stage that is broken is not called good."""

from pathlib import Path

from tests.stages import Counts, Stage, counted, summary_line

REPORT = """<?xml version="1.0"?><testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10">
<testcase/></testsuite></testsuites>"""


def test_counts_are_read_from_the_report(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert counted(report) == Counts(passed=4, failed=3, skipped=3)


def test_summary_line_sums_all_stages() -> None:
    stages = [
        Stage(name="sqlite", seconds=1.0, budget=60, counts=Counts(passed=4, failed=1, skipped=2)),
        Stage(name="browser", seconds=1.0, budget=60, counts=Counts(passed=3)),
    ]
    assert summary_line(stages) == "7 passed, 1 failed, 2 skipped"


def test_stage_that_broke_without_a_failed_test_has_failed() -> None:
    assert Stage(name="static", seconds=1.0, budget=60, counts=Counts(broken=True)).failed
    assert not Stage(name="static", seconds=1.0, budget=60, counts=Counts(passed=1)).failed
