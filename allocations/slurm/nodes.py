"""Whether a node is among those that Slurm names for a job, as in `gpu[01-04,07],login1`. Pure."""

import re

BRACKETS = re.compile(r"\[([^\]]*)\]")
MOST_DIGITS = 9
MOST_BRACKETS = 4  # Slurm knows names with several dimensions; a text with many more is no name


def literal_of(node: str) -> str:
    """What every way of writing this node contains: the name up to its first digit."""
    return re.split(r"\d", node.strip(), maxsplit=1)[0]


def names_node(node_list: str, node: str) -> bool:
    """Whether the list names the node; a text that is no node list names only itself."""
    wanted = node.strip()
    return bool(wanted) and any(_matches(part, wanted) for part in _parts(node_list))


def _parts(node_list: str) -> list[str]:
    """The list at its commas, those within brackets left alone."""
    return re.findall(r"(?:[^,\[]|\[[^\]]*\])+", node_list)


def _matches(part: str, node: str) -> bool:
    pieces = BRACKETS.split(part.strip())  # text, ranges, text, ranges, text
    if len(pieces) > 2 * MOST_BRACKETS + 1:
        return False
    pattern = "".join(r"(\d+)" if n % 2 else re.escape(piece) for n, piece in enumerate(pieces))
    found = re.fullmatch(pattern, node)
    return found is not None and all(
        _within(number, ranges) for number, ranges in zip(found.groups(), pieces[1::2], strict=True)
    )


def _within(number: str, ranges: str) -> bool:
    """Whether `01-04,07` holds the number, written to the width of the range's first."""
    if len(number) > MOST_DIGITS:
        return False
    for each in ranges.split(","):
        first, _dash, last = each.partition("-")
        last = last or first
        bounds = (first, last)
        if not all(bound.isascii() and bound.isdigit() and len(bound) <= MOST_DIGITS for bound in bounds):
            continue
        if int(first) <= int(number) <= int(last) and number == f"{int(number):0{len(first)}d}":
            return True
    return False
