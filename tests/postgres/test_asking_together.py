"""Many people of one team ask at the same moment: no more requests wait than may."""

from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from allocations import requests
from allocations.asking import MOST_WAITING
from allocations.models import ChangeRequest
from tests import make
from tests.postgres.acting import together

pytestmark = pytest.mark.usefixtures("committed")


@pytest.mark.parametrize("attempt", range(3))
def test_of_many_who_ask_at_once_no_more_wait_than_may(attempt: int) -> None:
    project = make.project()
    said: dict[str, Any] = {"kind": ChangeRequest.Kind.OTHER, "project": project, "reason": "-", "at": timezone.now()}
    for _number in range(MOST_WAITING - 2):
        requests.ask(by=make.person(), **said)
    became = together([partial(requests.ask, by=make.person(), key=f"k{number}", **said) for number in range(6)])
    assert became == ["TooManyWaiting"] * 4 + ["done"] * 2
    assert ChangeRequest.objects.count() == MOST_WAITING
