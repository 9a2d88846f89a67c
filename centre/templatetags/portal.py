"""How figures are written on screen: whole numbers are kept, and rounded once, here, half up in size."""

from datetime import datetime
from decimal import Decimal

from django import template
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

register = template.Library()

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"  # stands where there is no figure
LANGUAGE_TAGS = {"zh-hant": "zh-Hant", "zh-hans": "zh-Hans"}


def grouped(scaled: int, places: int) -> str:
    """A whole number of 10**-places as text in the reader's language: 123456 with two places is 1,234.56."""
    text = number_format(Decimal(abs(scaled)).scaleb(-places), decimal_pos=places, force_grouping=True)
    return f"{MINUS}{text}" if scaled < 0 else str(text)


def rounded(number: int, per: int, places: int) -> int:
    """`number / per` in whole 10**-places, half up in size."""
    size: int = (abs(number) * 10**places * 2 + per) // (per * 2)
    return -size if number < 0 else size


@register.filter
def gpu_hours(seconds: int | None, places: int = 0) -> str:
    """GPU-seconds as GPU-hours, without the unit: 148752000 is 41,320; `gpu_hours:1` keeps one decimal."""
    return NOTHING if seconds is None else grouped(rounded(seconds, 3600, int(places)), int(places))


@register.filter
def hkd(cents: int | None, places: int | None = None) -> str:
    """Cents of the Hong Kong dollar: HK$3,000,000; with cents where there are any, or always with `hkd:2`.

    `hkd:0` rounds to whole dollars.
    """
    if cents is None:
        return NOTHING
    decimals = (2 if cents % 100 else 0) if places is None else int(places)
    scaled = rounded(cents, 100, decimals)
    text = f"HK${grouped(abs(scaled), decimals)}"
    return f"{MINUS}{text}" if scaled < 0 else text


@register.filter
def percent(basis_points: int | None, least: int = 0) -> str:
    """Basis points as per cent, with the decimals that they have, at `least` so many: 7000 is 70 %, 7050 is 70.5 %."""
    if basis_points is None:
        return NOTHING
    places = 2
    scaled = basis_points
    while places > least and scaled % 10 == 0:
        scaled //= 10
        places -= 1
    # The catalogues hold a plain space, because extraction does not read escapes.
    return (_("%(number)s %%") % {"number": grouped(scaled, places)}).replace(" ", "\N{NO-BREAK SPACE}")


@register.filter
def language_tag(code: str) -> str:
    """A language of the settings as HTML wants it in `lang`: zh-hant is zh-Hant."""
    return LANGUAGE_TAGS.get(code, code)


def badge(text: str | Promise, tone: str) -> SafeString:
    """components/badge.html for a cell of a table, without a template for every row."""
    return format_html('<span class="badge {}">{}</span>', tone, text)


def written_instant(instant: datetime) -> str:
    """Day, time and time zone of the portal: 22 Nov 2026, 14:05 HKT."""
    local = timezone.localtime(instant)
    return f"{date_format(local, 'DATETIME_FORMAT')} {local.tzname()}"


@register.simple_tag(name="written")
def time_element(instant: datetime) -> SafeString:
    """An instant for people and for programs."""
    machine = timezone.localtime(instant).isoformat()
    return format_html('<time datetime="{}">{}</time>', machine, written_instant(instant))


@register.simple_tag
def as_of(instant: datetime | None) -> SafeString:
    """The line below a figure that says how fresh it is."""
    if instant is None:
        return format_html('<span class="asof">{}</span>', _("No data yet"))
    before, _gap, after = _("As of %(instant)s").partition("%(instant)s")
    return format_html('<span class="asof">{}{}{}</span>', before, time_element(instant), after)
