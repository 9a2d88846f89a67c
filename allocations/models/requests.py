"""What is asked of the centre about GPU time: by a team, or by an officer whose act needs a second one."""

from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from allocations.models.allocation import Allocation, LedgerEntry
from allocations.models.usage import JobRun
from centre.models import Project, User


class ChangeRequestQuerySet(models.QuerySet["ChangeRequest"]):
    def visible_to(self, user: User) -> Self:
        """The requests of the projects that the person may see."""
        return self.filter(project__in=Project.objects.visible_to(user))

    def of_teams(self) -> Self:
        """What a team can ask for, whoever asked; what officers settle between them is not among it."""
        return self.filter(kind__in=ChangeRequest.OF_TEAMS)

    def waiting(self) -> Self:
        """What still waits for an answer, the oldest first."""
        return self.filter(state=ChangeRequest.State.ASKED).order_by("asked_at", "pk")

    def answerable_by(self, user: User) -> Self:
        """What waits and may be approved by this officer: not asked by them, on no side for a project of their own."""
        own = Project.objects.belonging_to(user).values("pk")
        others = self.waiting().exclude(asked_by=user)
        return others.exclude(project__in=own).exclude(to_allocation__project__in=own)


class ChangeRequest(models.Model):
    """What a team or an officer asks about GPU time, and the answer of a second person."""

    class Kind(models.TextChoices):
        OPENING = "opening", _("GPU-hours of a new allocation")
        TOP_UP = "top_up", _("More GPU-hours")
        TAKE_BACK = "take_back", _("Take unused GPU-hours back")
        REFUND = "refund", _("Refund job runs")
        REVERSAL = "reversal", _("Reverse a ledger entry")
        EXTENSION = "extension", _("A longer period")
        EARLY_END = "early_end", _("An earlier end of the period")
        TRANSFER = "transfer", _("Move GPU-hours to another allocation")
        MEMBERS = "members", _("More members")
        OTHER = "other", _("Something else")

    OF_TEAMS = frozenset({Kind.TOP_UP, Kind.EXTENSION, Kind.TRANSFER, Kind.MEMBERS, Kind.OTHER})
    """What a team can ask for."""

    OF_DAYS = frozenset({Kind.EXTENSION, Kind.EARLY_END})
    """What asks for another last day instead of hours; two people always stand behind it."""

    class State(models.TextChoices):
        ASKED = "asked", _("Waiting for the centre")
        APPROVED = "approved", _("Approved")
        PART_APPROVED = "part_approved", _("Approved in part")
        DECLINED = "declined", _("Declined")
        WITHDRAWN = "withdrawn", _("Withdrawn")
        LAPSED = "lapsed", _("Lapsed")
        CARRIED_OUT = "carried_out", _("Carried out at once")

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="requests", verbose_name=_("project"))
    allocation = models.ForeignKey(
        Allocation,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="requests",
        verbose_name=_("allocation"),
    )
    to_allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("to allocation")
    )
    entry = models.ForeignKey(
        LedgerEntry,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("entry to reverse"),
        db_index=False,
    )
    hold = models.OneToOneField(
        LedgerEntry,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="request",
        verbose_name=_("hold"),
        help_text=_("Keeps the GPU-hours aside while the request waits."),
    )
    key = models.CharField(  # noqa: DJ001  absent, not empty: unique where there is one
        _("key"), max_length=80, unique=True, null=True, editable=False, help_text=_("One for each form shown.")
    )
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    state = models.CharField(_("state"), max_length=14, choices=State.choices, default=State.ASKED)
    asked_seconds = models.BigIntegerField(_("asked for (GPU-seconds)"), null=True, blank=True)
    approved_seconds = models.BigIntegerField(_("approved (GPU-seconds)"), null=True, blank=True)
    asked_until_on = models.DateField(_("asked until"), null=True, blank=True)
    approved_until_on = models.DateField(_("approved until"), null=True, blank=True)
    reason = models.TextField(_("reason"))
    answer = models.TextField(_("answer"), blank=True)
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("asked for by"))
    asked_at = models.DateTimeField(_("asked at"))
    answered_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("answered by")
    )
    answered_at = models.DateTimeField(_("answered at"), null=True, blank=True)

    objects = ChangeRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("request")
        verbose_name_plural = _("requests")
        ordering = ("-asked_at",)
        indexes = (models.Index(fields=("state", "asked_at"), name="request_by_state"),)
        constraints = (
            models.CheckConstraint(
                name="request_state_is_known",
                condition=Q(
                    state__in=(
                        "asked",
                        "approved",
                        "part_approved",
                        "declined",
                        "withdrawn",
                        "lapsed",
                        "carried_out",
                    )
                ),
            ),
            models.CheckConstraint(
                name="request_kind_is_known",
                condition=Q(
                    kind__in=(
                        "opening",
                        "top_up",
                        "take_back",
                        "refund",
                        "reversal",
                        "extension",
                        "early_end",
                        "transfer",
                        "members",
                        "other",
                    )
                ),
            ),
            models.CheckConstraint(
                name="request_is_answered_by_a_second_person",
                condition=Q(answered_by__isnull=True) | Q(state="withdrawn") | ~Q(answered_by=F("asked_by")),
            ),
            models.CheckConstraint(
                name="request_asks_for_a_positive_amount",
                condition=Q(asked_seconds__isnull=True) | Q(asked_seconds__gt=0),
            ),
            models.CheckConstraint(
                name="request_names_what_its_kind_is_about",
                condition=(~Q(kind="reversal") | Q(entry__isnull=False))
                & (~Q(kind="transfer") | Q(to_allocation__isnull=False)),
            ),
            models.CheckConstraint(
                name="request_that_is_approved_was_approved_by_someone",
                condition=~Q(state__in=("approved", "part_approved"))
                | Q(answered_by__isnull=False, answered_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_kind_display())


class RequestedRun(models.Model):
    """A job run that a refund was asked for, with the GPU-seconds that it was charged when it was chosen."""

    request = models.ForeignKey(ChangeRequest, on_delete=models.PROTECT, related_name="runs", verbose_name=_("request"))
    run = models.ForeignKey(JobRun, on_delete=models.PROTECT, related_name="+", verbose_name=_("job run"))
    seconds = models.BigIntegerField(_("GPU-seconds"))

    class Meta:
        verbose_name = _("job run of a request")
        verbose_name_plural = _("job runs of requests")
        ordering = ("request", "run")
        constraints = (
            models.UniqueConstraint(fields=("request", "run"), name="a_request_names_a_run_once"),
            models.CheckConstraint(name="a_requested_run_has_something_to_refund", condition=Q(seconds__gt=0)),
        )

    def __str__(self) -> str:
        return f"{self.seconds}"
