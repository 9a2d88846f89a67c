"""Who is judged by a take-back rule, and how: what is known of each allocation, and the finding. Nothing is written.

An allocation is judged on complete books only: the imports of its cluster reach past the days that are judged, and no
window is missing since its period began, so that a stalled import or a lost night never costs a team its hours. Days
are those of the cluster's time zone.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from django.db.models import Q, QuerySet, Sum, TextChoices
from django.utils.translation import gettext_lazy as _

from allocations.importing.health import coverage_of_clusters
from allocations.models import (
    Allocation,
    DailyUsage,
    RunRefund,
    TakeBackExemption,
    TakeBackRule,
    TakeBackWarning,
)
from allocations.planned_use import (
    Period,
    beyond_need,
    check_day,
    is_under,
    planned_from,
    planned_through,
)

Outcome = TakeBackWarning.Outcome


class What(TextChoices):
    """What a rule finds about an allocation."""

    WARNED = "warned", _("Warned")
    TAKEN = "taken", _("Taken back")
    CAUGHT_UP = "caught_up", _("Caught up")
    EXEMPTED = "exempted", _("Exempted")
    OVER = "over", _("Nothing to take")
    WAITING = "waiting", _("Waits for usage")


@dataclass(frozen=True)
class Finding:
    """One allocation, judged by one rule.

    `used` and `planned` are GPU-seconds through the day `until`. `takes` are the GPU-seconds that are taken (TAKEN), or
    would be on the day `due_on` if nothing more were used (WARNED).
    """

    allocation: Allocation
    rule: TakeBackRule
    what: What
    until: date
    used: int = 0
    planned: int = 0
    takes: int = 0
    due_on: date | None = None
    warning: TakeBackWarning | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Case:
    """What is known of an allocation on the day of its cluster.

    `rule` is the one to check it by (None: none, or it has warned already), `pending` a warning that is not settled,
    `books_until` the first day, counted from the beginning of its period, that the books do not cover whole (it may lie
    before), `per_day` its use less refunds (GPU-seconds).
    """

    allocation: Allocation
    today: date
    rule: TakeBackRule | None
    pending: TakeBackWarning | None
    is_exempt: bool
    books_until: date | None
    per_day: dict[date, int]

    @property
    def period(self) -> Period:
        return Period(self.allocation.start_on, self.allocation.end_on)

    @property
    def is_open(self) -> bool:
        """Hours can still be used and taken: open, and its period is not over."""
        return self.allocation.state == Allocation.State.OPEN and self.today <= self.allocation.end_on

    def is_complete(self, day: date) -> bool:
        """Whether the books cover that day whole."""
        return self.books_until is not None and day < self.books_until

    def used_through(self, day: date) -> int:
        return sum(seconds for used_on, seconds in self.per_day.items() if used_on <= day)

    def planned_through(self, day: date) -> int:
        return planned_through(day, granted=self.allocation.granted_seconds, period=self.period)

    def is_under(self, rule: TakeBackRule, *, through: date) -> bool:
        return is_under(used=self.used_through(through), planned=self.planned_through(through), under_bp=rule.under_bp)

    def would_lose(self, *, on: date) -> int:
        """What is beyond the planned remainder on a day, if nothing more were used until then."""
        remainder = planned_from(on, granted=self.allocation.granted_seconds, period=self.period)
        return beyond_need(available=self.allocation.available_seconds, remainder=remainder)


def judge(case: Case) -> Finding | None:
    """What has to be done about an allocation now; None: nothing."""
    if case.pending is not None:
        return judge_warned(case, case.pending)
    if case.rule is None or case.is_exempt or not case.is_open:
        return None
    return judge_check(case, case.rule)


def judge_check(case: Case, rule: TakeBackRule) -> Finding | None:
    """Whether an allocation that was not warned is under-used; not once there is no time to warn any more."""
    until = check_day(case.period, check_at_bp=rule.check_at_bp)
    due_on = case.today + timedelta(days=rule.warn_days)
    if case.today <= until or due_on > case.allocation.end_on:
        return None
    if not case.is_complete(until):
        return Finding(case.allocation, rule, What.WAITING, until)
    if not case.is_under(rule, through=until):
        return None
    return Finding(
        case.allocation,
        rule,
        What.WARNED,
        until,
        used=case.used_through(until),
        planned=case.planned_through(until),
        takes=case.would_lose(on=due_on),
        due_on=due_on,
    )


def judge_warned(case: Case, warning: TakeBackWarning) -> Finding | None:
    """What becomes of a warning: over with its allocation; else judged anew from the day on which it is due."""
    until = case.today - timedelta(days=1)

    def found(what: What, *, takes: int = 0) -> Finding:
        return Finding(
            case.allocation,
            warning.rule,
            what,
            until,
            used=case.used_through(until),
            planned=case.planned_through(until),
            takes=takes,
            due_on=warning.due_on,
            warning=warning,
        )

    if not case.is_open:
        return found(What.OVER)
    if case.today < warning.due_on:
        return None
    if case.is_exempt:
        return found(What.EXEMPTED)
    if not case.is_complete(until):
        return found(What.WAITING)
    if not case.is_under(warning.rule, through=until):
        return found(What.CAUGHT_UP)
    takes = case.would_lose(on=case.today)
    return found(What.TAKEN if takes else What.OVER, takes=takes)


# ---------------------------------------------------------------------------------------------- reading


def to_judge(*, at: datetime) -> QuerySet[Allocation]:
    """Allocations with a warning that is not settled, and the open ones of pools and fundings that have a rule."""
    pairs = TakeBackRule.objects.approved().order_by().values_list("pool", "funding").distinct()
    of_rules = Q(pk__in=[])
    for pool, funding in pairs:
        of_rules |= Q(pool=pool, funding=funding)
    pending = TakeBackWarning.objects.filter(outcome=Outcome.WARNED).values("allocation")
    return Allocation.objects.filter(Q(pk__in=pending) | (Q(pk__in=running(at=at).values("pk")) & of_rules))


def running(*, at: datetime) -> QuerySet[Allocation]:
    """Open allocations whose period holds the instant, whatever the cluster's time zone; a day too many either way."""
    day = at.date()
    return Allocation.objects.filter(
        state=Allocation.State.OPEN, start_on__lte=day + timedelta(days=1), end_on__gte=day - timedelta(days=1)
    )


def cases(allocations: QuerySet[Allocation], *, at: datetime, rule: TakeBackRule | None = None) -> list[Case]:
    """These allocations as they stand, in as many queries for one as for a thousand.

    Each is checked by the rule in force on its check day; with a `rule` by that one, whether it counts yet or not.
    """
    rows = list(allocations.select_related("project", "pool__cluster").order_by("pool", "reference"))
    numbers = [row.pk for row in rows]
    warnings: defaultdict[int, list[TakeBackWarning]] = defaultdict(list)
    for warning in (
        TakeBackWarning.objects.filter(allocation__in=numbers)
        .select_related("rule__pool", "rule__asked_by", "rule__approved_by")
        .order_by("pk")
    ):
        warnings[warning.allocation_id].append(warning)
    exempt = set(exemptions_in_force().filter(allocation__in=numbers).values_list("allocation", flat=True))
    rule_for = (lambda _row: rule) if rule is not None else rules_in_force()
    coverage = coverage_of_clusters()
    per_day = net_use(numbers)
    found = []
    for row in rows:
        zone, covered = row.pool.cluster.zone, coverage.get(row.pool.cluster_id)
        began = datetime.combine(row.start_on, time.min, tzinfo=zone)
        books = covered.complete_until(since=began) if covered is not None else None
        in_force = rule_for(row)
        has_warned = {warning.rule_id for warning in warnings[row.pk]}
        pending = [warning for warning in warnings[row.pk] if warning.outcome == Outcome.WARNED]
        found.append(
            Case(
                allocation=row,
                today=at.astimezone(zone).date(),
                rule=in_force if in_force is not None and in_force.pk not in has_warned else None,
                pending=pending[0] if pending else None,
                is_exempt=row.pk in exempt,
                books_until=books.astimezone(zone).date() if books is not None else None,
                per_day=per_day[row.pk],
            )
        )
    return found


def exemptions_in_force() -> QuerySet[TakeBackExemption]:
    return TakeBackExemption.objects.filter(ended_at__isnull=True)


def warnings_that_count() -> QuerySet[TakeBackWarning]:
    """Warnings that are not settled, of allocations that are not exempted."""
    pending = TakeBackWarning.objects.filter(outcome=Outcome.WARNED)
    return pending.exclude(allocation__in=exemptions_in_force().values("allocation"))


def rules_in_force() -> Callable[[Allocation], TakeBackRule | None]:
    """A function that says by which rule an allocation is checked: the latest that counts by its check day."""
    approved: defaultdict[tuple[int, str], list[TakeBackRule]] = defaultdict(list)
    for rule in TakeBackRule.objects.approved().select_related("pool", "asked_by", "approved_by"):
        approved[rule.pool_id, rule.funding].append(rule)

    def rule_for(allocation: Allocation) -> TakeBackRule | None:
        return latest_for(allocation, approved[allocation.pool_id, allocation.funding])

    return rule_for


def latest_for(allocation: Allocation, rules: Sequence[TakeBackRule]) -> TakeBackRule | None:
    """Of these rules the one in force on the allocation's check day, which each of them sets itself."""
    period = Period(allocation.start_on, allocation.end_on)
    counting = [rule for rule in rules if rule.from_on <= check_day(period, check_at_bp=rule.check_at_bp)]
    return max(counting, key=lambda rule: (rule.from_on, rule.pk), default=None)


def net_use(allocations: Iterable[int]) -> defaultdict[int, dict[date, int]]:
    """Per allocation and day what was used, less what was refunded (GPU-seconds)."""
    net: defaultdict[int, dict[date, int]] = defaultdict(dict)
    numbers = list(allocations)
    for rows, sign in (
        (DailyUsage.objects.filter(allocation__in=numbers), 1),
        (RunRefund.objects.filter(allocation__in=numbers), -1),
    ):
        sums = rows.order_by().values_list("allocation", "day").annotate(sum=Sum("seconds"))
        for allocation, day, seconds in sums:
            net[allocation][day] = net[allocation].get(day, 0) + sign * seconds
    return net
