"""What awards pay of the usage that a statement tells of. See allocations.statement_money."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from allocations.statement_money import Subsidy
from subsidies import drawn
from subsidies.models import Award, AwardGrant


def subsidies_of(allocations: Sequence[int]) -> list[Subsidy]:
    """The awards that gave hours to these allocations, by number; one query.

    An allocation that two awards gave hours to counts for the first, as on the subsidy's own page.
    """
    awards: dict[int, Award] = {}
    given: defaultdict[int, list[int]] = defaultdict(list)
    of_allocation: dict[int, int] = {}
    asked = AwardGrant.objects.filter(allocation__in=allocations).values("award")
    for grant in AwardGrant.objects.filter(award__in=asked).select_related("award").order_by("pk"):
        awards[grant.award_id] = grant.award
        given[grant.award_id].append(grant.allocation_id)
        if grant.allocation_id in allocations:
            of_allocation.setdefault(grant.allocation_id, grant.award_id)
    return [
        Subsidy(
            number=award.number,
            rate_bp=award.rate_bp,
            amount_cents=award.amount_cents,
            allocations=tuple(sorted(number for number, of in of_allocation.items() if of == award.pk)),
            pays=partial(pays, award),
            paid_so_far=partial(paid_so_far, award, tuple(given[award.pk])),
        )
        for award in awards.values()
    ]


def pays(award: Award, cent_seconds: int) -> int:
    """Cents that an award has paid once its usage at list price has come to so many cent-seconds."""
    usage = drawn.Usage(cent_seconds=cent_seconds)
    return drawn.drawn(usage, rate_bp=award.rate_bp, amount_cents=award.amount_cents).subsidy_cents


def paid_so_far(award: Award, allocations: Sequence[int]) -> int:
    """Cents that an award has paid by now for all allocations that it gave hours to; one query."""
    return drawn.drawn_on(allocations, award=award).subsidy_cents
