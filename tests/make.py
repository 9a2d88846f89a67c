"""Builders for tests: real rows, made through the verbs where there is one; a test names only what it is about.

Everything is relative to the clock, so that a test which travels in time and one which does not both get rows that are
valid now. Names and codes are numbered, so that any builder can be called twice.

    project = make.project()
    pool = make.pool(gpus=64, price=1_000)
    allocation = make.allocation(project=project, pool=pool, hours=500)
    lead = make.member(project=project, role=ProjectRole.LEAD)
    client.force_login(lead)
"""

from datetime import date, datetime, timedelta
from itertools import count

from django.utils import timezone

from allocations.models import Allocation, LedgerEntry
from centre.models import (
    Appointment,
    Capacity,
    Centre,
    Cluster,
    ClusterUser,
    GpuPool,
    ListPrice,
    Membership,
    Outage,
    PoolMapping,
    Project,
    Representative,
    Site,
    Tenant,
    User,
)
from centre.models.tenants import Standing, TenantCategory
from centre.permissions import ProjectRole, StaffRole

HOUR = 3600
PASSWORD = "a long enough passphrase"
_number = count(1)


def today() -> date:
    """Today in the portal's time zone."""
    return timezone.localdate()


def person(email: str = "", *, name: str = "", password: str = PASSWORD, language: str = "en") -> User:
    """Someone who can sign in with `PASSWORD` and belongs to nothing yet."""
    n = next(_number)
    user = User(email=email or f"person{n}@example.org", name=name or f"Person {n}", language=language)
    user.set_password(password)
    user.save()
    return user


def staff(role: StaffRole, email: str = "", *, name: str = "", user: User | None = None) -> User:
    """Someone who holds a staff role today, asked for and approved by two others."""
    user = user or person(email, name=name)
    at = timezone.now() - timedelta(days=30)
    asking, approving = person(), person()
    Appointment.objects.create(
        user=user,
        role=role,
        from_on=timezone.localtime(at).date(),
        reason="for a test",
        asked_by=asking,
        asked_at=at,
        approved_by=approving,
        approved_at=at,
    )
    return user


def tenant(
    code: str = "",
    *,
    name_en: str = "",
    name_zh_hant: str = "",
    name_zh_hans: str = "",
    category: TenantCategory = TenantCategory.UNIVERSITY,
    standing: Standing = Standing.ACTIVE,
) -> Tenant:
    """An organisation."""
    n = next(_number)
    return Tenant.objects.create(
        code=code or f"tenant-{n}",
        name_en=name_en or f"Tenant {n}",
        name_zh_hant=name_zh_hant,
        name_zh_hans=name_zh_hans,
        category=category,
        standing=standing,
    )


_new_tenant = tenant  # where `tenant` is the name of an argument


def representative(*, tenant: Tenant, user: User | None = None) -> User:
    """Someone who may sign for the tenant."""
    user = user or person()
    Representative.objects.create(tenant=tenant, user=user, since_at=timezone.now())
    return user


def project(
    code: str = "", *, tenant: Tenant | None = None, title: str = "", standing: Standing = Standing.ACTIVE
) -> Project:
    """A tenant's project, of a tenant of its own unless one is given."""
    n = next(_number)
    return Project.objects.create(
        tenant=tenant or _new_tenant(),
        code=code or f"project-{n}",
        title=title or f"Project {n}",
        standing=standing,
    )


_new_project = project  # where `project` is the name of an argument


def member(
    *, project: Project, role: ProjectRole = ProjectRole.MEMBER, user: User | None = None, cluster_user: str = ""
) -> User:
    """Someone who belongs to the project; `cluster_user` is their name on every cluster there is."""
    user = user or person()
    Membership.objects.create(project=project, user=user, role=role, since_at=timezone.now())
    if cluster_user:
        ClusterUser.objects.bulk_create(
            ClusterUser(cluster=cluster, name=cluster_user, user=user) for cluster in Cluster.objects.all()
        )
    return user


def centre(**fields: object) -> Centre:
    """The centre's one row."""
    row, _ = Centre.objects.update_or_create(id=1, defaults={"name_en": "Harbour Centre", **fields})
    return row


def site(code: str = "", *, name_en: str = "", name_zh_hant: str = "") -> Site:
    """A place with machines."""
    n = next(_number)
    return Site.objects.create(code=code or f"site-{n}", name_en=name_en or f"Site {n}", name_zh_hant=name_zh_hant)


_new_site = site  # where `site` is the name of an argument


def cluster(code: str = "", *, site: Site | None = None, time_zone: str = "Asia/Hong_Kong") -> Cluster:
    """A Slurm cluster."""
    return Cluster.objects.create(
        site=site or _new_site(), code=code or f"cluster-{next(_number)}", time_zone=time_zone
    )


_new_cluster = cluster  # where `cluster` is the name of an argument


def pool(
    code: str = "",
    *,
    gpus: int = 64,
    price: int | None = 1_000,
    cluster: Cluster | None = None,
    gpu_model: str = "H800",
    tres: str = "",
    partitions: tuple[str, ...] = (),
    from_on: date | None = None,
) -> GpuPool:
    """A GPU pool with capacity and list price (cents per GPU-hour; None: no price) since two years before today.

    Without `tres` and `partitions` its runs are those of the partition named like its code.
    """
    from_on = from_on or today() - timedelta(days=730)
    row = GpuPool.objects.create(
        cluster=cluster or _new_cluster(), code=code or f"pool-{next(_number)}", gpu_model=gpu_model
    )
    capacity(pool=row, gpus=gpus, from_on=from_on)
    if price is not None:
        ListPrice.objects.create(pool=row, from_on=from_on, cents_per_gpu_hour=price)
    names = [(PoolMapping.Kind.TRES, tres)] if tres else []
    names += [(PoolMapping.Kind.PARTITION, name) for name in partitions or (() if tres else (row.code,))]
    PoolMapping.objects.bulk_create(
        PoolMapping(cluster=row.cluster, pool=row, kind=kind, name=name, from_on=from_on) for kind, name in names
    )
    return row


_new_pool = pool  # where `pool` is the name of an argument


def capacity(*, pool: GpuPool, gpus: int, from_on: date) -> Capacity:
    """From that day on the pool has so many GPUs."""
    return Capacity.objects.create(pool=pool, gpus=gpus, from_on=from_on)


def outage(*, pool: GpuPool, gpus: int, starts_at: datetime, ends_at: datetime) -> Outage:
    """GPUs of the pool that are out of service between two instants."""
    return Outage.objects.create(pool=pool, gpus=gpus, starts_at=starts_at, ends_at=ends_at, reason="maintenance")


def allocation(
    *,
    project: Project | None = None,
    pool: GpuPool | None = None,
    hours: int = 1_000,
    seconds: int | None = None,
    start_on: date | None = None,
    end_on: date | None = None,
    reference: str = "",
    account: str = "",
    funding: str = Allocation.Funding.INTERNAL,
    at: datetime | None = None,
) -> Allocation:
    """An open allocation of so many GPU-hours (or `seconds`), from 60 days ago to 120 days from today unless told."""
    project = project or _new_project()
    pool = pool or _new_pool()
    at = at or timezone.now()
    granted = hours * HOUR if seconds is None else seconds
    row = Allocation.objects.create(
        project=project,
        pool=pool,
        reference=reference or f"REF-{next(_number)}",
        account=account or project.code,
        funding=funding,
        start_on=start_on or today() - timedelta(days=60),
        end_on=end_on or today() + timedelta(days=120),
        granted_seconds=granted,
        created_at=at,
    )
    if granted:
        LedgerEntry.objects.create(
            allocation=row,
            kind=LedgerEntry.Kind.GRANT,
            total=LedgerEntry.Total.GRANTED,
            seconds=granted,
            effective_on=row.start_on,
            recorded_at=at,
            asked_by=person(),
            approved_by=person(),
            reason="for a test",
            key=f"grant:{row.reference}",
            source_kind="test",
        )
    return row
