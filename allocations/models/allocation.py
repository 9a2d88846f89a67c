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
from datetime import date, datetime
from fractions import Fraction
from typing import Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from centre.days import DaysBetween, validate_day
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

    def above_plan(self, *, on: date) -> Self:
        """Those open on a day that have used more than an even pace would have by its end; see planned_use."""
        through, days = DaysBetween(Value(on), F("start_on")) + 1, DaysBetween(F("end_on"), F("start_on")) + 1
        return (
            self.open(on=on)
            .alias(through=through, days=days)
            .filter(used_seconds__gt=F("granted_seconds") * F("through") / F("days"))
        )

    def with_running(self) -> Self:
        """Adds `running_seconds`: the part of used that belongs to runs which have not finished."""
        from allocations.models.usage import RunCharge  # noqa: PLC0415  that module imports this one

        return self.annotate(running_seconds=Coalesce(Subquery(RunCharge.objects.running_of(OuterRef("pk"))), 0))

    def with_as_of(self) -> Self:
        """Adds `books_as_of`: the instant of the latest import of the pool's cluster; None before the first."""
        from allocations.models.imports import UsageImport  # noqa: PLC0415  read beside this one

        return self.annotate(books_as_of=Subquery(UsageImport.objects.as_of_cluster(OuterRef("pool__cluster"))))

    def with_shared_account(self) -> Self:
        """Adds `account_is_shared`: whether the account's runs on the cluster may be another project's, too.

        So it is where another project's allocation names the same account, or the account draws on one.
        """
        from allocations.models.drawing import DrawingAccount  # noqa: PLC0415  that module imports this one

        same = {"account": OuterRef("account"), "pool__cluster": OuterRef("pool__cluster")}
        named = Allocation.objects.not_void().filter(**same).exclude(project=OuterRef("project"))
        drawn = DrawingAccount.objects.standing().filter(**same).exclude(allocation__project=OuterRef("project"))
        return self.annotate(account_is_shared=Exists(named) | Exists(drawn))

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
    suspended_at = models.DateTimeField(_("suspended at"), null=True, blank=True, editable=False)
    suspended_because = models.CharField(
        _("suspended because"), max_length=500, blank=True, editable=False, help_text=_("The team reads it.")
    )

    running_seconds: int  # added by with_running()
    account_is_shared: bool  # added by with_shared_account()
    books_as_of: datetime | None  # added by with_as_of()

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
            models.CheckConstraint(
                name="allocation_says_when_and_why_it_was_suspended",
                condition=Q(suspended_at__isnull=True, suspended_because="")
                | (Q(suspended_at__isnull=False) & ~Q(suspended_because="")),
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


class LedgerEntryQuerySet(models.QuerySet["LedgerEntry"]):
    def as_of(self, instant: datetime) -> Self:
        """What was on record at an instant."""
        return self.filter(recorded_at__lte=instant)

    def unresolved_holds(self) -> Self:
        """Holds that were neither used nor let go."""
        return self.filter(kind=LedgerEntry.Kind.HOLD, reversed_by__isnull=True)

    def of_reserve(self) -> Self:
        """What went back to the centre: forfeits, their reversals, and what late usage changed of them.

        Late usage moves carried-over hours on two allocations of a pool at once, which add up to nothing.
        """
        Kind = LedgerEntry.Kind  # noqa: N806  a class
        return self.filter(
            Q(kind=Kind.FORFEIT)
            | Q(kind=Kind.REVERSAL, reverses__kind=Kind.FORFEIT)
            | Q(kind=Kind.CORRECTION, source_kind="late_usage")
        )

    def returned_to_reserve(self) -> dict[int, int]:
        """GPU-seconds that went back to the reserve, less what came out of it again, by the number of the pool."""
        sums = self.of_reserve().order_by().values("allocation__pool").annotate(sum=Sum("seconds"))
        return {row["allocation__pool"]: -row["sum"] for row in sums}


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
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="reversed_by",
        verbose_name=_("undoes"),
        help_text=_("The entry that a reversal takes back, or the hold that a release lets go of; once at most."),
    )
    lapses_on = models.DateField(
        _("lapses on"), null=True, blank=True, help_text=_("A hold: from this day it is let go.")
    )

    objects = LedgerEntryQuerySet.as_manager()

    class Meta:
        verbose_name = _("ledger entry")
        verbose_name_plural = _("ledger entries")
        ordering = ("-id",)
        # Written once, and two people above the threshold: see centre/triggers.py.
        indexes = (
            models.Index(fields=("allocation", "-id"), name="entry_of_allocation"),
            models.Index(fields=("allocation", "effective_on"), name="entry_of_day"),
            # Nearly every entry is a charge; the others are found by their kind without an index over the charges.
            models.Index(fields=("kind", "-id"), condition=~Q(kind="charge"), name="entry_of_rare_kind"),
        )
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
                name="a_reversal_or_release_names_the_entry_that_it_undoes",
                condition=Q(kind__in=("reversal", "release"), reverses__isnull=False)
                | (~Q(kind__in=("reversal", "release")) & Q(reverses__isnull=True)),
            ),
            models.CheckConstraint(name="only_a_hold_lapses", condition=Q(kind="hold") | Q(lapses_on__isnull=True)),
        )

    def __str__(self) -> str:
        return str(self.get_kind_display())
