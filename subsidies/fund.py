"""The fund: the only writer of fund entries and of the totals on scheme and award.

Each movement says which totals it moves and what has to stand there first; entry and totals change in one transaction,
on the locked row of the scheme, so that no two movements at once pass the envelope. CHECKs of the database hold the
same bounds.
"""

from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType

from django.db import transaction
from django.db.models import F, Model, Q, Sum
from django.db.models.expressions import Combinable
from django.utils.translation import gettext as _

from centre.models import User
from centre.templatetags.portal import hkd
from subsidies.models import Application, Award, FundEntry, Scheme

Kind = FundEntry.Kind

MOVES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        Kind.RESERVE: {"reserved": 1},
        Kind.UNRESERVE: {"reserved": -1},
        Kind.COMMIT: {"reserved": -1, "committed": 1},
        Kind.DRAW: {"drawn": 1},
        Kind.RELEASE: {"released": 1},
        Kind.CLAW_BACK: {"clawed_back": 1},
    }
)
"""Which totals a movement adds to or takes from."""

TOTALS = ("reserved", "committed", "drawn", "released", "clawed_back")
AWARD_TOTALS = ("committed", "drawn", "released", "clawed_back")  # money is reserved before there is an award
SAME_CONTENT = ("scheme_id", "application_id", "award_id", "kind", "cents")


class FundError(Exception):
    """Why money cannot move, as a sentence for a screen."""


class FundExhausted(FundError):
    """The envelope has less left than is asked for."""


class MoreThanStandsThere(FundError):
    """A movement would take more than was reserved, committed or drawn."""


class FundKeyReused(FundError):
    """The same key was used for a movement with other content."""


@transaction.atomic
def post(
    *,
    kind: FundEntry.Kind,
    cents: int,
    application: Application,
    award: Award | None = None,
    effective_on: date,
    asked_by: User | None,
    approved_by: User | None,
    at: datetime,
    key: str,
    reason: str = "",
) -> FundEntry:
    """Write one movement of `cents` (positive) and move the totals that it names.

    The same `key` with the same content gives the entry that stands; with other content FundKeyReused. Raises
    FundExhausted when a reserve passes the envelope, MoreThanStandsThere when another movement takes too much.
    """
    scheme = Scheme.objects.select_for_update().get(pk=application.scheme_id)
    entry = FundEntry(
        scheme=scheme,
        application=application,
        award=award,
        kind=kind,
        cents=cents,
        effective_on=effective_on,
        recorded_at=at,
        asked_by=asked_by,
        approved_by=approved_by,
        key=key,
        reason=reason,
    )
    standing = FundEntry.objects.filter(key=key).first()
    if standing:
        if any(getattr(standing, field) != getattr(entry, field) for field in SAME_CONTENT):
            raise FundKeyReused(
                _("This was already recorded with other content (fund entry %(number)s).") % {"number": standing.pk}
            )
        return standing
    entry.save(force_insert=True)
    if not Scheme.objects.filter(_room(kind, cents), pk=scheme.pk).update(**_moved(kind, cents, TOTALS)):
        raise _refusal(kind, cents, scheme)
    on_award = _moved(kind, cents, AWARD_TOTALS)
    if award is not None and on_award:
        room = Q() if kind == Kind.COMMIT else _room(kind, cents)
        if not Award.objects.filter(room, pk=award.pk).update(**on_award):
            raise _refusal(kind, cents, award)
        award.refresh_from_db(fields=list(on_award))
    return entry


def _moved(kind: FundEntry.Kind, cents: int, totals: tuple[str, ...]) -> dict[str, Combinable]:
    return {
        f"{total}_cents": F(f"{total}_cents") + sign * cents for total, sign in MOVES[kind].items() if total in totals
    }


def _room(kind: FundEntry.Kind, cents: int) -> Q:
    """The condition on the row under which a movement fits."""
    match kind:
        case Kind.RESERVE:
            taken = F("reserved_cents") + F("committed_cents") - F("released_cents") - F("clawed_back_cents")
            return Q(envelope_cents__gte=taken + cents)
        case Kind.UNRESERVE | Kind.COMMIT:
            return Q(reserved_cents__gte=cents)
        case Kind.DRAW | Kind.RELEASE:
            return Q(committed_cents__gte=F("drawn_cents") + F("released_cents") + cents)
        case _:
            return Q(drawn_cents__gte=F("clawed_back_cents") + cents)


def _refusal(kind: FundEntry.Kind, cents: int, row: Scheme | Award) -> FundError:
    if kind == Kind.RESERVE and isinstance(row, Scheme):
        return FundExhausted(
            _("The envelope has %(left)s left; this needs %(asked)s, which is %(missing)s more.")
            % {"left": hkd(row.left_cents), "asked": hkd(cents), "missing": hkd(cents - row.left_cents)}
        )
    return MoreThanStandsThere(
        _("%(amount)s is more than stands there for “%(movement)s”.") % {"amount": hkd(cents), "movement": kind.label}
    )


def verify_fund() -> list[str]:
    """Recompute every total of schemes and awards from the entries; a sentence for each difference."""
    differences = []
    for scheme in Scheme.objects.order_by("code"):
        differences += _differences(scheme, scheme.code, TOTALS, _sums(Q(scheme=scheme)))
    sums_of: dict[int, dict[str, int]] = {}
    of_awards = FundEntry.objects.filter(award__isnull=False).order_by()
    for award_id, kind, cents in of_awards.values_list("award_id", "kind").annotate(cents=Sum("cents")):
        sums_of.setdefault(award_id, {})[kind] = int(cents)
    for award in Award.objects.order_by("number").iterator():
        differences += _differences(award, award.number, AWARD_TOTALS, sums_of.get(award.pk, {}))
    return differences


def _sums(entries: Q) -> dict[str, int]:
    by_kind = FundEntry.objects.filter(entries).order_by().values_list("kind").annotate(cents=Sum("cents"))
    return {kind: int(cents) for kind, cents in by_kind}


def _differences(row: Model, name: str, totals: tuple[str, ...], sums: Mapping[str, int]) -> list[str]:
    found = []
    for total in totals:
        stands = getattr(row, f"{total}_cents")
        should = sum(MOVES[kind].get(total, 0) * cents for kind, cents in sums.items())
        if stands != should:
            found.append(
                _("%(name)s: %(total)s is %(stands)s cents, its entries say %(should)s.")
                % {"name": name, "total": total, "stands": stands, "should": should}
            )
    return found
