"""How a project's GPU time was used: chart, shares by member, pool and end of the runs, and the same as a file."""

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import chain

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.http import require_safe

from allocations.issuing import month_text
from allocations.models.usage import Outcome
from allocations.quota import day_text, day_today, whole_day
from allocations.share_tables import Share, ShareTable
from allocations.usage_figures import Usage, allocations_of, lines_of, usage_of
from allocations.usage_filters import Split, Step, UsageForm
from centre.exports import Column, Kind, Parameters, Report, Row, csv_chunks
from centre.stacked_chart import Layer, StackedBar, StackedChart
from centre.team_pages import TeamPage, team_page
from centre.templatetags.portal import gpu_hours

EVERY_POOL = ("completed", "timed_out", "unfinished", "interrupted", "cancelled", "other")
"""Patterns for pools, in the order of their time; what comes after the fifth is drawn as one."""
POOLS_APART = len(EVERY_POOL) - 1


@require_safe
def usage(request: HttpRequest, code: str) -> HttpResponse:
    """Chart and shares of the days and filters in the address; a request that cannot be meant is answered with why."""
    team = team_page(request, code, section="usage")
    form = asked_for(team, request.GET)
    context = team.context(form=form, there_are_allocations=bool(form.allocations))
    if not form.allocations:
        return render(request, "projects/usage.html", context)
    if not form.is_valid():
        return render(request, "projects/usage.html", context, status=400)
    found = usage_of(form)
    runs = form.address(step="", split="")
    context |= {
        "usage": found,
        "days": days_text(form.first, form.last),
        "too_fine": form.asked_step if form.step != form.asked_step else None,
        "step": form.step,
        "chart": chart_of(found),
        "wasted_bp": share_of(found.wasted, found.total),
        "completed": found.per_outcome.get(Outcome.COMPLETED, 0),
        "completed_bp": share_of(found.per_outcome.get(Outcome.COMPLETED, 0), found.total),
        "running": found.per_outcome.get(Outcome.UNFINISHED, 0),
        "interrupted": found.per_outcome.get(Outcome.INTERRUPTED, 0),
        "tables": tables_of(found),
        "usual_url": request.path,
        "runs_url": reverse("runs", args=[code]) + runs,
        "csv_url": reverse("usage_csv", args=[code]) + form.address(),
    }
    return render(request, "projects/usage.html", context)


def asked_for(team: TeamPage, asked: Mapping[str, str]) -> UsageForm:
    """One query."""
    allocations = allocations_of(team.project)
    days = [day_today(row.pool, team.at) for row in allocations]
    return UsageForm(asked, allocations=allocations, today=max(days, default=timezone.localdate(team.at)))


def share_of(part: int, whole: int) -> int:
    return Share("", part, whole).bp


# --------------------------------------------------------------------------------------------------- the chart


def chart_of(found: Usage) -> StackedChart:
    """A bar for each step, of layers by how the runs ended, or by pool."""
    layers, layer_of = layers_by_pool(found) if found.form.split == Split.POOL else layers_by_outcome(found)
    sums = {start: [0] * len(layers) for start, _end in found.steps}
    for (start, allocation, outcome), seconds in found.cells.items():
        if seconds:
            sums[start][layer_of[allocation if found.form.split == Split.POOL else outcome]] += seconds
    bars = [
        StackedBar(
            label=days_text(start, end),
            short_label=short_text(start, found.form.step),
            value=sum(sums[start]),
            shown=gpu_hours(sum(sums[start]), 1),
            parts=sums[start],
            parts_shown=[gpu_hours(seconds, 1) for seconds in sums[start]],
        )
        for start, end in found.steps
    ]
    titles = {Step.DAY: _("Used per day"), Step.WEEK: _("Used per week"), Step.MONTH: _("Used per month")}
    return StackedChart(
        title=titles[found.form.step],
        unit=_("GPU-hours"),
        bars=bars,
        per_unit=3600,
        heading=found.form.step.label,
        layers=layers,
        total_label=_("All"),
    )


def layers_by_outcome(found: Usage) -> tuple[list[Layer], dict[object, int]]:
    sums = found.per_outcome
    layers = [Layer(outcome.value, outcome.label, gpu_hours(seconds, 1)) for outcome, seconds in sums.items()]
    return layers, {outcome: place for place, outcome in enumerate(sums)}


def layers_by_pool(found: Usage) -> tuple[list[Layer], dict[object, int]]:
    """The pools with the most time apart, the others together."""
    sums: dict[str, int] = {}
    for row, seconds in found.per_allocation.items():
        sums[str(row.pool)] = sums.get(str(row.pool), 0) + seconds
    names = sorted(sums, key=lambda name: (-sums[name], name))
    apart, others = names[:POOLS_APART], names[POOLS_APART:]
    layers = [Layer(EVERY_POOL[place], name, gpu_hours(sums[name], 1)) for place, name in enumerate(apart)]
    if others:
        rest = sum(sums[name] for name in others)
        layers.append(Layer(EVERY_POOL[-1], _("Other pools"), gpu_hours(rest, 1)))
    place_of = {name: min(place, POOLS_APART) for place, name in enumerate(names)}
    return layers, {row.pk: place_of[str(row.pool)] for row in found.per_allocation}


def days_text(first: date, last: date) -> str:
    """One day, a whole month, or from one day to another."""
    if first == last:
        return day_text(first)
    if first.day == 1 and last.month == first.month and last.year == first.year and is_last_of_month(last):
        return month_text(first)
    return f"{whole_day(first)} – {whole_day(last)}"


def is_last_of_month(day: date) -> bool:
    return day == day.max or date.fromordinal(day.toordinal() + 1).day == 1


def short_text(start: date, step: Step) -> str:
    return f"{start:%Y-%m}" if step == Step.MONTH else date_format(start, "MONTH_DAY_FORMAT")


# --------------------------------------------------------------------------------------------------- the shares


def tables_of(found: Usage) -> list[tuple[str, ShareTable]]:
    """By member, by allocation, by end; each adds up to the total."""
    form, of = found.form, found.total
    members = [
        Share(
            text=user.person or user.name or _("No user name was told"),
            note=user.name if user.is_claimed else _("not yet claimed by anybody") if user.name else "",
            seconds=seconds,
            of=of,
            url=form.address(member=user.name) if user.name and not form.member else "",
        )
        for user, seconds in found.per_member.items()
    ]
    allocations = [
        Share(
            text=row.reference,
            note=str(row.pool),
            seconds=seconds,
            of=of,
            url=form.address(where=row.reference) if len(form.where) > 1 else "",
        )
        for row, seconds in found.per_allocation.items()
    ]
    outcomes = [
        Share(
            text=outcome.label,
            note=MEANINGS.get(outcome, ""),
            seconds=seconds,
            of=of,
            url="" if form.outcome else form.address(outcome=outcome.value),
        )
        for outcome, seconds in found.per_outcome.items()
    ]
    return [
        (_("By member"), ShareTable(members, what=_("Member"), title=_("GPU time by member"))),
        (_("By allocation"), ShareTable(allocations, what=_("Allocation"), title=_("GPU time by allocation"))),
        (
            _("How the runs ended"),
            ShareTable(outcomes, what=pgettext_lazy("runs", "Ended"), title=_("GPU time by how the runs ended")),
        ),
    ]


MEANINGS = {
    Outcome.UNFINISHED: gettext_lazy("charged so far; how it ends is still open"),
    Outcome.FAILED: gettext_lazy("the program ended with an error, or ran out of memory"),
    Outcome.CANCELLED: gettext_lazy("somebody stopped the run"),
    Outcome.TIMED_OUT: gettext_lazy("stopped at the time limit that was asked for"),
    Outcome.INTERRUPTED: gettext_lazy("a machine failed, or the run had to make way"),
}


# --------------------------------------------------------------------------------------------------- the file


COLUMNS = (
    Column("from_on", gettext_lazy("From"), gettext_lazy("The first day that the line counts."), Kind.DAY),
    Column("step", gettext_lazy("Step"), gettext_lazy("Day, week or month."), Kind.CHOICE, dict(Step.choices)),
    Column("member", gettext_lazy("Member"), gettext_lazy("Whose user name it is; empty while nobody claimed it.")),
    Column("user_name", gettext_lazy("User name"), gettext_lazy("The user name on the cluster.")),
    Column("pool", gettext_lazy("GPU pool"), gettext_lazy("The pool's code."), Kind.CODE),
    Column("allocation", gettext_lazy("Allocation"), gettext_lazy("The allocation's reference."), Kind.CODE),
    Column(
        "outcome",
        pgettext_lazy("runs", "Ended"),
        gettext_lazy("How the runs ended."),
        Kind.CHOICE,
        dict(Outcome.choices),
    ),
    Column("gpu_seconds", gettext_lazy("GPU-seconds"), gettext_lazy("Exact."), Kind.SECONDS),
    Column("gpu_hours", gettext_lazy("GPU-hours"), gettext_lazy("The same, rounded to two decimals."), Kind.HOURS),
)


@require_safe
def usage_csv(request: HttpRequest, code: str) -> HttpResponseBase:
    """What the page shows, a line for each step, user name, allocation and end."""
    form = asked_for(team_page(request, code, section="usage"), request.GET)
    if not form.allocations or not form.is_valid():
        told = [str(message) for messages in form.errors.values() for message in messages]
        text = "\n".join(told) or _("This project has no allocation yet.")
        return HttpResponse(f"{text}\n", status=400, content_type="text/plain; charset=utf-8")
    report = Report(
        name="usage", title="", description="", days="", columns=COLUMNS, rows=lambda _parameters: rows_of(form)
    )
    days = Parameters(from_on=form.first, to_on=form.last)
    chunks = csv_chunks(report, days)
    first = next(chunks)  # a query that fails does so here, as an error page and not as a file cut short
    response = StreamingHttpResponse(chain([first], chunks), content_type="text/csv; charset=utf-8")
    name = f"{code}_{report.file_name(days)}"
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["Cache-Control"] = "private, no-store"
    return response


def rows_of(form: UsageForm) -> Iterator[Row]:
    for start, person, user, pool, reference, outcome, seconds in lines_of(form):
        yield start, form.step.value, person, user, pool, reference, outcome, seconds, seconds
