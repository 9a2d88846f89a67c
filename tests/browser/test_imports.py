"""An officer hands an export over in a browser, watches it, reads its result, mends a line; all by the pages alone."""

import re
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from allocations import usage
from allocations.importing import working
from allocations.models import Allocation, JobRun, QuarantinedRecord, UsageImport
from centre.models import Cluster
from centre.permissions import StaffRole
from tests import make
from tests.allocations.exports import RUN, spelled
from tests.browser.conftest import Axe, OpenPage
from tests.browser.test_pages import LOOKS, pixels_too_wide

NOW = 1_795_000_000
TIMES = {"Submit": str(NOW), "Eligible": str(NOW), "Start": str(NOW + 5), "End": str(NOW + 7205)}
WRONG = {**RUN, **TIMES, "JobIDRaw": "8", "JobID": "8", "DBIndex": "81", "End": str(NOW + 1)}
HOSTILE = "<script>alert(1)</script>\u202egnp"


def an_allocation() -> Allocation:
    pool = make.pool("batch", cluster=make.cluster("hgx"), tres="gres/gpu:h800")
    return make.allocation(project=make.project("lab"), pool=pool, hours=100)


def work() -> None:
    """What the background worker does when it looks."""
    working.work_through(clock=timezone.now, worker="test")


def test_an_officer_uploads_watches_reads_and_mends(page: OpenPage, tmp_path: Path) -> None:
    allocation = an_allocation()
    export = tmp_path / "night.txt"
    export.write_bytes(spelled({**RUN, **TIMES}, WRONG))
    other = tmp_path / "letter.txt"
    other.write_text("Dear officer,\n")

    screen = page("/admin/allocations/usageimport/", user=make.staff(StaffRole.ALLOCATION_OFFICER))
    screen.get_by_role("link", name="Import usage").click()
    screen.get_by_label("Cluster").select_option(label="hgx")
    screen.get_by_label("When sacct ran").fill("2026-11-18T22:00:30")
    screen.get_by_label("File", exact=False).first.set_input_files(other)
    screen.get_by_role("button", name="Import the file").click()
    expect(screen.locator(".errorlist")).to_contain_text("The first line does not name the fields")
    expect(screen.get_by_label("When sacct ran")).to_have_value("2026-11-18T22:00:30")

    screen.get_by_label("File", exact=False).first.set_input_files(export)
    screen.get_by_role("button", name="Import the file").click()
    expect(screen.locator(".import-state .badge")).to_have_text("Received")
    usage_import = UsageImport.objects.get()
    half = usage_import.size_bytes // 2
    UsageImport.objects.update(
        state="running", claims=1, phase="reading", read_bytes=half, lease_until=timezone.now() + working.LEASE
    )
    expect(screen.locator("progress")).to_have_attribute("value", re.compile("49|50"), timeout=15_000)  # by itself
    UsageImport.objects.update(state="received", claims=0, phase="", lease_until=None)
    work()
    expect(screen.locator(".import-state .badge")).to_have_text("Done", timeout=15_000)
    counts = [" ".join(text.split()) for text in screen.locator(".import-sum .num").all_inner_texts()]
    assert counts == ["1", "+ 0", "+ 0", "+ 1", "= 2"]
    allocation.refresh_from_db()
    assert allocation.used_seconds == 16 * make.HOUR

    screen.get_by_role("link", name="Look at those that wait").click()
    screen.locator("#result_list tbody th a").click()
    screen.get_by_role("link", name="Mend and import again").click()
    screen.get_by_role("button", name="Import this record").click()
    expect(screen.locator(".errornote")).to_have_text("The run ends before it starts.")
    screen.get_by_label("End", exact=False).first.fill(str(NOW + 7205))
    screen.get_by_role("button", name="Import this record").click()
    expect(screen.locator(".messagelist")).to_contain_text("The record was mended and imported.")
    allocation.refresh_from_db()
    assert allocation.used_seconds == 32 * make.HOUR
    screen.get_by_role("link", name=f"Import {usage_import.pk}").click()
    expect(screen.locator("section", has_text="1 mended")).to_be_visible()


def test_refreshing_can_be_stopped(page: OpenPage) -> None:
    usage_import = UsageImport.objects.create(
        cluster=make.cluster("hgx"), file_name="n.txt", time_zone="UTC", size_bytes=9, received_at=timezone.now()
    )
    path = f"/admin/allocations/usageimport/{usage_import.pk}/change/"
    screen = page(path, user=make.staff(StaffRole.AUDITOR))
    screen.get_by_role("link", name="Do not refresh").click()
    UsageImport.objects.update(state="failed")
    screen.wait_for_timeout(4_500)
    expect(screen.locator(".import-state .badge")).to_have_text("Received")
    screen.get_by_role("link", name="Refresh", exact=True).click()
    expect(screen.locator(".import-state .badge")).to_have_text("Failed")


@pytest.mark.parametrize("looks", [1, pytest.param(4, marks=pytest.mark.hard)])
@pytest.mark.parametrize("part", ["imports", "records and runs"])
def test_pages_have_nothing_for_axe_and_fit_their_window(page: OpenPage, axe: Axe, part: str, looks: int) -> None:
    an_allocation()
    told = {**RUN, **TIMES, "End": "Unknown", "State": "RUNNING", "JobName": HOSTILE}
    cluster = Cluster.objects.get(code="hgx")
    for hours, runs in ((1, (told,)), (3, ({**RUN, **TIMES}, {**WRONG, "JobName": HOSTILE}))):
        usage.import_usage(
            stream=BytesIO(spelled(*runs)),
            file_name=f"{hours}.txt",
            cluster=cluster,
            at=timezone.now(),
            as_of=datetime.fromtimestamp(NOW + hours * make.HOUR, UTC),
        )
    done = UsageImport.objects.latest("pk")
    record, run = QuarantinedRecord.objects.get(), JobRun.objects.get()
    waiting = UsageImport.objects.create(
        cluster=done.cluster, file_name="w.txt", time_zone="UTC", size_bytes=9, received_at=done.received_at
    )
    officer = make.staff(StaffRole.ALLOCATION_OFFICER)
    addresses = {
        "imports": [
            "/admin/allocations/usageimport/",
            "/admin/allocations/usageimport/add/",
            *(f"/admin/allocations/usageimport/{done.pk}/{act}/" for act in ("change", "entries", "set-aside")),
            f"/admin/allocations/usageimport/{waiting.pk}/change/?refresh=off",
        ],
        "records and runs": [
            "/admin/allocations/quarantinedrecord/",
            *(f"/admin/allocations/quarantinedrecord/{record.pk}/{act}/" for act in ("change", "mend", "set-aside")),
            f"/admin/allocations/quarantinedrecord/{record.pk}/mend/?as=line",
            f"/admin/allocations/jobrun/{run.pk}/change/",
            f"/admin/allocations/jobrun/{run.pk}/lines/?import={done.pk}",
        ],
    }
    found = {}
    for number, address in enumerate(addresses[part]):
        for look in (LOOKS * 2)[number % 4 :][:looks]:
            screen = page(address, user=officer, **look)
            problems = axe(screen)
            if too_wide := pixels_too_wide(screen):
                problems.append(f"{too_wide} pixels too wide")
            if problems:
                found[f"{address} {look}"] = problems
            screen.context.close()
    assert found == {}
