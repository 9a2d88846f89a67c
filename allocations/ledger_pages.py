"""The ledger of a project's allocations, now or as of a past instant; its file; and one entry explained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.http import content_disposition_header
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from allocations import explaining
from allocations.balances import Books, Page
from allocations.ledger_tables import LedgerTable, Line, RunLines, as_file
from allocations.ledger_words import BY_RULE, KINDS, source, what, who
from allocations.models import Allocation, LedgerEntry
from centre.days import FIRST
from centre.exports import Parameters, csv_chunks
from centre.models import Project, User
from centre.team_pages import team_page

ENTRIES_PER_PAGE = 50
RUNS_PER_PAGE = 50
LARGEST_NUMBER = 2**63 - 1
TO_THE_SECOND = "%Y-%m-%dT%H:%M:%S"


class LedgerForm(forms.Form):
    """Which ledger, and what of it; all in the address. An instant is meant to the second, that second included."""

    allocation = forms.ChoiceField(required=False, label=_("Allocation"))
    kind = forms.ChoiceField(choices=[("", _("Everything")), *KINDS.items()], required=False, label=_("What happened"))
    as_of = forms.DateTimeField(
        required=False,
        label=_("As of (Hong Kong time)"),
        input_formats=[TO_THE_SECOND, "%Y-%m-%dT%H:%M"],
        widget=forms.DateTimeInput(format=TO_THE_SECOND, attrs={"type": "datetime-local", "step": 1}),
        error_messages={"invalid": _("Write the day and the time like 2026-01-31T18:00.")},
    )
    order = forms.ChoiceField(
        choices=[("", _("Newest first")), ("oldest", _("Oldest first"))], required=False, label=_("Order")
    )

    def __init__(self, asked: Mapping[str, Any], *, allocations: Sequence[Allocation], at: datetime) -> None:
        super().__init__(asked, label_suffix="")
        self.at = at
        self.by_reference = {row.reference: row for row in allocations}
        field = self.fields["allocation"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  declared above
        field.choices = [(row.reference, named(row)) for row in allocations]

    def clean_as_of(self) -> datetime | None:
        """The end of the second that was written; it has begun."""
        asked: datetime | None = self.cleaned_data["as_of"]
        if asked is None:
            return None
        if asked.date() <= FIRST:
            raise forms.ValidationError(_("There were no books then. Check the year."))
        if asked > self.at:
            raise forms.ValidationError(_("This instant is still to come. Leave it empty to see the ledger of now."))
        return asked + timedelta(seconds=1, microseconds=-1)

    def books(self) -> Books:
        """The ledger that was asked for: without a word of which, the one that ends last and is not void."""
        asked = self.cleaned_data.get("allocation")
        rows = list(self.by_reference.values())
        usual = next((row for row in rows if row.state != Allocation.State.VOID), rows[0])
        return Books(self.by_reference[asked] if asked else usual, self.cleaned_data.get("as_of"))

    @property
    def newest_first(self) -> bool:
        return not self.cleaned_data.get("order")

    @property
    def of_kind(self) -> str:
        return str(self.cleaned_data.get("kind") or "")

    def address(self, books: Books, **more: int | str) -> str:
        """The query of an address that shows this again, `?` included."""
        asked = {
            "allocation": books.allocation.reference,
            "kind": self.of_kind,
            "as_of": written(books.as_of) if books.as_of else "",
            "order": "" if self.newest_first else "oldest",
            **more,
        }
        return "?" + urlencode({name: value for name, value in asked.items() if value != ""})


@dataclass(frozen=True)
class Turning:
    """What `components/pages.html` asks of a list whose page was cut beforehand."""

    page: Any
    paginator: Paginator[Any]
    title: str | Promise = RunLines.title
    prefixed_page_field: str = "page"


def written(instant: datetime) -> str:
    """An instant as the form takes it."""
    return timezone.localtime(instant).strftime(TO_THE_SECOND)


def named(allocation: Allocation) -> str:
    if allocation.state == Allocation.State.VOID:
        return gettext("%(reference)s (void)") % {"reference": allocation.reference}
    return allocation.reference


def asked_for(request: HttpRequest, project: Project) -> tuple[LedgerForm, list[Allocation]]:
    """The filled form, and the allocations that it chooses from: those that end last come first."""
    rows = Allocation.objects.filter(project=project).select_related("pool__cluster__site")
    allocations = list(rows.order_by("-end_on", "-start_on", "-pk"))
    return LedgerForm(request.GET, allocations=allocations, at=timezone.now()), allocations


@require_safe
def ledger(request: HttpRequest, code: str) -> HttpResponse:
    """The entries of one allocation with what was left after each, now or as of a past instant."""
    team = team_page(request, code, section="ledger")
    project, user = team.project, team.user
    form, allocations = asked_for(request, project)
    context = team.context(form=form, there_are_books=bool(allocations))
    if not allocations or not form.is_valid():
        return render(request, "projects/ledger.html", context, status=200 if not allocations else 400)
    books, totals = form.books(), form.books().totals()
    page = books.page(
        rows=ENTRIES_PER_PAGE,
        newest_first=form.newest_first,
        kind=form.of_kind,
        before=number_in(request, "before"),
        after=number_in(request, "after"),
    )
    left = books.left_after(page.entries, totals=totals, from_newest=form.newest_first)
    pinned = Books(books.allocation, books.as_of or form.at)
    context |= {
        "books": books,
        "totals": totals,
        "as_of": books.as_of or form.at,
        "is_past": books.as_of is not None,
        "may_still_grow": books.may_still_grow(at=form.at),
        "table": LedgerTable(lines_of(page, left, project=project, user=user)),
        "opening": left[page.oldest.pk] - page.oldest.seconds if page.entries else None,
        "is_complete": not (page.has_older or form.of_kind),
        "newest_first": form.newest_first,
        "kind_in_words": KINDS.get(form.of_kind, ""),
        "ways": ways_of(page, form, books),
        "pinned_url": form.address(pinned),
        "now_url": form.address(Books(books.allocation)),
        "csv_url": reverse("ledger_csv", args=[code]) + form.address(pinned),
    }
    return render(request, "projects/ledger.html", context)


def number_in(request: HttpRequest, name: str) -> int | None:
    """The number of an entry in the address; None where there is none that can be read."""
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def lines_of(page: Page, left: dict[int, int], *, project: Project, user: User) -> list[Line]:
    partners = explaining.partners(list(page.entries), user)
    return [
        Line(
            entry=entry,
            what=what(entry, partners.get(entry.pk)),
            who=who(entry),
            source=source(entry, code=project.code, user=user),
            left_after=left[entry.pk],
            url=reverse("ledger_entry", args=[project.code, entry.pk]),
        )
        for entry in page.entries
    ]


def ways_of(page: Page, form: LedgerForm, books: Books) -> list[tuple[str, str, str]]:
    """(rel, text, address) of the pages before and after this one, in the order in which they are read."""
    if not page.entries:
        return []
    older = form.address(books, before=page.oldest.pk) if page.has_older else ""
    newer = form.address(books, after=page.newest.pk) if page.has_newer else ""
    ways = [(gettext("Newer entries"), newer), (gettext("Older entries"), older)]
    if not form.newest_first:
        ways.reverse()
    return [(rel, *way) for rel, way in zip(("prev", "next"), ways, strict=True) if way[1]]


@require_safe
def ledger_csv(request: HttpRequest, code: str) -> HttpResponseBase:
    """Every entry that the list shows, over all its pages, as a file."""
    form, allocations = asked_for(request, team_page(request, code, section="ledger").project)
    if not allocations or not form.is_valid():
        told = [str(message) for messages in form.errors.values() for message in messages]
        text = "\n".join(told) or gettext("This project has no allocation yet.")
        return HttpResponse(f"{text}\n", status=400, content_type="text/plain; charset=utf-8")
    books = form.books()
    if books.as_of is None:
        books = Books(books.allocation, form.at)
    report = as_file(books, kind=form.of_kind, newest_first=form.newest_first)
    chunks = csv_chunks(report, Parameters())
    first = next(chunks)  # a query that fails does so here, as an error page and not as a file cut short
    name = f"ledger_{books.allocation.reference}_{written(books.as_of or form.at).replace(':', '')}.csv"
    response = StreamingHttpResponse(chain([first], chunks), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["Cache-Control"] = "private, no-store"
    return response


@require_safe
def ledger_entry(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """One entry explained: its facts, what it belongs to, and the job runs behind it, adding up."""
    team = team_page(request, code, section="ledger")
    project, user = team.project, team.user
    entries = LedgerEntry.objects.filter(allocation__project=project)
    entry = get_object_or_404(
        entries.select_related("allocation__pool__cluster__site", "asked_by", "approved_by", "reverses", "reversed_by"),
        pk=min(pk, LARGEST_NUMBER),
    )
    books = Books(entry.allocation)
    left = books.left_after([entry], totals=books.totals())[entry.pk]
    behind = explaining.behind(entry, user)
    partner = behind.partner.allocation.reference if behind.partner else "" if behind.partner_is_hidden else None
    context = {
        "entry": entry,
        "what": what(entry, partner),
        "who": who(entry),
        "source": source(entry, code=code, user=user),
        "is_by_rule": entry.source_kind in BY_RULE,
        "behind": behind,
        "left_before": left - entry.seconds,
        "left_after": left,
        "may_see_trail": user.has_perm("centre.view_event"),
        **runs_behind(request, entry, code),
    }
    return render(request, "projects/entry.html", team.context(**context))


def runs_behind(request: HttpRequest, entry: LedgerEntry, code: str) -> dict[str, Any]:
    """A page of the job runs of an entry, and the addition that leads from them to the entry."""
    evidence = explaining.evidence_of(entry)
    if evidence is None:
        return {}
    paginator = Paginator(evidence.rows, RUNS_PER_PAGE)
    vars(paginator)["count"] = evidence.count  # it came with the sum
    page = paginator.get_page(request.GET.get("page"))
    # The numbers first: what is worked out of each line is not to be worked out of the lines that are passed over.
    numbers = evidence.rows.values("pk")[max(page.start_index() - 1, 0) : page.end_index()]
    rows = evidence.rows.filter(pk__in=numbers)
    lines = explaining.refund_lines(rows) if evidence.is_refund else explaining.charge_lines(entry, rows)
    here = sum(line.seconds for line in lines)
    before = explaining.sum_before(evidence, lines[0].number) if page.has_previous() else 0
    sign = 1 if evidence.is_refund else -1
    return {
        "evidence": evidence,
        "runs": RunLines(lines, code=code, exclude=() if evidence.is_refund else ("day",)),  # a charge is of one day
        "turning": Turning(page, paginator),
        "runs_before": before,
        "runs_here": here,
        "runs_after": evidence.sum - before - here,
        "adds_up": sign * evidence.sum == entry.seconds,
    }
