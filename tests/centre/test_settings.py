"""Environment variables: what cannot be read is refused with its name."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from centre.environment import Environment

env = Environment()


@pytest.mark.parametrize(
    ("text", "read"),
    [("true", True), ("Yes", True), ("ON", True), ("1", True), ("false", False), ("no", False), ("off", False)],
)
def test_yes_or_no_is_read(monkeypatch: pytest.MonkeyPatch, text: str, read: bool) -> None:
    monkeypatch.setenv("BEHIND_PROXY", text)
    assert env.yes_or_no("BEHIND_PROXY", default=not read) is read


def test_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS", "EMAIL_PORT", "PUBLIC_URL"):
        monkeypatch.setenv(name, "")
    assert env.yes_or_no("HTTPS", default=True) is True
    assert env.whole("EMAIL_PORT", default=25) == 25
    assert env.web_address("PUBLIC_URL", default="http://127.0.0.1:8000") == "http://127.0.0.1:8000"


def test_word_that_is_neither_yes_nor_no_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBUG", "maybe")
    with pytest.raises(ImproperlyConfigured, match=r"^DEBUG is “maybe”; write true or false"):
        env.yes_or_no("DEBUG", default=False)


@pytest.mark.parametrize("text", ["x", "2.5", "-1"])
def test_number_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EMAIL_PORT", text)
    with pytest.raises(ImproperlyConfigured, match=f"^EMAIL_PORT is “{text}”; write a whole number."):
        env.whole("EMAIL_PORT", default=25)


@pytest.mark.parametrize("text", ["portal.example.org", "ftp://portal.example.org", "https://", "http://a:x"])
def test_address_that_leads_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PUBLIC_URL", text)
    with pytest.raises(ImproperlyConfigured, match=r"^PUBLIC_URL is “"):
        env.web_address("PUBLIC_URL", default="http://127.0.0.1:8000")


@pytest.mark.parametrize("text", ["https://portal.example.org", "http://127.0.0.1:8000", "http://[::1]:8000/"])
def test_address_of_the_portal_is_kept_as_it_is(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PUBLIC_URL", text)
    assert env.web_address("PUBLIC_URL", default="") == text
