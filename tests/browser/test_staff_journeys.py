"""What centre staff come for, on real pages: tenants registered, hours that two give, shrinking pools.

Elements are found by their field, address or place, so that every language is walked alike.
"""

from datetime import timedelta

import pytest
from django.db import connection
from django.urls import reverse
from playwright.sync_api import Page, expect

from allocations.models import Allocation, ChangeRequest, LedgerEntry
from centre.models import Capacity, Event, Tenant
from centre.permissions import StaffRole
from tests import make
from tests.browser import a_centre
from tests.browser.conftest import Axe, OpenPage
from tests.browser.looks import Journey, Look, made_in

TENANTS = reverse("admin:centre_tenant_changelist")
BOARD = reverse("capacity")
CONFIRM = "button[name=act_step][value=confirmed]"


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
    expect(screen.locator(".act-warning")).to_be_visible()  # more is promised than the pool can give
    assert not Capacity.objects.filter(gpus=4).exists()
    screen.locator(CONFIRM).click()
    expect(screen.locator(".messagelist .success")).to_be_visible()
    assert Capacity.objects.get(pool=pool, from_on=shrinks_on).gpus == 4
    board.reload()
    journey.check(board)
    assert board.locator(".in-short .badge.bad").count() == 1
    assert board.locator(f"#pool-{pool.pk}").count() == 1
