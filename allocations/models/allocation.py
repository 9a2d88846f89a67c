"""Allocations and their ledger.

An allocation is a project's account of GPU time on one pool over one period. Its three totals (granted, used, held) are
moved in the same transaction as the ledger entry that explains the move, and only by `allocations.ledger`:

    available = granted - used - held

An entry's `seconds` are signed by their effect on what is available: a grant is positive, a charge negative.
`total` names the running total that it moves: a grant of +3600 raises granted by 3600, a charge of -3600 raises used by
3600, a hold of -3600 raises held by 3600. Entries are never changed or removed; a mistake is mended by another entry.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from centre.days import validate_day
from centre.models import GpuPool, Project, User

SLURM_ACCOUNT = RegexValidator(
    r"^[a-z0-9][a-z0-9_-]*\Z", _("A Slurm account has lower-case letters, digits, hyphens and underscores.")
)


class AllocationQuerySet(models.QuerySet["Allocation"]):
    def visible_to(self, user: User) -> Self:
        """The allocations of the projects that the person may see."""
        return self.filter(project__in=Project.objects.visible_to(user))

    def not_void(self) -> Self:
        return self.exclude(state=Allocation.State.VOID)

    def open(self, *, on: date) -> Self:
        """Allocations that can be drawn on that day."""
        return self.filter(state=Allocation.State.OPEN, start_on__lte=on, end_on__gte=on)

    def with_running(self) -> Self:
        """Adds `running_seconds`: the part of used that belongs to runs which have not finished."""
        from allocations.models.usage import RunCharge  # noqa: PLC0415  that module imports this one

        return self.annotate(running_seconds=Coalesce(Subquery(RunCharge.objects.running_of(OuterRef("pk"))), 0))

    def with_shared_account(self) -> Self:
        """Adds `account_is_shared`: whether another project's allocation names the same account on the cluster."""
        others = Allocation.objects.not_void().filter(
            account=OuterRef("account"), pool__cluster=OuterRef("pool__cluster")
        )
        return self.annotate(account_is_shared=Exists(others.exclude(project=OuterRef("project"))))

    def committed_per_pool(self, days: Mapping[int, date]) -> dict[int, Fraction]:
        """What is promised of each pool on its day, in GPU-seconds: granted over the days of the period.

        `days` names each pool's day, as the clusters' days differ. Counted is what covers it and is not void.
        """
        committed: defaultdict[int, Fraction] = defaultdict(Fraction)
        if days:
            rows = self.not_void().filter(start_on__lte=max(days.values()), end_on__gte=min(days.values()))
            for pool, start_on, end_on, granted in rows.values_list("pool", "start_on", "end_on", "granted_seconds"):
                if pool in days and start_on <= days[pool] <= end_on:
                    committed[pool] += Fraction(granted, (end_on - start_on).days + 1)
        return dict(committed)


class Allocation(models.Model):
    """A project's account of GPU time on one pool over one period, of one funding."""

    class Funding(models.TextChoices):
        SUBSIDISED = "subsidised", _("Subsidised")
        PURCHASED = "purchased", _("Purchased")
        INTERNAL = "internal", _("Internal")
        PROOF_OF_CONCEPT = "proof_of_concept", _("Proof of concept")

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        SUSPENDED = "suspended", _("Suspended")
        CLOSED = "closed", _("Closed")
        VOID = "void", _("Void")

    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="allocations", verbose_name=_("project")
    )
    pool = models.ForeignKey(GpuPool, on_delete=models.PROTECT, related_name="allocations", verbose_name=_("GPU pool"))
    reference = models.CharField(_("reference"), max_length=80, unique=True)
    account = models.CharField(
        _("Slurm account"), max_length=128, validators=[SLURM_ACCOUNT], help_text=_("Whose job runs draw on it.")
    )
    funding = models.CharField(_("funding"), max_length=20, choices=Funding.choices)
    start_on = models.DateField(_("first day"))
    end_on = models.DateField(_("last day"))
    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.OPEN)
    granted_seconds = models.BigIntegerField(_("granted (GPU-seconds)"), default=0, editable=False)
    used_seconds = models.BigIntegerField(_("used (GPU-seconds)"), default=0, editable=False)
    held_seconds = models.BigIntegerField(_("held (GPU-seconds)"), default=0, editable=False)
    created_at = models.DateTimeField(_("opened at"), editable=False)

    running_seconds: int  # added by with_running()
    account_is_shared: bool  # added by with_shared_account()

    objects = AllocationQuerySet.as_manager()

    class Meta:
        verbose_name = _("allocation")
        verbose_name_plural = _("allocations")
        ordering = ("project", "pool", "start_on")
        # At most one that is not void covers an account, pool and day: the rule
        # one_allocation_covers_an_account_pool_and_day in centre/triggers.py.
        indexes = (
            models.Index(fields=("pool", "account", "start_on"), name="allocation_by_account"),
            models.Index(fields=("end_on",), name="allocation_by_end"),
        )
        constraints = (
            models.CheckConstraint(
                name="allocation_ends_after_it_starts",
                condition=Q(end_on__gte=F("start_on")),
                violation_error_message=_("The last day is before the first."),
            ),
            models.CheckConstraint(
                name="allocation_funding_is_known",
                condition=Q(funding__in=("subsidised", "purchased", "internal", "proof_of_concept")),
            ),
            models.CheckConstraint(
                name="allocation_state_is_known", condition=Q(state__in=("open", "suspended", "closed", "void"))
            ),
            models.CheckConstraint(
                name="allocation_totals_are_not_negative",
                condition=Q(granted_seconds__gte=0, used_seconds__gte=0, held_seconds__gte=0),
            ),
        )

    def __str__(self) -> str:
        return self.reference

    def clean(self) -> None:
        """Raises ValidationError, naming the field, for a day whose year cannot be meant."""
        wrong: dict[str, ValidationError] = {}
        for field in ("start_on", "end_on"):
            try:
                if isinstance(day := getattr(self, field), date):
                    validate_day(day)
            except ValidationError as error:
                wrong[field] = error
        if wrong:
            raise ValidationError(wrong)

    @property
    def available_seconds(self) -> int:
        """GPU-seconds left to use; negative when overdrawn."""
        return self.granted_seconds - self.used_seconds - self.held_seconds

    @property
    def is_overdrawn(self) -> bool:
        return self.available_seconds < 0

    def days_left(self, *, on: date) -> int:
        """Days of the period still to come, the given day included; 0 when it is over."""
        return max(0, (self.end_on - max(on, self.start_on)).days + 1)


class LedgerEntry(models.Model):
    """One immutable movement on an allocation."""

    class Kind(models.TextChoices):
        GRANT = "grant", _("Grant")
        TOP_UP = "top_up", _("Top-up")
        CHARGE = "charge", _("Charge")
        REFUND = "refund", _("Refund")
        TRANSFER = "transfer", _("Transfer")
        FORFEIT = "forfeit", _("Forfeit")
        CORRECTION = "correction", _("Correction")
        REVERSAL = "reversal", _("Reversal")
        HOLD = "hold", _("Hold")
        RELEASE = "release", _("Release")

    class Total(models.TextChoices):
        GRANTED = "granted", _("granted")
        USED = "used", _("used")
        HELD = "held", _("held")

    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="entries", verbose_name=_("allocation"), db_index=False
    )
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices)
    total = models.CharField(_("moves"), max_length=8, choices=Total.choices)
    seconds = models.BigIntegerField(_("GPU-seconds"), help_text=_("Signed by the effect on what is left."))
    effective_on = models.DateField(_("effective on"))
    recorded_at = models.DateTimeField(_("recorded at"))
    asked_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("asked for by"),
        db_index=False,
    )
    approved_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("approved by"),
        db_index=False,
    )
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    key = models.CharField(_("key"), max_length=120, unique=True)
    source_kind = models.CharField(_("source"), max_length=20)
    source_reference = models.CharField(_("source reference"), max_length=120, blank=True)
    reverses = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="reversed_by", verbose_name=_("reverses")
    )

    class Meta:
        verbose_name = _("ledger entry")
        verbose_name_plural = _("ledger entries")
        ordering = ("-id",)
        # Written once, and two people above the threshold: see centre/triggers.py.
        indexes = (models.Index(fields=("allocation", "-id"), name="entry_of_allocation"),)
        constraints = (
            models.CheckConstraint(
                name="entry_sign_and_total_fit_its_kind",
                condition=Q(kind__in=("grant", "top_up"), total="granted", seconds__gt=0)
                | Q(kind="forfeit", total="granted", seconds__lt=0)
                | (Q(kind="transfer", total="granted") & ~Q(seconds=0))
                | Q(kind="charge", total="used", seconds__lt=0)
                | Q(kind="refund", total="used", seconds__gt=0)
                | Q(kind="hold", total="held", seconds__lt=0)
                | Q(kind="release", total="held", seconds__gt=0)
                | (Q(kind__in=("correction", "reversal"), total__in=("granted", "used", "held")) & ~Q(seconds=0)),
            ),
            models.CheckConstraint(
                name="a_reversal_names_the_entry_that_it_reverses",
                condition=Q(kind="reversal", reverses__isnull=False) | (~Q(kind="reversal") & Q(reverses__isnull=True)),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_kind_display())


class ChangeRequest(models.Model):
    """What a team asks of the centre about its GPU time, and the answer."""

    class Kind(models.TextChoices):
        TOP_UP = "top_up", _("More GPU-hours")
        EXTENSION = "extension", _("A longer period")
        TRANSFER = "transfer", _("Move GPU-hours to another allocation")
        MEMBERS = "members", _("More members")
        OTHER = "other", _("Something else")

    class State(models.TextChoices):
        ASKED = "asked", _("Waiting for the centre")
        APPROVED = "approved", _("Approved")
        PART_APPROVED = "part_approved", _("Approved in part")
        DECLINED = "declined", _("Declined")
        WITHDRAWN = "withdrawn", _("Withdrawn")

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

    class Meta:
        verbose_name = _("request")
        verbose_name_plural = _("requests")
        ordering = ("-asked_at",)
        indexes = (models.Index(fields=("state", "asked_at"), name="request_by_state"),)
        constraints = (
            models.CheckConstraint(
                name="request_state_is_known",
                condition=Q(state__in=("asked", "approved", "part_approved", "declined", "withdrawn")),
            ),
            models.CheckConstraint(
                name="request_kind_is_known",
                condition=Q(kind__in=("top_up", "extension", "transfer", "members", "other")),
            ),
            models.CheckConstraint(
                name="request_is_answered_by_a_second_person",
                condition=Q(answered_by__isnull=True) | Q(state="withdrawn") | ~Q(answered_by=F("asked_by")),
            ),
            models.CheckConstraint(
                name="request_asks_for_a_positive_amount",
                condition=Q(asked_seconds__isnull=True) | Q(asked_seconds__gt=0),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_kind_display())


class Notice(models.Model):
    """A letter about an allocation that was owed to a person once: which threshold, when it was sent."""

    class Kind(models.TextChoices):
        USED_SHARE = "used_share", _("share of the GPU-hours used")
        DAYS_LEFT = "days_left", _("days left in the period")

    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="notices", verbose_name=_("allocation")
    )
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("person"))
    kind = models.CharField(_("about"), max_length=12, choices=Kind.choices)
    threshold = models.PositiveIntegerField(_("threshold"), help_text=_("Per cent used, or days left."))
    due_at = models.DateTimeField(_("due at"))
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        ordering = ("-due_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("allocation", "user", "kind", "threshold"), name="a_notice_is_sent_to_a_person_once"
            ),
            models.CheckConstraint(name="notice_kind_is_known", condition=Q(kind__in=("used_share", "days_left"))),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.threshold}"
