"""What people come for, done by hand in a browser: read a quota, take a report along, look an allocation up."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from allocations.models import Allocation, LedgerEntry
from centre.amounts import hours_text
from centre.models import User
from centre.permissions import StaffRole
from tests import make
from tests.browser import a_centre
from tests.browser.conftest import OpenPage

HEADER = "tenant,project,pool,from,to,runs,gpu_seconds,gpu_hours"


def sign_in(screen: Page, user: User) -> None:
    """By the form, as everybody does."""
    screen.fill("input[name=login]", user.email)
    screen.fill("input[name=password]", make.PASSWORD)
    screen.locator("main form button").first.click()
    screen.wait_for_load_state()


def search_and_choose(screen: Page, typed: str, row: str) -> None:
    """In the only search box of a page: type, and take the row, which is the only one that is found."""
    screen.get_by_role("combobox").click()
    screen.get_by_role("searchbox").press_sequentially(typed)
    expect(screen.get_by_role("option")).to_have_text([row])
    screen.get_by_role("option").click()
    expect(screen.get_by_role("combobox")).to_contain_text(row)


def charged(project: str) -> dict[str, int]:
    """GPU-seconds by Slurm account, added up by the database from the run charges."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT allocation.account, SUM(charge.seconds) FROM allocations_runcharge charge
            JOIN allocations_allocation allocation ON allocation.id = charge.allocation_id
            JOIN centre_project project ON project.id = allocation.project_id
            WHERE project.code = %s GROUP BY allocation.account
            """,
            [project],
        )
        return {account: int(seconds) for account, seconds in cursor.fetchall()}


@pytest.mark.parametrize(
    ("language", "width", "tenant", "year"),
    [("en", 1280, "Harbour University", r"\d{4} – "), ("zh-hant", 360, "海港大學", r"\d{4}年\d+月\d+日 – ")],
)
def test_lead_signs_in_and_reads_the_quota(page: OpenPage, language: str, width: int, tenant: str, year: str) -> None:
    centre = a_centre.in_use()
    assert charged("maps") == {"maps": 88 * make.HOUR, "maps-paid": 5 * make.HOUR}
    screen = page("/accounts/login/", language=language, width=width)
    sign_in(screen, centre.lead)
    expect(screen).to_have_url(re.compile(r"/projects/maps/$"))  # who has one project lands on it
    expect(screen.locator("h1")).to_have_text("Reading old maps")
    assert tenant in screen.locator(".page-head").inner_text()
    screen.wait_for_load_state()
    cards = screen.locator("section.quota")
    figures = {
        card.locator(".mono").first.inner_text(): (
            card.locator(".big").first.inner_text(),
            card.locator(".legend b").all_inner_texts()[:-1],
        )
        for card in cards.all()
    }  # the last figure is what was planned until now, which depends on the day
    assert figures == {
        "maps": ("912", ["88", "8", "912"]),  # left; used, of it running now, left
        "maps-paid": ("45", ["5", "45"]),
    }
    for card in cards.all():
        assert re.search(year, card.inner_text())
    runs = screen.locator("section[aria-labelledby=latest-runs] tbody tr")
    assert runs.count() == 3
    assert "<b>訓練</b>" in runs.locator("nth=1").inner_text()  # a job's name is text, whatever it holds


def test_management_previews_usage_of_some_days_and_takes_it_along(page: OpenPage, tmp_path: Path) -> None:
    centre = a_centre.in_use()
    manager = a_centre.people(centre)["management"]
    assert manager is not None
    first, last = make.today() - timedelta(days=7), make.today()
    screen = page("/accounts/login/")
    sign_in(screen, manager)
    expect(screen).to_have_url(re.compile(r"/reports/$"))
    screen.get_by_role("link", name="Usage by project", exact=True).click()
    screen.get_by_label("From").fill(first.isoformat())
    screen.get_by_label("To").fill(last.isoformat())
    screen.get_by_role("button", name="Show", exact=True).click()
    expect(screen).to_have_url(re.compile(rf"from={first}&to={last}"))
    screen.wait_for_load_state()
    seconds = sum(charged("maps").values())
    preview = [cell.strip() for cell in screen.locator("tbody .cell").all_inner_texts()]
    assert [preview[place] for place in (0, 1, 2, 5, 6, 7)] == [
        "harbour-u",
        "maps",
        "h800",
        "3",
        f"{seconds:,}",
        "93.00",
    ]
    with screen.expect_download() as download:
        screen.get_by_role("link", name="Download as CSV", exact=True).click()
    assert download.value.suggested_filename == f"usage-by-project_from-{first}_to-{last}.csv"
    kept = tmp_path / "report.csv"
    download.value.save_as(kept)
    row = f"harbour-u,maps,h800,{first},{last},3,{seconds},93.00"
    assert kept.read_bytes() == f"\ufeff{HEADER}\r\n{row}\r\n".encode()


def test_allocation_officer_looks_an_allocation_up(page: OpenPage) -> None:
    centre = a_centre.in_use()
    officer = a_centre.people(centre)["officer"]
    assert officer is not None
    screen = page("/accounts/login/")
    sign_in(screen, officer)
    expect(screen).to_have_url(re.compile(r"/desk/$"))
    screen.get_by_role("main").get_by_role("link", name="To the administration", exact=True).click()
    expect(screen).to_have_url(re.compile(r"/admin/$"))
    screen.get_by_role("main").get_by_role("link", name="Allocations", exact=True).click()
    screen.get_by_label("By reference, Slurm account, project or tenant.").fill("maps-paid")
    screen.get_by_role("button", name="Search", exact=True).click()
    expect(screen).to_have_url(re.compile(r"q=maps-paid"))
    screen.wait_for_load_state()
    assert screen.locator("#result_list tbody tr").count() == 1
    screen.get_by_role("link", name=centre.paid.reference, exact=True).click()
    expect(screen).to_have_url(re.compile(rf"/admin/allocations/allocation/{centre.paid.pk}/change/"))
    screen.wait_for_load_state()
    rows = screen.locator(".form-row:has(.readonly)").all()
    said = {row.locator("label").first.inner_text(): row.locator(".readonly").inner_text() for row in rows}
    assert said["Granted (GPU-hours):"] == "50"
    assert said["Used (GPU-hours):"].split() == ["5", "10", "%"]
    assert said["Left (GPU-hours):"].split() == ["45", "90", "%"]


def test_one_officer_moves_hours_and_another_approves(page: OpenPage) -> None:
    """What the pages say before the act is what the ledger says after it."""
    centre = a_centre.in_use()
    first, second = (make.staff(StaffRole.ALLOCATION_OFFICER) for _ in range(2))
    screen = page(f"/admin/allocations/allocation/{centre.subsidised.pk}/change/", user=first)
    screen.get_by_role("link", name="Move GPU-hours", exact=True).click()
    screen.get_by_label("GPU-hours", exact=False).first.fill("100")
    search_and_choose(screen, "maps-paid", centre.paid.reference)
    screen.get_by_label("Reason").fill("The second survey is paid for.")
    screen.get_by_role("button", name="Continue", exact=True).click()
    expect(screen.get_by_text("Nothing has happened yet.")).to_be_visible()
    foretold = screen.locator("table:has(caption:text('What will change')) tbody tr").all_inner_texts()
    assert LedgerEntry.objects.filter(kind="hold").count() == 0
    screen.get_by_role("button", name="Send for approval", exact=True).dblclick()
    expect(screen.locator(".messagelist")).to_contain_text("another officer")
    assert LedgerEntry.objects.filter(kind="hold").count() == 1

    screen = page("/desk/", user=second)
    screen.get_by_role("main").get_by_role("link", name="Move 100 GPU-hours", exact=False).click()
    assert "The second survey is paid for." in screen.locator("main, #content").first.inner_text()
    screen.get_by_role("button", name="Approve", exact=False).click()
    expect(screen.locator(".messagelist")).to_be_visible()
    moved = LedgerEntry.objects.filter(kind="transfer").order_by("seconds")
    assert [(entry.allocation, entry.seconds, entry.approved_by) for entry in moved] == [
        (centre.subsidised, -100 * make.HOUR, second),
        (centre.paid, 100 * make.HOUR, second),
    ]
    afterwards = [row.split()[-1] for row in foretold if "Left" in row]
    left = [Allocation.objects.get(pk=row.pk).available_seconds for row in (centre.subsidised, centre.paid)]
    assert afterwards == [hours_text(seconds, 0) for seconds in left]
