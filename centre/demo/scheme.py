"""The subsidy scheme's part of the demo: the scheme's row, twenty applications, their decisions and awards."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from centre import audit
from centre.demo import people, texts
from centre.demo.cases import CasePlan
from centre.demo.content import BEFORE_AN_AWARD, TEAMS
from centre.demo.world import World
from centre.models import GpuPool, Project
from subsidies import applications, awards
from subsidies.life_cycle import State
from subsidies.models import Application, Decision, Scheme

BEGINS = -410
YEARS = 3
ENVELOPE_CENTS = 3_000_000_000_00
ON_THE_WAY = {
    State.SCREENING: (State.SCREENING,),
    State.CLARIFICATION: (State.SCREENING, State.CLARIFICATION),
    State.UNDER_ASSESSMENT: (State.SCREENING, State.UNDER_ASSESSMENT),
    State.READY_FOR_COMMITTEE: (State.SCREENING, State.UNDER_ASSESSMENT, State.READY_FOR_COMMITTEE),
}
_TEAMS = {team.code: team for team in TEAMS}


def write(world: World, cases: Sequence[CasePlan]) -> None:
    """Note the scheme and its cases in the diary."""
    diary = world.diary
    diary.on(BEGINS, 9, partial(set_up, world))
    for case in cases:
        diary.on(case.received, 10, partial(receive, world, case))
        if case.state in (State.ACCEPTED, State.NOT_APPROVED) or not case.is_confirmed:
            assert case.decided is not None  # noqa: S101  a mistake in the demo's own tables
            diary.on(case.decided, 11, partial(decide, world, case))
            for text, due in case.conditions:
                if due is not None and due < 0 and not case.is_late:
                    diary.on(due - 4, 16, partial(clear, world, case, text))
        elif case.decided is not None:
            diary.on(case.decided, 11, partial(move_on, world, case))


def set_up(world: World, at: datetime) -> None:
    begins = world.diary.day(BEGINS)
    scheme = Scheme.objects.create(
        code="ai-subsidy",
        envelope_cents=ENVELOPE_CENTS,
        starts_on=begins,
        ends_on=begins + timedelta(days=365 * YEARS),
        **texts.SCHEME.fields("name"),
        **texts.HOW_TO_APPLY.fields("how_to_apply"),
    )
    audit.record(
        act="set_up_scheme",
        on=scheme,
        by=world.staff("finance.officer"),
        at=at,
        changes={"envelope_cents": [None, ENVELOPE_CENTS]},
    )


def receive(world: World, case: CasePlan, at: datetime) -> None:
    """The secretary records an application; the lead of a new project is added first."""
    team = _TEAMS[case.project]
    by = world.staff("secretary")
    project = Project.objects.get(code=case.project) if case.joins else None
    lead = None
    if project is None:
        lead = world.add_people([people.team_people(team)[0][0]], by=world.staff("tenant.officer"), at=at)[0]
    applications.record_application(
        scheme=Scheme.objects.get(),
        tenant=world.tenants[team.tenant],
        project=project,
        new_project_code="" if project else case.project,
        lead=lead,
        title=case.title or team.title,
        summary=team.summary,
        asks=hours(world, case, case.gpus),
        received_on=world.diary.day(case.received),
        starts_on=world.diary.day(case.starts),
        ends_on=world.diary.day(case.starts + case.days - 1),
        by=by,
        at=at,
    )


def decide(world: World, case: CasePlan, at: datetime) -> None:
    """The secretary records what the committee decided; the chair confirms it the same day."""
    application = application_of(case)
    secretary = world.staff("secretary")
    advance(application, State.READY_FOR_COMMITTEE, world, at - timedelta(days=3))
    decision: Decision
    if case.state == State.NOT_APPROVED:
        decision = awards.record_refusal(application=application, reason=case.reason, by=secretary, at=at)
    else:
        decision = awards.record_decision(
            application=application,
            grants=granted(world, case),
            rate_bp=case.rate_bp,
            exceptional_grounds=case.grounds,
            starts_on=world.diary.day(case.starts),
            ends_on=world.diary.day(case.starts + case.days - 1),
            reason=case.reason,
            conditions=[
                awards.Asked(text=text, due_on=None if due is None else world.diary.day(due))
                for text, due in case.conditions
            ],
            by=secretary,
            at=at,
        )
    if not case.is_confirmed:
        return
    confirmed_at = at + timedelta(hours=5)
    awards.confirm_decision(decision=decision, by=world.staff("chair"), at=confirmed_at)
    if case.state == State.ACCEPTED and case.project not in BEFORE_AN_AWARD:
        world.add_team(_TEAMS[case.project], at=confirmed_at)


def clear(world: World, case: CasePlan, text: str, at: datetime) -> None:
    """The secretary notes that a condition is met; no verb does so yet."""
    by = world.staff("secretary")
    condition = application_of(case).decision.conditions.filter(text=text, cleared_at__isnull=True).earliest("due_on")
    condition.evidence = "Received and read; the figures agree with the portal's."
    condition.cleared_by, condition.cleared_at = by, at
    condition.save(update_fields=["evidence", "cleared_by", "cleared_at"])
    audit.record(act="clear_condition", on=condition, by=by, at=at, changes={"cleared_at": [None, at]})


def move_on(world: World, case: CasePlan, at: datetime) -> None:
    """Where an application that nobody decided on stands now."""
    application, by = application_of(case), world.staff("secretary")
    if case.state == State.WITHDRAWN:
        applications.withdraw(application=application, reason=case.reason, by=by, at=at)
    elif case.state == State.INELIGIBLE:
        applications.mark_ineligible(application=application, reason=case.reason, by=by, at=at)
    else:
        advance(application, case.state, world, at, reason=case.reason)


def advance(application: Application, to: State, world: World, at: datetime, *, reason: str = "") -> None:
    """Step by step to where it stands; the reason belongs to the last step."""
    for state in ON_THE_WAY[to]:
        applications.step(
            application=application,
            to=state,
            by=world.staff("secretary"),
            at=at,
            reason=reason if state == to else "",
        )


def application_of(case: CasePlan) -> Application:
    """The application of a case: each project has one."""
    applied = Application.objects.select_related("scheme", "tenant")
    return applied.get(project__code=case.project) if case.joins else applied.get(new_project_code=case.project)


def hours(world: World, case: CasePlan, gpus: dict[str, int]) -> dict[GpuPool, int]:
    return {world.pools[pool]: world.seconds(number, case.days) for pool, number in gpus.items()}


def granted(world: World, case: CasePlan) -> dict[GpuPool, int]:
    """The hours that the committee gives, by pool."""
    if case.used_permille is None:
        return hours(world, case, case.granted or case.gpus)
    (pool,) = case.gpus
    due = world.used[case.project] // 3600 * 1_000 // case.used_permille
    step = 100 if due > 10_000 else 1
    return {world.pools[pool]: max(1, due // step * step) * 3600}
