"""`manage.py import_usage` and `verify_ledger`, as the operator calls them."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

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
