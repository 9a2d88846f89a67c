"""Records that could not be read: mended one by one, set aside with a reason, and never counted twice."""

import re
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as portal
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from allocations import merging, usage
from allocations.admin.quarantine_words import REASONS
from allocations.importing import quarantine
from allocations.models import Allocation, JobRun, LedgerEntry, QuarantinedRecord, UsageImport
from allocations.slurm import records
from allocations.templatetags.imports import visible
from centre.models import Cluster, Event, User
from centre.permissions import StaffRole
from tests import make
from tests.allocations.exports import ORDER, RUN, STRONG, spelled

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole
TIMES = {"Submit": "1795000000", "Eligible": "1795000000", "Start": "1795000005", "End": "1795007205"}
AS_OF = datetime.fromtimestamp(1795010000, UTC)
HOUR = make.HOUR


@pytest.fixture
def officer(client: Client) -> User:
    user = make.staff(R.ALLOCATION_OFFICER)
    client.force_login(user)
    return user


@pytest.fixture
def allocation() -> Allocation:
    """Of the account that the runs of these tests name: 16 GPU-hours each."""
    pool = make.pool("batch", cluster=make.cluster("hgx"), tres="gres/gpu:h800")
    return make.allocation(project=make.project("lab"), pool=pool, hours=100, reference="LAB-1")


def run(number: int, **columns: str) -> dict[str, str]:
    return {**RUN, "JobIDRaw": str(number), "JobID": str(number), "DBIndex": str(number * 10), **TIMES, **columns}


def line(number: int, **columns: str) -> str:
    told = run(number, **columns)
    return STRONG.join(told[name] for name in ORDER)


def imported(data: bytes, **given: Any) -> UsageImport:
    given.setdefault("as_of", AS_OF)
    cluster = Cluster.objects.get(code="hgx")
    return usage.import_usage(stream=BytesIO(data), file_name="n.txt", cluster=cluster, at=timezone.now(), **given)


def waiting(*runs: dict[str, str]) -> list[QuarantinedRecord]:
    """Imports these runs and gives what is quarantined of them."""
    return list(imported(spelled(*runs)).quarantine.order_by("line"))


def mend(record: QuarantinedRecord, text: str, by: User) -> UsageImport:
    return quarantine.mend(record=record, text=text, by=by, at=timezone.now())


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, settings: Settings) -> None:
    """Files of these tests alone: servers of other tests may still receive theirs."""
    settings.USAGE_FILES_DIR = tmp_path


def kept_files() -> set[Path]:
    return set(Path(portal.USAGE_FILES_DIR).rglob("*.gz"))


def books() -> tuple[Any, ...]:
    """Everything that mending might move."""
    used = list(Allocation.objects.order_by("pk").values_list("used_seconds", flat=True))
    rows = [model.objects.count() for model in (UsageImport, JobRun, LedgerEntry, QuarantinedRecord, Event)]
    return used, rows, kept_files()


def url_of(row: Any, act: str = "change") -> str:
    return reverse(f"admin:allocations_{row._meta.model_name}_{act}", args=[row.pk])


def test_a_mended_record_is_imported_as_of_its_file_and_charged(allocation: Allocation, officer: User) -> None:
    [record] = waiting(run(7, End="1795000001"), run(8))
    original = UsageImport.objects.get()
    before = {name: getattr(original, name) for name in ("read", "accepted", "quarantined", "charged_gpu_seconds")}
    mended = mend(record, line(7, State="RUNNING", End="Unknown"), officer)
    record.refresh_from_db()
    assert (record.state, record.mended_in, record.resolved_by) == ("mended", mended, officer)
    assert (mended.source, mended.as_of, mended.time_zone) == ("mended", AS_OF, original.time_zone)
    assert (mended.read, mended.accepted, mended.quarantined) == (1, 1, 0)
    assert JobRun.objects.get(job_id_raw=7).as_of == AS_OF
    allocation.refresh_from_db()
    assert allocation.used_seconds == 16 * HOUR + 8 * (1795010000 - 1795000005)
    original.refresh_from_db()
    assert {name: getattr(original, name) for name in before} == before
    told = Event.objects.get(act="mend_record")
    assert (told.actor, told.object_id) == (officer, str(record.pk))


WRONG: list[tuple[str, str, str]] = [
    ("still wrong", line(7, End="1795000001"), records.ENDS_BEFORE_START),
    ("too few", "7" + STRONG + "7", records.TOO_FEW_FIELDS),
    ("two records", line(7) + "\n" + line(9), "These are several records. Mend one record at a time."),
    ("nothing", "", "This is no job run: it is empty, a step of a job, or the first line again."),
    ("a step", line(7, JobIDRaw="7.0", JobID="7.0"), "This is no job run"),
    ("the header", STRONG.join(ORDER), "This is no job run"),
    ("later than its export", line(7, End="1795020000"), "is earlier than"),
    ("another cluster", line(7, Cluster="dgx"), records.OTHER_CLUSTER),
    ("two known runs", line(7, DBIndex="80", JobIDRaw="8", Submit="1795000100", Start="1795000105"), "two runs"),
]


@pytest.mark.parametrize(("text", "sentence"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_record_that_is_still_wrong_changes_nothing_anywhere(
    text: str, sentence: str, allocation: Allocation, officer: User
) -> None:
    [record] = waiting(run(7, End="1795000001"), run(8), run(8, DBIndex="81", Submit="1795000100", Start="1795000105"))
    before = books()
    with pytest.raises(quarantine.NotMended, match=re.escape(sentence)):
        mend(record, text, officer)
    record.refresh_from_db()
    assert record.state == "waiting"
    assert books() == before


def test_a_record_that_cannot_be_kept_changes_nothing(allocation: Allocation, officer: User, tmp_path: Path) -> None:
    [record] = waiting(run(7, End="1795000001"))
    before = books()
    (tmp_path / "full").write_text("a file where the folder should be")
    with (
        override_settings(USAGE_FILES_DIR=tmp_path / "full"),
        pytest.raises(quarantine.NotMended, match="cannot keep the file at the moment"),
    ):
        mend(record, line(7), officer)
    record.refresh_from_db()
    assert (record.state, books()) == ("waiting", before)


def test_a_mended_record_that_the_books_know_is_unchanged(allocation: Allocation, officer: User) -> None:
    [record] = waiting(run(7, End="1795000001"))
    imported(spelled(run(7)))
    assert mend(record, line(7), officer).unchanged == 1


def test_where_no_instant_was_given_a_mended_record_may_be_the_latest(allocation: Allocation, officer: User) -> None:
    [record] = list(imported(spelled(run(7, End="1795000001"), run(8)), as_of=None).quarantine.all())
    mended = mend(record, line(7, End="1795008000"), officer)
    assert mended.as_of == datetime.fromtimestamp(1795008000, UTC)


def test_the_second_of_two_officers_is_told(allocation: Allocation, officer: User) -> None:
    [record] = waiting(run(7, End="1795000001"))
    seen_by_both = QuarantinedRecord.objects.get(pk=record.pk)
    mend(record, line(7), officer)
    before = books()
    for act in (
        lambda: mend(seen_by_both, line(7), officer),
        lambda: quarantine.set_aside(record=seen_by_both, reason="-", by=officer, at=timezone.now()),
    ):
        with pytest.raises(quarantine.AlreadyResolved, match=f"{officer.name} has mended this record by now"):
            act()
    assert books() == before


def test_setting_aside_touches_what_waits_and_nothing_else(allocation: Allocation, officer: User) -> None:
    first, second, third = waiting(*(run(n, End="1795000001") for n in (7, 8, 9)))
    mend(first, line(7), officer)
    quarantine.set_aside(record=second, reason="A test job", by=officer, at=timezone.now())
    every = QuarantinedRecord.objects.all()
    assert quarantine.set_aside_all(records=every, reason="All of them", by=officer, at=timezone.now()) == 1
    told = list(every.order_by("line").values_list("state", "resolution"))
    assert told == [("mended", line(7)), ("set_aside", "A test job"), ("set_aside", "All of them")]
    events = Event.objects.filter(act="set_aside_record").order_by("pk").values_list("object_id", "reason")
    assert list(events) == [(str(second.pk), "A test job"), (str(third.pk), "All of them")]


def test_ten_thousand_records_are_set_aside_in_few_statements(allocation: Allocation, officer: User) -> None:
    usage_import = imported(spelled(run(7)))
    rows = [QuarantinedRecord(usage_import=usage_import, line=n, text="?", reason="-") for n in range(10_000)]
    QuarantinedRecord.objects.bulk_create(rows)
    with CaptureQueriesContext(connection) as queries:
        number = quarantine.set_aside_all(
            records=usage_import.quarantine.all(), reason="-", by=officer, at=timezone.now()
        )
    assert (number, usage_import.quarantine.filter(state="waiting").count()) == (10_000, 0)
    assert len(queries) < 150


def test_an_officer_mends_field_by_field(client: Client, allocation: Allocation, officer: User) -> None:
    name = "two\nlines\r and = a formula"
    [record] = waiting(run(7, End="1795000001", JobName=name))
    page = client.get(url_of(record, "mend"))
    form = page.context["form"]
    assert [field.label for field in form] == list(ORDER)
    sent = {field.html_name: field.value().replace("\n", "\r\n") for field in form}  # as a browser sends it
    end = f"field_{ORDER.index('End')}"
    refused = client.post(url_of(record, "mend"), sent)
    assert "The run ends before it starts." in refused.content.decode()
    assert UsageImport.objects.count() == 1
    done = client.post(url_of(record, "mend"), sent | {end: "1795007205"}, follow=True)
    assert done.redirect_chain == [(url_of(record), 302)]
    assert JobRun.objects.get(job_id_raw=7).job_name == name


def test_a_line_that_lacks_fields_is_mended_as_one_text(client: Client, allocation: Allocation, officer: User) -> None:
    usage_import = imported(spelled(run(8)) + f"7{STRONG}7\n".encode())
    record = usage_import.quarantine.get()
    page = client.get(url_of(record, "mend"))
    assert (page.context["as_line"], page.context["told"]) == (
        True,
        f"The first line names {len(ORDER)} fields, but the text has 2.",
    )
    client.post(url_of(record, "mend"), {"text": line(7)})
    record.refresh_from_db()
    assert record.state == "mended"


def test_a_record_of_two_runs_shows_its_line_and_both_runs(
    client: Client, allocation: Allocation, officer: User
) -> None:
    later = {"Submit": "1795000100", "Start": "1795000105"}
    imported(spelled(run(7, DBIndex="71"), run(7, DBIndex="72", **later)))
    usage_import = imported(spelled(run(8), run(7, DBIndex="71", **later)))
    record = usage_import.quarantine.get()
    assert record.reason == merging.TWO_RUNS
    page = client.get(url_of(record, "mend"))
    sent = {field.html_name: field.value() for field in page.context["form"]}
    assert STRONG.join(sent.values()) == line(7, DBIndex="71", **later)
    named = [(str(shared), run.db_index) for shared, run in page.context["runs"]]
    assert sorted(named) == [("the same database index", "71"), ("the same submission", "72")]
    client.post(url_of(record, "mend"), sent | {f"field_{ORDER.index('DBIndex')}": ""})
    record.refresh_from_db()
    assert record.state == "mended"


def test_a_text_that_was_cut_cannot_be_mended(client: Client, allocation: Allocation, officer: User) -> None:
    [record] = waiting(run(7, Submit="", JobName="x" * 12_000))
    assert "../mend/" not in client.get(url_of(record)).content.decode()
    response = client.get(url_of(record, "mend"), follow=True)
    assert "Only the first 10,000 characters were kept" in response.content.decode()
    refused = client.post(url_of(record, "mend"), {"text": line(7)})
    assert "Only the first 10,000 characters were kept" in refused.content.decode()
    assert UsageImport.objects.count() == 1


def test_hostile_text_is_shown_with_nothing_hidden(client: Client, allocation: Allocation, officer: User) -> None:
    [record] = waiting(run(7, Submit="", JobName="<script>alert(1)</script>\u202egnp.exe\u200b\x07"))
    for url in (url_of(record), url_of(record, "set_aside"), reverse("admin:allocations_quarantinedrecord_changelist")):
        page = client.get(url).content.decode()
        assert "<script>alert" not in page
    page = client.get(url_of(record)).content.decode()
    for number in ("U+202E", "U+200B", "U+0007"):
        assert f'<span class="unseen" title="{number}">{number}</span>' in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 文字 é", "plain 文字 é"),
        ("a<b>&", "a&lt;b&gt;&amp;"),
        ("a\tb", 'a<span class="unseen" title="U+0009">TAB</span>b'),
        ("a\nb", 'a<span class="unseen" title="U+000A">LF</span>\nb'),
        (
            "\u2067\u00a0",
            '<span class="unseen" title="U+2067">U+2067</span><span class="unseen" title="U+00A0">U+00A0</span>',
        ),
        (None, ""),
    ],
)
def test_characters_without_a_shape_stand_as_their_number(text: str | None, shown: str) -> None:
    assert visible(text) == shown


def test_the_list_begins_with_what_waits_and_narrows_by_import_and_reason(
    client: Client, allocation: Allocation, officer: User
) -> None:
    first, second = waiting(run(7, End="1795000001"), run(8, Account=""))
    [third] = waiting(run(9, End="1795000001"))
    quarantine.set_aside(record=third, reason="-", by=officer, at=timezone.now())
    url = reverse("admin:allocations_quarantinedrecord_changelist")

    def listed(query: str) -> set[int]:
        return set(client.get(url + query).context["cl"].result_list.values_list("pk", flat=True))

    assert listed("") == {first.pk, second.pk}
    assert listed("?state=all") == {first.pk, second.pk, third.pk}
    assert listed(f"?usage_import={third.usage_import_id}&state=all") == {third.pk}
    by_reason = client.get(url).context["cl"].filter_specs[1]
    number = next(number for number, words in by_reason.lookup_choices if words == "The account is empty.")
    assert listed(f"?why={number}") == {second.pk}
    assert listed("?why=999") == {first.pk, second.pk}


def test_chosen_lines_are_set_aside_with_one_reason(client: Client, allocation: Allocation, officer: User) -> None:
    first, second, third = waiting(*(run(n, End="1795000001") for n in (7, 8, 9)))
    url = reverse("admin:allocations_quarantinedrecord_changelist")
    chosen = {"action": "set_chosen_aside", "_selected_action": [first.pk, third.pk]}
    asked = client.post(url, chosen)
    assert asked.context["number"] == 2
    empty = client.post(url, chosen | {"confirmed": "yes", "reason": " "})
    assert empty.context["form"].errors
    client.post(url, chosen | {"confirmed": "yes", "reason": "Tests"})
    states = QuarantinedRecord.objects.order_by("line").values_list("state", "resolution")
    assert list(states) == [("set_aside", "Tests"), ("waiting", ""), ("set_aside", "Tests")]
    client.force_login(make.staff(R.AUDITOR))
    client.post(url, chosen | {"_selected_action": [second.pk], "confirmed": "yes", "reason": "No"})
    second.refresh_from_db()
    assert second.state == "waiting"


def test_all_of_one_reason_are_set_aside_from_the_page_of_the_import(
    client: Client, allocation: Allocation, officer: User
) -> None:
    first, _second, third = waiting(run(7, End="1795000001"), run(8, Account=""), run(9, End="1795000001"))
    usage_import = first.usage_import
    page = client.get(url_of(usage_import)).content.decode()
    assert "3 waiting, 0 mended, 0 set aside" in page
    url = url_of(usage_import, "set_aside")
    given = {"which": records.ENDS_BEFORE_START, "reason": "The clock of a node was wrong"}
    check = client.post(url, given)
    assert "Set 2 records aside" in check.content.decode()
    assert QuarantinedRecord.objects.filter(state="set_aside").count() == 0
    client.post(url, given | {"act_step": "confirmed"})
    assert set(QuarantinedRecord.objects.filter(state="set_aside").values_list("pk", flat=True)) == {first.pk, third.pk}
    assert "1 waiting, 0 mended, 2 set aside" in client.get(url_of(usage_import)).content.decode()


def test_pages_of_a_record_cost_the_same_however_many_there_are(
    client: Client, allocation: Allocation, officer: User
) -> None:
    counts: dict[str, list[int]] = {"change": [], "mend": []}
    for numbers in ((7,), (8, 9, 10)):
        record = waiting(*(run(n, End="1795000001") for n in numbers))[0]
        for act, found in counts.items():
            client.get(url_of(record, act))
            with CaptureQueriesContext(connection) as queries:
                client.get(url_of(record, act))
            found.append(len(queries))
    assert counts == {"change": [5, 5], "mend": [5, 5]}


def test_reasons_of_the_filter_are_those_that_the_reader_gives() -> None:
    given = {
        value
        for module in (records, merging)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and value.endswith(".") and " " in value
    }
    assert given - set(REASONS) == set()
