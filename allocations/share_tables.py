"""Who or what had which share of a project's GPU time: lists that add up to their last line."""

from collections.abc import Iterable
from dataclasses import dataclass

import django_tables2
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre.charts import percentage
from centre.tables import NUMBER, HoursColumn, Table
from centre.templatetags.portal import gpu_hours, percent

Text = str | Promise
PLACES = 2
TENTH_BP = 10  # a tenth of a per cent, the smallest share that is written as a number
BAR = (
    '<svg class="share-bar" aria-hidden="true" focusable="false"><rect class="ground" width="100%" height="100%" '
    'rx="2"/><rect class="fill" width="{}%" height="100%" rx="2"/></svg><span class="share-text">{}</span>'
)


def share_bp(part: int, whole: int) -> int:
    """A share in basis points, half up to a tenth of a per cent; 0 of nothing."""
    return (part * 2_000 + whole) // (whole * 2) * 10 if whole > 0 else 0


def share_text(bp: int) -> str:
    """A share with its tenth, also where that is 0, so that the figures of a column stand below each other."""
    return percent(bp, 1)


@dataclass(frozen=True)
class Share:
    """One line: what it is, what is to be known of it, its GPU-seconds of how many, and where it leads."""

    text: Text
    seconds: int
    of: int
    note: Text = ""
    url: str = ""

    @property
    def bp(self) -> int:
        return share_bp(self.seconds, self.of)


class ShareTable(Table):
    """Shares of a total, which is the last line."""

    hours = HoursColumn(
        accessor="seconds",
        places=PLACES,
        verbose_name=_("GPU-hours"),
        footer=lambda table: gpu_hours(sum(share.seconds for share in table.data), PLACES),
    )
    share = django_tables2.Column(
        accessor="bp",
        verbose_name=_("Share"),
        attrs=NUMBER,
        footer=lambda table: share_text(share_bp(1, 1) if len(table.data) else 0),
    )

    class Meta:
        orderable = False

    def __init__(self, shares: Iterable[Share], *, what: Text, title: Text) -> None:
        self.title = title
        column = django_tables2.Column(accessor="text", verbose_name=what, footer=_("Together"))
        super().__init__(list(shares), extra_columns=[("what", column)], sequence=("what", "hours", "share"))

    def render_what(self, record: Share) -> SafeString:
        name = format_html("<bdi>{}</bdi>", record.text)
        linked = format_html('<a href="{}">{}</a>', record.url, name) if record.url else name
        return format_html("{}<small>{}</small>", linked, record.note) if record.note else linked

    def render_share(self, record: Share) -> SafeString:
        little = record.seconds > 0 and record.bp == 0
        text = gettext("under %(share)s") % {"share": share_text(TENTH_BP)} if little else share_text(record.bp)
        return format_html(BAR, percentage(record.seconds, record.of), text)
