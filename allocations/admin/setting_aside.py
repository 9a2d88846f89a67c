"""Setting many quarantined records of an import aside at once: those of one reason, or all that wait."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations.importing import quarantine
from allocations.models import QuarantinedRecord, UsageImport
from centre.admin.acts import act_page
from centre.admin.confirming import Confirmation, Effect
from centre.admin.kept import KeptAdmin
from centre.http import signed_in
from centre.templatetags.portal import grouped

State = QuarantinedRecord.State


@dataclass(frozen=True)
class Group:
    """The quarantined records of an import that have one reason, counted by what became of them."""

    reason: str
    waiting: int
    mended: int
    set_aside: int

    @property
    def shown(self) -> str:
        """The reason in the reader's language."""
        return gettext(self.reason)


def groups_of(usage_import: UsageImport) -> list[Group]:
    """The quarantined records of an import by their reason, the most frequent first; one query."""
    counted = (
        QuarantinedRecord.objects.filter(usage_import=usage_import)
        .order_by()
        .values("reason")
        .annotate(
            waiting=Count("pk", filter=Q(state=State.WAITING)),
            mended=Count("pk", filter=Q(state=State.MENDED)),
            set_aside=Count("pk", filter=Q(state=State.SET_ASIDE)),
        )
    )
    return [Group(**row) for row in counted.order_by("-waiting", "reason")]


class SetAsideForm(forms.Form):
    """Which of the waiting records of an import, and why."""

    which = forms.ChoiceField(label=_("Which records"), required=False)
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "class": "vLargeTextField"}),
        help_text=_("Why they are no usage. The auditor reads this."),
    )

    def __init__(self, *args: Any, groups: list[Group], **options: Any) -> None:
        super().__init__(*args, **options)
        waiting = [(group.reason, f"{group.shown} ({grouped(group.waiting, 0)})") for group in groups]
        everything = gettext("All that wait (%(number)s)") % {
            "number": grouped(sum(group.waiting for group in groups), 0)
        }
        self.fields["which"].choices = [("", everything), *waiting]  # type: ignore[attr-defined]  # a choice field


def set_aside_page(request: HttpRequest, page: KeptAdmin[Any], usage_import: UsageImport) -> HttpResponse:
    """Set all waiting records of an import aside that have one reason, or all of them."""
    groups = [group for group in groups_of(usage_import) if group.waiting]
    waiting = sum(group.waiting for group in groups)
    counts = {group.reason: group.waiting for group in groups}
    form = SetAsideForm(request.POST or None, groups=groups, initial={"which": request.GET.get("reason", "")})

    def chosen(given: dict[str, Any]) -> QuerySet[QuarantinedRecord]:
        records = QuarantinedRecord.objects.filter(usage_import=usage_import)
        return records.filter(reason=given["which"]) if given["which"] else records

    def confirm(given: dict[str, Any]) -> Confirmation:
        number = counts.get(given["which"], 0) if given["which"] else waiting
        headline = ngettext("Set %(number)s record aside", "Set %(number)s records aside", number)
        return Confirmation(
            effects=[Effect(_("Waiting"), grouped(waiting, 0), grouped(waiting - number, 0))],
            headline=headline % {"number": grouped(number, 0)},
            note=_("They stay in the list with your reason, and never enter the books."),
            button=_("Set aside"),
        )

    def run(given: dict[str, Any]) -> tuple[str, UsageImport]:
        number = quarantine.set_aside_all(
            records=chosen(given), reason=given["reason"], by=signed_in(request), at=timezone.now()
        )
        told = ngettext("%(number)s record was set aside.", "%(number)s records were set aside.", number)
        return told % {"number": grouped(number, 0)}, usage_import

    return act_page(
        request,
        admin=page,
        row=usage_import,
        title=_("Set waiting records aside"),
        form=form,
        button=_("Continue"),
        run=run,
        confirm=confirm,
        refusals=(quarantine.QuarantineError,),
    )
