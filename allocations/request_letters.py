"""The letter that tells a person of the team what the centre answered to their request.

It goes out when the answer is committed. Officers who asked read the answer on their desk; a person who left the team
since is told nothing of it any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import override

from allocations.models import ChangeRequest
from allocations.refusals import belongs_to_any
from allocations.request_words import answer_text, asked_text, effect_text, state_text
from centre.emails import absolute, deliver, greeted, letter, one_line, project_line

MOST_OF_AN_ANSWER = 600
_is_told: ContextVar[bool] = ContextVar("is_told", default=True)


@contextmanager
def without_letters() -> Iterator[None]:
    """Answers given inside are sent to nobody: those that the demo invents for the past."""
    before = _is_told.set(False)
    try:
        yield
    finally:
        _is_told.reset(before)


def tell_asker(request: ChangeRequest) -> None:
    """Send the letter once the answer is committed."""
    if _is_told.get():
        transaction.on_commit(partial(send_answer, request.pk))


def send_answer(number: int) -> None:
    """Write to the person who asked, in their language, if they may sign in and belong to the project."""
    rows = ChangeRequest.objects.select_related("project", "allocation", "to_allocation", "asked_by")
    request = rows.get(pk=number)
    user = request.asked_by
    if not user.is_active or not belongs_to_any({request.project_id}, user):
        return
    with override(user.language):
        asked = one_line(asked_text(request), 200)
        context = {
            "name": greeted(user.name),
            "subject": _("%(state)s: %(asked)s") % {"state": state_text(request), "asked": asked},
            "project": project_line(request.project),
            "asked": asked,
            "asked_on": date_format(request.asked_at, "DATE_FORMAT"),
            "state": state_text(request),
            "effect": one_line(effect_text(request), 300),
            "answer": one_line(answer_text(request), MOST_OF_AN_ANSWER),
            "link": absolute(reverse("request", args=[request.project.code, request.pk])),
        }
        message = letter("request_answered", user, context)
    deliver([(user, message)], at=timezone.now())
