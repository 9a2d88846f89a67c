"""Every link of every kind of page that somebody meets in the demo leads to a page."""

import re
from collections import deque
from collections.abc import Iterator
from html import unescape
from urllib.parse import urljoin, urlsplit

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import DjangoDbBlocker

from centre.demo import people
from centre.models import User
from centre.templatetags import kept
from tests.databases import own_copy
from tests.test_demo import TODAY

pytestmark = pytest.mark.sqlite  # the same pages on either database
RUNS = 300
HREF = re.compile(r'<a\b[^>]*?\bhref="([^"#][^"]*)"')
VARYING = re.compile(r"\d+|(?<=/projects/)[^/]+")
STARTS = ("/", "/desk/", "/admin/", "/reports/", "/projects/")
FILES = re.compile(r"/(csv|out|file|wrong)/|\.csv")


@pytest.fixture(scope="module")
def demo(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock(), own_copy():
        call_command("load_demo", runs=RUNS, today=TODAY, verbosity=0)
        yield


def shape(address: str) -> str:
    """What tells one kind of page from another: the address without its numbers, codes and values."""
    parts = urlsplit(address)
    keys = {pair.partition("=")[0] for pair in parts.query.split("&")}
    return VARYING.sub("*", parts.path) + "?" + "&".join(sorted(keys))


def dead_links(email: str) -> tuple[list[str], int]:
    """Links that lead nowhere, each with the page it stands on, and how many kinds of page were met."""
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(email=email))
    waiting = deque((start, "") for start in STARTS)
    met, dead = {shape(start) for start in STARTS}, []
    while waiting:
        address, found_on = waiting.popleft()
        answer = client.get(address)
        ends_well = answer.status_code == 200 or (answer.status_code == 302 and "e=1" not in answer["Location"])
        if not ends_well and found_on:
            dead.append(f"{found_on} -> {address}: {answer.status_code} {answer.get('Location', '')}")
        if answer.status_code != 200 or answer.streaming or not answer["Content-Type"].startswith("text/html"):
            continue
        for written in HREF.findall(answer.content.decode()):
            target = urlsplit(urljoin(address, unescape(written)))
            onward = target.path + (f"?{target.query}" if target.query else "")
            if target.netloc or target.scheme or FILES.search(onward) or shape(onward) in met:
                continue
            met.add(shape(onward))
            waiting.append((onward, address))
    return dead, len(met)


STAFF = [person.email for person in people.staff_people()]
BRIEF = [people.address(key) for key in ("administrator", "chair", "canto-audio.lead", "harbour-voice.signatory")]
LONG = [email for email in STAFF if email not in BRIEF]


@pytest.mark.parametrize("email", [*BRIEF, *(pytest.param(email, marks=pytest.mark.hard) for email in LONG)])
def test_every_link_leads_to_a_page(demo: None, email: str) -> None:
    dead, met = dead_links(email)
    assert (dead, met > 10) == ([], True)


def test_links_as_django_has_them_lead_some_readers_to_a_refusal(demo: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "row_behind", lambda _field: None)
    dead, _met = dead_links(people.address("chair"))
    assert any(line.endswith(": 403 ") for line in dead)
