"""The ledger and the job runs behind an entry, as lists and as a file."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import django_tables2
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from allocations.balances import Books
from allocations.explaining import RunLine
from allocations.ledger_words import KINDS
from allocations.models import LedgerEntry
from allocations.reports import name_of
from allocations.tables import run_link
from allocations.templatetags.ledger import signed_hours, to_the_second
from centre.exports import Column, Kind, Parameters, Report, Row
from centre.registry import Link
from centre.tables import DayColumn, HoursColumn, NumberColumn, Table
from centre.templatetags.portal import grouped

LONGEST_NAME = 40
LONGEST_REASON = 160


def cell(name: str, *, is_number: bool = False) -> dict[str, dict[str, str]]:
    """Attributes of a column: on a phone its place in the entry goes by its class."""
    css = f"l-{name} num" if is_number else f"l-{name}"
    return {"th": {"class": css}, "td": {"class": css}}


@dataclass(frozen=True)
class Line:
    """An entry as the list shows it; `url` leads to its own page."""

    entry: LedgerEntry
    what: str
    who: list[str]
    source: Link
    left_after: int
    url: str


class LedgerTable(Table):
    """Entries of one allocation; on a phone what it was and how much come first, and the rest below."""

    title = gettext_lazy("Entries of the ledger")
    recorded = django_tables2.Column(
        accessor="entry__recorded_at", verbose_name=gettext_lazy("Recorded"), attrs=cell("recorded")
    )
    effective = DayColumn(
        accessor="entry__effective_on", verbose_name=gettext_lazy("Counts on"), attrs=cell("effective")
    )
    what = django_tables2.Column(verbose_name=gettext_lazy("What and why"), attrs=cell("what"))
    who = django_tables2.Column(verbose_name=gettext_lazy("Who"), attrs=cell("who"))
    source = django_tables2.Column(verbose_name=gettext_lazy("Where from"), attrs=cell("source"))
    hours = django_tables2.Column(
        accessor="entry__seconds", verbose_name=gettext_lazy("GPU-hours"), attrs=cell("hours", is_number=True)
    )
    left = HoursColumn(
        accessor="left_after",
        places=2,
        verbose_name=gettext_lazy("Left afterwards"),
        attrs=cell("left", is_number=True),
    )

    class Meta:
        orderable = False

    def render_recorded(self, value: datetime) -> SafeString:
        return to_the_second(value)

    def render_what(self, record: Line) -> SafeString:
        why = Truncator(record.entry.reason).chars(LONGEST_REASON)
        reason = format_html("<br><small><bdi>{}</bdi></small>", why) if why else ""
        return format_html('<a href="{}">{}</a>{}', record.url, record.what, reason)

    def render_who(self, record: Line) -> SafeString:
        return format_html_join(SafeString("<br>"), "<bdi>{}</bdi>", ((line,) for line in record.who))

    def render_source(self, record: Line) -> SafeString:
        return linked(record.source)

    def render_hours(self, value: int) -> str:
        return signed_hours(value)


def linked(link: Link) -> SafeString:
    if not link.url:
        return format_html("<bdi>{}</bdi>", link.text)
    return format_html('<a href="{}">{}</a>', link.url, link.text)


class RunLines(Table):
    """What each job run was charged, or given back, by one entry of a project's, and how that comes about."""

    title = gettext_lazy("The job runs behind this entry")
    run = django_tables2.Column(accessor="run__job_id", verbose_name=gettext_lazy("Job run"))
    member = django_tables2.Column(accessor="member", verbose_name=gettext_lazy("Member"))
    ran = django_tables2.Column(accessor="run__start_at", empty_values=(), verbose_name=gettext_lazy("Ran"))
    day = DayColumn(verbose_name=gettext_lazy("On the day"))
    worked_out = django_tables2.Column(
        accessor="seconds", empty_values=(), verbose_name=gettext_lazy("How it is worked out")
    )
    seconds = NumberColumn(verbose_name=gettext_lazy("GPU-seconds"))

    class Meta:
        orderable = False

    def __init__(self, lines: Iterable[RunLine], *, code: str, exclude: tuple[str, ...] = ()) -> None:
        self.code = code
        super().__init__(lines, exclude=exclude)

    def render_run(self, record: RunLine) -> SafeString:
        name = Truncator(record.run.job_name).chars(LONGEST_NAME)
        return run_link(record.run, code=self.code, name=name)

    def render_member(self, value: str) -> SafeString:
        return format_html("<bdi>{}</bdi>", value)

    def render_ran(self, record: RunLine) -> SafeString:
        run = record.run
        if run.start_at is None:
            return SafeString("–")
        if run.end_at is None:
            known = format_html(_("still running at {instant}"), instant=to_the_second(run.as_of))
            return format_html("{}<br>– {}", to_the_second(run.start_at), known)
        return format_html("{}<br>– {}", to_the_second(run.start_at), to_the_second(run.end_at))

    def render_worked_out(self, record: RunLine) -> SafeString:
        return format_html_join(SafeString("<br>"), "{}", ((line,) for line in arithmetic(record)))


def arithmetic(line: RunLine) -> list[str]:
    """The sum behind one line, a step to a line: GPUs times seconds, less what earlier entries have charged."""
    if line.is_refund:
        return [_("charged for that day and now given back") if line.seconds > 0 else _("taken back again")]
    figures = {
        "gpus": grouped(line.gpus, 0),
        "time": grouped(line.gpu_time, 0),
        "cost": grouped(line.cost, 0),
        "before": grouped(line.before, 0),
    }
    if line.cost == 0:
        steps = [_("no GPU time on that day = 0")]
    elif line.is_whole:
        steps = [
            ngettext("%(gpus)s GPU × %(time)s s = %(cost)s", "%(gpus)s GPUs × %(time)s s = %(cost)s", line.gpus)
            % figures
        ]
    else:
        steps = [_("%(cost)s GPU-seconds in all") % figures]
    if line.before:
        steps.append(_("less %(before)s that earlier entries charged") % figures)
    if not line.still_holds:
        steps.append(_("as it was known then; a later entry corrects it"))
    return steps


COLUMNS = (
    Column("entry", gettext_lazy("Entry"), gettext_lazy("The entry's number."), Kind.COUNT),
    Column("recorded_at", gettext_lazy("Recorded at"), gettext_lazy("When it was written, in UTC."), Kind.INSTANT),
    Column("effective_on", gettext_lazy("Effective on"), gettext_lazy("The accounting day it counts on."), Kind.DAY),
    Column("allocation", gettext_lazy("Allocation"), gettext_lazy("The allocation's reference."), Kind.CODE),
    Column("kind", gettext_lazy("Kind"), gettext_lazy("What the entry does."), Kind.CHOICE, KINDS),
    Column("gpu_seconds", gettext_lazy("GPU-seconds"), gettext_lazy("Signed, exact."), Kind.SECONDS),
    Column("gpu_hours", gettext_lazy("GPU-hours"), gettext_lazy("The same, rounded to two decimals."), Kind.HOURS),
    Column("left_gpu_seconds", gettext_lazy("Left (GPU-seconds)"), gettext_lazy("Left afterwards."), Kind.SECONDS),
    Column("left_gpu_hours", gettext_lazy("Left (GPU-hours)"), gettext_lazy("The same, rounded."), Kind.HOURS),
    Column("asked_by", gettext_lazy("Asked for by"), gettext_lazy("Who asked for it.")),
    Column("approved_by", gettext_lazy("Approved by"), gettext_lazy("Who approved it.")),
    Column("reason", gettext_lazy("Reason"), gettext_lazy("Why, in the words of the person who asked.")),
    Column("source_kind", gettext_lazy("Source"), gettext_lazy("What it came from."), Kind.CODE),
    Column("source_reference", gettext_lazy("Source reference"), gettext_lazy("Which one."), Kind.CODE),
    Column("reverses", gettext_lazy("Undoes"), gettext_lazy("The number of the entry that it undoes."), Kind.COUNT),
)


def as_file(books: Books, *, kind: str, newest_first: bool) -> Report:
    """The entries that the list shows, all its pages, for `centre.exports.csv_chunks`."""
    reference = books.allocation.reference
    streamed = books.streamed(kind=kind, newest_first=newest_first).values_list(
        "pk",
        "recorded_at",
        "effective_on",
        "kind",
        "seconds",
        "left_after",
        name_of("asked_by"),
        name_of("approved_by"),
        "reason",
        "source_kind",
        "source_reference",
        "reverses_id",
    )

    def rows(_parameters: Parameters) -> Iterator[Row]:
        found: Any
        for found in streamed.iterator(chunk_size=2_000):
            number, recorded_at, effective_on, of_kind, seconds, left, *rest = found
            yield (
                *(number, recorded_at, effective_on, reference, of_kind),
                *(seconds, seconds, left, left),
                *rest,
            )

    return Report(name="ledger", title="", description="", days="", columns=COLUMNS, rows=rows)
