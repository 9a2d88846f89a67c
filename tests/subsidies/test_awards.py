"""Decisions and awards: two people, the ceilings, the envelope, all of it or nothing."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from allocations.ledger import AccountTaken
from allocations.models import Allocation, LedgerEntry
from centre.models import Event, Membership, Project
from centre.permissions import ProjectRole, StaffRole
from subsidies import awards, fund
from subsidies.life_cycle import AlreadyDecided, State
from subsidies.models import (
    Application,
    ApplicationStep,
    Award,
    AwardGrant,
    Decision,
    FundEntry,
    Scheme,
    SubsidyProject,
)
from tests import make
from tests.subsidies import cases

pytestmark = pytest.mark.django_db

ROAD = [
    "draft",
    "submitted",
    "screening",
    "under_assessment",
    "ready_for_committee",
    "decided",
    "offered",
    "accepted",
]  # the straight way


def test_confirming_walks_every_state_at_one_instant() -> None:
    decision, chair, at = cases.decision(), cases.chair(), timezone.now()
    awards.confirm_decision(decision=decision, by=chair, at=at)
    steps = list(decision.application.steps.order_by("id"))
    assert [step.from_state for step in steps] == ROAD[:-1]
    assert [step.to_state for step in steps] == ROAD[1:]
    assert {(step.at, step.by) for step in steps[1:]} == {(at, chair)}
    assert Application.objects.get().state == State.ACCEPTED


def test_confirming_creates_project_lead_hours_and_money_that_point_at_each_other() -> None:
    pool, other = make.pool(price=2_150), make.pool(price=333)
    case = cases.application(hours={pool: 1_000, other: 10})
    decision = cases.decision(application=case, rate_bp=7_000)
    chair = cases.chair()
    award = cases.award(decision=decision, by=chair)
    project = Project.objects.get(code=case.new_project_code)
    assert (award.project, award.number) == (project, case.number.replace("A-", "S-"))
    assert Membership.objects.get(project=project).user == case.lead
    assert Membership.objects.get(project=project).role == ProjectRole.LEAD
    assert award.amount_cents == (1_000 * 2_150 + 10 * 333) * 7 // 10
    assert award.committed_cents == award.amount_cents
    grants = award.grants.select_related("allocation", "entry").order_by("allocation__pool_id")
    assert [(grant.allocation.pool, grant.gpu_seconds) for grant in grants] == [(pool, 3_600_000), (other, 36_000)]
    for grant in grants:
        assert grant.entry.allocation == grant.allocation
        assert (grant.entry.kind, grant.entry.seconds) == (LedgerEntry.Kind.GRANT, grant.gpu_seconds)
        assert (grant.entry.asked_by, grant.entry.approved_by) == (decision.recorded_by, chair)
        assert (grant.entry.source_kind, grant.entry.source_reference) == ("award", award.number)
        assert grant.allocation.granted_seconds == grant.gpu_seconds
        assert grant.allocation.funding == Allocation.Funding.SUBSIDISED
        assert (grant.allocation.start_on, grant.allocation.end_on) == (award.starts_on, award.ends_on)
    entries = FundEntry.objects.order_by("id").values_list("kind", "cents", "asked_by", "approved_by", "award")
    assert list(entries) == [
        ("reserve", award.amount_cents, decision.recorded_by_id, chair.pk, None),
        ("commit", award.amount_cents, decision.recorded_by_id, chair.pk, award.pk),
    ]
    scheme = Scheme.objects.get()
    assert (scheme.reserved_cents, scheme.committed_cents) == (0, award.amount_cents)
    assert SubsidyProject.objects.get().standing == SubsidyProject.Standing.ACTIVE
    assert fund.verify_fund() == []
    acts = Event.objects.filter(object_id__in=[str(case.pk), str(award.pk)]).values_list("act", flat=True)
    assert {"record_application", "record_decision", "confirm_decision", "award"} <= set(acts)


def test_application_for_an_existing_project_joins_it() -> None:
    project = make.project()
    award = cases.award(application=cases.application(project=project))
    assert award.project == project
    assert Project.objects.count() == 1


def test_refusal_closes_the_case_and_moves_no_money() -> None:
    case = cases.application()
    decision = awards.record_refusal(application=case, reason="Not ready.", by=cases.secretary(), at=timezone.now())
    awards.confirm_decision(decision=decision, by=cases.chair(), at=timezone.now())
    assert Application.objects.get().state == State.NOT_APPROVED
    assert list(case.steps.values_list("to_state", flat=True))[-2:] == ["decided", "not_approved"]
    assert (FundEntry.objects.count(), Award.objects.count(), Allocation.objects.count()) == (0, 0, 0)


# ------------------------------------------------------------------------------------------- two people


def test_person_who_recorded_a_decision_cannot_confirm_it() -> None:
    decision = cases.decision()
    make.staff(StaffRole.COMMITTEE_CHAIR, user=decision.recorded_by)
    with pytest.raises(awards.SamePerson):
        awards.confirm_decision(decision=decision, by=decision.recorded_by, at=timezone.now())
    assert nothing_was_awarded()


def test_person_who_recorded_the_application_cannot_confirm_the_decision_on_it() -> None:
    case = cases.application()
    decision = cases.decision(application=case)
    with pytest.raises(awards.SamePerson):
        awards.confirm_decision(decision=decision, by=case.recorded_by, at=timezone.now())
    assert nothing_was_awarded()


def test_database_refuses_the_same_person_and_a_missing_one() -> None:
    decision = cases.decision()
    for confirmed_by in (decision.recorded_by_id, None):
        with pytest.raises(IntegrityError, match="decision_is_confirmed_by_a_second_person"), transaction.atomic():
            run(
                "UPDATE subsidies_decision SET confirmed_by_id = %s, confirmed_at = %s WHERE id = %s",
                confirmed_by,
                timezone.now(),
                decision.pk,
            )
    run(
        "UPDATE subsidies_decision SET confirmed_by_id = %s, confirmed_at = %s WHERE id = %s",
        cases.chair().pk,
        timezone.now(),
        decision.pk,
    )
    assert Decision.objects.get().is_confirmed


@pytest.mark.parametrize("role", ["lead", "representative", "member"])
def test_nobody_decides_on_what_they_benefit_from(role: str) -> None:
    project = make.project() if role == "member" else None
    case = cases.application(project=project)
    interested = case.lead or cases.chair()
    if project is not None:
        make.member(project=project, user=interested)
    elif role == "representative":
        interested = make.representative(tenant=case.tenant)
    with pytest.raises(awards.HasInterest):
        cases.decision(application=case, by=interested)
    decision = cases.decision(application=case)
    with pytest.raises(awards.HasInterest):
        awards.confirm_decision(decision=decision, by=interested, at=timezone.now())
    assert nothing_was_awarded()


def test_second_confirmation_finds_the_first() -> None:
    decision = cases.decision()
    stale = Decision.objects.get(pk=decision.pk)
    cases.award(decision=decision)
    with pytest.raises(AlreadyDecided):
        awards.confirm_decision(decision=stale, by=cases.chair(), at=timezone.now())
    assert (Award.objects.count(), FundEntry.objects.count()) == (1, 2)


def test_decision_that_was_recorded_anew_is_not_confirmed_unread() -> None:
    decision = cases.decision()
    read = Decision.objects.get(pk=decision.pk)
    Decision.objects.filter(pk=decision.pk).update(recorded_at=timezone.now() + timedelta(seconds=1))
    with pytest.raises(AlreadyDecided):
        awards.confirm_decision(decision=read, by=cases.chair(), at=timezone.now())
    assert nothing_was_awarded()


def test_decision_taken_back_can_be_recorded_anew_and_stays_in_the_trail() -> None:
    case = cases.application()
    first = cases.decision(application=case, conditions=[awards.Asked("Report.")])
    awards.take_back_decision(decision=first, reason="wrong rate", by=cases.secretary(), at=timezone.now())
    assert Decision.objects.count() == 0
    event = Event.objects.get(act="take_back_decision")
    assert (event.reason, event.changes["amount_cents"]) == ("wrong rate", first.amount_cents)
    again = cases.decision(application=case, rate_bp=5_000)
    with pytest.raises(AlreadyDecided):
        cases.decision(application=case)
    assert cases.award(decision=again).rate_bp == 5_000


# ------------------------------------------------------------------------------------------- ceilings


@pytest.mark.parametrize(
    ("rate_bp", "grounds", "allowed"),
    [
        (7_000, "", True),
        (7_001, "", False),
        (7_001, "   ", False),
        (7_001, "unique", True),
        (9_000, "unique", True),
        (9_001, "unique", False),
        (10_000, "unique", False),
    ],
)
def test_ceilings_hold_in_the_verb_and_in_the_database(rate_bp: int, grounds: str, allowed: bool) -> None:
    standing = cases.decision()
    statement = "UPDATE subsidies_decision SET rate_bp = %s, exceptional_grounds = %s WHERE id = %s"
    if allowed:
        cases.decision(rate_bp=rate_bp, exceptional_grounds=grounds)
        run(statement, rate_bp, grounds, standing.pk)
        assert Decision.objects.filter(rate_bp=rate_bp).count() == 2
    else:
        with pytest.raises(awards.AboveCeiling):
            cases.decision(rate_bp=rate_bp, exceptional_grounds=grounds)
        with pytest.raises(IntegrityError, match="decision_keeps_to_the_ceilings"), transaction.atomic():
            run(statement, rate_bp, grounds, standing.pk)


def test_database_refuses_an_award_that_says_more_than_its_decision() -> None:
    award = cases.award()
    for column, value in (("rate_bp", 9_000), ("amount_cents", award.amount_cents + 1)):
        with pytest.raises(IntegrityError, match="an_award_says_what_was_decided"), transaction.atomic():
            run(f"UPDATE subsidies_award SET {column} = %s WHERE id = %s", value, award.pk)


def test_database_refuses_an_award_on_an_unconfirmed_decision() -> None:
    decision = cases.decision()
    assert decision.starts_on is not None
    assert decision.ends_on is not None
    with pytest.raises(IntegrityError, match="an_award_says_what_was_decided"), transaction.atomic():
        Award.objects.create(
            application=decision.application,
            decision=decision,
            number="S-1",
            project=make.project(),
            rate_bp=decision.rate_bp,
            amount_cents=decision.amount_cents,
            starts_on=decision.starts_on,
            ends_on=decision.ends_on,
            created_at=timezone.now(),
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE subsidies_decision SET reason = 'another'",
        "UPDATE subsidies_decision SET confirmed_by_id = NULL, confirmed_at = NULL",
        "UPDATE subsidies_decisiongrant SET gpu_seconds = gpu_seconds + 1",
        "DELETE FROM subsidies_decisiongrant",
        "INSERT INTO subsidies_decisiongrant (decision_id, pool_id, gpu_seconds, cents_per_gpu_hour) "
        "SELECT decision_id, (SELECT MAX(id) FROM centre_gpupool), 1, 1 FROM subsidies_decisiongrant",
        "UPDATE subsidies_condition SET text = 'softer'",
        "UPDATE subsidies_condition SET due_on = NULL",
        "DELETE FROM subsidies_condition",
        "INSERT INTO subsidies_condition (decision_id, text, evidence) SELECT id, 'more', '' FROM subsidies_decision",
    ],
)
def test_confirmed_decision_never_changes(statement: str) -> None:
    cases.award(decision=cases.decision(conditions=[awards.Asked("Report.", make.today())]))
    make.pool()
    with pytest.raises(IntegrityError, match="a confirmed decision never changes"), transaction.atomic():
        run(statement)


def test_condition_of_a_confirmed_decision_can_be_cleared() -> None:
    cases.award(decision=cases.decision(conditions=[awards.Asked("Report.", make.today())]))
    run(
        "UPDATE subsidies_condition SET evidence = 'read', cleared_by_id = %s, cleared_at = %s",
        cases.secretary().pk,
        timezone.now(),
    )


# ------------------------------------------------------------------------------------------- the envelope


def test_last_cent_of_the_envelope_can_be_awarded_and_one_more_cannot() -> None:
    pool = make.pool(price=1_000)
    scheme = cases.scheme(envelope_cents=2 * 700_000)
    for n in range(2):
        cases.award(application=cases.application(scheme=scheme, hours={pool: 1_000}, title=f"{n}"))
    scheme.refresh_from_db()
    assert (scheme.committed_cents, scheme.left_cents) == (1_400_000, 0)
    one_second = cases.application(scheme=scheme, hours={pool: 1})
    decision = cases.decision(application=one_second, seconds={pool: 36})
    assert decision.amount_cents == 7
    with pytest.raises(fund.FundExhausted, match=r"HK\$0\.07"):
        awards.confirm_decision(decision=decision, by=cases.chair(), at=timezone.now())
    scheme.refresh_from_db()
    assert (scheme.reserved_cents, scheme.committed_cents) == (0, 1_400_000)
    assert Application.objects.get(pk=one_second.pk).state == State.SUBMITTED


def test_database_refuses_to_pass_the_envelope() -> None:
    scheme = cases.scheme(envelope_cents=100)
    with pytest.raises(IntegrityError, match="fund_stays_within_its_envelope"), transaction.atomic():
        run("UPDATE subsidies_scheme SET reserved_cents = 60, committed_cents = 41 WHERE id = %s", scheme.pk)


# ------------------------------------------------------------------------------------------- all or nothing


def test_failure_at_the_last_allocation_leaves_nothing() -> None:
    project, free, taken = make.project(), make.pool(), make.pool()
    make.allocation(project=project, pool=taken)
    before = everything()
    case = cases.application(project=project, hours={free: 100, taken: 100})
    decision = cases.decision(application=case)
    recorded = everything()
    with pytest.raises(AccountTaken):
        awards.confirm_decision(decision=decision, by=cases.chair(), at=timezone.now())
    assert everything() == recorded
    assert recorded["steps"] == before["steps"] + 1
    stored = Decision.objects.get(pk=decision.pk)
    assert (stored.confirmed_by, stored.application.state) == (None, State.SUBMITTED)
    scheme = Scheme.objects.get()
    assert (scheme.reserved_cents, scheme.committed_cents) == (0, 0)


def test_second_account_keeps_subsidised_hours_beside_purchased_ones() -> None:
    project, pool = make.project(), make.pool()
    make.allocation(project=project, pool=pool, funding=Allocation.Funding.PURCHASED)
    decision = cases.decision(
        application=cases.application(project=project, hours={pool: 100}), account=f"{project.code}-subsidy"
    )
    award = cases.award(decision=decision)
    assert award.grants.get().allocation.account == f"{project.code}-subsidy"


def test_decision_without_a_list_price_is_refused() -> None:
    with pytest.raises(awards.NoListPrice):
        cases.decision(application=cases.application(hours={make.pool(price=None): 1}))


def test_amount_is_rounded_once_half_up() -> None:
    assert awards.amount_cents([(1, 1_000), (1, 1_000)], rate_bp=9_000) == 1  # 0.5 cent
    assert awards.amount_cents([(1, 999), (1, 1_000)], rate_bp=9_000) == 0


def nothing_was_awarded() -> bool:
    return not (Award.objects.exists() or FundEntry.objects.exists() or LedgerEntry.objects.exists())


def everything() -> dict[str, int]:
    """How many rows there are of all that a confirmation writes."""
    counted: dict[str, Callable[[], Any]] = {
        "steps": ApplicationStep.objects.count,
        "fund": FundEntry.objects.count,
        "awards": Award.objects.count,
        "grants": AwardGrant.objects.count,
        "allocations": Allocation.objects.count,
        "entries": LedgerEntry.objects.count,
        "projects": Project.objects.count,
        "subsidy projects": SubsidyProject.objects.count,
        "confirmations": Event.objects.filter(act__in=("confirm_decision", "award", "open_allocation")).count,
    }
    return {name: count() for name, count in counted.items()}


def run(statement: str, *values: Any) -> None:
    """Plain SQL, as someone at the database would type it."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
