"""The page of an upload: what its lines would do, and the button that does it."""

from dataclasses import dataclass
from typing import Any, Final

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from allocations.ledger_pages import Turning
from allocations.models import OnboardingFile, OnboardingLine, OnboardingUpload
from allocations.onboard.applying import standing_of
from allocations.onboard.withdrawing import is_left
from centre.admin.confirming import form_key
from centre.admin.kept import HistoryAdmin
from centre.http import signed_in

LINES_PER_PAGE: Final = 100
Verdict = OnboardingLine.Verdict
TONES: Final = {Verdict.NEW: "ok", Verdict.CHANGED: "info", Verdict.SAME: "quiet", Verdict.WRONG: "bad"}


@dataclass(frozen=True)
class Choice:
    """A way to narrow the list of lines."""

    text: str | Promise
    url: str
    count: int
    is_chosen: bool


def upload_page(
    request: HttpRequest, page: HistoryAdmin[OnboardingUpload], upload: OnboardingUpload, *, may_hand_over: bool
) -> HttpResponse:
    """Every line with what it would do, a page at a time, narrowed to a file and a verdict."""
    files = list(upload.files.all())
    kind = request.GET.get("file", "") if request.GET.get("file", "") in {file.kind for file in files} else ""
    verdict = request.GET.get("show", "") if request.GET.get("show", "") in Verdict.values else ""
    of_kind = [file for file in files if not kind or file.kind == kind]
    lines = OnboardingLine.objects.filter(file__in=[file.pk for file in of_kind])
    paginator = Counted(
        (lines.filter(verdict=verdict) if verdict else lines).order_by("file", "number"),
        LINES_PER_PAGE,
        counted=sum(counted(file, verdict) for file in of_kind),
    )
    shown = paginator.get_page(request.GET.get("page"))
    named = {file.pk: file for file in files}
    context = {
        **page.admin_site.each_context(request),
        "title": page.heading(upload),
        "opts": page.opts,
        "upload": upload,
        "files": files,
        "lines": [(line, named[line.file_id], TONES[Verdict(line.verdict)]) for line in shown.object_list],
        "turning": Turning(shown, paginator, title=_("Lines")),
        "verdicts": verdicts(of_kind, kind, verdict),
        "of_files": of_files(files, kind, verdict),
        "is_narrowed": bool(kind or verdict),
        "standing": standing_of(upload, files, signed_in(request)),
        "steps": list(upload.steps.all()),
        "may_hand_over": may_hand_over,
        "may_act": may_hand_over and upload.withdrawn_at is None,
        "is_left": is_left(files),
        "key": form_key(request),
        "now": timezone.now(),
    }
    request.current_app = page.admin_site.name  # read by the {% url %} tag
    return TemplateResponse(request, "admin/allocations/onboarding/upload.html", context)


class Counted(Paginator[OnboardingLine]):
    """Pages of lines whose number is known."""

    def __init__(self, lines: QuerySet[OnboardingLine], per_page: int, *, counted: int) -> None:
        super().__init__(lines, per_page)
        self.count = counted


def counted(file: OnboardingFile, verdict: str) -> int:
    """How many lines of a file came to this; without a verdict, all."""
    return sum(int(getattr(file, each)) for each in Verdict.values if not verdict or each == verdict)


def verdicts(files: list[OnboardingFile], kind: str, chosen: str) -> list[Choice]:
    """All lines, and those of each verdict."""
    named: list[tuple[str, Any]] = [("", _("All lines")), *Verdict.choices]
    return [
        Choice(text, address(kind, value), sum(counted(file, value) for file in files), value == chosen)
        for value, text in named
    ]


def of_files(files: list[OnboardingFile], chosen: str, verdict: str) -> list[Choice]:
    """All files, and each; nothing to choose from where there is one."""
    if len(files) < 2:
        return []
    everything = Choice(_("All files"), address("", verdict), sum(counted(file, "") for file in files), not chosen)
    return [
        everything,
        *(Choice(file.name, address(file.kind, verdict), counted(file, ""), file.kind == chosen) for file in files),
    ]


def address(kind: str, verdict: str) -> str:
    return "?" + urlencode({name: value for name, value in (("file", kind), ("show", verdict)) if value})
