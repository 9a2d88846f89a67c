"""Approving several requests at once, as asked: every effect of each is told before anything happens.

Requests are told and carried out in one order, each with what those before it leave, so that two about one allocation
add up on the page as they will in the books.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations import requests, suspending
from allocations.admin.effects import Moves, effects_of, headline, moves_of
from allocations.admin.proposing import REFUSALS, text_field
from allocations.admin.together import TogetherForm, chosen_rows, listed, listed_before, nothing_chosen
from allocations.carrying_out import refuse_beyond
from allocations.models import Allocation, ChangeRequest, RequestedRun
from allocations.posting import NotEnough
from centre.admin.acts import act_page
from centre.admin.confirming import Confirmation, Effect
from centre.admin.kept import KeptAdmin
from centre.http import signed_in
from centre.models import User

Kind = ChangeRequest.Kind


class AnswerTogetherForm(TogetherForm):
    answer = text_field(_("Answer"), required=False, help_text=_("Everybody who asked reads this."))


def why_not(row: ChangeRequest, by: User) -> str:
    """Why a person cannot approve a request here, as a sentence."""
    said = {"request": named(row)}
    if not requests.waits(row):
        return gettext("%(request)s: it is answered already.") % said
    if row.asked_by_id == by.pk:
        return gettext("%(request)s: you asked for it yourself.") % said
    if row.kind not in requests.CAN_BE_PROPOSED or not requests.may_answer(by, row):
        return gettext("%(request)s: it is answered on its own page.") % said
    return ""


def named(row: ChangeRequest) -> str:
    return f"{row.project.code}, {row.get_kind_display()}"


def about(row: ChangeRequest, moves: Sequence[Moves]) -> str:
    """Of which allocation a figure is; where two are concerned, each figure names its own."""
    if row.allocation is None or len(moves) > 1:
        return row.project.code
    return f"{row.allocation.reference}, {row.project.code}"


def told(rows: list[ChangeRequest]) -> list[tuple[str, str]]:
    """Who asked, and what for, of each; one query."""
    counted = RequestedRun.objects.filter(request__in=rows).order_by().values_list("request").annotate(Count("pk"))
    runs = dict(counted)
    return [(asker(row), headline(row, row.asked_seconds or 0, runs=runs.get(row.pk, 0))) for row in rows]


def asker(row: ChangeRequest) -> str:
    return f"{row.project.code}, {row.asked_by.name or row.asked_by.email}"


TAKES = frozenset({Kind.TAKE_BACK, Kind.TRANSFER})


@dataclass
class InTurn:
    """What several requests do, one after the other: those that can be approved, their effects, why the others not."""

    possible: list[ChangeRequest] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    moved: dict[int, Moves] = field(default_factory=dict)
    """By how much the requests before move each allocation."""

    def add(self, row: ChangeRequest, by: User) -> None:
        """Take one more request, or say why it is left out."""
        why = why_not(row, by)
        if not why:
            for allocation in concerned(row):
                self.catch_up(allocation)
            why = refused_by_the_books(row)
        if why:
            self.left_out.append(why)
            return
        seconds = row.asked_seconds or 0
        moves = moves_of(row, seconds)
        self.possible.append(row)
        self.effects += [
            Effect(f"{about(row, moves)}: {effect.label}", effect.before, effect.after)
            for effect in effects_of(row, seconds)
        ]
        for move in moves:
            before = self.moved.get(move.allocation.pk, Moves(move.allocation))
            self.moved[move.allocation.pk] = Moves(
                move.allocation,
                granted=before.granted + move.granted,
                used=before.used + move.used,
                held=before.held + move.held,
            )

    def catch_up(self, allocation: Allocation) -> None:
        """Let a row in hand show what the requests before leave; it is not saved."""
        before = self.moved.get(allocation.pk)
        if before is not None:
            allocation.granted_seconds += before.granted
            allocation.used_seconds += before.used
            allocation.held_seconds += before.held


def concerned(row: ChangeRequest) -> list[Allocation]:
    """The allocations that a request moves hours of, as loaded with it."""
    of_entry = row.entry.allocation if row.entry is not None else None
    loaded = [one for one in (row.allocation, row.to_allocation, of_entry) if one is not None]
    return list({id(one): one for one in loaded}.values())


def refused_by_the_books(row: ChangeRequest) -> str:
    """Why it cannot be carried out by what stands now, as a sentence: its period is closed, or too little is left."""
    allocation = row.allocation
    if allocation is None:
        return ""
    closed = suspending.why_not(allocation, to=Allocation.State.CLOSED)
    if closed:
        return f"{named(row)}: {closed}"
    if row.kind in TAKES:
        held = -row.hold.seconds if row.hold is not None else 0  # is let go before the hours are taken
        try:
            refuse_beyond(allocation, (row.asked_seconds or 0) - held)
        except NotEnough as refused:
            return f"{named(row)}: {refused}"
    return ""


def approve_together_page(request: HttpRequest, page: KeptAdmin[Any]) -> HttpResponse:
    """What each would do, then all of them; what cannot be is left out and named."""
    by, rows = signed_in(request), chosen_rows(request, page)
    if not rows:
        return nothing_chosen(request, page)
    form = AnswerTogetherForm(request.POST or None)

    def look(these: list[ChangeRequest]) -> InTurn:
        found = InTurn()
        for row in these:
            found.add(row, by)
        if not found.possible:
            raise requests.NoSuchAnswer(" ".join(found.left_out) or gettext("Choose rows in the list first."))
        return found

    def confirm(_given: dict[str, Any]) -> Confirmation:
        found = look(rows)
        listed(form, {row.pk: 0 for row in found.possible})
        count = len(found.possible)
        words = ngettext("Approve %(count)s request as asked", "Approve %(count)s requests as asked", count)
        return Confirmation(
            effects=found.effects,
            headline=words % {"count": count},
            warnings=[gettext("Left out: %(why)s") % {"why": why} for why in found.left_out],
            facts=told(found.possible),
            button=gettext("Approve"),
        )

    def run(given: dict[str, Any]) -> tuple[str, None]:
        seen = listed_before(given["seen"])
        found = look([row for row in rows if row.pk in seen])
        done, refusals = approve_each(list(found.possible), by=by, answer=given["answer"])
        for row in rows:
            if row.pk not in seen:
                found.add(row, by)  # only to say again why it was left out
        words = ngettext("%(count)s request was approved.", "%(count)s requests were approved.", done)
        return " ".join([words % {"count": done}, *found.left_out, *refusals]), None

    return act_page(
        request,
        admin=page,
        row=None,
        title=_("Approve requests"),
        facts=told(rows),
        form=form,
        button=_("Continue"),
        run=run,
        confirm=confirm,
        refusals=REFUSALS,
    )


def approve_each(rows: list[ChangeRequest], *, by: User, answer: str) -> tuple[int, list[str]]:
    """How many were approved, and why the others could not be; each is whole or not at all."""
    done, refusals = 0, []
    for row in rows:
        try:
            with transaction.atomic():
                requests.approve(request=row, by=by, at=timezone.now(), answer=answer)
        except REFUSALS as refused:
            refusals.append(f"{named(row)}: {refused}")
        else:
            done += 1
    return done, refusals
