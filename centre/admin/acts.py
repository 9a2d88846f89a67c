"""Acts in the admin: a page that says what will happen, asks for what is needed, and calls one verb.

A row's page links to its acts (`KeptAdmin.acts`); each is a small view that ends in `act_page`. Nothing happens on a
GET. What the verb refuses stands on the page as a sentence, with everything typed still there. An act that moves hours
or money asks twice (`confirm`): the second page is made in `centre.admin.confirming`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from centre.admin.confirming import CHANGE, CONFIRMED, STEP, Confirmation, Effect, Text, form_key, typed
from centre.admin.kept import KeptAdmin

__all__ = ["Confirmation", "Effect", "Text", "act_page", "act_urls", "page_of", "row_name", "row_of_act"]

ActView = Callable[[HttpRequest, str], HttpResponse]
Confirm = Callable[[dict[str, Any]], Confirmation | Sequence[Effect] | None]


def act_urls(admin: ModelAdmin[Any], acts: Iterable[tuple[str, ActView]]) -> list[URLPattern]:
    """The addresses of a model's acts: `/admin/<app>/<model>/<number>/<act>/`, named `<app>_<model>_<act>`."""
    prefix = f"{admin.opts.app_label}_{admin.opts.model_name}"
    return [
        path(f"<path:object_id>/{act}/", admin.admin_site.admin_view(view), name=f"{prefix}_{act.replace('-', '_')}")
        for act, view in acts
    ]


def row_of_act(admin: ModelAdmin[Any], request: HttpRequest, object_id: str, permission: str) -> Any:
    """The row that an act is about. Missing: 404. May not look at it, or may not do this: 403."""
    row = admin.get_object(request, unquote(object_id))
    if row is None:
        raise Http404
    if not admin.has_view_permission(request, row) or not request.user.has_perm(permission):
        raise PermissionDenied
    return row


def page_of(row: models.Model) -> str:
    """The address of a row's page in the admin."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def row_name(admin: ModelAdmin[Any], row: models.Model | None) -> str:
    """What the row is called on its own page; nothing when there is none yet."""
    if row is None:
        return ""
    return admin.heading(row) if isinstance(admin, KeptAdmin) else str(row)


def act_page(
    request: HttpRequest,
    *,
    admin: ModelAdmin[Any],
    row: models.Model | None,
    title: Text,
    button: Text,
    run: Callable[[dict[str, Any]], tuple[str, models.Model | None]],
    refusals: tuple[type[Exception], ...],
    explanation: Text = "",
    facts: Sequence[tuple[Text, Text]] = (),
    effects: Sequence[Effect] = (),
    form: forms.Form | None = None,
    danger: bool = False,
    confirm: Confirm | None = None,
    with_key: bool = False,
    template: str = "admin/act.html",
    more: Mapping[str, Any] | None = None,
) -> HttpResponse:
    """Show the page of an act; on a valid POST `run` it with what was filled in, and say what was done.

    `run` returns the sentence that says so and the row whose page comes next (None: the list). Exceptions named in
    `refusals` carry a sentence for the person.

    `confirm` is asked first, with what was filled in, and gives what a second page shows; only what is sent from there
    is run. It gives None where there is nothing to confirm (any more), and may refuse like `run`. `with_key` gives both
    a "key", the same as often as this form is sent: the verb acts once for it. `template` extends admin/act.html and
    reads `more`.
    """
    refusal = ""
    confirmation: Confirmation | None = None
    key = form_key(request)
    step = request.POST.get(STEP, "")
    caught: tuple[type[Exception], ...] = (*refusals, ValidationError)
    if request.method == "POST" and step != CHANGE and (form is None or form.is_valid()):
        given = dict(form.cleaned_data) if form is not None else {}
        given |= {"key": key} if with_key else {}
        try:
            if confirm is not None and step != CONFIRMED:
                confirmation = _confirmation(confirm(dict(given)))
            sentence, then = run(given) if confirmation is None else ("", None)
        except caught as refused:
            refusal = _told(refused, form)
        else:
            if confirmation is None:
                messages.success(request, sentence)
                changelist = reverse(f"admin:{admin.opts.app_label}_{admin.opts.model_name}_changelist")
                return HttpResponseRedirect(page_of(then) if then is not None else changelist)
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "opts": admin.opts,
        "row": row,
        "row_name": row_name(admin, row),
        "row_url": page_of(row) if row is not None else "",
        "explanation": explanation,
        "facts": facts,
        "effects": effects,
        "form": form,
        "media": admin.media + form.media if form is not None else admin.media,
        "button": button,
        "danger": danger,
        "refusal": refusal,
        "key": key if with_key else "",
        "has_two_steps": confirm is not None,
        "now": timezone.now(),
        **(more or {}),
    }
    if confirmation is not None:
        context |= {"confirmation": confirmation, "typed": typed(form) if form is not None else []}
        context["facts"] = facts if confirmation.facts is None else confirmation.facts
        template = "admin/act_confirm.html"
    request.current_app = admin.admin_site.name  # read by the {% url %} tag
    return TemplateResponse(request, template, context)


def _told(refused: Exception, form: forms.Form | None) -> str:
    """Why not, as a sentence; nothing where the fields that are wrong say it themselves."""
    if not isinstance(refused, ValidationError):
        return str(refused)
    if form is not None and hasattr(refused, "error_dict") and refused.error_dict.keys() <= form.fields.keys():
        form.add_error(None, refused)
        return ""
    return " ".join(refused.messages)


def _confirmation(asked: Confirmation | Sequence[Effect] | None) -> Confirmation | None:
    """Effects alone are a confirmation without words of its own."""
    return asked if asked is None or isinstance(asked, Confirmation) else Confirmation(effects=asked)
