"""The awkward kinds of runs that Slurm tells of, each through the whole import: what they cost, and on which day."""

import time
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import permutations
from zoneinfo import ZoneInfo

import pytest

from allocations.models import JobRun, LedgerEntry
from allocations.verifying import differences
from tests.allocations.books import charged_by_account, charged_by_account_and_day, counts, imported, small_centre
from tests.allocations.exports import HONG_KONG, ORDER, spelled

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 5, 12, tzinfo=HONG_KONG)
RAN = 8 * 7200  # RUN in tests/allocations/exports.py: 8 GPUs from 10:00:05 to 12:00:05
NOTHING = {"AllocTRES": "", "NodeList": "None assigned"}
WAITING = {"State": "PENDING", "Start": "Unknown", "End": "Unknown", **NOTHING}
AT_TEN, AT_ELEVEN = "2026-03-04T10:00:00", "2026-03-04T11:00:00"
Run = Mapping[str, str]


def other(number: int, **changes: str) -> Run:
    """Another job than RUN."""
    return {"JobIDRaw": str(number), "JobID": str(number), "DBIndex": str(number * 10), **changes}


@pytest.mark.parametrize(
    ("runs", "seconds"),
    [
        pytest.param([{"Suspended": "01:59:58", "ElapsedRaw": "2"}], RAN, id="suspended: its GPUs stayed taken"),
        pytest.param(
            [
                {"State": "REQUEUED", "End": AT_ELEVEN},
                {"DBIndex": "72", "Submit": AT_ELEVEN, "Start": "2026-03-04T11:02:00"},
            ],
            8 * (3595 + 3485),
            id="requeued: each run",
        ),
        pytest.param(
            [
                {"State": "RESIZING", "End": AT_ELEVEN, "AllocTRES": "gres/gpu:h800=16,gres/gpu=16,node=2"},
                {"DBIndex": "72", "Submit": AT_ELEVEN, "ElapsedRaw": "7200"},  # Start is the first start
            ],
            16 * 3595 + 8 * 3605,
            id="resized: no second twice",
        ),
        pytest.param(
            [other(65, JobID="65+0"), other(66, JobID="65+1", AllocTRES="gres/gpu:h800=1,gres/gpu=1")],
            RAN + 7200,
            id="het: every part",
        ),
        pytest.param(
            [{}, other(7, JobIDRaw="7.batch", JobID="7.batch"), other(7, JobIDRaw="7.0", JobID="7.0")],
            RAN,
            id="steps: not again",
        ),
        pytest.param(
            [{"State": "FAILED", "Start": AT_TEN, "End": AT_TEN, "ElapsedRaw": "0", **NOTHING}], 0, id="rejected"
        ),
        pytest.param(
            [{"State": "CANCELLED by 21001", "Start": AT_ELEVEN, "End": AT_ELEVEN, **NOTHING}], 0, id="never started"
        ),
        pytest.param(
            [{"State": "CANCELLED", "Eligible": "Unknown", "Start": "None", **NOTHING}], 0, id="died by dependency"
        ),
        pytest.param([{"AllocTRES": "billing=1,cpu=1,mem=1G,node=1"}], 0, id="no GPU"),
        pytest.param([{"AllocTRES": "billing=1,gres/gpu=8,node=1"}], RAN, id="GPUs without a type"),
        pytest.param([{"State": "CANCELLED by 21001"}], RAN, id="state with a suffix"),
        pytest.param([{"State": "TIMEOUT", "TimelimitRaw": "UNLIMITED"}], RAN, id="limit in a word"),
        pytest.param([{"State": "RUNNING", "End": "Unknown"}], 8 * (13 * 3600 + 3595 + 12 * 3600), id="still running"),
        pytest.param([{"State": "PENDING", "End": "2026-03-05T12:00:00"}], 0, id="pending, clipped by -T"),
        pytest.param([{"DBIndex": ""}, other(8, DBIndex="")], 2 * RAN, id="without database index"),
        pytest.param(
            [{}, other(7, Submit="2026-03-05T10:00:00", Start="2026-03-05T11:00:00", End="2026-03-05T11:00:01")],
            RAN + 8,
            id="job number used again",
        ),
    ],
)
def test_awkward_run_costs_what_it_held(runs: list[Run], seconds: int) -> None:
    order = (*ORDER[:-1], "Suspended", "JobName")
    cluster = small_centre()
    export = spelled(*({"Suspended": "00:00:00", **run} for run in runs), order=order)
    for _again in range(2):
        assert imported(export, cluster=cluster, as_of=NOON).quarantined == 0
        assert charged_by_account() == ({"lab": seconds} if seconds else {})
    assert not JobRun.objects.unmatched().exists()
    assert list(differences()) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_array_is_charged_task_by_task_whatever_its_pending_row_said(order: tuple[int, ...]) -> None:
    """The row of the tasks that wait has the array's own number, which its last task keeps."""
    rest = {"JobID": "54_[2-3%2]", "JobIDRaw": "54", "DBIndex": "540"}
    first = other(55, JobID="54_1")
    ended = [first, other(56, JobID="54_2"), {**rest, "JobID": "54_3"}]
    exports = [
        (spelled({**rest, "JobID": "54_[1-3%2]", **WAITING}), datetime(2026, 3, 4, 10, 0, 1, tzinfo=HONG_KONG)),
        (spelled({**first, "State": "RUNNING", "End": "Unknown"}, {**rest, **WAITING}), NOON - timedelta(hours=24)),
        (spelled(*ended), NOON),
    ]
    cluster = small_centre()
    for place in order:
        data, as_of = exports[place]
        imported(data, cluster=cluster, as_of=as_of)
    assert list(JobRun.objects.order_by("job_id").values_list("job_id", flat=True)) == ["54_1", "54_2", "54_3"]
    assert charged_by_account() == {"lab": 3 * RAN}
    assert list(differences()) == []


@pytest.mark.parametrize("indexes", [("71", ""), ("", "71"), ("71", "71"), ("", "")])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_database_index_may_stand_in_any_of_the_exports(indexes: tuple[str, str], order: tuple[int, int]) -> None:
    exports = [
        (spelled({"State": "RUNNING", "End": "Unknown", "DBIndex": indexes[0]}), NOON - timedelta(hours=24)),
        (spelled({"DBIndex": indexes[1]}), NOON),
    ]
    cluster = small_centre()
    for place in order:
        data, as_of = exports[place]
        imported(data, cluster=cluster, as_of=as_of)
    assert JobRun.objects.get().db_index == ("71" if any(indexes) else None)
    assert charged_by_account() == {"lab": RAN}


@pytest.mark.parametrize("name", ["Reserved", "Planned"])
def test_old_and_new_names_of_fields_change_nothing(name: str) -> None:
    cluster = small_centre()
    imported(spelled({}), cluster=cluster, as_of=NOON)
    renamed = spelled({name: "00:00:05"}, order=(name, *ORDER[::-1]))
    done = imported(renamed, cluster=cluster, as_of=NOON)
    assert counts(done) == (0, 1, 0, 0)


@pytest.fixture(params=["America/New_York", "Pacific/Kiritimati", "UTC"])
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The machine's own time zone, as the process knows it."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_time_zone_of_the_machine_changes_nothing(machine_zone: str) -> None:
    cluster = small_centre()
    assert time.tzname[0] != "HKT", machine_zone
    over_midnight = {"Start": "2026-03-04T23:00:00", "End": "2026-03-05T01:00:00"}
    imported(spelled(over_midnight), cluster=cluster, as_of=NOON)
    assert charged_by_account_and_day() == {"lab 2026-03-04": 8 * 3600, "lab 2026-03-05": 8 * 3600}
    in_utc = dict.fromkeys(("Submit", "Eligible"), "2026-03-04T02:00:00")
    in_utc |= {"Start": "2026-03-04T15:00:00", "End": "2026-03-04T17:00:00"}
    again = imported(spelled(in_utc), cluster=cluster, as_of=NOON, zone=ZoneInfo("UTC"))
    assert counts(again) == (0, 1, 0, 0)


def test_correction_of_an_earlier_month_is_posted_on_its_days() -> None:
    cluster = small_centre()
    began = {"Submit": "2026-02-27T10:00:00", "Start": "2026-02-27T12:00:00"}
    imported(spelled({**began, "State": "RUNNING", "End": "Unknown"}), cluster=cluster, as_of=NOON)
    days = [date(2026, 2, 27) + timedelta(days=n) for n in range(7)]
    hours = [12, 24, 24, 24, 24, 24, 12]
    assert charged_by_account_and_day() == {f"lab {day}": 8 * 3600 * n for day, n in zip(days, hours, strict=True)}
    entries = LedgerEntry.objects.count()
    imported(spelled({**began, "End": "2026-02-28T06:00:00"}), cluster=cluster, as_of=NOON + timedelta(hours=1))
    assert charged_by_account_and_day() == {f"lab {days[0]}": 8 * 3600 * 12, f"lab {days[1]}": 8 * 3600 * 6}
    posted = LedgerEntry.objects.order_by("id").values_list("kind", "effective_on", "seconds")[entries:]
    assert list(posted) == [
        ("refund", day, 8 * 3600 * n) for day, n in zip(days[1:], [18, 24, 24, 24, 24, 12], strict=True)
    ]
    assert list(differences()) == []


@pytest.mark.parametrize("delimiter", ["|", "\x1f", "q7Zx-Lp2_vR9tK4w"])
@pytest.mark.parametrize("typed", ["|", "\x1f", ",", "\t", "  "])
def test_name_with_another_delimiter_imitates_nothing(delimiter: str, typed: str) -> None:
    if delimiter == typed:
        typed = delimiter + typed  # the guessed one itself is why a delimiter has to be random
    forged = spelled({"JobIDRaw": "666", "DBIndex": "6660", "Account": "victim"}, delimiter=typed).decode()
    cluster = small_centre(accounts=("lab", "victim"))
    done = imported(spelled({"JobName": f"x\n{forged}"}, delimiter=delimiter), cluster=cluster, as_of=NOON)
    assert charged_by_account() == {"lab": RAN}
    assert done.accepted == 1
