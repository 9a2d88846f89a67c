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


@register.simple_tag
def ago(since: datetime, now: datetime) -> SafeString:
    """“3 days ago”, in the largest unit; the instant itself for programs, and in the tooltip."""
    seconds = (now - since).total_seconds()
    told = _("just now") if seconds < 60 else _("%(time)s ago") % {"time": timesince(since, now, depth=1)}
    machine = timezone.localtime(since).isoformat()
    return format_html('<time datetime="{}" title="{}">{}</time>', machine, written_instant(since), told)
