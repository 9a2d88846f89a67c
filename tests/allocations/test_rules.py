"""Rules of unused time: one officer asks, another answers once, and an approved rule never changes."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from allocations import rules
from allocations.closing import close_periods
from allocations.models import PeriodEndRule, TakeBackRule
from centre.models import Event, GpuPool, User
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db

Carry = PeriodEndRule.CarryOver


def period_end(pool: GpuPool, **terms: Any) -> PeriodEndRule:
    return PeriodEndRule(**{"pool": pool, "from_on": make.today(), "carry_over": Carry.NONE, "reason": "why", **terms})


def take_back(pool: GpuPool, **terms: Any) -> TakeBackRule:
    return TakeBackRule(**{"pool": pool, "from_on": make.today(), "funding": "internal", "reason": "why", **terms})


def asked(rule: PeriodEndRule, by: User | None = None) -> PeriodEndRule:
    return rules.ask_rule(rule=rule, by=by or make.staff(StaffRole.ALLOCATION_OFFICER), at=timezone.now())


def test_rule_counts_once_a_second_person_approves_it() -> None:
    pool, asking, answering = make.pool(), make.staff(StaffRole.ALLOCATION_OFFICER), make.person()
    rule = asked(period_end(pool), asking)
    in_force = PeriodEndRule.objects.filter(pool=pool).in_force(on=make.today())
    assert list(in_force) == []
    with pytest.raises(rules.OwnRule):
        rules.approve_rule(rule=rule, by=asking, at=timezone.now())
    rules.approve_rule(rule=rule, by=answering, at=timezone.now())
    assert [(row.asked_by, row.approved_by) for row in in_force.all()] == [(asking, answering)]
    events = Event.objects.filter(object_type="allocations.periodendrule").order_by("pk")
    assert [(event.act, event.actor) for event in events] == [("ask_rule", asking), ("approve_rule", answering)]


@pytest.mark.parametrize("answer", ["approve", "refuse"])
def test_rule_is_answered_once(answer: str) -> None:
    rule = asked(period_end(make.pool()))
    seen = [PeriodEndRule.objects.get(pk=rule.pk) for _ in range(3)]
    at = timezone.now()
    if answer == "approve":
        rules.approve_rule(rule=seen[0], by=make.person(), at=at)
    else:
        rules.refuse_rule(rule=seen[0], by=make.person(), at=at, answer="no")
    with pytest.raises(rules.AlreadyDecided):
        rules.approve_rule(rule=seen[1], by=make.person(), at=at)
    with pytest.raises(rules.AlreadyDecided):
        rules.refuse_rule(rule=seen[2], by=make.person(), at=at, answer="no")


def test_person_who_asked_withdraws_by_refusing() -> None:
    asking = make.person()
    rule = asked(period_end(make.pool()), asking)
    with pytest.raises(rules.NoAnswer):
        rules.refuse_rule(rule=rule, by=asking, at=timezone.now(), answer=" ")
    rules.refuse_rule(rule=rule, by=asking, at=timezone.now(), answer="a slip")
    rule.refresh_from_db()
    assert (rule.refused_by, rule.answer, rule.is_waiting) == (asking, "a slip", False)
    assert Event.objects.latest("pk").act == "withdraw_rule"


def test_approved_rule_is_never_changed() -> None:
    rule = make.period_end_rule(pool=make.pool())
    for change in (
        lambda: PeriodEndRule.objects.filter(pk=rule.pk).update(wait_days=5),
        lambda: PeriodEndRule.objects.filter(pk=rule.pk).delete(),
    ):
        with pytest.raises(IntegrityError, match="a rule is superseded by a later one"), transaction.atomic():
            change()


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"carry_over": Carry.AT_MOST}, "most_bp"),
        ({"carry_over": Carry.AT_MOST, "most_bp": 10_001}, "most_bp"),
        ({"carry_over": Carry.ALL, "most_bp": 1_000}, "most_bp"),
        ({"carry_over": "some"}, "carry_over"),
        ({"reason": "  "}, "reason"),
    ],
)
def test_period_end_rule_that_makes_no_sense_is_refused_by_its_field(terms: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        asked(period_end(make.pool(), **terms))
    assert set(refused.value.message_dict) == {field}


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"check_at_bp": 10_000}, "check_at_bp"),
        ({"under_bp": 0}, "under_bp"),
        ({"warn_days": 0}, "warn_days"),
        ({"funding": "borrowed"}, "funding"),
        ({"from_on": make.today() - timedelta(days=2)}, "from_on"),
    ],
)
def test_take_back_rule_that_makes_no_sense_is_refused_by_its_field(terms: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        rules.ask_rule(rule=take_back(make.pool(), **terms), by=make.person(), at=timezone.now())
    assert set(refused.value.message_dict) == {field}


def test_first_rule_of_a_pool_may_close_what_ended_before_and_a_later_one_may_not() -> None:
    pool, long_ago = make.pool(), make.today() - timedelta(days=90)
    make.allocation(pool=pool, end_on=make.today() - timedelta(days=20), reference="OLD")
    first = asked(period_end(pool, from_on=long_ago))
    also_first = asked(period_end(pool, from_on=long_ago, carry_over=Carry.ALL))
    rules.approve_rule(rule=first, by=make.person(), at=timezone.now())
    with pytest.raises(rules.TooLate):
        rules.approve_rule(rule=also_first, by=make.person(), at=timezone.now())
    with pytest.raises(ValidationError):
        asked(period_end(pool, from_on=long_ago))
    assert [row.allocation.reference for row in close_periods(at=timezone.now())] == ["OLD"]


def test_later_rule_counts_for_periods_that_end_from_its_first_day_on() -> None:
    pool, today = make.pool(), make.today()
    make.period_end_rule(pool=pool, carry_over=Carry.NONE, from_on=today - timedelta(days=365))
    at = timezone.now() - timedelta(days=15)
    make.period_end_rule(pool=pool, carry_over=Carry.ALL, from_on=today - timedelta(days=15), at=at, wait_days=0)
    before = make.allocation(pool=pool, end_on=today - timedelta(days=16))
    after = make.allocation(pool=pool, end_on=today - timedelta(days=15))
    close_periods(at=timezone.now())
    assert [row.period_end.rule.carry_over for row in (before, after)] == ["none", "all"]


# The admin


def officer(client: Client) -> User:
    user = make.staff(StaffRole.ALLOCATION_OFFICER)
    client.force_login(user)
    return user


def terms_of(pool: GpuPool, from_on: date) -> dict[str, Any]:
    return {
        "pool": pool.pk,
        "from_on": from_on.isoformat(),
        "carry_over": "at_most",
        "most_bp": "12.5",
        "wait_days": 30,
        "reason": "As the committee advised.",
    }


def test_two_officers_make_a_rule_on_its_pages(client: Client) -> None:
    pool = make.pool("h800")
    make.period_end_rule(pool=pool)
    asking = officer(client)
    add = reverse("admin:allocations_periodendrule_add")
    page = client.post(add, terms_of(pool, make.today()), follow=True)
    assert "The rule waits for another officer’s approval." in page.content.decode()
    rule = PeriodEndRule.objects.waiting().get()
    assert (rule.asked_by, rule.most_bp) == (asking, 1_250)
    approve = reverse("admin:allocations_periodendrule_approve", args=[rule.pk])
    assert "You asked for this rule yourself." in client.post(approve).content.decode()

    answering = officer(client)
    seen = client.get(approve).content.decode()
    assert "Nothing is carried over" in seen
    assert "12.5\N{NO-BREAK SPACE}%" in seen
    client.post(approve)
    rule.refresh_from_db()
    assert rule.approved_by == answering


def test_rule_that_makes_no_sense_is_said_on_the_page(client: Client) -> None:
    officer(client)
    terms = {**terms_of(make.pool(), make.today()), "most_bp": "0"}
    page = client.post(reverse("admin:allocations_periodendrule_add"), terms)
    assert "Say which share, more than 0 % and at most 100 %." in page.content.decode()
    assert PeriodEndRule.objects.count() == 0


@pytest.mark.parametrize("role", [StaffRole.AUDITOR, StaffRole.FINANCE_OFFICER])
def test_others_look_at_rules_and_do_nothing(client: Client, role: StaffRole) -> None:
    rule = asked(period_end(make.pool()))
    client.force_login(make.staff(role))
    assert client.get(reverse("admin:allocations_periodendrule_change", args=[rule.pk])).status_code == 200
    assert client.get(reverse("admin:allocations_periodendrule_add")).status_code == 403
    for act in ("approve", "refuse"):
        assert client.post(reverse(f"admin:allocations_periodendrule_{act}", args=[rule.pk])).status_code == 403


def test_take_back_rule_is_asked_for_on_its_page(client: Client) -> None:
    officer(client)
    given = {
        "pool": make.pool().pk,
        "funding": "subsidised",
        "from_on": make.today().isoformat(),
        "check_at_bp": "50",
        "under_bp": "40",
        "warn_days": 14,
        "reason": "As the committee advised.",
    }
    client.post(reverse("admin:allocations_takebackrule_add"), given)
    rule = TakeBackRule.objects.get()
    assert (rule.check_at_bp, rule.under_bp, rule.warn_days, rule.is_waiting) == (5_000, 4_000, 14, True)
    officer(client)
    client.post(reverse("admin:allocations_takebackrule_approve", args=[rule.pk]))
    rule.refresh_from_db()
    assert not rule.is_waiting


@pytest.mark.parametrize("rows", [1, 3])
def test_list_of_rules_costs_the_same_for_one_and_for_three(
    client: Client, rows: int, django_assert_num_queries: Any
) -> None:
    officer(client)
    for _ in range(rows):
        make.period_end_rule(pool=make.pool())
    client.get(reverse("admin:index"))
    with django_assert_num_queries(7):
        client.get(reverse("admin:allocations_periodendrule_changelist"))


def test_pool_and_allocation_tell_where_hours_went(client: Client) -> None:
    pool = make.pool("h800")
    make.period_end_rule(pool=pool, carry_over=Carry.AT_MOST, most_bp=1_000)
    day = make.today() - timedelta(days=10)
    allocation = make.allocation(pool=pool, hours=1_000, end_on=day, account="lab")
    make.allocation(
        pool=pool, hours=1, start_on=day + timedelta(days=1), project=allocation.project, account="lab", reference="NEW"
    )
    close_periods(at=timezone.now())
    officer(client)
    of_pool = client.get(reverse("admin:centre_gpupool_change", args=[pool.pk])).content.decode()
    assert "Reserve of the pool" in of_pool
    assert of_pool.count("900") >= 2
    of_allocation = client.get(reverse("admin:allocations_allocation_change", args=[allocation.pk])).content.decode()
    for told in ("End of the period", "NEW", "100.00", "900.00", "At most 10\N{NO-BREAK SPACE}% of what was granted"):
        assert told in of_allocation
