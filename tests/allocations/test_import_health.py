"""Where a window is missing between exports: plain cases, and random windows against every half second by itself."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from allocations.importing.health import Gap, Window, coverage_of, gaps
from allocations.importing.runaways import days_back

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LAST = 24


def instant(second: float) -> datetime:
    return BEGIN + timedelta(seconds=second)


def window(begins: int | None, ends: int) -> Window:
    return Window(None if begins is None else instant(begins), instant(ends))


def gap(begins: int, ends: int, perhaps_until: int | None = None) -> Gap:
    return Gap(instant(begins), instant(ends), instant(begins if perhaps_until is None else perhaps_until))


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(5, 9)], [], id="what lies before the first window is not missing"),
        pytest.param([(0, 5), (5, 9)], [], id="they meet"),
        pytest.param([(0, 5), (3, 9)], [], id="they overlap"),
        pytest.param([(0, 5), (6, 9)], [gap(5, 6)], id="a second is missing"),
        pytest.param([(6, 9), (0, 5)], [gap(5, 6)], id="imported in another order"),
        pytest.param([(0, 5), (6, 9), (4, 7)], [], id="filled by a later import"),
        pytest.param([(0, 20), (2, 4), (6, 9), (22, 24)], [gap(20, 22)], id="one holds the others"),
        pytest.param([(0, 2), (4, 6), (9, 12)], [gap(2, 4), gap(6, 9)], id="two"),
        pytest.param([(None, 3), (None, 9)], [], id="no window was told"),
        pytest.param([(0, 5), (None, 9)], [], id="an untold one after a told one"),
        pytest.param([(None, 5), (9, 12)], [gap(5, 9)], id="an untold one ends before the first window"),
        pytest.param([(None, 5), (None, 20), (9, 24)], [], id="a later untold one may reach back to the earlier"),
        pytest.param([(0, 5), (None, 7), (9, 12)], [gap(5, 9, 7)], id="an untold one may hold a part"),
        pytest.param([(0, 5), (None, 20), (9, 12)], [gap(5, 9, 9)], id="an untold one may hold all of it"),
        pytest.param([(0, 5), (None, 4), (9, 12)], [gap(5, 9)], id="an untold one before it"),
    ],
)
def test_gaps_are_what_no_window_covers(windows: list[tuple[int | None, int]], expected: list[Gap]) -> None:
    assert gaps(window(*each) for each in windows) == expected


@st.composite
def some_windows(draw: st.DrawFn) -> list[tuple[int | None, int]]:
    pairs = draw(st.lists(st.tuples(st.integers(0, LAST), st.integers(0, LAST), st.booleans()), max_size=6))
    return [(None if untold else min(a, b), max(a, b)) for a, b, untold in pairs]


def missing(windows: list[tuple[int | None, int]]) -> tuple[list[int], list[int]]:
    """The seconds that are missing, and those that perhaps are not: each asked by itself, at its middle."""
    told = [(begins, ends) for begins, ends in windows if begins is not None]
    untold = [ends for begins, ends in windows if begins is None]
    absent, perhaps = [], []
    for second in range(LAST):
        middle = second + 0.5
        held = any(begins <= middle <= ends for begins, ends in told)
        follows = any(begins > middle for begins, _ in told)
        known_before = any(ends < middle for _, ends in told)
        may_hold = any(ends > middle for ends in untold)
        ends_before = bool(untold) and not may_hold
        if not held and follows and (known_before or ends_before):
            absent.append(second)
            if may_hold:
                perhaps.append(second)
    return absent, perhaps


def seconds_of(begins: datetime, ends: datetime) -> range:
    return range(round((begins - BEGIN).total_seconds()), round((ends - BEGIN).total_seconds()))


def instant_of(moment: datetime) -> int:
    return round((moment - BEGIN).total_seconds())


@given(some_windows())
@example([(0, 0), (1, 1), (2, 2)])
def test_gaps_agree_with_asking_every_second(windows: list[tuple[int | None, int]]) -> None:
    found = gaps(window(*each) for each in windows)
    absent = [second for each in found for second in seconds_of(each.begins, each.ends)]
    perhaps = [second for each in found for second in seconds_of(each.begins, each.perhaps_until)]
    assert (absent, perhaps) == missing(windows)
    assert all(each.begins < each.ends for each in found)
    instants = {ends for begins, ends in windows if begins == ends}  # a window of one instant only parts two gaps
    for before, after in pairwise(found):
        assert before.ends < after.begins or (before.ends == after.begins and instant_of(before.ends) in instants)


def test_the_second_computation_tells_a_wrong_one() -> None:
    windows: list[tuple[int | None, int]] = [(0, 20), (2, 4), (6, 9)]
    wrong = [second for (_, ends), (begins, _) in pairwise(windows) for second in range(ends, begins or 0)]
    assert wrong != missing(windows)[0]


@given(some_windows(), st.integers(0, LAST))
def test_books_are_complete_until_the_first_gap_that_matters(windows: list[tuple[int | None, int]], since: int) -> None:
    coverage = coverage_of([window(*each) for each in windows])
    if coverage is None:
        assert windows == []
        return
    absent = [second for second in missing(windows)[0] if second >= since]
    latest = max(ends for _, ends in windows)
    until = coverage.complete_until(since=instant(since))
    if not absent:
        assert until == instant(latest)
    else:
        assert until <= instant(absent[0])
        assert not set(missing(windows)[0]) & set(seconds_of(instant(since), until))


def test_days_back_reach_the_instant() -> None:
    at = instant(0)
    assert [days_back(at - each, at=at) for each in (timedelta(0), timedelta(hours=1), timedelta(days=2))] == [1, 1, 2]
    assert days_back(at - timedelta(days=2, seconds=1), at=at) == 3
