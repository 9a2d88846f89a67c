"""Refunds of chosen job runs: the evidence is kept run by run, and follows what the runs turn out to have cost."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta

import pytest
from django.utils import timezone

from allocations import movements, refunds, requests
from allocations.models import Allocation, ChangeRequest, JobRun, LedgerEntry, RunRefund
from allocations.posting import KeyReused
from allocations.verifying import differences
from centre.models import User
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db

HOUR = make.HOUR
AT = timezone.now()
TEN = datetime.combine(make.today() - timedelta(days=3), time(10), tzinfo=timezone.get_default_timezone())


@pytest.fixture
def officers() -> tuple[User, User]:
    return make.staff(StaffRole.ALLOCATION_OFFICER), make.staff(StaffRole.ALLOCATION_OFFICER)


def used_by(*runs: make.Run, allocation: Allocation, as_of: datetime | None = None) -> None:
    make.imported(*runs, cluster=allocation.pool.cluster, as_of=as_of)


def asked(allocation: Allocation, runs: Sequence[JobRun], by: User, key: str = "refund") -> ChangeRequest:
    return requests.propose(
        kind=ChangeRequest.Kind.REFUND,
        allocation=allocation,
        runs=runs,
        reason="node n7 failed",
        by=by,
        at=AT,
        key=key,
    )


def used_hours(allocation: Allocation) -> float:
    return Allocation.objects.get(pk=allocation.pk).used_seconds / HOUR


def test_chosen_runs_are_given_back_and_the_others_are_not(officers: tuple[User, User]) -> None:
    allocation = make.allocation(hours=100)
    failed = make.run(allocation=allocation, hours=20, gpus=2, start_at=TEN, state="NODE_FAIL")
    good = make.run(allocation=allocation, hours=5, start_at=TEN)
    used_by(failed, good, allocation=allocation)
    run = JobRun.objects.get(job_id_raw=failed.number)
    request = asked(allocation, [run], officers[0])
    assert (request.asked_seconds, used_hours(allocation)) == (40 * HOUR, 45)
    requests.approve(request=request, by=officers[1], at=AT)
    entry = LedgerEntry.objects.get(kind="refund")
    assert (entry.seconds, entry.asked_by, entry.approved_by) == (40 * HOUR, *officers)
    assert used_hours(allocation) == 5
    by_day = RunRefund.objects.filter(entry=entry, run=run).order_by("day").values_list("day", "seconds")
    assert list(by_day) == [(TEN.date(), 28 * HOUR), (TEN.date() + timedelta(days=1), 12 * HOUR)]
    assert list(JobRun.objects.refundable(allocation)) == [JobRun.objects.get(job_id_raw=good.number)]
    assert list(differences()) == []


def test_a_run_is_not_refunded_twice_nor_while_it_runs(officers: tuple[User, User]) -> None:
    allocation = make.allocation(hours=100)
    failed = make.run(allocation=allocation, hours=2, start_at=TEN)
    running = make.run(allocation=allocation, start_at=TEN, running=True)
    used_by(failed, running, allocation=allocation)
    run = JobRun.objects.get(job_id_raw=failed.number)
    first, second = asked(allocation, [run], officers[0], "a"), asked(allocation, [run], officers[0], "b")
    requests.approve(request=first, by=officers[1], at=AT)
    with pytest.raises(refunds.RunsChanged):
        requests.approve(request=second, by=officers[1], at=AT)
    for chosen in (run, JobRun.objects.get(job_id_raw=running.number)):
        with pytest.raises(refunds.NothingToRefund):
            asked(allocation, [chosen], officers[0], f"run-{chosen.pk}")
    assert RunRefund.objects.count() == 1


def test_a_run_of_another_allocation_is_not_refunded_here(officers: tuple[User, User]) -> None:
    here, there = make.allocation(), make.allocation()
    used_by(make.run(allocation=there, start_at=TEN), allocation=there)
    with pytest.raises(refunds.NothingToRefund):
        asked(here, [JobRun.objects.get()], officers[0])


def test_what_was_asked_for_is_what_is_approved(officers: tuple[User, User]) -> None:
    """Between the two clicks an import corrects the run: the officer is told instead of giving something else."""
    allocation = make.allocation(hours=100)
    run = make.run(allocation=allocation, hours=4, start_at=TEN)
    used_by(run, allocation=allocation, as_of=AT.replace(microsecond=0) - timedelta(hours=1))
    request = asked(allocation, list(JobRun.objects.all()), officers[0])
    shorter = make.run(allocation=allocation, hours=3, start_at=TEN, number=run.number)
    used_by(shorter, allocation=allocation)
    with pytest.raises(refunds.RunsChanged):
        requests.approve(request=request, by=officers[1], at=AT)
    request.refresh_from_db()
    assert (request.state, used_hours(allocation), RunRefund.objects.count()) == ("asked", 3, 0)


@pytest.mark.parametrize("lengths", [(4, 3), (4, 3, 4), (4, 1, 3, 2), (4, 6)])
def test_a_refund_keeps_to_what_the_run_costs_whatever_is_learnt_later(
    officers: tuple[User, User], lengths: tuple[int, ...]
) -> None:
    """Refunded for 4 hours: of a run that then costs 3 the refund is 3, of one that costs 6 it stays 4."""
    allocation = make.allocation(hours=100)
    number = make.run(allocation=allocation, start_at=TEN).number
    for step, hours in enumerate(lengths):
        run = make.run(allocation=allocation, hours=hours, start_at=TEN, number=number)
        used_by(run, allocation=allocation, as_of=AT.replace(microsecond=0) - timedelta(minutes=60 - step))
        if step == 0:
            requests.approve(request=asked(allocation, list(JobRun.objects.all()), officers[0]), by=officers[1], at=AT)
        assert used_hours(allocation) == hours - min(4, hours)
        assert list(differences()) == []


def test_a_refund_of_the_wrong_runs_is_reversed_and_they_can_be_chosen_anew(officers: tuple[User, User]) -> None:
    allocation = make.allocation(hours=100)
    used_by(make.run(allocation=allocation, hours=4, start_at=TEN), allocation=allocation)
    runs = list(JobRun.objects.all())
    requests.approve(request=asked(allocation, runs, officers[0], "a"), by=officers[1], at=AT)
    refunded = LedgerEntry.objects.get(kind="refund")
    movements.reverse(entry=refunded, by=officers[0], approved_by=officers[1], at=AT, reason="wrong node")
    assert (used_hours(allocation), list(differences())) == (4, [])
    requests.approve(request=asked(allocation, runs, officers[0], "b"), by=officers[1], at=AT)
    assert (used_hours(allocation), list(differences())) == (0, [])


def test_small_refunds_follow_their_usage_also_when_the_threshold_falls(officers: tuple[User, User]) -> None:
    make.centre(two_person_above_seconds=10 * HOUR)
    allocation = make.allocation(hours=100)
    run = make.run(allocation=allocation, hours=4, start_at=TEN)
    used_by(run, allocation=allocation, as_of=AT.replace(microsecond=0) - timedelta(hours=1))
    assert asked(allocation, list(JobRun.objects.all()), officers[0]).state == "carried_out"
    make.centre(two_person_above_seconds=0)
    shorter = make.run(allocation=allocation, hours=3, start_at=TEN, number=run.number)
    used_by(shorter, allocation=allocation)
    assert used_hours(allocation) == 0


def learnt(allocation: Allocation, number: int, hours: int, *, step: int) -> None:
    """An export of its own says that the run took so many hours."""
    run = make.run(allocation=allocation, hours=hours, start_at=TEN, number=number)
    used_by(run, allocation=allocation, as_of=AT.replace(microsecond=0) - timedelta(minutes=60 - step))


def test_corrections_are_parted_over_the_refunds_of_a_run(officers: tuple[User, User]) -> None:
    """12 hours refunded by two officers, one more by one alone: when the run took 1 hour, both refunds give way."""
    make.centre(two_person_above_seconds=10 * HOUR)
    allocation = make.allocation(hours=100)
    number = make.run(allocation=allocation, start_at=TEN).number
    learnt(allocation, number, 12, step=0)
    requests.approve(request=asked(allocation, list(JobRun.objects.all()), officers[0], "a"), by=officers[1], at=AT)
    learnt(allocation, number, 13, step=1)
    assert asked(allocation, list(JobRun.objects.all()), officers[0], "b").state == "carried_out"
    for step, hours in enumerate((1, 20, 12), start=2):
        learnt(allocation, number, hours, step=step)
        assert used_hours(allocation) == max(0, hours - 13)
        assert list(differences()) == []
    corrections = LedgerEntry.objects.filter(kind="correction").order_by("pk")
    first, second = (str(entry.pk) for entry in LedgerEntry.objects.filter(source_kind="request").order_by("pk"))
    assert [(entry.source_reference, entry.seconds // HOUR) for entry in corrections] == [
        *((first, -11), (second, -1)),
        *((first, 11), (second, 1)),
        (second, -1),
    ]


def test_a_refund_is_not_reversed_once_usage_has_corrected_a_run_of_it(officers: tuple[User, User]) -> None:
    allocation = make.allocation(hours=100)
    number = make.run(allocation=allocation, start_at=TEN).number
    for step, (hours, key) in enumerate(((8, "a"), (12, "b"))):
        learnt(allocation, number, hours, step=step)
        requests.approve(request=asked(allocation, list(JobRun.objects.all()), officers[0], key), by=officers[1], at=AT)
    learnt(allocation, number, 10, step=3)  # of the second refund, 2 hours are left
    for refunded in LedgerEntry.objects.filter(source_kind="request"):
        with pytest.raises(movements.NotReversible):
            movements.reverse(entry=refunded, by=officers[0], approved_by=officers[1], at=AT, reason="slip")
    assert (used_hours(allocation), list(differences())) == (0, [])


def test_a_refund_form_sent_again_with_other_runs_is_refused(officers: tuple[User, User]) -> None:
    allocation = make.allocation(hours=100)
    runs = [make.run(allocation=allocation, start_at=TEN + timedelta(hours=n)) for n in range(2)]
    used_by(*runs, allocation=allocation)
    both = list(JobRun.objects.order_by("pk"))
    first = asked(allocation, both, officers[0])
    requests.approve(request=first, by=officers[1], at=AT)
    assert asked(allocation, both, officers[0]) == first
    for other in (both[:1], []):
        with pytest.raises(KeyReused):
            asked(allocation, other, officers[0])
