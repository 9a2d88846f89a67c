"""Acts on several allocations at once, from their list: each effect is told before anything happens.

The list sends its choice here as an address, so that the page can be looked at again and nothing happens on the way.
What is impossible for one allocation is said and left out; the others go on.

The confirming page carries which allocations it listed and up to which event of each, so that what is confirmed is what
was read: one that was left out there stays out, and one that somebody acted on since, also by this very form, is left
out and named.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db import transaction
from django.db.models import BigIntegerField, Max, QuerySet
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations import extending, requests, suspending, team_letters, writing
from allocations.admin.proposing import REFUSALS, reason_field, text_field
from allocations.admin.suspending import ReasonForTheTeamForm
from allocations.models import Allocation, ChangeRequest
from centre.admin.acts import act_page
from centre.admin.choosing import day
from centre.admin.confirming import Confirmation, Effect
from centre.admin.kept import KeptAdmin
from centre.http import signed_in
from centre.models import Event, User
from centre.row_numbers import is_row_number

MOST = 100
"""As many as a page of the list shows."""
OF = "of"
State = ChangeRequest.State
Given = Mapping[str, Any]


class TogetherForm(forms.Form):
    """`seen` is what the confirming page listed; nobody fills it in."""

    seen = forms.CharField(required=False, max_length=4_000, widget=forms.HiddenInput)


class ExtendTogetherForm(TogetherForm):
    until_on = day(label=_("Last day"), help_text=_("Later than the last day of each; it is included."))
    reason = reason_field()


class LetterForm(TogetherForm):
    reason = text_field(_("What the letter says"), help_text=_("In your own words, to leads and managers."))


class MoveTogetherForm(ReasonForTheTeamForm, TogetherForm):
    """Suspended or resumed."""


@dataclass(frozen=True)
class Part:
    """One allocation of an act: what would become of it, or why it is left out."""

    allocation: Allocation
    effect: Effect | None = None
    why_not: str = ""


Look = Callable[[Sequence[Allocation], Given, User], list[Part]]
Run = Callable[[Sequence[Allocation], Given, User], str]


@dataclass(frozen=True)
class Act:
    """An act on several allocations: what its page asks, what it would do to each, and the doing."""

    title: str | Promise
    explanation: str | Promise
    form: type[TogetherForm]
    look: Look
    run: Run
    danger: bool = False
    button: str | Promise = ""


def state_after(to: Allocation.State) -> Look:
    """Where each would stand; resumed is not what belongs to a project of one's own."""

    def look(rows: Sequence[Allocation], _given: Given, by: User) -> list[Part]:
        own = suspending.own_projects(by, rows) if to == Allocation.State.OPEN else frozenset()
        parts = []
        for row in rows:
            why = suspending.why_not(row, to=to)
            if not why and row.project_id in own:
                why = f"{row.reference}: {gettext(suspending.NOT_ONES_OWN)}"
            effect = Effect(named(row), row.get_state_display(), to.label)
            parts.append(Part(row, why_not=why) if why else Part(row, effect))
        return parts

    return look


def moved(verb: Callable[..., suspending.Moved]) -> Run:
    def run(rows: Sequence[Allocation], given: Given, by: User) -> str:
        done = verb(allocations=rows, reason=given["reason"], by=by, at=timezone.now())
        count = len(done.done)
        return " ".join(
            [
                ngettext("%(count)s allocation was changed.", "%(count)s allocations were changed.", count)
                % {"count": count},
                *(left.why for left in done.left_out),
            ]
        )

    return run


def later_days(rows: Sequence[Allocation], given: Given, _by: User) -> list[Part]:
    """The last day of each, now and afterwards, as far as it can be proposed."""
    until_on = given["until_on"]
    refused = extending.why_no_extensions(rows, until_on=until_on, at=timezone.now())
    return [
        Part(row, why_not=why) if why else Part(row, Effect(named(row), date_format(row.end_on), date_format(until_on)))
        for row, why in zip(rows, refused, strict=True)
    ]


def propose_days(rows: Sequence[Allocation], given: Given, by: User) -> str:
    """One proposal for each that can be; all of them, or nothing where the database fails."""
    waiting, left_out = 0, []
    with transaction.atomic():
        for row in rows:
            try:
                with transaction.atomic():
                    requests.propose(
                        kind=ChangeRequest.Kind.EXTENSION,
                        allocation=row,
                        until_on=given["until_on"],
                        reason=given["reason"],
                        by=by,
                        at=timezone.now(),
                        key=f"{given['key']}-{row.pk}",
                    )
            except REFUSALS as refused:
                left_out.append(str(refused))
            else:
                waiting += 1
    told = ngettext(
        "%(count)s longer period waits for another officer’s approval.",
        "%(count)s longer periods wait for another officer’s approval.",
        waiting,
    )
    return " ".join([told % {"count": waiting}, *left_out])


def readers(rows: Sequence[Allocation], given: Given, _by: User) -> list[Part]:
    """How many people would be written about each."""
    told = team_letters.written_to(rows)
    counts = {row.pk: sum(row in concerned for concerned in told.values()) for row in rows}
    already = writing.written_already(rows, text=given["reason"], at=timezone.now())
    return [
        Part(row, why_not=why)
        if (why := no_letter(row, counts[row.pk], written=row.pk in already))
        else Part(row, Effect(named(row), gettext("nothing"), people(counts[row.pk])))
        for row in rows
    ]


def no_letter(row: Allocation, readers: int, *, written: bool) -> str:
    """Why nobody would be written about an allocation, as a sentence; nothing when somebody would."""
    said = {"reference": row.reference}
    if not readers:
        return gettext("%(reference)s: nobody leads or manages its project.") % said
    return gettext("%(reference)s: this letter was sent a moment ago.") % said if written else ""


def people(count: int) -> str:
    return ngettext("a letter to %(count)s person", "a letter to %(count)s people", count) % {"count": count}


def write(rows: Sequence[Allocation], given: Given, by: User) -> str:
    written = writing.write_to_teams(allocations=rows, text=given["reason"], by=by, at=timezone.now())
    count = len(team_letters.written_to(written))
    return ngettext("%(count)s letter is on its way.", "%(count)s letters are on their way.", count) % {"count": count}


ACTS: Mapping[str, Act] = MappingProxyType(
    {
        "extend": Act(
            _("Let periods last longer"),
            _("One request for each allocation waits for another officer, who approves them one by one or together."),
            ExtendTogetherForm,
            later_days,
            propose_days,
            button=_("Send for approval"),
        ),
        "notify": Act(
            _("Write to the teams"),
            _("Each lead and manager gets one letter about all of these allocations, greeted in their language."),
            LetterForm,
            readers,
            write,
        ),
        "suspend": Act(
            _("Suspend allocations"),
            _("No new job starts on them until an officer resumes them. Jobs that run go on and are charged."),
            MoveTogetherForm,
            state_after(Allocation.State.SUSPENDED),
            moved(suspending.suspend_allocations),
            danger=True,
        ),
        "resume": Act(
            _("Resume allocations"),
            _("New jobs start on them again as before."),
            MoveTogetherForm,
            state_after(Allocation.State.OPEN),
            moved(suspending.resume_allocations),
        ),
    }
)


def named(row: Allocation) -> str:
    return f"{row.reference}, {row.project.code}"


def stands(row: Allocation) -> tuple[str | Promise, str]:
    return _("Allocation"), f"{named(row)}, {row.get_state_display()}"


def go_to(act: str, request: HttpRequest, chosen: QuerySet[Any], page: ModelAdmin[Any]) -> HttpResponse | None:
    """From the list to the page of the act, with what was chosen; None, with a sentence, where that is too much."""
    numbers = list(chosen.order_by("pk").values_list("pk", flat=True)[: MOST + 1])
    if len(numbers) > MOST:
        told = _("Choose at most %(most)s rows at once; filter the list first.") % {"most": MOST}
        page.message_user(request, told, messages.ERROR)
        return None
    address = reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_together_{act}")
    return HttpResponseRedirect(f"{address}?{urlencode({OF: ','.join(map(str, numbers))})}")


def chosen_rows(request: HttpRequest, page: KeptAdmin[Any]) -> list[Any]:
    """The rows that the address names and the person may see, as their list has them."""
    wanted = [int(part) for part in request.GET.get(OF, "").split(",") if is_row_number(part)][:MOST]
    return list(page.get_queryset(request).filter(pk__in=wanted).order_by("pk"))


def nothing_chosen(request: HttpRequest, page: KeptAdmin[Any]) -> HttpResponse:
    """Back to the list, with what to do there."""
    page.message_user(request, _("Choose rows in the list first."), messages.WARNING)
    return HttpResponseRedirect(reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist"))


def listed(form: forms.Form, marks: Mapping[int, int]) -> None:
    """Let the confirming page carry what it lists: the number of each row, and a mark of how it stood."""
    form.data = {**dict(form.data.items()), "seen": " ".join(f"{number}-{mark}" for number, mark in marks.items())}


def listed_before(seen: str) -> dict[int, int]:
    """What the confirming page carried; nothing of what it cannot have written."""
    pairs = [part.split("-") for part in seen.split()]
    written = [pair for pair in pairs if all(is_row_number(one) for one in pair)]
    return {int(pair[0]): int(pair[1]) for pair in written if len(pair) == 2}


def latest_events(rows: Sequence[Allocation]) -> dict[int, int]:
    """The number of the latest event of each; 0 where there is none. One query."""
    of_these = Event.objects.filter(
        object_type=Allocation._meta.label_lower, object_id__in=[str(row.pk) for row in rows]
    )
    number = Cast("object_id", BigIntegerField())
    latest = dict(of_these.order_by().values_list(number).annotate(Max("pk")))
    return {row.pk: latest.get(row.pk, 0) for row in rows}


def still_as_listed(parts: Sequence[Part], seen: Mapping[int, int]) -> tuple[list[Allocation], list[str]]:
    """Of what was listed: what stands as it stood there, and sentences about the rest."""
    now = latest_events([part.allocation for part in parts])
    wanted, left_out = [], []
    for part in parts:
        if part.why_not:
            left_out.append(part.why_not)
        elif now[part.allocation.pk] != seen[part.allocation.pk]:
            left_out.append(f"{part.allocation.reference}: {gettext(suspending.MEANWHILE)}")
        else:
            wanted.append(part.allocation)
    return wanted, left_out


def together_page(request: HttpRequest, page: KeptAdmin[Any], name: str) -> HttpResponse:
    """Fill in, look at what becomes of each, confirm."""
    act, by, rows = ACTS[name], signed_in(request), chosen_rows(request, page)
    if not rows:
        return nothing_chosen(request, page)
    form = act.form(request.POST or None)

    def look(given: dict[str, Any]) -> list[Part]:
        parts = act.look(rows, given, by)
        if all(part.effect is None for part in parts):
            raise suspending.AlreadyDecided(" ".join(part.why_not for part in parts))
        return parts

    def confirm(given: dict[str, Any]) -> Confirmation:
        parts = look(given)
        listed(form, latest_events([part.allocation for part in parts if part.effect is not None]))
        return Confirmation(
            effects=[part.effect for part in parts if part.effect is not None],
            facts=[stands(part.allocation) for part in parts if part.effect is not None],
            headline=act.title,
            note=act.explanation,
            warnings=[gettext("Left out: %(why)s") % {"why": part.why_not} for part in parts if part.why_not],
            button=act.button or act.title,
            danger=act.danger,
        )

    def run(given: dict[str, Any]) -> tuple[str, None]:
        seen = listed_before(given["seen"])
        parts = act.look([row for row in rows if row.pk in seen], given, by)
        wanted, left_out = still_as_listed(parts, seen)
        if not wanted:
            raise suspending.AlreadyDecided(" ".join(left_out) or gettext(suspending.MEANWHILE))
        return " ".join([act.run(wanted, given, by), *left_out]), None

    return act_page(
        request,
        admin=page,
        row=None,
        title=act.title,
        explanation=act.explanation,
        facts=[stands(row) for row in rows],
        form=form,
        button=_("Continue"),
        run=run,
        confirm=confirm,
        refusals=REFUSALS,
        with_key=True,
    )
