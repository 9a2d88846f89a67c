"""What officers note of tenants: agreements, registration numbers, contacts, and one that was registered twice."""

from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from centre import contacts, merging_tenants, tenants
from centre.demo.content import TENANTS
from centre.demo.people import address
from centre.demo.world import World
from centre.models import Tenant
from centre.models.tenants import TenantCategory


class Noted(NamedTuple):
    """Of one tenant: its number, the days of its agreement, and whom the centre speaks to (name, role, phone)."""

    tenant: str
    number: str
    agreed: int
    until: int | None = None
    contact: tuple[str, str, str] | None = None


NOTED: Final = (
    Noted(
        "lion-rock-u", "INV-U-0101", -402, None, ("Demo contact, research office", "Research computing", "2100 0101")
    ),
    Noted("lantau-ust", "INV-U-0102", -398),
    Noted("harbour-voice", "INV-R-0201", -396, 12, ("Demo contact, accounts", "Invoices", "2100 0201")),
    Noted("tai-mo-med", "INV-R-0203", -380, 350),
    Noted("harbourlight", "INV-E-0302", -300, 430, ("Demo contact, production", "Production", "2100 0302")),
    Noted("lamma-freight", "INV-E-0304", -260, -12, ("Demo contact, accounts", "Invoices", "2100 0304")),
    Noted("little-egret", "INV-S-0401", -210, 155),
    Noted("public-enquiry", "INV-G-0501", -345),
)
REGISTERED_AGAIN: Final = (("egret-ai", "little-egret"), ("lion-rock", "lion-rock-u"))
"""Records of a tenant that was there already; the first one was merged, the second one nobody has noticed yet."""


def write(world: World) -> None:
    """When it was noted, in the diary."""
    for noted in NOTED:
        world.diary.on(noted.agreed, 15, partial(note, world, noted))
    for number, (again, first) in enumerate(REGISTERED_AGAIN):
        world.diary.on(-34 + number, 10, partial(register_again, world, again, first))
    world.diary.on(-31, 11, partial(merge, world, *REGISTERED_AGAIN[0]))


def note(world: World, noted: Noted, at: datetime) -> None:
    by, day = world.staff("tenant.officer"), world.diary.day
    tenants.change_tenant(
        tenant=world.tenants[noted.tenant],
        registration_number=noted.number,
        agreement_from_on=day(noted.agreed),
        agreement_until_on=None if noted.until is None else day(noted.until),
        by=by,
        at=at,
    )
    if noted.contact is not None:
        name, role, phone = noted.contact
        contacts.add_contact(
            tenant=world.tenants[noted.tenant],
            name=name,
            role=role,
            email=address(f"{noted.tenant}.office"),
            phone=phone,
            by=by,
            at=at,
        )


def register_again(world: World, code: str, first: str, at: datetime) -> None:
    """A colleague did not find the tenant, because it was looked for by another name."""
    plan = next(plan for plan in TENANTS if plan.code == first)
    [row] = tenants.register_tenants(
        tenants=[
            Tenant(code=code, category=TenantCategory(plan.category), is_invented=True, **plan.name.fields("name"))
        ],
        by=world.staff("tenant.officer"),
        at=at,
    )
    world.tenants[code] = row


def merge(world: World, gone: str, keep: str, at: datetime) -> None:
    merging_tenants.merge_tenants(
        keep=world.tenants[keep],
        gone=world.tenants[gone],
        reason="Registered twice; the older record has the projects.",
        by=world.staff("tenant.officer"),
        at=at,
    )
