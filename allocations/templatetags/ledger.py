"""How the ledger writes its figures and instants: signed, exact, to the second."""

from datetime import datetime
from urllib.parse import urlencode

from django import template
from django.utils import timezone
from django.utils.formats import date_format, get_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from allocations.models import LedgerEntry
from centre.admin import told
from centre.templatetags.portal import gpu_hours, grouped

register = template.Library()


@register.filter
def signed_hours(seconds: int) -> str:
    """GPU-seconds as GPU-hours with two decimals and their sign: +1,000.00."""
    return f"+{gpu_hours(seconds, 2)}" if seconds > 0 else gpu_hours(seconds, 2)


@register.filter
def whole_seconds(seconds: int) -> str:
    """GPU-seconds, grouped: 3,600."""
    return grouped(seconds, 0)


@register.filter
def signed_seconds(seconds: int) -> str:
    """GPU-seconds with their sign: +3,600."""
    return f"+{grouped(seconds, 0)}" if seconds > 0 else grouped(seconds, 0)


@register.filter
def to_the_second(instant: datetime) -> SafeString:
    """Day, time to the second and time zone of the portal."""
    local = timezone.localtime(instant)
    written = date_format(local, get_format("DATETIME_FORMAT").replace("H:i", "H:i:s"))
    return format_html('<time datetime="{}">{} {}</time>', local.isoformat(), written, local.tzname())


@register.filter
def act_in_words(act: str) -> str:
    return told.act_in_words(act)


@register.simple_tag
def ledger_of(entry: LedgerEntry) -> str:
    """The query of the address that shows the ledger which an entry stands in, beginning with it."""
    return urlencode({"allocation": entry.allocation.reference, "before": entry.pk + 1})
