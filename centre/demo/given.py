"""Hours outside the scheme: sold, internal, on trial."""

from datetime import datetime

from allocations import ledger
from allocations.models import Allocation
from centre.demo.content import GivenPlan
from centre.demo.world import World
from centre.models import Project

REASONS = {
    Allocation.Funding.PURCHASED: "Order of the tenant, paid in advance",
    Allocation.Funding.INTERNAL: "The operator's yearly plan",
    Allocation.Funding.PROOF_OF_CONCEPT: "Proof-of-concept offer, three months",
}
REFERENCES = {
    Allocation.Funding.PURCHASED: "P",
    Allocation.Funding.INTERNAL: "I",
    Allocation.Funding.PROOF_OF_CONCEPT: "T",
}


def give_hours(world: World, plan: GivenPlan, at: datetime) -> None:
    """One allocation officer asks, the other approves."""
    start_on = world.diary.day(plan.start)
    ledger.open_allocation(
        project=Project.objects.get(code=plan.project),
        pool=world.pools[plan.pool],
        reference=next_reference(plan, start_on.year),
        account=plan.account,
        funding=plan.funding,
        start_on=start_on,
        end_on=world.diary.day(plan.start + plan.days - 1),
        seconds=world.seconds(plan.gpus, plan.days),
        by=world.staff("allocation.officer"),
        approved_by=world.staff("allocation.officer.two"),
        at=at,
        reason=REASONS[plan.funding],
        source_kind="order",
    )


def next_reference(plan: GivenPlan, year: int) -> str:
    """Such as P-2026-003-h800, counted per funding."""
    number = Allocation.objects.filter(funding=plan.funding).count() + 1
    return f"{REFERENCES[plan.funding]}-{year}-{number:03}-{plan.pool}"
