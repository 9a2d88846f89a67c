"""The page on which a person chooses their letters about GPU time and reads which they were sent."""

from typing import Any

import django_tables2
from django import forms
from django.contrib import messages
from django.db.models import Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from allocations import notices as letters
from allocations.models import Notice, NoticeOptOut
from centre.http import signed_in
from centre.models import Project
from centre.tables import InstantColumn, Table, show_page

LETTERS_PER_PAGE = 25
LETTERS = (
    (
        Notice.Kind.USED_SHARE,
        # xgettext:no-python-format
        _("When 75, 90 and 100 % of an allocation’s GPU-hours are used: in time to plan, or to ask for more."),
    ),
    (
        Notice.Kind.DAYS_LEFT,
        _("When 30, 14 and 7 days of an allocation’s period are left: in time to use the rest, or to ask for longer."),
    ),
)


class LettersForm(forms.Form):
    """Which of the letters that can be declined a person wants."""

    wanted = forms.MultipleChoiceField(
        required=False, label=_("Write to me"), choices=LETTERS, widget=forms.CheckboxSelectMultiple
    )


class LettersTable(Table):
    """What letters told a person, the latest first. The project's page is linked while they may see it."""

    title = _("Letters sent to you")
    sent = InstantColumn(accessor="sent_at", verbose_name=_("Sent"))
    about = django_tables2.Column(verbose_name=_("About"))
    allocation = django_tables2.Column(accessor="allocation__reference", verbose_name=_("Allocation"))
    project = django_tables2.Column(accessor="allocation__project__code", verbose_name=_("Project"))

    class Meta:
        orderable = False

    def render_project(self, record: Any) -> str | SafeString:
        project = record.allocation.project
        if not record.may_open:
            return str(project.code)
        return format_html('<a class="mono" href="{}">{}</a>', project.get_absolute_url(), project.code)


@require_http_methods(["GET", "HEAD", "POST"])
def notices(request: HttpRequest) -> HttpResponse:
    """Which letters this person gets, and the record of those that were sent to them."""
    user = signed_in(request)
    if request.method == "POST":
        form = LettersForm(request.POST)
        if form.is_valid():
            letters.choose_letters(user=user, wanted=form.cleaned_data["wanted"], at=timezone.now())
            messages.success(request, gettext("Saved. It counts from tonight’s letters on."))
            return redirect("notices")
    else:
        declined = set(NoticeOptOut.objects.filter(user=user).values_list("kind", flat=True))
        form = LettersForm(initial={"wanted": [kind for kind in Notice.CAN_BE_DECLINED if kind not in declined]})
    opens = Project.objects.visible_to(user).filter(pk=OuterRef("allocation__project"))
    sent = Notice.objects.filter(user=user).named_in_letters().annotate(may_open=Exists(opens))
    table = LettersTable(sent.select_related("allocation__project").order_by("-sent_at", "-pk"))
    show_page(table, request, rows=LETTERS_PER_PAGE)
    return render(request, "notices/notices.html", {"section": "", "form": form, "table": table})
