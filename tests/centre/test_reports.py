"""The reports page and command: who may open them, what they show, and that nothing is written by halves."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from html import unescape
from pathlib import Path
from re import DOTALL, findall
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.http import StreamingHttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from centre import registry
from centre.exports import Column, Kind, Parameters, Report, Row
from centre.models import Membership, Project, Tenant, User
from centre.models.tenants import Standing, TenantCategory
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]
READERS = {
    StaffRole.MANAGEMENT,
    StaffRole.AUDITOR,
    StaffRole.FINANCE_OFFICER,
    StaffRole.ALLOCATION_OFFICER,
    StaffRole.TENANT_OFFICER,
    StaffRole.SUBSIDY_SECRETARY,
}
ADDRESSES = ["/reports/", "/reports/tenants/", "/reports/tenants.csv"]
HONG_KONG = ZoneInfo("Asia/Hong_Kong")


def body(response: object) -> bytes:
    assert isinstance(response, StreamingHttpResponse)
    return response.getvalue()


def csv_rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def cells(html: str) -> list[str]:
    return [unescape(cell) for cell in findall(r'<span class="cell">(.*?)</span>', html, DOTALL)]


def exported(*arguments: str) -> bytes:
    """What `export_report` writes to standard output, as bytes."""
    written = io.BytesIO()
    terminal = io.TextIOWrapper(written, encoding="ascii")
    call_command("export_report", *arguments, stdout=terminal)
    return written.getvalue()


@pytest.fixture
def reader(client: Client) -> User:
    user = make.staff(StaffRole.MANAGEMENT)
    client.force_login(user)
    return user


def registered(record: Tenant | Project, at: datetime) -> None:
    type(record).objects.filter(pk=record.pk).update(created_at=at)


def stands(record: Tenant | Project, standing: Standing) -> None:
    type(record).objects.filter(pk=record.pk).update(standing=standing)


# ------------------------------------------------------------------------------------------------ who


@pytest.mark.parametrize("role", StaffRole)
@pytest.mark.parametrize("address", ADDRESSES)
def test_reports_open_for_those_whose_work_needs_them(client: Client, role: StaffRole, address: str) -> None:
    client.force_login(make.staff(role))
    assert client.get(address).status_code == (200 if role in READERS else 403)


@pytest.mark.parametrize("address", ADDRESSES)
def test_reports_are_not_there_for_teams_and_lead_others_to_sign_in(client: Client, address: str) -> None:
    assert client.get(address).headers["Location"] == f"/accounts/login/?next={address}"
    client.force_login(make.member(project=make.project(), role=ProjectRole.LEAD))
    assert [client.get(address).status_code, client.post(address).status_code] == [404, 404]


@pytest.mark.parametrize("address", ["/reports/nothing/", "/reports/nothing.csv"])
def test_an_unknown_report_is_not_found(client: Client, reader: User, address: str) -> None:
    assert client.get(address).status_code == 404


# ------------------------------------------------------------------------------------------------ what


def test_the_catalogue_names_every_report_with_its_question_and_csv(client: Client, reader: User) -> None:
    html = client.get("/reports/").content.decode()
    assert findall(r'<h2><a href="/reports/([a-z-]+)/">', html) == list(registry.reports)
    assert findall(r'href="/reports/([a-z-]+)\.csv"', html) == list(registry.reports)
    assert [r.name for r in registry.reports.values() if str(r.description) not in unescape(html)] == []
    assert {"tenants", "projects", "allocations", "usage-by-project", "usage-by-day", "ledger"} <= set(registry.reports)


def test_every_report_explains_each_of_its_columns() -> None:
    for report in registry.reports.values():
        names = [column.name for column in report.columns]
        assert len(set(names)) == len(names)
        assert [c.name for c in report.columns if not (str(c.title) and str(c.description))] == []
        assert [c.name for c in report.columns if (c.kind is Kind.CHOICE) != bool(c.choices)] == []


def test_tenants_are_listed_with_hostile_names_kept_inert(client: Client, reader: User) -> None:
    lantau = make.tenant("lantau", name_en="=cmd|'/C calc'!A0", name_zh_hant="大嶼語音研究所", name_zh_hans="大屿")
    make.project(tenant=lantau)
    stands(make.project(tenant=lantau), Standing.CLOSED)
    bay = make.tenant(
        "0012",
        name_en='<script>"Bay", Ltd',
        category=TenantCategory.START_UP,
    )
    stands(bay, Standing.SUSPENDED)
    registered(lantau, datetime(2026, 1, 31, 23, 59, tzinfo=HONG_KONG))
    registered(bay, datetime(2026, 2, 1, 0, 1, tzinfo=HONG_KONG))
    response = client.get("/reports/tenants.csv")
    assert body(response).decode() == (
        "\ufeffcode,name_en,name_zh_hant,name_zh_hans,category,standing,projects,registered_on\r\n"
        '0012,"<script>""Bay"", Ltd",,,start_up,suspended,0,2026-02-01\r\n'
        "lantau,'=cmd|'/C calc'!A0,大嶼語音研究所,大屿,university,active,2,2026-01-31\r\n"
    )
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="tenants.csv"'
    assert response.headers["Cache-Control"] == "private, no-store"
    page = client.get("/reports/tenants/").content.decode()
    assert "<script>" not in page
    assert cells(page) == [
        *("0012", '<script>"Bay", Ltd', "", "", "Start-up", "Suspended", "0", "1 Feb 2026"),
        *("lantau", "=cmd|'/C calc'!A0", "大嶼語音研究所", "大屿", "University", "Active", "2", "31 Jan 2026"),
    ]


def test_days_keep_what_was_registered_on_them_both_ends_included(client: Client, reader: User) -> None:
    for code, day in (("a", 1), ("b", 2), ("c", 3)):
        registered(make.tenant(code), datetime(2026, 1, day, 12, tzinfo=HONG_KONG))
    response = client.get("/reports/tenants.csv?from=2026-01-02&to=2026-01-02")
    assert [row[0] for row in csv_rows(body(response))[1:]] == ["b"]
    assert response.headers["Content-Disposition"] == (
        'attachment; filename="tenants_from-2026-01-02_to-2026-01-02.csv"'
    )
    assert [row[0] for row in csv_rows(exported("tenants", "--from", "2026-01-02"))[1:]] == ["b", "c"]
    assert [row[0] for row in csv_rows(exported("tenants", "--to", "2026-01-02"))[1:]] == ["a", "b"]


def test_projects_name_their_present_leads(client: Client, reader: User) -> None:
    project = make.project("voice", tenant=make.tenant("lantau"), title="Voice")
    make.member(project=project, role=ProjectRole.LEAD, user=make.person(name="Amy"))
    nameless = make.person("bo@example.org")
    User.objects.filter(pk=nameless.pk).update(name="")
    make.member(project=project, role=ProjectRole.LEAD, user=nameless)
    gone = make.member(project=project, role=ProjectRole.LEAD, user=make.person(name="Gone"))
    Membership.objects.filter(user=gone).update(ended_at=timezone.now())
    make.member(project=project)
    other = make.project("alone", tenant=make.tenant("bay"), title="Alone")
    stands(other, Standing.CLOSED)
    for record in (project, other):
        registered(record, datetime(2026, 1, 1, tzinfo=HONG_KONG))
    assert csv_rows(body(client.get("/reports/projects.csv"))) == [
        ["code", "tenant", "title", "standing", "lead", "members", "registered_on"],
        ["alone", "bay", "Alone", "closed", "", "0", "2026-01-01"],
        ["voice", "lantau", "Voice", "active", "Amy; bo@example.org", "3", "2026-01-01"],
    ]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "There is nothing on record for these days."),
        (1, "This is the only row."),
        (100, "These are all 100 rows."),
        (101, "These are the first 100 rows. There are more; the CSV has all of them."),
    ],
)
def test_the_preview_says_how_much_it_shows(client: Client, reader: User, number: int, said: str) -> None:
    Tenant.objects.bulk_create(Tenant(code=f"t{n:03}", name_en=f"T{n}", category="university") for n in range(number))
    html = client.get("/reports/tenants/").content.decode()
    assert said in html
    assert cells(html)[::8] == [f"t{n:03}" for n in range(min(number, 100))]
    assert len(csv_rows(body(client.get("/reports/tenants.csv")))) == number + 1


def test_the_download_carries_the_days_that_the_page_shows(client: Client, reader: User) -> None:
    html = client.get("/reports/tenants/?from=2026-01-02&to=2026-03-04").content.decode()
    assert 'href="/reports/tenants.csv?from=2026-01-02&amp;to=2026-03-04"' in html
    assert findall(r'<input type="date" name="(from|to)" value="([^"]*)"', html) == [
        ("from", "2026-01-02"),
        ("to", "2026-03-04"),
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=2026-02-30", "“2026-02-30” is not a day"),
        ("from=2026-01-02&to=2026-01-01", "The last day, 2026-01-01, is before the first, 2026-01-02."),
        ("to=<script>", "“<script>” is not a day"),
    ],
)
def test_bad_days_are_refused_with_a_sentence(client: Client, reader: User, query: str, said: str) -> None:
    page = client.get(f"/reports/tenants/?{query}")
    assert page.status_code == 400
    assert said in unescape(page.content.decode())
    assert b"<script>" not in page.content
    assert b".csv" not in page.content
    download = client.get(f"/reports/tenants.csv?{query}")
    assert (download.status_code, download.headers["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert said in download.content.decode()


@pytest.mark.parametrize("rows", [1, 3])
def test_pages_ask_the_database_as_often_for_three_rows_as_for_one(
    client: Client, reader: User, django_assert_num_queries: DjangoAssertNumQueries, rows: int
) -> None:
    codes = [f"p{n}" for n in range(rows)]
    for code in codes:
        make.member(project=make.project(code, tenant=make.tenant(f"t-{code}")), role=ProjectRole.LEAD)
    client.get("/reports/")
    with django_assert_num_queries(PAGE):
        client.get("/reports/")
    with django_assert_num_queries(PAGE + 1):
        assert cells(client.get("/reports/tenants/").content.decode())[::8] == [f"t-{code}" for code in codes]
    with django_assert_num_queries(PAGE + 2):
        assert cells(client.get("/reports/projects/").content.decode())[::7] == codes
    with django_assert_num_queries(PAGE):
        assert [row[0] for row in csv_rows(body(client.get("/reports/tenants.csv")))[1:]] == [f"t-{c}" for c in codes]


PAGE = 4  # session, person, appointments, and the centre's name in the frame


# ------------------------------------------------------------------------------------------------ the command


def test_the_list_has_one_report_a_line_its_name_first() -> None:
    lines = exported_text("--list").splitlines()
    assert [line.split()[0] for line in lines] == list(registry.reports)
    assert [line.split(maxsplit=1)[1] for line in lines] == [str(r.title) for r in registry.reports.values()]


def exported_text(*arguments: str) -> str:
    written = io.StringIO()
    call_command("export_report", *arguments, stdout=written)
    return written.getvalue()


def test_standard_output_a_file_and_the_download_are_the_same_bytes(
    client: Client, reader: User, tmp_path: Path
) -> None:
    make.tenant(name_zh_hant="大嶼語音研究所")
    target = tmp_path / "tenants.csv"
    target.write_bytes(b"an older one")
    call_command("export_report", "tenants", "-o", str(target))
    assert target.read_bytes() == exported("tenants") == body(client.get("/reports/tenants.csv"))
    assert target.read_bytes().startswith(b"\xef\xbb\xbfcode,")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "There is no report “nothing”. There are: "),
        ([], "Name the report to export. There are: "),
        (["tenants", "--from", "2026-02-30"], "“2026-02-30” is not a day; write it as YYYY-MM-DD"),
        (["tenants", "--from", "2026-01-02", "--to", "2026-01-01"], "is before the first, 2026-01-02."),
        (["tenants", "-o", "/nowhere/at/all.csv"], "/nowhere/at/all.csv cannot be written: No such file or directory."),
        (["tenants", "-o", "/"], "/ cannot be written: Is a directory."),
    ],
)
def test_the_command_refuses_with_a_sentence_and_exit_code_2(arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError) as refusal:
        call_command("export_report", *arguments)
    assert said in str(refusal.value)
    assert refusal.value.returncode == 2


def test_a_hyphen_is_standard_output() -> None:
    make.tenant()
    assert exported("tenants", "-o", "-") == exported("tenants")
    assert not Path("-").exists()


@pytest.mark.parametrize("asked", [["tenants"], ["--list"]])
def test_standard_output_that_takes_nothing_is_a_sentence(asked: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run_command(asked, full.fileno())
    assert (done.stderr, done.returncode) == ("Standard output cannot be written: No space left on device.", 2)


def test_reader_that_went_away_is_a_sentence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run_command(["--list"], writing)
    os.close(writing)
    assert (done.stderr, done.returncode) == ("Standard output cannot be written: Broken pipe.", 2)


def run_command(arguments: list[str], out: int) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, writing to that file descriptor; its reports have no rows to read."""
    program = (
        "import sys, django; django.setup()\n"
        "from dataclasses import replace\n"
        "from django.core.management import CommandError, call_command\n"
        "from centre import registry\n"
        "registry.reports['tenants'] = replace(registry.reports['tenants'], rows=lambda parameters: ())\n"
        "try:\n    call_command('export_report', *sys.argv[1:])\n"
        "except CommandError as error:\n    sys.stderr.write(str(error)); sys.exit(error.returncode)\n"
    )
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)


def test_an_export_that_breaks_off_leaves_the_older_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(_: Parameters) -> Iterator[Row]:
        for _number in range(10_000):
            yield ("a long enough line " * 10,)
        raise RuntimeError("the database went away")

    breaking = Report("breaking", "Breaking", "", "", (Column("a", "A", ""),), rows)
    monkeypatch.setitem(registry.reports, "breaking", breaking)
    target = tmp_path / "report.csv"
    target.write_bytes(b"an older one")
    with pytest.raises(RuntimeError):
        call_command("export_report", "breaking", "-o", str(target))
    assert target.read_bytes() == b"an older one"
    assert list(tmp_path.iterdir()) == [target]


# ------------------------------------------------------------------------------------------------ the registry


def test_two_reports_of_one_name_are_refused() -> None:
    other = Report("tenants", "Others", "", "", (), lambda _: ())
    with pytest.raises(ValueError, match="Two reports are called tenants"):
        registry.add_reports(other)
    assert registry.reports["tenants"] is not other


def test_panels_and_links_of_the_apps_come_in_the_order_of_their_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    project, user = make.project("voice"), make.person()
    link = registry.Link("Award", "/projects/voice/subsidy/")
    panel = registry.Panel("Allocations", ("Reference",), ((registry.Link("R1"),),))
    links: Iterable[registry.ProjectLinks] = [lambda p, u: [link] if (p, u) == (project, user) else [], lambda p, u: []]
    monkeypatch.setattr(registry, "project_links", list(links))
    monkeypatch.setattr(registry, "admin_panels", [lambda r, u: None, lambda r, u: panel if r == project else None])
    assert registry.links_of(project, user) == [link]
    assert registry.panels_of(project, user) == [panel]
    assert registry.panels_of(user, user) == []
