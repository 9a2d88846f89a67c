"""How long something has waited."""

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from centre.templatetags.portal import written_instant

register = template.Library()


def time_since(since: datetime, now: datetime) -> str:
    """“3 days ago”, in the largest unit."""
    if (now - since).total_seconds() < 60:
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(since, now, depth=1)}


@register.simple_tag
def ago(since: datetime, now: datetime) -> SafeString:
    """The same; the instant itself for programs, and in the tooltip."""
    machine = timezone.localtime(since).isoformat()
    told = time_since(since, now)
    return format_html('<time datetime="{}" title="{}">{}</time>', machine, written_instant(since), told)
