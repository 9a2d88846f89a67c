"""The page on which a person chooses their letters about GPU time, and reads the record of all that were sent."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

import django_tables2
from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from allocations import notices as letters
from allocations.models import Notice, NoticeOptOut
from centre import members
from centre.http import signed_in
from centre.models import Letter, Project, User
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
        required=False,
        label=_("Write to me"),
        choices=LETTERS,
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "invalid_choice": _("Tick the letters that you want from those listed here."),
            "invalid_list": _("Tick the letters that you want from those listed here."),
        },
    )


class LanguageForm(forms.Form):
    """In which language a person reads their letters; each language is called by its own name, so that it is found."""

    language = forms.ChoiceField(
        label=_("Write to me in"),
        choices=(
            (User.Language.ENGLISH, "English"),
            (User.Language.TRADITIONAL_CHINESE, "繁體中文"),
            (User.Language.SIMPLIFIED_CHINESE, "简体中文"),
        ),
        error_messages={
            "required": _("Choose one of the languages."),
            "invalid_choice": _("Choose one of the languages."),
        },
    )


class LettersTable(Table):
    """Every letter that left for a person, the latest first; below its subject what one about GPU-hours told.

    A project is linked while the person may see it.
    """

    title = _("Letters sent to you")
    sent = InstantColumn(accessor="sent_at", verbose_name=_("Sent"))
    subject = django_tables2.Column(verbose_name=_("Letter"))

    class Meta:
        orderable = False

    def __init__(self, rows: QuerySet[Letter]) -> None:
        super().__init__(rows)
        self.told: dict[datetime, list[Notice]] = {}

    def render_subject(self, record: Letter) -> SafeString:
        told = ((notice.about, notice.allocation.reference, project_of(notice)) for notice in self.notices_of(record))
        lines = format_html_join("", "<li>{} · <bdi>{}</bdi> · {}</li>", told)
        return format_html("<bdi>{}</bdi>{}", record.subject, format_html("<ul>{}</ul>", lines) if lines else "")

    def notices_of(self, letter: Letter) -> list[Notice]:
        """What was told at the instant at which the letter left."""
        return self.told.get(letter.sent_at, [])


def project_of(notice: Notice) -> SafeString:
    """The project that a notice is about."""
    project = notice.allocation.project
    if not notice.may_open:
        return format_html('<span class="mono">{}</span>', project.code)
    return format_html('<a class="mono" href="{}">{}</a>', project.get_absolute_url(), project.code)


def told_in(letters: Iterable[Letter], user: User) -> dict[datetime, list[Notice]]:
    """What letters about GPU-hours told this person, by the instant at which they left; one query."""
    sent = Notice.objects.filter(user=user, sent_at__in={letter.sent_at for letter in letters}).named_in_letters()
    found: defaultdict[datetime, list[Notice]] = defaultdict(list)
    for notice in (
        sent.told_to_reader_of(Project.objects.visible_to(user)).select_related("allocation__project").order_by("-pk")
    ):
        if notice.sent_at is not None:
            found[notice.sent_at].append(notice)
    return dict(found)


@require_http_methods(["GET", "HEAD", "POST"])
def notices(request: HttpRequest) -> HttpResponse:
    """Which letters this person gets, and the record of those that were sent to them."""
    user = signed_in(request)
    chosen_language = LanguageForm(initial={"language": user.language})
    if request.method == "POST" and "language" in request.POST:
        chosen_language = LanguageForm(request.POST)
        if chosen_language.is_valid():
            members.choose_language(user=user, language=chosen_language.cleaned_data["language"], at=timezone.now())
            messages.success(request, gettext("Saved. Your letters are written in this language from now on."))
            return redirect("notices")
    if request.method == "POST" and "language" not in request.POST:
        form = LettersForm(request.POST)
        if form.is_valid():
            letters.choose_letters(user=user, wanted=form.cleaned_data["wanted"], at=timezone.now())
            messages.success(request, gettext("Saved. It counts from tonight’s letters on."))
            return redirect("notices")
    else:
        declined = set(NoticeOptOut.objects.filter(user=user).values_list("kind", flat=True))
        form = LettersForm(initial={"wanted": [kind for kind in Notice.CAN_BE_DECLINED if kind not in declined]})
    table = LettersTable(Letter.objects.filter(user=user).order_by("-sent_at", "-pk"))
    show_page(table, request, rows=LETTERS_PER_PAGE)
    table.told = told_in((row.record for row in table.paginated_rows), user)
    return render(
        request, "notices/notices.html", {"section": "", "form": form, "language": chosen_language, "table": table}
    )
