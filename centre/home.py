"""The front page, and where a person goes after signing in. A composition root: it may look up, nothing imports it."""

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render


@login_not_required
def front(request: HttpRequest) -> HttpResponse:
    return render(request, "front.html", {})


@login_not_required
def health(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Answers once the database does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok\n", content_type="text/plain")


def after_sign_in(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    return redirect("front")
