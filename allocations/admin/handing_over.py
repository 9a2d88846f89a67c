"""The page on which an officer hands spreadsheets over."""

import unicodedata
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from allocations.models import OnboardingUpload
from allocations.onboard.kinds import UPLOADED
from allocations.onboard.lines import BadFile
from allocations.onboard.preview import UploadError, receive
from allocations.onboard.recognising import (
    LARGEST_BYTES,
    LONGEST_NAME,
    Recognised,
    recognise,
    refuse_several_of_a_kind,
    too_large,
)
from centre.admin.acts import act_page
from centre.admin.kept import KeptAdmin
from centre.http import signed_in

MOST_FILES = 4
EXAMPLES = {
    "tenants": "harbour-u,Harbour University,海港大學,海港大学,university",
    "projects": "maps,harbour-u,Reading old maps,lead@example.org",
    "members": "maps,ben@example.org,Ben Member,member,hgx:ben",
    "allocations": "maps,h800,2026-01-01,2026-12-31,10000,OPEN-2026-01,maps,internal",
}


class SeveralFiles(forms.ClearableFileInput):
    """A field in which several files can be chosen at once."""

    allow_multiple_selected = True


class SpreadsheetsField(forms.FileField):
    """One to four spreadsheets, each read and recognised; every one that cannot be is named."""

    def clean(self, data: Any, initial: Any = None) -> list[Recognised]:
        chosen = [file for file in (data if isinstance(data, (list, tuple)) else [data]) if file]
        if not chosen:
            raise forms.ValidationError(_("Choose at least one file."))
        if len(chosen) > MOST_FILES:
            raise forms.ValidationError(_("These are more than four files. Hand over one of each kind at a time."))
        read, refused = [], []
        for file in chosen:
            try:
                read.append(recognised(file))
            except BadFile as bad:
                refused.append(str(bad.problem))
        if not refused:
            try:
                refuse_several_of_a_kind(read)
            except BadFile as bad:
                refused.append(str(bad.problem))
        if refused:
            raise forms.ValidationError(refused)
        return read


class HandOverForm(forms.Form):
    """The files."""

    spreadsheets = SpreadsheetsField(
        label=_("CSV files"),
        widget=SeveralFiles(attrs={"accept": ".csv,text/csv", "multiple": True}),
        help_text=_(
            "From a spreadsheet program: Save as, “CSV UTF-8 (comma delimited)”. You can choose several at once; what "
            "each holds is told by its columns."
        ),
    )


def recognised(file: UploadedFile[bytes]) -> Recognised:
    """The file that was handed over. Raises BadFile."""
    letters = (letter for letter in file.name or "" if unicodedata.category(letter)[0] != "C")
    name = "".join(letters)[-LONGEST_NAME:] or "file.csv"
    if (file.size or 0) > LARGEST_BYTES:
        raise too_large(name)
    return recognise(name, file.read())


def hand_over_page(
    request: HttpRequest, page: KeptAdmin[OnboardingUpload], *, downloads: list[tuple[str, str]]
) -> HttpResponse:
    """Take the files in; the page of the upload shows what every line would do."""

    def run(given: dict[str, Any]) -> tuple[str, OnboardingUpload]:
        upload = receive(files=given["spreadsheets"], key=given["key"], by=signed_in(request), at=timezone.now())
        return str(_("Nothing has been changed yet. This is what the lines would do.")), upload

    return act_page(
        request,
        admin=page,
        row=None,
        title=_("Bring in from a spreadsheet"),
        explanation=_(
            "Hand over tenants, projects, members and opening allocations. You see what every line would do before "
            "anything changes."
        ),
        form=HandOverForm(request.POST or None, request.FILES or None),
        button=_("Show the preview"),
        run=run,
        refusals=(UploadError,),
        with_key=True,
        template="admin/allocations/onboarding/hand_over.html",
        more={
            "downloads": downloads,
            "kinds": [
                {"name": kind.name, "needed": kind.needed, "optional": kind.optional, "example": EXAMPLES[kind.name]}
                for kind in UPLOADED.values()
            ],
        },
    )
