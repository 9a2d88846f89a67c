"""Loading the demo: whole or not at all, once, as of any day, and never over data."""

from datetime import date, timedelta
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from allocations import verifying
from centre.demo import loading
from centre.models import Centre, Tenant
from subsidies.models import Award
from tests import make

TODAY = date(2026, 2, 28)


def load(*, today: date = TODAY) -> str:
    """Load it with as few job runs as there can be; what the command prints."""
    out = StringIO()
    call_command("load_demo", runs=1, today=today, stdout=out)
    return out.getvalue()


def count_of_every_table() -> dict[str, int]:
    return {model._meta.label: model._base_manager.count() for model in apps.get_models()}


@pytest.mark.sqlite  # the other test of this file loads it on PostgreSQL, too
@pytest.mark.parametrize("today", [date(2060, 2, 29), pytest.param(date(2003, 3, 1), marks=pytest.mark.hard)])
def test_demo_loads_as_of_any_day(committed: None, today: date) -> None:
    assert load(today=today).startswith("The demo is loaded.")
    assert Award.objects.count() == 10
    assert list(verifying.differences()) == []


@pytest.mark.page  # on PostgreSQL in the long version
def test_interrupted_load_leaves_nothing_and_a_second_one_changes_nothing(committed: None) -> None:
    before = count_of_every_table()

    def interrupt(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if "allocations_usageimport" in sql:
            raise KeyboardInterrupt
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(interrupt), pytest.raises(KeyboardInterrupt):
        load()
    assert not loading.is_loaded()
    assert count_of_every_table() == before
    assert load().startswith("The demo is loaded.")
    before = count_of_every_table()
    assert load(today=TODAY + timedelta(days=1)).startswith("The demo is loaded already.")
    assert count_of_every_table() == before


def test_demo_refuses_a_database_with_real_data(db: None) -> None:
    make.tenant("real")
    with pytest.raises(CommandError, match="not the demo's"):
        load()
    assert list(Tenant.objects.values_list("code", flat=True)) == ["real"]
    assert not Centre.objects.exists()
