"""Numbers of rows as addresses and forms write them."""

from typing import Final

DIGITS: Final = 18
"""So many digits always fit into a row's number; a database refuses to compare with much longer ones."""


def is_row_number(written: str) -> bool:
    """Whether what came from outside can be the number of a row."""
    return written.isascii() and written.isdigit() and len(written) <= DIGITS
