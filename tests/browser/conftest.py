"""A real Chromium against a real server on a database of the test's own.

def test_lead_sees_the_quota(page: OpenPage, axe: Axe) -> None:
    lead = ...                                    # rows made by the verbs; they are committed
    screen = page("/projects/", user=lead, width=360)
    assert axe(screen) == []

Whatever a page logs as an error, throws, or its content security policy refuses fails the test at its end.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, WebError, sync_playwright
from pytest_django.live_server_helper import LiveServer

from centre.models import User
from tests import chromium as found

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LANGUAGES = {"en": "en-GB", "zh-hant": "zh-HK", "zh-hans": "zh-CN"}
HEIGHT = 900
TELL_REFUSALS = """
document.addEventListener("securitypolicyviolation", (refusal) => {
  console.error(`refused by the content security policy: ${refusal.violatedDirective} ${refusal.blockedURI}`);
});
"""


class OpenPage(Protocol):
    """Opens a page of the portal in a browser session of its own and waits until it is loaded."""

    def __call__(
        self,
        path: str = "/",
        *,
        user: User | None = None,
        width: int = 1280,
        dark: bool = False,
        language: str = "en",
        expected_faults: tuple[str, ...] = (),
    ) -> Page:
        """`user` is signed in without the form; a fault that contains one of `expected_faults` is meant."""


class Axe(Protocol):
    def __call__(self, screen: Page) -> list[str]:
        """What axe finds on the page, one line per place: rule, element, and what is wrong. Empty is good."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One headless browser per process, with an empty profile; its absence is a failure, not a skip."""
    executable = found.installed()
    assert executable is not None, "no Chromium found: install it, or name it with CHROMIUM=/path/to/it"
    # Playwright keeps an event loop in this thread, which Django would take for a reason to refuse the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(found.FLAGS))
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def server(committed: None) -> Iterator[str]:
    """The portal, served from a thread on a free port; the value is its address, without a slash at the end."""
    running = LiveServer("127.0.0.1")
    yield running.url
    running.stop()


@pytest.fixture
def faults() -> list[str]:
    """What went wrong in the pages of this test; not empty at its end, it fails."""
    return []


@pytest.fixture
def page(chromium: Browser, server: str, faults: list[str]) -> Iterator[OpenPage]:
    contexts: list[BrowserContext] = []

    def open_page(
        path: str = "/",
        *,
        user: User | None = None,
        width: int = 1280,
        dark: bool = False,
        language: str = "en",
        expected_faults: tuple[str, ...] = (),
    ) -> Page:
        context = chromium.new_context(
            base_url=server,
            viewport={"width": width, "height": HEIGHT},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale=LANGUAGES[language],
        )
        contexts.append(context)
        context.add_init_script(TELL_REFUSALS)
        if user is not None:
            client = Client()
            client.force_login(user)
            session = client.cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": server}])

        def note(shown: Page | None, fault: str) -> None:
            if not any(expected in fault for expected in expected_faults):
                faults.append(f"{shown.url if shown else path}: {fault}")

        def note_console(message: ConsoleMessage) -> None:
            if message.type == "error":
                note(message.page, f"{message.text} ({message.location['url']})")

        def note_error(error: WebError) -> None:
            note(error.page, str(error.error))

        context.on("console", note_console)  # of every tab of the session
        context.on("weberror", note_error)
        screen = context.new_page()
        screen.goto(path)
        return screen

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def axe() -> Axe:
    def run(screen: Page) -> list[str]:
        # Evaluated by the debugger, which the content security policy does not bind as it binds the page.
        screen.evaluate(AXE)
        # No preload: for a style sheet that imports another, axe would add an inline one, and the policy refuses it.
        options = {"runOnly": AXE_TAGS, "preload": False}
        result: dict[str, Any] = screen.evaluate("(options) => axe.run(document, options)", options)
        return [
            f"{violation['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
            for violation in result["violations"]
            for node in violation["nodes"]
        ]

    return run
