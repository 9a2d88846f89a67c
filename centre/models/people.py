"""People who sign in, and the staff roles to which some of them are appointed."""

from contextlib import suppress
from datetime import date
from typing import Any, ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from centre import permissions
from centre.names import person_name, validate_person_name
from centre.permissions import StaffRole


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=(username or "").lower())

    def create_superuser(self, *_args: Any, **_fields: Any) -> "User":
        """There is none: what a person may do comes from appointments. `manage.py createsuperuser` says so."""
        raise CommandError(
            "The portal has no superuser: what a person may do comes from appointments. Appoint the first two "
            "administrators with “manage.py first_officers A@example.org B@example.org”."
        )


class User(AbstractBaseUser):
    """A person. The e-mail address is the name; what a person may do comes from appointments and memberships.

    There is no superuser flag, no group and no stored permission: nothing outlives the role that gave it.
    """

    class Language(models.TextChoices):
        ENGLISH = "en", _("English")
        TRADITIONAL_CHINESE = "zh-hant", _("Traditional Chinese")
        SIMPLIFIED_CHINESE = "zh-hans", _("Simplified Chinese")

    email = models.EmailField(
        _("e-mail address"),
        max_length=254,
        unique=True,
        error_messages={"unique": _("Someone with this e-mail address is already known.")},
    )
    name = models.CharField(_("name"), max_length=200, blank=True, validators=[validate_person_name])
    language = models.CharField(
        _("language of letters"), max_length=10, choices=Language.choices, default=Language.ENGLISH
    )
    is_active = models.BooleanField(
        _("may sign in"),
        default=True,
        help_text=_("An account is closed and opened by acts of their own. Nothing that the person did is lost."),
    )
    created_at = models.DateTimeField(_("added at"), default=timezone.now, editable=False)
    invited_at = models.DateTimeField(_("first-sign-in link sent at"), null=True, blank=True, editable=False)

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")
        ordering = ("email",)
        constraints = (
            models.CheckConstraint(
                name="email_address_is_kept_in_lower_case",
                condition=Q(email=Lower("email")),
                violation_error_message=_("Write the e-mail address in lower case."),
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.name else self.email

    def clean(self) -> None:
        self.email = self.email.lower()
        with suppress(ValidationError):  # the field's own validator says what is wrong with it
            self.name = person_name(self.name)

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name or self.email

    @cached_property
    def staff_roles(self) -> frozenset[StaffRole]:
        """The staff roles in force now; one query for each request, as the user is loaded anew for each."""
        if not self.is_active or self.pk is None:
            return frozenset()
        held = Appointment.objects.filter(user=self).in_force(on=timezone.localdate())
        return frozenset(StaffRole(role) for role in held.values_list("role", flat=True))

    @property
    def is_staff(self) -> bool:
        """Whether the person is centre staff today; Django's admin and allauth ask for it by this name."""
        return bool(self.staff_roles)

    def has_perm(self, perm: str, obj: models.Model | None = None) -> bool:
        return permissions.allows(self.staff_roles, perm)

    def has_perms(self, perm_list: list[str], obj: models.Model | None = None) -> bool:
        return all(self.has_perm(perm, obj) for perm in perm_list)

    def has_module_perms(self, app_label: str) -> bool:
        return permissions.allows_app(self.staff_roles, app_label)


class AppointmentQuerySet(models.QuerySet["Appointment"]):
    def in_force(self, *, on: date) -> Self:
        """Approved, begun and not ended on that day."""
        return self.filter(approved_at__isnull=False, from_on__lte=on).filter(
            Q(until_on__isnull=True) | Q(until_on__gte=on)
        )

    def waiting(self) -> Self:
        """Asked for and not yet approved by a second person."""
        return self.filter(approved_at__isnull=True, withdrawn_at__isnull=True)


class Appointment(models.Model):
    """A staff role that a person holds from a day to a day; asked for by one person, approved by another.

    Only the first two administrators are appointed without a second person (`manage.py first_officers`, once).
    """

    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="appointments", verbose_name=_("person"))
    role = models.CharField(_("role"), max_length=30, choices=StaffRole.choices)
    from_on = models.DateField(_("from"))
    until_on = models.DateField(_("until"), null=True, blank=True, help_text=_("The last day; empty while it is open."))
    reason = models.CharField(_("reason"), max_length=500)
    asked_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("asked for by")
    )
    asked_at = models.DateTimeField(_("asked for at"))
    approved_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("approved by")
    )
    approved_at = models.DateTimeField(_("approved at"), null=True, blank=True)
    withdrawn_at = models.DateTimeField(_("withdrawn at"), null=True, blank=True)
    is_first = models.BooleanField(_("one of the first two administrators"), default=False, editable=False)

    objects = AppointmentQuerySet.as_manager()

    class Meta:
        verbose_name = _("appointment")
        verbose_name_plural = _("appointments")
        ordering = ("-from_on", "-id")
        indexes = (models.Index(fields=("user", "from_on")),)
        constraints = (
            models.CheckConstraint(
                name="appointment_ends_after_it_starts",
                condition=Q(until_on__isnull=True) | Q(until_on__gte=F("from_on")),
                violation_error_message=_("The last day is before the first."),
            ),
            models.CheckConstraint(name="appointment_role_is_known", condition=Q(role__in=StaffRole.values)),
            models.CheckConstraint(
                name="appointment_is_approved_by_a_second_person",
                condition=Q(approved_at__isnull=True)
                | Q(is_first=True, role=StaffRole.ADMINISTRATOR)
                | (Q(asked_by__isnull=False, approved_by__isnull=False) & ~Q(asked_by=F("approved_by"))),
                violation_error_message=_("Someone else than the person who asked for it has to approve it."),
            ),
            models.CheckConstraint(
                name="nobody_approves_their_own_appointment",
                condition=Q(approved_by__isnull=True) | ~Q(approved_by=F("user")) | Q(is_first=True),
                violation_error_message=_("Nobody approves their own appointment."),
            ),
        )

    def __str__(self) -> str:
        return str(self.get_role_display())
