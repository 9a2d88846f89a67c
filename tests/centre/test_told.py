"""The history of every object is told in words: each act that is recorded anywhere has its own, each fact a name."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from allocations import ledger
from allocations.models import Allocation
from centre import audit, members
from centre.admin.telling import SMALL_UNIT, Told, changes_told
from centre.admin.told import ACTS, FACTS
from centre.models import Event, Membership, Project
from centre.permissions import ProjectRole, StaffRole
from subsidies.models import Application, Decision
from tests import make
from tests.centre import recorded_acts
from tests.subsidies import cases

pytestmark = pytest.mark.page

MACHINE = re.compile(r"[a-z]_[a-z]|\(#|[\[{]|\bNone\b")
"""Names of columns, numbers of rows, brackets and values of the language that the portal is written in."""
COLUMNS = {field.name for model in apps.get_models() for field in model._meta.concrete_fields}


def test_every_act_that_is_recorded_has_words_and_none_has_words_in_vain() -> None:
    found = recorded_acts.recorded()
    assert found.unread == set()
    assert found.acts == set(ACTS)


def test_every_fact_that_is_told_with_an_act_has_a_name() -> None:
    facts = recorded_acts.recorded().facts
    assert {"granted_seconds", "conditions", "rule", "merged_into"} <= facts
    assert {fact for fact in facts if fact not in FACTS and (fact not in COLUMNS or SMALL_UNIT.search(fact))} == set()


def test_act_without_words_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "centre").mkdir()
    (tmp_path / "centre" / "verbs.py").write_text(
        'ACTS = {1: "third"}\n'
        'def verb(n):\n    other("first", more=1)\n    act = "second" if n else ACTS[n]\n    audit.record(act=act)\n'
        'def other(act, **more):\n    audit.record(act=act, changes={"fact": 1, **more})\n'
        "def hidden():\n    audit.record(act=somewhere())\n"
    )
    monkeypatch.setattr(recorded_acts, "ROOT", tmp_path)
    found = recorded_acts.recorded()
    assert found.acts == {"first", "second", "third"}
    assert found.facts == {"fact", "more"}
    assert found.unread == {"centre/verbs.py:hidden"}


@pytest.mark.parametrize(
    ("model", "changes", "told"),
    [
        (Allocation, {"granted_seconds": [3_600_000, 7_200_000]}, ("Granted", "1,000 GPU-hours", "2,000 GPU-hours")),
        (Allocation, {"gpu_seconds": -5_400, "gpu_hours": "-1.50"}, ("GPU-hours", "", "-1.50 GPU-hours")),
        (Allocation, {"state": ["open", "closed"]}, ("State", "Open", "Closed")),
        (Allocation, {"pool": [None, "NVIDIA L40S (l40s) (#2)"]}, ("GPU pool", "", "NVIDIA L40S (l40s)")),
        (Allocation, {"rule": 2}, ("Rule", "", "no. 2")),
        (Allocation, {"entry": [None, 4080]}, ("Ledger entry", "", "4080")),
        (Allocation, {"outcome": ["warned", "taken"]}, ("Outcome", "Warned", "Taken back")),
        (Allocation, {"end_on": [date(2026, 11, 30), date(2027, 1, 31)]}, ("Last day", "30 Nov 2026", "31 Jan 2027")),
        (Membership, {"role": ["member", "viewer"]}, ("Role", "Member", "Viewer")),
        (Project, {"title": ["2026-11-30", "Maps (#2)"]}, ("Title", "2026-11-30", "Maps (#2)")),
        (Application, {"asks": [None, {"h800": 7_200}]}, ("GPU time asked for", "", "h800: 2 GPU-hours")),
        (
            Application,
            {"conditions": [["One.", None], ["Two.", "2026-11-30"]]},
            ("Conditions", "", "One.; Two., 30 Nov 2026"),
        ),
        (Application, {"period": ["2026-11-30", "2027-11-29"]}, ("Period", "", "30 Nov 2026 to 29 Nov 2027")),
        (Decision, {"amount_cents": [None, 412_650_000]}, ("Amount", "", "HK$4,126,500")),
        (Decision, {"rate_bp": [7_000, 7_550]}, ("Rate", "70 %", "75.5 %")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_are_told_in_words(model: Any, changes: dict[str, Any], told: tuple[str, str, str]) -> None:
    event = Event(changes={name: audit.plain_deep(value) for name, value in changes.items()})
    (found,) = changes_told(event, model)
    shown = [text.replace("\N{NO-BREAK SPACE}", " ") for text in (found.before, found.after)]
    assert Told(found.label, *shown) == Told(*told)


@pytest.mark.django_db
def test_history_of_what_verbs_and_commands_did_is_told_without_their_own_words(client: Client) -> None:
    """Every page of history of a small centre, looked at by the auditor."""
    award = cases.award(decision=cases.decision())
    allocation = award.grants.get().allocation
    ledger.top_up(
        allocation=allocation,
        seconds=3_600,
        reason="more",
        by=make.staff(StaffRole.ALLOCATION_OFFICER),
        approved_by=make.staff(StaffRole.ALLOCATION_OFFICER),
        key="more",
        source_kind="test",
        at=timezone.now(),
    )
    member = make.member(project=award.project).memberships.get()
    members.change_role(membership=member, role=ProjectRole.VIEWER, by=None, at=timezone.now())
    client.force_login(make.staff(StaffRole.AUDITOR))
    seen, machine = 0, {}
    for kind, number in Event.objects.order_by().values_list("object_type", "object_id").distinct():
        model = apps.get_model(kind)
        if not admin.site.is_registered(model):
            continue
        page = client.get(reverse(f"admin:{kind.replace('.', '_')}_history", args=[number]))
        for event, act, told in page.context["events"]:
            seen += 1
            for text in (act, *(f"{each.label}: {each.before} → {each.after}" for each in told)):
                if MACHINE.search(text):
                    machine[f"{kind} {event.act}"] = text
    assert machine == {}
    assert seen > 20
