"""Refunding job runs, those of a failed node for example: find them, choose them, confirm the sum."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from allocations.admin.proposing import facts_of, propose_page, reason_field
from allocations.models import Allocation, ChangeRequest, JobRun, RunCharge
from allocations.run_states import in_words
from allocations.slurm.nodes import literal_of, names_node
from centre.admin.kept import KeptAdmin
from centre.days import validate_day
from centre.row_numbers import is_row_number

MOST_SHOWN = 50
MOST_READ = 5_000
"""Of how many runs the nodes are read before the search ends."""
DAYS_BACK = 30
ENDED = (
    *("NODE_FAIL", "BOOT_FAIL", "FAILED", "OUT_OF_MEMORY", "TIMEOUT", "DEADLINE"),
    *("PREEMPTED", "REQUEUED", "CANCELLED", "COMPLETED"),
)


def search_day(label: Any) -> forms.DateField:
    """A day to search by, chosen as the browser lets one choose it."""
    widget = forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"})
    return forms.DateField(label=label, required=False, widget=widget, validators=[validate_day])


class RunFilterForm(forms.Form):
    """Which job runs to choose from."""

    first_on = search_day(_("From"))
    last_on = search_day(_("Until"))
    node = forms.CharField(
        label=_("Node"), max_length=40, required=False, help_text=_("One node’s name, for example gpu07.")
    )
    state = forms.ChoiceField(label=_("How it ended"), required=False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        words = [(state, f"{in_words(state)[0]} ({state})") for state in ENDED]
        self.fields["state"].choices = [("", _("All")), *words]  # type: ignore[attr-defined]  # a choice field


class RunsField(forms.ModelMultipleChoiceField[JobRun]):
    """Job runs by their numbers; what cannot be one is refused in words, however long it is."""

    def clean(self, value: Any) -> Any:
        for written in value or ():
            if not is_row_number(str(written)):
                raise ValidationError(
                    self.error_messages["invalid_pk_value"], code="invalid_pk_value", params={"pk": str(written)[:40]}
                )
        return super().clean(value)


class RefundForm(forms.Form):
    runs = RunsField(
        label=_("Job runs"),
        queryset=JobRun.objects.none(),
        error_messages={"required": _("Choose at least one job run.")},
    )
    reason = reason_field()

    def __init__(self, *args: Any, allocation: Allocation, **options: Any) -> None:
        super().__init__(*args, **options)
        # Also those that are refunded by now: a form that is sent again finds what it did. The verb looks closely.
        charged = RunCharge.objects.filter(allocation=allocation).values("run")
        runs = JobRun.objects.filter(pk__in=charged).order_by("-start_at", "-id")
        self.fields["runs"].queryset = runs  # type: ignore[attr-defined]  # a field of rows


def found(allocation: Allocation, given: dict[str, Any]) -> list[JobRun]:
    """The latest refundable runs that match, at most `MOST_SHOWN`."""
    rows: QuerySet[JobRun] = JobRun.objects.refundable(
        allocation, first_on=given.get("first_on"), last_on=given.get("last_on")
    )
    if state := given.get("state"):
        rows = rows.filter(state__startswith=state)
    node = given.get("node", "")
    if not node:
        return list(rows[:MOST_SHOWN])
    runs: list[JobRun] = []
    for run in rows.filter(node_list__contains=literal_of(node))[:MOST_READ].iterator(chunk_size=500):
        if names_node(run.node_list, node):
            runs.append(run)
        if len(runs) == MOST_SHOWN:
            break
    return runs


def days_by_default(today: date) -> dict[str, date]:
    return {"first_on": today - timedelta(days=DAYS_BACK), "last_on": today}


def refund_page(request: HttpRequest, page: KeptAdmin[Any], allocation: Allocation) -> HttpResponse:
    """The runs to choose from are filtered by the address; what is chosen and why is sent."""
    by_default = days_by_default(timezone.localdate())
    is_searched = "first_on" in request.GET
    search = RunFilterForm(request.GET if is_searched else None, initial=by_default)
    given: dict[str, Any] = dict(by_default)
    if is_searched:
        given = search.cleaned_data if search.is_valid() else {}
    form = RefundForm(request.POST or None, allocation=allocation)
    runs = found(allocation, given) if given else []
    chosen = {pk for pk in request.POST.getlist("runs") if is_row_number(pk)}
    unseen = chosen - {str(run.pk) for run in runs}
    if unseen:  # nothing that was chosen is lost from sight
        runs = [*JobRun.objects.refundable(allocation).filter(pk__in=unseen), *runs]
    ticks_all = "all" in request.GET and request.method == "GET"
    rest = request.GET.copy()
    rest.pop("all", None)
    if not is_searched:
        rest.update({name: day.isoformat() for name, day in by_default.items()})
    return propose_page(
        request,
        page=page,
        row=allocation,
        kind=ChangeRequest.Kind.REFUND,
        allocation=allocation,
        title=_("Refund job runs"),
        explanation=_(
            "For runs that came to nothing through no fault of the team, because a node failed for example. "
            "The charge stays in the ledger; a refund that names the runs stands beside it."
        ),
        facts=facts_of(allocation),
        form=form,
        button=_("Continue"),
        template="admin/allocations/refund.html",
        more={
            "search": search,
            "runs": [(run, ticks_all or str(run.pk) in chosen, in_words(run.state)) for run in runs],
            "is_cut": len(runs) >= MOST_SHOWN,
            "most_shown": MOST_SHOWN,
            "search_address": rest.urlencode(),
            "ticks_all": ticks_all,
        },
    )
