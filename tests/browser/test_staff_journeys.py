"""What centre staff come for, on real pages: tenants registered or brought in, hours that two give, shrinking pools.

Elements are found by their field, address or place, so that every language is walked alike.
"""

import csv
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.urls import reverse
from playwright.sync_api import FilePayload, Page, expect

from allocations.models import Allocation, ChangeRequest, LedgerEntry, OnboardingUpload
from centre.models import Capacity, ClusterUser, Event, Membership, Project, Tenant
from centre.permissions import StaffRole
from tests import make
from tests.browser import a_centre
from tests.browser.conftest import Axe, OpenPage
from tests.browser.looks import Journey, Look, made_in

TENANTS = reverse("admin:centre_tenant_changelist")
UPLOADS = reverse("admin:allocations_onboardingupload_changelist")
BOARD = reverse("capacity")
CONFIRM = "button[name=act_step][value=confirmed]"
TENANT_LINES = """code,name_en,name_zh_hant,name_zh_hans,category
harbour-u,Harbour University,海港大學,,university
kelp-bay,Kelp Bay University (invented),海帶灣大學（虛構）,,university
"""
PROJECT_LINES = """code,tenant,title,lead_email
reefs,kelp-bay,Reefs seen from above,ada@example.org
"""
MEMBER_LINES = """project,email,name,role,cluster_users
reefs,ben@example.org,Ben Diver,member,ben
reefs,cat@example.org,Cat Diver,owner,
reef,dan@example.org,Dan Diver,viewer,
reefs,eve.example.org,Eve Diver,manager,
"""
MENDED = {"owner": "manager", "reef": "reefs", "eve.example.org": "eve@example.org"}


@pytest.fixture
def journey(look: Look, page: OpenPage, axe: Axe) -> Journey:
    assert connection.vendor == {"sqlite": "sqlite", "postgres": "postgresql"}[look.database]
    return Journey(look, page, axe)


def save(screen: Page) -> None:
    screen.locator("#content [name=_save]").first.click()


def go_on(screen: Page) -> None:
    """The button of an act's own form."""
    screen.locator("#content form[method=post] .submit-row [type=submit]").first.click()


@made_in(Look("sqlite", "zh-hant", 1280))
def test_tenant_officer_registers_a_tenant_and_finds_it_again(journey: Journey) -> None:
    a_centre.in_use()
    officer = make.staff(StaffRole.TENANT_OFFICER)
    screen = journey.begin("/admin/", officer)
    journey.follow(screen, f'main a[href="{TENANTS}"], #content a[href="{TENANTS}"]')
    journey.follow(screen, f'.object-tools a[href^="{TENANTS}add/"]')
    screen.locator("[name=code]").fill("Pok Fu Lam!")
    screen.locator("[name=name_en]").fill("Pok Fu Lam Marine Laboratory (invented)")
    screen.locator("[name=name_zh_hant]").fill("薄扶林海洋實驗室（虛構）")
    screen.locator("[name=name_zh_hans]").fill("薄扶林海洋实验室（虚构）")
    screen.locator("[name=category]").select_option("research_institute")
    screen.locator("[name=registration_number]").fill("INV-0042")
    screen.locator("[name=agreement_from_on]").fill("2026-11-01")
    screen.locator("[name=agreement_until_on]").fill("2026-10-01")
    save(screen)
    expect(screen.locator(".errorlist").first).to_be_visible()  # the code, and an agreement that ends before it begins
    assert not Tenant.objects.filter(registration_number="INV-0042").exists()
    assert screen.locator("[name=name_zh_hant]").input_value() == "薄扶林海洋實驗室（虛構）"  # nothing typed is lost
    journey.check(screen)
    screen.locator("[name=code]").fill("pok-fu-lam")
    screen.locator("[name=agreement_until_on]").fill("2027-10-31")
    save(screen)
    expect(screen.locator(".messagelist .success")).to_be_visible()
    tenant = Tenant.objects.get(code="pok-fu-lam")
    assert (tenant.name_zh_hans, str(tenant.agreement_until_on)) == ("薄扶林海洋实验室（虚构）", "2027-10-31")
    assert Event.objects.get(act="register_tenant", object_id=str(tenant.pk)).actor == officer

    screen.goto(TENANTS)
    screen.locator("#searchbar").fill("海洋實驗室")
    screen.locator("#searchbar").press("Enter")
    expect(screen.locator("#result_list tbody tr")).to_have_count(1)
    journey.check(screen)
    screen.locator(f"#result_list a[href*='{TENANTS}{tenant.pk}/']").first.click()
    expect(screen.locator("[name=registration_number]")).to_have_value("INV-0042")
    screen.locator("#contacts-group .add-row a").click()
    journey.check(screen)
    screen.locator("[name=contacts-0-name]").fill("何海")
    screen.locator("[name=contacts-0-role]").fill("Research office")
    screen.locator("[name=contacts-0-email]").fill("research.office@example.org")
    save(screen)
    expect(screen.locator(".messagelist .success")).to_be_visible()
    assert [(one.name, one.email) for one in tenant.contacts.all()] == [("何海", "research.office@example.org")]


def hand_over(screen: Page, files: dict[str, str]) -> None:
    """Choose the files on the page that takes them, and go on to the preview."""
    given = [FilePayload(name=name, mimeType="text/csv", buffer=text.encode()) for name, text in files.items()]
    screen.locator("[name=spreadsheets]").set_input_files(given)
    go_on(screen)
    expect(screen.locator(".sheet-files")).to_be_visible()


def lines_that_are(screen: Page, verdict: str) -> list[str]:
    """What the preview calls each such line, in the order of the files."""
    return [name.strip() for name in screen.locator(f".sheet-lines tr.is-{verdict} th").all_inner_texts()]


def apply(screen: Page) -> None:
    screen.locator(".sheet-acts button.default").click()
    expect(screen.locator(".messagelist .success")).to_be_visible()


@made_in(Look("postgres", "zh-hant", 360))
def test_tenant_officer_brings_a_tenant_in_from_spreadsheets_with_three_bad_lines(
    journey: Journey, tmp_path: Path
) -> None:
    a_centre.in_use()
    screen = journey.begin("/admin/", make.staff(StaffRole.TENANT_OFFICER))
    journey.follow(screen, f'main a[href="{UPLOADS}"], #content a[href="{UPLOADS}"]')
    journey.follow(screen, f'.object-tools a[href="{UPLOADS}add/"]')
    files = {"tenants.csv": TENANT_LINES, "projects.csv": PROJECT_LINES, "members.csv": MEMBER_LINES}
    hand_over(screen, files)
    journey.check(screen)
    assert [len(lines_that_are(screen, verdict)) for verdict in ("new", "changed", "same", "wrong")] == [3, 0, 1, 3]
    why = screen.locator(".sheet-lines tr.is-wrong .line-says").all_inner_texts()
    assert [value in said for value, said in zip(MENDED, why, strict=True)] == [True] * 3
    assert not Tenant.objects.filter(code="kelp-bay").exists()  # a preview writes nothing

    apply(screen)
    journey.check(screen)
    assert screen.locator(".sheet-acts button.default").count() == 0  # the wrong lines are left, and nothing to apply
    reefs = Project.objects.select_related("tenant").get(code="reefs")
    assert (reefs.tenant.code, reefs.tenant.name_zh_hant, reefs.title) == (
        "kelp-bay",
        "海帶灣大學（虛構）",
        "Reefs seen from above",
    )
    people = Membership.objects.filter(project=reefs).order_by("user__email")
    assert list(people.values_list("user__email", "role")) == [
        ("ada@example.org", "lead"),
        ("ben@example.org", "member"),
    ]
    assert list(ClusterUser.objects.filter(user__email="ben@example.org").values_list("name", flat=True)) == ["ben"]

    with screen.expect_download() as download:
        screen.locator('.sheet-files a[href$="/wrong/members/"]').click()
    download.value.save_as(kept := tmp_path / "wrong.csv")
    rows = list(csv.DictReader(kept.read_text(encoding="utf-8-sig").splitlines()))
    assert [row["name"] for row in rows] == ["Cat Diver", "Dan Diver", "Eve Diver"]
    mended = [",".join(rows[0])]
    mended += [",".join(f'"{MENDED.get(cell, cell)}"' for cell in row.values()) for row in rows]
    screen.goto(f"{UPLOADS}add/")
    hand_over(screen, {"mended.csv": "\r\n".join(mended)})
    journey.check(screen)
    assert [len(lines_that_are(screen, verdict)) for verdict in ("new", "wrong")] == [3, 0]
    apply(screen)
    assert list(people.values_list("user__email", "user__name", "role")) == [
        ("ada@example.org", "", "lead"),
        ("ben@example.org", "Ben Diver", "member"),
        ("cat@example.org", "Cat Diver", "manager"),
        ("dan@example.org", "Dan Diver", "viewer"),
        ("eve@example.org", "Eve Diver", "manager"),
    ]
    screen.goto(UPLOADS)
    journey.check(screen)
    assert screen.locator("#result_list tbody tr").count() == OnboardingUpload.objects.count() == 2


@made_in(Look("postgres", "en", 1280))
def test_officer_approves_what_a_colleague_asked_for_and_never_their_own(journey: Journey) -> None:
    centre = a_centre.in_use()
    first, second = (make.staff(StaffRole.ALLOCATION_OFFICER) for _ in range(2))
    account = reverse("admin:allocations_allocation_change", args=[centre.paid.pk])
    screen = journey.begin(account, first)
    journey.follow(screen, 'a[href$="top-up/"]')
    screen.locator("[name=seconds]").fill("20")
    screen.locator("[name=reason]").fill("The invoice of November is paid.")
    go_on(screen)
    expect(screen.locator(CONFIRM)).to_be_visible()
    journey.check(screen)
    screen.locator(CONFIRM).click()
    expect(screen.locator(".messagelist")).to_be_visible()
    asked = ChangeRequest.objects.get(allocation=centre.paid)
    assert (asked.state, asked.asked_by) == ("asked", first)

    own = reverse("admin:allocations_changerequest_change", args=[asked.pk])
    screen.goto(own)
    journey.check(screen)
    approve = own.replace("change/", "approve/")
    assert screen.locator(f'a[href="{approve}"], a[href="../approve/"]').count() == 0
    screen.goto(approve)
    go_on(screen)
    expect(screen.locator("#content .errornote, #content [role=alert]").first).to_be_visible()
    assert screen.locator(CONFIRM).count() == 0
    assert LedgerEntry.objects.filter(kind="top_up").count() == 0

    desk = journey.begin("/desk/", second)
    journey.follow(desk, f'main a[href^="{own.removesuffix("change/")}"]')
    if not desk.url.endswith("/approve/"):
        journey.follow(desk, 'a[href$="approve/"]')
    go_on(desk)
    expect(desk.locator(".messagelist")).to_be_visible()
    entry = LedgerEntry.objects.get(kind="top_up")
    assert (entry.allocation, entry.seconds) == (centre.paid, 20 * make.HOUR)
    assert (entry.asked_by, entry.approved_by) == (first, second)
    assert Allocation.objects.get(pk=centre.paid.pk).granted_seconds == 70 * make.HOUR


@made_in(Look("sqlite", "en", 360))
def test_administrator_sees_over_commitment_appear_when_a_pool_shrinks(journey: Journey) -> None:
    centre = a_centre.in_use()
    pool = centre.paid.pool
    make.allocation(
        project=centre.project, pool=pool, hours=20_000, account="maps-large"
    )  # 64 GPUs give 46,080 a month
    administrator = make.staff(StaffRole.ADMINISTRATOR)
    board = journey.begin(BOARD, administrator)
    assert board.locator(".in-short .badge.bad").count() == 0
    of_pool = reverse("admin:centre_gpupool_change", args=[pool.pk])
    screen = journey.begin(of_pool, administrator)
    journey.follow(screen, 'a[href$="set-capacity/"]')
    shrinks_on = make.today() + timedelta(days=1)
    screen.locator("[name=from_on]").fill(shrinks_on.isoformat())
    screen.locator("[name=gpus]").fill("4")
    screen.locator("[name=note]").fill("Racks are moved.")
    go_on(screen)
    expect(screen.locator(CONFIRM)).to_be_visible()
    journey.check(screen)
    assert "more is promised" in screen.locator("#content").inner_text()
    assert not Capacity.objects.filter(gpus=4).exists()
    screen.locator(CONFIRM).click()
    expect(screen.locator(".messagelist .success")).to_be_visible()
    assert Capacity.objects.get(pool=pool, from_on=shrinks_on).gpus == 4
    board.reload()
    journey.check(board)
    assert board.locator(".in-short .badge.bad").count() == 1
    assert board.locator(f"#pool-{pool.pk}").count() == 1
