"""Mending a quarantined record: field by field where its text has as many as the first line names, else as a line."""

import re
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import merging
from allocations.admin.quarantine_words import ADVICE
from allocations.importing import looking_up, quarantine
from allocations.importing.quarantine import Field
from allocations.models import JobRun, QuarantinedRecord
from allocations.slurm.header import FREE_TEXT, NEEDED, Header
from allocations.slurm.sacct import Record, open_export
from centre.admin.acts import act_page, page_of
from centre.admin.kept import KeptAdmin
from centre.http import signed_in

CARRIAGE_RETURN: Final = "[U+000D]"
"""Stands for a carriage return, which a browser would lose."""
EPOCH: Final = re.compile(r"[0-9]{9,10}")
INSTANTS: Final = frozenset({"Submit", "Eligible", "Start", "End"})


class LineForm(forms.Form):
    """The text of a record as one text."""

    text = forms.CharField(
        label=_("Text of the line"),
        strip=False,
        max_length=quarantine.LONGEST_TEXT,
        widget=forms.Textarea(attrs={"rows": 7, "cols": 90, "class": "line-text", "spellcheck": "false"}),
    )

    def mended(self) -> str:
        return unwritten(self.cleaned_data["text"])


class FieldsForm(forms.Form):
    """The text of a record, a field for each name of the first line."""

    def __init__(self, *args: Any, header: Header, parts: list[Field], **options: Any) -> None:
        super().__init__(*args, **options)
        self.delimiter = header.delimiter
        for number, part in enumerate(parts):
            text = written(part.text or "")
            is_long = not FREE_TEXT.isdisjoint(part.name.split(", ")) or "\n" in text
            attrs = {"class": "line-field", "spellcheck": "false", "autocomplete": "off"}
            self.fields[f"field_{number}"] = forms.CharField(
                label=part.name,
                required=False,
                strip=False,
                max_length=quarantine.LONGEST_TEXT,
                initial=text,
                help_text=explained(part),
                widget=forms.Textarea(attrs={**attrs, "rows": 2}) if is_long else forms.TextInput(attrs=attrs),
            )

    def mended(self) -> str:
        return self.delimiter.join(unwritten(self.cleaned_data[name]) for name in self.fields)


def explained(part: Field) -> str:
    """What helps to read a field: the instant that it names, whether it is needed."""
    notes = []
    if part.name in NEEDED:
        notes.append(gettext("Needed."))
    if instant := instant_of(part):
        notes.append(f"= {instant}")
    return " ".join(notes)


def instant_of(part: Field) -> str:
    """The instant that a field names in epoch seconds, in the portal's time; empty where it names none."""
    if part.name not in INSTANTS or not EPOCH.fullmatch(part.text or ""):
        return ""
    return timezone.localtime(datetime.fromtimestamp(int(part.text or ""), UTC)).strftime("%Y-%m-%d %H:%M:%S %Z")


def written(text: str) -> str:
    return text.replace("\r", CARRIAGE_RETURN)


def unwritten(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace(CARRIAGE_RETURN, "\r")


def mend_page(request: HttpRequest, page: KeptAdmin[Any], record: QuarantinedRecord) -> HttpResponse:
    """Mend the text of a record and import this one record; what is wrong with it is said on the page."""
    if request.method == "GET" and (refusal := why_not_mended(record)):
        messages.error(request, refusal)
        return HttpResponseRedirect(page_of(record))
    header = quarantine.header_of(record.usage_import)
    text, is_line = editable(record)
    parts, surplus = quarantine.fields_of(header, text) if header else ([], [])
    fits = header is not None and is_line and not surplus and all(part.text is not None for part in parts)
    as_line = "text" in request.POST if request.method == "POST" else not fits or request.GET.get("as") == "line"
    form: LineForm | FieldsForm
    if header is None or as_line:
        form = LineForm(request.POST or None, initial={"text": written(text)})
        if request.method == "POST":
            text = unwritten(request.POST.get("text", ""))
    else:
        form = FieldsForm(request.POST or None, header=header, parts=parts)

    def run(given: dict[str, Any]) -> tuple[str, QuarantinedRecord]:
        if quarantine.is_cut(record):
            raise quarantine.NotMended(why_not_mended(record))
        mended = quarantine.mend(record=record, text=form.mended(), by=signed_in(request), at=timezone.now())
        if mended.accepted:
            return gettext("The record was mended and imported."), record
        return gettext("The record was mended. The books knew already what it says, so nothing changed."), record

    return act_page(
        request,
        admin=page,
        row=record,
        title=_("Mend and import again"),
        facts=[(_("Reason"), gettext(record.reason))],
        form=form,
        button=_("Import this record"),
        run=run,
        refusals=(quarantine.QuarantineError,),
        template="admin/allocations/quarantinedrecord/mend.html",
        more={
            **shown_of(record, text),
            "is_line": is_line,
            "as_line": as_line,
            "may_switch": fits,
            "runs": runs_named(record, text),
        },
    )


def why_not_mended(record: QuarantinedRecord) -> str:
    """Why a record cannot be mended, as a sentence; empty when it can."""
    if quarantine.is_cut(record):
        return gettext(
            "Only the first 10,000 characters were kept, so it cannot be mended here. Find it in the file of the "
            "import, mend it there and import that; then set this one aside."
        )
    if record.state != QuarantinedRecord.State.WAITING:
        return gettext("This record does not wait any more.")
    return ""


def editable(record: QuarantinedRecord) -> tuple[str, bool]:
    """The text to mend, and whether it is the line itself: of some records only the kept file has that."""
    if not quarantine.is_summary(record):
        return record.text, True
    line = looking_up.line_at(record.usage_import, record.line)
    return (line.text, True) if line is not None else ("", False)


def shown_of(record: QuarantinedRecord, text: str) -> dict[str, Any]:
    """What both pages show of a record: the advice, and its text cut into the fields that the first line names."""
    header = quarantine.header_of(record.usage_import)
    is_text = not quarantine.is_summary(record) or text != record.text
    fields, surplus = quarantine.fields_of(header, text) if header and is_text and text else ([], [])
    return {
        "record": record,
        "advice": ADVICE.get(record.reason, ""),
        "is_cut": quarantine.is_cut(record),
        "is_summary": quarantine.is_summary(record),
        "fields": [(field, instant_of(field)) for field in fields],
        "surplus": surplus,
        "needed": NEEDED,
        "delimiter": header.delimiter if header else "",
        "told": told_of(fields, surplus),
    }


def told_of(fields: list[Field], surplus: list[str]) -> str:
    """How the text fits the names, in one sentence."""
    found = sum(field.text is not None for field in fields) + len(surplus)
    if not fields:
        return ""
    numbers = {"named": len(fields), "found": found}
    if numbers["named"] == found:
        return gettext("The first line names %(named)s fields, and the text has as many.") % numbers
    return gettext("The first line names %(named)s fields, but the text has %(found)s.") % numbers


def runs_named(record: QuarantinedRecord, text: str) -> list[tuple[Any, JobRun]]:
    """The known runs that a record of two runs could be, each with what they share."""
    header = quarantine.header_of(record.usage_import)
    if record.reason != merging.TWO_RUNS or header is None or not text:
        return []
    original = record.usage_import
    contents = BytesIO(f"{header.text}\n{text}\n".encode())
    export = open_export(contents, zone=quarantine.zone_of(original), cluster=original.cluster.code)
    row = next((row for row in export if isinstance(row, Record)), None)
    if row is None:
        return []
    shared = Q(db_index=row.db_index) | Q(submit_at=quarantine.instant_of(row.submit))
    known = JobRun.objects.filter(shared, cluster=original.cluster_id, job_id_raw=row.job_id_raw)
    return [
        (_("the same database index") if run.db_index == row.db_index else _("the same submission"), run)
        for run in known[:4]
    ]
