"""Pages of lists in the admin: what a page costs follows from the rows that it shows, not from those before it."""

from functools import cached_property
from typing import Any

from django.core.paginator import Page, Paginator

COUNTED_ROWS = 10_000


class NumbersFirst(Paginator[Any]):
    """Looks for the numbers of the page's rows, and reads only those rows in full.

    A page far down would else join, read and annotate every row before it, to leave them out.
    """

    def page(self, number: int | str) -> Page[Any]:
        found = self.validate_number(number)
        rows: Any = self.object_list
        first = (found - 1) * self.per_page
        numbers = rows.select_related(None).values("pk")[first : first + self.per_page]
        return self._get_page(rows.filter(pk__in=numbers), found, self)


class CappedPaginator(NumbersFirst):
    """Pages of a long table: rows are counted up to a limit, since counting millions costs more than showing fifty."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNTED_ROWS].count())

    @property
    def is_capped(self) -> bool:
        """There may be more rows than were counted."""
        return self.count >= COUNTED_ROWS
