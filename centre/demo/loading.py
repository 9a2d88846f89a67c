"""Loads the demo: writes down who did what when, and then does it through the portal's own verbs and importer.

Everything happens in one transaction, in the order of its days, so that an interrupted load leaves nothing behind.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import partial
from io import BytesIO
from zoneinfo import ZoneInfo

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone
from tqdm import tqdm

from allocations.models import UsageImport
from allocations.slurm.history import make_history
from allocations.usage import UnreadableExport, import_usage
from centre import appointments, audit, machines, members, tenants
from centre.demo import content, inviting, people, period_ends, scheme, statements, tenancy, texts, unused, work
from centre.demo.asked import requests_of_teams
from centre.demo.cases import CASES
from centre.demo.diary import Diary
from centre.demo.given import give_hours
from centre.demo.waiting_line import queued
from centre.demo.world import World
from centre.models import Appointment, Centre, Outage, PoolMapping, Project, Tenant
from centre.permissions import StaffRole

ZONE = ZoneInfo("Asia/Hong_Kong")
SEED = 20241209
RUNS = 40_000
BEFORE_THE_SCHEME = -410
DAMAGED_EXPORT = -2
OVERLAP = timedelta(days=2)  # how far the window of an export reaches back over the one before it


class NotEmpty(Exception):
    """The database holds something that is no demo."""


def is_loaded() -> bool:
    """Whether the whole demo is there; its row is written in the transaction that writes all of it."""
    return Centre.objects.filter(is_demo=True).exists()


def load(*, runs: int = RUNS, seed: int = SEED, today: date | None = None) -> bool:
    """Load the demo as of now, or as of nine in the morning of `today`; False when it is there already.

    Raises NotEmpty where tenants or appointments exist that are not the demo's.
    """
    now = timezone.now() if today is None else datetime(today.year, today.month, today.day, 9, tzinfo=ZONE)
    with transaction.atomic():
        if is_loaded():
            return False
        if Centre.objects.exists() or Tenant.objects.exists() or Appointment.objects.exists():
            raise NotEmpty
        world = World(now=now, diary=Diary(today=now.astimezone(ZONE).date(), zone=ZONE))
        exports = usage_exports(world, runs=runs, seed=seed)
        write_diary(world, exports)
        for act in tqdm(world.diary.in_order(), desc="Loading the demo", unit="act", disable=None, file=sys.stderr):
            act.do(act.at)
    return True


def write_diary(world: World, exports: list[tuple[datetime, Callable[[datetime], object]]]) -> None:
    """Everything that happened, in the diary."""
    diary = world.diary
    diary.on(content.OPENED - 10, 9, partial(begin, world))
    diary.on(content.OPENED - 9, 10, partial(appoint, world))
    diary.on(content.OPENED - 2, 10, partial(build, world))
    for pool in content.POOLS:
        for first_on, gpus, note in pool.capacity:
            known = content.OPENED - 1 if first_on == content.OPENED else min(first_on - 20, -75)
            diary.on(known, 11, partial(set_capacity, world, pool.code, gpus, diary.day(first_on), note))
        for first_on, cents in pool.prices:
            known = content.OPENED - 1 if first_on == content.OPENED else first_on - 30
            diary.on(known, 12, partial(set_price, world, pool.code, cents, diary.day(first_on)))
    for outage in content.OUTAGES:
        diary.on(min(outage.day, 0) - 9, 15, partial(note_outage, world, outage))
    diary.on(BEFORE_THE_SCHEME - 5, 10, partial(register_tenants, world))
    tenancy.write(world)
    scheme.write(world, CASES)
    for given in content.GIVEN:
        team = next(team for team in content.TEAMS if team.code == given.project)
        if team.code in content.BEFORE_AN_AWARD and not world.is_planned(team.code):
            diary.on(given.start - 6, 11, partial(register_project, world, team))
        diary.on(given.start - 3, 14, partial(give_hours, world, given))
    for team in people.teams_of(content.BEFORE_AN_AWARD):
        if not world.is_planned(team.code):
            diary.on(-9, 11, partial(register_project, world, team))
    requests_of_teams(world)
    unused.write(world)
    period_ends.write(world)
    statements.write(world)
    inviting.write(world)
    diary.on(-138, 17, partial(close_project, world, "subtitle-trial"))
    diary.on(-20, 17, partial(suspend_project, world, "route-planner"))
    for instant, do in exports:
        diary.at(instant, do)


# ---------------------------------------------------------------------------------------------- the centre


def begin(world: World, at: datetime) -> None:
    """The centre's row, and the first two administrators."""
    centre = Centre.objects.create(
        id=1,
        **texts.CENTRE.fields("name"),
        **texts.INTRODUCTION.fields("introduction"),
        contact_email=texts.CONTACT,
        is_demo=True,
    )
    audit.record(act="set_up_centre", on=centre, by=None, at=at, changes={"name": [None, centre.name_en]})
    world.password = make_password(people.PASSWORD)
    world.add_people(people.staff_people(), by=None, at=at)
    first, second = (people.address(plan.key) for plan in content.FIRST_OFFICERS)
    appointments.first_officers(first=first, second=second, at=at)  # they have passwords: no letter goes out


def appoint(world: World, at: datetime) -> None:
    """Every other staff role: one administrator asks, the other approves."""
    asking, approving = (world.staff(plan.key) for plan in content.FIRST_OFFICERS)
    for plan in content.STAFF:
        asked = appointments.ask(
            user=world.staff(plan.key),
            role=plan.role,
            from_on=at.astimezone(ZONE).date(),
            reason=f"{StaffRole(plan.role).label} of the demo",
            by=asking,
            at=at,
        )
        appointments.approve(appointment=asked, by=approving, at=at + timedelta(hours=2))


def build(world: World, at: datetime) -> None:
    """Sites, clusters and pools."""
    by = world.staff("administrator")
    clusters = {}
    for code, site_code, name in (
        (content.CLUSTER, "CYB", texts.CYBERPORT),
        (content.PLANNED_CLUSTER, "SR", texts.SANDY_RIDGE),
    ):
        site = machines.register_site(code=site_code, by=by, at=at, **name.fields("name"))
        clusters[code] = machines.register_cluster(site=site, code=code, time_zone=str(ZONE), by=by, at=at)
    for plan in content.POOLS:
        pool = machines.register_pool(
            cluster=clusters[plan.cluster], code=plan.code, gpu_model=plan.gpu_model, by=by, at=at
        )
        world.pools[plan.code] = pool
        if plan.cluster == content.CLUSTER:
            for kind, names in (
                (PoolMapping.Kind.TRES, f"gres/gpu:{plan.code}"),
                (PoolMapping.Kind.PARTITION, plan.code),
            ):
                machines.map_pool(
                    pool=pool, kind=kind, name=names, from_on=world.diary.day(content.OPENED), by=by, at=at
                )


def set_capacity(world: World, pool: str, gpus: int, from_on: date, note: str, at: datetime) -> None:
    machines.set_capacity(
        pool=world.pools[pool], gpus=gpus, from_on=from_on, note=note, by=world.staff("administrator"), at=at
    )


def set_price(world: World, pool: str, cents: int, from_on: date, at: datetime) -> None:
    machines.set_price(
        pool=world.pools[pool], cents_per_gpu_hour=cents, from_on=from_on, by=world.staff("finance.officer"), at=at
    )


def note_outage(world: World, plan: content.OutagePlan, at: datetime) -> None:
    starts_at = world.diary.instant(plan.day, plan.hour)
    outage = Outage.objects.create(
        pool=world.pools[plan.pool],
        gpus=plan.gpus,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(hours=plan.hours),
        reason=plan.reason,
    )
    audit.record(
        act="note_outage",
        on=outage,
        by=world.staff("administrator"),
        at=at,
        changes={"pool": [None, plan.pool], "gpus": [None, plan.gpus]},
    )


# ---------------------------------------------------------------------------------------------- tenants and projects


def register_tenants(world: World, at: datetime) -> None:
    by = world.staff("tenant.officer")
    rows = tenants.register_tenants(
        tenants=[
            Tenant(
                code=plan.code,
                category=plan.category,
                is_invented=True,
                **plan.name.fields("name"),
            )
            for plan in content.TENANTS
        ],
        by=by,
        at=at,
    )
    world.tenants = {tenant.code: tenant for tenant in rows}
    signing = people.signatories()
    for (tenant, _person), user in zip(
        signing, world.add_people([person for _tenant, person in signing], by=by, at=at), strict=True
    ):
        members.represent(tenant=world.tenants[tenant], user=user, by=by, at=at)


def register_project(world: World, team: content.TeamPlan, at: datetime) -> None:
    """A project outside the scheme, with its whole team."""
    by = world.staff("tenant.officer")
    lead = world.add_people([people.team_people(team)[0][0]], by=by, at=at)[0]
    tenants.register_project(
        tenant=world.tenants[team.tenant],
        code=team.code,
        title=team.title,
        summary=team.summary,
        lead=lead,
        by=by,
        at=at,
    )
    world.add_team(team, at=at)


def suspend_project(world: World, code: str, at: datetime) -> None:
    tenants.suspend_project(
        project=Project.objects.get(code=code),
        reason="The invoices of the last two quarters are not paid.",
        by=world.staff("tenant.officer"),
        at=at,
    )


def close_project(world: World, code: str, at: datetime) -> None:
    tenants.close_project(
        project=Project.objects.get(code=code),
        reason="The trial is over.",
        by=world.staff("tenant.officer"),
        at=at,
    )


# ---------------------------------------------------------------------------------------------- usage


def usage_exports(world: World, *, runs: int, seed: int) -> list[tuple[datetime, Callable[[datetime], object]]]:
    """The instants at which usage was imported, each with its import; what was used is noted in the world."""
    diary = world.diary
    newest = (world.now - timedelta(minutes=25)).replace(second=0, microsecond=0)
    history = make_history(
        seed=seed,
        runs=runs,
        start=diary.instant(content.BOOKS_BEGIN, 0),
        end=newest,
        cluster=content.CLUSTER,
        zone=ZONE,
        plans=work.account_plans(diary.today, seed=seed),
    )
    in_service = {
        plan.code: partial(
            gpus_for_runs, [(int(diary.instant(day, 0).timestamp()), gpus) for day, gpus, _ in plan.capacity]
        )
        for plan in content.POOLS
        if plan.cluster == content.CLUSTER
    }
    rows = work.with_runaway(queued(work.rows_of(history), in_service=in_service), at=int(newest.timestamp()))
    for case in CASES:
        if case.used_permille is not None:
            (pool,) = case.gpus
            world.used[case.project] = work.used_seconds(
                rows, account=case.project, pool=pool, at=int(newest.timestamp())
            )
    exports: list[tuple[datetime, Callable[[datetime], object]]] = []
    since = diary.instant(content.BOOKS_BEGIN, 0)
    for as_of in [diary.instant(day, 5, 30) for day in work.export_days()] + [newest]:
        text = partial(
            work.export_text,
            rows,
            delimiter=history.delimiter,
            since=int((since - OVERLAP).timestamp()),
            at=int(as_of.timestamp()),
            damaged=as_of == diary.instant(DAMAGED_EXPORT, 5, 30),
        )
        exports.append((as_of + timedelta(minutes=4), partial(bring_in, world, text, since - OVERLAP, as_of)))
        since = as_of
    yesterday = partial(
        work.export_text,
        rows,
        delimiter=history.delimiter,
        since=int((newest - timedelta(days=1)).timestamp()),
        at=int(newest.timestamp()),
    )
    exports.append((newest + timedelta(minutes=11), partial(upload_with_wrong_instant, world, yesterday, newest)))
    return exports


def gpus_for_runs(steps: list[tuple[int, int]], instant: int) -> int:
    """GPUs that runs may take at an epoch second: those in service, less a few that are always being mended."""
    return max((gpus * 96 // 100 for begins, gpus in steps if begins <= instant), default=0)


def bring_in(world: World, text: Callable[[], bytes], covers_from: datetime, as_of: datetime, at: datetime) -> None:
    """What the collector on the cluster handed over."""
    import_usage(
        stream=BytesIO(text()),
        file_name=f"sacct-{content.CLUSTER}-{as_of.astimezone(ZONE):%Y%m%d-%H%M}.txt",
        cluster=world.pools[content.H800].cluster,
        covers_from=covers_from,
        as_of=as_of,
        source=UsageImport.Source.COLLECTOR,
        at=at,
    )


def upload_with_wrong_instant(world: World, text: Callable[[], bytes], as_of: datetime, at: datetime) -> None:
    """An upload that fails: the officer took a time of the cluster for one of Greenwich."""
    with suppress(UnreadableExport):  # it stands on the import
        import_usage(
            stream=BytesIO(text()),
            file_name=f"sacct-{content.CLUSTER}-by-hand.txt",
            cluster=world.pools[content.H800].cluster,
            as_of=as_of - timedelta(hours=8),
            source=UsageImport.Source.UPLOAD,
            by=world.staff("allocation.officer"),
            at=at,
        )
