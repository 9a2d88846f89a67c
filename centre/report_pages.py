"""The pages of `/reports/`: the catalogue, a report with its preview, and its CSV."""

from collections.abc import Callable
from datetime import date, timedelta
from functools import wraps
from itertools import chain, islice
from typing import Any
from urllib.parse import urlencode

import django_tables2
from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from centre import permissions, registry, tables
from centre.exports import BadDay, Column, Kind, Parameters, Report, Row, csv_chunks, read_days
from centre.http import signed_in

PREVIEW_ROWS = 100


def for_report_readers(page: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Those who are no staff find nothing here; staff whose work does not need reports may not."""

    @wraps(page)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        roles = signed_in(request).staff_roles
        if not roles:
            raise Http404
        if not permissions.reads_reports(roles):
            raise PermissionDenied
        return page(request, **kwargs)

    return guarded


@for_report_readers
@require_safe
def reports(request: HttpRequest) -> HttpResponse:
    """Every report: what it answers, and where to open or download it."""
    return render(request, "reports/list.html", {"section": "reports", "reports": registry.reports.values()})


@for_report_readers
@require_safe
def report(request: HttpRequest, name: str) -> HttpResponse:
    """One report: the days to choose, the first rows, what the columns mean, and the way to the CSV."""
    wanted, now = find(name), timezone.now()
    form = DaysForm(request.GET, label_suffix="")
    context: dict[str, Any] = {"section": "reports", "report": wanted, "form": form}
    context["usual_ranges"] = usual_ranges(timezone.localdate(now))
    if form.is_valid():
        rows, there_are_more = preview(wanted, form.parameters())
        context |= {
            "table": table_of(wanted, rows),
            "shown": len(rows),
            "there_are_more": there_are_more,
            "chosen": form.chosen(),
            "as_of": now,
        }
    return render(request, "reports/report.html", context, status=200 if form.is_valid() else 400)


@for_report_readers
@require_safe
def report_csv(request: HttpRequest, name: str) -> HttpResponseBase:
    """The whole report as a file; rows leave as the database hands them over."""
    wanted = find(name)
    try:
        parameters = read_days(request.GET.get("from"), request.GET.get("to"))
    except BadDay as error:
        return HttpResponse(f"{error}\n", status=400, content_type="text/plain; charset=utf-8")
    chunks = csv_chunks(wanted, parameters)
    first = next(chunks)  # a query that fails does so here, as an error page and not as a file cut short
    response = StreamingHttpResponse(chain([first], chunks), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(True, wanted.file_name(parameters)) or "attachment"
    response["Cache-Control"] = "private, no-store"
    return response


def find(name: str) -> Report:
    try:
        return registry.reports[name]
    except KeyError:
        raise Http404 from None


class DaysForm(forms.Form):
    """The range of days; both are included, and an empty one leaves that end open. In the address: `from` and `to`."""

    from_on = forms.CharField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    to_on = forms.CharField(label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def add_prefix(self, field_name: str) -> str:
        return field_name.removesuffix("_on")

    def clean(self) -> dict[str, Any]:
        try:
            return {"parameters": read_days(self.cleaned_data.get("from_on"), self.cleaned_data.get("to_on"))}
        except BadDay as error:
            raise forms.ValidationError(str(error)) from error

    def parameters(self) -> Parameters:
        """What was asked for, once the form is valid."""
        parameters = self.cleaned_data["parameters"]
        assert isinstance(parameters, Parameters)  # noqa: S101  `clean` put it there
        return parameters

    def chosen(self) -> str:
        """The range as the query of an address, `?` included, or nothing."""
        parameters = self.parameters()
        days = {"from": parameters.from_on, "to": parameters.to_on}
        query = urlencode({name: day.isoformat() for name, day in days.items() if day})
        return f"?{query}" if query else ""


def usual_ranges(today: date) -> list[registry.Link]:
    """The ranges that people ask for most, as links."""
    this_month = today.replace(day=1)
    end_of_last = this_month - timedelta(days=1)
    ranges = (
        (_("This month"), this_month, today),
        (_("Last month"), end_of_last.replace(day=1), end_of_last),
        (_("Last 30 full days"), today - timedelta(days=30), today - timedelta(days=1)),
        (_("This year"), today.replace(month=1, day=1), today),
    )
    links = [registry.Link(text, f"?from={first.isoformat()}&to={last.isoformat()}") for text, first, last in ranges]
    return [*links, registry.Link(_("Everything"), "?")]


def preview(wanted: Report, parameters: Parameters) -> tuple[list[Row], bool]:
    """The first rows, and whether there are more."""
    asked = Parameters(parameters.from_on, parameters.to_on, at_most=PREVIEW_ROWS + 1)
    rows = list(islice(wanted.rows(asked), PREVIEW_ROWS + 1))
    return rows[:PREVIEW_ROWS], len(rows) > PREVIEW_ROWS


def table_of(wanted: Report, rows: list[Row]) -> tables.Table:
    """The preview: the rows of the CSV, written for people."""
    names = [column.name for column in wanted.columns]
    table = tables.Table(
        [dict(zip(names, row, strict=True)) for row in rows],
        extra_columns=[(column.name, shown(column)) for column in wanted.columns],
        orderable=False,
        empty_text=_("There is nothing on record for these days. Choose other days, or everything."),
    )
    table.title = str(wanted.title)
    table.scrolls = True
    return table


def shown(column: Column) -> django_tables2.Column:  # noqa: PLR0911  one line per kind
    """The column of a list that shows what a column of a report holds."""
    title = column.title
    match column.kind:
        case Kind.COUNT | Kind.SECONDS:
            return tables.NumberColumn(verbose_name=title)
        case Kind.HOURS:
            return tables.HoursColumn(verbose_name=title, places=2)
        case Kind.MONEY:
            return tables.MoneyColumn(verbose_name=title, places=2)
        case Kind.PERCENT:
            return tables.PercentColumn(verbose_name=title)
        case Kind.DAY:
            return tables.DayColumn(verbose_name=title)
        case Kind.INSTANT:
            return tables.InstantColumn(verbose_name=title)
        case Kind.CHOICE:
            return tables.ChoiceColumn(verbose_name=title, choices=column.choices or {})
        case Kind.CODE:
            return django_tables2.Column(verbose_name=title, default="", attrs=tables.WHOLE)
        case Kind.TEXT:
            return django_tables2.Column(verbose_name=title, default="")
