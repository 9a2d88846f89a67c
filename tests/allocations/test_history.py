"""The invented history of job runs, checked by the real reading and charging."""

from collections import Counter
from datetime import date, datetime
from io import BytesIO
from typing import Literal
from zoneinfo import ZoneInfo

import pytest

from allocations.charging import billable_span, split_by_day
from allocations.slurm.history import AccountPlan, History, make_history
from allocations.slurm.sacct import Record, open_export

HONG_KONG = ZoneInfo("Asia/Hong_Kong")
PLANS = (
    AccountPlan(
        account="speech-lab",
        users=("amy", "ben"),
        partition="batch",
        gpu_type="h800",
        gpu_hours=40_000,
        first_on=date(2026, 3, 1),
        last_on=date(2026, 12, 31),
        style="pretraining",
    ),
    AccountPlan(
        account="clinic-text",
        users=("cat",),
        partition="l40s",
        gpu_type="",
        gpu_hours=2_000,
        first_on=date(2026, 1, 1),
        last_on=date(2026, 4, 30),
    ),
)


def invented(seed: int, time_format: Literal["epoch", "iso"] = "epoch") -> History:
    return make_history(
        seed=seed,
        runs=3_000,
        start=datetime(2026, 1, 1, tzinfo=HONG_KONG),
        end=datetime(2026, 6, 15, 10, 30, tzinfo=HONG_KONG),
        cluster="hgx",
        zone=HONG_KONG,
        plans=PLANS,
        time_format=time_format,
    )


@pytest.mark.parametrize("time_format", ["epoch", "iso"])
def test_history_is_read_and_charged_to_the_second(time_format: Literal["epoch", "iso"]) -> None:
    history = invented(7, time_format)
    export = open_export(BytesIO(history.text), zone=HONG_KONG, cluster="hgx")
    charged: Counter[tuple[str, date]] = Counter()
    states: Counter[str] = Counter()
    for run in export:
        assert isinstance(run, Record)
        states[run.state] += 1
        span = billable_span(
            submit=run.submit, start=run.start, end=run.end, as_of=history.exported_at, pending=run.pending
        )
        for day, seconds in split_by_day(*span, HONG_KONG) if span else ():
            charged[run.account, day] += seconds * run.gpus
    assert not export.guessable_delimiter
    assert (export.records, export.bad, export.ignored) == (history.truth.records, 0, 0)
    assert states == history.truth.states
    assert +charged == history.truth.charged_by_day


def test_history_meets_its_plans_and_shows_every_case() -> None:
    history = invented(7)
    used = {account: seconds / 3600 for account, seconds in history.truth.charged.items()}
    assert used == {"speech-lab": pytest.approx(40_000, rel=0.05), "clinic-text": pytest.approx(2_000, rel=0.05)}
    assert set(history.truth.running) == {"speech-lab", "clinic-text"}
    assert history.truth.running["speech-lab"] > 0
    assert history.truth.running["clinic-text"] == 0  # its days are over
    cases = ("array", "requeued", "node failure", "suspended", "awkward name", "zero GPUs", "never started", "waiting")
    assert [case for case in cases if not history.truth.cases[case]] == []
    assert max(day for account, day in history.truth.charged_by_day if account == "clinic-text") <= date(2026, 4, 30)


def test_history_of_the_same_seed_is_the_same() -> None:
    assert invented(3).text == invented(3).text
    assert invented(3).delimiter != invented(4).delimiter
