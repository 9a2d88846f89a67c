"""Applications: what a tenant asks of the scheme, and every step of the case.

`subsidies.applications` and `subsidies.awards` are the only writers of the state; the moves that exist are in
`subsidies.life_cycle`.
"""

from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre import permissions
from centre.amounts import hours_text
from centre.models import GpuPool, Project, Representative, Tenant, User
from centre.models.tenants import CODE
from subsidies import life_cycle
from subsidies.life_cycle import State
from subsidies.models.scheme import Scheme


class ApplicationQuerySet(models.QuerySet["Application"]):
    def visible_to(self, user: User) -> Self:
        """Staff who work with cases see those received; applicants see what they lead or may sign for."""
        if permissions.allows(user.staff_roles, "subsidies.view_application"):
            return self
        represented = Representative.objects.filter(user=user, ended_at__isnull=True)
        return self.filter(Q(lead=user) | Q(tenant__in=represented.values("tenant")))

    def received(self) -> Self:
        """Every application that reached the centre, whatever became of it."""
        return self.filter(received_on__isnull=False)

    def approved(self) -> Self:
        """Applications with a confirmed decision to approve."""
        return self.filter(decision__outcome="approved", decision__confirmed_at__isnull=False)


class Application(models.Model):
    """What a tenant asks of the scheme: GPU time for a project, existing or new."""

    State = State

    number = models.CharField(_("number"), max_length=20, unique=True, editable=False)
    scheme = models.ForeignKey(Scheme, on_delete=models.PROTECT, related_name="applications", verbose_name=_("scheme"))
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="applications", verbose_name=_("tenant"))
    project = models.ForeignKey(
        Project,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="applications",
        verbose_name=_("existing project"),
        help_text=_("Empty when an approval is to create a new project."),
    )
    new_project_code = models.CharField(_("code of the new project"), max_length=40, blank=True, validators=[CODE])
    lead = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="led_applications",
        verbose_name=_("lead of the new project"),
    )
    title = models.CharField(_("title"), max_length=300)
    summary = models.TextField(_("summary"), blank=True)
    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.DRAFT, editable=False)
    received_on = models.DateField(_("received on"), null=True, blank=True)
    starts_on = models.DateField(_("asked from"), null=True, blank=True)
    ends_on = models.DateField(_("asked until"), null=True, blank=True)
    recorded_by = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", verbose_name=_("recorded by"), editable=False
    )
    recorded_at = models.DateTimeField(_("recorded at"), editable=False)

    objects = ApplicationQuerySet.as_manager()

    class Meta:
        verbose_name = _("application")
        verbose_name_plural = _("applications")
        ordering = ("-received_on", "-id")
        indexes = (models.Index(fields=("state", "received_on"), name="application_by_state"),)
        constraints = (
            models.CheckConstraint(name="application_state_is_known", condition=Q(state__in=State.values)),
            models.CheckConstraint(
                name="application_is_for_an_existing_project_or_a_new_one",
                condition=Q(state__in=("draft", "withdrawn"))
                | Q(project__isnull=False, new_project_code="", lead__isnull=True)
                | (Q(project__isnull=True, lead__isnull=False) & ~Q(new_project_code="")),
                violation_error_message=_(
                    "Choose an existing project, or give the code and the lead of a new one; not both."
                ),
            ),
            models.CheckConstraint(
                name="application_ends_after_it_starts",
                condition=Q(state__in=("draft", "withdrawn"))
                | Q(starts_on__isnull=False, ends_on__isnull=False, ends_on__gte=F("starts_on")),
                violation_error_message=_("The period needs a first and a last day, in this order."),
            ),
            models.CheckConstraint(
                name="application_has_the_day_of_its_receipt",
                condition=Q(state__in=("draft", "withdrawn")) | Q(received_on__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.number}: {self.title}"

    @property
    def public_state(self) -> Promise:
        """Where the case is, in the words that an applicant reads."""
        return life_cycle.PUBLIC_NAMES[State(self.state)]

    @property
    def is_undecided(self) -> bool:
        return self.state in life_cycle.UNDECIDED


class ApplicationAsk(models.Model):
    """GPU time asked for on one pool."""

    application = models.ForeignKey(
        Application, on_delete=models.PROTECT, related_name="asks", verbose_name=_("application")
    )
    pool = models.ForeignKey(GpuPool, on_delete=models.PROTECT, related_name="+", verbose_name=_("GPU pool"))
    gpu_seconds = models.BigIntegerField(_("asked for (GPU-seconds)"))

    class Meta:
        verbose_name = _("GPU time asked for")
        verbose_name_plural = _("GPU time asked for")
        ordering = ("application", "pool")
        constraints = (
            models.UniqueConstraint(
                fields=("application", "pool"),
                name="an_application_asks_once_per_pool",
                violation_error_message=_("This pool is named twice."),
            ),
            models.CheckConstraint(name="application_asks_for_a_positive_amount", condition=Q(gpu_seconds__gt=0)),
        )

    def __str__(self) -> str:
        return gettext("%(hours)s GPU-hours") % {"hours": hours_text(self.gpu_seconds)}


class ApplicationStep(models.Model):
    """One move of an application from a state to the next: who, when, why. Written once."""

    application = models.ForeignKey(
        Application, on_delete=models.PROTECT, related_name="steps", verbose_name=_("application")
    )
    from_state = models.CharField(_("from"), max_length=20, choices=State.choices)
    to_state = models.CharField(_("to"), max_length=20, choices=State.choices)
    at = models.DateTimeField(_("at"))
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", verbose_name=_("by"), db_index=False)
    reason = models.TextField(_("reason"), blank=True)

    class Meta:
        verbose_name = _("step")
        verbose_name_plural = _("steps")
        ordering = ("application", "id")
        constraints = (
            models.CheckConstraint(
                name="a_step_follows_the_life_cycle",
                condition=Q(
                    *(
                        Q(from_state=before.value, to_state__in=[after.value for after in following])
                        for before, following in life_cycle.TRANSITIONS.items()
                        if following
                    ),
                    _connector=Q.OR,
                ),
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_from_state_display()} → {self.get_to_state_display()}"
