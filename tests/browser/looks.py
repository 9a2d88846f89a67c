"""In which look a journey is made: on which database, in which language, how wide.

`make test` makes each journey once, in the looks that its test names; they are chosen so that over all journeys every
two settings meet. `make test-hard` makes the rest of the product.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from playwright.sync_api import Page

from centre.models import User
from tests.browser.conftest import Axe, OpenPage
from tests.browser.test_pages import pixels_too_wide


@dataclass(frozen=True)
class Look:
    database: str
    language: str
    width: int

    def __str__(self) -> str:
        return f"{self.database}-{self.language}-{self.width}"


ALL = tuple(Look(*each) for each in product(("sqlite", "postgres"), ("en", "zh-hant"), (1280, 360)))


def made_in(*usual: Look) -> Callable[[Callable[..., None]], Any]:
    """Run the test in these looks, and in all others when it is hard; each on the database that it names."""
    return pytest.mark.parametrize("look", cases(usual), ids=str)


def cases(usual: Sequence[Look]) -> list[Any]:
    marks = {"sqlite": [pytest.mark.sqlite], "postgres": [pytest.mark.postgres]}
    hard = [pytest.mark.hard]
    return [pytest.param(look, marks=[*marks[look.database], *([] if look in usual else hard)]) for look in ALL]


@dataclass(frozen=True)
class Journey:
    """Opens pages in one look, and holds each page that it is told of against axe, its width and its language."""

    look: Look
    open_page: OpenPage
    axe: Axe

    def begin(self, path: str, user: User | None, **asked: Any) -> Page:
        screen = self.open_page(path, user=user, width=self.look.width, language=self.look.language, **asked)
        self.check(screen)
        return screen

    def check(self, screen: Page) -> None:
        """Wait for the page; nothing for axe to find, nothing to scroll sideways, the language that was asked for."""
        screen.wait_for_load_state()
        problems = self.axe(screen)
        if too_wide := pixels_too_wide(screen):
            problems.append(f"{too_wide} pixels too wide")
        if (language := str(screen.locator("html").get_attribute("lang")).lower()) != self.look.language:
            problems.append(f"in {language}")
        if problems:
            pytest.fail("\n".join([f"{screen.url} {self.look}:", *problems]))

    def follow(self, screen: Page, address: str) -> None:
        """Click the first link of the page that leads to an address (a CSS selector may stand for it)."""
        link = screen.locator(address if address.startswith(("a[", "main", ".")) else f'a[href="{address}"]').first
        link.click()
        self.check(screen)
