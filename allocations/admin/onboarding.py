"""Bringing in from a spreadsheet: hand files over, see what every line would do, apply it; and out again by CSV."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html_join
from django.utils.http import content_disposition_header
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations.admin.handing_over import hand_over_page
from allocations.admin.line_pages import upload_page
from allocations.models import OnboardingFile, OnboardingStep, OnboardingUpload
from allocations.onboard.applying import LookAgain, apply
from allocations.onboard.preview import UploadError, look
from allocations.onboard.spelling_out import OUT, chunks_of, wrong_lines
from allocations.onboard.withdrawing import withdraw
from centre import audit
from centre.admin.acts import act_page, act_urls, page_of, row_of_act
from centre.admin.choosing import ReasonForm
from centre.admin.confirming import form_key
from centre.admin.kept import HistoryAdmin
from centre.http import signed_in
from centre.templatetags.portal import written_instant

MAY_LOOK: Final = "allocations.view_onboardingupload"
MAY_HAND_OVER: Final = "allocations.add_onboardingupload"
COUNTED: Final = {
    "new": _("%(number)s new"),
    "changed": _("%(number)s changed"),
    "same": _("%(number)s same"),
    "wrong": _("%(number)s wrong"),
}


@admin.register(OnboardingUpload)
class OnboardingUploadAdmin(HistoryAdmin[OnboardingUpload]):
    list_display = ("named", "uploaded_at", "person", "came_to", "applied")
    list_display_links = ("named",)
    list_filter = ("uploaded_at",)
    search_fields = ("files__name", "files__sha256", "uploaded_by__email", "uploaded_by__name")
    search_help_text = _("File name, SHA-256, or who handed it over")
    change_list_template = "admin/allocations/onboarding/list.html"

    @admin.display(description=_("files"), ordering="pk")
    def named(self, obj: OnboardingUpload) -> str:
        return self.heading(obj)

    @admin.display(description=_("uploaded by"), ordering="uploaded_by__name")
    def person(self, obj: OnboardingUpload) -> str:
        return obj.uploaded_by.get_full_name()

    @admin.display(description=_("lines at the last look"))
    def came_to(self, obj: OnboardingUpload) -> Any:
        return format_html_join(
            "", '<span class="upload-count">{}</span>', ((count_line(file),) for file in obj.files.all())
        )

    @admin.display(description=_("applied"))
    def applied(self, obj: OnboardingUpload) -> Any:
        applied = (
            gettext("%(part)s: %(person)s, %(instant)s")
            % {
                "part": step.get_part_display(),
                "person": step.by.get_full_name(),
                "instant": date_format(timezone.localtime(step.at), "SHORT_DATETIME_FORMAT"),
            }
            for step in obj.steps.all()
        )
        said = ((line,) for line in chain(applied, withdrawn(obj)))
        return format_html_join("", '<span class="upload-count">{}</span>', said) or gettext("not applied")

    def get_queryset(self, request: HttpRequest) -> QuerySet[OnboardingUpload]:
        files = Prefetch("files", OnboardingFile.objects.defer("content"))
        steps = Prefetch("steps", OnboardingStep.objects.select_related("by"))
        return (
            super().get_queryset(request).select_related("uploaded_by", "withdrawn_by").prefetch_related(files, steps)
        )

    def heading(self, obj: OnboardingUpload) -> str:
        names = ", ".join(file.name for file in obj.files.all())
        return gettext("Upload %(number)s: %(files)s") % {"number": obj.pk, "files": names}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MAY_HAND_OVER)

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Without “Add” in the index, where the page that hands over has an entry of its own."""
        return {**super().get_model_perms(request), "add": False}

    def get_urls(self) -> list[URLPattern]:
        prefix, guarded = "allocations_onboardingupload", self.admin_site.admin_view
        of_a_kind = (("wrong", self.wrong), ("file", self.file))
        return [
            path("out/<str:kind>/", guarded(self.out), name=f"{prefix}_out"),
            *(
                path(f"<path:object_id>/{word}/<str:kind>/", guarded(view), name=f"{prefix}_{word}")
                for word, view in of_a_kind
            ),
            *act_urls(self, [("apply", self.apply), ("look-again", self.look_again), ("withdraw", self.withdraw)]),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"downloads": downloads_of(request), **(extra_context or {})})

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return hand_over_page(request, self, downloads=downloads_of(request))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        upload: OnboardingUpload = row_of_act(self, request, object_id, MAY_LOOK)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return upload_page(request, self, upload, may_hand_over=request.user.has_perm(MAY_HAND_OVER))

    def apply(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Do what the preview says; where the books have changed, the new preview is shown instead."""
        upload: OnboardingUpload = row_of_act(self, request, object_id, MAY_HAND_OVER)
        if request.method != "POST":
            return HttpResponseRedirect(page_of(upload))
        by, now = signed_in(request), timezone.now()
        try:
            step, _is_new = apply(
                upload=upload, digest=request.POST.get("preview", ""), key=form_key(request), by=by, at=now
            )
            messages.success(request, done(step))
        except LookAgain as changed:
            messages.warning(request, str(changed))
            self.looked_again(request, upload)
        except UploadError as refused:
            messages.error(request, str(refused))
        return HttpResponseRedirect(page_of(upload))

    def look_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Compare the upload with the books as they are now."""
        upload: OnboardingUpload = row_of_act(self, request, object_id, MAY_HAND_OVER)
        if request.method == "POST" and self.looked_again(request, upload):
            messages.success(request, gettext("This is what the lines would do to the books as they are now."))
        return HttpResponseRedirect(page_of(upload))

    def looked_again(self, request: HttpRequest, upload: OnboardingUpload) -> bool:
        try:
            look(upload=upload, by=signed_in(request), at=timezone.now())
        except UploadError as refused:
            messages.error(request, str(refused))
            return False
        return True

    def withdraw(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Nothing more of it can be applied; a colleague's is turned down this way."""
        upload: OnboardingUpload = row_of_act(self, request, object_id, MAY_HAND_OVER)

        def run(given: dict[str, Any]) -> tuple[str, OnboardingUpload]:
            withdraw(upload=upload, reason=given["reason"], by=signed_in(request), at=timezone.now())
            return gettext("The upload was withdrawn. Nothing more of it can be applied."), upload

        return act_page(
            request,
            admin=self,
            row=upload,
            title=_("Withdraw the upload"),
            explanation=_(
                "What is not in the books yet can then no longer be applied, by anybody. What was applied stays, and "
                "the files are kept. Mended files are handed over as a new upload."
            ),
            facts=[
                (_("Handed over by"), f"{upload.uploaded_by.get_full_name()}, {written_instant(upload.uploaded_at)}"),
                *((_("Lines at the last look"), count_line(file)) for file in upload.files.all()),
            ],
            form=ReasonForm(request.POST or None),
            button=_("Withdraw"),
            danger=True,
            run=run,
            refusals=(UploadError,),
        )

    def wrong(self, request: HttpRequest, object_id: str, kind: str) -> HttpResponseBase:
        """The lines that could not be taken, each with its problem, to be mended and handed over again."""
        file = self.file_of(request, object_id, kind)
        return self.sent(request, file, wrong_lines(file), f"wrong-lines-of-{file.kind}.csv")

    def file(self, request: HttpRequest, object_id: str, kind: str) -> HttpResponseBase:
        """A file as it was handed over."""
        file = self.file_of(request, object_id, kind)
        return self.sent(request, file, iter([bytes(file.content)]), file.name)

    def file_of(self, request: HttpRequest, object_id: str, kind: str) -> OnboardingFile:
        upload: OnboardingUpload = row_of_act(self, request, object_id, MAY_LOOK)
        file = OnboardingFile.objects.filter(upload=upload, kind=kind).first()
        if file is None:
            raise Http404
        return file

    def sent(self, request: HttpRequest, file: OnboardingFile, chunks: Iterator[bytes], name: str) -> HttpResponseBase:
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if request.method == "GET":
            audit.record(
                act="take_upload_file",
                on=file.upload,
                by=signed_in(request),
                at=timezone.now(),
                changes={"files": name},
            )
        return as_download(chunks, name)

    def out(self, request: HttpRequest, kind: str) -> HttpResponseBase:
        """What the books hold of one kind, in the columns of the upload."""
        if kind not in OUT:
            raise Http404
        if not request.user.has_perm(MAY_LOOK) or not request.user.has_perm(OUT[kind][2]):
            raise PermissionDenied
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return as_download(chunks_of(kind, signed_in(request)), f"{kind}.csv")


def downloads_of(request: HttpRequest) -> list[tuple[str, str]]:
    """The files that this person may take out: (name, address)."""
    return [
        (f"{kind}.csv", reverse("admin:allocations_onboardingupload_out", args=[kind]))
        for kind, (_columns, _rows, permission) in OUT.items()
        if request.user.has_perm(permission)
    ]


def as_download(chunks: Iterator[bytes], name: str) -> StreamingHttpResponse:
    first = next(chunks)  # a query that fails does so here, as an error page and not as a file cut short
    response = StreamingHttpResponse(chain([first], chunks), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["Cache-Control"] = "private, no-store"
    return response


def count_line(file: OnboardingFile) -> str:
    """“members.csv: 12 new, 3 wrong”: what there is of, in the order of the page."""
    said = ", ".join(
        str(words) % {"number": f"{number:,}"} for name, words in COUNTED.items() if (number := getattr(file, name))
    )
    return f"{file.name}: {said}"


def withdrawn(upload: OnboardingUpload) -> Iterator[str]:
    """“Withdrawn: Ada, 2026-11-20 10:00”, where it was."""
    if upload.withdrawn_by is not None and upload.withdrawn_at is not None:
        yield gettext("Withdrawn: %(person)s, %(instant)s") % {
            "person": upload.withdrawn_by.get_full_name(),
            "instant": date_format(timezone.localtime(upload.withdrawn_at), "SHORT_DATETIME_FORMAT"),
        }


def done(step: OnboardingStep) -> str:
    """What was applied, as a sentence."""
    said = ngettext(
        "Applied: %(new)s new, %(changed)s changed.", "Applied: %(new)s new, %(changed)s changed.", step.new
    ) % {"new": f"{step.new:,}", "changed": f"{step.changed:,}"}
    if step.left_out:
        left = ngettext(
            "%(number)s wrong line was left out; download it below, mend it and hand it over again.",
            "%(number)s wrong lines were left out; download them below, mend them and hand them over again.",
            step.left_out,
        )
        said += " " + left % {"number": f"{step.left_out:,}"}
    return said
