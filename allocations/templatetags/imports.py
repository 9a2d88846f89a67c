"""How text from outside is shown: what nobody would see, or what would move other letters, stands as its number."""

import re
from typing import Final

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()

# Controls, format and direction marks, spaces that are not the plain one, private and unassigned planes, NUL's picture.
UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f"
    "\u205f-\u206f\u2400\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffd\ue000-\uf8ff\U000e0000-\U000e0fff"
    "\U000f0000-\U0010ffff]"
)
SHORT: Final = {"\n": "LF", "\r": "CR", "\t": "TAB", "\u2400": "NUL"}


@register.filter
def visible(text: str | None) -> SafeString:
    """Text from outside with nothing hidden in it: what has no shape of its own stands there as its number."""
    found: list[tuple[SafeString]] = []
    at = 0
    for match in UNSEEN.finditer(text or ""):
        found.append((format_html("{}", (text or "")[at : match.start()]),))
        found.append((_named(match[0]),))
        at = match.end()
    found.append((format_html("{}", (text or "")[at:]),))
    return format_html_join("", "{}", found)


def _named(character: str) -> SafeString:
    number = f"U+{ord(character):04X}"
    after = "\n" if character == "\n" else ""
    return format_html('<span class="unseen" title="{}">{}</span>{}', number, SHORT.get(character, number), after)
