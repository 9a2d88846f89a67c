"""What teams come for, on real pages: how much is left, who used it, what for, who belongs to us, what we ask for.

Elements are found by their place, address or field, so that every language is walked alike. What the pages say is held
against sums that the database works out anew.
"""

import csv
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core import mail
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from allocations.models import Allocation, ChangeRequest, LedgerEntry
from centre.models import Letter, Membership
from centre.permissions import ProjectRole, StaffRole
from tests import make
from tests.browser import a_centre
from tests.browser.conftest import Axe, OpenPage
from tests.browser.looks import Journey, Look, made_in

MAPS = "/projects/maps/"
GUEST = "guest@example.org"
PASSWORD = "a harbour full of boats"


@pytest.fixture
def journey(look: Look, page: OpenPage, axe: Axe) -> Journey:
    assert connection.vendor == {"sqlite": "sqlite", "postgres": "postgresql"}[look.database]
    return Journey(look, page, axe)


def sums(sql: str) -> dict[str, int]:
    """Two columns, text and a whole number, as the database gives them."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {str(text): int(number) for text, number in cursor.fetchall()}


def whole(text: str) -> int:
    """A number as it is written on a page, with its sign."""
    return int(re.sub(r"[^\d-]", "", text.replace("\N{MINUS SIGN}", "-")))


def send(screen: Page) -> None:
    """The button of the page's own form; the frame has others, of the language and of signing out."""
    screen.locator("main form[method=post] button.btn, #content form[method=post] [type=submit]").first.click()


@made_in(Look("sqlite", "en", 1280))
def test_lead_reads_how_much_is_left_and_until_when(journey: Journey) -> None:
    centre = a_centre.in_use()
    used = sums(
        "SELECT allocation.account, SUM(charge.seconds) FROM allocations_runcharge charge "
        "JOIN allocations_allocation allocation ON allocation.id = charge.allocation_id GROUP BY allocation.account"
    )
    assert used == {"maps": 88 * make.HOUR, "maps-paid": 5 * make.HOUR}
    screen = journey.begin("/projects/", centre.lead)
    assert "957" in screen.locator("main table tbody tr").inner_text()  # left of both together
    journey.follow(screen, MAPS)
    shown = {
        card.locator(".mono").first.inner_text(): (
            card.locator(".big").first.inner_text(),
            card.locator(".legend b").all_inner_texts()[:-1],
        )
        for card in screen.locator("section.quota").all()
    }  # the last figure is what was planned until now, which depends on the day
    assert shown == {"maps": ("912", ["88", "8", "912"]), "maps-paid": ("45", ["5", "45"])}
    for card in screen.locator("section.quota").all():
        assert card.locator(".runs-out b").inner_text()
        assert card.locator(".asof time").first.get_attribute("datetime")
        card.locator("details.note-more > summary").first.click()
        expect(card.locator(".meanings")).to_be_visible()
    older = screen.locator("section.quota", has=screen.locator(".mono", has_text="maps-paid"))
    assert re.search(r"\d{4}", older.locator(".runs-out").inner_text())  # a day; the other one began too lately to tell
    journey.check(screen)


@made_in(Look("sqlite", "zh-hant", 360))
def test_lead_finds_who_used_it(journey: Journey) -> None:
    centre = a_centre.in_use()
    make.member(project=centre.project, name="Mei Mapper", cluster_user="u1")
    make.member(project=centre.project, name="Ho Harbour", cluster_user="u2")
    now = timezone.now().replace(microsecond=0)
    failed = make.run(
        allocation=centre.paid, hours=2, gpus=3, start_at=now - timedelta(days=2), user="u2", state="FAILED"
    )
    make.imported(failed, cluster=centre.paid.pool.cluster, as_of=now)
    used = sums(
        "SELECT run.user_name, SUM(charge.seconds) FROM allocations_runcharge charge "
        "JOIN allocations_jobrun run ON run.id = charge.run_id GROUP BY run.user_name"
    )
    assert used["u2"] == 6 * make.HOUR
    screen = journey.begin(MAPS, centre.lead)
    journey.follow(screen, f"{MAPS}usage/")
    assert shares(screen) == {"Mei Mapper": used["u1"], "Ho Harbour": used["u2"]}

    screen.locator("select[name=outcome]").select_option("failed")
    screen.locator("form.filters button").click()
    expect(screen).to_have_url(re.compile("outcome=failed"))
    journey.check(screen)
    assert shares(screen) == {"Ho Harbour": 6 * make.HOUR}
    with screen.expect_download() as download:
        screen.locator("a[download]").click()
    rows = list(csv.DictReader(StringIO(download.value.path().read_text(encoding="utf-8-sig"))))
    assert {row["user_name"] for row in rows} == {"u2"}  # a run over midnight has a row for each day
    assert sum(int(row["gpu_seconds"]) for row in rows) == 6 * make.HOUR

    journey.follow(screen, f'a[href^="{MAPS}runs/?"]')
    lines = screen.locator(".runs-list tbody tr")
    assert lines.count() == 1
    journey.follow(screen, ".runs-list tbody a")
    costs = screen.locator("table.costs")
    assert costs.locator("tfoot .num").first.inner_text() == "6.00"
    assert "Ho Harbour" in screen.locator("main").inner_text()


def shares(screen: Page) -> dict[str, int]:
    """GPU-seconds by member, as the table of the usage page has them, in whole hours of hundredths."""
    table = screen.locator("section.shares").first
    found = {
        row.locator("bdi").first.inner_text(): whole(row.locator("td.num").first.inner_text()) * make.HOUR // 100
        for row in table.locator("tbody tr").all()
    }
    assert whole(table.locator("tfoot .num").first.inner_text()) * make.HOUR // 100 == sum(found.values())
    return found


@made_in(Look("postgres", "en", 360))
def test_member_explains_a_charge(journey: Journey) -> None:
    centre = a_centre.in_use()
    member = make.member(project=centre.project, name="Mei Mapper", cluster_user="u1")
    charges = LedgerEntry.objects.filter(allocation=centre.subsidised, kind=LedgerEntry.Kind.CHARGE)
    charge = charges.order_by("seconds")[0]  # the largest
    behind = sums(
        "SELECT run.job_id, charge.seconds FROM allocations_runcharge charge "
        f"JOIN allocations_jobrun run ON run.id = charge.run_id WHERE charge.entry_id = {charge.pk}"
    )
    screen = journey.begin(MAPS, member)
    journey.follow(screen, f'.tabs a[href="{MAPS}ledger/"]')
    chosen = f"{MAPS}ledger/?allocation={centre.subsidised.reference}"
    screen.goto(chosen)
    journey.check(screen)
    journey.follow(screen, f"{MAPS}ledger/{charge.pk}/")
    runs = screen.locator("section[aria-labelledby=runs]")
    lines = {
        row.locator(".mono").first.inner_text(): whole(row.locator("td").last.inner_text())
        for row in runs.locator("table").first.locator("tbody tr").all()
    }
    assert lines == behind  # as many seconds as the runs were charged
    total, entry = (runs.locator(f"table.sum {row} td.num").last.inner_text() for row in (".total", "tfoot"))
    assert (whole(total), whole(entry)) == (sum(behind.values()), charge.seconds)
    assert runs.locator(".badge.ok").count() == 1  # it says that it adds up
    effect = screen.locator("section[aria-labelledby=effect] td.num").all_inner_texts()
    before, moved, after = (whole(effect[place]) for place in (1, 3, 5))
    assert (moved, before + moved) == (charge.seconds, after)
    assert screen.locator("main form[method=post]").count() == 0  # a member changes nothing


@made_in(Look("postgres", "zh-hant", 1280))
def test_lead_invites_somebody_and_removes_them_again(journey: Journey) -> None:
    centre = a_centre.in_use()
    screen = journey.begin(MAPS, centre.lead)
    journey.follow(screen, f"{MAPS}members/")
    journey.follow(screen, f"{MAPS}members/invite/")
    screen.locator("input[name=email]").fill(GUEST)
    screen.locator("select[name=language]").select_option(journey.look.language)
    screen.locator(f"input[name=role][value={ProjectRole.MEMBER}]").check()
    send(screen)
    expect(screen.locator("ul.invitations")).to_contain_text(GUEST)
    journey.check(screen)
    (letter,) = (each for each in mail.outbox if each.to == [GUEST])
    (link,) = re.findall(r"https?://[^/\s]+(/invitations/\S+/)", str(letter.body))

    guest = journey.begin(link, None)
    guest.locator("input[name=name]").fill("Gwen Guest")
    guest.locator("input[name=password1]").fill(PASSWORD)
    guest.locator("input[name=password2]").fill(PASSWORD)
    send(guest)
    expect(guest).to_have_url(re.compile(f"{MAPS}$"))
    journey.check(guest)

    membership = Membership.objects.current().get(user__email=GUEST)
    screen.reload()
    journey.follow(screen, f"{MAPS}members/{membership.pk}/remove/")
    send(screen)
    expect(screen).to_have_url(re.compile(f"{MAPS}members/$"))
    journey.check(screen)
    assert GUEST not in screen.locator("section.members").inner_text()
    refused = guest.request.get(f"{MAPS}usage/")  # with the cookies of the page: the next click
    assert refused.status == 404
    journey.follow(screen, f"{MAPS}members/history/")
    assert GUEST in screen.locator("main").inner_text()


@made_in(Look("sqlite", "en", 360))
def test_lead_asks_for_a_top_up_and_gets_half_of_it(journey: Journey) -> None:
    centre = a_centre.in_use()
    officer = make.staff(StaffRole.ALLOCATION_OFFICER)
    screen = journey.begin(MAPS, centre.lead)
    journey.follow(screen, f"{MAPS}requests/")
    journey.follow(screen, f"{MAPS}requests/new/")
    journey.follow(screen, f"{MAPS}requests/new/?kind=top_up")
    screen.locator("input[name=seconds]").fill("100")
    screen.locator("textarea[name=reason]").fill("The second survey takes longer.")
    send(screen)
    assert ChangeRequest.objects.count() == 0  # which allocation was not said
    journey.check(screen)
    assert screen.locator("input[name=seconds]").input_value() == "100"
    screen.locator(f"input[name=allocation][value='{centre.paid.pk}']").check()
    send(screen)
    expect(screen).to_have_url(re.compile(rf"{MAPS}requests/\d+/$"))
    journey.check(screen)
    asked = ChangeRequest.objects.get()
    assert (asked.state, asked.asked_seconds, asked.asked_by) == ("asked", 100 * make.HOUR, centre.lead)

    desk = journey.begin("/desk/", officer)
    change = reverse("admin:allocations_changerequest_change", args=[asked.pk]).removesuffix("change/")
    journey.follow(desk, f'main a[href^="{change}"]')
    if not desk.url.endswith("/approve/"):
        journey.follow(desk, 'a[href$="approve/"]')
    desk.locator("[name=seconds]").fill("50")
    desk.locator("[name=answer]").fill("Half now, half after the report.")
    desk.locator("#content form[method=post] .submit-row [type=submit]").first.click()
    confirmed = desk.locator("button[name=act_step][value=confirmed]")
    expect(confirmed).to_be_visible()
    journey.check(desk)
    assert not LedgerEntry.objects.filter(kind=LedgerEntry.Kind.TOP_UP).exists()
    confirmed.click()
    expect(desk.locator(".messagelist")).to_be_visible()

    screen.reload()
    journey.check(screen)
    way = screen.locator("ol.way")
    assert way.locator("li.done").count() == 3
    assert "Half now, half after the report." in way.inner_text()
    entry = LedgerEntry.objects.get(kind=LedgerEntry.Kind.TOP_UP)
    assert (entry.allocation, entry.seconds, entry.asked_by, entry.approved_by) == (
        *(centre.paid, 50 * make.HOUR),
        *(centre.lead, officer),
    )
    journey.follow(screen, f"{MAPS}ledger/{entry.pk}/")
    journey.follow(screen, f'.crumbs a[href="{MAPS}"]')
    card = screen.locator("section.quota").filter(has=screen.locator(".mono", has_text="maps-paid"))
    assert card.locator(".big").first.inner_text() == "95"  # 45 and 50
    assert Allocation.objects.get(pk=centre.paid.pk).granted_seconds == 100 * make.HOUR
    assert Letter.objects.filter(user=centre.lead).exists()
