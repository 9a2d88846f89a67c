"""Records that could not be read: what they are, why, and what an officer can do: mend them or set them aside."""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import truncatechars
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations import charging, merging
from allocations.importing import looking_up, quarantine
from allocations.importing.quarantine import Field
from allocations.models import JobRun, QuarantinedRecord
from allocations.slurm import instants, records
from allocations.slurm.header import NEEDED, Header
from allocations.slurm.sacct import Record, open_export
from allocations.templatetags.imports import visible
from centre.admin.acts import act_page, act_urls, page_of, row_of_act
from centre.admin.choosing import ReasonForm
from centre.admin.kept import ActLink, CappedPaginator, HistoryAdmin
from centre.http import signed_in
from centre.templatetags.portal import grouped

MAY_IMPORT: Final = "allocations.import_usage"
SHOWN_IN_LIST: Final = 60
CARRIAGE_RETURN: Final = "␍"

State = QuarantinedRecord.State

REASONS: Final = (
    *(records.TOO_FEW_FIELDS, records.TOO_MANY_FIELDS, records.CUT_SHORT, records.OTHER_EXPORT, records.OTHER_CLUSTER),
    *(records.BAD_CHARACTERS, records.BAD_JOB_ID, records.BAD_DB_INDEX, records.NO_SUBMIT, records.NO_ACCOUNT),
    *(records.NO_STATE, records.TOO_LONG, records.ENDS_BEFORE_START, instants.BAD_TIME, instants.ABSURD_TIME),
    *(charging.GPUS_NOT_A_NUMBER, charging.GPUS_NEGATIVE, charging.GPUS_TOO_MANY, charging.GPUS_NAMED_TWICE),
    *(charging.GPUS_WITHOUT_TYPE, charging.GPUS_EXCEED_TOTAL, merging.TWO_RUNS),
)
"""Every reason for which a record is not imported, an English sentence of the catalogue each."""

ADVICE: Final[Mapping[str, str | Promise]] = MappingProxyType(
    {
        records.CUT_SHORT: _(
            "The file broke off. A newer export of the same days tells the record whole, and then this one can be set "
            "aside; or complete it from “sacct -j”."
        ),
        records.OTHER_EXPORT: _(
            "Two exports stand in one file. Take them apart and import the second as a file of its own; then set this "
            "one aside."
        ),
        records.OTHER_CLUSTER: _(
            "Import it for the cluster that it names, and set it aside here. Do not write another cluster into it."
        ),
        records.TOO_FEW_FIELDS: _("See below which fields it has. If it is the rest of a longer text, set it aside."),
        records.TOO_MANY_FIELDS: _(
            "See below where it goes wrong: a text in it may hold the delimiter. If it could be forged, set it aside."
        ),
        records.ENDS_BEFORE_START: _("Ask Slurm for the true times (“sacct -j”) and write them in."),
        merging.TWO_RUNS: _(
            "Two runs are known that it could be: one has its database index, the other its number and submission. If "
            "its database index is wrong, take that field’s text out: it is then read as the run of its number and "
            "submission. If you cannot tell, set it aside: the next export of the run tells it again."
        ),
    }
)
"""What an officer can do about a reason, where the reason does not say it."""


class StateFilter(admin.SimpleListFilter):
    """What waits, unless something else is asked for."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [("all", _("All")), (State.MENDED, State.MENDED.label), (State.SET_ASIDE, State.SET_ASIDE.label)]

    def choices(self, changelist: Any) -> Any:
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": State.WAITING.label,
        }
        for value, label in self.lookup_choices:
            yield {
                "selected": self.value() == str(value),
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": label,
            }

    def queryset(self, request: Any, queryset: QuerySet[QuarantinedRecord]) -> QuerySet[QuarantinedRecord]:
        value = self.value()
        return queryset if value == "all" else queryset.filter(state=value or State.WAITING)


class ReasonFilter(admin.SimpleListFilter):
    title = _("reason")
    parameter_name = "why"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, Any]]:
        return [(str(number), gettext(reason)) for number, reason in enumerate(REASONS)]

    def queryset(self, request: Any, queryset: QuerySet[QuarantinedRecord]) -> QuerySet[QuarantinedRecord]:
        number = dict(enumerate(REASONS)).get(int(self.value() or -1)) if (self.value() or "").isdecimal() else None
        return queryset.filter(reason=number) if number is not None else queryset


class MendForm(forms.Form):
    """The text of a record. A carriage return, which a browser would lose, stands as a sign of its own."""

    text = forms.CharField(
        label=_("Text of the line"),
        strip=False,
        max_length=quarantine.LONGEST_TEXT,
        widget=forms.Textarea(attrs={"rows": 7, "cols": 90, "class": "line-text", "spellcheck": "false"}),
    )

    def clean_text(self) -> str:
        return unwritten(self.cleaned_data["text"])


def written(text: str) -> str:
    return text.replace("\r", CARRIAGE_RETURN)


def unwritten(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace(CARRIAGE_RETURN, "\r")


@admin.register(QuarantinedRecord)
class QuarantinedRecordAdmin(HistoryAdmin[QuarantinedRecord]):
    list_display = ("line", "file", "why", "beginning", "state")
    list_select_related = ("usage_import",)
    list_filter = (StateFilter, ReasonFilter)
    search_fields = ("usage_import__file_name",)
    search_help_text = _("By the name of the imported file.")
    ordering = ("-id",)
    paginator = CappedPaginator
    actions = ("set_chosen_aside",)
    fields = ("state",)

    def heading(self, obj: QuarantinedRecord) -> str:
        where = {"line": grouped(obj.line, 0), "file": obj.usage_import.file_name}
        return gettext("Line %(line)s of %(file)s") % where

    def get_queryset(self, request: HttpRequest) -> QuerySet[QuarantinedRecord]:
        related = ("usage_import__cluster", "resolved_by", "mended_in")
        return super().get_queryset(request).select_related(*related)

    def lookup_allowed(self, lookup: str, value: str, request: Any = None) -> bool:
        """The page of an import leads to its records."""
        return lookup == "usage_import" or super().lookup_allowed(lookup, value, request)

    @admin.display(description=_("reason"))
    def why(self, obj: QuarantinedRecord) -> str:
        """Reasons are kept in English and told in the reader's language."""
        return gettext(obj.reason)

    @admin.display(description=_("file"))
    def file(self, obj: QuarantinedRecord) -> SafeString:
        return format_html('<a href="{}">{}</a>', page_of(obj.usage_import), obj.usage_import.file_name)

    @admin.display(description=_("text"))
    def beginning(self, obj: QuarantinedRecord) -> SafeString:
        return format_html('<code class="line-begin">{}</code>', visible(truncatechars(obj.text, SHOWN_IN_LIST)))

    def has_import_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_IMPORT)

    def acts(self, request: HttpRequest, obj: QuarantinedRecord) -> list[ActLink]:
        if obj.state != State.WAITING or not self.has_import_permission(request):
            return []
        mend = [] if quarantine.is_cut(obj) else [ActLink(_("Mend and import again"), "../mend/")]
        return [*mend, ActLink(_("Set aside"), "../set-aside/")]

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("mend", self.mend), ("set-aside", self.set_aside)]), *super().get_urls()]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any) -> Any:
        record: QuarantinedRecord = options["obj"]
        context |= {"record": record, "import_url": page_of(record.usage_import), "why": self.why(record)}
        context |= shown_of(record, record.text)
        return super().render_change_form(request, context, *args, **options)

    def mend(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Mend the text of a record and import this one record."""
        record: QuarantinedRecord = row_of_act(self, request, object_id, MAY_IMPORT)
        if request.method == "GET" and (refusal := why_not_mended(record)):
            self.message_user(request, refusal, messages.ERROR)
            return HttpResponseRedirect(page_of(record))
        text, is_line = editable(record) if request.method == "GET" else ("", True)
        form = MendForm(request.POST or None, initial={"text": written(text)})

        def run(given: dict[str, Any]) -> tuple[str, QuarantinedRecord]:
            if refused := why_not_mended(record):
                raise quarantine.NotMended(refused)
            usage_import = quarantine.mend(record=record, text=given["text"], by=signed_in(request), at=timezone.now())
            if usage_import.accepted:
                return gettext("The record was mended and imported."), record
            return gettext("The record was mended. The books knew already what it says, so nothing changed."), record

        given = unwritten(request.POST.get("text", "")) if request.method == "POST" else text
        return act_page(
            request,
            admin=self,
            row=record,
            title=_("Mend and import again"),
            facts=[(_("Reason"), gettext(record.reason))],
            form=form,
            button=_("Import this record"),
            run=run,
            refusals=(quarantine.QuarantineError,),
            template="admin/allocations/quarantinedrecord/mend.html",
            more={"record": record, "is_line": is_line, **shown_of(record, given), "runs": runs_named(record, given)},
        )

    def set_aside(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Leave one record out of the books for good."""
        record: QuarantinedRecord = row_of_act(self, request, object_id, MAY_IMPORT)

        def run(given: dict[str, Any]) -> tuple[str, QuarantinedRecord]:
            quarantine.set_aside(record=record, reason=given["reason"], by=signed_in(request), at=timezone.now())
            return gettext("The record was set aside."), record

        return act_page(
            request,
            admin=self,
            row=record,
            title=_("Set aside"),
            explanation=_("It stays in the list with your reason, and never enters the books."),
            facts=[(_("Reason"), gettext(record.reason)), (_("Text"), visible(truncatechars(record.text, 500)))],
            form=ReasonForm(request.POST or None),
            button=_("Set aside"),
            run=run,
            refusals=(quarantine.QuarantineError,),
        )

    @admin.action(description=_("Set the chosen records aside"), permissions=["import"])
    def set_chosen_aside(self, request: HttpRequest, queryset: QuerySet[QuarantinedRecord]) -> HttpResponse | None:
        """Those of the chosen records that wait, all with one reason; the page before asks for it."""
        is_sent = "confirmed" in request.POST
        form = ReasonForm(request.POST if is_sent else None)
        waiting = queryset.filter(state=State.WAITING)
        if is_sent and form.is_valid():
            number = quarantine.set_aside_all(
                records=waiting, reason=form.cleaned_data["reason"], by=signed_in(request), at=timezone.now()
            )
            told = ngettext("%(number)s record was set aside.", "%(number)s records were set aside.", number)
            self.message_user(request, told % {"number": grouped(number, 0)}, messages.SUCCESS)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": _("Set the chosen records aside"),
            "opts": self.opts,
            "form": form,
            "button": _("Set aside"),
            "media": self.media + form.media,
            "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "across": request.POST.get("select_across", "0"),
            "number": waiting.count(),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/allocations/quarantinedrecord/set_aside.html", context)


def why_not_mended(record: QuarantinedRecord) -> str:
    """Why a record cannot be mended, as a sentence; empty when it can."""
    if quarantine.is_cut(record):
        return gettext(
            "Only the first 10,000 characters were kept, so it cannot be mended here. Find it in the file of the "
            "import, mend it there and import that; then set this one aside."
        )
    if record.state != State.WAITING:
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
        "advice": ADVICE.get(record.reason, ""),
        "is_cut": quarantine.is_cut(record),
        "is_summary": quarantine.is_summary(record),
        "fields": fields,
        "surplus": surplus,
        "needed": NEEDED,
        "delimiter": header.delimiter if header else "",
        "told": told_of(header, fields, surplus),
    }


def told_of(header: Header | None, fields: list[Field], surplus: list[str]) -> str:
    """How the text fits the names, in one sentence."""
    if header is None or not fields:
        return ""
    numbers = {
        "named": len(fields),
        "found": sum(field.text is not None for field in fields) + len(surplus),
    }
    if numbers["named"] == numbers["found"]:
        return gettext("The first line names %(named)s fields, and the text has as many.") % numbers
    return gettext("The first line names %(named)s fields, but the text has %(found)s.") % numbers


def runs_named(record: QuarantinedRecord, text: str) -> list[tuple[Any, JobRun]]:
    """The known runs that a record of two runs could be, each with what they share."""
    header = quarantine.header_of(record.usage_import)
    if not quarantine.is_summary(record) or header is None or not text:
        return []
    contents = BytesIO(f"{header.text}\n{text}\n".encode())
    original = record.usage_import
    export = open_export(contents, zone=quarantine.zone_of(original), cluster=original.cluster.code)
    row = next((row for row in export if isinstance(row, Record)), None)
    if row is None:
        return []
    submitted = quarantine.instant_of(row.submit)
    by_index, by_submission = Q(db_index=row.db_index), Q(submit_at=submitted)
    known = JobRun.objects.filter(by_index | by_submission, cluster=original.cluster_id, job_id_raw=row.job_id_raw)
    return [
        (_("the same database index") if run.db_index == row.db_index else _("the same submission"), run)
        for run in known[:4]
    ]
