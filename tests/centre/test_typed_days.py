"""Days and times that people type: read alike in every language, as the language may change under an open page."""

import pytest
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import override

LANGUAGES = pytest.mark.parametrize("language", ["en", "zh-hant", "zh-hans"])


@LANGUAGES
@pytest.mark.parametrize(
    "written", ["2026-03-04", "2026/03/04", "2026/3/4", "2026年3月4日", "04/03/2026", "4/3/2026", "4 Mar 2026"]
)
def test_a_day_is_read_in_the_order_of_hong_kong(language: str, written: str) -> None:
    with override(language):
        assert forms.DateField().clean(written).isoformat() == "2026-03-04"


@LANGUAGES
@pytest.mark.parametrize("written", ["03/13/2026", "2026-13-03", "4/3/26", "March 4", "20260304"])
def test_what_could_be_two_days_is_none(language: str, written: str) -> None:
    with override(language), pytest.raises(ValidationError):
        forms.DateField().clean(written)


@LANGUAGES
@pytest.mark.parametrize("written", ["2026-03-04 09:30", "2026-03-04 09:30:00", "2026/03/04 09:30"])
def test_an_instant_is_read_alike(language: str, written: str) -> None:
    with override(language):
        read = forms.DateTimeField().clean(written)
    assert (read.date().isoformat(), read.hour, read.minute) == ("2026-03-04", 9, 30)


@LANGUAGES
def test_a_form_shows_a_day_as_it_reads_it(language: str) -> None:
    with override(language):
        day = forms.DateField().clean("2026-03-04")
        assert 'value="2026-03-04"' in forms.DateInput().render("day", day)
