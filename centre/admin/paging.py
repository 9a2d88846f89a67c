"""Pages of lists in the admin: what a page costs follows from the rows that it shows, not from those before it."""

from functools import cached_property
from typing import Any

from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Page, Paginator
from django.db import DataError
from django.db.models import Model
from django.http import HttpRequest

COUNTED_ROWS = 10_000


class NumbersFirst(Paginator[Any]):
    """Looks for the numbers of the page's rows, and reads only those rows in full.

    A page far down would else join, read and annotate every row before it, to leave them out. What fits on one page is
    looked for once: its numbers are its count.
    """

    further_on = False
    """A page after the first was asked for, so that there is no use in looking at the first."""

    @cached_property
    def first_numbers(self) -> list[Any]:
        """The numbers of the first page's rows, and of one more where there is one."""
        return self.numbers_from(0, self.per_page + 1)

    def numbers_from(self, first: int, number: int) -> list[Any]:
        rows: Any = self.object_list
        return list(rows.select_related(None).values_list("pk", flat=True)[first : first + number])

    @cached_property
    def count(self) -> int:
        if not self.further_on and len(self.first_numbers) <= self.per_page:
            return len(self.first_numbers)
        return self.counted()

    def counted(self) -> int:
        """How many rows there are where they do not fit on one page."""
        rows: Any = self.object_list
        return int(rows.count())

    def page(self, number: int | str) -> Page[Any]:
        found = self.validate_number(number)
        rows: Any = self.object_list
        first = (found - 1) * self.per_page
        numbers = self.numbers_from(first, self.per_page) if first else self.first_numbers[: self.per_page]
        return Page(rows.filter(pk__in=numbers) if numbers else rows.none(), found, self)


class CappedPaginator(NumbersFirst):
    """Pages of a long table: rows are counted up to a limit, since counting millions costs more than showing a page."""

    def counted(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[:COUNTED_ROWS].count())  # without what is worked out beside each row

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

    def get_filters(self, request: HttpRequest) -> Any:
        """Django's; an address that narrows by what the list does not offer leads back to the list."""
        try:
            return super().get_filters(request)
        except DisallowedModelAdminLookup as error:
            raise IncorrectLookupParameters(str(error)) from error

    def get_results(self, request: HttpRequest) -> None:
        """The paginator's rows also where there is one page; Django would search a second time for those.

        What an address narrows by may be no number, or no day, that a database can compare with.
        """
        try:
            super().get_results(request)
        except (ValueError, OverflowError, DataError) as error:
            raise IncorrectLookupParameters(str(error)) from error
        if not self.multi_page:
            self.result_list = self.paginator.page(1).object_list

    def url_for_result(self, result: Model) -> str:
        address = super().url_for_result(result)
        return f"{address}?{self.asked}" if self.asked else address
