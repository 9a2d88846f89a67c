"""Whom the centre speaks to at a tenant: people there, whether or not they can sign in here."""

from contextlib import suppress
from typing import Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from centre.models.tenants import Tenant
from centre.names import person_name, validate_person_name

PHONE = RegexValidator(
    r"^[0-9+()/ .x-]+\Z", _("Use digits, spaces and + ( ) - / only, for example +852 2345 6789 x12.")
)


class TenantContactQuerySet(models.QuerySet["TenantContact"]):
    def current(self) -> Self:
        """Those whom the centre speaks to now."""
        return self.filter(ended_at__isnull=True)


class TenantContact(models.Model):
    """A person at a tenant for one matter, from one instant to another; never deleted."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="contacts", verbose_name=_("tenant"))
    name = models.CharField(_("name"), max_length=200, validators=[validate_person_name])
    role = models.CharField(_("role at the tenant"), max_length=200, blank=True)
    email = models.EmailField(_("e-mail address"), max_length=254, blank=True)
    phone = models.CharField(_("phone"), max_length=60, blank=True, validators=[PHONE])
    since_at = models.DateTimeField(_("since"), editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True, editable=False)

    objects = TenantContactQuerySet.as_manager()

    class Meta:
        verbose_name = _("contact")
        verbose_name_plural = _("contacts")
        ordering = ("tenant", "name", "id")
        constraints = (
            models.CheckConstraint(
                name="contact_can_be_reached",
                condition=~Q(email="") | ~Q(phone=""),
                violation_error_message=_("Give an e-mail address or a phone number."),
            ),
            models.CheckConstraint(
                name="contact_ends_after_it_starts", condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("since_at"))
            ),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        with suppress(ValidationError):  # the field's own validator says what is wrong with it
            self.name = person_name(self.name)
