"""What officers and auditors do with usage imports in the admin: hand over, watch, read, try again, take the file."""

import gzip
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from allocations.admin.uploading import NOT_KEPT
from allocations.importing import stored_files, working
from allocations.models import LedgerEntry, QuarantinedRecord, UsageImport
from centre.models import Cluster, Event, User
from centre.permissions import StaffRole
from tests import make
from tests.allocations.exports import spelled

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole
STARTED = {"Submit": "1795000000", "Eligible": "1795000000", "Start": "1795000005"}
"""A run of two hours, on the day before the tests' usual one; in epoch seconds."""
AS_OF = "2026-11-22T12:00:00"


@pytest.fixture
def officer(client: Client) -> User:
    user = make.staff(R.ALLOCATION_OFFICER)
    client.force_login(user)
    return user


@pytest.fixture
def cluster() -> Cluster:
    """Called as the exports of these tests call it."""
    return make.cluster("hgx")


def run(number: int, **columns: str) -> dict[str, str]:
    told = {"JobIDRaw": str(number), "JobID": str(number), "DBIndex": str(number * 10), **STARTED, "End": "1795007205"}
    return {**told, **columns}


def upload(client: Client, cluster: Cluster, data: bytes, **given: str) -> Any:
    file = SimpleUploadedFile(given.pop("name", "night.txt"), data)
    url = reverse("admin:allocations_usageimport_add")
    return client.post(url, {"cluster": cluster.pk, "file": file, "as_of": AS_OF, **given}, follow=True)


def page_of(row: Any, act: str = "change") -> str:
    return reverse(f"admin:allocations_{row._meta.model_name}_{act}", args=[row.pk])


def worked() -> list[UsageImport]:
    return working.work_through(clock=timezone.now, worker="test")


def errors(response: Any) -> dict[str, list[str]]:
    return dict(response.context["form"].errors)


def the_sum(response: Any) -> list[str]:
    """The numbers of the table that adds the counts up, the last being the sum."""
    table = re.search(r'<table class="import-sum">.*?</table>', response.content.decode(), re.DOTALL)
    assert table is not None
    return re.findall(r"([\d,]+)</td><th", table[0])


def test_an_upload_is_received_imported_and_its_result_adds_up(client: Client, officer: User, cluster: Cluster) -> None:
    pool = make.pool("batch", cluster=cluster, tres="gres/gpu:h800")
    make.allocation(project=make.project("lab"), pool=pool, hours=100, reference="LAB-1")
    data = spelled(run(7), run(8), run(9, End="1"), run(8), {**run(7), "JobIDRaw": "7.batch", "JobID": "7.batch"})
    response = upload(client, cluster, gzip.compress(data), covers_from="2026-11-18T00:00:00")
    usage_import = UsageImport.objects.get()
    assert response.redirect_chain == [(page_of(usage_import), 302)]
    assert (usage_import.source, usage_import.by, usage_import.state) == ("upload", officer, "received")
    assert usage_import.as_of is not None
    assert usage_import.as_of.isoformat() == "2026-11-22T04:00:00+00:00"
    assert usage_import.covers_from is not None
    assert usage_import.time_zone == "Asia/Hong_Kong"
    assert response["Refresh"] == "3"

    assert worked() == [usage_import]
    done = client.get(page_of(usage_import))
    assert "Refresh" not in done
    assert the_sum(done) == ["2", "1", "1", "1", "5"]
    text = done.content.decode()
    shown = [part in text for part in ("LAB-1", "32.00", "1 waiting, 0 mended, 0 set aside", usage_import.sha256)]
    assert shown == [True, True, True, True]


@pytest.mark.parametrize(
    ("data", "field", "sentence"),
    [
        (b"hello\n", "file", "The first line does not name the fields"),
        (b"", "file", "The submitted file is empty."),
        (b"\x1f\x8b broken", "file", "The file is compressed, and damaged"),
    ],
)
def test_a_wrong_file_says_on_the_form_what_it_lacks_and_keeps_the_rest(
    data: bytes, field: str, sentence: str, client: Client, officer: User, cluster: Cluster
) -> None:
    response = upload(client, cluster, data)
    assert list(errors(response)) == [field]
    assert sentence in errors(response)[field][0]
    assert f'value="{AS_OF}"' in response.content.decode()
    assert UsageImport.objects.count() == 0


def test_instants_that_cannot_be_right_are_refused_beside_their_field(
    client: Client, officer: User, cluster: Cluster
) -> None:
    late = f"{timezone.localtime() + timedelta(hours=1):%Y-%m-%dT%H:%M}"
    assert list(errors(upload(client, cluster, spelled(), as_of=late))) == ["as_of"]
    assert list(errors(upload(client, cluster, spelled(), covers_from="2026-11-22T13:00"))) == ["covers_from"]
    assert list(errors(upload(client, cluster, spelled(), as_of="0026-11-22T13:00"))) == ["as_of"]
    assert UsageImport.objects.count() == 0


def test_a_store_that_cannot_be_written_is_told_on_the_form(
    client: Client, officer: User, cluster: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "usage").write_text("a file where the folder should be")
    with override_settings(USAGE_FILES_DIR=tmp_path / "usage"):
        told = errors(upload(client, cluster, spelled(run(7))))
    assert told == {"file": [NOT_KEPT]}
    assert UsageImport.objects.count() == 0


def test_a_file_above_the_limit_is_refused(client: Client, officer: User, cluster: Cluster) -> None:
    with override_settings(USAGE_FILE_LIMIT=100):
        assert list(errors(upload(client, cluster, spelled(run(7))))) == ["file"]
        assert list(errors(upload(client, cluster, gzip.compress(b"x" * 200 + spelled(run(7)))))) == ["file"]


def test_a_form_sent_twice_makes_one_import(client: Client, officer: User, cluster: Cluster) -> None:
    first = upload(client, cluster, spelled(run(7)))
    again = upload(client, cluster, spelled(run(7)))
    assert UsageImport.objects.count() == 1
    assert again.redirect_chain == first.redirect_chain
    upload(client, cluster, spelled(run(7)), time_zone="UTC")
    assert UsageImport.objects.count() == 2


def test_a_file_imported_long_ago_can_be_imported_again(client: Client, officer: User, cluster: Cluster) -> None:
    upload(client, cluster, spelled(run(7)))
    UsageImport.objects.update(received_at=timezone.now() - timedelta(minutes=11))
    upload(client, cluster, spelled(run(7)))
    assert UsageImport.objects.count() == 2


def watched(client: Client, usage_import: UsageImport, query: str = "") -> Any:
    return client.get(page_of(usage_import) + query)


def test_a_waiting_import_tells_its_place_and_that_nobody_works(
    client: Client, officer: User, cluster: Cluster
) -> None:
    upload(client, cluster, spelled(run(7)))
    upload(client, cluster, spelled(run(8)))
    first, second = UsageImport.objects.order_by("pk")
    fresh = watched(client, second).context["watch"]
    assert (fresh.before, fresh.no_worker) == (1, False)
    UsageImport.objects.update(received_at=timezone.now() - timedelta(minutes=5))
    assert watched(client, second).context["watch"].no_worker
    assert "db_worker" in watched(client, second).content.decode()
    at_work = {"state": "running", "claims": 1, "lease_until": timezone.now() + timedelta(minutes=1)}
    UsageImport.objects.filter(pk=first.pk).update(**at_work)
    assert not watched(client, second).context["watch"].no_worker


def test_a_running_import_shows_how_far_it_is_and_a_lost_worker(
    client: Client, officer: User, cluster: Cluster
) -> None:
    upload(client, cluster, spelled(run(7)))
    usage_import = UsageImport.objects.get()
    now = timezone.now()
    UsageImport.objects.update(
        state="running", claims=1, lease_until=now + timedelta(minutes=1), phase="reading", read_bytes=100
    )
    page = watched(client, usage_import)
    percent = 100 * 100 // usage_import.size_bytes
    assert f'<progress max="100" value="{percent}"' in page.content.decode()
    assert not page.context["watch"].worker_is_gone
    assert page["Refresh"] == "3"
    assert "Refresh" not in watched(client, usage_import, "?refresh=off")
    UsageImport.objects.update(lease_until=now - timedelta(seconds=1))
    assert watched(client, usage_import).context["watch"].worker_is_gone
    UsageImport.objects.update(phase="merging")  # its row cannot be written meanwhile
    assert not watched(client, usage_import).context["watch"].worker_is_gone


def test_a_failed_import_says_why_and_is_tried_again(client: Client, officer: User, cluster: Cluster) -> None:
    upload(client, cluster, spelled(run(7)), as_of="2026-11-18T00:00:00")
    worked()
    usage_import = UsageImport.objects.get()
    assert usage_import.state == "failed"
    page = client.get(page_of(usage_import)).content.decode()
    assert "is earlier than" in page
    assert "../try-again/" in page
    url = page_of(usage_import, "try_again")
    assert client.get(url).status_code == 200
    assert UsageImport.objects.get().state == "failed"
    response = client.post(url, follow=True)
    assert response.redirect_chain == [(page_of(usage_import), 302)]
    assert UsageImport.objects.get().state == "received"
    assert "does not stand as failed any more" in client.post(url).content.decode()


def test_warnings_are_told_in_the_readers_language(client: Client, officer: User, cluster: Cluster) -> None:
    upload(client, cluster, spelled(run(7), delimiter="|"))
    worked()
    usage_import = UsageImport.objects.get()
    assert "can be typed into a job&#x27;s name" in client.get(page_of(usage_import)).content.decode()


def test_the_kept_file_is_handed_out_whole_and_that_is_written_down(
    client: Client, officer: User, cluster: Cluster
) -> None:
    data = spelled(run(7))
    upload(client, cluster, data, name="../x\r\n<b>.txt")
    usage_import = UsageImport.objects.get()
    auditor = make.staff(R.AUDITOR)
    client.force_login(auditor)
    response = client.get(page_of(usage_import, "file"))
    assert gzip.decompress(b"".join(response.streaming_content)) == data  # type: ignore[attr-defined]  # streamed
    headers = ("Content-Type", "Content-Disposition", "X-Content-Type-Options")
    name = f'attachment; filename="usage-import-{usage_import.pk}-hgx.txt.gz"'
    assert [response[header] for header in headers] == ["application/gzip", name, "nosniff"]
    assert "no-store" in response["Cache-Control"]
    assert list(Event.objects.filter(act="take_usage_file").values_list("actor", "object_id")) == [
        (auditor.pk, str(usage_import.pk))
    ]
    assert client.post(page_of(usage_import, "file")).status_code == 405
    stored_files.forget(usage_import.stored_as)
    gone = client.get(page_of(usage_import, "file"), follow=True)
    assert gone.redirect_chain == [(page_of(usage_import), 302)]


def test_its_ledger_entries_are_listed_and_no_others(client: Client, officer: User, cluster: Cluster) -> None:
    pool = make.pool("batch", cluster=cluster, tres="gres/gpu:h800")
    for code in ("lab", "den"):
        make.allocation(project=make.project(code), pool=pool, hours=100)
    for n in range(11):  # numbers that begin like each other
        upload(client, cluster, spelled(run(100 + n), run(200 + n, Account="den")), name=f"{n}.txt")
    worked()
    first = UsageImport.objects.order_by("pk").first()
    assert first is not None
    response = client.get(page_of(first, "entries"))
    expected = LedgerEntry.objects.filter(source_kind="usage", source_reference=f"import-{first.pk}")
    assert [entry for entry, _kind in response.context["rows"]] == list(expected.order_by("pk"))
    assert expected.count() == 2


def test_the_page_of_an_import_costs_the_same_however_much_it_did(
    client: Client, officer: User, cluster: Cluster
) -> None:
    pool = make.pool("batch", cluster=cluster, tres="gres/gpu:h800")
    for code in ("lab", "den", "hut"):
        make.allocation(project=make.project(code), pool=pool, hours=100)
    upload(client, cluster, spelled(run(7), run(9, End="1")))
    accounts = ("lab", "den", "hut")
    runs = [run(20 + n, Account=accounts[n]) for n in range(3)] + [run(30 + n, End="1") for n in range(3)]
    upload(client, cluster, spelled(*runs))
    worked()
    counts: dict[str, list[int]] = {"change": [], "entries": []}
    for usage_import in UsageImport.objects.order_by("pk"):
        for act, numbers in counts.items():
            client.get(page_of(usage_import, act))
            with CaptureQueriesContext(connection) as queries:
                client.get(page_of(usage_import, act))
            numbers.append(len(queries))
    assert counts == {"change": [8, 8], "entries": [7, 7]}


def test_officers_act_auditors_read_and_others_are_turned_away(client: Client, officer: User, cluster: Cluster) -> None:
    upload(client, cluster, spelled(run(7), run(9, End="1")))
    worked()
    usage_import, record = UsageImport.objects.get(), QuarantinedRecord.objects.get()
    reads = [page_of(usage_import), page_of(usage_import, "entries"), page_of(usage_import, "file"), page_of(record)]
    acts = [
        reverse("admin:allocations_usageimport_add"),
        *(page_of(usage_import, act) for act in ("try_again", "set_aside")),
        *(page_of(record, act) for act in ("mend", "set_aside")),
    ]

    def answers(urls: list[str]) -> set[int]:
        return {client.get(url).status_code for url in urls} | {
            client.post(url).status_code for url in urls if url in acts
        }

    assert (answers(reads), answers(acts)) == ({200}, {200})
    client.force_login(make.staff(R.AUDITOR))
    assert (answers(reads), answers(acts)) == ({200}, {403})
    assert 'class="addlink"' not in client.get(reverse("admin:allocations_usageimport_changelist")).content.decode()
    client.force_login(make.staff(R.MANAGEMENT))
    assert (answers(reads), answers(acts)) == ({403}, {403})
    client.force_login(make.person())
    assert (answers(reads), answers(acts)) == ({404}, {404})


def test_a_hostile_file_name_is_text(client: Client, officer: User, cluster: Cluster) -> None:
    usage_import = UsageImport.objects.create(
        cluster=cluster, file_name="<script>alert(1)</script>\u202etxt.exe", time_zone="UTC", received_at=timezone.now()
    )
    page = client.get(page_of(usage_import)).content.decode()
    assert "<script>alert" not in page
    assert '<span class="unseen" title="U+202E">U+202E</span>' in page
