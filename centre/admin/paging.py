"""Pages of lists in the admin: what a page costs follows from the rows that it shows, not from those before it."""

from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Page, Paginator
from django.db.models import Model

COUNTED_ROWS = 10_000


class NumbersFirst(Paginator[Any]):
    """Looks for the numbers of the page's rows, and reads only those rows in full.

    A page far down would else join, read and annotate every row before it, to leave them out.
    """

    def page(self, number: int | str) -> Page[Any]:
        found = self.validate_number(number)
        rows: Any = self.object_list
        if self.count == 0:
            rows = rows.none()  # a search that found nothing is not made a second time
        elif self.num_pages > 1:
            first = (found - 1) * self.per_page
            numbers = rows.select_related(None).values_list("pk", flat=True)[first : first + self.per_page]
            rows = rows.filter(pk__in=list(numbers))
        return Page(rows, found, self)


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


class Listed(ChangeList):
    """Rows whose links carry the list's search and filters, so that Close leads back to them.

    Django's own looks each link's address up among all addresses again, at a fifth of a filtered list's cost.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked, self.preserved_filters = self.preserved_filters, ""

    def url_for_result(self, result: Model) -> str:
        address = super().url_for_result(result)
        return f"{address}?{self.asked}" if self.asked else address
