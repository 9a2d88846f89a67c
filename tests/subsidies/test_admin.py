"""The scheme in the admin: recorded by one person, shown before it is saved, confirmed by another."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils.html import escape
from pytest_django import DjangoAssertNumQueries

from centre.models import GpuPool, User
from centre.permissions import StaffRole
from subsidies.life_cycle import State
from subsidies.models import Application, Award, Decision, FundEntry, Scheme, SubsidyProject
from tests import make
from tests.subsidies import cases

pytestmark = [pytest.mark.django_db, pytest.mark.page]

MODELS = ("scheme", "application", "decision", "award", "subsidyproject", "fundentry")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def approval(pool: GpuPool, **fields: Any) -> dict[str, Any]:
    """What is filled in on the page of an approval."""
    return {
        f"hours_{pool.pk}": "1000",
        "rate_bp": "70",
        "exceptional_grounds": "",
        "starts_on": make.today().isoformat(),
        "ends_on": (make.today() + timedelta(days=99)).isoformat(),
        "account": "",
        "reason": "The committee approves.",
        "conditions-TOTAL_FORMS": "1",
        "conditions-INITIAL_FORMS": "0",
        "conditions-0-text": "Report.",
        "conditions-0-due_on": make.today().isoformat(),
        **fields,
    }


def test_officer_records_an_application_on_one_page() -> None:
    cases.scheme()
    pool, tenant, lead = make.pool(), make.tenant(), make.person()
    client = signed_in(cases.secretary())
    assert client.get("/admin/subsidies/application/add/").status_code == 200
    response = client.post(
        "/admin/subsidies/application/add/",
        {
            "tenant": tenant.pk,
            "title": "Cantonese speech",
            "summary": "",
            "project": "",
            "new_project_code": "canto",
            "lead": lead.pk,
            "received_on": make.today().isoformat(),
            "starts_on": make.today().isoformat(),
            "ends_on": (make.today() + timedelta(days=99)).isoformat(),
            f"hours_{pool.pk}": "1234.5",
        },
    )
    case = Application.objects.get()
    assert response.headers["Location"] == f"/admin/subsidies/application/{case.pk}/change/"
    assert (case.state, case.tenant, case.lead) == (State.SUBMITTED, tenant, lead)
    assert [(ask.pool, ask.gpu_seconds) for ask in case.asks.all()] == [(pool, 4_444_200)]


def test_approval_is_shown_with_its_amount_before_it_is_recorded() -> None:
    pool = make.pool(price=2_150)
    case = cases.application(hours={pool: 1_000})
    client = signed_in(cases.secretary())
    page = f"/admin/subsidies/application/{case.pk}/decide/"
    shown = client.post(page, approval(pool, preview="1"))
    assert "HK$15,050.00" in shown.content.decode()
    assert Decision.objects.count() == 0
    stale = client.post(page, approval(pool, record="1", shown="1505000", rate_bp="60"))
    assert "HK$12,900.00" in stale.content.decode()
    assert Decision.objects.count() == 0
    client.post(page, approval(pool, record="1", shown="1505000"))
    decision = Decision.objects.get()
    assert (decision.amount_cents, decision.rate_bp, decision.is_confirmed) == (1_505_000, 7_000, False)
    assert [(condition.text, condition.due_on) for condition in decision.conditions.all()] == [
        ("Report.", make.today())
    ]


@pytest.mark.parametrize(
    ("rate", "grounds", "refusal"),
    [
        ("70.01", "", "Above 70\N{NO-BREAK SPACE}% of the list price the exceptional grounds have to be recorded."),
        ("90.01", "unique", "The scheme pays at most 90\N{NO-BREAK SPACE}% of the list price, whatever the case."),
    ],
)
def test_form_keeps_to_the_ceilings(rate: str, grounds: str, refusal: str) -> None:
    pool = make.pool()
    case = cases.application(hours={pool: 1})
    page = signed_in(cases.secretary()).post(
        f"/admin/subsidies/application/{case.pk}/decide/",
        approval(pool, record="1", shown="1", rate_bp=rate, exceptional_grounds=grounds),
    )
    assert escape(refusal) in page.content.decode()
    assert Decision.objects.count() == 0


def test_chair_confirms_and_sees_the_effect_before() -> None:
    decision = cases.decision()
    client = signed_in(cases.chair())
    page = f"/admin/subsidies/decision/{decision.pk}/confirm/"
    text = client.get(page).content.decode()
    assert "HK$3,000,000,000" in text
    assert "HK$2,999,993,000" in text
    assert Award.objects.count() == 0
    response = client.post(page, {"seen": decision.recorded_at.isoformat()})
    assert [str(message) for message in get_messages(response.wsgi_request)] == [
        f"The decision on {decision.application.number} is confirmed."
    ]
    assert Award.objects.get().amount_cents == 700_000


def test_same_person_reads_why_they_cannot_confirm() -> None:
    both = cases.chair()
    make.staff(StaffRole.SUBSIDY_SECRETARY, user=both)
    decision = cases.decision(by=both)
    client = signed_in(both)
    page = f"/admin/subsidies/decision/{decision.pk}/confirm/"
    for response in (client.get(page), client.post(page, {"seen": decision.recorded_at.isoformat()})):
        assert "You recorded this decision. Someone else has to confirm it." in response.content.decode()
    assert not Decision.objects.get().is_confirmed


def test_decision_recorded_anew_is_not_confirmed_from_an_old_page() -> None:
    decision = cases.decision()
    page = f"/admin/subsidies/decision/{decision.pk}/confirm/"
    response = signed_in(cases.chair()).post(page, {"seen": "2020-01-01T00:00:00+00:00"})
    assert "Read it again" in response.content.decode()
    assert not Decision.objects.get().is_confirmed


def test_acts_are_offered_and_allowed_to_those_who_may_only() -> None:
    case = cases.application()
    decision = cases.decision()
    case_page = f"/admin/subsidies/application/{case.pk}/"
    decision_page = f"/admin/subsidies/decision/{decision.pk}/"
    secretary, chair, auditor = (
        signed_in(user) for user in (cases.secretary(), cases.chair(), make.staff(StaffRole.AUDITOR))
    )
    assert "../decide/" in secretary.get(f"{case_page}change/").content.decode()
    assert "../decide/" not in chair.get(f"{case_page}change/").content.decode()
    assert "../confirm/" in chair.get(f"{decision_page}change/").content.decode()
    assert "../confirm/" not in secretary.get(f"{decision_page}change/").content.decode()
    assert secretary.get(f"{decision_page}confirm/").status_code == 403
    assert secretary.post(f"{decision_page}confirm/").status_code == 403
    assert chair.get(f"{case_page}decide/").status_code == 403
    for act in ("decide", "refuse", "mend", "withdraw", "ineligible"):
        assert auditor.get(f"{case_page}{act}/").status_code == 403
    assert auditor.get("/admin/subsidies/application/add/").status_code == 403


def test_nothing_is_deleted_and_no_state_is_set_by_hand() -> None:
    award = cases.award()
    rows: dict[str, Any] = {
        "scheme": Scheme.objects.get(),
        "application": award.application,
        "decision": award.decision,
        "award": award,
        "subsidyproject": SubsidyProject.objects.get(),
        "fundentry": FundEntry.objects.first(),
    }
    # Those who may change anything at all of the scheme, and the administrator.
    able = ("subsidy_secretary", "committee_chair", "finance_officer", "administrator")
    for role in able:
        client = signed_in(make.staff(StaffRole(role)))
        for model, row in rows.items():
            assert client.post(f"/admin/subsidies/{model}/{row.pk}/delete/", {"post": "yes"}).status_code in {403, 404}
            client.post(f"/admin/subsidies/{model}/{row.pk}/change/", {"state": "draft", "standing": "terminated"})
    assert Application.objects.get().state == State.ACCEPTED
    assert SubsidyProject.objects.get().standing == "active"


def test_people_who_are_not_staff_do_not_find_the_admin_pages() -> None:
    award = cases.award()
    client = signed_in(make.person())
    for model in MODELS:
        assert client.get(f"/admin/subsidies/{model}/").status_code == 404
    assert client.get(f"/admin/subsidies/application/{award.application_id}/decide/").status_code == 404


@pytest.mark.parametrize("model", MODELS)
def test_lists_take_the_same_number_of_queries_at_1_and_3_rows(
    model: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    counts = {"scheme": 6, "application": 7, "decision": 7, "award": 7, "subsidyproject": 6, "fundentry": 7}
    scheme = cases.scheme()
    titles: list[str] = []
    client = signed_in(make.staff(StaffRole.AUDITOR))
    for wanted in (1, 3):
        while len(titles) < wanted:
            titles.append(cases.award(application=cases.application(scheme=scheme)).project.title)
            if model == "scheme" and len(titles) > 1:
                cases.scheme()
        client.get(f"/admin/subsidies/{model}/")
        with django_assert_num_queries(counts[model]):
            page = client.get(f"/admin/subsidies/{model}/").content.decode()
        if model in {"application", "decision", "subsidyproject"}:
            assert [title in page for title in titles] == [True] * wanted


def test_pages_of_rows_show_their_hours_and_money() -> None:
    award = cases.award(application=cases.application(hours={make.pool(price=1_000): 41_320}))
    client = signed_in(make.staff(StaffRole.AUDITOR))
    for model, pk in (
        ("application", award.application_id),
        ("decision", award.decision_id),
        ("award", award.pk),
    ):
        page = client.get(f"/admin/subsidies/{model}/{pk}/change/").content.decode()
        assert "41,320" in page
    assert "HK$289,240" in client.get(f"/admin/subsidies/award/{award.pk}/change/").content.decode()


def test_finance_officer_writes_the_terms_in_dollars_and_per_cent() -> None:
    client = signed_in(make.staff(StaffRole.FINANCE_OFFICER))
    terms = {
        "code": "ai",
        "name_en": "Scheme",
        "starts_on": "2026-01-01",
        "ends_on": "2028-12-31",
        "envelope_cents": "3000000000",
        "default_rate_bp": "70",
        "ordinary_ceiling_bp": "70",
        "exceptional_ceiling_bp": "90",
    }
    wrong = client.post("/admin/subsidies/scheme/add/", {**terms, "ordinary_ceiling_bp": "95"})
    assert wrong.status_code == 200
    assert "The usual rate is above 0" in wrong.content.decode()
    client.post("/admin/subsidies/scheme/add/", terms)
    scheme = Scheme.objects.get()
    assert (scheme.envelope_cents, scheme.default_rate_bp, scheme.exceptional_ceiling_bp) == (
        300_000_000_000,
        7_000,
        9_000,
    )
