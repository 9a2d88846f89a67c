"""Every main page as people meet it: nothing for axe to find, and no scrolling sideways.

Width, language and colour scheme are spread over four looks in which any two of them meet. `make test` opens each page
with one of them, its neighbours with the others; `make test-hard` opens each page with all.
"""

from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page

from allocations import requests
from allocations.models import JobRun, LedgerEntry
from tests import make
from tests.browser import a_centre
from tests.browser.conftest import Axe, OpenPage

LOOKS: tuple[dict[str, Any], ...] = (
    {"width": 1280, "language": "en", "dark": False},
    {"width": 360, "language": "zh-hant", "dark": True},
    {"width": 1280, "language": "zh-hant", "dark": True},
    {"width": 360, "language": "en", "dark": False},
)
PAGES = {
    "public": ("/", "/accounts/login/"),
    "lead": (
        *("/projects/", "/projects/maps/", "/projects/maps/subsidy/", "/projects/maps/ledger/", "/notices/"),
        *("/projects/maps/ledger/{entry}/", "/projects/maps/usage/", "/projects/maps/usage/?split=pool&step=month"),
        *("/projects/maps/runs/", "/projects/maps/runs/{run}/", "/projects/maps/statements/"),
        "/projects/maps/statements/{month}/",
    ),
    "lead acting": (
        *("/projects/maps/members/", "/projects/maps/members/history/", "/projects/maps/members/invite/"),
        *("/projects/maps/members/{member}/role/", "/projects/maps/members/{member}/remove/"),
        *("/projects/maps/requests/", "/projects/maps/requests/new/", "/projects/maps/requests/new/?kind=top_up"),
        *("/projects/maps/requests/new/?kind=extension", "/projects/maps/requests/new/?kind=other"),
        *("/projects/maps/requests/{request}/", "/projects/maps/requests/{request}/withdraw/"),
    ),
    "representative": ("/tenants/harbour-u/",),
    "management": ("/reports/", "/reports/usage-by-project/"),
    "officer": (
        *("/admin/", "/admin/allocations/allocation/", "/admin/allocations/allocation/{allocation}/change/"),
        *("/desk/", "/admin/allocations/changerequest/{request}/approve/", "/admin/allocations/allocation/add/"),
    ),
    "officer acting": (
        *(
            f"/admin/allocations/allocation/{{allocation}}/{act}/"
            for act in ("top-up", "transfer", "take-back", "refund")
        ),
        *(f"/admin/allocations/{rule}/add/" for rule in ("periodendrule", "takebackrule", "takebackexemption")),
    ),
}


def pixels_too_wide(screen: Page) -> int:
    """How far the page can be scrolled sideways."""
    return int(screen.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.parametrize("looks", [1, pytest.param(4, marks=pytest.mark.hard)])
@pytest.mark.parametrize("who", PAGES)
def test_page_has_nothing_for_axe_and_fits_its_window(page: OpenPage, axe: Axe, who: str, looks: int) -> None:
    centre = a_centre.in_use()
    user = a_centre.people(centre)[who.removesuffix(" acting")]
    asked = requests.ask(
        allocation=centre.paid, seconds=make.HOUR, reason="one more map", by=centre.lead, at=timezone.now()
    )
    entry = LedgerEntry.objects.filter(allocation=centre.subsidised).latest("pk")
    others = {
        "run": JobRun.objects.latest("pk").pk,
        "month": f"{make.today():%Y-%m}",
        "member": make.member(project=centre.project, name="Mei Mapper", cluster_user="u1").memberships.get().pk,
    }
    found = {}
    for number, path in enumerate(PAGES[who]):
        for look in (LOOKS * 2)[number % 4 :][:looks]:
            address = path.format(allocation=centre.subsidised.pk, request=asked.pk, entry=entry.pk, **others)
            screen = page(address, user=user, **look)
            assert screen.url.endswith(address)  # not sent elsewhere
            assert str(screen.locator("html").get_attribute("lang")).lower() == look["language"]
            problems = axe(screen)
            if too_wide := pixels_too_wide(screen):
                problems.append(f"{too_wide} pixels too wide")
            if problems:
                found[f"{address} {look}"] = problems
            screen.context.close()
    assert found == {}


def test_page_that_is_too_wide_is_noticed(page: OpenPage) -> None:
    screen = page("/", width=360)
    assert pixels_too_wide(screen) == 0
    screen.evaluate("document.querySelector('main').style.width = '500px'")
    assert pixels_too_wide(screen) > 0
