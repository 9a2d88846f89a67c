"""The form on which an officer hands an export over, with what the file does not tell itself."""

import logging
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from allocations.importing.receiving import receive, refuse_window
from allocations.models import UsageImport
from allocations.slurm.header import UnreadableExport
from centre.admin.acts import act_page
from centre.admin.kept import KeptAdmin
from centre.days import FIRST
from centre.http import signed_in
from centre.models import Cluster

log = logging.getLogger(__name__)
NOT_KEPT: Final = gettext_noop("The portal cannot keep the file at the moment. Nothing was imported; try again later.")
TO_THE_SECOND: Final = "%Y-%m-%dT%H:%M:%S"


def instant_field(**options: Any) -> forms.DateTimeField:
    """An instant in the portal's time, chosen as the browser lets one choose it."""
    return forms.DateTimeField(
        input_formats=[TO_THE_SECOND, "%Y-%m-%dT%H:%M"],
        widget=forms.DateTimeInput(format=TO_THE_SECOND, attrs={"type": "datetime-local", "step": 1}),
        error_messages={"invalid": _("Write the day and the time like 2026-01-31T18:00.")},
        **options,
    )


class UploadForm(forms.Form):
    """An export, and what it does not tell itself."""

    cluster = forms.ModelChoiceField(label=_("Cluster"), queryset=Cluster.objects.all())
    file = forms.FileField(
        label=_("File"),
        max_length=300,
        widget=forms.FileInput(attrs={"accept": ".txt,.gz,text/plain,application/gzip"}),
        help_text=_(
            "What sacct printed, as it is or compressed by gzip. If this page comes back with a question, choose the "
            "file again: browsers do not keep it."
        ),
    )
    as_of = instant_field(
        label=_("When sacct ran"),
        help_text=_("In Hong Kong time. Jobs that were still running then are charged up to this instant."),
    )
    covers_from = instant_field(
        label=_("Beginning of the window"),
        required=False,
        help_text=_(
            "What sacct was told by -S, in Hong Kong time. With it the portal notices when days are missing between "
            "two exports. If you do not know it, leave it empty: the import is the same."
        ),
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone of the file"),
        required=False,
        help_text=_("Only for times that are not in epoch seconds: the zone of the machine on which sacct ran."),
    )

    def __init__(self, *args: Any, at: datetime, **options: Any) -> None:
        super().__init__(*args, **options)
        self.at = at
        zones = ["UTC", *sorted(name for name in available_timezones() if "/" in name and "Etc/" not in name)]
        choices = [("", _("That of the cluster")), *((name, name) for name in zones)]
        self.fields["time_zone"].choices = choices  # type: ignore[attr-defined]  # a choice field

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > settings.USAGE_FILE_LIMIT:
            raise ValidationError(
                _("The file is larger than %(limit)s MB. Export a shorter window."),
                params={"limit": settings.USAGE_FILE_LIMIT // 1_000_000},
            )
        return file

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        as_of, begins = given.get("as_of"), given.get("covers_from")
        for name, window in (
            ("as_of", {"as_of": as_of, "covers_from": None}),
            ("covers_from", {"as_of": as_of, "covers_from": begins}),
        ):
            instant = given.get(name)
            if instant is None:
                continue
            if instant.date() <= FIRST:
                self.add_error(name, _("There were no books then. Check the year."))
                continue
            try:
                refuse_window(**window, at=self.at)
            except UnreadableExport as refused:
                self.add_error(name, str(refused))
                break
        return given


def upload_page(request: HttpRequest, page: KeptAdmin[Any]) -> HttpResponse:
    """Take an export in; the page of its import shows what becomes of it."""
    now = timezone.now()
    clusters = list(Cluster.objects.all()[:2])
    form = UploadForm(
        request.POST or None,
        request.FILES or None,
        at=now,
        initial={"cluster": clusters[0]} if len(clusters) == 1 else {},
    )

    def run(given: dict[str, Any]) -> tuple[str, UsageImport]:
        zone = given["time_zone"]
        try:
            usage_import, is_new = receive(
                stream=given["file"],
                file_name=given["file"].name,
                cluster=given["cluster"],
                source=UsageImport.Source.UPLOAD,
                at=now,
                by=signed_in(request),
                as_of=given["as_of"],
                covers_from=given["covers_from"],
                zone=ZoneInfo(zone) if zone else None,
            )
        except UnreadableExport as refused:
            raise ValidationError({"file": str(refused)}) from refused
        except OSError as error:
            log.exception("An uploaded export could not be kept")
            raise ValidationError({"file": gettext(NOT_KEPT)}) from error
        if not is_new:
            return gettext("You handed this file over a moment ago. This is what becomes of it."), usage_import
        return gettext("The file is safe. It is imported now; this page shows how far it is."), usage_import

    return act_page(
        request,
        admin=page,
        row=None,
        title=_("Import usage"),
        explanation=_(
            "Hand over what sacct printed on a cluster. The same file twice, or one that overlaps with another, "
            "charges nothing twice."
        ),
        form=form,
        button=_("Import the file"),
        run=run,
        refusals=(),
    )
