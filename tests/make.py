"""Builders for tests: real rows, made through the verbs where there is one; a test names only what it is about.

Everything is relative to the clock, so that a test which travels in time and one which does not both get rows that are
valid now. Names and codes are numbered, so that any builder can be called twice.

    project = make.project()
    pool = make.pool(gpus=64, price=1_000)
    allocation = make.allocation(project=project, pool=pool, hours=500)
    lead = make.member(project=project, role=ProjectRole.LEAD)
    client.force_login(lead)
"""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from io import BytesIO
from itertools import count
from typing import Any

from django.utils import timezone

from allocations import ledger, rules, usage
from allocations.models import Allocation, PeriodEndRule, UsageImport
from centre import appointments, machines, members, tenants
from centre.models import (
    Appointment,
    Capacity,
    Centre,
    Cluster,
    GpuPool,
    Outage,
    PoolMapping,
    Project,
    Site,
    Tenant,
    User,
)
from centre.models.tenants import TenantCategory
from centre.permissions import ProjectRole, StaffRole

HOUR = 3600
PASSWORD = "a long enough passphrase"
DELIMITER = "~k3v9q2xw7r5t1z8m~"
FIELDS = (
    *("JobID", "JobIDRaw", "Account", "User", "Partition", "State"),
    *("Submit", "Start", "End", "AllocTRES", "JobName"),
)
_number = count(1)


def today() -> date:
    """Today in the portal's time zone."""
    return timezone.localdate()


def person(email: str = "", *, name: str = "", password: str = PASSWORD, language: str = "en") -> User:
    """Someone who can sign in with `PASSWORD` and belongs to nothing yet."""
    n = next(_number)
    user = members.add_person(
        email=email or f"person{n}@example.org",
        name=name or f"Person {n}",
        language=language,
        by=None,
        at=timezone.now(),
    )
    user.set_password(password)
    user.save(update_fields=["password"])
    return user


def staff(
    role: StaffRole, email: str = "", *, name: str = "", user: User | None = None, since: datetime | None = None
) -> User:
    """Someone who holds a staff role today, asked for and approved by two others who need not be there any more."""
    user = user or person(email, name=name)
    at = since or timezone.now() - timedelta(days=30)
    from_on = timezone.localtime(at).date()
    asked = appointments.ask(user=user, role=role, from_on=from_on, reason="for a test", by=person(), at=at)
    Appointment.objects.filter(pk=asked.pk).update(approved_by=person(), approved_at=at)
    return user


def tenant(
    code: str = "",
    *,
    name_en: str = "",
    name_zh_hant: str = "",
    name_zh_hans: str = "",
    category: TenantCategory = TenantCategory.UNIVERSITY,
) -> Tenant:
    """An organisation."""
    n = next(_number)
    return tenants.register_tenant(
        code=code or f"tenant-{n}",
        name_en=name_en or f"Tenant {n}",
        name_zh_hant=name_zh_hant,
        name_zh_hans=name_zh_hans,
        category=category,
        by=None,
        at=timezone.now(),
    )


_new_tenant = tenant  # where `tenant` is the name of an argument


def representative(*, tenant: Tenant, user: User | None = None) -> User:
    """Someone who may sign for the tenant."""
    user = user or person()
    members.represent(tenant=tenant, user=user, by=None, at=timezone.now())
    return user


def project(code: str = "", *, tenant: Tenant | None = None, title: str = "", lead: User | None = None) -> Project:
    """A tenant's project, of a tenant of its own unless one is given, without members unless a lead is given."""
    n = next(_number)
    return tenants.register_project(
        tenant=tenant or _new_tenant(),
        code=code or f"project-{n}",
        title=title or f"Project {n}",
        lead=lead,
        by=None,
        at=timezone.now(),
    )


_new_project = project  # where `project` is the name of an argument


def member(
    *,
    project: Project,
    role: ProjectRole = ProjectRole.MEMBER,
    user: User | None = None,
    name: str = "",
    cluster_user: str = "",
) -> User:
    """Someone who belongs to the project; `cluster_user` is their name on every cluster there is."""
    user = user or person(name=name)
    at = timezone.now()
    members.add_member(project=project, user=user, role=role, by=None, at=at)
    if cluster_user:
        names = [(cluster, cluster_user, user) for cluster in Cluster.objects.all()]
        members.add_cluster_users(names=names, by=None, at=at)
    return user


def centre(**fields: object) -> Centre:
    """The centre's one row."""
    row, _ = Centre.objects.update_or_create(id=1, defaults={"name_en": "Harbour Centre", **fields})
    return row


def site(code: str = "", *, name_en: str = "", name_zh_hant: str = "") -> Site:
    """A place with machines."""
    n = next(_number)
    return machines.register_site(
        code=code or f"site-{n}",
        name_en=name_en or f"Site {n}",
        name_zh_hant=name_zh_hant,
        by=None,
        at=timezone.now(),
    )


_new_site = site  # where `site` is the name of an argument


def cluster(code: str = "", *, site: Site | None = None, time_zone: str = "Asia/Hong_Kong") -> Cluster:
    """A Slurm cluster."""
    return machines.register_cluster(
        site=site or _new_site(),
        code=code or f"cluster-{next(_number)}",
        time_zone=time_zone,
        by=None,
        at=timezone.now(),
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
    at = timezone.now()
    from_on = from_on or today() - timedelta(days=730)
    row = machines.register_pool(
        cluster=cluster or _new_cluster(),
        code=code or f"pool-{next(_number)}",
        gpu_model=gpu_model,
        by=None,
        at=at,
    )
    capacity(pool=row, gpus=gpus, from_on=from_on)
    if price is not None:
        machines.set_price(pool=row, cents_per_gpu_hour=price, from_on=from_on, by=None, at=at)
    if tres:
        machines.map_pool(pool=row, kind=PoolMapping.Kind.TRES, name=tres, from_on=from_on, by=None, at=at)
    for name in partitions or (() if tres else (row.code,)):
        machines.map_pool(pool=row, kind=PoolMapping.Kind.PARTITION, name=name, from_on=from_on, by=None, at=at)
    return row


_new_pool = pool  # where `pool` is the name of an argument


def capacity(*, pool: GpuPool, gpus: int, from_on: date) -> Capacity:
    """From that day on the pool has so many GPUs."""
    return machines.set_capacity(pool=pool, gpus=gpus, from_on=from_on, by=None, at=timezone.now())


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
    return ledger.open_allocation(
        project=project,
        pool=pool,
        reference=reference or f"REF-{next(_number)}",
        account=account,
        funding=funding,
        start_on=start_on or today() - timedelta(days=60),
        end_on=end_on or today() + timedelta(days=120),
        seconds=hours * HOUR if seconds is None else seconds,
        by=person(),
        approved_by=person(),
        at=at or timezone.now(),
        reason="for a test",
        source_kind="test",
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A job run as sacct would tell it; without an end it still runs. GPUs without a type go by the partition."""

    account: str
    gpus: int = 1
    start_at: datetime
    end_at: datetime | None = None
    partition: str
    user: str = "u1"
    name: str = "train"
    state: str = ""
    number: int = field(default_factory=lambda: next(_number))

    def line(self, cluster: Cluster) -> str:
        """The record, in the cluster's own time."""
        start, end = (
            instant.astimezone(cluster.zone).strftime("%Y-%m-%dT%H:%M:%S") if instant else "Unknown"
            for instant in (self.start_at, self.end_at)
        )
        state = self.state or ("COMPLETED" if self.end_at else "RUNNING")
        said = (str(self.number), str(self.number), self.account, self.user, self.partition, state)
        return DELIMITER.join((*said, start, start, end, f"billing=1,gres/gpu={self.gpus},node=1", self.name))


def run(
    *, allocation: Allocation, hours: int = 1, gpus: int = 1, start_at: datetime, running: bool = False, **told: Any
) -> Run:
    """A run that an allocation takes: so many hours on so many GPUs; `running`: it has not ended."""
    end_at = None if running else start_at + timedelta(hours=hours)
    return Run(
        account=allocation.account,
        partition=allocation.pool.code,
        gpus=gpus,
        start_at=start_at,
        end_at=end_at,
        **told,
    )


def imported(
    *runs: Run, cluster: Cluster, as_of: datetime | None = None, covers_from: datetime | None = None
) -> UsageImport:
    """What an import of these runs leaves behind; sacct ran at `as_of`, by default now, with -S `covers_from`."""
    lines = [DELIMITER.join(FIELDS), *(run.line(cluster) for run in runs)]
    return usage.import_usage(
        stream=BytesIO("".join(f"{line}\n" for line in lines).encode()),
        file_name="test.txt",
        cluster=cluster,
        at=timezone.now(),
        as_of=as_of or timezone.now().replace(microsecond=0),
        covers_from=covers_from,
    )


def period_end_rule(
    *,
    pool: GpuPool,
    carry_over: str = PeriodEndRule.CarryOver.NONE,
    most_bp: int = 0,
    wait_days: int = 30,
    from_on: date | None = None,
    at: datetime | None = None,
) -> PeriodEndRule:
    """A rule of the pool, asked for and approved by two officers a year ago, and counting since, unless told."""
    at = at or timezone.now() - timedelta(days=365)
    rule = PeriodEndRule(
        pool=pool,
        carry_over=carry_over,
        most_bp=most_bp,
        wait_days=wait_days,
        from_on=from_on or at.astimezone(pool.cluster.zone).date(),
        reason="for a test",
    )
    rules.ask_rule(rule=rule, by=staff(StaffRole.ALLOCATION_OFFICER, since=at), at=at)
    return rules.approve_rule(rule=rule, by=person(), at=at)
