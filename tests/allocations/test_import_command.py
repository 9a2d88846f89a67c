"""`manage.py import_usage` and `verify_ledger`, as the operator calls them."""

import gzip
import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from allocations.models import JobRun, LedgerEntry, QuarantinedRecord, RunCharge, UsageImport
from centre.models import Event
from tests.allocations.books import charged_by_account, imported, small_centre
from tests.allocations.exports import spelled

pytestmark = pytest.mark.django_db

CAPTURED = Path(__file__).resolve().parent.parent / "data" / "slurm"
RAN = 8 * 7200


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def refusal(*arguments: str) -> tuple[str, int]:
    with pytest.raises(CommandError) as refused:
        call_command(*arguments, stdout=StringIO(), stderr=StringIO())
    return str(refused.value), refused.value.returncode


def rows_written() -> list[int]:
    return [model.objects.count() for model in (UsageImport, JobRun, RunCharge, QuarantinedRecord, Event)]


def export(folder: Path, data: bytes) -> str:
    file = folder / "export.txt"
    file.write_bytes(data)
    return str(file)


def test_import_prints_its_counts(tmp_path: Path) -> None:
    small_centre()
    file = export(tmp_path, spelled({}, {"JobIDRaw": "8", "DBIndex": "81", "Account": "nobody"}, {"Submit": "?"}))
    printed = json.loads(said("import_usage", "--cluster", "hgx", "--as-of", "2026-03-05T12:00:00", "--json", file))
    assert printed == {
        "read": 3,
        "accepted": 2,
        "unchanged": 0,
        "ignored": 0,
        "quarantined": 1,
        "unmatched": 1,
        "charged_gpu_seconds": RAN,
    }
    plain = said("import_usage", "--cluster", "hgx", "--as-of", "2026-03-05T12:00:00", file).splitlines()
    assert plain[:3] == ["read: 3", "accepted: 0", "unchanged: 2"]
    assert plain[-1] == "charged_gpu_seconds: 0"


@pytest.mark.parametrize(
    "instant", ["2026-03-04T11:00:05", "2026-03-04T03:00:05Z", "1772593205", "2026-03-04T03:00:05+00:00"]
)
def test_instant_is_in_the_clusters_zone_unless_it_says_otherwise(tmp_path: Path, instant: str) -> None:
    small_centre()
    file = export(tmp_path, spelled({"State": "RUNNING", "End": "Unknown"}))
    said("import_usage", "--cluster", "hgx", "--as-of", instant, file)
    assert charged_by_account() == {"lab": 8 * 3600}


def test_times_are_read_in_the_zone_that_is_named(tmp_path: Path) -> None:
    small_centre()
    said("import_usage", "--cluster", "hgx", "--time-zone", "UTC", export(tmp_path, spelled({})))
    assert JobRun.objects.get().submit_at.isoformat() == "2026-03-04T10:00:00+00:00"


def test_export_that_lacks_needed_fields_is_refused_naming_them() -> None:
    small_centre("hgxlab")
    before = rows_written()
    message, code = refusal("import_usage", "--cluster", "hgxlab", str(CAPTURED / "sacct_X_noconvert.txt"))
    assert code == 2
    for field in ("JobIDRaw", "Account", "State", "Submit", "Start", "End", "Partition"):
        assert field in message
    assert "AllocTRES" not in message
    assert rows_written() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("--cluster", "hgx", "no-such-file.txt"),
        ("--cluster", "elsewhere", "no-such-file.txt"),
        ("--cluster", "hgx", "--time-zone", "Mars/Olympus", "no-such-file.txt"),
        ("--cluster", "hgx", "--as-of", "yesterday", "no-such-file.txt"),
    ],
)
def test_what_cannot_be_read_is_refused_with_nothing_written(arguments: tuple[str, ...]) -> None:
    small_centre()
    before = rows_written()
    message, code = refusal("import_usage", *arguments)
    assert (code, "Nothing was written" in message) == (2, True)
    assert rows_written() == before


@pytest.mark.parametrize(
    ("option", "text", "said"),
    [
        ("--time-zone", "Asia", "“Asia” is not a time zone such as Asia/Hong_Kong or UTC."),
        ("--as-of", "20250202", "--as-of “20250202” is not an instant such as 2026-11-22T18:00:00."),
        ("--as-of", "20250202T101010", "--as-of “20250202T101010” is not an instant such as 2026-11-22T18:00:00."),
        ("--as-of", "12345678", "--as-of “12345678” is not an instant such as 2026-11-22T18:00:00."),
    ],
)
def test_what_is_no_zone_or_instant_is_named(tmp_path: Path, option: str, text: str, said: str) -> None:
    small_centre()
    message, code = refusal("import_usage", "--cluster", "hgx", option, text, export(tmp_path, spelled({})))
    assert (message, code) == (f"{said} Nothing was written.", 2)


def test_empty_file_is_refused(tmp_path: Path) -> None:
    small_centre()
    message, code = refusal("import_usage", "--cluster", "hgx", export(tmp_path, b""))
    assert (code, "Nothing was written" in message) == (2, True)


def test_window_begin_is_kept(tmp_path: Path) -> None:
    small_centre()
    file = export(tmp_path, spelled({}))
    window = ("--from", "2026-03-01T00:00:00", "--as-of", "2026-03-05T12:00:00")
    said("import_usage", "--cluster", "hgx", *window, file)
    begins = UsageImport.objects.get().covers_from
    assert begins is not None
    assert begins.isoformat() == "2026-02-28T16:00:00+00:00"
    message, code = refusal("import_usage", "--cluster", "hgx", "--from", "March", file)
    assert (message, code) == (
        "--from “March” is not an instant such as 2026-11-22T18:00:00. Nothing was written.",
        2,
    )


def test_compressed_file_is_read_as_what_it_contains(tmp_path: Path) -> None:
    small_centre()
    file = export(tmp_path, gzip.compress(spelled({})))
    said("import_usage", "--cluster", "hgx", "--as-of", "2026-03-05T12:00:00", file)
    assert charged_by_account() == {"lab": RAN}


def test_queued_file_waits_until_what_waits_is_imported(tmp_path: Path) -> None:
    small_centre()
    file = export(tmp_path, spelled({}))
    queued = ("import_usage", "--cluster", "hgx", "--as-of", "2026-03-05T12:00:00", "--queue", file)
    told = json.loads(said(*queued, "--json"))
    waiting = UsageImport.objects.get()
    assert (told, charged_by_account()) == ({"import": waiting.pk, "state": "received"}, {})
    assert said("import_received").splitlines() == [
        f"Import {waiting.pk} of hgx: 1 records read, 1 accepted, 0 quarantined, {RAN} GPU-seconds charged.",
        "Imported: 1. Wait: 0.",
    ]
    assert charged_by_account() == {"lab": RAN}
    assert said("import_received") == "Imported: 0. Wait: 0.\n"


def test_file_that_turns_out_wrong_is_kept_with_the_failed_import(tmp_path: Path) -> None:
    small_centre()
    file = export(tmp_path, spelled({}))
    arguments = ("import_usage", "--cluster", "hgx", "--as-of", "2026-03-04T11:00:00", file)
    message, code = refusal(*arguments)
    failed = UsageImport.objects.get()
    assert (code, failed.state, charged_by_account()) == (2, "failed", {})
    assert message.endswith(f"Nothing was charged; the file is kept with the failed import {failed.pk}.")


def test_what_fails_while_it_waits_is_told(tmp_path: Path) -> None:
    small_centre()
    file = export(tmp_path, spelled({}))
    said("import_usage", "--cluster", "hgx", "--as-of", "2026-03-04T11:00:00", "--queue", file)
    err = StringIO()
    with pytest.raises(CommandError, match=r"^Imports that failed: 1\.$") as failed:
        call_command("import_received", stdout=StringIO(), stderr=err)
    assert failed.value.returncode == 1
    assert "failed, nothing was charged: The export instant" in err.getvalue()


def test_store_that_cannot_be_written_is_told_as_something_to_try_again(tmp_path: Path, settings: Settings) -> None:
    small_centre()
    file = export(tmp_path, spelled({}))
    settings.USAGE_FILES_DIR = Path(file)  # a file where the folder should be
    message, code = refusal("import_usage", "--cluster", "hgx", file)
    assert (code, message.startswith("The file could not be kept:"), UsageImport.objects.count()) == (1, True, 0)


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE allocations_allocation SET used_seconds = used_seconds + 1",
        "UPDATE allocations_allocation SET granted_seconds = granted_seconds - 1",
        "UPDATE allocations_allocation SET held_seconds = held_seconds + 1",
        "UPDATE allocations_dailyusage SET seconds = seconds + 1",
        "UPDATE allocations_dailyusage SET user_name = 'eve'",
        "UPDATE allocations_jobrun SET alloc_tres = 'gres/gpu:h800=7,gres/gpu=7'",
        "UPDATE allocations_jobrun SET unmatched_seconds = 1",
        "UPDATE allocations_jobrun SET account = 'nobody'",
        "DELETE FROM allocations_dailyusage",
        "INSERT INTO allocations_runcharge (run_id, allocation_id, day, seconds, entry_id, recorded_at) "
        "SELECT run_id, allocation_id, day, 1, entry_id, recorded_at FROM allocations_runcharge",
    ],
)
def test_verify_ledger_names_a_seeded_fault(fault: str) -> None:
    cluster = small_centre()
    imported(spelled({}), cluster=cluster)
    assert "The books are right" in said("verify_ledger")
    with connection.cursor() as cursor:
        cursor.execute(fault)
    message, code = refusal("verify_ledger")
    assert (code, "differ" in message) == (1, True)


def test_entries_of_usage_hang_together(tmp_path: Path) -> None:
    small_centre()
    said("import_usage", "--cluster", "hgx", export(tmp_path, spelled({}, {"JobIDRaw": "8", "DBIndex": "81"})))
    entry = LedgerEntry.objects.get(kind="charge")
    assert (entry.seconds, entry.run_charges.count()) == (-2 * RAN, 2)
