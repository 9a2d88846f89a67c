"""Whose time is taken: the days on which an allocation takes a Slurm account's time on a GPU pool already."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from django.utils.translation import gettext as _

from allocations.models import Allocation, DrawingAccount
from allocations.posting import LedgerError
from centre.models import GpuPool


class AccountTaken(LedgerError):
    """Another allocation already takes the account's time on that pool on some of these days."""


@dataclass(frozen=True)
class Wanted:
    """Days of an account on a pool, both included; `besides` is the number of an allocation that does not count."""

    pool: GpuPool
    account: str
    first: date
    last: date
    besides: int = 0

    def clashes(self, first: date, last: date) -> bool:
        return first <= self.last and self.first <= last


def refuse_taken(wanted: Wanted) -> None:
    """AccountTaken, naming the allocation and its days, when one takes some of the wanted days already."""
    (why,) = why_taken([wanted])
    if why:
        raise AccountTaken(why)


def why_taken(wanted: Sequence[Wanted]) -> list[str]:
    """For each of the wanted days why they are taken, as a sentence, or nothing. Two queries for any number.

    An allocation takes the time of the account that it carries, and of those that draw on it.
    """
    covering, drawing = _covering(wanted), _drawing(wanted)
    return [_why(one, covering, drawing) for one in wanted]


Place = tuple[int, str]
"""A pool, by number, and an account on it."""


def _place(row: Wanted | Allocation | DrawingAccount) -> Place:
    return (row.pool.pk if isinstance(row, Wanted) else row.pool_id, row.account)


def _covering(wanted: Collection[Wanted]) -> Mapping[Place, list[Allocation]]:
    rows = Allocation.objects.not_void().filter(
        pool__in={one.pool.pk for one in wanted},
        account__in={one.account for one in wanted},
        start_on__lte=max((one.last for one in wanted), default=date.min),
        end_on__gte=min((one.first for one in wanted), default=date.max),
    )
    found: defaultdict[Place, list[Allocation]] = defaultdict(list)
    for row in rows:
        found[_place(row)].append(row)
    return found


def _drawing(wanted: Collection[Wanted]) -> Mapping[Place, list[DrawingAccount]]:
    rows = DrawingAccount.objects.filter(
        pool__in={one.pool.pk for one in wanted},
        account__in={one.account for one in wanted},
        withdrawn_at__isnull=True,
    )
    found: defaultdict[Place, list[DrawingAccount]] = defaultdict(list)
    for row in rows.select_related("allocation"):
        found[_place(row)].append(row)
    return found


def _why(
    wanted: Wanted, covering: Mapping[Place, list[Allocation]], drawing: Mapping[Place, list[DrawingAccount]]
) -> str:
    said = {"account": wanted.account, "pool": wanted.pool.code}
    for other in covering.get(_place(wanted), []):
        if other.pk != wanted.besides and wanted.clashes(other.start_on, other.end_on):
            said |= {"other": other.reference, "first": other.start_on.isoformat(), "last": other.end_on.isoformat()}
            return (
                _(
                    "%(other)s already covers the Slurm account %(account)s on %(pool)s from %(first)s to %(last)s. "
                    "Choose other days, or give this allocation a Slurm account of its own."
                )
                % said
            )
    for guest in drawing.get(_place(wanted), []):
        if wanted.clashes(guest.from_on, guest.until_on):
            said |= {
                "other": guest.allocation.reference,
                "first": guest.from_on.isoformat(),
                "last": guest.until_on.isoformat(),
            }
            return (
                _(
                    "The Slurm account %(account)s draws on %(other)s (%(pool)s) from %(first)s to %(last)s. "
                    "Choose other days, or withdraw it there first."
                )
                % said
            )
    return ""
