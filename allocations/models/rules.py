"""Rules of the centre about unused GPU time, as data: what becomes of it when a period ends, and when it is taken back.

A rule is asked for by one officer and approved by another, counts from a day on, and is superseded by a later one,
never edited. What is done by a rule carries the names of the two people who made it.
"""

from datetime import date
from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from allocations.models.allocation import Allocation, LedgerEntry
from centre.models import GpuPool, User


class RuleQuerySet(models.QuerySet[Any]):
    def approved(self) -> Self:
        return self.filter(approved_at__isnull=False)

    def waiting(self) -> Self:
        """Asked for, and neither approved nor refused; the oldest first."""
        return self.filter(approved_at__isnull=True, refused_at__isnull=True).order_by("asked_at", "pk")

    def in_force(self, *, on: date) -> Self:
        """Approved rules that count by that day, the latest first."""
        return self.approved().filter(from_on__lte=on).order_by("-from_on", "-pk")


class PoolRule(models.Model):
    """What every rule has: a pool, a first day, and the two people behind it."""

    pool = models.ForeignKey(GpuPool, on_delete=models.PROTECT, related_name="+", verbose_name=_("GPU pool"))
    from_on = models.DateField(_("counts from"))
    reason = models.CharField(_("reason"), max_length=500)
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("asked for by"))
    asked_at = models.DateTimeField(_("asked at"))
    approved_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("approved by")
    )
    approved_at = models.DateTimeField(_("approved at"), null=True, blank=True)
    refused_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("refused by")
    )
    refused_at = models.DateTimeField(_("refused at"), null=True, blank=True)
    answer = models.CharField(_("answer"), max_length=500, blank=True)

    objects = RuleQuerySet.as_manager()

    class Meta:
        abstract = True
        constraints: ClassVar[tuple[models.CheckConstraint, ...]] = (
            models.CheckConstraint(
                name="%(class)s_is_approved_by_a_second_person",
                condition=Q(approved_by__isnull=True, approved_at__isnull=True)
                | (Q(approved_by__isnull=False, approved_at__isnull=False) & ~Q(approved_by=F("asked_by"))),
            ),
            models.CheckConstraint(
                name="%(class)s_is_approved_or_refused",
                condition=Q(approved_at__isnull=True) | Q(refused_at__isnull=True),
            ),
        )

    @property
    def is_waiting(self) -> bool:
        return self.approved_at is None and self.refused_at is None


class PeriodEndRule(PoolRule):
    """What becomes of a pool's unused GPU-hours when the period of an allocation ends."""

    class CarryOver(models.TextChoices):
        NONE = "none", _("Nothing is carried over")
        ALL = "all", _("Everything is carried over")
        AT_MOST = "at_most", _("At most a share of what was granted is carried over")

    carry_over = models.CharField(_("carry-over"), max_length=8, choices=CarryOver.choices)
    most_bp = models.PositiveIntegerField(
        _("at most (basis points of what was granted)"), default=0, help_text=_("1000 is 10 %.")
    )
    wait_days = models.PositiveIntegerField(
        _("days to wait for a following allocation"),
        default=30,
        help_text=_("So long an ended allocation stays unsettled when there is none yet to carry over to."),
    )

    class Meta(PoolRule.Meta):
        verbose_name = _("period-end rule")
        verbose_name_plural = _("period-end rules")
        ordering = ("pool", "-from_on", "-id")
        constraints = (
            *PoolRule.Meta.constraints,
            models.CheckConstraint(
                name="carry_over_is_known_and_has_its_share",
                condition=Q(carry_over__in=("none", "all"), most_bp=0)
                | Q(carry_over="at_most", most_bp__gt=0, most_bp__lte=10_000),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_carry_over_display())

    def most_carried_over(self, granted_seconds: int) -> int | None:
        """GPU-seconds that may be carried over of what was granted (rounded down); None: no limit."""
        if self.carry_over == self.CarryOver.ALL:
            return None
        return granted_seconds * self.most_bp // 10_000


class PeriodEnd(models.Model):
    """An allocation's period was closed, once: by which rule, and to which allocation what is left goes over."""

    allocation = models.OneToOneField(
        Allocation, on_delete=models.PROTECT, related_name="period_end", verbose_name=_("allocation")
    )
    rule = models.ForeignKey(PeriodEndRule, on_delete=models.PROTECT, related_name="+", verbose_name=_("rule"))
    following = models.ForeignKey(
        Allocation,
        on_delete=models.PROTECT,
        null=True,
        related_name="preceded_by",
        verbose_name=_("carried over to"),
    )
    most_seconds = models.BigIntegerField(
        _("carried over at most (GPU-seconds)"), null=True, help_text=_("Empty: no limit.")
    )
    closed_at = models.DateTimeField(_("closed at"))

    class Meta:
        verbose_name = _("period end")
        verbose_name_plural = _("period ends")
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="a_period_is_carried_over_to_another_allocation",
                condition=Q(following__isnull=True) | ~Q(following=F("allocation")),
            ),
            models.CheckConstraint(
                name="a_carry_over_limit_is_not_negative",
                condition=Q(most_seconds__isnull=True) | Q(most_seconds__gte=0),
            ),
        )

    def __str__(self) -> str:
        return f"{self.allocation_id}"


class TakeBackRule(PoolRule):
    """When unused GPU-hours of a pool are taken back: a check in mid-period, a warning, and some days later the act."""

    funding = models.CharField(
        _("funding"),
        max_length=20,
        choices=Allocation.Funding.choices,
        help_text=_("Only allocations of this funding."),
    )
    check_at_bp = models.PositiveIntegerField(
        _("check at (basis points of the period)"), default=5_000, help_text=_("5000 is half time.")
    )
    under_bp = models.PositiveIntegerField(
        _("under (basis points of planned use)"),
        default=4_000,
        # xgettext:no-python-format
        help_text=_("4000: less than 40 % of what an even pace would have used by then."),
    )
    warn_days = models.PositiveIntegerField(_("days from the warning to the act"), default=14)

    class Meta(PoolRule.Meta):
        verbose_name = _("take-back rule")
        verbose_name_plural = _("take-back rules")
        ordering = ("pool", "funding", "-from_on", "-id")
        constraints = (
            *PoolRule.Meta.constraints,
            models.CheckConstraint(
                name="take_back_rule_has_sensible_shares",
                condition=Q(check_at_bp__gt=0, check_at_bp__lt=10_000, under_bp__gt=0, under_bp__lte=10_000),
            ),
            models.CheckConstraint(name="take_back_is_warned_of", condition=Q(warn_days__gte=1)),
            models.CheckConstraint(
                name="take_back_rule_funding_is_known",
                condition=Q(funding__in=("subsidised", "purchased", "internal", "proof_of_concept")),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_funding_display())


class TakeBackWarning(models.Model):
    """An allocation was found under-used by a rule; what came of it."""

    class Outcome(models.TextChoices):
        WARNED = "warned", _("Warned")
        TAKEN = "taken", _("Taken back")
        CAUGHT_UP = "caught_up", _("Caught up")
        EXEMPTED = "exempted", _("Exempted")
        OVER = "over", _("Nothing to take")

    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="take_back_warnings", verbose_name=_("allocation")
    )
    rule = models.ForeignKey(TakeBackRule, on_delete=models.PROTECT, related_name="+", verbose_name=_("rule"))
    checked_on = models.DateField(_("checked for the days until"))
    used_seconds = models.BigIntegerField(_("used by then (GPU-seconds)"))
    planned_seconds = models.BigIntegerField(_("planned by then (GPU-seconds)"))
    warned_at = models.DateTimeField(_("warned at"))
    due_on = models.DateField(_("taken back on"))
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices, default=Outcome.WARNED)
    settled_at = models.DateTimeField(_("settled at"), null=True, blank=True)
    entry = models.OneToOneField(
        LedgerEntry, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("entry")
    )

    class Meta:
        verbose_name = _("take-back warning")
        verbose_name_plural = _("take-back warnings")
        ordering = ("-warned_at", "-id")
        constraints = (
            models.UniqueConstraint(fields=("allocation", "rule"), name="a_rule_warns_an_allocation_once"),
            models.CheckConstraint(
                name="take_back_outcome_is_known",
                condition=Q(outcome="warned", settled_at__isnull=True, entry__isnull=True)
                | Q(outcome="taken", settled_at__isnull=False, entry__isnull=False)
                | Q(outcome__in=("caught_up", "exempted", "over"), settled_at__isnull=False, entry__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_outcome_display())


class TakeBackExemption(models.Model):
    """An allocation from which nothing is taken back by rule, and why."""

    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="exemptions", verbose_name=_("allocation")
    )
    reason = models.CharField(_("reason"), max_length=500)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("by"))
    from_at = models.DateTimeField(_("since"))
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    ended_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("ended by")
    )

    class Meta:
        verbose_name = _("exemption from take-back")
        verbose_name_plural = _("exemptions from take-back")
        ordering = ("-from_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("allocation",),
                condition=Q(ended_at__isnull=True),
                name="an_allocation_is_exempted_once_at_a_time",
            ),
        )

    def __str__(self) -> str:
        return self.reason
