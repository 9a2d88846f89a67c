"""Whom the centre speaks to at a tenant: noted, mended, ended. Told in the tenant's own history; nothing is deleted."""

from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from centre.audit import record
from centre.models import Tenant, TenantContact, User

DESCRIBED = ("name", "role", "email", "phone")


class ContactError(Exception):
    """Why a contact could not be changed, as a sentence for a screen."""


class NotHere(ContactError):
    """The contact belongs to another tenant, or has ended."""


class ContactEnded(ContactError):
    """The person is no contact of the tenant any more."""


@transaction.atomic
def add_contact(
    *,
    tenant: Tenant,
    name: str,
    by: User | None,
    at: datetime,
    role: str = "",
    email: str = "",
    phone: str = "",
) -> TenantContact:
    """Note a person at the tenant. Raises ValidationError for a field that does not fit, or no way to reach them."""
    contact = TenantContact(tenant=tenant, name=name, role=role, email=email, phone=phone, since_at=at)
    contact.full_clean(exclude={"tenant"})
    contact.save()
    record(act="add_contact", on=tenant, by=by, at=at, changes={"contact": in_words(contact)})
    return contact


@transaction.atomic
def change_contact(*, contact: TenantContact, by: User | None, at: datetime, **described: str) -> TenantContact:
    """Write the person's name, role, address or phone anew. Raises ContactEnded, ValidationError."""
    assert described.keys() <= set(DESCRIBED), described  # noqa: S101  a mistake in the program
    row = standing(contact)
    before = in_words(row)
    for name, value in described.items():
        setattr(row, name, value)
    if in_words(row) == before:
        return row
    row.full_clean(exclude={"tenant"})
    row.save(update_fields=list(described))
    record(act="change_contact", on=row.tenant, by=by, at=at, changes={"contact": [before, in_words(row)]})
    return row


@transaction.atomic
def end_contact(*, contact: TenantContact, by: User | None, at: datetime) -> TenantContact:
    """The centre does not speak to the person any more; who it was stays on record. Raises ContactEnded."""
    row = standing(contact)
    row.ended_at = at
    row.save(update_fields=["ended_at"])
    record(act="end_contact", on=row.tenant, by=by, at=at, changes={"contact": in_words(row)})
    return row


def standing(contact: TenantContact) -> TenantContact:
    """The row as it stands, locked until the end of the transaction. Raises ContactEnded."""
    row = TenantContact.objects.select_for_update(of=("self",)).select_related("tenant").get(pk=contact.pk)
    if row.ended_at is not None:
        raise ContactEnded(_("%(name)s is no contact of the tenant any more.") % {"name": row.name})
    return row


def in_words(contact: TenantContact) -> str:
    """The whole contact in one line, as the history tells it."""
    return ", ".join(part for part in (contact.name, contact.role, contact.email, contact.phone) if part)
