"""Hours outside the scheme (sold, internal, on trial), and what teams asked for."""

from datetime import datetime
from functools import partial

from allocations import ledger, requests
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


def requests_of_teams(world: World) -> None:
    """Requests for more hours: answered ones, a team's, and one that an officer noted and another has to answer."""
    diary = world.diary
    answered = (
        ("harbourlight-render", "l40s", 4_000, -96, "Two more episodes were ordered.", True, "Paid; given."),
        (
            "kapok-reading",
            "l40s",
            2_500,
            -18,
            "測試題目比預期多一倍。",
            False,
            "The offer is for three months and its hours; please order.",
        ),
    )
    for project, pool, hours, day, reason, is_given, answer in answered:
        diary.on(day, 10, partial(ask, world, project, pool, hours, reason, f"{project}.lead"))
        diary.on(day + 2, 15, partial(answer_request, world, project, is_given, answer))
    diary.on(
        -3,
        10,
        partial(
            ask, world, "gene-fold", "h800", 12_000, "Two more families of variants; a month's work.", "gene-fold.lead"
        ),
    )
    diary.on(
        -2,
        16,
        partial(
            ask,
            world,
            "egret-translate",
            "h800",
            30_000,
            "Asked for by telephone: the last training run took longer than planned.",
            "allocation.officer",
        ),
    )


def ask(world: World, project: str, pool: str, hours: int, reason: str, by: str, at: datetime) -> None:
    allocation = Allocation.objects.open(on=world.diary.today).get(project__code=project, pool__code=pool)
    requests.ask(allocation=allocation, seconds=hours * 3600, reason=reason, by=world.staff(by), at=at)


def answer_request(world: World, project: str, is_given: bool, answer: str, at: datetime) -> None:
    request = Project.objects.get(code=project).requests.get()
    by = world.staff("allocation.officer")
    if is_given:
        requests.approve(request=request, by=by, at=at, answer=answer)
    else:
        requests.decline(request=request, by=by, at=at, answer=answer)
