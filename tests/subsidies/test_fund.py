"""The fund: entries written once, totals that follow from them, bounds that hold in verb and database."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from subsidies import fund
from subsidies.models import Award, FundEntry, Scheme
from tests import make
from tests.subsidies import cases

pytestmark = pytest.mark.django_db

Kind = FundEntry.Kind


def move(kind: FundEntry.Kind, cents: int, award: Award, *, key: str = "", two: bool = True) -> FundEntry:
    return fund.post(
        kind=kind,
        cents=cents,
        application=award.application,
        award=award,
        effective_on=make.today(),
        asked_by=cases.secretary() if two else None,
        approved_by=cases.chair() if two else None,
        at=timezone.now(),
        key=key or f"test:{kind}:{cents}",
    )


def totals(row: Scheme | Award) -> tuple[int, int, int, int]:
    row.refresh_from_db()
    return row.committed_cents, row.drawn_cents, row.released_cents, row.clawed_back_cents


def test_draw_release_and_claw_back_move_scheme_and_award_alike() -> None:
    award = cases.award()
    scheme, full = Scheme.objects.get(), award.amount_cents
    left = scheme.left_cents
    move(Kind.DRAW, 1_000, award, two=False)
    move(Kind.RELEASE, full - 1_000, award)
    move(Kind.CLAW_BACK, 400, award)
    assert totals(award) == (full, 1_000, full - 1_000, 400)
    assert totals(scheme) == (full, 1_000, full - 1_000, 400)
    assert scheme.left_cents == left + full - 1_000 + 400
    assert fund.verify_fund() == []


@pytest.mark.parametrize(
    ("kind", "cents"),
    [(Kind.DRAW, 700_001), (Kind.RELEASE, 700_001), (Kind.CLAW_BACK, 1), (Kind.COMMIT, 1), (Kind.UNRESERVE, 1)],
)
def test_movement_of_more_than_stands_there_is_refused_and_leaves_nothing(kind: FundEntry.Kind, cents: int) -> None:
    award = cases.award()
    assert award.amount_cents == 700_000
    with pytest.raises(fund.MoreThanStandsThere):
        move(kind, cents, award)
    assert FundEntry.objects.count() == 2
    assert fund.verify_fund() == []


def test_draw_beyond_one_award_is_refused_though_the_scheme_committed_more() -> None:
    award = cases.award()
    cases.award()
    with pytest.raises(fund.MoreThanStandsThere):
        move(Kind.DRAW, award.amount_cents + 1, award, two=False)


def test_same_key_acts_once_and_other_content_is_refused() -> None:
    award = cases.award()
    first = move(Kind.DRAW, 100, award, key="draw:1", two=False)
    assert move(Kind.DRAW, 100, award, key="draw:1", two=False) == first
    with pytest.raises(fund.FundKeyReused):
        move(Kind.DRAW, 101, award, key="draw:1", two=False)
    assert totals(award)[1] == 100


@pytest.mark.parametrize("kind", ["reserve", "commit", "release", "claw_back"])
@pytest.mark.parametrize("approver", ["the same", "nobody"])
def test_database_wants_two_people_behind_every_decision_on_money(kind: str, approver: str) -> None:
    award, person = cases.award(), cases.secretary()
    with pytest.raises(IntegrityError, match="two_people_stand_behind_a_fund_entry"), transaction.atomic():
        FundEntry.objects.create(
            scheme=award.application.scheme,
            application=award.application,
            award=award,
            kind=kind,
            cents=1,
            effective_on=make.today(),
            recorded_at=timezone.now(),
            asked_by=person,
            approved_by=person if approver == "the same" else None,
            key="test",
        )


@pytest.mark.parametrize("statement", ["UPDATE subsidies_fundentry SET cents = 1", "DELETE FROM subsidies_fundentry"])
def test_fund_entries_are_append_only(statement: str) -> None:
    cases.award()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        run(statement)


@pytest.mark.parametrize(
    "statement", ["UPDATE subsidies_awardgrant SET gpu_seconds = 1", "DELETE FROM subsidies_awardgrant"]
)
def test_links_from_award_to_ledger_are_append_only(statement: str) -> None:
    cases.award()
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        run(statement)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("reserved_cents = -1", "fund_totals_are_not_negative"),
        ("drawn_cents = committed_cents + 1", "fund_draws_and_releases_what_is_committed"),
        ("clawed_back_cents = 1", "fund_claws_back_what_was_drawn"),
        ("envelope_cents = committed_cents - 1", "fund_stays_within_its_envelope"),
        ("exceptional_ceiling_bp = 10001", "scheme_ceilings_are_ordered"),
        ("ordinary_ceiling_bp = 9001", "scheme_ceilings_are_ordered"),
        ("default_rate_bp = 0", "scheme_ceilings_are_ordered"),
    ],
)
def test_database_refuses_totals_and_ceilings_that_cannot_be(change: str, constraint: str) -> None:
    cases.award()
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        run(f"UPDATE subsidies_scheme SET {change}")


@pytest.mark.parametrize("total", ["reserved", "committed"])
def test_verify_fund_names_a_total_of_the_scheme_that_its_entries_do_not_explain(total: str) -> None:
    cases.award()
    run(f"UPDATE subsidies_scheme SET {total}_cents = {total}_cents + 1")
    scheme = Scheme.objects.get()
    stands = getattr(scheme, f"{total}_cents")
    assert fund.verify_fund() == [f"{scheme.code}: {total} is {stands} cents, its entries say {stands - 1}."]
    said = StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("verify_fund", stderr=said)
    assert left.value.code == 1
    assert said.getvalue() == f"{fund.verify_fund()[0]}\n"


def test_verify_fund_names_a_total_of_an_award() -> None:
    award = cases.award()
    run("UPDATE subsidies_award SET drawn_cents = 5")
    assert fund.verify_fund() == [f"{award.number}: drawn is 5 cents, its entries say 0."]


def test_verify_fund_says_so_when_all_agree() -> None:
    cases.award()
    said = StringIO()
    call_command("verify_fund", stdout=said)
    assert said.getvalue() == "The fund's totals agree with its entries.\n"


def run(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
