"""What a team asks the centre for: the list, one request from asking to its effect, and asking anew."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import django_tables2
from django.contrib import messages
from django.db.models import Case, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_safe

from allocations import requests
from allocations.cards import cards_of
from allocations.extending import AccountTaken, NotLater, TooFar
from allocations.models import ChangeRequest, LedgerEntry
from allocations.movements import OtherPool
from allocations.posting import LedgerError, NotEnough
from allocations.quota import Card
from allocations.request_forms import FORMS, can_be_asked, fresh_key
from allocations.request_words import (
    SAYS_YES,
    TONES,
    answer_text,
    asked_text,
    effect_text,
    hours_of,
    state_text,
)
from centre.http import centre_of
from centre.permissions import TeamAct
from centre.tables import InstantColumn, Table, show_page
from centre.team_pages import TeamPage, team_page
from centre.templatetags.portal import NOTHING, badge, time_element

Kind = ChangeRequest.Kind
State = ChangeRequest.State
REQUESTS_PER_PAGE = 20
REFUSALS = (LedgerError, requests.RequestError)
FIELD_OF: Mapping[type[Exception], str] = {
    NotEnough: "seconds",
    OtherPool: "to_allocation",
    NotLater: "until_on",
    TooFar: "until_on",
    AccountTaken: "until_on",
}
"""At which field of the form a refusal stands."""


@dataclass(frozen=True)
class Choice:
    """Something that can be asked for: in plain words, and what to know before."""

    kind: ChangeRequest.Kind
    title: Any
    text: Any
    impossible: Any = ""


CHOICES: Mapping[ChangeRequest.Kind, Choice] = MappingProxyType(
    {
        choice.kind: choice
        for choice in (
            Choice(
                Kind.TOP_UP,
                _("More GPU-hours"),
                _("What is left will not do for what you still have to run."),
                _("No allocation of this project takes more GPU-hours now."),
            ),
            Choice(
                Kind.EXTENSION,
                _("A longer period"),
                _("GPU-hours will be left on the last day, and you can use them later."),
                _("No allocation of this project can last longer."),
            ),
            Choice(
                Kind.TRANSFER,
                _("Move GPU-hours"),
                _("From one of your allocations to another one on the same GPUs."),
                _("This project has no two allocations on the same GPUs."),
            ),
            Choice(
                Kind.MEMBERS,
                _("More members"),
                _("People or cluster user names that you cannot add to the project yourself."),
            ),
            Choice(Kind.OTHER, _("Something else"), _("Anything that the centre should do for this project.")),
        )
    }
)


ENDED_UNANSWERED = {State.WITHDRAWN: State.WITHDRAWN.label, State.LAPSED: State.LAPSED.label}


class RequestsTable(Table):
    """The requests of a project: what waits first, then the latest."""

    title = _("Requests")
    what = django_tables2.Column(empty_values=(), verbose_name=_("What was asked"))
    asked = InstantColumn(accessor="asked_at", verbose_name=_("Asked"))
    state = django_tables2.Column(empty_values=(), verbose_name=_("State"))
    answered = InstantColumn(accessor="answered_at", default=NOTHING, verbose_name=_("Answered"))
    answer = django_tables2.Column(empty_values=(), verbose_name=_("The centre’s answer"))

    class Meta:
        orderable = False

    def render_what(self, record: ChangeRequest) -> SafeString:
        return format_html(
            '<a href="{}">{}</a><br><small class="quiet"><bdi>{}</bdi></small>',
            reverse("request", args=[record.project.code, record.pk]),
            asked_text(record),
            Truncator(record.reason).chars(80),
        )

    def render_state(self, record: ChangeRequest) -> SafeString:
        return state_badge(record)

    def render_answered(self, record: ChangeRequest) -> SafeString | str:
        """When it was answered; of what was never answered, when and how it ended."""
        when = time_element(record.answered_at) if record.answered_at else NOTHING
        ended = ENDED_UNANSWERED.get(State(record.state))
        return format_html('<small class="quiet">{}</small> {}', ended, when) if ended else when

    def render_answer(self, record: ChangeRequest) -> SafeString | str:
        said = " ".join(part for part in (effect_text(record), answer_text(record)) if part)
        return format_html("<bdi>{}</bdi>", Truncator(said).chars(140)) if said else "–"


def state_badge(request: ChangeRequest) -> SafeString:
    """The state as a badge: words, with a tone."""
    return badge(state_text(request), TONES[State(request.state)])


@require_safe
def request_list(request: HttpRequest, code: str) -> HttpResponse:
    """What this project asked for, what waits first, and what came of it."""
    team = team_page(request, code, section="requests")
    rows = ChangeRequest.objects.of_teams().filter(project=team.project)
    waits_first = Case(When(state=State.ASKED, then=Value(0)), default=Value(1))
    table = RequestsTable(
        rows.select_related("project", "allocation", "to_allocation").order_by(waits_first, "-asked_at", "-pk")
    )
    show_page(table, request, rows=REQUESTS_PER_PAGE)
    context = {"table": table, "may_ask": may_ask(team)}
    return render(request, "projects/requests.html", team.context(**context))


def may_ask(team: TeamPage) -> bool:
    """Whether this person may ask the centre for this project; a closed one asks for nothing any more."""
    return team.may(TeamAct.ASK) and team.project.standing != "closed"


@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, code: str) -> HttpResponse:
    """Choose what to ask for, then fill it in; what was typed stays when something is wrong with it."""
    team = team_page(request, code, section="requests")
    team.demand(TeamAct.ASK)
    cards = cards_of(team.project, at=team.at, centre=centre_of(request))
    kind = next((kind for kind in FORMS if kind == request.GET.get("kind")), None)
    if kind is None or not can_be_asked(kind, cards):
        choices = [(choice, can_be_asked(choice.kind, cards)) for choice in CHOICES.values()]
        return render(request, "projects/ask.html", team.context(choices=choices))
    form = FORMS[kind](request.POST or None, cards=cards, initial={"key": fresh_key()})
    if request.method == "POST" and form.is_valid():
        try:
            asked = requests.ask(project=team.project, kind=kind, by=team.user, at=team.at, **form.cleaned_data)
        except REFUSALS as refused:
            field = FIELD_OF.get(type(refused))
            form.add_error(field if field in form.fields else None, str(refused))
        else:
            messages.success(request, gettext("Sent. You get a letter when the centre answers."))
            return redirect("request", code=team.project.code, pk=asked.pk)
    return render(request, "projects/ask.html", team.context(form=form, chosen=CHOICES[kind], as_of=oldest(cards)))


def oldest(cards: Sequence[Card]) -> datetime | None:
    """How far the books behind the figures of the form reach; None before the first import."""
    return min((card.as_of for card in cards if card.as_of is not None and not card.is_over), default=None)


@dataclass(frozen=True)
class Step:
    """One step of a request's way: what, when, by whom, with their words; `entries` are what it did to the books."""

    title: str
    at: datetime | None
    who: str = ""
    words: str = ""
    effect: str = ""
    entries: tuple[LedgerEntry, ...] = ()

    @property
    def when(self) -> SafeString | str:
        return time_element(self.at) if self.at else ""


@require_safe
def request_page(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """One request: asked, answered, and what it did."""
    team = team_page(request, code, section="requests")
    row = request_of(team, pk)
    context = {
        "row": row,
        "asked": asked_text(row),
        "badge": state_badge(row),
        "steps": steps_of(row),
        "waits": requests.waits(row),
        "held": held_text(row),
        "may_withdraw": may_withdraw(team, row),
    }
    return render(request, "projects/request.html", team.context(**context))


def request_of(team: TeamPage, pk: int) -> ChangeRequest:
    """A request of this project; 404 for any other, and for what officers settle between them."""
    related = ("project", "allocation__pool", "to_allocation", "asked_by", "answered_by", "hold")
    rows = ChangeRequest.objects.of_teams().filter(project=team.project)
    return get_object_or_404(rows.select_related(*related), pk=pk)


def may_withdraw(team: TeamPage, row: ChangeRequest) -> bool:
    """While it waits, the person who asked may take it back, and those who ask for the project in their place."""
    return requests.waits(row) and team.may(TeamAct.ASK) and requests.may_withdraw(row, team.user)


def steps_of(row: ChangeRequest) -> list[Step]:
    """Asked, answered, done; at most one query, for the entries."""
    steps = [Step(gettext("Asked"), row.asked_at, row.asked_by.get_full_name(), row.reason)]
    if requests.waits(row):
        return [
            *steps,
            Step(gettext("The centre answers"), None, words=gettext("An officer of the centre looks at it.")),
        ]
    who = row.answered_by.get_full_name() if row.answered_by is not None else ""
    steps.append(Step(state_text(row), row.answered_at, who, answer_text(row)))
    if effect := effect_text(row):
        steps.append(Step(gettext("Carried out"), row.answered_at, effect=effect, entries=entries_of(row)))
    return steps


def entries_of(row: ChangeRequest) -> tuple[LedgerEntry, ...]:
    """The entries of this project's ledger that the request led to; found by their keys."""
    if row.state not in SAYS_YES or row.kind not in requests.MOVES_HOURS:
        return ()
    keys = [f"request-{row.pk}", f"request-{row.pk}:out", f"request-{row.pk}:in"]
    entries = LedgerEntry.objects.filter(key__in=keys, allocation__project=row.project_id)
    return tuple(entries.select_related("allocation").order_by("pk"))


def held_text(row: ChangeRequest) -> str:
    """What is set aside while a transfer waits, and until when."""
    if not requests.waits(row) or row.hold is None or row.hold.lapses_on is None or row.allocation is None:
        return ""
    return gettext(
        "%(hours)s GPU-hours of %(reference)s are set aside until the centre answers. Without an answer they are let "
        "go on %(day)s."
    ) % {
        "hours": hours_of(row.asked_seconds),
        "reference": row.allocation.reference,
        "day": date_format(row.hold.lapses_on, "DATE_FORMAT"),
    }


@require_http_methods(["GET", "HEAD", "POST"])
def withdraw_request(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """Take a request back, after a look at what it was; sent twice it is withdrawn once."""
    team = team_page(request, code, section="requests")
    team.demand(TeamAct.ASK)
    row = request_of(team, pk)
    if request.method == "POST":
        try:
            requests.withdraw(request=row, by=team.user, at=team.at)
        except REFUSALS as refused:
            row.refresh_from_db()
            if row.state != State.WITHDRAWN or row.answered_by_id != team.user.pk:
                messages.error(request, str(refused))
        else:
            messages.success(request, gettext("The request was withdrawn."))
        return redirect("request", code=team.project.code, pk=row.pk)
    if not may_withdraw(team, row):
        return redirect("request", code=team.project.code, pk=row.pk)
    context = {"row": row, "asked": asked_text(row), "held": held_text(row)}
    return render(request, "projects/withdraw_request.html", team.context(**context))
