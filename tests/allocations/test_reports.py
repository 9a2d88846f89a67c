"""The reports on GPU time, against figures worked out here from the records by other means."""

import csv
import io
import tracemalloc
from collections import defaultdict
from datetime import UTC, date, datetime
from fractions import Fraction
from html import unescape
from re import DOTALL, findall
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Max, Min
from django.http import StreamingHttpResponse
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from allocations import staging
from allocations.models import Allocation, DailyUsage, JobRun, LedgerEntry, RunCharge
from allocations.recharging import RUN_COLUMNS, recharge
from allocations.reports import LEDGER
from allocations.usage import import_usage
from centre.exports import Parameters, csv_chunks
from centre.models import Cluster, User
from centre.permissions import StaffRole
from tests import make
from tests.allocations.exports import spelled

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
SPRING: dict[str, Any] = {"start_on": date(2026, 3, 1), "end_on": date(2026, 3, 31), "at": AT}
PAGE = 4  # session, person, appointments, and the centre's name in the frame


def exported(*arguments: str) -> list[list[str]]:
    written = io.StringIO()
    call_command("export_report", *arguments, stdout=written)
    text = written.getvalue().removeprefix("\ufeff")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def downloaded(client: Client, address: str) -> list[list[str]]:
    response: object = client.get(address)
    assert isinstance(response, StreamingHttpResponse)
    text = response.getvalue().decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def on_screen(client: Client, address: str, width: int) -> list[list[str]]:
    """The cells of the preview, numbers without their commas."""
    html = client.get(address).content.decode()
    cells = [unescape(cell) for cell in findall(r'<span class="cell">(.*?)</span>', html, DOTALL)]
    plain = [cell.replace(",", "").replace("\N{MINUS SIGN}", "-") for cell in cells]
    return [plain[start : start + width] for start in range(0, len(plain), width)]


def hours(seconds: int) -> str:
    """GPU-hours with two decimals, half up, by exact fractions."""
    hundredths = int(abs(Fraction(seconds, 36)) + Fraction(1, 2))
    return f"{'-' if seconds < 0 and hundredths else ''}{hundredths // 100}.{hundredths % 100:02d}"


@pytest.fixture
def reader(client: Client) -> User:
    user = make.staff(StaffRole.MANAGEMENT)
    client.force_login(user)
    return user


@pytest.fixture
def used() -> dict[str, Allocation]:
    """Two tenants, three projects, two pools, and a week of runs from a real import; some of them span midnight."""
    cluster = make.cluster("hgx")
    h800 = make.pool("h800", cluster=cluster, tres="gres/gpu:h800", from_on=date(2026, 1, 1))
    a100 = make.pool("a100", cluster=cluster, tres="gres/gpu:a100", from_on=date(2026, 1, 1))
    lantau, bay = make.tenant("lantau"), make.tenant("bay")
    voice, vision = make.project("voice", tenant=lantau), make.project("vision", tenant=lantau)
    tides = make.project("tides", tenant=bay)
    made = {
        "voice": make.allocation(project=voice, pool=h800, reference="V", **SPRING),
        "voice-a": make.allocation(project=voice, pool=a100, reference="VA", **SPRING),
        "vision": make.allocation(project=vision, pool=h800, reference="W", **SPRING),
        "tides": make.allocation(project=tides, pool=h800, reference="T", **SPRING),
    }
    runs: list[dict[str, str]] = []
    for day in range(2, 9):
        for account, tres in (("voice", "h800=3"), ("voice", "a100=1"), ("vision", "h800=8"), ("tides", "h800=7")):
            for hour in (1, 23):
                number = len(runs) + 1
                ended_on, ended_at = (day, "07") if hour == 1 else (day + 1, "01")
                run = f"""JobIDRaw={number} JobID={number} DBIndex={1000 + number} Account={account}
                    Submit=2026-03-{day:02}T00:30:00 Start=2026-03-{day:02}T{hour:02}:10:13
                    End=2026-03-{ended_on:02}T{ended_at}:{number:02}:{number * 7 % 60:02}"""
                tres_of_run = f"cpu=8,gres/gpu:{tres},gres/gpu={tres[-1]}"
                fields = dict(field.split("=", 1) for field in run.split())
                runs.append(fields | {"AllocTRES": tres_of_run, "JobName": "=cmd|'/C calc'!A0"})
    result = import_usage(stream=io.BytesIO(spelled(*runs)), file_name="week.txt", cluster=cluster, at=AT, as_of=AT)
    assert (result.read, result.unmatched) == (56, 0)
    return made


def move(run: JobRun, *, away_from: Allocation, to: Allocation) -> None:
    """Take a run's charges back from one allocation and charge them to another, as a corrected match does."""
    for charge in list(RunCharge.objects.filter(run=run, allocation=away_from)):
        for allocation, seconds in ((away_from, -charge.seconds), (to, charge.seconds)):
            entry = LedgerEntry.objects.create(
                allocation=allocation,
                kind=LedgerEntry.Kind.REFUND if seconds < 0 else LedgerEntry.Kind.CHARGE,
                total=LedgerEntry.Total.USED,
                seconds=-seconds,
                effective_on=charge.day,
                recorded_at=AT,
                key=f"moved:{charge.pk}:{allocation.pk}",
                source_kind="usage",
            )
            RunCharge.objects.create(
                run=run, allocation=allocation, day=charge.day, seconds=seconds, entry=entry, recorded_at=AT
            )


def worked_out(first: date, last: date) -> list[list[str]]:
    """Usage by project, by other means: every run charge read with plain SQL and added up here."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT t.code, p.code, g.code, c.run_id, c.day, c.seconds
            FROM allocations_runcharge c, allocations_allocation a, centre_project p, centre_tenant t, centre_gpupool g
            WHERE a.id = c.allocation_id AND p.id = a.project_id AND t.id = p.tenant_id AND g.id = a.pool_id
        """)
        charges = cursor.fetchall()
    net: dict[tuple[str, str, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for tenant, project, pool, run, day, seconds in charges:
        if first.isoformat() <= str(day) <= last.isoformat():
            net[tenant, project, pool][run] += seconds
    rows = []
    for codes, by_run in sorted(net.items()):
        runs, seconds = sum(value != 0 for value in by_run.values()), sum(by_run.values())
        if runs:
            rows.append([*codes, first.isoformat(), last.isoformat(), str(runs), str(seconds), hours(seconds)])
    return rows


HEADINGS = ["tenant", "project", "pool", "from", "to", "runs", "gpu_seconds", "gpu_hours"]


@pytest.mark.parametrize(("first", "last"), [(2, 9), (3, 5), (5, 5), (1, 31), (20, 21)])
def test_usage_by_project_is_what_the_run_charges_add_up_to(
    client: Client, reader: User, used: dict[str, Allocation], first: int, last: int
) -> None:
    move(JobRun.objects.get(job_id="3"), away_from=used["voice-a"], to=used["tides"])
    days = date(2026, 3, first), date(2026, 3, last)
    expected = worked_out(*days)
    assert len(expected) == (0 if first == 20 else 4)
    query = f"?from={days[0]}&to={days[1]}"
    rows = exported("usage-by-project", "--from", str(days[0]), "--to", str(days[1]))
    assert rows == [HEADINGS, *expected]
    assert downloaded(client, f"/reports/usage-by-project.csv{query}") == rows
    seen = on_screen(client, f"/reports/usage-by-project/{query}", len(HEADINGS))
    assert [row[:3] + row[5:] for row in seen] == [row[:3] + row[5:] for row in expected]


def test_a_run_is_counted_once_in_a_range_and_on_each_of_its_days(used: dict[str, Allocation]) -> None:
    """Two runs of `tides` begin each day from 2 to 8 March; the late one ends on the next day."""

    def runs(first: int, last: int) -> str:
        rows = exported("usage-by-project", "--from", f"2026-03-{first:02}", "--to", f"2026-03-{last:02}")
        return rows[1][5]

    assert [runs(2, 2), runs(3, 3), runs(9, 9), runs(2, 3), runs(2, 9)] == ["2", "3", "1", "4", "14"]


def test_a_run_that_was_moved_counts_where_it_is_now(used: dict[str, Allocation]) -> None:
    for run in JobRun.objects.filter(charges__allocation=used["vision"]).distinct():
        move(run, away_from=used["vision"], to=used["tides"])
    rows = exported("usage-by-project")[1:]
    assert [(row[1], row[5]) for row in rows] == [("tides", "28"), ("voice", "14"), ("voice", "14")]


def test_without_days_all_that_is_on_record_is_reported_and_the_days_are_named(used: dict[str, Allocation]) -> None:
    assert exported("usage-by-project")[1:] == worked_out(date(2026, 3, 2), date(2026, 3, 9))
    assert exported("usage-by-project", "--from", "2026-03-05")[1:] == worked_out(date(2026, 3, 5), date(2026, 3, 9))
    assert exported("usage-by-project", "--to", "2026-03-05")[1:] == worked_out(date(2026, 3, 2), date(2026, 3, 5))
    assert exported("usage-by-project", "--from", "2026-04-01") == [HEADINGS]


def test_open_ends_pass_over_days_whose_charges_were_given_back(used: dict[str, Allocation]) -> None:
    first, last = RunCharge.objects.earliest("day").day, RunCharge.objects.latest("day").day
    ends = JobRun.objects.filter(charges__day__in=(first, last)).values_list("pk", flat=True)
    JobRun.objects.filter(pk__in=list(ends)).update(account="nobody")
    with transaction.atomic(), staging.temporary_table("changed_run", RUN_COLUMNS):
        staging.execute("INSERT INTO changed_run (run_id) SELECT id FROM allocations_jobrun")
        recharge(cluster=Cluster.objects.get(), source_reference="moved", at=AT)
    left = DailyUsage.objects.exclude(seconds=0).aggregate(first=Min("day"), last=Max("day"))
    assert first < left["first"] <= left["last"] < last
    rows = exported("usage-by-project")[1:]
    assert {(row[3], row[4]) for row in rows} == {(str(left["first"]), str(left["last"]))}


def test_usage_by_project_without_any_usage_has_its_headings_only() -> None:
    assert exported("usage-by-project") == [HEADINGS]


def test_usage_by_day_adds_up_people_and_agrees_with_the_run_charges(used: dict[str, Allocation]) -> None:
    first = DailyUsage.objects.filter(allocation=used["tides"]).order_by("day")[0]
    DailyUsage.objects.create(allocation=used["tides"], day=first.day, user_name="bo", seconds=5)
    DailyUsage.objects.create(allocation=used["tides"], day=date(2026, 3, 20), user_name="a", seconds=7)
    DailyUsage.objects.create(allocation=used["tides"], day=date(2026, 3, 20), user_name="b", seconds=-7)
    rows = exported("usage-by-day")
    assert rows[0] == ["day", "tenant", "project", "pool", "gpu_seconds", "gpu_hours"]
    expected = []
    for day in range(2, 10):
        for row in worked_out(date(2026, 3, day), date(2026, 3, day)):
            seconds = int(row[6]) + (5 if (day, row[1]) == (2, "tides") else 0)
            expected.append([row[3], *row[:3], str(seconds), hours(seconds)])
    assert rows[1:] == expected
    assert exported("usage-by-day", "--from", "2026-03-03", "--to", "2026-03-04")[1:] == [
        row for row in expected if row[0] in {"2026-03-03", "2026-03-04"}
    ]


def test_allocations_show_their_totals_and_what_is_left_also_below_zero(client: Client, reader: User) -> None:
    tenant = make.tenant("lantau")
    project, pool = make.project("voice", tenant=tenant), make.pool("h800")
    over = make.allocation(project=project, pool=pool, reference="=R1", hours=10, **SPRING)
    Allocation.objects.filter(pk=over.pk).update(used_seconds=36_018, held_seconds=7_200)
    make.allocation(
        project=project,
        pool=pool,
        reference="0012",
        account="voice-paid",
        funding=Allocation.Funding.PURCHASED,
        seconds=1_234_567_890,
        start_on=date(2026, 4, 1),
        end_on=date(2026, 4, 30),
    )
    headings = (
        "tenant,project,pool,reference,account,funding,state,start_on,end_on,granted_gpu_seconds,used_gpu_seconds,"
        "held_gpu_seconds,left_gpu_seconds,granted_gpu_hours,used_gpu_hours,left_gpu_hours"
    )
    spring = "lantau,voice,h800,'=R1,voice,internal,open,2026-03-01,2026-03-31,36000,36018,7200,-7218,10.00,10.01,-2.01"
    april = (
        "lantau,voice,h800,0012,voice-paid,purchased,open,2026-04-01,2026-04-30,"
        "1234567890,0,0,1234567890,342935.53,0.00,342935.53"
    )
    expected = [line.split(",") for line in (headings, spring, april)]
    assert exported("allocations") == expected == downloaded(client, "/reports/allocations.csv")
    seen = on_screen(client, "/reports/allocations/", 16)
    assert [row[9:] for row in seen] == [row[9:] for row in expected[1:]]
    assert [row[3:9] for row in seen] == [
        ["=R1", "voice", "Internal", "Open", "1 Mar 2026", "31 Mar 2026"],
        ["0012", "voice-paid", "Purchased", "Open", "1 Apr 2026", "30 Apr 2026"],
    ]
    assert [row[3] for row in exported("allocations", "--from", "2026-03-31", "--to", "2026-03-31")[1:]] == ["'=R1"]
    assert [row[3] for row in exported("allocations", "--from", "2026-04-01")[1:]] == ["0012"]
    assert [row[3] for row in exported("allocations", "--from", "2026-03-31", "--to", "2026-04-01")[1:]] == [
        "'=R1",
        "0012",
    ]


def test_the_ledger_tells_every_movement_and_who_stands_behind_it(client: Client, reader: User) -> None:
    amy, bo = make.person(name="Amy"), make.person("bo@example.org")
    User.objects.filter(pk=bo.pk).update(name="")
    allocation = make.allocation(
        project=make.project("voice", tenant=make.tenant("lantau")), pool=make.pool(), reference="R1", hours=0, **SPRING
    )

    def entry(kind: str, total: str, seconds: int, day: int, **more: Any) -> LedgerEntry:
        return LedgerEntry.objects.create(
            allocation=allocation,
            kind=kind,
            total=total,
            seconds=seconds,
            effective_on=date(2026, 3, day),
            recorded_at=AT,
            source_kind="usage",
            key=f"{kind}:{day}",
            **more,
        )

    people = {"asked_by": amy, "approved_by": bo}
    grant = entry("grant", "granted", 360_000, 1, reason='=1+1, "why"', **people)
    charge = entry("charge", "used", -18, 2, source_reference="12")
    back = entry("reversal", "granted", -360_000, 3, reverses=grant, **people)
    expected = [
        [
            *("entry", "recorded_at", "effective_on", "tenant", "project", "reference", "kind", "moves", "gpu_seconds"),
            *("gpu_hours", "reason", "source", "asked_by", "approved_by", "reverses"),
        ],
        [
            *(str(grant.pk), "2026-03-10T04:00:00Z", "2026-03-01", "lantau", "voice", "R1", "grant", "granted"),
            *("360000", "100.00", '\'=1+1, "why"', "usage", "Amy", "bo@example.org", ""),
        ],
        [
            *(str(charge.pk), "2026-03-10T04:00:00Z", "2026-03-02", "lantau", "voice", "R1", "charge", "used"),
            *("-18", "-0.01", "", "usage 12", "", "", ""),
        ],
        [
            *(str(back.pk), "2026-03-10T04:00:00Z", "2026-03-03", "lantau", "voice", "R1", "reversal", "granted"),
            *("-360000", "-100.00", "", "usage", "Amy", "bo@example.org", str(grant.pk)),
        ],
    ]
    assert exported("ledger") == expected == downloaded(client, "/reports/ledger.csv")
    assert exported("ledger", "--from", "2026-03-02", "--to", "2026-03-02") == [expected[0], expected[2]]
    assert on_screen(client, "/reports/ledger/?from=2026-03-02&to=2026-03-02", 15)[0][6:10] == [
        *("Charge", "used", "-18", "-0.01"),
    ]


@pytest.mark.parametrize("rows", [1, 3])
def test_pages_ask_the_database_as_often_for_three_rows_as_for_one(
    client: Client, reader: User, django_assert_num_queries: DjangoAssertNumQueries, rows: int
) -> None:
    cluster = make.cluster("hgx")
    pool = make.pool("h800", cluster=cluster, tres="gres/gpu:h800", from_on=date(2026, 1, 1))
    codes = [f"p{number}" for number in range(rows)]
    for code in codes:
        make.allocation(project=make.project(code, tenant=make.tenant(f"t-{code}")), pool=pool, **SPRING)
    runs = [{"Account": code, "JobIDRaw": str(n), "DBIndex": str(n)} for n, code in enumerate(codes, start=1)]
    import_usage(stream=io.BytesIO(spelled(*runs)), file_name="runs.txt", cluster=cluster, at=AT, as_of=AT)
    client.get("/reports/")
    for name, width, column, queries in (
        ("allocations", 16, 1, 1),
        ("usage-by-project", 8, 1, 2),
        ("usage-by-day", 6, 2, 1),
    ):
        with django_assert_num_queries(PAGE + queries):
            seen = on_screen(client, f"/reports/{name}/", width)
        assert [row[column] for row in seen] == codes
    with django_assert_num_queries(PAGE + 1):
        seen = on_screen(client, "/reports/ledger/?from=2026-03-04", 15)
    assert sorted(row[4] for row in seen) == codes


def test_a_ledger_of_many_entries_leaves_in_constant_memory() -> None:
    allocation = make.allocation(**SPRING)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO allocations_ledgerentry (allocation_id, kind, total, seconds, effective_on, recorded_at, reason,
                                                 key, source_kind, source_reference)
            WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 10000)
            SELECT %s, 'charge', 'used', -n, '2026-03-02', '2026-03-02 00:00:00+00', %s, 'many:' || n, 'usage', ''
            FROM counted
            """,
            [allocation.pk, "x" * 500],
        )
    tracemalloc.start()
    size = sum(len(chunk) for chunk in csv_chunks(LEDGER, Parameters()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 5_000_000
    assert peak < 8_000_000
