"""From a run to everything that exports said of it, with import and line, and to the entries that charged it."""

import re
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from allocations import usage
from allocations.admin.runs import OBSERVATIONS_PER_PAGE
from allocations.importing import looking_up, stored_files
from allocations.models import Allocation, JobRun, RunObservation, UsageImport
from allocations.slurm.sacct import open_export
from centre.models import Cluster
from centre.permissions import StaffRole
from tests import make
from tests.allocations.exports import ORDER, RUN, STRONG, spelled

pytestmark = [pytest.mark.django_db, pytest.mark.page]

BEGAN = 1795000000
TIMES = {"Submit": str(BEGAN), "Eligible": str(BEGAN), "Start": str(BEGAN + 5), "End": "Unknown", "State": "RUNNING"}


@pytest.fixture
def allocation(client: Client) -> Allocation:
    client.force_login(make.staff(StaffRole.AUDITOR))
    pool = make.pool("batch", cluster=make.cluster("hgx"), tres="gres/gpu:h800")
    return make.allocation(project=make.project("lab"), pool=pool, hours=100)


def run(number: int = 7, /, **columns: str) -> dict[str, str]:
    return {**RUN, "JobIDRaw": str(number), "JobID": str(number), "DBIndex": str(number * 10), **TIMES, **columns}


def imported(*runs: dict[str, str], hours: int) -> UsageImport:
    """An export so many hours after the run began."""
    return usage.import_usage(
        stream=BytesIO(spelled(*runs)),
        file_name=f"{hours}.txt",
        cluster=Cluster.objects.get(code="hgx"),
        at=timezone.now(),
        as_of=datetime.fromtimestamp(BEGAN + hours * 3600, UTC),
    )


def page_of(row: Any, act: str = "change") -> str:
    return reverse(f"admin:allocations_jobrun_{act}", args=[row.pk])


def test_every_observation_stands_in_order_with_what_differs_marked(client: Client, allocation: Allocation) -> None:
    ended: dict[str, str] = {"State": "COMPLETED", "End": str(BEGAN + 9000)}
    last = imported(run(**ended), hours=4)
    first = imported(run(QOS="high"), hours=1)  # told late
    between = imported(run(AllocTRES="gres/gpu:h800=4,gres/gpu=4"), hours=2)
    response = client.get(page_of(JobRun.objects.get()))
    told = [
        (
            each.row.usage_import_id,
            each.counts,
            [cell.differs for cell in each.cells],
            [(other.said, other.counts) for other in each.others],
        )
        for each in response.context["observations"]
    ]
    tres = ("gres/gpu:h800=4,gres/gpu=4", RUN["AllocTRES"])
    assert told == [
        (first.pk, False, [True, False, True, False], [("high", "normal")]),
        (between.pk, False, [True, False, True, True], [tres]),
        (last.pk, True, [False, False, False, False], []),
    ]
    page = response.content.decode()
    assert page.count("<mark>") == 7
    assert [f"usageimport/{each.pk}/change/" in page for each in (first, between, last)] == [True, True, True]


def test_charges_lead_to_their_entries(client: Client, allocation: Allocation) -> None:
    imported(run(), hours=1)
    imported(run(), hours=2)
    job_run = JobRun.objects.get()
    page = client.get(page_of(job_run)).content.decode()
    entries = [charge.entry_id for charge in job_run.charges.order_by("pk")]
    assert len(entries) == 2
    linked = re.findall(r'/admin/allocations/ledgerentry/(\d+)/change/">\d+</a>', page)
    assert [int(pk) for pk in linked] == entries


def test_a_run_leads_to_its_line_in_the_file(client: Client, allocation: Allocation) -> None:
    usage_import = imported(run(17), run(7), run(7, Submit=str(BEGAN + 60), DBIndex="71"), run(70), hours=1)
    job_run = JobRun.objects.get(job_id_raw=7, db_index="70")
    url = page_of(job_run, "lines")
    response = client.get(f"{url}?import={usage_import.pk}")
    [(line, fields)] = response.context["lines"]
    assert (line.number, line.text) == (3, STRONG.join(run(7)[name] for name in ORDER))
    assert [field.name for field, _instant in fields] == list(ORDER)
    assert [client.get(url + query).status_code for query in ("", "?import=x", "?import=999")] == [404, 404, 404]
    elsewhere = UsageImport.objects.create(cluster=make.cluster(), time_zone="UTC", received_at=timezone.now())
    assert client.get(f"{url}?import={elsewhere.pk}").status_code == 404
    stored_files.forget(usage_import.stored_as)
    assert "not kept here" in client.get(f"{url}?import={usage_import.pk}").content.decode()


def test_a_file_is_looked_through_to_a_bound(
    allocation: Allocation, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    usage_import = imported(*(run(n) for n in range(10, 30)), hours=1)
    assert looking_up.line_at(usage_import, 21) == (21, STRONG.join(run(29)[name] for name in ORDER))
    assert looking_up.line_at(usage_import, 22) is None
    monkeypatch.setattr(looking_up, "MOST_READ", 1_000)
    assert looking_up.line_at(usage_import, 21) is None
    first, last = (JobRun.objects.get(job_id_raw=n) for n in (10, 29))
    found = [looking_up.lines_of_run(usage_import, each) for each in (first, last)]
    told = [([line.number for line in each.lines], each.to_the_end) for each in found if each is not None]
    assert told == [([2], False), ([], False)]


def test_lines_about_other_runs_are_not_read_as_exports(
    allocation: Allocation, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    """A short number stands in almost every line: reading each as an export took minutes for a large file."""
    usage_import = imported(*(run(n) for n in (1, 10, 11, 12)), hours=1)
    read: list[int] = []

    def counted(*given: Any, **named: Any) -> Any:
        read.append(1)
        return open_export(*given, **named)

    monkeypatch.setattr("allocations.importing.looking_up.open_export", counted)
    found = looking_up.lines_of_run(usage_import, JobRun.objects.get(job_id_raw=1))
    assert found is not None
    assert ([line.number for line in found.lines], len(read)) == ([2], 1)


def test_lines_that_end_with_a_carriage_return_are_found_without_it(allocation: Allocation, client: Client) -> None:
    order = [name for name in ORDER if name != "End"] + ["End"]  # a needed field last
    usage_import = usage.import_usage(
        stream=BytesIO(spelled(run(), run(8), order=order).replace(b"\n", b"\r\n")),
        file_name="from Windows.txt",
        cluster=Cluster.objects.get(code="hgx"),
        at=timezone.now(),
        as_of=datetime.fromtimestamp(BEGAN + 3600, UTC),
    )
    told = (3, STRONG.join(run(8)[name] for name in order))
    assert looking_up.line_at(usage_import, 3) == told
    found = looking_up.lines_of_run(usage_import, JobRun.objects.get(job_id_raw=8))
    assert found is not None
    assert found.lines == [told]


def test_many_observations_are_paged_and_the_winning_one_stands_last(client: Client, allocation: Allocation) -> None:
    imported(run(), hours=2)
    job_run = JobRun.objects.get()
    columns = {field.name: getattr(job_run, field.name) for field in JobRun._meta.local_concrete_fields}
    said = {name: columns[name] for name in columns.keys() - {"id", "cluster", "unmatched_seconds", "first_import"}}
    RunObservation.objects.bulk_create(
        RunObservation(**said | {"run": job_run, "digest": str(n)}) for n in range(OBSERVATIONS_PER_PAGE + 1)
    )
    first = client.get(page_of(job_run)).context["observations"]
    last = client.get(page_of(job_run) + "?observations=2").context["observations"]
    assert [(len(each), each[-1].counts) for each in (first, last)] == [(OBSERVATIONS_PER_PAGE, False), (2, True)]


def test_the_page_of_a_run_costs_the_same_however_often_it_was_told(client: Client, allocation: Allocation) -> None:
    counts = []
    for hours in ((1, 2), (3, 4)):
        for each in hours:
            imported(run(), hours=each)
        url = page_of(JobRun.objects.get())
        client.get(url)
        with CaptureQueriesContext(connection) as queries:
            client.get(url)
        counts.append(len(queries))
    assert counts == [13, 13]


def test_a_hostile_job_name_is_text_in_every_place(client: Client, allocation: Allocation) -> None:
    name = "<script>alert(1)</script>\u202e"
    usage_import = imported(run(JobName="x"), hours=1)
    imported(run(JobName=name), hours=2)
    imported(run(JobName="x"), hours=3)
    job_run = JobRun.objects.get()
    pages = [page_of(job_run), f"{page_of(job_run, 'lines')}?import={usage_import.pk + 1}"]
    for url in pages:
        page = client.get(url).content.decode()
        assert "<script>alert" not in page
        assert '<span class="unseen" title="U+202E">' in page
