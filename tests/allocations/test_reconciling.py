"""`manage.py reconcile_usage`: charges, job runs and Slurm's own sums, and what it says when they differ."""

from datetime import date, datetime, time, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from allocations.models import Allocation, DailyUsage, JobRun
from allocations.reconciling import UnreadableReport, read_sreport
from tests import make

pytestmark = pytest.mark.django_db

HOUR = make.HOUR
DAY = make.today() - timedelta(days=3)
TEN = datetime.combine(DAY, time(10), tzinfo=timezone.get_default_timezone())


def reconciled(allocation: Allocation, sreport: Path | None = None, *, first: date = DAY, last: date = DAY) -> str:
    """What the command prints; its last error line too when it exits with 1."""
    said = StringIO()
    given = {"sreport": str(sreport)} if sreport else {}
    cluster = allocation.pool.cluster.code
    try:
        call_command("reconcile_usage", f"--cluster={cluster}", f"--from={first}", f"--to={last}", stdout=said, **given)
    except CommandError as error:
        said.write(f"exit {error.returncode}: {error}")
    return said.getvalue()


def slurm_says(folder: Path, allocation: Allocation, seconds: int) -> Path:
    """The rows that sreport prints: an account with everything below it, then each of its people."""
    cluster, account = allocation.pool.cluster.code, allocation.account
    report = folder / "sreport.txt"
    report.write_text(
        f"{cluster}|root|||gres/gpu|{seconds}\n{cluster}|{account}|||gres/gpu|{seconds}\n"
        f"{cluster}|{account}|u1|Someone|gres/gpu|{seconds}\n{cluster}|{account}|u1|Someone|cpu|99\n"
    )
    return report


def test_charges_runs_and_slurm_agree(tmp_path: Path) -> None:
    allocation = make.allocation()
    make.imported(make.run(allocation=allocation, hours=3, gpus=8, start_at=TEN), cluster=allocation.pool.cluster)
    said = reconciled(allocation, slurm_says(tmp_path, allocation, 24 * HOUR))
    assert said == f"1 accounts, 86400 GPU-seconds from {DAY} to {DAY}: charges and runs agree with Slurm.\n"


def test_only_the_part_of_a_run_in_the_window_counts() -> None:
    allocation = make.allocation()
    make.imported(make.run(allocation=allocation, hours=20, start_at=TEN), cluster=allocation.pool.cluster)
    assert f" {14 * HOUR} GPU-seconds" in reconciled(allocation)
    assert f" {20 * HOUR} GPU-seconds" in reconciled(allocation, last=DAY + timedelta(days=1))


def test_usage_that_no_allocation_takes_is_named() -> None:
    allocation = make.allocation()
    stray = make.Run(account="nobody", partition=allocation.pool.code, start_at=TEN, end_at=TEN + timedelta(hours=1))
    make.imported(stray, cluster=allocation.pool.cluster)
    assert reconciled(allocation) == (
        f"nobody on {DAY}: the runs say 3600 GPU-seconds, 0 are charged; no allocation covers the account that day; "
        "open one, or let the account draw on another.\nexit 1: 1 differences."
    )


def test_a_run_changed_behind_the_back_of_the_books_is_found() -> None:
    allocation = make.allocation()
    make.imported(make.run(allocation=allocation, hours=2, start_at=TEN), cluster=allocation.pool.cluster)
    JobRun.objects.update(end_at=TEN + timedelta(hours=1))
    assert "the runs say 3600 GPU-seconds, 7200 are charged" in reconciled(allocation)
    assert DailyUsage.objects.get().seconds == 2 * HOUR


def test_a_resized_job_is_explained_and_not_a_difference(tmp_path: Path) -> None:
    """Its second record tells the first start once more; the portal counts from its submission."""
    allocation = make.allocation()
    make.imported(make.run(allocation=allocation, hours=2, start_at=TEN), cluster=allocation.pool.cluster)
    JobRun.objects.update(start_at=TEN - timedelta(minutes=10))
    said = reconciled(allocation, slurm_says(tmp_path, allocation, 2 * HOUR + 600))
    assert "explained: sreport counts 600 GPU-seconds of resized jobs twice" in said
    assert "agree with Slurm" in said


@pytest.mark.parametrize(("slurm", "cause"), [(3 * HOUR, "runs are missing"), (HOUR, "not rolled up")])
def test_another_sum_than_slurms_is_a_difference_with_its_likely_cause(tmp_path: Path, slurm: int, cause: str) -> None:
    allocation = make.allocation()
    make.imported(make.run(allocation=allocation, hours=2, start_at=TEN), cluster=allocation.pool.cluster)
    said = reconciled(allocation, slurm_says(tmp_path, allocation, slurm))
    assert (cause in said, "exit 1: 1 differences." in said) == (True, True)


def test_days_that_are_not_imported_yet_are_said_to_be(tmp_path: Path) -> None:
    allocation = make.allocation()
    run = make.run(allocation=allocation, hours=2, start_at=TEN)
    make.imported(run, cluster=allocation.pool.cluster, as_of=TEN + timedelta(hours=3))
    assert "usage is imported only until" in reconciled(allocation, slurm_says(tmp_path, allocation, 3 * HOUR))


def test_what_is_not_sreport_is_refused() -> None:
    cluster = make.cluster("hgx")
    headed = ["-----\n", "Usage reported in TRES Seconds\n", "Cluster|Account|Login|Proper Name|TRES Name|Used\n"]
    assert read_sreport([*headed, "hgx|lab|u1|A|gres/gpu|5\n", "hgx|lab|u2|B|gres/gpu|6\n"], cluster) == {"lab": 11}
    for line in ("Usage reported in TRES Hours", "hgx|lab|u1|5", "hgx|lab|u1|A|gres/gpu|5(10%)"):
        with pytest.raises(UnreadableReport):
            read_sreport([line], cluster)
