"""Approving several requests at once, as asked: every effect of each is told before anything happens."""

from typing import Any

from django import forms
from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations import requests
from allocations.admin.effects import effects_of, headline
from allocations.admin.proposing import REFUSALS, text_field
from allocations.admin.together import chosen_rows, nothing_chosen
from allocations.models import ChangeRequest, RequestedRun
from centre.admin.acts import act_page
from centre.admin.confirming import Confirmation, Effect
from centre.admin.kept import KeptAdmin
from centre.http import signed_in
from centre.models import User


class AnswerTogetherForm(forms.Form):
    answer = text_field(_("Answer"), required=False, help_text=_("Everybody who asked reads this."))


def why_not(row: ChangeRequest, by: User) -> str:
    """Why a person cannot approve a request here, as a sentence; what the books refuse shows when it is done."""
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


def told(rows: list[ChangeRequest]) -> list[tuple[str, str]]:
    """Who asked, and what for, of each; one query."""
    counted = RequestedRun.objects.filter(request__in=rows).order_by().values_list("request").annotate(Count("pk"))
    runs = dict(counted)
    return [(asker(row), headline(row, row.asked_seconds or 0, runs=runs.get(row.pk, 0))) for row in rows]


def asker(row: ChangeRequest) -> str:
    return f"{row.project.code}, {row.asked_by.name or row.asked_by.email}"


def approve_together_page(request: HttpRequest, page: KeptAdmin[Any]) -> HttpResponse:
    """What each would do, then all of them; what cannot be is left out and named."""
    by, rows = signed_in(request), chosen_rows(request, page)
    if not rows:
        return nothing_chosen(request, page)
    reasons = [(row, why_not(row, by)) for row in rows]
    possible = [row for row, why in reasons if not why]
    left_out = [why for _row, why in reasons if why]

    def confirm(_given: dict[str, Any]) -> Confirmation:
        if not possible:
            raise requests.NoSuchAnswer(" ".join(left_out))
        effects = [
            Effect(f"{row.project.code}: {effect.label}", effect.before, effect.after)
            for row in possible
            for effect in effects_of(row, row.asked_seconds or 0)
        ]
        words = ngettext("Approve %(count)s request as asked", "Approve %(count)s requests as asked", len(possible))
        return Confirmation(
            effects=effects,
            headline=words % {"count": len(possible)},
            warnings=[gettext("Left out: %(why)s") % {"why": why} for why in left_out],
            facts=told(possible),
            button=gettext("Approve"),
        )

    def run(given: dict[str, Any]) -> tuple[str, None]:
        if not possible:
            raise requests.NoSuchAnswer(" ".join(left_out))
        done, refusals = approve_each(possible, by=by, answer=given["answer"])
        words = ngettext("%(count)s request was approved.", "%(count)s requests were approved.", done)
        return " ".join([words % {"count": done}, *left_out, *refusals]), None

    return act_page(
        request,
        admin=page,
        row=None,
        title=_("Approve requests"),
        facts=told(rows),
        form=AnswerTogetherForm(request.POST or None),
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
