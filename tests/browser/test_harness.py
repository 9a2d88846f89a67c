"""The browser tests' own footing: pages are really served, and what goes wrong in a page really fails a test."""

import pytest

from tests.browser.conftest import Axe, OpenPage

ICON = ("/favicon.ico",)  # what a browser asks for where a page names no icon
PAGE_WITH_FAULTS = """
<!doctype html><html lang="en"><head><title>Faults</title></head>
<body><main><h1>Faults</h1><img src="/static/none.png"></main></body></html>
"""


@pytest.mark.parametrize("width", [1280, 360])
def test_page_is_served_at_the_asked_width(page: OpenPage, width: int) -> None:
    screen = page("/health/", width=width, expected_faults=ICON)
    assert screen.inner_text("body").strip() == "ok"
    assert screen.evaluate("window.innerWidth") == width


def test_page_faults_are_errors_of_the_console_and_refusals_of_the_policy(page: OpenPage, faults: list[str]) -> None:
    screen = page("/accounts/login/", expected_faults=ICON)
    screen.evaluate("console.error('broken')")
    screen.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">red</p>')")
    screen.evaluate("setTimeout(() => { throw new Error('thrown'); })")
    screen.wait_for_timeout(200)
    told = [fault.partition(": ")[2] for fault in faults]
    assert told[0].startswith("broken ")
    assert any(fault.startswith("refused by the content security policy: style-src") for fault in told)
    assert told[-1] == "thrown"
    faults.clear()


def test_axe_finds_an_image_without_text(page: OpenPage, axe: Axe) -> None:
    screen = page("/health/", expected_faults=ICON)
    screen.set_content(PAGE_WITH_FAULTS.replace("/static/none.png", "data:image/gif;base64,R0lGODlhAQABAAAAACw="))
    assert [found.split(":")[0] for found in axe(screen)] == ["image-alt"]
