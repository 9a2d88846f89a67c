"""The job runs of a project: searched, filtered, page after page; and one run with its cost and its history."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.db.models import OuterRef, Subquery, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from allocations.ledger_pages import LARGEST_NUMBER
from allocations.models import Allocation, DailyUsage, JobRun
from allocations.models.usage import Outcome
from allocations.quota import day_today, whole_day
from allocations.run_lists import (
    TeamRunTable,
    Wanted,
    accounts_of,
    add_accounts,
    allocations_of,
    drawing_allocations,
    page_of,
    place_in,
)
from allocations.run_money import payers_of
from allocations.run_states import in_words
from allocations.run_told import MOST_ENTRIES, costs_of, how_it_ended, long_text, told_of
from allocations.usage_filters import UseForm
from centre.forms import TextField
from centre.models import ClusterUser
from centre.team_pages import team_page


class RunForm(UseForm):
    """Which job runs. The days are those of their submission, from midnight to midnight in Hong Kong."""

    label_from = gettext_lazy("Submitted from")
    label_to = gettext_lazy("Submitted until")

    def __init__(self, asked: Mapping[str, Any], *, allocations: Sequence[Allocation], today: date) -> None:
        super().__init__(asked, allocations=allocations, today=today)
        self.fields["q"] = TextField(
            label=gettext_lazy("Job number or name"),
            required=False,
            max_length=100,
            widget=forms.TextInput(attrs={"type": "search"}),
        )
        outcomes = dict(Outcome.choices) | {Outcome.UNFINISHED.value: gettext_lazy("Running or waiting")}
        field = self.fields["outcome"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  made by the parent
        field.choices = [("", gettext_lazy("All")), *outcomes.items()]
        self.order_fields(["q", "from", "to", "where", "member", "outcome"])

    @property
    def is_narrowed(self) -> bool:
        return bool(self.data.get("q")) or super().is_narrowed

    def wanted(self, after: str) -> Wanted:
        return Wanted(
            since=midnight(self.first),
            before=midnight(self.last + timedelta(days=1)),
            text=str(self.cleaned_data.get("q") or "").strip(),
            member=self.member,
            outcome=self.outcome,
            charged_to=tuple(row.pk for row in self.where) if self.cleaned_data.get("where") else None,
            after=place_in(after),
        )


def midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


@require_safe
def runs(request: HttpRequest, code: str) -> HttpResponse:
    """A page of the project's job runs, newest first, of the last 30 days unless other days are asked for."""
    team = team_page(request, code, section="runs")
    allocations = drawing_allocations(team.project)
    days = [day_today(row.pool, team.at) for row in allocations]
    today = max([*days, timezone.localdate(team.at)])
    form = RunForm(request.GET, allocations=allocations, today=today)
    context = team.context(form=form, there_are_allocations=bool(allocations), usual_url=request.path)
    if not allocations:
        return render(request, "projects/runs.html", context)
    if not form.is_valid():
        return render(request, "projects/runs.html", context, status=400)
    form.name_members(members(form))
    after = request.GET.get("after", "")
    page = page_of(allocations, form.wanted(after))
    context |= {
        "page": page,
        "table": TeamRunTable(page.runs, code=code),
        "first": whole_day(form.first),
        "last": whole_day(form.last),
        "is_first": not after,
        "first_url": form.address(),
        "onward_url": form.address(after=str(page.onward)) if page.onward else "",
        "as_of": min((row.books_as_of for row in allocations if row.books_as_of), default=None),
    }
    return render(request, "projects/runs.html", context)


def members(form: RunForm) -> list[tuple[str, str]]:
    """Who has used GPU time since the first of these days, as choices; one query."""
    rows = DailyUsage.objects.filter(allocation__in=form.allocations, day__gte=form.first).exclude(user_name="")
    used = rows.order_by().values("allocation__pool__cluster", "user_name").annotate(sum=Sum("seconds"))
    owner = ClusterUser.objects.filter(cluster=OuterRef("allocation__pool__cluster"), name=OuterRef("user_name"))
    named = used.annotate(person=Subquery(owner.values("user__name")[:1])).values_list("user_name", "person")
    names = {name: f"{person} ({name})" if person else name for name, person in named}
    return sorted(names.items(), key=lambda item: item[1].casefold())


@require_safe
def run(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """One run of the project; a run of another's does not exist here."""
    team = team_page(request, code, section="runs")
    allocations = allocations_of(team.project)
    known = JobRun.objects.select_related("cluster__site").with_member_names()
    found = get_object_or_404(known, pk=min(pk, LARGEST_NUMBER))
    costs = costs_of(found, allocations)
    if not costs:
        add_accounts(allocations)
        if accounts_of(allocations).get((found.cluster_id, found.account), True):  # it may be another project's
            raise Http404
    state, tone = in_words(found.state)
    context = {
        "run": found,
        "state": state,
        "tone": tone,
        "ending": how_it_ended(found),
        "ran_for": long_text((found.end_at or found.as_of) - found.start_at) if found.start_at else "",
        "waited_for": long_text(found.start_at - found.submit_at) if found.start_at else "",
        "costs": costs,
        "total": sum(cost.seconds for cost in costs),
        "refunded": sum(cost.refunded for cost in costs),
        "entries_are_cut": any(len(cost.entries) == MOST_ENTRIES for cost in costs),
        "payers": payers_of(costs),
        "told": told_of(found),
    }
    return render(request, "projects/run.html", team.context(**context))
