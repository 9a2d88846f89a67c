"""Spreadsheets that officers hand over: the files, what each of their lines would do, and who applied them.

An upload keeps its files as they were received. Its lines are what the last look at the books made of them; they are
written anew at each look and are no history. What was applied, by whom and when, is: an `OnboardingStep` for each time.
What was not applied can be withdrawn, so that it waits for nobody.
"""

from typing import Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre.models import User


class OnboardingUploadQuerySet(models.QuerySet["OnboardingUpload"]):
    def standing(self) -> Self:
        """Not withdrawn."""
        return self.filter(withdrawn_at__isnull=True)


class OnboardingUpload(models.Model):
    """One to four files that were handed over together."""

    uploaded_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("uploaded by"))
    uploaded_at = models.DateTimeField(_("uploaded at"))
    key = models.CharField(_("key of the form"), max_length=64, unique=True)
    looked_at = models.DateTimeField(_("compared with the books at"))
    digest = models.CharField(
        _("SHA-256 of the preview"), max_length=64, help_text=_("Of what every line would do; applying names it.")
    )
    opening_seconds = models.BigIntegerField(
        _("opening balances that are new (GPU-seconds)"), default=0, help_text=_("Of all new lines together.")
    )
    withdrawn_at = models.DateTimeField(
        _("withdrawn at"), null=True, blank=True, help_text=_("From then on nothing more of it can be applied.")
    )
    withdrawn_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("withdrawn by")
    )

    objects = OnboardingUploadQuerySet.as_manager()

    class Meta:
        verbose_name = _("spreadsheet upload")
        verbose_name_plural = _("spreadsheet uploads")
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="a_withdrawn_upload_says_by_whom",
                condition=Q(withdrawn_at__isnull=True, withdrawn_by__isnull=True)
                | Q(withdrawn_at__isnull=False, withdrawn_by__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return gettext("Upload %(number)s") % {"number": self.pk}


class OnboardingFile(models.Model):
    """A file of an upload, as it was received, and what its lines came to at the last look."""

    class Kind(models.TextChoices):
        TENANTS = "tenants", _("Tenants")
        PROJECTS = "projects", _("Projects")
        MEMBERS = "members", _("Members")
        ALLOCATIONS = "allocations", _("Allocations")

    upload = models.ForeignKey(
        OnboardingUpload, on_delete=models.PROTECT, related_name="files", verbose_name=_("upload")
    )
    kind = models.CharField(_("holds"), max_length=12, choices=Kind.choices)
    name = models.CharField(_("file"), max_length=200)
    sha256 = models.CharField(_("SHA-256 of the file"), max_length=64)
    size_bytes = models.BigIntegerField(_("size (bytes)"))
    content = models.BinaryField(_("content"))
    unused = models.JSONField(_("columns that are not used"), default=list)
    new = models.PositiveIntegerField(_("new"), default=0)
    changed = models.PositiveIntegerField(_("changed"), default=0)
    same = models.PositiveIntegerField(_("same"), default=0)
    wrong = models.PositiveIntegerField(_("wrong"), default=0)

    class Meta:
        verbose_name = _("file of an upload")
        verbose_name_plural = _("files of an upload")
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=("upload", "kind"), name="an_upload_has_one_file_of_a_kind"),
            models.CheckConstraint(
                name="onboarding_file_kind_is_known",
                condition=Q(kind__in=("tenants", "projects", "members", "allocations")),
            ),
        )

    def __str__(self) -> str:
        return self.name


class OnboardingLine(models.Model):
    """What one line of a file would do to the books as they stood at the last look."""

    class Verdict(models.TextChoices):
        NEW = "new", _("New")
        CHANGED = "changed", _("Changed")
        SAME = "same", _("Same")
        WRONG = "wrong", _("Wrong")

    file = models.ForeignKey(OnboardingFile, on_delete=models.PROTECT, related_name="lines", verbose_name=_("file"))
    number = models.PositiveIntegerField(_("line"))
    what = models.TextField(_("what it is"))
    verdict = models.CharField(_("verdict"), max_length=8, choices=Verdict.choices)
    changes = models.JSONField(_("changes"), default=list, help_text=_("[column, what stands, what the line says]"))
    problem = models.TextField(_("problem"), blank=True)

    class Meta:
        verbose_name = _("line of an upload")
        verbose_name_plural = _("lines of an upload")
        ordering = ("file", "number")
        constraints = (
            models.UniqueConstraint(fields=("file", "number"), name="an_uploaded_line_is_judged_once"),
            models.CheckConstraint(
                name="onboarding_verdict_is_known", condition=Q(verdict__in=("new", "changed", "same", "wrong"))
            ),
            models.CheckConstraint(
                name="a_wrong_line_says_why",
                condition=(Q(verdict="wrong") & ~Q(problem="")) | (~Q(verdict="wrong") & Q(problem="")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.number}"


class OnboardingStep(models.Model):
    """That an upload, or the part of it that this person may apply, was applied."""

    class Part(models.TextChoices):
        TEAMS = "teams", _("Tenants, projects and members")
        HOURS = "hours", _("Opening balances")
        ALL = "all", _("Everything")

    upload = models.ForeignKey(
        OnboardingUpload, on_delete=models.PROTECT, related_name="steps", verbose_name=_("upload")
    )
    part = models.CharField(_("applied"), max_length=8, choices=Part.choices)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("applied by"))
    at = models.DateTimeField(_("applied at"))
    key = models.CharField(_("key of the form"), max_length=64, unique=True)
    new = models.PositiveIntegerField(_("new"))
    changed = models.PositiveIntegerField(_("changed"))
    left_out = models.PositiveIntegerField(_("wrong lines left out"))

    class Meta:
        verbose_name = _("applied upload")
        verbose_name_plural = _("applied uploads")
        ordering = ("id",)
        constraints = (
            models.CheckConstraint(name="onboarding_part_is_known", condition=Q(part__in=("teams", "hours", "all"))),
        )

    def __str__(self) -> str:
        return f"{self.pk}"
