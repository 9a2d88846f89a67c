"""Receiving an export: whole on the disk with its row in the queue, or nothing of it."""

import gzip
import hashlib
import os
import stat
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from django.conf import settings as portal
from django.utils import timezone
from pytest_django import Settings

from allocations.importing import stored_files, working
from allocations.importing.receiving import GuessableDelimiter, receive
from allocations.models import JobRun, UsageImport
from allocations.slurm.header import UnreadableExport
from centre.models import Cluster, Event
from tests import make
from tests.allocations.books import charged_by_account, counts, small_centre
from tests.allocations.exports import HONG_KONG, spelled

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 5, 12, tzinfo=HONG_KONG)
Source = UsageImport.Source


@pytest.fixture(autouse=True)
def store(tmp_path: Path, settings: Settings) -> Path:
    """A folder of the test's own in which files are kept."""
    settings.USAGE_FILES_DIR = tmp_path
    return tmp_path


def received(
    data: bytes, *, cluster: Cluster, source: Source = Source.UPLOAD, **told: object
) -> tuple[UsageImport, bool]:
    return receive(
        stream=BytesIO(data),
        file_name="week.txt",
        cluster=cluster,
        source=source,
        at=timezone.now(),
        **{"as_of": NOON, **told},  # type: ignore[arg-type]
    )


def kept_files() -> list[Path]:
    return [path for path in Path(portal.USAGE_FILES_DIR).rglob("*") if path.is_file()]


class Pipe(BytesIO):
    """Gives a byte at first and then a few at a time, as a slow pipe does."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(1 if self.tell() == 0 else min(size or 0, 700))


def test_received_file_is_kept_as_it_came_and_waits() -> None:
    cluster = small_centre()
    data = spelled({}, {"JobIDRaw": "8", "DBIndex": "72"})
    usage_import, is_new = received(data, cluster=cluster)
    assert (is_new, usage_import.state, usage_import.claims, JobRun.objects.count()) == (True, "received", 0, 0)
    assert (usage_import.sha256, usage_import.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert usage_import.header == data.decode().partition("\n")[0]
    [path] = kept_files()
    assert (path.stat().st_size, gzip.decompress(path.read_bytes())) == (usage_import.stored_bytes, data)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Event.objects.get(act="receive_usage").changes["sha256"] == [None, usage_import.sha256]

    assert working.work_through(clock=timezone.now, worker="test") == [usage_import]

    usage_import.refresh_from_db()
    assert (usage_import.state, counts(usage_import), usage_import.claims) == ("done", (2, 0, 0, 0), 1)
    assert (usage_import.read_bytes, usage_import.phase, usage_import.lease_until) == (len(data), "", None)


@pytest.mark.parametrize("shape", ["plain", "gzip", "two gzip members", "slow pipe", "slow gzip"])
def test_any_way_of_sending_the_same_file_is_the_same_import(shape: str) -> None:
    cluster = small_centre()
    data = spelled(*({"JobIDRaw": str(number), "DBIndex": str(number)} for number in range(1, 40)))
    members = gzip.compress(data[:900]) + gzip.compress(data[900:])
    sent = {"plain": data, "slow pipe": data, "two gzip members": members}.get(shape, gzip.compress(data))
    stream = Pipe(sent) if "slow" in shape else BytesIO(sent)
    usage_import, _is_new = receive(
        stream=stream, file_name="a", cluster=cluster, source=Source.UPLOAD, at=timezone.now(), as_of=NOON
    )
    assert (usage_import.sha256, usage_import.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "does not name the fields"),
        (b"hello\nworld\n", "does not name the fields"),
        (b"JobIDRaw|Account\n", "lacks the fields"),
        (gzip.compress(spelled({}))[:-9], "compressed, and damaged"),
        (gzip.compress(spelled({}))[:40] + b"rubbish" * 9, "compressed, and damaged"),
    ],
)
def test_what_cannot_be_an_export_leaves_nothing(data: bytes, why: str) -> None:
    cluster = small_centre()
    with pytest.raises(UnreadableExport, match=why):
        received(data, cluster=cluster)
    assert (kept_files(), UsageImport.objects.count()) == ([], 0)


def test_file_above_the_limit_leaves_nothing_however_small_it_was_packed(settings: Settings) -> None:
    settings.USAGE_FILE_LIMIT = 5_000_000
    cluster = small_centre()
    bomb = gzip.compress(spelled({}) + b"x" * 40_000_000)
    assert len(bomb) < 50_000
    with pytest.raises(stored_files.TooLarge, match="larger than 5 MB"):
        received(bomb, cluster=cluster)
    assert (kept_files(), UsageImport.objects.count()) == ([], 0)


def test_file_whose_row_cannot_be_written_is_not_kept() -> None:
    with pytest.raises(ValueError, match="unsaved"):
        received(spelled({}), cluster=Cluster(code="ghost", time_zone="Asia/Hong_Kong"))
    assert kept_files() == []


def test_collector_has_to_draw_its_delimiter() -> None:
    cluster = small_centre()
    with pytest.raises(GuessableDelimiter, match="Draw a random one of 16 characters"):
        received(spelled({}, delimiter="|"), cluster=cluster, source=Source.COLLECTOR)
    assert (kept_files(), UsageImport.objects.count()) == ([], 0)
    assert received(spelled({}, delimiter="|"), cluster=cluster, source=Source.UPLOAD)[1] is True


def test_collector_that_sends_again_gets_the_import_that_stands() -> None:
    cluster = small_centre()
    first, _is_new = received(spelled({}), cluster=cluster, source=Source.COLLECTOR)
    assert received(spelled({}), cluster=cluster, source=Source.COLLECTOR) == (first, False)
    assert len(kept_files()) == 1
    later, is_new = received(spelled({}), cluster=cluster, source=Source.COLLECTOR, as_of=NOON + timedelta(hours=1))
    assert (later != first, is_new) == (True, True)
    UsageImport.objects.filter(pk=first.pk).update(state=UsageImport.State.FAILED)
    assert received(spelled({}), cluster=cluster, source=Source.COLLECTOR)[1] is True


def test_instants_that_cannot_be_right_leave_nothing() -> None:
    cluster = small_centre()
    with pytest.raises(UnreadableExport, match="is in the future"):
        received(spelled({}), cluster=cluster, as_of=timezone.now() + timedelta(minutes=10))
    with pytest.raises(UnreadableExport, match="after its end"):
        received(spelled({}), cluster=cluster, covers_from=NOON + timedelta(seconds=1))
    assert (kept_files(), UsageImport.objects.count()) == ([], 0)
    assert received(spelled({}), cluster=cluster, as_of=timezone.now() + timedelta(seconds=30))[1] is True


def test_window_after_what_the_file_tells_fails_the_import() -> None:
    cluster = small_centre()
    usage_import, _is_new = received(
        spelled({}), cluster=cluster, as_of=None, covers_from=datetime(2026, 3, 4, 13, tzinfo=HONG_KONG)
    )
    working.work_through(clock=timezone.now, worker="test")
    usage_import.refresh_from_db()
    assert (usage_import.state, usage_import.error[:28], charged_by_account()) == (
        "failed",
        "The window begins at 2026-03",
        {},
    )


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "another"])
def test_kept_file_that_was_harmed_is_not_imported(harm: str) -> None:
    cluster = small_centre()
    usage_import, _is_new = received(
        spelled(*({"JobIDRaw": str(n), "DBIndex": str(n)} for n in range(9))), cluster=cluster
    )
    [path] = kept_files()
    whole = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"cut": whole[:-20], "changed": whole[:60] + b"\xff" + whole[61:]}.get(harm, gzip.compress(spelled({})))
        )
    working.work_through(clock=timezone.now, worker="test")
    usage_import.refresh_from_db()
    state, told = {
        "cut": ("failed", "The kept file is damaged"),
        "changed": ("failed", "The kept file is damaged"),
        "gone": ("received", "FileNotFoundError"),
        "another": ("failed", "The kept file is not the one that was received"),
    }[harm]
    assert (usage_import.state, usage_import.error[: len(told)], charged_by_account()) == (state, told, {})


def test_reception_that_broke_off_is_removed_after_a_day(store: Path) -> None:
    old, fresh, whole = store / "hgx" / "a.gz.part", store / "hgx" / "b.gz.part", store / "hgx" / "c.gz"
    old.parent.mkdir()
    for path in (old, fresh, whole):
        path.write_bytes(b"x")
    yesterday = (timezone.now() - timedelta(hours=25)).timestamp()
    for path in (old, whole):
        os.utime(path, (yesterday, yesterday))
    assert stored_files.remove_unfinished(at=timezone.now()) == 1
    assert sorted(kept_files()) == [fresh, whole]


def test_failed_import_can_be_tried_again() -> None:
    cluster = small_centre()
    usage_import, _is_new = received(spelled({}), cluster=cluster)
    [path] = kept_files()
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    working.work_through(clock=timezone.now, worker="test")
    path.write_bytes(whole)
    officer = make.person()
    assert working.try_again(usage_import=usage_import, by=officer, at=timezone.now()) is True
    assert working.try_again(usage_import=usage_import, by=officer, at=timezone.now()) is False
    working.work_through(clock=timezone.now, worker="test")
    usage_import.refresh_from_db()
    assert (usage_import.state, usage_import.error, counts(usage_import)) == ("done", "", (1, 0, 0, 0))


def test_as_of_without_a_zone_of_its_own_is_kept_in_whole_seconds_of_utc() -> None:
    usage_import, _is_new = received(spelled({}), cluster=small_centre(), as_of=NOON.replace(microsecond=987_654))
    assert usage_import.as_of == datetime(2026, 3, 5, 4, tzinfo=UTC)
