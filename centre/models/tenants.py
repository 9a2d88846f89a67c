"""Tenants, the projects of their teams, and who belongs to what."""

from typing import Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Count, F, OuterRef, Q, Subquery
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from centre.days import validate_day
from centre.models.facility import Cluster
from centre.models.names import TrilingualName
from centre.models.people import User
from centre.permissions import ProjectRole, sees_every_project

CODE = RegexValidator(
    r"^[a-z0-9][a-z0-9_-]*\Z",
    _("Use lower-case letters, digits, hyphens and underscores; begin with a letter or digit."),
)


class Standing(models.TextChoices):
    """Where a tenant or a project stands; nothing is ever deleted."""

    ACTIVE = "active", _("Active")
    SUSPENDED = "suspended", _("Suspended")
    CLOSED = "closed", _("Closed")


class TenantCategory(models.TextChoices):
    UNIVERSITY = "university", _("University")
    RESEARCH_INSTITUTE = "research_institute", _("Research institute")
    ENTERPRISE = "enterprise", _("Enterprise")
    START_UP = "start_up", _("Start-up")
    GOVERNMENT_DEPARTMENT = "government_department", _("Government department")
    PUBLIC_BODY = "public_body", _("Public body")


class TenantQuerySet(models.QuerySet["Tenant"]):
    def visible_to(self, user: User) -> Self:
        """Staff who work with tenants see all; a person sees those that they represent or work for."""
        if sees_every_project(user.staff_roles):
            return self
        represented = Representative.objects.filter(user=user, ended_at__isnull=True)
        joined = Membership.objects.current().filter(user=user)
        return self.filter(Q(id__in=represented.values("tenant")) | Q(projects__in=joined.values("project"))).distinct()

    def overseen_by(self, user: User) -> Self:
        """Those whose projects the person sees all of: as their representative, or as staff."""
        if sees_every_project(user.staff_roles):
            return self
        return self.filter(id__in=Representative.objects.filter(user=user, ended_at__isnull=True).values("tenant"))

    def with_signing(self) -> Self:
        """Adds `signing`: how many people may sign for each tenant now."""
        return self.annotate(signing=Count("representatives", filter=Q(representatives__ended_at__isnull=True)))


class Tenant(TrilingualName):
    """An organisation that uses the centre."""

    code = models.CharField(
        _("code"),
        max_length=40,
        unique=True,
        validators=[CODE],
        help_text=_("A short name for lists, addresses and spreadsheets, such as “harbour-u”. It never changes."),
    )
    category = models.CharField(
        _("category"),
        max_length=30,
        choices=TenantCategory.choices,
        help_text=_("What kind of organisation it is; reports and the subsidy scheme count by it."),
    )
    standing = models.CharField(_("standing"), max_length=20, choices=Standing.choices, default=Standing.ACTIVE)
    registration_number = models.CharField(
        _("registration number"),
        max_length=60,
        blank=True,
        help_text=_("The number of its business registration or charter, as it stands on the paper."),
    )
    is_invented = models.BooleanField(
        _("invented for the demo"), default=False, help_text=_("Shown wherever the name is shown to the public.")
    )
    notes = models.TextField(
        _("notes"),
        blank=True,
        help_text=_("What colleagues should know, for example how invoices are addressed. The tenant never sees it."),
    )
    agreement_from_on = models.DateField(
        _("agreement from"),
        null=True,
        blank=True,
        validators=[validate_day],
        help_text=_("The first day of the agreement that was signed."),
    )
    agreement_until_on = models.DateField(
        _("agreement until"),
        null=True,
        blank=True,
        validators=[validate_day],
        help_text=_("Its last day. Leave it empty while the agreement runs without an end."),
    )
    merged_into = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="merged_records",
        verbose_name=_("merged into"),
        editable=False,
        help_text=_("The record under which the tenant goes on; this one is kept for its code and its history."),
    )
    created_at = models.DateTimeField(_("registered at"), default=timezone.now, editable=False)

    signing: int  # added by with_signing()

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name = _("tenant")
        verbose_name_plural = _("tenants")
        ordering = ("code",)
        constraints = (
            models.CheckConstraint(name="tenant_category_is_known", condition=Q(category__in=TenantCategory.values)),
            models.CheckConstraint(name="tenant_standing_is_known", condition=Q(standing__in=Standing.values)),
            models.CheckConstraint(
                name="agreement_ends_after_it_starts",
                condition=Q(agreement_from_on__isnull=True)
                | Q(agreement_until_on__isnull=True)
                | Q(agreement_until_on__gte=F("agreement_from_on")),
                violation_error_message=_("The agreement ends before it begins."),
            ),
            models.CheckConstraint(
                name="merged_tenant_is_closed_and_leads_to_another",
                condition=Q(merged_into__isnull=True) | (Q(standing="closed") & ~Q(merged_into=F("id"))),
            ),
        )

    def clean(self) -> None:
        """Raises ValidationError, naming the field, for an agreement that ends before it begins."""
        first, last = self.agreement_from_on, self.agreement_until_on
        if first is not None and last is not None and last < first:
            raise ValidationError({"agreement_until_on": _("The agreement ends before it begins.")})

    def get_absolute_url(self) -> str:
        return reverse("tenant", args=[self.code])


class Representative(models.Model):
    """A person who may sign for a tenant; sees all of its projects."""

    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, related_name="representatives", verbose_name=_("tenant")
    )
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="representations", verbose_name=_("person"))
    since_at = models.DateTimeField(_("since"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("representative")
        verbose_name_plural = _("representatives")
        ordering = ("tenant", "since_at")
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "user"),
                condition=Q(ended_at__isnull=True),
                name="person_represents_a_tenant_once_at_a_time",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tenant_id}: {self.user_id}"


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> Self:
        """Staff who work with tenants see all; members see theirs; a representative sees all of the tenant's."""
        return self if sees_every_project(user.staff_roles) else self.belonging_to(user)

    def belonging_to(self, user: User) -> Self:
        """Projects that the person is a member of, or whose tenant they represent; staff roles aside."""
        joined = Membership.objects.current().filter(user=user)
        represented = Representative.objects.filter(user=user, ended_at__isnull=True)
        return self.filter(Q(id__in=joined.values("project")) | Q(tenant__in=represented.values("tenant")))

    def with_role_of(self, user: User) -> Self:
        """Adds `role_of_user`: the person's role in each team now; None for who is not in it."""
        current = Membership.objects.current().filter(project=OuterRef("pk"), user=user)
        return self.annotate(role_of_user=Subquery(current.values("role")[:1]))


class Project(models.Model):
    """A tenant's team and its work; the unit that holds allocations. Its code is its first Slurm account."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="projects", verbose_name=_("tenant"))
    code = models.CharField(
        _("code"),
        max_length=40,
        unique=True,
        validators=[CODE],
        help_text=_("Also the name of the project's first Slurm account."),
    )
    title = models.CharField(_("title"), max_length=300)
    summary = models.TextField(_("summary"), blank=True)
    standing = models.CharField(_("standing"), max_length=20, choices=Standing.choices, default=Standing.ACTIVE)
    created_at = models.DateTimeField(_("registered at"), default=timezone.now, editable=False)

    role_of_user: str | None  # added by with_role_of()

    objects = ProjectQuerySet.as_manager()

    class Meta:
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        ordering = ("code",)
        constraints = (
            models.CheckConstraint(name="project_standing_is_known", condition=Q(standing__in=Standing.values)),
        )

    def __str__(self) -> str:
        return f"{self.code}: {self.title}"

    def get_absolute_url(self) -> str:
        return reverse("project", args=[self.code])


class MembershipQuerySet(models.QuerySet["Membership"]):
    def current(self) -> Self:
        return self.filter(ended_at__isnull=True)


class Membership(models.Model):
    """A person's part in a project from one instant to another; changing a role ends one row and begins the next."""

    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="memberships", verbose_name=_("project")
    )
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships", verbose_name=_("person"))
    role = models.CharField(_("role"), max_length=20, choices=ProjectRole.choices)
    since_at = models.DateTimeField(_("since"))
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    added_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("added by")
    )
    ended_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("ended by")
    )

    objects = MembershipQuerySet.as_manager()

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        ordering = ("project", "since_at", "id")
        indexes = (models.Index(fields=("user", "project")),)
        constraints = (
            models.UniqueConstraint(
                fields=("project", "user"),
                condition=Q(ended_at__isnull=True),
                name="person_is_a_member_of_a_project_once_at_a_time",
                violation_error_message=_("This person is already a member of the project."),
            ),
            models.CheckConstraint(name="member_role_is_known", condition=Q(role__in=ProjectRole.values)),
            models.CheckConstraint(
                name="membership_ends_after_it_starts",
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("since_at")),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_role_display())


class ClusterUser(models.Model):
    """Whose runs are whose: a user name on a cluster belongs to one person."""

    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="users", verbose_name=_("cluster"))
    name = models.CharField(_("user name on the cluster"), max_length=128)
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="cluster_users", verbose_name=_("person"))

    class Meta:
        verbose_name = _("cluster user")
        verbose_name_plural = _("cluster users")
        ordering = ("cluster", "name")
        constraints = (
            models.UniqueConstraint(
                fields=("cluster", "name"),
                name="cluster_user_name_belongs_to_one_person",
                violation_error_message=_("This user name on the cluster belongs to someone else."),
            ),
        )

    def __str__(self) -> str:
        return self.name
