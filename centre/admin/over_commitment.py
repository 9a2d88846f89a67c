"""What a change of capacity or outages does to what is promised, told before it is confirmed."""

from collections.abc import Sequence
from datetime import date

from django.contrib import messages
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext

from centre import registry
from centre.admin.acts import Confirmation, Effect, Text
from centre.admin.confirming import exact_hours
from centre.facility import PoolService
from centre.registry import OverCommitment

SHOWN_MONTHS = 24


def confirmation(
    now: PoolService,
    then: PoolService,
    *,
    first_on: date,
    effects: Sequence[Effect],
    headline: Text = "",
    warnings: Sequence[Text] = (),
    note: Text = "",
) -> Confirmation:
    """The act's own effects, and under them the months in which more is promised than available, now and afterwards."""
    months = registry.over_commitments_of(now, then, first_on)
    worse = worsened(months)
    if worse:
        warnings = [*warnings, over_in_words(worse)]
    elif not months:
        note = note or gettext("In no month does it change whether more is promised than the pool can give.")
    return Confirmation(
        effects=[*effects, *(month_effect(month) for month in months[:SHOWN_MONTHS])],
        headline=headline,
        warnings=warnings,
        note=note,
        danger=bool(worse),
    )


def tell_worse(request: HttpRequest, before: PoolService, after: PoolService, first_on: date) -> None:
    """After a number was mended in a form: in which months more is now promised beyond what there is."""
    worse = worsened(registry.over_commitments_of(before, after, first_on))
    if worse:
        said = {"pool": before.pool, "months": months_in_words(worse)}
        messages.warning(
            request, gettext("More is now promised of %(pool)s than it can give, or still more, in: %(months)s.") % said
        )


def worsened(months: Sequence[OverCommitment]) -> list[OverCommitment]:
    """The months in which more would be promised beyond what is available than now."""
    return [month for month in months if month.afterwards > month.now]


def over_in_words(months: Sequence[OverCommitment]) -> str:
    """That more would be promised than the pool can give, and by how much in all."""
    more = sum(month.afterwards - month.now for month in months)
    return ngettext(
        "In %(number)s month more is promised of the pool than it could give: %(hours)s GPU-hours more than now. "
        "No allocation changes by itself; see the capacity board.",
        "In %(number)s months more is promised of the pool than it could give: %(hours)s GPU-hours more than now. "
        "No allocation changes by itself; see the capacity board.",
        len(months),
    ) % {"number": len(months), "hours": exact_hours(more)}


def months_in_words(months: Sequence[OverCommitment]) -> str:
    """The months one after the other, for a message."""
    return ", ".join(month_name(month.first_on) for month in months[:SHOWN_MONTHS])


def month_name(first_on: date) -> str:
    return date_format(first_on, "YEAR_MONTH_FORMAT")


def month_effect(month: OverCommitment) -> Effect:
    """One month's line: over-committed by so much now, and afterwards."""
    return Effect(
        gettext("%(month)s: promised beyond what is available") % {"month": month_name(month.first_on)},
        beyond(month.now, month.afterwards),
        beyond(month.afterwards, month.now),
    )


def beyond(seconds: int, beside: int) -> str:
    if not seconds:
        return gettext("nothing")
    return gettext("%(hours)s GPU-hours") % {"hours": exact_hours(seconds, beside)}
