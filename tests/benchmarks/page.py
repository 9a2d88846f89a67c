"""docs/benchmarks.md: a section for each benchmark, between two marks, so that one is written without the rest."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "benchmarks.md"
INTRODUCTION = """# Benchmarks

`make bench` measures all of this anew, on a PostgreSQL of its own, and writes it here. What counts are the ratios:
each was measured in one run, its sides taking turns. A ratio that does not keep its limit makes the command fail.
"""


def with_section(page: str, name: str, text: str) -> str:
    """The page with this section replaced, or added at its end."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{begin}\n{text.strip()}\n{end}"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if pattern.search(page):
        return pattern.sub(lambda _found: section, page)
    return f"{page.rstrip() or INTRODUCTION.rstrip()}\n\n{section}\n"


def write_section(name: str, text: str) -> None:
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    PAGE.write_text(with_section(page, name, text), encoding="utf-8")


def circumstances(command: str, database: str) -> str:
    """One line that says when, with what and on how large a machine something was measured."""
    load = f"{os.getloadavg()[0]:.1f}"
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"Measured on {day} with `{command}`: {os.cpu_count()} cores, {database}; load average at the end {load}."
