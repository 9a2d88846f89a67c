"""What teams asked the centre for, and what it answered: requests in every state."""

from datetime import datetime
from functools import partial

from allocations import requests
from allocations.models import Allocation, ChangeRequest
from allocations.request_letters import without_letters
from centre.demo.world import World
from centre.models import Project

Kind = ChangeRequest.Kind
ANSWERED = (
    ("harbourlight-render", "l40s", 4_000, -96, "Two more episodes were ordered.", 4_000, "Paid; given."),
    (
        "kapok-reading",
        "l40s",
        2_500,
        -18,
        "測試題目比預期多一倍。",
        0,
        "The offer is for three months and its hours; please order.",
    ),
    (
        "gene-fold",
        "h800",
        900,
        -41,
        "A second round of folding for the liver panel.",
        150,
        "As much as the pool can give before the next award.",
    ),
)
"""Project, pool, GPU-hours asked for, day, why, GPU-hours given, the answer."""


def requests_of_teams(world: World) -> None:
    """Requests for more hours, a longer period, members: answered, withdrawn and waiting ones."""
    diary = world.diary
    for project, pool, hours, day, reason, given, answer in ANSWERED:
        diary.on(day, 10, partial(ask_hours, world, project, pool, hours, reason, f"{project}.lead"))
        diary.on(day + 2, 15, partial(answer_hours, world, project, given, answer))
    diary.on(-24, 9, partial(ask_in_words, world, "gene-fold", Kind.MEMBERS, "Two guests of the clinic need accounts."))
    diary.on(-23, 14, partial(answer_in_words, world, "gene-fold", "Both have accounts now; add them to the project."))
    diary.on(-12, 16, partial(ask_in_words, world, "gene-fold", Kind.OTHER, "Could the night queue start at eight?"))
    diary.on(-11, 9, partial(withdraw, world, "gene-fold"))
    still_waiting = (
        (-3, 10, "gene-fold", 12_000, "Two more families of variants; a month's work.", "gene-fold.lead"),
        (
            *(-2, 16, "egret-translate", 30_000),
            "Asked for by telephone: the last training run took longer than planned.",
            "allocation.officer",
        ),
    )
    for day, hour, project, amount, reason, by in still_waiting:
        diary.on(day, hour, partial(ask_hours, world, project, "h800", amount, reason, by))


def ask_hours(world: World, project: str, pool: str, hours: int, reason: str, by: str, at: datetime) -> None:
    allocation = Allocation.objects.open(on=world.diary.today).get(project__code=project, pool__code=pool)
    requests.ask(allocation=allocation, seconds=hours * 3600, reason=reason, by=world.staff(by), at=at)


def ask_in_words(world: World, project: str, kind: ChangeRequest.Kind, reason: str, at: datetime) -> None:
    lead = world.staff(f"{project}.lead")
    requests.ask(project=Project.objects.get(code=project), kind=kind, reason=reason, by=lead, at=at)


def waiting(project: str) -> ChangeRequest:
    return ChangeRequest.objects.waiting().get(project__code=project)


def answer_hours(world: World, project: str, given: int, answer: str, at: datetime) -> None:
    request, by = waiting(project), world.staff("allocation.officer")
    with without_letters():
        if given:
            requests.approve(request=request, by=by, at=at, seconds=given * 3600, answer=answer)
        else:
            requests.decline(request=request, by=by, at=at, answer=answer)


def answer_in_words(world: World, project: str, answer: str, at: datetime) -> None:
    with without_letters():
        requests.approve(request=waiting(project), by=world.staff("tenant.officer"), at=at, answer=answer)


def withdraw(world: World, project: str, at: datetime) -> None:
    requests.withdraw(request=waiting(project), by=world.staff(f"{project}.lead"), at=at)
