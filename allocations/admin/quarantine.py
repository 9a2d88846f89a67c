"""Records that could not be read: what they are, why, and what an officer can do: mend them or set them aside."""

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import truncatechars
from django.template.response import TemplateResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations.admin.mending import mend_page, shown_of
from allocations.admin.quarantine_words import REASONS
from allocations.importing import quarantine
from allocations.models import QuarantinedRecord
from allocations.templatetags.imports import visible
from centre.admin.acts import act_page, act_urls, page_of, row_of_act
from centre.admin.choosing import ReasonForm
from centre.admin.kept import ActLink, HistoryAdmin
from centre.http import signed_in
from centre.templatetags.portal import grouped

MAY_IMPORT: Final = "allocations.import_usage"
SHOWN_IN_LIST: Final = 60
CARRIAGE_RETURN: Final = "␍"

State = QuarantinedRecord.State


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


@admin.register(QuarantinedRecord)
class QuarantinedRecordAdmin(HistoryAdmin[QuarantinedRecord]):
    list_display = ("line", "file", "why", "beginning", "state")
    list_select_related = ("usage_import",)
    list_filter = (StateFilter, ReasonFilter)
    search_fields = ("usage_import__file_name",)
    search_help_text = _("By the name of the imported file.")
    ordering = ("-id",)
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
        return mend_page(request, self, row_of_act(self, request, object_id, MAY_IMPORT))

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
