"""The reports on the scheme, as CSV against the rows that they tell of."""

import csv
import io

import pytest

from allocations.models import DailyUsage
from centre.exports import Parameters, csv_chunks
from centre.registry import reports
from tests import make
from tests.subsidies import cases

pytestmark = pytest.mark.django_db


def rows_of(name: str) -> list[dict[str, str]]:
    text = b"".join(csv_chunks(reports[name], Parameters())).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_applications_tells_each_case_with_what_it_asked_and_its_outcome() -> None:
    pool, other = make.pool(), make.pool()
    award = cases.award(application=cases.application(hours={pool: 10, other: 5}, title="=cmd()"))
    waiting = cases.decision().application
    first, second = rows_of("applications")
    assert (first["application"], first["title"], first["state"]) == (award.application.number, "'=cmd()", "accepted")
    assert (first["asked_gpu_seconds"], first["asked_gpu_hours"], first["outcome"]) == ("54000", "15.00", "approved")
    assert first["project"] == award.project.code
    assert first["decided_on"] == make.today().isoformat()
    assert (second["application"], second["state"], second["outcome"]) == (waiting.number, "submitted", "")


def test_awards_tells_amount_usage_subsidy_and_own_share() -> None:
    pool = make.pool(price=1_000)
    award = cases.award(application=cases.application(hours={pool: 100}))
    DailyUsage.objects.create(
        allocation=award.grants.get().allocation, day=make.today(), user_name="u", seconds=10 * 3_600
    )
    (row,) = rows_of("awards")
    assert {name: row[name] for name in ("award", "project", "rate_percent", "amount_hkd", "standing")} == {
        "award": award.number,
        "project": award.project.code,
        "rate_percent": "70.00",
        "amount_hkd": "700.00",
        "standing": "active",
    }
    figures = ("granted_gpu_hours", "used_gpu_seconds", "list_value_hkd", "subsidy_hkd", "own_share_hkd")
    assert [row[name] for name in figures] == ["100.00", "36000", "100.00", "70.00", "30.00"]
