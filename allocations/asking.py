"""Asking about GPU time: a team asks and waits; an officer proposes an act, which is done at once or waits.

A form that is sent twice asks once: it carries a key. The hours of a transfer that waits are held, whoever asks for it,
so that what was asked for can be given. They are let go when it is answered, or lapse.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from allocations import movements
from allocations.carrying_out import carry_out, named, refuse_impossible
from allocations.models import Allocation, ChangeRequest, JobRun, LedgerEntry, RequestedRun
from allocations.posting import KeyReused, LedgerError
from allocations.refusals import NoSuchAnswer, TooManyWaiting, belongs_to_it, refuse_strange, refuse_unsaid
from centre import audit
from centre.models import Centre, Project, User

Kind = ChangeRequest.Kind
State = ChangeRequest.State

MOVES_HOURS = frozenset({Kind.OPENING, Kind.TOP_UP, Kind.TRANSFER, Kind.TAKE_BACK, Kind.REFUND, Kind.REVERSAL})
"""What is carried out through the ledger."""
CAN_BE_PROPOSED = MOVES_HOURS | ChangeRequest.OF_DAYS
"""What an officer can propose: each is carried out by a verb when it is approved."""
OF_TEAMS = ChangeRequest.OF_TEAMS
"""What a team can ask for."""
MOST_WAITING = 10
"""Requests of one project that may wait at once: more than a team has to say to the centre at one time, and few enough
that officers can answer each of them."""


@transaction.atomic
def ask(
    *,
    reason: str,
    by: User,
    at: datetime,
    kind: ChangeRequest.Kind = Kind.TOP_UP,
    project: Project | None = None,
    allocation: Allocation | None = None,
    seconds: int | None = None,
    until_on: date | None = None,
    to_allocation: Allocation | None = None,
    key: str | None = None,
) -> ChangeRequest:
    """Ask the centre for something; it waits for an officer. The same `key` sent twice asks once.

    A top-up names `allocation` and `seconds` (GPU-seconds); an extension `allocation` and the last day wanted,
    `until_on`; a transfer `allocation`, `to_allocation` and `seconds`, which are held; more members and anything else
    only the `project` (by default the allocation's). Raises NothingAsked, NoReason, NotOfTheProject, PeriodClosed,
    NotLater, TooFar, AccountTaken, OtherPool, NotEnough, TooManyWaiting, KeyReused.
    """
    if kind not in OF_TEAMS:
        raise NoSuchAnswer(_("This is not asked for here: an officer proposes it."))
    about = project or named(allocation).project
    request = ChangeRequest(
        project=about,
        allocation=allocation,
        to_allocation=to_allocation,
        kind=kind,
        asked_seconds=seconds,
        asked_until_on=until_on,
        reason=reason,
        asked_by=by,
        asked_at=at,
        key=key,
    )
    refuse_strange(request)
    # Of two who ask at once the second counts what the first asked for. Without the key: rows may name the project.
    Project.objects.select_for_update(no_key=True).get(pk=about.pk)
    if key is None or standing_request(request, frozenset()) is None:
        refuse_too_many(about)
    kept, is_new = keep(request, runs={}, wanted=frozenset())
    if is_new:
        if kind == Kind.TRANSFER:
            hold_for(request)
        record_asking(request, ASKING.get(kind, "ask_centre"))
    return kept


def refuse_too_many(project: Project) -> None:
    """TooManyWaiting while so many requests of the project's team wait that another would not be answered sooner."""
    waiting = ChangeRequest.objects.of_teams().waiting().filter(project=project).count()
    if waiting >= MOST_WAITING:
        raise TooManyWaiting(
            _(
                "%(count)s requests of this project wait for the centre’s answer already. Withdraw one that you no "
                "longer need, or wait until the centre has answered one; then ask again."
            )
            % {"count": waiting}
        )


ASKING = {
    Kind.TOP_UP: "ask_for_hours",
    Kind.EXTENSION: "ask_for_longer_period",
    Kind.TRANSFER: "ask_for_transfer",
    Kind.MEMBERS: "ask_for_members",
}
"""How the trail calls what a team asks."""


@transaction.atomic
def propose(
    *,
    kind: ChangeRequest.Kind,
    allocation: Allocation,
    reason: str,
    by: User,
    at: datetime,
    key: str,
    seconds: int | None = None,
    until_on: date | None = None,
    to_allocation: Allocation | None = None,
    entry: LedgerEntry | None = None,
    runs: Sequence[JobRun] = (),
) -> ChangeRequest:
    """An officer's act: carried out at once up to the centre's threshold (CARRIED_OUT), else it waits (ASKED).

    Opening, top-up, transfer and take-back say how many `seconds` (GPU-seconds); a transfer names `to_allocation`, an
    extension and an early end the new last day `until_on`, a reversal the `entry`, a refund the finished `runs`, of
    which all that is not refunded yet is meant. A change of the last day, and what an officer proposes for a project of
    their own, always waits. The hours of a transfer that waits are held. The same `key` sent twice acts once and gives
    the first result; with other content KeyReused. Raises NothingAsked, NoReason, and what the verb behind it refuses
    (NotEnough, PeriodClosed, OtherPool, NothingToRefund, NotReversible, AlreadyReversed, NotLater, NotEarlier, TooFar,
    AccountTaken).
    """
    if kind not in CAN_BE_PROPOSED:
        raise NoSuchAnswer(_("Requests of this kind move no GPU-hours."))
    chosen = dict(JobRun.objects.refundable(allocation).filter(pk__in=[run.pk for run in runs]).values_list(*OF_RUN))
    amount = seconds
    if kind == Kind.REVERSAL and entry is not None:
        amount = abs(entry.seconds)
    elif kind == Kind.REFUND:
        amount = sum(chosen.values())
    request = ChangeRequest(
        project_id=allocation.project_id,
        allocation=allocation,
        to_allocation=to_allocation,
        entry=entry,
        kind=kind,
        asked_seconds=amount,
        asked_until_on=until_on,
        reason=reason,
        asked_by=by,
        asked_at=at,
        key=key,
    )
    kept, is_new = keep(request, runs=chosen, wanted=frozenset(run.pk for run in runs))
    if not is_new:
        return kept
    if needs_a_second_person(request):
        if kind == Kind.TRANSFER:
            hold_for(request)
        record_asking(request, "propose")
        return request
    return carried_out_at_once(request)


OF_RUN = ("pk", "refundable_seconds")


def keep(request: ChangeRequest, *, runs: Mapping[int, int], wanted: frozenset[int]) -> tuple[ChangeRequest, bool]:
    """Save a request unless one of its key stands; returns the one that counts, and whether it is this one.

    A repeated form is recognised before anything is judged: by then its act may have changed what is possible. `runs`
    are the GPU-seconds that can be refunded by job run; `wanted` are the runs that were chosen.
    """
    if request.key is not None and (standing := standing_request(request, wanted)):
        return standing, False
    refuse_unsaid(request)
    try:
        refuse_impossible(request, runs=runs, wanted=len(wanted))
    except LedgerError:
        # the same form, sent at the same moment, may have done meanwhile what is impossible now
        if request.key is not None and (standing := standing_request(request, wanted)):
            return standing, False
        raise
    try:
        with transaction.atomic():
            request.save(force_insert=True)
    except IntegrityError:
        standing = standing_request(request, wanted)
        if standing is None:
            raise
        return standing, False
    RequestedRun.objects.bulk_create(
        [RequestedRun(request=request, run_id=run, seconds=seconds) for run, seconds in sorted(runs.items())]
    )
    return request, True


SAME_REQUEST = (
    *("kind", "project_id", "allocation_id", "to_allocation_id", "entry_id", "asked_until_on"),
    *("asked_by_id", "reason"),
)


def standing_request(request: ChangeRequest, wanted: frozenset[int]) -> ChangeRequest | None:
    """The request that has this key already; KeyReused when it says something else."""
    standing = ChangeRequest.objects.filter(key=request.key).select_related("allocation", "asked_by").first()
    if standing is None:
        return None
    same = all(getattr(standing, field) == getattr(request, field) for field in SAME_REQUEST)
    if request.kind == Kind.REFUND:  # by now the runs may be refunded: what was chosen counts, not what is left of it
        same = same and wanted == frozenset(standing.runs.values_list("run", flat=True))
    else:
        same = same and standing.asked_seconds == request.asked_seconds
    if not same:
        raise KeyReused(
            _("This form was sent before with other content. Open the page anew to ask for something else.")
        )
    return standing


def needs_a_second_person(request: ChangeRequest) -> bool:
    """Above the centre's threshold, for another last day, and for a project to which the officer belongs."""
    if request.kind in ChangeRequest.OF_DAYS:
        return True
    return (request.asked_seconds or 0) > own_rules().two_person_above_seconds or belongs_to_it(
        request, request.asked_by
    )


def own_rules() -> Centre:
    """The rules that the centre set itself; as they are by default where it has said nothing."""
    return Centre.objects.filter(pk=1).first() or Centre()


def hold_for(request: ChangeRequest) -> None:
    """Keep the hours of a waiting transfer aside; they are let go when it is answered, or lapse."""
    allocation = named(request.allocation)
    request.hold = movements.hold(
        allocation=allocation,
        seconds=request.asked_seconds or 0,
        by=request.asked_by,
        at=request.asked_at,
        key=f"request-{request.pk}-hold",
        reason=request.reason[:500],
        lapses_on=movements.accounting_day(allocation, request.asked_at)
        + timedelta(days=own_rules().requests_lapse_after_days),
        source_kind="request",
        source_reference=str(request.pk),
    )
    request.save(update_fields=["hold"])


def carried_out_at_once(request: ChangeRequest) -> ChangeRequest:
    """What is within the threshold is done by the officer alone."""
    request.state = State.CARRIED_OUT
    request.approved_seconds = request.asked_seconds
    request.answered_at = request.asked_at
    request.save(update_fields=["state", "approved_seconds", "answered_at"])
    entries = carry_out(request, approved_by=None, at=request.asked_at)
    record_asking(request, "carry_out_request", entries)
    return request


def record_asking(request: ChangeRequest, act: str, entries: Sequence[LedgerEntry] = ()) -> None:
    """The event of something asked for or done at once: what, how much, and where to."""
    changes: dict[str, Any] = {
        "kind": request.kind,
        "allocation": [None, request.allocation],
        "asked_seconds": [None, request.asked_seconds],
    }
    if request.to_allocation is not None:
        changes["to_allocation"] = [None, request.to_allocation]
    if request.asked_until_on is not None:
        changes["asked_until_on"] = [None, request.asked_until_on]
    if request.entry_id is not None:
        changes["entry"] = [None, request.entry_id]
    if entries:
        changes["entries"] = ", ".join(str(entry.pk) for entry in entries)
    audit.record(act=act, on=request, by=request.asked_by, at=request.asked_at, reason=request.reason, changes=changes)
