"""Sites, clusters and GPU pools: register, say what is in service when, what it costs, and whose runs they take."""

from datetime import date, datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from centre.audit import record
from centre.models import Capacity, Cluster, GpuPool, ListPrice, PoolMapping, Site, User


class MachineError(Exception):
    """Why a machine could not be registered or changed, as a sentence for a screen."""


class CodeTaken(MachineError):
    """Another site, cluster or pool has the code."""


class CapacityStands(MachineError):
    """The pool's capacity already changes on that day, to another number."""


class NotPlanned(MachineError):
    """The change of capacity has begun, or is not there any more."""


class PriceStands(MachineError):
    """The pool already has another list price from that day; prices are superseded, never edited."""


class MappingTaken(MachineError):
    """The name belongs to another pool in that time."""


class MappingEnded(MachineError):
    """The mapping ends before that day already, or begins after it."""


@transaction.atomic
def register_site(
    *, code: str, name_en: str, by: User | None, at: datetime, name_zh_hant: str = "", name_zh_hans: str = ""
) -> Site:
    """Register a place with machines."""
    site = Site(code=code, name_en=name_en, name_zh_hant=name_zh_hant, name_zh_hans=name_zh_hans)
    _insert(site, _("There is already a site with this code."))
    record(act="register_site", on=site, by=by, at=at, changes={"code": code, "name": name_en})
    return site


@transaction.atomic
def register_cluster(*, site: Site, code: str, time_zone: str, by: User | None, at: datetime) -> Cluster:
    """Register a Slurm cluster; the midnights of `time_zone` part its accounting days."""
    cluster = Cluster(site=site, code=code, time_zone=time_zone)
    _insert(cluster, _("There is already a cluster with this code."))
    record(
        act="register_cluster",
        on=cluster,
        by=by,
        at=at,
        changes={"code": code, "site": site.code, "time_zone": time_zone},
    )
    return cluster


@transaction.atomic
def register_pool(*, cluster: Cluster, code: str, gpu_model: str, by: User | None, at: datetime) -> GpuPool:
    """Register a pool; it has no GPU in service until `set_capacity`, and takes no run until `map_pool`."""
    pool = GpuPool(cluster=cluster, code=code, gpu_model=gpu_model)
    _insert(pool, _("There is already a GPU pool with this code."))
    record(
        act="register_pool",
        on=pool,
        by=by,
        at=at,
        changes={"code": code, "cluster": cluster.code, "gpu_model": gpu_model},
    )
    return pool


@transaction.atomic
def change_pool(*, pool: GpuPool, gpu_model: str, by: User | None, at: datetime) -> GpuPool:
    """Write the name of the pool's GPU model anew."""
    if pool.gpu_model == gpu_model:
        return pool
    before, pool.gpu_model = pool.gpu_model, gpu_model
    pool.clean_fields()
    pool.save(update_fields=["gpu_model"])
    record(act="change_pool", on=pool, by=by, at=at, changes={"gpu_model": [before, gpu_model]})
    return pool


@transaction.atomic
def set_capacity(*, pool: GpuPool, gpus: int, from_on: date, by: User | None, at: datetime, note: str = "") -> Capacity:
    """Say how many GPUs are in service from a day on. The same again changes nothing; raises CapacityStands."""
    capacity, made = Capacity.objects.get_or_create(pool=pool, from_on=from_on, defaults={"gpus": gpus, "note": note})
    if capacity.gpus != gpus:
        raise CapacityStands(
            _("From %(day)s on %(pool)s has %(gpus)s GPUs in service.")
            % {"day": from_on.isoformat(), "pool": pool.code, "gpus": capacity.gpus}
        )
    if made:
        record(
            act="set_capacity",
            on=capacity,
            by=by,
            at=at,
            reason=note,
            changes={"pool": pool.code, "from_on": from_on, "gpus": gpus},
        )
    return capacity


@transaction.atomic
def mend_capacity(*, pool: GpuPool, from_on: date, gpus: int, reason: str, by: User, at: datetime) -> Capacity:
    """Put a number right that was entered wrongly: so many GPUs were, or will be, in service from that day on.

    The same again changes nothing; the pool's history keeps what stood. Raises NotPlanned where no number begins then.
    """
    stands = Capacity.objects.select_for_update().filter(pool=pool, from_on=from_on).first()
    if stands is None:
        raise NotPlanned(_("No number begins on that day any more. Look at the pool again."))
    before = stands.gpus
    if before == gpus:
        return stands
    stands.gpus = gpus
    stands.save(update_fields=["gpus"])
    changes = {"from_on": from_on, "gpus": [before, gpus]}
    record(act="mend_capacity", on=stands, by=by, at=at, reason=reason, changes=changes)
    return stands


@transaction.atomic
def cancel_capacity(*, pool: GpuPool, from_on: date, reason: str, by: User, at: datetime) -> None:
    """Take back a change of capacity that is still to come: what was in service before stays so. Raises NotPlanned.

    The pool's history keeps what was planned.
    """
    refuse_cancelling(pool=pool, from_on=from_on, at=at)
    planned = Capacity.objects.select_for_update().filter(pool=pool, from_on=from_on).first()
    if planned is None:
        raise NotPlanned(_("No change is planned for that day any more."))
    gpus = planned.gpus
    planned.delete()
    record(
        act="cancel_capacity",
        on=pool,
        by=by,
        at=at,
        reason=reason,
        changes={"from_on": from_on, "gpus": [gpus, None]},
    )


def refuse_cancelling(*, pool: GpuPool, from_on: date, at: datetime) -> None:
    """Why the pool's change of that day stays; nothing when it is still to come. Raises NotPlanned."""
    if from_on <= at.astimezone(pool.cluster.zone).date():
        raise NotPlanned(_("What has begun is not taken back. Change the GPUs in service from another day on."))


@transaction.atomic
def set_price(
    *, pool: GpuPool, cents_per_gpu_hour: int, from_on: date, by: User | None, at: datetime, reason: str = ""
) -> ListPrice:
    """Say what a GPU-hour costs from a day on, in cents, and why.

    The same again changes nothing; raises PriceStands.
    """
    price, made = ListPrice.objects.get_or_create(
        pool=pool, from_on=from_on, defaults={"cents_per_gpu_hour": cents_per_gpu_hour, "recorded_at": at}
    )
    _refuse_another_price(price, pool, cents_per_gpu_hour)
    if made:
        record(
            act="set_price",
            on=price,
            by=by,
            at=at,
            reason=reason,
            changes={"pool": pool.code, "from_on": from_on, "cents_per_gpu_hour": cents_per_gpu_hour},
        )
    return price


def refuse_price(*, pool: GpuPool, cents_per_gpu_hour: int, from_on: date) -> None:
    """Why the pool cannot have that price from that day; nothing when it can. Raises PriceStands."""
    standing = ListPrice.objects.filter(pool=pool, from_on=from_on).first()
    if standing is not None:
        _refuse_another_price(standing, pool, cents_per_gpu_hour)


def _refuse_another_price(price: ListPrice, pool: GpuPool, cents_per_gpu_hour: int) -> None:
    if price.cents_per_gpu_hour != cents_per_gpu_hour:
        dollars, cents = divmod(price.cents_per_gpu_hour, 100)
        raise PriceStands(
            _("From %(day)s on the list price of %(pool)s is HK$%(price)s per GPU-hour; prices are never rewritten.")
            % {"day": price.from_on.isoformat(), "pool": pool.code, "price": f"{dollars}.{cents:02}"}
        )


@transaction.atomic
def map_pool(
    *, pool: GpuPool, kind: PoolMapping.Kind, name: str, from_on: date, by: User | None, at: datetime
) -> PoolMapping:
    """Let the pool take the GPUs of that typed name, or of that partition, from a day on.

    Where the pool takes them already from a later day, the new row fills the time until then. The same again changes
    nothing. Raises MappingTaken when another pool takes them in that time. Runs that are already imported are charged
    by who calls this: `allocations` knows how.
    """
    standing = list(
        PoolMapping.objects.select_related("pool")
        .filter(Q(until_on__isnull=True) | Q(until_on__gte=from_on), cluster=pool.cluster_id, kind=kind, name=name)
        .order_by("from_on")
    )
    own = [row for row in standing if row.pool_id == pool.pk]
    covering = next((row for row in own if row.from_on <= from_on), None)
    if covering is not None:
        return covering
    until_on = own[0].from_on - timedelta(days=1) if own else None
    for other in standing:
        if other.pool_id != pool.pk and (until_on is None or other.from_on <= until_on):
            raise MappingTaken(
                _("“%(name)s” on %(cluster)s belongs to the pool %(pool)s from %(day)s on.")
                % {
                    "name": name,
                    "cluster": pool.cluster.code,
                    "pool": other.pool.code,
                    "day": other.from_on.isoformat(),
                }
            )
    mapping = PoolMapping(
        cluster_id=pool.cluster_id, pool=pool, kind=kind, name=name, from_on=from_on, until_on=until_on
    )
    mapping.clean_fields()
    try:
        with transaction.atomic():
            mapping.save(force_insert=True)
    except IntegrityError:
        raise MappingTaken(_("“%(name)s” belongs to another pool in that time.") % {"name": name}) from None
    record(
        act="map_pool",
        on=mapping,
        by=by,
        at=at,
        changes={"pool": pool.code, "kind": str(kind), "name": name, "from_on": from_on, "until_on": until_on},
    )
    return mapping


@transaction.atomic
def end_mapping(*, mapping: PoolMapping, until_on: date, reason: str, by: User | None, at: datetime) -> PoolMapping:
    """Let a mapping end with a day: from the next one on, GPUs of that name are no longer the pool's.

    The same day again changes nothing. Raises MappingEnded when it ends earlier already, or would end before it began.
    Runs of the days after it are charged anew by who calls this: `allocations.unmapping` knows how.
    """
    row = PoolMapping.objects.select_for_update(of=("self",)).select_related("pool").get(pk=mapping.pk)
    mapping.until_on = row.until_on
    refuse_ending(row, until_on=until_on)
    if row.until_on == until_on:
        return mapping
    PoolMapping.objects.filter(pk=row.pk).update(until_on=until_on)
    record(
        act="end_mapping",
        on=mapping,
        by=by,
        at=at,
        reason=reason,
        changes={
            "pool": row.pool.code,
            "kind": str(row.kind),
            "name": row.name,
            "until_on": [row.until_on, until_on],
        },
    )
    mapping.until_on = until_on
    return mapping


def refuse_ending(mapping: PoolMapping, *, until_on: date) -> None:
    """Why the mapping cannot end with that day; nothing when it can. Raises MappingEnded."""
    if until_on < mapping.from_on:
        raise MappingEnded(
            _("“%(name)s” is this pool’s from %(day)s on: its last day cannot lie before that.")
            % {"name": mapping.name, "day": date_format(mapping.from_on)}
        )
    if mapping.until_on is not None and until_on > mapping.until_on:
        raise MappingEnded(
            _("“%(name)s” has its last day on %(day)s already; a later one is a mapping of its own.")
            % {"name": mapping.name, "day": date_format(mapping.until_on)}
        )


def _insert(row: Site | Cluster | GpuPool, taken: str) -> None:
    """Save a new row. Raises CodeTaken with that sentence, or ValidationError for a field that does not fit."""
    row.clean_fields()
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise CodeTaken(taken) from None
