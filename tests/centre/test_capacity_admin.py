"""What an administrator is told before capacity, outages and prices change, and what stays on record."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from centre import facility, machines, outages
from centre.models import Capacity, Event, GpuPool, ListPrice, Outage, User
from centre.permissions import StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page, pytest.mark.usefixtures("noon")]
NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
R = StaffRole
CONFIRMED = {"act_step": "confirmed"}


@pytest.fixture
def noon() -> Any:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def administrator(client: Client) -> User:
    user = make.staff(R.ADMINISTRATOR)
    client.force_login(user)
    return user


def promised_pool() -> GpuPool:
    """Ten GPUs, all of whose July and August is promised."""
    pool = make.pool("h800", gpus=10, from_on=date(2026, 1, 1))
    make.allocation(pool=pool, hours=10 * 62 * 24, start_on=date(2026, 7, 1), end_on=date(2026, 8, 31))
    return pool


def act(row: Any, name: str) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=[row.pk])


def effects(response: Any) -> list[tuple[str, str, str]]:
    return [(str(e.label), str(e.before), str(e.after)) for e in response.context["confirmation"].effects]


def warnings(response: Any) -> list[str]:
    return [str(warning) for warning in response.context["confirmation"].warnings]


def test_a_smaller_capacity_tells_the_months_that_are_promised_beyond_it(client: Client, administrator: User) -> None:
    pool = promised_pool()
    given = {"from_on": "2026-08-01", "gpus": "8", "note": "Two go back"}
    asked = client.post(act(pool, "set_capacity"), given)
    assert effects(asked) == [
        ("GPUs in service from 1 Aug 2026", "10", "8"),
        ("August 2026: promised beyond what is available", "nothing", "1,488 GPU-hours"),
    ]
    assert [warning.split(":")[0] for warning in warnings(asked)] == [
        "In 1 month more is promised of the pool than it could give"
    ]
    assert Capacity.objects.count() == 1
    assert client.post(act(pool, "set_capacity"), given | CONFIRMED).status_code == 302
    assert facility.service_of(pool).gpus_on(date(2026, 8, 1)) == 8


def test_a_larger_capacity_is_no_warning(client: Client, administrator: User) -> None:
    pool = promised_pool()
    asked = client.post(act(pool, "set_capacity"), {"from_on": "2026-08-01", "gpus": "12", "note": ""})
    assert (effects(asked), warnings(asked)) == ([("GPUs in service from 1 Aug 2026", "10", "12")], [])


def test_a_planned_change_is_cancelled_with_a_trace_and_what_has_begun_is_not(
    client: Client, administrator: User
) -> None:
    pool = promised_pool()
    make.capacity(pool=pool, gpus=4, from_on=date(2026, 8, 1))
    assert "../cancel-capacity/" in client.get(act(pool, "change")).content.decode()
    given = {"from_on": "2026-08-01", "reason": "They stay"}
    asked = client.post(act(pool, "cancel_capacity"), given)
    assert effects(asked) == [
        ("GPUs in service from 1 Aug 2026", "4", "10"),
        ("August 2026: promised beyond what is available", "4,464 GPU-hours", "nothing"),
    ]
    assert client.post(act(pool, "cancel_capacity"), given | CONFIRMED).status_code == 302
    assert list(Capacity.objects.values_list("gpus", flat=True)) == [10]
    event = Event.objects.get(act="cancel_capacity")
    assert (event.actor, event.reason, event.changes) == (
        administrator,
        "They stay",
        {"from_on": "2026-08-01", "gpus": [4, None]},
    )
    history = client.get(act(pool, "history")).content.decode()
    assert "Planned change of capacity cancelled" in history
    assert "GPUs in service set" in history
    assert client.post(act(pool, "cancel_capacity"), {**given, "from_on": "2026-01-01"} | CONFIRMED).status_code == 200
    with pytest.raises(machines.NotPlanned):
        machines.cancel_capacity(pool=pool, from_on=date(2026, 1, 1), reason="-", by=administrator, at=NOW)
    assert Capacity.objects.count() == 1


def test_a_number_is_put_right_with_a_reason_after_a_look_at_what_it_makes_worse(
    client: Client, administrator: User
) -> None:
    pool = promised_pool()
    row = pool.capacities.get()
    given = {"from_on": row.from_on.isoformat(), "gpus": "9", "reason": "A slip of the hand"}
    asked = client.post(act(pool, "mend_capacity"), given)
    assert next((before, after) for _label, before, after in effects(asked)) == ("10", "9")
    assert "In 2 months more is promised of the pool than it could give" in warnings(asked)[0]
    assert pool.capacities.get().gpus == 10
    assert client.post(act(pool, "mend_capacity"), given | CONFIRMED).status_code == 302
    assert pool.capacities.get().gpus == 9
    event = Event.objects.get(act="mend_capacity")
    assert (event.reason, event.changes) == (given["reason"], {"from_on": row.from_on.isoformat(), "gpus": [10, 9]})
    history = client.get(act(pool, "history")).content.decode()
    assert "Number of GPUs in service put right" in history
    day = row.from_on + timedelta(days=1)
    with pytest.raises(machines.NotPlanned):
        machines.mend_capacity(pool=pool, from_on=day, gpus=1, reason="-", by=administrator, at=NOW)


OUTAGE = {
    "gpus": "10",
    "starts_at_0": "2026-07-10",
    "starts_at_1": "00:00:00",
    "ends_at_0": "2026-07-12",
    "ends_at_1": "00:00:00",
    "reason": "Cooling",
}


def test_an_outage_is_confirmed_with_what_is_promised_beyond_and_noted_once(
    client: Client, administrator: User
) -> None:
    pool = promised_pool()
    add = reverse("admin:centre_outage_add")
    given = OUTAGE | {"pool": pool.pk}
    asked = client.post(add, given)
    assert effects(asked) == [
        ("GPUs in service on that day", "10", "0"),
        ("July 2026: promised beyond what is available", "nothing", "480 GPU-hours"),
    ]
    assert Outage.objects.count() == 0
    for _twice in range(2):
        assert client.post(add, given | CONFIRMED).status_code == 302
    assert (Outage.objects.count(), Event.objects.filter(act="note_outage", actor=administrator).count()) == (1, 1)
    again = client.post(add, given | {"gpus": "3", "reason": "The same hall"})
    assert effects(again) == [("GPUs in service on that day", "10", "7")]  # all are out already: nothing more is lost
    assert "1 outage of 10 GPUs is noted for a part of that time already (Cooling)." in warnings(again)[0]


def test_an_outage_that_ends_before_it_starts_keeps_what_was_typed(client: Client, administrator: User) -> None:
    add = reverse("admin:centre_outage_add")
    given = OUTAGE | {"pool": promised_pool().pk, "ends_at_0": "2026-07-09", "reason": "typed by hand"}
    for step in ({}, CONFIRMED):
        page = client.post(add, given | step).content.decode()
        assert "The outage ends before it starts." in page
        assert "typed by hand" in page
    assert Outage.objects.count() == 0


def test_an_outage_ends_early_with_a_trace_and_never_later(client: Client, administrator: User) -> None:
    pool = promised_pool()
    begun = NOW - timedelta(days=1)
    outage = make.outage(pool=pool, gpus=2, starts_at=begun, ends_at=begun + timedelta(days=9))
    given = {"ends_at_0": "2026-06-15", "ends_at_1": "12:00:00", "reason": "Mended sooner"}
    assert client.post(act(outage, "end"), given | CONFIRMED).status_code == 302
    outage.refresh_from_db()
    assert outage.ends_at == NOW
    assert Event.objects.get(act="end_outage").reason == "Mended sooner"
    with pytest.raises(outages.NotEarlier):
        outages.end_outage(outage=outage, ends_at=NOW + timedelta(days=1), reason="-", by=administrator, at=NOW)


# ---------------------------------------------------------------------------------------------- prices


def test_a_price_of_days_that_are_over_says_which_days_are_valued_anew(client: Client) -> None:
    client.force_login(make.staff(R.FINANCE_OFFICER))
    pool = make.pool("h800", price=1_000, from_on=date(2026, 1, 1))
    machines.set_price(pool=pool, cents_per_gpu_hour=1_200, from_on=date(2026, 6, 1), by=None, at=NOW)
    past = client.post(act(pool, "set_price"), {"from_on": "2026-05-01", "cents": "11", "reason": "Agreed"})
    assert dict(past.context["typed"])["HK$ per GPU-hour"] == "HK$11.00"
    assert effects(past) == [("HK$ per GPU-hour from 1 May 2026 to 31 May 2026", "HK$10.00", "HK$11.00")]
    assert warnings(past)[0].startswith("Days that are over get another price: from 1 May 2026 to 31 May 2026.")
    running = client.post(act(pool, "set_price"), {"from_on": "2026-06-10", "cents": "11", "reason": "Agreed"})
    assert warnings(running)[0].startswith("Days that are over get another price: from 10 Jun 2026 to 14 Jun 2026.")
    ahead = client.post(act(pool, "set_price"), {"from_on": "2026-06-15", "cents": "11", "reason": "Agreed"})
    assert (effects(ahead), warnings(ahead)) == ([("HK$ per GPU-hour from 15 Jun 2026", "HK$12.00", "HK$11.00")], [])
    assert ListPrice.objects.count() == 2


def test_superseded_prices_stay_on_the_pools_page_with_their_days(client: Client) -> None:
    client.force_login(make.staff(R.FINANCE_OFFICER))
    pool = make.pool("h800", price=1_000, from_on=date(2026, 1, 1))
    machines.set_price(pool=pool, cents_per_gpu_hour=1_200, from_on=date(2026, 7, 1), by=None, at=NOW)
    page = client.get(act(pool, "change")).content.decode()
    assert page.index("from 1 Jul 2026") < page.index("from 1 Jan 2026 to 30 Jun 2026")


def test_a_price_is_never_edited_by_form_or_database(client: Client) -> None:
    client.force_login(make.staff(R.FINANCE_OFFICER))
    pool = make.pool("h800", price=1_000, from_on=date(2026, 1, 1))
    row = pool.prices.get()
    sent = {"prices-TOTAL_FORMS": 1, "prices-INITIAL_FORMS": 1, "prices-0-id": row.pk, "prices-0-price": "1"}
    client.post(act(pool, "change"), sent | {"prices-0-cents_per_gpu_hour": "1", "gpu_model": "x"})
    for attempt in (
        lambda: ListPrice.objects.filter(pk=row.pk).update(cents_per_gpu_hour=1),
        lambda: ListPrice.objects.filter(pk=row.pk).delete(),
    ):
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            attempt()
    assert ListPrice.objects.get().cents_per_gpu_hour == 1_000
