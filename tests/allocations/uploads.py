"""Handing spreadsheets over in tests: texts in, an upload out."""

from typing import Any
from uuid import uuid4

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from allocations.models import OnboardingLine, OnboardingStep, OnboardingUpload
from allocations.onboard.applying import apply
from allocations.onboard.preview import look, receive
from allocations.onboard.recognising import recognise
from centre.models import User
from centre.permissions import StaffRole
from tests import make

ADD = "admin:allocations_onboardingupload_add"
HEADERS = {
    "tenants": "code,name_en,name_zh_hant,name_zh_hans,category\n",
    "projects": "code,tenant,title,lead_email\n",
    "members": "project,email,name,role,cluster_users\n",
    "allocations": "project,pool,start_on,end_on,gpu_hours,reference,account,funding\n",
}
Said = dict[tuple[str, int], tuple[str, list[list[str]], str]]


def officer(*roles: StaffRole) -> User:
    """Somebody who holds these roles."""
    person = make.person()
    for role in roles or (StaffRole.TENANT_OFFICER,):
        make.staff(role, user=person)
    return User.objects.get(pk=person.pk)


def handed_over(by: User, **lines: str) -> OnboardingUpload:
    """Files of these kinds, each with its header and these lines."""
    files = [recognise(f"{kind}.csv", (HEADERS[kind] + text).encode()) for kind, text in lines.items()]
    return receive(files=files, key=uuid4().hex, by=by, at=timezone.now())


def verdicts(upload: OnboardingUpload) -> dict[tuple[str, int], str]:
    """What each line came to, by kind and number."""
    lines = OnboardingLine.objects.filter(file__upload=upload).order_by("file", "number")
    return {(kind, number): verdict for kind, number, verdict in lines.values_list("file__kind", "number", "verdict")}


def said(upload: OnboardingUpload, kind: str, number: int) -> OnboardingLine:
    return OnboardingLine.objects.get(file__upload=upload, file__kind=kind, number=number)


def applied(upload: OnboardingUpload, by: User, *, key: str = "") -> OnboardingStep:
    """Applied as it stands, by somebody who has just seen it."""
    upload.refresh_from_db()
    key = key or uuid4().hex
    return apply(upload=upload, digest=upload.digest, key=key, by=by, at=timezone.now())[0]


def looked_at(upload: OnboardingUpload, by: User) -> OnboardingUpload:
    return look(upload=upload, by=by, at=timezone.now())


def sent(client: Client, *files: tuple[str, bytes]) -> Any:
    """Send files by the form."""
    given = [SimpleUploadedFile(name, content) for name, content in files]
    return client.post(reverse(ADD), {"spreadsheets": given, "act_key": uuid4().hex})


def page(upload: OnboardingUpload, act: str = "change", *more: str) -> str:
    return reverse(f"admin:allocations_onboardingupload_{act}", args=[upload.pk, *more])
