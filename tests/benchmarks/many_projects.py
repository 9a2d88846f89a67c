"""A centre with many projects: the same usage in total, spread over few allocations or over many.

Four allocations to a project, one on each pool; five projects to a tenant; four people to a project. The first projects
by code (`SAME_PROJECTS`) have the same entries and runs at every size. So a page about one of them shows the same
figures at every size, and what grows of its cost is what depends on the rest of the centre.

The small tables are filled here, the large ones by `many_runs`; the tests hold the result against `verify_ledger`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

from django.utils import timezone

from allocations import issuing
from allocations.importing.health import coverage_of_clusters
from allocations.models import Allocation, ChangeRequest, LedgerEntry, Notice, Statement, UsageImport
from allocations.staging import execute
from allocations.statements import months_between
from centre.models import (
    Cluster,
    ClusterUser,
    Event,
    GpuPool,
    Letter,
    Membership,
    Project,
    Representative,
    Tenant,
    User,
)
from centre.models.tenants import TenantCategory
from centre.permissions import ProjectRole, StaffRole
from tests import make
from tests.benchmarks.imports import without_indexes
from tests.benchmarks.many_runs import DAYS, POOLS, Amounts, usage_of

ROLES: Final = (ProjectRole.LEAD, ProjectRole.MANAGER, ProjectRole.MEMBER, ProjectRole.VIEWER)
PROJECTS_OF_A_TENANT: Final = 5
GRANTED: Final = 1_000_000_000
LETTERS: Final = 5
ROUND: Final = 1_000


@dataclass(frozen=True)
class Looked:
    """Who looks at what; the same at every size but for the numbers of the rows."""

    lead: User
    representative: User
    officer: User
    project: Project
    tenant: Tenant
    charge: int
    run: int
    request: int
    issued: str
    provisional: str


def seed(allocations: int, amounts: Amounts, *, at: datetime) -> Looked:
    """Fill the empty database with so many allocations; 250 days of usage end yesterday."""
    make.centre()
    asking, approving = make.person(), make.person()
    cluster = make.cluster("hgx")
    pools = [make.pool(code, cluster=cluster, tres=f"gres/gpu:{code}") for code in POOLS]
    projects = a_tenant_to_five(allocations // len(POOLS))
    people = people_of(projects, cluster, at=at)
    opened = opened_of(projects, pools, at=at)
    imports_of(cluster, amounts, at=at)
    with without_indexes("public"):
        usage_of(opened, amounts, asking=asking, approving=approving)
    around(projects, people, opened, at=at)
    first, tenant = projects[0], projects[0].tenant
    # Who leads one project would be sent on to it; this one leads all of the tenant.
    Membership.objects.filter(project__tenant=tenant, role=ProjectRole.LEAD).update(user=people[0])
    representative = make.person()
    Representative.objects.create(tenant=tenant, user=representative, since_at=at)
    issued, provisional = statements_of(projects, at=at)
    execute("VACUUM ANALYZE")
    of_first = LedgerEntry.objects.filter(allocation=opened[0])
    charge = of_first.filter(kind=LedgerEntry.Kind.CHARGE).order_by("-pk")[3]
    return Looked(
        lead=people[0],
        representative=representative,
        officer=make.staff(StaffRole.ALLOCATION_OFFICER),
        project=first,
        tenant=tenant,
        charge=charge.pk,
        run=charge.run_charges.values_list("run", flat=True)[0],
        request=ChangeRequest.objects.filter(project=first).order_by("pk").values_list("pk", flat=True)[0],
        issued=issued,
        provisional=provisional,
    )


# ------------------------------------------------------------------------------------------------ the small tables


def a_tenant_to_five(projects: int) -> list[Project]:
    tenants = Tenant.objects.bulk_create(
        [
            Tenant(code=f"tenant-{n:05}", name_en=f"Institute {n}", category=TenantCategory.UNIVERSITY)
            for n in range(-(-projects // PROJECTS_OF_A_TENANT))
        ],
        batch_size=ROUND,
    )
    return Project.objects.bulk_create(
        [
            Project(tenant=tenants[n // PROJECTS_OF_A_TENANT], code=f"project-{n:05}", title=f"Study {n}")
            for n in range(projects)
        ],
        batch_size=ROUND,
    )


def people_of(projects: Sequence[Project], cluster: Cluster, *, at: datetime) -> list[User]:
    """Four people of each project, in the order of the projects and of the roles."""
    since = at - timedelta(days=DAYS + 30)
    people = User.objects.bulk_create(
        [
            User(email=f"member-{n:05}-{of}@example.org", name=f"Member {n}-{of}", password="!")
            for n in range(len(projects))
            for of in range(len(ROLES))
        ],
        batch_size=ROUND,
    )
    belonging = [
        (project, role, people[n * len(ROLES) + of])
        for n, project in enumerate(projects)
        for of, role in enumerate(ROLES)
    ]
    Membership.objects.bulk_create(
        [Membership(project=project, user=user, role=role, since_at=since) for project, role, user in belonging],
        batch_size=ROUND,
    )
    ClusterUser.objects.bulk_create(
        [ClusterUser(cluster=cluster, name=name_on_the_cluster(n), user=user) for n, user in enumerate(people)],
        batch_size=ROUND,
    )
    return people


def name_on_the_cluster(person: int) -> str:
    return f"user-{person // len(ROLES)}-{person % len(ROLES)}"


def opened_of(projects: Sequence[Project], pools: Sequence[GpuPool], *, at: datetime) -> list[Allocation]:
    """An allocation of each project on each pool, still without an entry; the Slurm account is the project's code."""
    start_on = timezone.localdate(at) - timedelta(days=DAYS + 20)
    return Allocation.objects.bulk_create(
        [
            Allocation(
                project=project,
                pool=pool,
                reference=f"{project.code}-{pool.code}",
                account=project.code,
                funding=(Allocation.Funding.PURCHASED, Allocation.Funding.INTERNAL)[n % 2],
                start_on=start_on,
                end_on=start_on + timedelta(days=365),
                granted_seconds=GRANTED,
                created_at=at - timedelta(days=DAYS + 20),
            )
            for n, project in enumerate(projects)
            for pool in pools
        ],
        batch_size=ROUND,
    )


def imports_of(cluster: Cluster, amounts: Amounts, *, at: datetime) -> None:
    """So many imports a day, evenly over the days, none of them at midnight."""
    begin = timezone.localdate(at) - timedelta(days=DAYS)
    step = timedelta(days=1) / (amounts.imports_a_day + 1)
    instants = [
        datetime.combine(begin + timedelta(days=day), time.min, tzinfo=cluster.zone) + step * (n + 1)
        for day in range(DAYS)
        for n in range(amounts.imports_a_day)
    ]
    UsageImport.objects.bulk_create(
        [
            UsageImport(
                cluster=cluster,
                state=UsageImport.State.DONE,
                file_name=f"{instant:%Y-%m-%d-%H%M}.txt",
                time_zone=str(cluster.zone),
                as_of=instant,
                covers_from=instants[0] - timedelta(days=30),
                received_at=instant,
                finished_at=instant,
            )
            for instant in (each.replace(microsecond=0) for each in instants)
        ],
        batch_size=ROUND,
    )


def around(projects: Sequence[Project], people: Sequence[User], opened: Sequence[Allocation], *, at: datetime) -> None:
    """Of each project requests and letters, of each allocation a notice and the event of its opening."""
    lead, manager = people[:: len(ROLES)], people[1 :: len(ROLES)]
    answered = {"state": ChangeRequest.State.DECLINED, "answered_at": at - timedelta(days=20)}
    ChangeRequest.objects.bulk_create(
        [
            ChangeRequest(
                project=project,
                allocation=opened[n * len(POOLS)],
                kind=ChangeRequest.Kind.TOP_UP,
                asked_seconds=3_600_000,
                reason="The second series takes longer.",
                asked_by=manager[n],
                asked_at=at - timedelta(days=days),
                **({} if days == 2 else answered | {"answered_by": lead[n]}),
            )
            for days in (40, 30, 2)
            for n, project in enumerate(projects)
        ],
        batch_size=ROUND,
    )
    Letter.objects.bulk_create(
        [
            Letter(user=user, subject="Most of the GPU-hours are used", sent_at=at - timedelta(days=7 * (n + 1)))
            for n in range(LETTERS)
            for user in people
        ],
        batch_size=ROUND,
    )
    Notice.objects.bulk_create(
        [
            Notice(
                allocation=allocation,
                user=lead[n // len(POOLS)],
                kind=Notice.Kind.DAYS_LEFT,
                threshold=90,
                due_at=at - timedelta(days=7),
                sent_at=at - timedelta(days=7),
            )
            for n, allocation in enumerate(opened)
        ],
        batch_size=ROUND,
    )
    Event.objects.bulk_create(
        [
            Event(
                at=allocation.created_at,
                actor=lead[n // len(POOLS)],
                act="open_allocation",
                object_type="allocations.allocation",
                object_id=str(allocation.pk),
                object_name=allocation.reference,
            )
            for n, allocation in enumerate(opened)
        ],
        batch_size=ROUND,
    )


def statements_of(projects: Sequence[Project], *, at: datetime) -> tuple[str, str]:
    """The first project's finished months are issued by the verb; those of the others stand without their figures.

    Gives the latest month that is issued and the one after it, which is not.
    """
    first, *others = projects
    yesterday = timezone.localdate(at) - timedelta(days=1)
    *finished, going_on = months_between(yesterday - timedelta(days=DAYS + 19), yesterday)
    known = coverage_of_clusters()
    issued = [issuing.issue(project=first, month=month, by=None, at=at, coverage=known) for month in finished]
    standing = [(project, statement) for project in others for statement in issued]
    Statement.objects.bulk_create(
        [
            Statement(
                project=project,
                month=statement.month,
                sequence=len(issued) + n + 1,
                last_entry=statement.last_entry,
                as_of=at,
                issued_at=at,
                content="{}",
                digest=hashlib.sha256(b"{}").hexdigest(),
            )
            for n, (project, statement) in enumerate(standing)
        ],
        batch_size=ROUND,
    )
    return f"{finished[-1]:%Y-%m}", f"{going_on:%Y-%m}"
