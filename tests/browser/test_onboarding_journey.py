"""A tenant comes in from four spreadsheets with three bad lines: looked at, applied by two people, mended, applied.

Elements are found by their field, address or place, so that every language is walked alike.
"""

import csv
from pathlib import Path

import pytest
from django.db import connection
from django.urls import reverse
from playwright.sync_api import Download, FilePayload, Page, expect

from allocations.models import Allocation, LedgerEntry, OnboardingStep, OnboardingUpload
from allocations.verifying import differences
from centre.models import ClusterUser, Event, Membership, Project, Tenant, User
from centre.permissions import StaffRole
from tests import make
from tests.browser import a_centre
from tests.browser.conftest import Axe, OpenPage
from tests.browser.looks import Journey, Look, made_in

UPLOADS = reverse("admin:allocations_onboardingupload_changelist")
ADD = reverse("admin:allocations_onboardingupload_add")
FILES = {
    "tenants": """code,name_en,name_zh_hant,name_zh_hans,category
harbour-u,Harbour University,海港大學,海港大学,university
kelp-bay,Kelp Bay University (invented),海帶灣大學（虛構）,,university
pearl-labs,"Pearl Laboratories, Ltd (invented)",明珠實驗室（虛構）,,univercity
""",
    "projects": """code,tenant,title,lead_email
maps,harbour-u,Reading old maps,
reefs,kelp-bay,Reefs seen from above,ada@example.org
""",
    "members": """project,email,name,role,cluster_users
reefs,ada@example.org,Ada Diver,lead,ada
reefs,ben@example.org,Ben Diver,member,ben
reefs,eve.example.org,Eve Diver,manager,eve
""",
    "allocations": """project,pool,start_on,end_on,gpu_hours,reference,account,funding
reefs,h800,2026-01-01,2026-12-31,1200.5,OPEN-1,,
reefs,h800,2026-01-01,2026-12-31,12000 hours,OPEN-2,reefs-paid,purchased
""",
}
BAD = {
    "tenants": ("tenants.csv 4", "pearl-labs · Pearl Laboratories, Ltd (invented)", "univercity", "research institute"),
    "members": ("members.csv 4", "reefs · eve.example.org · Eve Diver", "eve.example.org", "eve@example.org"),
    "allocations": ("allocations.csv 3", "OPEN-2 · reefs · h800", "12000 hours", "12000"),
}
"""Of each kind: its bad line's place and name on the page, what is wrong in it, and what is right."""


@pytest.fixture
def journey(look: Look, page: OpenPage, axe: Axe) -> Journey:
    assert connection.vendor == {"sqlite": "sqlite", "postgres": "postgresql"}[look.database]
    return Journey(look, page, axe)


def hand_over(journey: Journey, screen: Page, files: dict[str, bytes]) -> str:
    """Choose the files on the page that takes them, and go on to the preview; its address."""
    given = [FilePayload(name=f"{name}.csv", mimeType="text/csv", buffer=content) for name, content in files.items()]
    screen.locator("[name=spreadsheets]").set_input_files(given)
    screen.locator("#content form[method=post] .submit-row [type=submit]").first.click()
    expect(screen.locator(".sheet-files section")).to_have_count(len(files))
    journey.check(screen)
    return screen.url


def apply(journey: Journey, screen: Page) -> None:
    screen.locator(".sheet-acts button.default").click()
    expect(screen.locator(".messagelist .success")).to_be_visible()
    journey.check(screen)


def lines_that_are(screen: Page, verdict: str) -> list[tuple[str, str]]:
    """Place and name of each line that comes to this, in the order of the files."""
    of_these = screen.locator(f".sheet-lines tr.is-{verdict}").all()
    return [(" ".join(row.locator("td.num").inner_text().split()), row.locator("th").inner_text()) for row in of_these]


def reasons(screen: Page) -> list[str]:
    """What the page says beside each wrong line."""
    return [said.strip() for said in screen.locator(".sheet-lines tr.is-wrong .line-says").all_inner_texts()]


def taken(screen: Page, kind: str, folder: Path) -> list[dict[str, str]]:
    """The wrong lines of a file, downloaded."""
    with screen.expect_download() as download:
        screen.locator(f'.sheet-files a[href$="/wrong/{kind}/"]').click()
    return rows_of(download.value, folder / f"{kind}.csv")


def rows_of(download: Download, kept: Path) -> list[dict[str, str]]:
    download.save_as(kept)
    return list(csv.DictReader(kept.read_text(encoding="utf-8-sig").splitlines()))


def mended(kind: str, kept: Path) -> bytes:
    """The downloaded file with its bad cell corrected, its `problem` still beside it."""
    _place, _name, bad, good = BAD[kind]
    rows = kept.read_text(encoding="utf-8-sig").splitlines()
    return "\r\n".join([rows[0], *(row.replace(f",{bad},", f",{good},", 1) for row in rows[1:])]).encode()


def entries() -> list[tuple[str, str, str, str, int, User | None, User | None]]:
    """The opening balances of the project that came in: what was given, who asked and who approved."""
    rows = LedgerEntry.objects.filter(allocation__project__code="reefs").order_by("allocation__reference")
    return [
        (
            *(entry.kind, entry.allocation.reference, entry.allocation.account, entry.allocation.funding),
            *(entry.seconds, entry.asked_by, entry.approved_by),
        )
        for entry in rows.select_related("allocation", "asked_by", "approved_by")
    ]


@made_in(Look("postgres", "zh-hant", 360))
def test_tenant_comes_in_from_spreadsheets_with_three_bad_lines(journey: Journey, tmp_path: Path) -> None:
    cluster = a_centre.in_use().paid.pool.cluster
    officer = make.staff(StaffRole.TENANT_OFFICER, user=make.person("toby@example.org", name="Toby Tenant"))
    giver = make.staff(StaffRole.ALLOCATION_OFFICER, user=make.person("gil@example.org", name="Gil Giver"))
    before = (Tenant.objects.count(), Project.objects.count(), Allocation.objects.count(), User.objects.count())
    screen = journey.begin("/admin/", officer)
    journey.follow(screen, f'main a[href="{UPLOADS}"], #content a[href="{UPLOADS}"]')
    journey.follow(screen, f'.object-tools a[href="{ADD}"]')

    # The preview tells every line, and writes nothing.
    upload = hand_over(journey, screen, {kind: text.encode() for kind, text in FILES.items()})
    assert lines_that_are(screen, "new") == [
        ("tenants.csv 3", "kelp-bay · Kelp Bay University (invented)"),
        ("projects.csv 3", "reefs · Reefs seen from above"),
        ("members.csv 3", "reefs · ben@example.org · Ben Diver"),
        ("allocations.csv 2", "OPEN-1 · reefs · h800"),
    ]
    assert [place for place, _name in lines_that_are(screen, "changed")] == ["tenants.csv 2", "members.csv 2"]
    becomes = screen.locator(".sheet-lines tr.is-changed ins").all_inner_texts()
    assert becomes == ["海港大学", "Ada Diver", f"{cluster.code}:ada"]
    assert lines_that_are(screen, "same") == [("projects.csv 2", "maps · Reading old maps")]
    assert lines_that_are(screen, "wrong") == [(place, name) for place, name, _bad, _good in BAD.values()]
    why = reasons(screen)
    assert [bad in said for said, (_place, _name, bad, _good) in zip(why, BAD.values(), strict=True)] == [True] * 3
    now = (Tenant.objects.count(), Project.objects.count(), Allocation.objects.count(), User.objects.count())
    assert now == before
    journey.follow(screen, '.sheet-choices a[href="?show=wrong#lines"]')
    assert (len(lines_that_are(screen, "wrong")), screen.locator(".sheet-lines tbody tr").count()) == (3, 3)

    # The wrong lines are taken along, each with the words of the page beside it.
    for kind, said in zip(BAD, why, strict=True):
        [header, *_rest, bad_line] = csv.reader(FILES[kind].splitlines())
        assert taken(screen, kind, tmp_path) == [dict(zip([*header, "problem"], [*bad_line, said], strict=True))]

    # The good lines: the tenant officer's part, then the hours by the officer whose desk they wait on.
    apply(journey, screen)
    assert screen.locator(".sheet-acts button.default").count() == 0
    assert (Tenant.objects.filter(code="kelp-bay").count(), entries()) == (1, [])
    desk = journey.begin("/desk/", giver)
    journey.follow(desk, f'main a[href="{upload.removeprefix(desk.url.removesuffix("/desk/"))}"]')
    gives = desk.locator(".sheet-lines tr.is-new ins").all_inner_texts()
    assert gives == ["1200.5", "2026-01-01", "2026-12-31", "reefs", "internal"]  # what the second person stands behind
    apply(journey, desk)
    first = ("grant", "OPEN-1", "reefs", "internal", 1200 * make.HOUR + make.HOUR // 2, officer, giver)
    assert entries() == [first]
    assert [place for place, _name in lines_that_are(desk, "wrong")] == [place for place, *_others in BAD.values()]
    assert (lines_that_are(desk, "new"), lines_that_are(desk, "changed")) == ([], [])

    # The three lines, corrected where they were downloaded, are all there is left to do.
    journey.follow(screen, f'.object-tools a[href="{ADD}"]')
    again = {f"{kind}-mended": mended(kind, tmp_path / f"{kind}.csv") for kind in BAD}
    second_upload = hand_over(journey, screen, again)
    assert [len(lines_that_are(screen, each)) for each in ("new", "changed", "same", "wrong")] == [3, 0, 0, 0]
    apply(journey, screen)
    assert entries() == [first]
    desk.goto(second_upload)
    journey.check(desk)
    apply(journey, desk)

    # Everything stands exactly once, also when the same three lines are handed over once more.
    journey.follow(screen, f'.object-tools a[href="{ADD}"]')
    hand_over(journey, screen, again)
    assert [len(lines_that_are(screen, each)) for each in ("new", "changed", "same", "wrong")] == [0, 0, 3, 0]
    assert screen.locator(".sheet-acts button.default").count() == 0
    came = Tenant.objects.exclude(code="harbour-u").order_by("code")
    assert list(came.values_list("code", "name_en", "name_zh_hant", "category")) == [
        ("kelp-bay", "Kelp Bay University (invented)", "海帶灣大學（虛構）", "university"),
        ("pearl-labs", "Pearl Laboratories, Ltd (invented)", "明珠實驗室（虛構）", "research_institute"),
    ]
    assert Tenant.objects.get(code="harbour-u").name_zh_hans == "海港大学"
    reefs = Project.objects.select_related("tenant").get(code="reefs")
    assert (reefs.tenant.code, reefs.title) == ("kelp-bay", "Reefs seen from above")
    people = Membership.objects.filter(project=reefs).order_by("user__email")
    assert list(people.values_list("user__email", "user__name", "role")) == [
        ("ada@example.org", "Ada Diver", "lead"),
        ("ben@example.org", "Ben Diver", "member"),
        ("eve@example.org", "Eve Diver", "manager"),
    ]
    names = ClusterUser.objects.filter(user__in=people.values("user")).order_by("name")
    assert list(names.values_list("name", "user__email")) == [
        (name, f"{name}@example.org") for name in ("ada", "ben", "eve")
    ]
    second = ("grant", "OPEN-2", "reefs-paid", "purchased", 12_000 * make.HOUR, officer, giver)
    assert entries() == [first, second]
    assert list(differences()) == []
    now = (Tenant.objects.count(), Project.objects.count(), Allocation.objects.count(), User.objects.count())
    assert now == (before[0] + 2, before[1] + 1, before[2] + 2, before[3] + 3)
    steps = OnboardingStep.objects.order_by("pk")
    assert list(steps.values_list("part", "by", "new", "changed", "left_out")) == [
        ("teams", officer.pk, 3, 2, 2),
        ("hours", giver.pk, 1, 0, 1),
        ("teams", officer.pk, 2, 0, 0),
        ("hours", giver.pk, 1, 0, 0),
    ]
    assert Event.objects.filter(act="take_upload_file", actor=officer).count() == 3
    journey.follow(screen, f'.breadcrumbs a[href="{UPLOADS}"]')
    assert screen.locator("#result_list tbody tr").count() == OnboardingUpload.objects.count() == 3
