"""Damaged files through the whole import: the books are those of the good records, or nothing was charged."""

import gzip
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from django.conf import settings as portal
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from allocations.models import JobRun, QuarantinedRecord, UsageImport
from allocations.usage import UnreadableExport, import_usage
from allocations.verifying import differences
from centre.models import Cluster
from tests.allocations.books import charged_by_account_and_day, small_centre
from tests.allocations.mutations import HONG_KONG, Mutant, mutant, valid
from tests.allocations.test_mutated_files import answered
from tests.allocations.union_of_records import Books, books_of, latest_instant

pytestmark = pytest.mark.django_db

ACCOUNTS = {"hgxlab": [f"aiss-000{n}" for n in range(1, 7)], "hgx": ["lab", "clinic"]}
EXPORTED_AT = {
    "hgxlab": datetime(2026, 11, 23, 2, 36, 30, tzinfo=HONG_KONG),
    "hgx": datetime(2026, 2, 1, 10, 30, tzinfo=HONG_KONG),
}


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, settings: Settings) -> None:
    """Files of these tests alone: servers of other tests may still receive theirs."""
    settings.USAGE_FILES_DIR = tmp_path


def kept_files() -> set[Path]:
    return {path for path in Path(portal.USAGE_FILES_DIR).rglob("*") if path.is_file()}


def told(made: Mutant, cluster: Cluster, contents: bytes) -> Iterator[str]:
    """Import one damaged file into empty books; what is wrong afterwards."""
    at = EXPORTED_AT[cluster.code]
    answer = answered(made.data, cluster.code)
    records = [row.values for row in answer.said if row.fate == "record"] if answer else []
    fates = Counter(row.fate for row in answer.said) if answer else Counter[str]()
    as_of = int(at.timestamp())
    damaged = [each for each in records if latest_instant([each]) > as_of + 26 * 3600]  # no two zones lie so far apart
    records = [each for each in records if each not in damaged]
    refused = answer is None or latest_instant(records) > as_of
    files = kept_files()
    try:
        done = brought(contents, cluster, at)
    except UnreadableExport:
        if not refused:
            yield "it was refused"
        if JobRun.objects.exists() or charged_by_account_and_day() or QuarantinedRecord.objects.exists():
            yield "something is left of a refused file"
        if list(UsageImport.objects.values_list("state", flat=True)) != ([] if answer is None else ["failed"]):
            yield "a refused file is not called failed"
        if answer is None and kept_files() != files:
            yield "a file that is no export was kept"
        return
    if refused:
        yield "it was not refused"
    counts = (done.read, done.accepted + done.unchanged, done.ignored, done.quarantined)
    expected = (fates.total(), fates["record"] - len(damaged), fates["ignored"], fates["bad"] + len(damaged))
    if counts != expected or QuarantinedRecord.objects.count() != done.quarantined:
        yield f"counts {counts}, not {expected}"
    books = Books(sorted(JobRun.objects.values_list("digest", flat=True)), charged_by_account_and_day())
    union = books_of(records, accounts=ACCOUNTS[cluster.code], as_of=as_of, zone=HONG_KONG)
    if books != union or done.accepted != len(union.digests):
        yield f"{books} are not {union}"
    yield from differences()
    again = brought(contents, cluster, at)
    if (again.accepted, again.charged_gpu_seconds) != (0, 0) or charged_by_account_and_day() != books.charged:
        yield "the same file again changed the books"


def brought(contents: bytes, cluster: Cluster, as_of: datetime) -> UsageImport:
    return import_usage(
        stream=BytesIO(contents), file_name="damaged.txt", cluster=cluster, at=timezone.now(), as_of=as_of
    )


@pytest.fixture
def clusters() -> dict[str, Cluster]:
    return {code: small_centre(code, accounts=accounts) for code, accounts in ACCOUNTS.items()}


@pytest.fixture
def chance(pytestconfig: pytest.Config) -> random.Random:
    return random.Random(f"imports-{pytestconfig.getoption('hypothesis_seed')}")


@pytest.mark.parametrize("files", [30, pytest.param(2_000, marks=pytest.mark.hard)])
def test_books_of_a_damaged_file_are_those_of_its_good_records(
    clusters: dict[str, Cluster], chance: random.Random, files: int
) -> None:
    outcomes: Counter[str] = Counter()
    for _ in range(files):
        made = mutant(chance, valid(chance, most=14))
        contents = gzip.compress(made.data) if chance.random() < 0.2 else made.data
        with transaction.atomic():
            wrong = list(told(made, clusters[made.base.cluster], contents))
            outcomes.update(UsageImport.objects.values_list("state", flat=True))
            transaction.set_rollback(True)
        assert (wrong, made.told, made.data if wrong else b"") == ([], made.told, b"")
    assert outcomes["done"] > files // 2


def test_import_that_loses_a_line_is_caught(clusters: dict[str, Cluster], chance: random.Random) -> None:
    """The control: the last line of the file never arrives."""
    base = valid(chance)
    with transaction.atomic():
        whole = Mutant(base, base.data, "nothing")
        assert list(told(whole, clusters[base.cluster], base.data)) == []
        transaction.set_rollback(True)
    with transaction.atomic():
        last = len(base.records[-1] + base.newline.encode())
        assert list(told(whole, clusters[base.cluster], base.data[:-last])) != []
        transaction.set_rollback(True)


def holds_the_same(packed: bytes, data: bytes) -> bool:
    """Nobody reads the few bits between the end of what is compressed and its checksum: turned, they damage nothing."""
    try:
        return gzip.decompress(packed) == data
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return False


@pytest.mark.parametrize("files", [30, pytest.param(2_000, marks=pytest.mark.hard)])
def test_damaged_compression_is_refused_with_nothing_kept(
    clusters: dict[str, Cluster], chance: random.Random, files: int
) -> None:
    for _ in range(files):
        base = valid(chance)
        packed = bytearray(gzip.compress(base.data, mtime=0))
        if chance.random() < 0.5:
            del packed[chance.randrange(2, len(packed)) :]
        else:
            at = chance.randrange(10, len(packed))  # behind the head, which holds a time and such
            packed[at] ^= 1 << chance.randrange(8)
        if holds_the_same(bytes(packed), base.data):
            continue
        before = kept_files()
        with transaction.atomic():
            with pytest.raises(UnreadableExport):
                brought(bytes(packed), clusters[base.cluster], datetime(2026, 11, 23, tzinfo=UTC))
            assert not UsageImport.objects.exists()
            transaction.set_rollback(True)
        assert kept_files() == before
