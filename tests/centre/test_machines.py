"""Machines: what is in service when, at what price, and whose runs a pool takes."""

from datetime import date

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from centre import machines
from centre.models import Capacity, Cluster, Event, GpuPool, ListPrice, PoolMapping
from tests import make

pytestmark = pytest.mark.django_db
TRES = PoolMapping.Kind.TRES
JANUARY, JUNE = date(2026, 1, 1), date(2026, 6, 1)


def unmapped_pool(code: str, cluster: Cluster) -> GpuPool:
    return machines.register_pool(cluster=cluster, code=code, gpu_model="H800", by=None, at=timezone.now())


def test_site_cluster_and_pool_are_registered_once() -> None:
    at = timezone.now()
    site = machines.register_site(code="harbour", name_en="Harbour", by=None, at=at)
    cluster = machines.register_cluster(site=site, code="hgx", time_zone="Asia/Hong_Kong", by=None, at=at)
    unmapped_pool("h800", cluster)
    with pytest.raises(machines.CodeTaken):
        machines.register_site(code="harbour", name_en="Other", by=None, at=at)
    with pytest.raises(machines.CodeTaken):
        machines.register_cluster(site=site, code="hgx", time_zone="Asia/Hong_Kong", by=None, at=at)
    with pytest.raises(machines.CodeTaken):
        unmapped_pool("h800", cluster)
    acts = Event.objects.order_by("id").values_list("act", "object_name")
    assert list(acts) == [("register_site", "Harbour"), ("register_cluster", "hgx"), ("register_pool", "H800 (h800)")]


@pytest.mark.parametrize(
    "name", ["Mars", "Asia", "localtime", "Factory", "posixrules", "posix/UTC", "right/Asia/Tokyo"]
)
def test_cluster_needs_a_time_zone_that_every_machine_reads_alike(name: str) -> None:
    with pytest.raises(ValidationError, match="is not the name of a time zone"):
        machines.register_cluster(site=make.site(), code="hgx", time_zone=name, by=None, at=timezone.now())
    assert Cluster.objects.count() == 0


@pytest.mark.parametrize("name", ["UTC", "Asia/Hong_Kong", "America/Argentina/Buenos_Aires"])
def test_cluster_takes_a_region_and_city_or_utc(name: str) -> None:
    machines.register_cluster(site=make.site(), code="hgx", time_zone=name, by=None, at=timezone.now())
    assert Cluster.objects.get().time_zone == name


def test_capacity_is_said_once_a_day() -> None:
    pool, at = unmapped_pool("h800", make.cluster()), timezone.now()
    for gpus, day in ((64, JANUARY), (64, JANUARY), (128, JUNE)):
        machines.set_capacity(pool=pool, gpus=gpus, from_on=day, by=None, at=at)
    with pytest.raises(machines.CapacityStands, match="64 GPUs"):
        machines.set_capacity(pool=pool, gpus=65, from_on=JANUARY, by=None, at=at)
    assert list(Capacity.objects.values_list("from_on", "gpus")) == [(JANUARY, 64), (JUNE, 128)]
    assert Event.objects.filter(act="set_capacity").count() == 2


def test_price_is_superseded_and_never_rewritten() -> None:
    pool, at = unmapped_pool("h800", make.cluster()), timezone.now()
    for cents, day in ((2550, JANUARY), (2550, JANUARY), (2600, JUNE)):
        machines.set_price(pool=pool, cents_per_gpu_hour=cents, from_on=day, by=None, at=at)
    with pytest.raises(machines.PriceStands, match=r"HK\$25\.50"):
        machines.set_price(pool=pool, cents_per_gpu_hour=1, from_on=JANUARY, by=None, at=at)
    assert list(ListPrice.objects.values_list("from_on", "cents_per_gpu_hour")) == [(JANUARY, 2550), (JUNE, 2600)]


def test_name_is_mapped_to_one_pool_in_one_time() -> None:
    cluster, at = make.cluster(), timezone.now()
    first, second = unmapped_pool("a", cluster), unmapped_pool("b", cluster)
    machines.map_pool(pool=first, kind=TRES, name="gres/gpu:h800", from_on=JUNE, by=None, at=at)
    with pytest.raises(machines.MappingTaken, match="belongs to the pool a"):
        machines.map_pool(pool=second, kind=TRES, name="gres/gpu:h800", from_on=JANUARY, by=None, at=at)
    elsewhere = unmapped_pool("c", make.cluster())
    machines.map_pool(pool=elsewhere, kind=TRES, name="gres/gpu:h800", from_on=JANUARY, by=None, at=at)
    assert PoolMapping.objects.count() == 2


def test_mapping_from_an_earlier_day_fills_the_time_until_the_standing_one() -> None:
    pool, at = unmapped_pool("a", make.cluster()), timezone.now()
    for day in (JUNE, JANUARY, JANUARY, date(2026, 3, 1)):
        machines.map_pool(pool=pool, kind=TRES, name="gres/gpu:h800", from_on=day, by=None, at=at)
    periods = PoolMapping.objects.order_by("from_on").values_list("from_on", "until_on")
    assert list(periods) == [(JANUARY, date(2026, 5, 31)), (JUNE, None)]
