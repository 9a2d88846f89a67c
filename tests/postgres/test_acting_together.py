"""What several people and importers do at the same moment, on a database where commits are real."""

import random
from datetime import UTC, date, datetime
from functools import partial
from threading import Barrier

import pytest
from django.db.models import F
from django.utils import timezone

from allocations import movements, requests
from allocations.models import Allocation, JobRun, LedgerEntry
from allocations.verifying import differences
from centre.models import User
from centre.permissions import StaffRole
from subsidies.awards import confirm_decision
from subsidies.fund import verify_fund
from subsidies.models import Award, Scheme
from tests import make
from tests.allocations.books import books, charged_by_account, imported, opened, small_centre
from tests.allocations.test_usage_import import history, parts
from tests.postgres.acting import together
from tests.subsidies import cases

pytestmark = pytest.mark.usefixtures("committed")


def officer() -> User:
    return make.staff(StaffRole.ALLOCATION_OFFICER)


def hold(allocation: Allocation, key: str) -> LedgerEntry:
    return movements.hold(
        allocation=Allocation.objects.get(pk=allocation.pk),
        seconds=3600,
        by=None,
        at=timezone.now(),
        key=key,
        reason="for an offer",
    )


def test_holds_at_the_boundary_never_oversell() -> None:
    allocation = make.allocation(hours=5)
    met = together([partial(hold, allocation, f"hold-{n}") for n in range(12)])
    assert met == ["NotEnough"] * 7 + ["done"] * 5
    allocation.refresh_from_db()
    assert allocation.available_seconds == 0
    assert list(differences()) == []


def test_naive_check_before_the_insert_would_oversell() -> None:
    """The control: were the check a read before the write, the same race would sell more than there is."""
    allocation = make.allocation(hours=5)
    all_have_read = Barrier(12)

    def naive() -> None:
        left = Allocation.objects.get(pk=allocation.pk).available_seconds
        all_have_read.wait()
        if left >= 3600:
            Allocation.objects.filter(pk=allocation.pk).update(held_seconds=F("held_seconds") + 3600)

    together([naive] * 12)
    allocation.refresh_from_db()
    assert allocation.available_seconds == 5 * 3600 - 12 * 3600


def test_same_key_at_the_same_moment_acts_once() -> None:
    allocation = make.allocation(hours=5)
    assert together([partial(hold, allocation, "the same")] * 6) == ["done"] * 6
    allocation.refresh_from_db()
    assert (allocation.held_seconds, LedgerEntry.objects.filter(kind="hold").count()) == (3600, 1)


def test_two_officers_approving_one_request_give_once() -> None:
    allocation = make.allocation(hours=5)
    asked = requests.ask(allocation=allocation, seconds=3600, reason="more", by=officer(), at=timezone.now())
    answering = [officer() for _ in range(4)]
    met = together([partial(requests.approve, request=asked, by=by, at=timezone.now()) for by in answering])
    assert met == ["AlreadyAnswered"] * 3 + ["done"]
    allocation.refresh_from_db()
    assert allocation.granted_seconds == 6 * 3600
    assert list(differences()) == []


def test_one_account_is_opened_once_on_the_same_days() -> None:
    cluster = small_centre(accounts=())
    pool = cluster.pools.get()
    make.project("lab")
    met = together([partial(opened, account="lab", pool=pool, start_on=date(2020, 1, n)) for n in range(1, 5)])
    assert met == ["AccountTaken"] * 3 + ["done"]
    assert Allocation.objects.count() == 1


def test_confirmations_at_the_same_moment_never_pass_the_envelope() -> None:
    pool = make.pool(price=1_000)
    scheme = cases.scheme(envelope_cents=2 * 1_000 * 700)  # two awards of 1,000 GPU-hours at HK$10 and 70 %
    waiting = [
        cases.decision(application=cases.application(scheme=scheme, hours={pool: 1_000}), rate_bp=7_000)
        for _ in range(4)
    ]
    chairs = [cases.chair() for _ in waiting]
    met = together(
        [
            partial(confirm_decision, decision=one, by=by, at=timezone.now())
            for one, by in zip(waiting, chairs, strict=True)
        ]
    )
    assert met == ["FundExhausted"] * 2 + ["done"] * 2
    scheme = Scheme.objects.get(pk=scheme.pk)
    assert (scheme.left_cents, Award.objects.count(), verify_fund()) == (0, 2, [])


def test_one_decision_confirmed_by_two_is_confirmed_once() -> None:
    waiting = cases.decision(application=cases.application())
    chairs = [cases.chair() for _ in range(3)]
    met = together([partial(confirm_decision, decision=waiting, by=by, at=timezone.now()) for by in chairs])
    assert met == ["AlreadyDecided"] * 2 + ["done"]
    assert (Award.objects.count(), Allocation.objects.count()) == (1, 1)


@pytest.mark.parametrize("seed", [5, 6])
def test_parts_imported_by_four_at_the_same_moment_give_the_books_of_the_whole(seed: int) -> None:
    made = history(seed=seed, runs=600)
    as_of = datetime.fromtimestamp(made.exported_at, UTC)
    cluster = small_centre(accounts=("lab", "clinic", "port"))
    pieces = parts(made.text, 4, random.Random(seed))
    assert together([partial(imported, data, cluster=cluster, as_of=as_of) for data in pieces]) == ["done"] * 4
    assert charged_by_account() == {account: seconds for account, seconds in made.truth.charged.items() if seconds}
    assert JobRun.objects.count() == made.truth.records
    assert list(differences()) == []
    before = books()
    together([partial(imported, made.text, cluster=cluster, as_of=as_of)] * 2)
    assert books() == before
