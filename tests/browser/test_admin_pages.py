"""Every page of the administration, found in the code: nothing for axe to find, and no scrolling sideways.

Index, the lists of apps, and of each model the list, the page that adds, a row's page and its history, each for the
first role that may do the most there. A further model is walked without being listed.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import RequestFactory
from django.urls import reverse
from playwright.sync_api import Page, Route

from centre.models import User
from centre.permissions import StaffRole
from tests import make
from tests.browser.conftest import Axe, OpenPage
from tests.browser.test_pages import pixels_too_wide
from tests.test_role_matrix import row_of, rows  # noqa: F401  a fixture: rows of every model
from tests.test_urls import world  # noqa: F401  a fixture that it needs

USUAL: dict[str, Any] = {"width": 1280, "language": "en", "dark": False}
# Any two settings meet.
FURTHER: tuple[dict[str, Any], ...] = (
    {"width": 1280, "language": "zh-hant", "dark": True},
    {"width": 768, "language": "en", "dark": True},
    {"width": 768, "language": "zh-hant", "dark": False},
    {"width": 360, "language": "en", "dark": False},
    {"width": 360, "language": "zh-hant", "dark": True},
)
LOOKS = [
    pytest.param(
        look, marks=pytest.mark.hard, id=f"{look['width']}-{look['language']}-{'dark' if look['dark'] else 'light'}"
    )
    for look in (USUAL, *FURTHER)
]


def pages_of(model: type[Model], staff: list[User]) -> Iterator[tuple[User, str]]:
    """Who looks at which pages of a model: whoever may change its rows rather than one who only reads them."""
    page = admin.site.get_model_admin(model)
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    row = row_of(model)
    assert row is not None, f"make a row of {model.__name__} in the world of the tests"

    def first(may: str, *of: Any) -> User | None:
        return next((user for user in staff if getattr(page, may)(asking(user), *of)), None)

    reader = first("has_change_permission", row) or first("has_view_permission", row)
    assert reader is not None, f"nobody may look at {model.__name__}"
    yield reader, reverse(f"{name}_changelist")
    yield reader, reverse(f"{name}_change", args=[row.pk])
    yield reader, reverse(f"{name}_history", args=[row.pk])
    if (adder := first("has_add_permission")) is not None:
        yield adder, reverse(f"{name}_add")


def asking(user: User) -> Any:
    request = RequestFactory().get("/")
    request.user = user
    return request


def every_page(staff: list[User]) -> Iterator[tuple[User, str]]:
    for user in staff:
        yield user, reverse("admin:index")
    for app in sorted({model._meta.app_label for model in admin.site._registry}):
        reader = next(user for user in staff if user.has_module_perms(app))
        yield reader, reverse("admin:app_list", args=[app])
    for model in admin.site._registry:
        yield from pages_of(model, staff)


def problems_of(screen: Page, path: str, language: str, axe: Axe) -> list[str]:
    if not screen.url.endswith(path):
        return [f"sent to {screen.url}"]
    found = axe(screen)
    if too_wide := pixels_too_wide(screen):
        found.append(f"{too_wide} pixels too wide")
    if (shown := str(screen.locator("html").get_attribute("lang")).lower()) != language:
        found.append(f"in {shown}")
    return found


def without_refresh(route: Route) -> None:
    """An import under way comes anew by itself, also while axe looks; here it stays."""
    response = route.fetch()
    headers = {name: value for name, value in response.headers.items() if name.lower() != "refresh"}
    route.fulfill(response=response, headers=headers)


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_of_the_administration_has_nothing_for_axe_and_fits(
    page: OpenPage,
    axe: Axe,
    rows: None,  # noqa: F811
    look: dict[str, Any],
) -> None:
    staff = [make.staff(role) for role in StaffRole]
    walked = list(every_page(staff))
    assert len(walked) > 3 * len(admin.site._registry)
    found = {}
    for user in staff:
        session = page("/admin/", user=user, **look).context
        for path in [path for who, path in walked if who == user]:
            screen = session.new_page()
            screen.route("**/usageimport/*/change/", without_refresh)
            screen.goto(path)
            if problems := problems_of(screen, path, look["language"], axe):
                found[path] = problems
            screen.close()
        session.close()
    assert found == {}
