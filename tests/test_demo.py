"""The demo: what its year tells, checked by plain SQL."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from fractions import Fraction
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from allocations import verifying
from allocations.importing.runaways import runaways
from allocations.importing.standing import standings
from centre.demo import people
from centre.demo.loading import ZONE
from centre.models import User
from subsidies import fund
from tests.databases import own_copy

TODAY = date(2026, 2, 28)
RUNS = 1_500
SECONDS_PER_DAY = 86_400


@pytest.fixture(scope="module")
def printed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A database of this module's own with the demo, and what the command printed; its tests only read."""
    with django_db_blocker.unblock(), own_copy():
        out = StringIO()
        call_command("load_demo", runs=RUNS, today=TODAY, stdout=out)
        yield out.getvalue()


def rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def number(sql: str, *parameters: Any) -> Any:
    ((value,),) = rows(sql, *parameters)
    return value


def day_of(value: Any) -> date:
    """A day as either database's cursor gives it."""
    return value if isinstance(value, date) else date.fromisoformat(value)


def capacity_on(pool: int, day: date) -> int:
    steps = rows("SELECT gpus, from_on FROM centre_capacity WHERE pool_id = %s ORDER BY from_on", pool)
    return next((gpus for gpus, from_on in reversed(steps) if day_of(from_on) <= day), 0)


def committed_on(day: date) -> dict[int, Fraction]:
    """GPU-seconds promised per pool on a day."""
    promised: dict[int, Fraction] = defaultdict(Fraction)
    for pool, granted, start, end in rows(
        "SELECT pool_id, granted_seconds, start_on, end_on FROM allocations_allocation WHERE state <> 'void'"
    ):
        if day_of(start) <= day <= day_of(end):
            promised[pool] += Fraction(granted, (day_of(end) - day_of(start)).days + 1)
    return promised


# ---------------------------------------------------------------------------------------------- what it tells


def test_demo_approves_ten_of_twenty_applications_within_the_scheme(printed: str) -> None:
    assert number("SELECT COUNT(*) FROM subsidies_application") == 20
    assert number("SELECT COUNT(*) FROM subsidies_application WHERE state = 'accepted'") == 10
    assert number("SELECT COUNT(*) FROM subsidies_award") == 10
    assert number("SELECT COUNT(DISTINCT state) FROM subsidies_application") == 9
    assert number("SELECT COUNT(*) FROM subsidies_decision WHERE confirmed_at IS NULL") == 1
    assert number("SELECT COUNT(*) FROM subsidies_award WHERE rate_bp > 7000") == 1
    late = "SELECT COUNT(*) FROM subsidies_condition WHERE cleared_at IS NULL AND due_on < %s"
    assert number(late, TODAY) == 1
    assert rows("SELECT envelope_cents, ordinary_ceiling_bp, exceptional_ceiling_bp FROM subsidies_scheme") == [
        (3_000_000_000_00, 7_000, 9_000)
    ]
    assert 300_000_000_00 < number("SELECT SUM(amount_cents) FROM subsidies_award") < 400_000_000_00


def test_demo_commits_more_than_nine_tenths_of_the_capacity(printed: str) -> None:
    pools = [pool for (pool,) in rows("SELECT id FROM centre_gpupool")]
    whole = sum(capacity_on(pool, TODAY) for pool in pools) * SECONDS_PER_DAY
    assert Fraction(9, 10) < sum(committed_on(TODAY).values()) / whole < 1


def test_demo_never_promises_or_uses_more_than_there_is(printed: str) -> None:
    used = {
        (pool, day_of(day)): seconds
        for pool, day, seconds in rows(
            "SELECT pool_id, day, SUM(seconds) FROM allocations_dailyusage u "
            "JOIN allocations_allocation a ON a.id = u.allocation_id GROUP BY pool_id, day"
        )
    }
    for back in range(366):
        day = TODAY - timedelta(days=back)
        for pool, promised in committed_on(day).items():
            there = capacity_on(pool, day) * SECONDS_PER_DAY
            assert promised <= there, (pool, day)
            assert used.get((pool, day), 0) <= there, (pool, day)


def test_demo_promises_more_than_there_will_be_while_racks_are_away(printed: str) -> None:
    """A cluster that shrinks for eight weeks shows what over-commitment looks like."""
    over = {
        day
        for day in (TODAY + timedelta(days=ahead) for ahead in range(120))
        for pool, promised in committed_on(day).items()
        if promised > capacity_on(pool, day) * SECONDS_PER_DAY
    }
    assert min(over) == TODAY + timedelta(days=22)
    assert 20 < len(over) < 56


def test_demo_tells_what_officers_note_of_tenants(printed: str) -> None:
    assert number("SELECT COUNT(*) FROM centre_tenant WHERE agreement_from_on IS NOT NULL") == 8
    ended = "SELECT code FROM centre_tenant WHERE agreement_until_on < %s"
    assert rows(ended, TODAY) == [("lamma-freight",)]
    assert number("SELECT COUNT(*) FROM centre_tenantcontact WHERE ended_at IS NULL") == 4
    merged = (
        "SELECT gone.code, gone.standing, kept.code FROM centre_tenant gone "
        "JOIN centre_tenant kept ON kept.id = gone.merged_into_id"
    )
    assert rows(merged) == [("egret-ai", "closed", "little-egret")]
    twice = "SELECT name_en FROM centre_tenant WHERE merged_into_id IS NULL GROUP BY name_en HAVING COUNT(*) > 1"
    assert rows(twice) == [("Lion Rock University",)]
    assert rows(
        "SELECT p.code FROM allocations_allocation a JOIN centre_project p ON p.id = a.project_id "
        "WHERE a.state = 'open' AND a.used_seconds = 0"
    ) == [("campus-archive",)]


def test_demo_shows_every_kind_of_project(printed: str) -> None:
    used_share = dict(
        rows(
            "SELECT p.code, 1000 * SUM(used_seconds) / SUM(granted_seconds) FROM allocations_allocation a "
            "JOIN centre_project p ON p.id = a.project_id WHERE a.state <> 'closed' GROUP BY p.code"
        )
    )
    assert [code for code, share in used_share.items() if share > 1_000] == ["egret-translate"]
    assert [code for code, share in used_share.items() if 950 <= share <= 1_000] == ["gene-fold"]
    ending = rows(
        "SELECT DISTINCT p.code FROM allocations_allocation a JOIN centre_project p ON p.id = a.project_id "
        "WHERE a.end_on BETWEEN %s AND %s",
        TODAY,
        TODAY + timedelta(days=21),
    )
    assert ending == [("canto-audio",)]
    assert rows("SELECT code, standing FROM centre_project WHERE standing <> 'active' ORDER BY code") == [
        ("route-planner", "suspended"),
        ("subtitle-trial", "closed"),
    ]
    assert {funding for (funding,) in rows("SELECT DISTINCT funding FROM allocations_allocation")} == {
        "subsidised",
        "purchased",
        "internal",
        "proof_of_concept",
    }
    waiting = rows(
        "SELECT u.email FROM allocations_changerequest r JOIN centre_user u ON u.id = r.asked_by_id "
        "WHERE r.state = 'asked' ORDER BY u.email"
    )
    assert waiting == [("allocation.officer@example.org",), ("gene-fold.lead@example.org",)]


def test_demo_shows_a_period_whose_rest_was_carried_over_in_part(printed: str) -> None:
    ended = rows(
        "SELECT p.code, e.kind FROM allocations_ledgerentry e JOIN allocations_allocation a ON a.id = e.allocation_id "
        "JOIN centre_project p ON p.id = a.project_id "
        "WHERE a.state = 'closed' AND e.source_kind = 'period_end' ORDER BY p.code, e.kind"
    )
    assert ended == [
        ("acceptance", "forfeit"),
        ("acceptance", "transfer"),
        ("maths-tutor", "forfeit"),
        ("subtitle-trial", "forfeit"),
    ]


def test_demo_names_every_tenant_in_three_languages_and_as_invented(printed: str) -> None:
    assert number("SELECT COUNT(*) FROM centre_tenant") == 17
    assert number("SELECT COUNT(DISTINCT category) FROM centre_tenant") == 6
    assert (
        number(
            "SELECT COUNT(*) FROM centre_tenant WHERE is_invented AND name_en <> '' AND name_zh_hant <> '' "
            "AND name_zh_hans <> ''"
        )
        == 17
    )
    assert number("SELECT COUNT(*) FROM centre_user WHERE email NOT LIKE '%%@example.org'") == 0


def test_demo_brings_usage_in_by_several_imports(printed: str) -> None:
    imports = rows("SELECT quarantined, unchanged, state FROM allocations_usageimport ORDER BY id")
    assert len(imports) == 20
    assert [state for _, _, state in imports] == ["done"] * 19 + ["failed"]
    assert [quarantined for quarantined, _, _ in imports if quarantined] == [2]
    assert sum(unchanged > 0 for _, unchanged, _ in imports) > 10
    assert RUNS * 9 // 10 < number("SELECT COUNT(*) FROM allocations_jobrun") < RUNS * 12 // 10
    assert rows("SELECT DISTINCT account FROM allocations_jobrun WHERE unmatched_seconds > 0") == [("sandbox",)]
    assert number("SELECT COUNT(*) FROM allocations_jobrun WHERE state = 'RUNNING'") > 5


def test_demo_tells_its_windows_without_a_gap_and_shows_what_an_officer_mends(printed: str) -> None:
    now = datetime(TODAY.year, TODAY.month, TODAY.day, 9, tzinfo=ZONE)
    [standing], queue = standings(at=now)
    assert (standing.cluster.code, standing.is_late, standing.failed, queue.unattended_since) == (
        "cyberport",
        False,
        1,
        None,
    )
    assert standing.failures[0].error.startswith("The export instant ")
    assert standing.coverage is not None
    assert (standing.coverage.gaps, standing.coverage.untold) == ((), 0)
    runaway: Any
    [runaway] = runaways({standing.cluster.pk: standing.coverage})
    assert (runaway.is_lost, (runaway.beyond_seconds or 0) > 86_400) == (0, True)


def test_demo_books_are_right(printed: str) -> None:
    assert list(verifying.differences()) == []
    assert fund.verify_fund() == []


def test_demo_sign_ins_work_and_land_where_they_say(printed: str) -> None:
    assert people.PASSWORD in printed
    for each in people.sign_ins():
        assert each.email in printed
        user = User.objects.get(email=each.email)
        assert user.check_password(people.PASSWORD), each.email
        client = Client()
        client.force_login(user)
        landed = client.get(reverse("after_sign_in"))
        assert (landed.status_code, landed.headers["Location"]) == (302, each.lands), each.email
