"""Every text of the code and templates that a catalogue has to hold, found without gettext's own programs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation.template import templatize

APPS = ("centre", "allocations", "subsidies")
CALLS = {  # the function: where its context, its text and its counted text stand
    "_": (None, 0, None),
    "gettext": (None, 0, None),
    "gettext_lazy": (None, 0, None),
    "gettext_noop": (None, 0, None),
    "ngettext": (None, 0, 1),
    "ngettext_lazy": (None, 0, 1),
    "pgettext": (0, 1, None),
    "pgettext_lazy": (0, 1, None),
    "npgettext": (0, 1, 2),
    "npgettext_lazy": (0, 1, 2),
}
STRING = r"'(?:\\.|[^'\\])*'" + "|" + r'"(?:\\.|[^"\\])*"'
IN_A_TEMPLATE = re.compile(rf"(?<!\w)(?:_|n?p?gettext)\((?:u?(?:{STRING})|[\w, ])*\)")

Text = tuple[str | None, str, str | None]  # context, text, its form for more than one


def texts_of(root: Path) -> set[Text]:
    """All that is marked below a repository's root."""
    found: set[Text] = set()
    for app in APPS:
        for path in (root / app).rglob("*.py"):
            if "migrations" not in path.parts:
                found.update(marked(path.read_text(encoding="utf-8")))
    for path in (root / "templates").rglob("*.*"):
        as_calls = templatize(path.read_text(encoding="utf-8"), str(path))
        for call in IN_A_TEMPLATE.findall(as_calls):
            found.update(marked(call))
    return found


def marked(source: str) -> Iterator[Text]:
    """The texts given to a translating function in a piece of Python."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        if name not in CALLS:
            continue
        given = [part.value if isinstance(part, ast.Constant) else None for part in call.args]
        context, text, counted = (None if place is None else given[place] for place in CALLS[name])
        if isinstance(text, str):
            yield (
                context if isinstance(context, str) else None,
                text,
                counted if isinstance(counted, str) else None,
            )
