"""The letters about GPU time that people are owed, and which of them a person does not want."""

from typing import Self

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations.models.allocation import Allocation
from allocations.models.rules import TakeBackExemption
from centre.models import Membership, Project, Representative, User
from centre.permissions import ProjectRole


class NoticeQuerySet(models.QuerySet["Notice"]):
    def standing(self) -> Self:
        """What still holds, told already or not."""
        return self.filter(cleared_at__isnull=True)

    def to_send(self) -> Self:
        """What was not told yet, to people who may sign in and are still told of that project's allocations.

        While an allocation is exempted from take-back, its warning waits.
        """
        team = Membership.objects.current().filter(
            user=OuterRef("user"), project=OuterRef("allocation__project"), role__in=Notice.TOLD_ROLES
        )
        signing = Representative.objects.filter(
            user=OuterRef("user"), tenant=OuterRef("allocation__project__tenant"), ended_at__isnull=True
        )
        exempted = TakeBackExemption.objects.filter(allocation=OuterRef("allocation"), ended_at__isnull=True)
        is_told = Exists(team) | (Q(kind__in=Notice.ABOUT_TAKING_BACK) & Exists(signing))
        is_meant = ~Q(kind=Notice.Kind.TAKE_BACK_WARNED) | ~Exists(exempted)
        unsent = self.standing().filter(is_told, is_meant, sent_at__isnull=True, user__is_active=True)
        return unsent.exclude(allocation__state=Allocation.State.VOID)

    def named_in_letters(self) -> Self:
        """What letters said: of the thresholds that one letter settled for an allocation, the most pressing."""
        beside = Notice.objects.filter(
            user=OuterRef("user"), allocation=OuterRef("allocation"), kind=OuterRef("kind"), sent_at=OuterRef("sent_at")
        ).order_by()
        more_pressing = beside.filter(
            Q(kind=Notice.Kind.USED_SHARE, threshold__gt=OuterRef("threshold"))
            | Q(kind=Notice.Kind.DAYS_LEFT, threshold__lt=OuterRef("threshold"))
        )
        return self.filter(~Exists(more_pressing), sent_at__isnull=False)

    def told_to_reader_of(self, projects: models.QuerySet[Project]) -> Self:
        """Adds `may_open`: whether the notice's project is among those that its reader may see."""
        return self.annotate(may_open=Exists(projects.filter(pk=OuterRef("allocation__project"))))


class Notice(models.Model):
    """A letter about an allocation that was owed to a person once: which threshold, when it was sent.

    `threshold` is per cent used or days left; of a take-back it is the number of its warning.
    """

    class Kind(models.TextChoices):
        USED_SHARE = "used_share", _("share of the GPU-hours used")
        DAYS_LEFT = "days_left", _("days left in the period")
        TAKE_BACK_WARNED = "take_back_warned", _("unused GPU-hours will be taken back")
        TAKEN_BACK = "taken_back", _("unused GPU-hours were taken back")

    CAN_BE_DECLINED = (Kind.USED_SHARE, Kind.DAYS_LEFT)
    """What a person may ask not to be told; the rest concerns what is taken from their project."""
    ABOUT_TAKING_BACK = (Kind.TAKE_BACK_WARNED, Kind.TAKEN_BACK)
    """What the tenant's representatives are told too."""
    TOLD_ROLES = (ProjectRole.LEAD, ProjectRole.MANAGER)
    """Who of a project's team is told of its allocations."""

    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="notices", verbose_name=_("allocation")
    )
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("person"))
    kind = models.CharField(_("about"), max_length=20, choices=Kind.choices)
    threshold = models.PositiveIntegerField(_("threshold"), default=0, help_text=_("Per cent used, or days left."))
    due_at = models.DateTimeField(_("due at"))
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    cleared_at = models.DateTimeField(
        _("over since"),
        null=True,
        blank=True,
        help_text=_("It no longer holds, after a top-up for example; when it holds again, it is told again."),
    )

    may_open: bool  # added by told_to_reader_of()

    objects = NoticeQuerySet.as_manager()

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        ordering = ("-due_at",)
        indexes = (models.Index(fields=("user",), condition=Q(sent_at__isnull=True), name="notice_unsent"),)
        constraints = (
            models.UniqueConstraint(
                fields=("allocation", "user", "kind", "threshold"),
                condition=Q(cleared_at__isnull=True),
                name="a_notice_is_sent_to_a_person_once",
            ),
            models.CheckConstraint(
                name="notice_kind_is_known",
                condition=Q(kind__in=("used_share", "days_left", "take_back_warned", "taken_back")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.threshold}"

    @property
    def about(self) -> str:
        """What it tells, in words: 75 % of the GPU-hours used."""
        if self.kind == self.Kind.USED_SHARE:
            return gettext("%(percent)s %% of the GPU-hours used") % {"percent": self.threshold}
        if self.kind == self.Kind.DAYS_LEFT:
            return ngettext("%(days)s day left", "%(days)s days left", self.threshold) % {"days": self.threshold}
        return str(self.get_kind_display())


class NoticeOptOut(models.Model):
    """A kind of letter that a person asked not to get."""

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("person"))
    kind = models.CharField(_("about"), max_length=20, choices=Notice.Kind.choices)
    since = models.DateTimeField(_("since"))

    class Meta:
        verbose_name = _("letter not wanted")
        verbose_name_plural = _("letters not wanted")
        ordering = ("user", "kind")
        constraints = (
            models.UniqueConstraint(fields=("user", "kind"), name="a_letter_is_declined_once"),
            models.CheckConstraint(
                name="what_is_taken_is_always_told", condition=Q(kind__in=("used_share", "days_left"))
            ),
        )

    def __str__(self) -> str:
        return str(self.get_kind_display())
