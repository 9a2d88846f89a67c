"""Importing usage: whatever the order, overlap or repetition, the same books, to the second."""

import json
import os
import random
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, permutations
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from allocations.models import JobRun, LedgerEntry, QuarantinedRecord, RunCharge, RunObservation, UsageImport
from allocations.models.usage import outcome_of
from allocations.slurm.history import AccountPlan, History, make_history
from allocations.usage import UnreadableExport
from allocations.verifying import differences
from centre.models import Event
from tests import make
from tests.allocations.books import (
    books,
    charged_by_account,
    charged_by_account_and_day,
    counts,
    imported,
    opened,
    small_centre,
)
from tests.allocations.exports import HONG_KONG, spelled

pytestmark = pytest.mark.django_db

CAPTURED = Path(__file__).resolve().parent.parent / "data" / "slurm"
NOON = datetime(2026, 3, 5, 12, tzinfo=HONG_KONG)
RAN = 8 * 7200  # RUN in tests/allocations/exports.py: 8 GPUs from 10:00:05 to 12:00:05


def history(seed: int = 11, runs: int = 1_200) -> History:
    plans = [
        AccountPlan(
            account=account,
            users=users,
            partition="batch",
            gpu_type=gpu_type,
            gpu_hours=hours,
            first_on=date(2026, 1, 1),
            last_on=date(2026, 12, 31),
        )
        for account, users, gpu_type, hours in (
            ("lab", ("amy", "ben"), "h800", 3_000),
            ("clinic", ("cat",), "", 900),
            ("port", ("dan", "eve"), "h800", 1_500),
        )
    ]
    return make_history(
        seed=seed,
        runs=runs,
        start=datetime(2026, 1, 1, tzinfo=HONG_KONG),
        end=datetime(2026, 3, 20, 10, 30, tzinfo=HONG_KONG),
        cluster="hgx",
        zone=HONG_KONG,
        plans=plans,
    )


def test_history_is_charged_to_the_second_by_account_and_by_day() -> None:
    cluster = small_centre(accounts=("lab", "clinic", "port"))
    made = history()
    done = imported(made.text, cluster=cluster, as_of=datetime.fromtimestamp(made.exported_at, UTC))
    assert counts(done) == (made.truth.records, 0, 0, 0)
    assert done.charged_gpu_seconds == sum(made.truth.charged.values())
    assert charged_by_account() == {account: seconds for account, seconds in made.truth.charged.items() if seconds}
    assert charged_by_account_and_day() == {
        f"{account} {day}": seconds for (account, day), seconds in made.truth.charged_by_day.items() if seconds
    }
    assert list(differences()) == []


def test_same_file_again_changes_nothing() -> None:
    cluster = small_centre(accounts=("lab", "clinic", "port"))
    made = history()
    as_of = datetime.fromtimestamp(made.exported_at, UTC)
    first = imported(made.text, cluster=cluster, as_of=as_of)
    before, entries = books(), LedgerEntry.objects.count()
    again = imported(made.text, cluster=cluster, as_of=as_of)
    assert counts(again) == (0, first.read, 0, 0)
    assert again.charged_gpu_seconds == 0
    assert (books(), LedgerEntry.objects.count()) == (before, entries)


def parts(text: bytes, pieces: int, chance: random.Random) -> list[bytes]:
    """Overlapping parts of an export that together hold all of it, each with the header, in any order."""
    lines = text.split(b"\n")
    # a record may span lines: cut only where a record begins
    header, delimiter = lines[0], lines[0].split(b"JobIDRaw")[1].split(b"JobID")[0]
    starts = [n for n, line in enumerate(lines) if n and line.count(delimiter) > 5]
    edges = [starts[round(n * (len(starts) - 1) / pieces)] for n in range(pieces)] + [len(lines) - 1]
    cut = []
    for first, last in pairwise(edges):
        begin = max(start for start in starts if start <= max(starts[0], first - 40))
        cut.append(header + b"\n" + b"\n".join(lines[begin:last]) + b"\n")
    chance.shuffle(cut)
    return cut


@pytest.mark.parametrize("seed", [1, 2])
def test_overlapping_parts_in_any_order_give_the_same_books(seed: int) -> None:
    made = history(seed=20 + seed)
    as_of = datetime.fromtimestamp(made.exported_at, UTC)
    cluster = small_centre(accounts=("lab", "clinic", "port"))
    for part in parts(made.text, 5, random.Random(seed)):
        imported(part, cluster=cluster, as_of=as_of)
    assert charged_by_account() == {account: seconds for account, seconds in made.truth.charged.items() if seconds}
    assert charged_by_account_and_day() == {
        f"{account} {day}": seconds for (account, day), seconds in made.truth.charged_by_day.items() if seconds
    }
    assert JobRun.objects.count() == made.truth.records
    assert list(differences()) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_run_seen_pending_running_and_ended_gives_the_same_books_in_every_order(order: tuple[int, ...]) -> None:
    pending = {"State": "PENDING", "Start": "Unknown", "End": "Unknown", "AllocTRES": "", "NodeList": "None assigned"}
    running = {"State": "RUNNING", "End": "Unknown"}
    exports = [
        (spelled(pending), datetime(2026, 3, 4, 10, 0, 1, tzinfo=HONG_KONG)),
        (spelled(running), datetime(2026, 3, 4, 11, 0, 5, tzinfo=HONG_KONG)),
        (spelled({}), NOON),
    ]
    cluster = small_centre()
    for place in order:
        data, as_of = exports[place]
        imported(data, cluster=cluster, as_of=as_of)
    run = JobRun.objects.get()
    assert (run.state, run.finished, run.as_of) == ("COMPLETED", True, NOON)
    assert sorted(RunObservation.objects.values_list("state", flat=True)) == ["PENDING", "RUNNING"]
    assert charged_by_account() == {"lab": RAN}
    assert charged_by_account_and_day() == {"lab 2026-03-04": RAN}
    assert list(differences()) == []


def test_running_job_is_charged_as_it_runs_and_corrected_by_what_follows() -> None:
    cluster = small_centre()
    running = spelled({"State": "RUNNING", "End": "Unknown"})
    imported(running, cluster=cluster, as_of=datetime(2026, 3, 4, 11, 0, 5, tzinfo=HONG_KONG))
    assert charged_by_account() == {"lab": 8 * 3600}
    imported(running, cluster=cluster, as_of=datetime(2026, 3, 5, 1, 0, 0, tzinfo=HONG_KONG))
    assert charged_by_account_and_day() == {"lab 2026-03-04": 8 * (13 * 3600 + 3595), "lab 2026-03-05": 8 * 3600}
    imported(spelled({}), cluster=cluster, as_of=NOON)
    assert charged_by_account_and_day() == {"lab 2026-03-04": RAN}
    kinds = LedgerEntry.objects.filter(total="used").order_by("id").values_list("kind", "effective_on", "seconds")
    assert list(kinds) == [
        ("charge", date(2026, 3, 4), -8 * 3600),
        ("charge", date(2026, 3, 4), -8 * (12 * 3600 + 3595)),
        ("charge", date(2026, 3, 5), -8 * 3600),
        ("refund", date(2026, 3, 4), 8 * (12 * 3600 + 3595 - 3600)),
        ("refund", date(2026, 3, 5), 8 * 3600),
    ]
    assert list(differences()) == []


def test_older_export_after_a_newer_one_changes_nothing() -> None:
    cluster = small_centre()
    imported(spelled({}), cluster=cluster, as_of=NOON)
    before = books()
    late = imported(
        spelled({"State": "RUNNING", "End": "Unknown"}),
        cluster=cluster,
        as_of=datetime(2026, 3, 4, 11, 0, 0, tzinfo=HONG_KONG),
    )
    assert counts(late) == (0, 1, 0, 0)
    assert books() == before


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_ended_run_seen_later_with_the_same_content_outranks_a_different_one_in_between(order: tuple[int, ...]) -> None:
    cluster = small_centre()
    other = spelled({"ExitCode": "1:0", "End": "2026-03-04T12:10:05"})
    exports = [(spelled({}), NOON), (other, NOON + timedelta(hours=1)), (spelled({}), NOON + timedelta(hours=2))]
    for place in order:
        data, as_of = exports[place]
        imported(data, cluster=cluster, as_of=as_of)
    run = JobRun.objects.get()
    assert (charged_by_account(), run.exit_code, run.as_of) == ({"lab": RAN}, "0:0", NOON + timedelta(hours=2))
    assert list(differences()) == []


@pytest.mark.parametrize("name", ["sacct_X_dup.txt", "sacct_X_delim.txt", "sacct_X_epoch.txt", "sacct_X_utc.txt"])
def test_real_output_in_every_format_is_the_same_398_runs(name: str) -> None:
    accounts = [*(f"aiss-000{n}" for n in range(1, 7)), "aiss-ops", "aiss-9001", "aiss-9002", "aiss-9003"]
    cluster = small_centre("hgxlab", accounts=accounts)
    as_of = datetime(2026, 11, 23, 2, 36, 30, tzinfo=HONG_KONG)

    def bring(file: str) -> UsageImport:
        zone = ZoneInfo("UTC") if "utc" in file else None
        return imported((CAPTURED / file).read_bytes(), cluster=cluster, as_of=as_of, zone=zone)

    first = bring("sacct_X_dup.txt")
    assert (first.accepted, first.quarantined) == (398, 0)
    assert JobRun.objects.count() == 398
    charged = charged_by_account_and_day()
    bring(name)
    assert JobRun.objects.count() == 398
    assert list(differences()) == []
    running = JobRun.objects.filter(finished=False).exists()
    assert running
    # the exports ran one after the other: a job that was running in the first may have ended by the next
    assert set(charged_by_account_and_day()) == set(charged)


def test_job_named_like_a_record_charges_nobody_else() -> None:
    cluster = small_centre(accounts=("lab", "victim"))
    forged = spelled({"JobIDRaw": "666", "JobID": "666", "DBIndex": "6660", "Account": "victim"}, delimiter="|")
    record = forged.decode().split("\n")[1]
    done = imported(spelled({"JobName": f"nice\n{record}\nname"}), cluster=cluster, as_of=NOON)
    assert counts(done) == (1, 0, 0, 0)
    assert charged_by_account() == {"lab": RAN}
    assert JobRun.objects.get().job_name == f"nice\n{record}\nname"
    assert done.warning == ""


def test_guessable_delimiter_and_missing_instant_are_said() -> None:
    cluster = small_centre()
    done = imported(spelled({}, delimiter="|"), cluster=cluster)
    assert done.as_of == datetime(2026, 3, 4, 12, 0, 5, tzinfo=HONG_KONG)
    assert not done.as_of_was_given
    assert len(done.warning.splitlines()) == 2


def test_instant_in_the_future_is_refused_with_nothing_kept() -> None:
    cluster = small_centre()
    with pytest.raises(UnreadableExport, match="in the future"):
        imported(spelled({}), cluster=cluster, as_of=datetime(2200, 1, 1, tzinfo=HONG_KONG))
    assert (UsageImport.objects.count(), JobRun.objects.count()) == (0, 0)


def test_instant_before_what_the_file_says_fails_the_import_with_nothing_charged() -> None:
    cluster = small_centre()
    with pytest.raises(UnreadableExport, match="earlier than"):
        imported(spelled({}), cluster=cluster, as_of=datetime(2026, 3, 4, 12, 0, 4, tzinfo=HONG_KONG))
    failed = UsageImport.objects.get()
    assert (failed.state, failed.read, failed.lease_until) == ("failed", 0, None)
    assert failed.error.startswith("The export instant 2026-03-04T04:00:04+00:00 is earlier than")
    assert (JobRun.objects.count(), LedgerEntry.objects.filter(total="used").count()) == (0, 0)


def test_record_of_a_far_future_does_not_stop_the_others() -> None:
    cluster = small_centre()
    damaged = {"JobIDRaw": "8", "DBIndex": "72", "End": "2099-01-01T00:00:00"}
    for as_of in (NOON, None):
        done = imported(spelled(damaged, {}), cluster=cluster, as_of=as_of)
        assert (done.state, done.read, done.quarantined) == ("done", 2, 1)
    assert charged_by_account() == {"lab": RAN}
    assert {(record.line, record.reason) for record in QuarantinedRecord.objects.all()} == {
        (2, "The record speaks of an instant more than a day after the export.")
    }


def test_bad_records_are_kept_and_the_good_ones_charged() -> None:
    cluster = small_centre()
    done = imported(
        spelled({"Submit": "yesterday"}, {}, {"JobIDRaw": "8.batch", "JobID": "8.batch"}, {"Cluster": "elsewhere"}),
        cluster=cluster,
        as_of=NOON,
    )
    assert counts(done) == (1, 0, 1, 2)
    assert charged_by_account() == {"lab": RAN}
    assert list(QuarantinedRecord.objects.order_by("line").values_list("line", "state")) == [
        (2, "waiting"),
        (5, "waiting"),
    ]


def test_record_of_two_known_runs_is_quarantined() -> None:
    cluster = small_centre()
    other = {"DBIndex": "91", "Submit": "2026-03-04T11:00:00", "Start": "2026-03-04T11:30:00"}  # a requeue
    imported(spelled({}, other), cluster=cluster, as_of=NOON)
    before = books()
    done = imported(spelled({"DBIndex": "91"}), cluster=cluster, as_of=NOON)
    assert counts(done) == (0, 0, 0, 1)
    assert "two runs" in QuarantinedRecord.objects.get().reason
    assert books() == before


def test_run_is_recognised_without_its_database_index() -> None:
    cluster = small_centre()
    imported(spelled({"DBIndex": ""}), cluster=cluster, as_of=NOON)
    done = imported(spelled({}), cluster=cluster, as_of=NOON)
    assert (done.read, JobRun.objects.count()) == (1, 1)
    assert JobRun.objects.get().db_index == "71"
    assert charged_by_account() == {"lab": RAN}


def test_two_observations_in_one_file_are_one_run() -> None:
    cluster = small_centre()
    running = {"State": "RUNNING", "End": "Unknown"}
    done = imported(spelled(running, {}, running, {}), cluster=cluster, as_of=NOON)
    assert counts(done) == (1, 3, 0, 0)
    assert JobRun.objects.get().state == "COMPLETED"
    assert list(RunObservation.objects.values_list("state", flat=True)) == ["RUNNING"]
    assert charged_by_account() == {"lab": RAN}


def test_typed_parts_charge_their_own_pools() -> None:
    cluster = small_centre()
    other = make.pool(cluster=cluster, tres="gres/gpu:l40s", from_on=date(2020, 1, 1))
    second = opened(account="lab", pool=other)
    imported(
        spelled({"AllocTRES": "gres/gpu:h800=2,gres/gpu:l40s=3,gres/gpu=6"}), cluster=cluster, as_of=NOON
    )  # the sixth has no type and goes by its partition, batch
    second.refresh_from_db()
    assert second.used_seconds == 3 * 7200
    assert charged_by_account() == {"lab": 6 * 7200}
    assert list(differences()) == []


def test_usage_without_an_allocation_waits_and_is_charged_when_one_opens() -> None:
    cluster = small_centre(accounts=())
    pool = cluster.pools.get()
    done = imported(spelled({}, {"JobIDRaw": "8", "DBIndex": "81", "AllocTRES": ""}), cluster=cluster, as_of=NOON)
    assert (done.unmatched, done.charged_gpu_seconds) == (1, 0)
    assert list(JobRun.objects.unmatched().values_list("job_id_raw", "unmatched_seconds")) == [(7, RAN)]
    assert list(differences()) == []
    allocation = opened(account="lab", pool=pool)
    assert allocation.used_seconds == RAN
    assert JobRun.objects.unmatched().count() == 0
    assert list(differences()) == []


def test_usage_past_the_grant_is_charged_all_the_same() -> None:
    cluster = small_centre(accounts=())
    allocation = opened(account="lab", pool=cluster.pools.get(), hours=1)
    imported(spelled({}), cluster=cluster, as_of=NOON)
    allocation.refresh_from_db()
    assert (allocation.available_seconds, allocation.is_overdrawn) == (3600 - RAN, True)


def test_run_over_the_end_of_a_period_charges_each_its_days() -> None:
    cluster = small_centre(accounts=())
    pool = cluster.pools.get()
    first = opened(account="lab", pool=pool, end_on=date(2026, 3, 4))
    second = opened(account="lab", pool=pool, start_on=date(2026, 3, 5))
    imported(spelled({"End": "2026-03-05T02:00:00"}), cluster=cluster, as_of=NOON)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.used_seconds, second.used_seconds) == (8 * (14 * 3600 - 5), 8 * 7200)


def test_user_name_that_changes_moves_the_daily_usage() -> None:
    cluster = small_centre()
    imported(spelled({"State": "RUNNING", "End": "Unknown"}), cluster=cluster, as_of=NOON)
    imported(spelled({"User": "amy2"}), cluster=cluster, as_of=NOON)
    assert [row[2:] for row in books()["daily"]] == [("amy2", "completed", RAN)]
    assert list(differences()) == []


def test_import_is_on_the_audit_trail_and_every_charge_names_its_entry() -> None:
    cluster = small_centre()
    done = imported(spelled({}), cluster=cluster, as_of=NOON)
    assert Event.objects.filter(act="import_usage").values_list("object_id", flat=True).get() == str(done.pk)
    charge = RunCharge.objects.select_related("entry").get()
    assert (charge.entry.seconds, charge.entry.source_kind, charge.entry.source_reference) == (
        -RAN,
        "usage",
        f"import-{done.pk}",
    )


def generator() -> Path | None:
    """The outside generator with known totals, where it is present beside the checkout."""
    folder = Path(os.environ.get("SLURM_LAB", Path(__file__).resolve().parents[3] / "shared" / "slurm"))
    return folder / "gen_sacct.py" if (folder / "gen_sacct.py").is_file() else None


@pytest.mark.parametrize("rows", [8_000, pytest.param(50_000, marks=pytest.mark.hard)])
def test_outside_generator_agrees_to_the_second(tmp_path: Path, rows: int) -> None:
    script = generator()
    if script is None:
        pytest.skip("the outside generator of sacct files is not present (set SLURM_LAB to its folder)")
    seed = random.SystemRandom().randrange(1_000_000)
    file, truth_file = tmp_path / "sacct.txt", tmp_path / "truth.json"
    asked = ["--rows", str(rows), "--months", "3", "--seed", str(seed), "--out", str(file), "--truth", str(truth_file)]
    subprocess.run([sys.executable, str(script), *asked], check=True, capture_output=True)
    truth = json.loads(truth_file.read_text())
    by_account = truth["charged_gpu_seconds_by_account"]
    cluster = small_centre("hgxlab", accounts=by_account)
    as_of = datetime.fromisoformat(truth["export_at"]).replace(tzinfo=HONG_KONG)
    done = imported(file.read_bytes(), cluster=cluster, as_of=as_of)
    _accepted, _same, *lost = counts(done)  # a requeue within one second of its submission is the same run
    assert (seed, done.read, lost) == (seed, truth["rows"], [0, 0])
    assert (seed, charged_by_account()) == (seed, {account: n for account, n in by_account.items() if n})
    by_day = truth["charged_gpu_seconds_by_account_and_day"]
    assert (seed, charged_by_account_and_day()) == (seed, {key: n for key, n in by_day.items() if n})
    again = imported(file.read_bytes(), cluster=cluster, as_of=as_of)
    assert (seed, again.accepted, again.charged_gpu_seconds) == (seed, 0, 0)


def test_database_index_that_begins_again_is_another_run() -> None:
    """Slurm's accounting database was rebuilt: indexes begin at 1 again, job numbers go on."""
    cluster = small_centre(accounts=("lab", "clinic"))
    imported(spelled({}), cluster=cluster, as_of=NOON)
    later = {"JobIDRaw": "5000", "JobID": "5000", "Account": "clinic", "Submit": "2026-03-04T11:00:00"}
    done = imported(spelled(later), cluster=cluster, as_of=NOON)
    assert counts(done) == (1, 0, 0, 0)
    assert charged_by_account() == {"lab": RAN, "clinic": 8 * 3605}
    assert list(JobRun.objects.order_by("job_id_raw").values_list("db_index", flat=True)) == ["71", "71"]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        *[("COMPLETED", "completed"), ("FAILED", "failed"), ("OUT_OF_MEMORY", "failed"), ("TIMEOUT", "timed_out")],
        *[("CANCELLED", "cancelled"), ("CANCELLED by 1000", "cancelled"), ("NODE_FAIL", "interrupted")],
    ],
)
def test_run_that_ends_moves_the_daily_usage_to_its_outcome(state: str, outcome: str) -> None:
    cluster = small_centre()
    imported(spelled({"State": "RUNNING", "End": "Unknown"}), cluster=cluster, as_of=NOON)
    assert {row[2:4] for row in books()["daily"]} == {("amy", "unfinished")}
    imported(spelled({"State": state}), cluster=cluster, as_of=NOON)
    assert [row[2:] for row in books()["daily"]] == [("amy", outcome, RAN)]
    run = JobRun.objects.get()
    assert outcome_of(run.state, finished=run.finished) == outcome
    assert list(differences()) == []


NEEDED_ONLY = ("JobIDRaw", "Account", "State", "Submit", "Start", "End", "AllocTRES", "Partition")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_export_that_leaves_columns_out_forgets_nothing(order: tuple[int, int]) -> None:
    cluster = small_centre()
    exports = [(spelled({}), NOON), (spelled({}, order=NEEDED_ONLY), NOON + timedelta(hours=1))]
    for place in order:
        data, as_of = exports[place]
        imported(data, cluster=cluster, as_of=as_of)
    run = JobRun.objects.get()
    assert (run.user_name, run.job_id, run.job_name, run.db_index) == ("amy", "7", "train", "71")
    assert run.as_of == NOON + timedelta(hours=1)
    assert [row[2:] for row in books()["daily"]] == [("amy", "completed", RAN)]
    assert list(differences()) == []


def test_export_without_runs_and_without_instant_says_nothing_of_when() -> None:
    cluster = small_centre()
    done = imported(spelled(), cluster=cluster)
    assert (done.as_of, done.read, done.state) == (None, 0, "done")
    bad = imported(spelled({"Submit": "?"}), cluster=cluster)
    assert (bad.as_of, counts(bad)) == (None, (0, 0, 0, 1))
    empty = imported(spelled(), cluster=cluster, as_of=NOON)
    assert empty.as_of == NOON
