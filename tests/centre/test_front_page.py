"""The front page: public, and every figure worked out from records. The checker is plain SQL."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from html import unescape

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.urls import reverse

from allocations import ledger
from allocations.models import Allocation
from centre.models import Centre, GpuPool
from centre.permissions import ProjectRole, StaffRole
from subsidies.models import Scheme
from tests import make

NOW = datetime(2026, 6, 15, 4, tzinfo=UTC)  # noon in Hong Kong
TODAY = date(2026, 6, 15)

pytestmark = pytest.mark.django_db


def text_of(client: Client, path: str = "/") -> str:
    """What a reader sees, in one line."""
    response = client.get(path)
    assert response.status_code == 200
    page = re.sub(r"<svg.*?</svg>", "", response.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def shown(text: str, label: str) -> str:
    """The per cent that stand after a label."""
    found = re.search(rf"{label} ([\d.,]+)\s%", text)
    assert found, text
    return found[1]


def tenths(part: object, whole: object) -> str:
    """A share as the page writes it, worked out by other means, in exact decimals."""
    share = 100 * Decimal(str(part)) / Decimal(str(whole))
    return str(share.quantize(Decimal("0.1"), ROUND_HALF_UP)).removesuffix(".0")


def committed_by_sql() -> str:
    """Committed on the 15th of June, in one statement: granted over days of the period, over GPUs for a day."""
    days = (
        "end_on - start_on + 1" if connection.vendor == "postgresql" else "julianday(end_on) - julianday(start_on) + 1"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT (SELECT SUM(1.0 * granted_seconds / ({days})) FROM allocations_allocation
                    WHERE state <> 'void' AND start_on <= '2026-06-15' AND end_on >= '2026-06-15'),
                   (SELECT SUM(gpus) * 86400 FROM centre_capacity c WHERE from_on =
                    (SELECT MAX(from_on) FROM centre_capacity d
                     WHERE d.pool_id = c.pool_id AND d.from_on <= '2026-06-15'))
            """
        )
        part, whole = cursor.fetchone()
    return tenths(part, whole)


def used_by_sql() -> str:
    """Used from the 16th of May to the 14th of June: charged over 30 days of the GPUs in service."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT SUM(seconds) FROM allocations_runcharge WHERE day BETWEEN '2026-05-16' AND '2026-06-14'),
                   (SELECT SUM(gpus) * 86400 * 30 FROM centre_capacity WHERE from_on < '2026-05-16')
            """
        )
        part, whole = cursor.fetchone()
    return tenths(part, whole)


@pytest.fixture
def h800() -> GpuPool:
    return make.pool("h800", gpus=64, price=1_850, cluster=make.cluster(site=make.site(name_en="Cyberport")))


@time_machine.travel(NOW, tick=False)
def test_front_page_of_an_empty_portal_says_so_kindly(client: Client) -> None:
    text = text_of(client)
    assert "Supercomputing centre" in text
    assert "No GPUs are in service yet" in text
    assert "There are no figures yet" in text
    assert "Tell the centre who you are" in text
    assert "%" not in text


@time_machine.travel(NOW, tick=False)
def test_front_page_introduces_the_centre_and_what_it_offers(client: Client, h800: GpuPool) -> None:
    make.centre(name_en="Harbour Centre", introduction_en="We compute.", contact_email="desk@example.org")
    sandy = make.cluster(site=make.site(name_en="Sandy Ridge"))
    make.pool("sr", gpus=2_048, price=None, cluster=sandy, gpu_model="H900", from_on=TODAY + timedelta(days=1))
    make.capacity(pool=h800, gpus=96, from_on=TODAY + timedelta(days=40))
    text = text_of(client)
    assert "Harbour Centre We compute. Sign in" in text
    assert "H800 Cyberport 64 HK$18.50" in text
    assert "Cyberport: 96 H800 GPUs from 25 Jul 2026, instead of 64" in text
    assert "Sandy Ridge: 2,048 H900 GPUs from 16 Jun 2026" in text
    assert "In service 64 GPUs" in text
    assert "Write to desk@example.org" in text


def test_front_page_speaks_the_language_of_the_reader(client: Client) -> None:
    make.centre(name_zh_hant="海港中心", introduction_zh_hant="我們提供運算。")
    client.cookies["django_language"] = "zh-hant"
    assert "海港中心 我們提供運算。" in text_of(client)


@time_machine.travel(NOW, tick=False)
def test_committed_share_follows_capacity_and_a_grant(client: Client, h800: GpuPool) -> None:
    first, last = date(2026, 1, 1), date(2026, 12, 31)
    allocation = make.allocation(pool=h800, hours=300_000, start_on=first, end_on=last)
    make.allocation(pool=h800, hours=20_000, start_on=date(2026, 6, 15), end_on=date(2026, 6, 15) + timedelta(days=99))
    make.allocation(pool=h800, hours=999_999, start_on=date(2026, 6, 16), end_on=date(2026, 6, 30))
    make.allocation(pool=h800, hours=999_999, start_on=date(2026, 6, 1), end_on=date(2026, 6, 14))
    void = make.allocation(pool=h800, hours=999_999, start_on=first, end_on=last)
    Allocation.objects.filter(pk=void.pk).update(state=Allocation.State.VOID)

    before = shown(text_of(client), "Committed today")
    assert before == committed_by_sql() == "66.5"
    ledger.top_up(
        allocation=allocation,
        seconds=100_000 * 3600,
        by=make.person(),
        approved_by=make.person(),
        at=NOW,
        reason="more",
        key="more",
        source_kind="test",
    )
    granted_more = shown(text_of(client), "Committed today")
    assert granted_more == committed_by_sql() == "84.4"
    make.capacity(pool=h800, gpus=128, from_on=TODAY)
    assert shown(text_of(client), "Committed today") == committed_by_sql() == "42.2"


@time_machine.travel(NOW, tick=False)
def test_committed_share_is_of_what_an_outage_leaves(client: Client, h800: GpuPool) -> None:
    make.allocation(pool=h800, seconds=64 * 86_400, start_on=TODAY, end_on=TODAY + timedelta(days=1))
    assert shown(text_of(client), "Committed today") == "50"
    make.outage(pool=h800, gpus=32, starts_at=NOW - timedelta(days=2), ends_at=NOW + timedelta(days=2))
    assert shown(text_of(client), "Committed today") == "100"


@time_machine.travel(NOW, tick=False)
def test_used_share_is_of_the_last_thirty_full_days(client: Client, h800: GpuPool) -> None:
    allocation = make.allocation(pool=h800, hours=50_000)
    make.imported(
        *(
            make.run(allocation=allocation, hours=10, gpus=64, start_at=NOW - timedelta(days=ago))
            for ago in range(1, 41)
        ),
        make.run(allocation=allocation, hours=2, gpus=64, start_at=NOW - timedelta(hours=5)),
        cluster=h800.cluster,
        as_of=NOW - timedelta(minutes=20),
    )
    text = text_of(client)
    assert shown(text, "Used over the last 30 full days") == used_by_sql() == "41.7"
    assert "from 16 May 2026 to 14 Jun 2026" in text
    assert "As of 15 Jun 2026, 11:40 HKT" in text


@time_machine.travel(NOW, tick=False)
def test_used_share_waits_for_the_first_import(client: Client, h800: GpuPool) -> None:
    make.allocation(pool=h800)
    text = text_of(client)
    assert "Committed today" in text
    assert "Used over the last" not in text


@time_machine.travel(NOW, tick=False)
def test_front_page_tells_of_the_scheme(client: Client) -> None:
    assert "Money set aside" not in text_of(client)
    Scheme.objects.create(
        code="scheme",
        name_en="Harbour scheme",
        envelope_cents=3_000_000_000_00,
        starts_on=date(2026, 1, 1),
        ends_on=date(2028, 12, 31),
        how_to_apply_en="Come to the desk.",
    )
    text = text_of(client)
    assert "Money set aside for the scheme HK$3,000,000,000" in text
    assert "Applications received 0" in text
    assert "Applications approved 0" in text
    assert (
        "up to 70 % of the list price, and in exceptional cases up to 90 %. It runs from 1 Jan 2026 to 31 Dec 2028."
        in text
    )
    assert "How to apply Come to the desk." in text


def test_text_of_the_centre_is_shown_and_never_run(client: Client) -> None:
    make.centre(introduction_en="<script>alert(1)</script>")
    page = client.get("/").content.decode()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert Centre.objects.count() == 1


def test_health_answers_anybody(client: Client) -> None:
    assert client.get("/health/").content == b"ok\n"


def test_after_sign_in_people_land_where_their_work_is(client: Client) -> None:
    project = make.project("alpha")
    member = make.member(project=project, role=ProjectRole.LEAD)
    busy = make.member(project=project)
    make.member(project=make.project("beta"), user=busy)
    officer_with_project = make.member(project=project, user=make.staff(StaffRole.ALLOCATION_OFFICER))
    landing = {
        member: "/projects/alpha/",
        busy: "/projects/",
        make.person(): "/projects/",
        make.staff(StaffRole.ALLOCATION_OFFICER): "/desk/",
        make.staff(StaffRole.ADMINISTRATOR): "/desk/",
        make.staff(StaffRole.COMMITTEE_CHAIR): "/desk/",
        make.staff(StaffRole.SUBSIDY_SECRETARY): reverse("admin:index"),
        make.staff(StaffRole.MANAGEMENT): "/reports/",
        officer_with_project: "/projects/alpha/",
        make.representative(tenant=project.tenant): "/projects/alpha/",
    }
    for user, place in landing.items():
        client.force_login(user)
        assert client.get("/signed-in/")["Location"] == place
