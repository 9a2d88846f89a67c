"""The public page behind the link of an invitation: who invites to what, and the way in.

Looking changes nothing, since mail scanners open links. The page says whether the invited address has an account to
whoever has the link, and that is its owner; nobody else learns it.
"""

from http import HTTPStatus

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from centre import invitations
from centre.member_forms import NewcomerForm
from centre.members import AlreadyMember, MemberError, NotAName
from centre.models import Invitation, User
from centre.models.invitations import Fate
from centre.role_words import what_role_means


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Join a project by the link of a letter: signed in, by signing in, or with a new account."""
    found = invitations.find(token)
    if found is None:
        return render(request, "invitations/unknown.html", status=HTTPStatus.NOT_FOUND)
    user = request.user if isinstance(request.user, User) else None
    fate = found.fate(at=timezone.now())
    if fate != Fate.WAITING:
        return over(request, found, fate, user)
    if user is not None:
        return for_who_is_signed_in(request, found, user)
    known = User.objects.filter(email=found.email).first()
    if known is not None and not known.is_active:
        return render(request, "account/account_inactive.html", status=HTTPStatus.FORBIDDEN)
    if known is not None and not invitations.lacks_password(known):
        return render(request, "invitations/sign_in.html", shown(found))
    return for_newcomer(request, found, known)


def shown(found: Invitation) -> dict[str, object]:
    """What each of the pages tells of the invitation."""
    return {"invitation": found, "project": found.project, "role_means": what_role_means(found.role)}


def over(request: HttpRequest, found: Invitation, fate: Fate, user: User | None) -> HttpResponse:
    """Why the link does not work any more, and what to do; whoever joined by it is led to the project."""
    if fate == Fate.ACCEPTED and user is not None and user.pk == found.accepted_by_id:
        return redirect("project", code=found.project.code)
    context = {**shown(found), "fate": fate.value}
    return render(request, "invitations/over.html", context, status=HTTPStatus.GONE)


def for_who_is_signed_in(request: HttpRequest, found: Invitation, user: User) -> HttpResponse:
    """One click joins the person who was invited; anybody else is told so."""
    if user.email != found.email:
        status = HTTPStatus.FORBIDDEN if request.method == "POST" else HTTPStatus.OK
        return render(request, "invitations/somebody_else.html", shown(found), status=status)
    if request.method != "POST":
        return render(request, "invitations/join.html", shown(found))
    try:
        invitations.accept(invitation=found, user=user, at=timezone.now())
    except invitations.NoLongerOpen:
        return redirect(request.path)  # which says what became of it meanwhile
    except AlreadyMember as refused:
        messages.info(request, str(refused))
    except MemberError as refused:
        return render(request, "invitations/join.html", {**shown(found), "refused": str(refused)})
    else:
        welcome(request, found)
    return redirect("project", code=found.project.code)


def for_newcomer(request: HttpRequest, found: Invitation, known: User | None) -> HttpResponse:
    """Choose name and password, and join; the person is signed in."""
    name = known.name if known is not None and known.name else found.name
    form = NewcomerForm(request.POST or None, email=found.email, initial={"name": name})
    if request.method == "POST" and form.is_valid():
        chosen = {"name": form.cleaned_data["name"], "password": form.cleaned_data["password1"]}
        try:
            membership = invitations.accept_as_newcomer(invitation=found, at=timezone.now(), **chosen)
        except (invitations.HasPassword, invitations.NoLongerOpen):
            return redirect(request.path)  # which says what became of it meanwhile
        except NotAName as refused:
            form.add_error("name", str(refused))
        except MemberError as refused:
            form.add_error(None, str(refused))
        else:
            login(request, membership.user, backend=settings.AUTHENTICATION_BACKENDS[0])
            welcome(request, found)
            return redirect("project", code=found.project.code)
    return render(request, "invitations/newcomer.html", {**shown(found), "form": form})


def welcome(request: HttpRequest, found: Invitation) -> None:
    said = gettext("Welcome. You belong to this project now. Your role: %(role)s.")
    messages.success(request, said % {"role": found.get_role_display()})
