"""What was decided on an application, and the award that follows from an approval.

A decision is recorded by one person and confirmed by another; until then it can be changed, afterwards never (rules in
centre/triggers.py, which also hold the scheme's ceilings). The award's money is moved by `subsidies.fund` alone, its
hours are given by `allocations.ledger`; `AwardGrant` links the two.
"""

from datetime import date
from typing import Self

from django.db import models
from django.db.models import Count, F, Min, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations.models import Allocation, LedgerEntry
from allocations.models.allocation import SLURM_ACCOUNT
from centre import permissions
from centre.amounts import hours_text
from centre.models import GpuPool, Membership, Project, Representative, User
from subsidies.models.application import Application


class DecisionQuerySet(models.QuerySet["Decision"]):
    def waiting(self) -> Self:
        """Recorded, and not yet confirmed by a second person."""
        return self.filter(confirmed_at__isnull=True)

    def with_overdue(self, *, on: date) -> Self:
        """Confirmed ones with conditions that were due before a day and are not cleared, those due first before others.

        Adds `overdue`, how many those are, and `overdue_since`, the first day on which one was due.
        """
        late = Q(conditions__due_on__lt=on, conditions__cleared_at__isnull=True)
        counted = self.filter(late, confirmed_at__isnull=False).annotate(
            overdue=Count("conditions"), overdue_since=Min("conditions__due_on")
        )
        return counted.order_by("overdue_since", "pk")


class Decision(models.Model):
    """What was decided on an application: outcome, rate, amount, period, grounds."""

    class Outcome(models.TextChoices):
        APPROVED = "approved", _("Approved")
        NOT_APPROVED = "not_approved", _("Not approved")

    application = models.OneToOneField(
        Application, on_delete=models.PROTECT, related_name="decision", verbose_name=_("application")
    )
    outcome = models.CharField(_("outcome"), max_length=12, choices=Outcome.choices)
    rate_bp = models.IntegerField(
        _("rate (basis points)"),
        default=0,
        help_text=_("The share of the list price that the scheme pays; 7000 is 70 %."),
    )
    exceptional_grounds = models.TextField(
        _("exceptional grounds"), blank=True, help_text=_("Needed above the ordinary ceiling.")
    )
    amount_cents = models.BigIntegerField(_("amount (cents of HKD)"), default=0)
    starts_on = models.DateField(_("first day"), null=True, blank=True)
    ends_on = models.DateField(_("last day"), null=True, blank=True)
    account = models.CharField(
        _("Slurm account"),
        max_length=128,
        blank=True,
        validators=[SLURM_ACCOUNT],
        help_text=_(
            "Empty: the project's code. Another one where the project has hours of another funding at the same time."
        ),
    )
    reason = models.TextField(_("reason"))
    recorded_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("recorded by"))
    recorded_at = models.DateTimeField(_("recorded at"))
    confirmed_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("confirmed by")
    )
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True, blank=True)

    overdue: int  # added by with_overdue()
    overdue_since: date  # added by with_overdue()

    objects = DecisionQuerySet.as_manager()

    class Meta:
        verbose_name = _("decision")
        verbose_name_plural = _("decisions")
        ordering = ("-recorded_at", "-id")
        # The ceilings, and that a confirmed decision stands for ever: see centre/triggers.py.
        constraints = (
            models.CheckConstraint(
                name="an_approval_has_a_rate_and_a_period",
                condition=Q(outcome="not_approved", rate_bp=0, amount_cents=0)
                | Q(
                    outcome="approved",
                    rate_bp__gt=0,
                    rate_bp__lte=10_000,
                    amount_cents__gte=0,
                    starts_on__isnull=False,
                    ends_on__isnull=False,
                    ends_on__gte=F("starts_on"),
                ),
                violation_error_message=_("An approval needs a rate, a first day and a last day, in this order."),
            ),
            models.CheckConstraint(
                name="decision_is_confirmed_by_a_second_person",
                condition=Q(confirmed_by__isnull=True, confirmed_at__isnull=True)
                | (Q(confirmed_by__isnull=False, confirmed_at__isnull=False) & ~Q(confirmed_by=F("recorded_by"))),
                violation_error_message=_("Someone else than the person who recorded it has to confirm the decision."),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_outcome_display())

    @property
    def is_confirmed(self) -> bool:
        return self.confirmed_at is not None


class DecisionGrant(models.Model):
    """GPU time approved on one pool, with the list price that the amount was computed from."""

    decision = models.ForeignKey(Decision, on_delete=models.PROTECT, related_name="grants", verbose_name=_("decision"))
    pool = models.ForeignKey(GpuPool, on_delete=models.PROTECT, related_name="+", verbose_name=_("GPU pool"))
    gpu_seconds = models.BigIntegerField(_("approved (GPU-seconds)"))
    cents_per_gpu_hour = models.BigIntegerField(_("list price (cents of HKD per GPU-hour)"))

    class Meta:
        verbose_name = _("GPU time approved")
        verbose_name_plural = _("GPU time approved")
        ordering = ("decision", "pool")
        constraints = (
            models.UniqueConstraint(fields=("decision", "pool"), name="a_decision_grants_once_per_pool"),
            models.CheckConstraint(
                name="a_decision_grants_a_positive_amount", condition=Q(gpu_seconds__gt=0, cents_per_gpu_hour__gte=0)
            ),
        )

    def __str__(self) -> str:
        return gettext("%(hours)s GPU-hours") % {"hours": hours_text(self.gpu_seconds)}


class Condition(models.Model):
    """What an approval asks of the project, by when, and how it was met."""

    decision = models.ForeignKey(
        Decision, on_delete=models.PROTECT, related_name="conditions", verbose_name=_("decision")
    )
    text = models.TextField(_("condition"))
    due_on = models.DateField(_("due on"), null=True, blank=True)
    evidence = models.TextField(_("evidence"), blank=True)
    cleared_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("cleared by")
    )
    cleared_at = models.DateTimeField(_("cleared at"), null=True, blank=True)

    class Meta:
        verbose_name = _("condition")
        verbose_name_plural = _("conditions")
        ordering = ("decision", "due_on", "id")
        constraints = (
            models.CheckConstraint(
                name="a_cleared_condition_says_by_whom",
                condition=Q(cleared_by__isnull=True, cleared_at__isnull=True)
                | Q(cleared_by__isnull=False, cleared_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return self.text[:80]


class AwardQuerySet(models.QuerySet["Award"]):
    def visible_to(self, user: User) -> Self:
        """Staff who work with cases see all; a person sees those of their projects and of tenants they may sign for."""
        if permissions.allows(user.staff_roles, "subsidies.view_award"):
            return self
        joined = Membership.objects.current().filter(user=user)
        represented = Representative.objects.filter(user=user, ended_at__isnull=True)
        return self.filter(
            Q(project__in=joined.values("project")) | Q(project__tenant__in=represented.values("tenant"))
        )

    def running(self, *, on: date) -> Self:
        return self.filter(starts_on__lte=on, ends_on__gte=on)


class Award(models.Model):
    """An accepted offer: the money that the scheme committed to a project, and for how long."""

    application = models.OneToOneField(
        Application, on_delete=models.PROTECT, related_name="award", verbose_name=_("application")
    )
    decision = models.OneToOneField(
        Decision, on_delete=models.PROTECT, related_name="award", verbose_name=_("decision")
    )
    number = models.CharField(_("number"), max_length=20, unique=True)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="awards", verbose_name=_("project"))
    rate_bp = models.IntegerField(_("rate (basis points)"))
    amount_cents = models.BigIntegerField(_("amount (cents of HKD)"))
    starts_on = models.DateField(_("first day"))
    ends_on = models.DateField(_("last day"))
    committed_cents = models.BigIntegerField(_("committed"), default=0, editable=False)
    drawn_cents = models.BigIntegerField(_("drawn"), default=0, editable=False)
    released_cents = models.BigIntegerField(_("released"), default=0, editable=False)
    clawed_back_cents = models.BigIntegerField(_("clawed back"), default=0, editable=False)
    created_at = models.DateTimeField(_("accepted at"), editable=False)

    objects = AwardQuerySet.as_manager()

    class Meta:
        verbose_name = _("award")
        verbose_name_plural = _("awards")
        ordering = ("-number",)
        # It says what its confirmed decision says: see centre/triggers.py.
        constraints = (
            models.CheckConstraint(name="award_ends_after_it_starts", condition=Q(ends_on__gte=F("starts_on"))),
            models.CheckConstraint(
                name="award_totals_are_not_negative",
                condition=Q(
                    amount_cents__gte=0,
                    committed_cents__gte=0,
                    drawn_cents__gte=0,
                    released_cents__gte=0,
                    clawed_back_cents__gte=0,
                ),
            ),
            models.CheckConstraint(
                name="award_commits_at_most_its_amount", condition=Q(committed_cents__lte=F("amount_cents"))
            ),
            models.CheckConstraint(
                name="award_draws_and_releases_what_is_committed",
                condition=Q(committed_cents__gte=F("drawn_cents") + F("released_cents")),
            ),
            models.CheckConstraint(
                name="award_claws_back_what_was_drawn", condition=Q(clawed_back_cents__lte=F("drawn_cents"))
            ),
        )

    def __str__(self) -> str:
        return self.number


class AwardGrant(models.Model):
    """The link from an award to the ledger entry by which its hours were given. Written once."""

    award = models.ForeignKey(Award, on_delete=models.PROTECT, related_name="grants", verbose_name=_("award"))
    allocation = models.ForeignKey(
        Allocation, on_delete=models.PROTECT, related_name="award_grants", verbose_name=_("allocation")
    )
    entry = models.OneToOneField(
        LedgerEntry, on_delete=models.PROTECT, related_name="award_grant", verbose_name=_("ledger entry")
    )
    gpu_seconds = models.BigIntegerField(_("granted (GPU-seconds)"))

    class Meta:
        verbose_name = _("grant of an award")
        verbose_name_plural = _("grants of awards")
        ordering = ("award", "id")
        constraints = (
            models.CheckConstraint(name="an_award_grants_a_positive_amount", condition=Q(gpu_seconds__gt=0)),
        )

    def __str__(self) -> str:
        return gettext("%(hours)s GPU-hours") % {"hours": hours_text(self.gpu_seconds)}


class SubsidyProject(models.Model):
    """A funded project's standing under its award."""

    class Standing(models.TextChoices):
        ONBOARDING = "onboarding", _("Onboarding")
        ACTIVE = "active", _("Active")
        SUSPENDED = "suspended", _("Suspended")
        CLOSING = "closing", _("Closing")
        COMPLETED = "completed", _("Completed")
        TERMINATED = "terminated", _("Terminated")

    award = models.OneToOneField(
        Award, on_delete=models.PROTECT, related_name="subsidy_project", verbose_name=_("award")
    )
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="subsidy_projects", verbose_name=_("project")
    )
    standing = models.CharField(
        _("standing"), max_length=12, choices=Standing.choices, default=Standing.ONBOARDING, editable=False
    )

    class Meta:
        verbose_name = _("subsidy project")
        verbose_name_plural = _("subsidy projects")
        ordering = ("-award__number",)
        constraints = (
            models.CheckConstraint(
                name="subsidy_project_standing_is_known",
                condition=Q(standing__in=("onboarding", "active", "suspended", "closing", "completed", "terminated")),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_standing_display())
