"""pools.csv: sites, clusters, GPU pools, whose runs are theirs, how many GPUs are in service from when, and the price.

A further line with the same code and another `in_service_on` adds capacity and price from that day on.
"""

import re
from dataclasses import dataclass
from datetime import date

from django.utils.text import slugify
from django.utils.translation import gettext as _

from allocations.onboard.call import Call, Outcome
from allocations.onboard.lines import BadLine, Line
from centre import machines
from centre.models import Capacity, Cluster, GpuPool, ListPrice, PoolMapping, Site

NEEDED = (
    *("code", "site", "cluster", "time_zone", "gpu_model", "tres"),
    *("partitions", "gpus", "in_service_on", "list_price_hkd"),
)
TYPED = re.compile(r"gres/gpu:[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class PoolLine:
    line: Line
    code: str
    site: str
    cluster: str
    time_zone: str
    gpu_model: str
    names: tuple[tuple[PoolMapping.Kind, str], ...]
    gpus: int
    in_service_on: date
    cents: int | None


class Standing:
    """What stands in the database, read once and kept up to date."""

    def __init__(self) -> None:
        self.sites = list(Site.objects.all())
        self.clusters = {row.code: row for row in Cluster.objects.select_related("site")}
        self.pools = {row.code: row for row in GpuPool.objects.select_related("cluster")}
        self.capacities = set(Capacity.objects.values_list("pool__code", "from_on"))
        self.prices = set(ListPrice.objects.values_list("pool__code", "from_on"))
        self.mappings = set(PoolMapping.objects.values_list("pk", flat=True))
        self.unended = list(PoolMapping.objects.filter(until_on__isnull=True).order_by("kind", "name", "from_on"))


def take_pools(lines: list[Line], call: Call) -> None:
    """Make or check what every line says, the earliest day first."""
    standing = Standing()
    read: list[PoolLine] = []
    first_of: dict[str, PoolLine] = {}
    days: dict[tuple[str, date], Line] = {}
    for line in call.sound(lines, ("pool", "code"), ("cluster", "cluster")):
        with call.line(line, ("pool", line.cells["code"]), ("cluster", line.cells["cluster"])):
            row = _read(line)
            _agree(row, first_of.setdefault(row.code, row))
            earlier = days.setdefault((row.code, row.in_service_on), line)
            if earlier is not line:
                raise BadLine(
                    _("Line %(line)s already says what %(code)s has from %(day)s on.")
                    % {"line": earlier.number, "code": row.code, "day": row.in_service_on.isoformat()}
                )
            read.append(row)
    for row in sorted(read, key=lambda each: (each.in_service_on, each.line.number)):
        with call.line(row.line, ("pool", row.code), ("cluster", row.cluster)):
            call.tell(row.line, _take(row, standing, call))


def _read(line: Line) -> PoolLine:
    tres = line.words("tres")
    for name in tres:
        if not TYPED.fullmatch(name):
            raise BadLine(
                _("tres “%(name)s” does not name a type of GPU; write it like gres/gpu:h800, or leave it empty.")
                % {"name": name}
            )
    partitions = line.words("partitions")
    if any(len(name) > 128 for name in tres + partitions):
        raise BadLine(_("A name in tres or partitions is longer than 128 characters."))
    if not tres and not partitions:
        raise BadLine(_("tres and partitions are both empty; one of them has to say whose runs are this pool's."))
    return PoolLine(
        line=line,
        code=line.text("code", most=40),
        site=line.text("site", most=200),
        cluster=line.text("cluster", most=40),
        time_zone=line.text("time_zone", most=60),
        gpu_model=line.text("gpu_model", most=80),
        names=(
            *((PoolMapping.Kind.TRES, name) for name in tres),
            *((PoolMapping.Kind.PARTITION, name) for name in partitions),
        ),
        gpus=line.whole("gpus"),
        in_service_on=line.day("in_service_on"),
        cents=line.cents("list_price_hkd"),
    )


def _agree(row: PoolLine, first: PoolLine) -> None:
    for column in ("cluster", "gpu_model"):
        if getattr(row, column) != getattr(first, column):
            raise BadLine(
                _("Line %(line)s gives the pool %(code)s another %(column)s: “%(value)s”.")
                % {
                    "line": first.line.number,
                    "code": row.code,
                    "column": column,
                    "value": getattr(first, column),
                }
            )


def _take(row: PoolLine, standing: Standing, call: Call) -> Outcome:
    cluster = _cluster(row, _site(row, standing, call), standing, call)
    pool = standing.pools.get(row.code)
    new = pool is None
    if pool is None:
        pool = machines.register_pool(cluster=cluster, code=row.code, gpu_model=row.gpu_model, by=call.by, at=call.at)
        standing.pools[pool.code] = pool
    elif pool.cluster_id != cluster.pk:
        raise BadLine(
            _("The pool %(code)s stands on the cluster %(cluster)s. A pool does not move: give this one another code.")
            % {"code": row.code, "cluster": pool.cluster.code}
        )
    changed = pool.gpu_model != row.gpu_model
    machines.change_pool(pool=pool, gpu_model=row.gpu_model, by=call.by, at=call.at)
    new = _amounts(row, pool, standing, call) or new
    for kind, name in row.names:
        mapping = machines.map_pool(pool=pool, kind=kind, name=name, from_on=row.in_service_on, by=call.by, at=call.at)
        if mapping.pk not in standing.mappings:
            standing.mappings.add(mapping.pk)
            standing.unended += [mapping] if mapping.until_on is None else []
            call.mapped.add(cluster)
            changed = True
    _name_what_stays(row, pool, standing, call)
    if new:
        return Outcome.NEW
    return Outcome.CHANGED if changed else Outcome.SAME


def _name_what_stays(row: PoolLine, pool: GpuPool, standing: Standing, call: Call) -> None:
    """Warn of what the pool takes on the line's day although the line does not list it: nothing here ends a mapping."""
    for mapping in standing.unended:
        named = (PoolMapping.Kind(mapping.kind), mapping.name) in row.names
        if mapping.pool_id == pool.pk and mapping.from_on <= row.in_service_on and not named:
            call.warnings.append(
                _(
                    "%(file)s line %(line)s: “%(name)s” is not listed, but it belongs to the pool %(pool)s from "
                    "%(day)s on and stays there: leaving it out does not end that. List it again."
                )
                % {
                    "file": row.line.file,
                    "line": row.line.number,
                    "name": mapping.name,
                    "pool": pool.code,
                    "day": mapping.from_on.isoformat(),
                }
            )


def _amounts(row: PoolLine, pool: GpuPool, standing: Standing, call: Call) -> bool:
    """Capacity and list price from the line's day on; whether either is new."""
    key = (row.code, row.in_service_on)
    new = key not in standing.capacities or (row.cents is not None and key not in standing.prices)
    try:
        machines.set_capacity(pool=pool, gpus=row.gpus, from_on=row.in_service_on, by=call.by, at=call.at)
        if row.cents is not None:
            machines.set_price(
                pool=pool, cents_per_gpu_hour=row.cents, from_on=row.in_service_on, by=call.by, at=call.at
            )
            standing.prices.add(key)
    except (machines.CapacityStands, machines.PriceStands) as error:
        raise BadLine(
            _("%(what)s Give a change a line of its own, with a later in_service_on.") % {"what": error}
        ) from None
    standing.capacities.add(key)
    return new


def _site(row: PoolLine, standing: Standing, call: Call) -> Site:
    """The site by its code or its English name, else a new one: `Sandy Ridge` gets the code sandy-ridge."""
    wanted = row.site.casefold()
    code = row.site if re.fullmatch(r"[A-Za-z0-9_.-]+", row.site) else slugify(row.site)
    for site in standing.sites:
        if wanted in {site.code.casefold(), site.name_en.casefold()} or site.code == code:
            return site
    if not code:
        raise BadLine(_("site “%(site)s” needs letters or digits to make a code of.") % {"site": row.site})
    site = machines.register_site(code=code.lower()[:40], name_en=row.site, by=call.by, at=call.at)
    standing.sites.append(site)
    return site


def _cluster(row: PoolLine, site: Site, standing: Standing, call: Call) -> Cluster:
    cluster = standing.clusters.get(row.cluster)
    if cluster is None:
        cluster = machines.register_cluster(
            site=site, code=row.cluster, time_zone=row.time_zone, by=call.by, at=call.at
        )
        standing.clusters[cluster.code] = cluster
    elif (cluster.site_id, cluster.time_zone) != (site.pk, row.time_zone):
        raise BadLine(
            _(
                "The cluster %(cluster)s stands at the site %(site)s with the time zone %(zone)s, and its accounting "
                "days depend on it. Write the same here."
            )
            % {"cluster": cluster.code, "site": cluster.site.code, "zone": cluster.time_zone}
        )
    return cluster
