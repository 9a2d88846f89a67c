"""What a person may be called: any name that people have, and nothing that only looks like one.

A name stands in lists, sentences, letters and their subjects. So it is one line, it can be seen, it turns no text
around, and it is no address of a web site or mailbox that a reader could take for something to click on.
"""

import re
import unicodedata
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

LONGEST: Final = 200
LONGEST_GREETING: Final = 60
MOST_MARKS: Final = 4
"""Marks on one letter: names in Thai, Hebrew and Tibetan do with fewer; more of them paint over other lines."""
JOINERS: Final = "\u200c\u200d"
VIRAMA: Final = 9
"""The combining class of the sign that joins consonants in the scripts of India."""
LINE_BREAKS: Final = frozenset("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters, marks and a symbol that show nothing, though Unicode counts them neither as space nor as control."""

WEB_OR_MAIL: Final = re.compile(r"://|@|(?<!\w)www\.")
DOMAIN: Final = re.compile(r"(?<!\w)(?!(?:dr|mr|mrs|ms|prof|rev|sr|jr|ir|st)\.)[\w-]{2,}\.[^\W\d_][\w-]+")
ANY_DOMAIN: Final = re.compile(r"\w\.[^\W\d_][\w-]+")


def person_name(text: str) -> str:
    """The name as it is kept: composed (NFC), trimmed, with single spaces; empty when there is none.

    Raises ValidationError with a sentence that says what to change.
    """
    name = unicodedata.normalize("NFC", text.strip())
    refuse_unseen(name)
    name = " ".join(name.split())
    if name and not any(unicodedata.category(letter)[0] in "LN" for letter in name):
        raise ValidationError(_("Write a name that has at least one letter."), code="person_name")
    if len(name) > LONGEST:
        raise ValidationError(
            _("The name has %(length)s characters. Shorten it to %(most)s or fewer."),
            code="person_name",
            params={"length": len(name), "most": LONGEST},
        )
    if is_address(name):
        raise ValidationError(_("Write the name alone, without a web or e-mail address."), code="person_name")
    return name


def validate_person_name(text: str) -> None:
    """For fields of models and forms; what is kept is what `person_name` gives."""
    person_name(text)


def refuse_unseen(name: str) -> None:
    """Raise ValidationError for what breaks the line, cannot be seen, or changes how other text is read."""
    marks = 0
    for place, letter in enumerate(name):
        category = unicodedata.category(letter)
        if letter in LINE_BREAKS:
            raise ValidationError(_("Write the name on one line."), code="person_name")
        if category == "Cf" and stands_between_letters(name, place):
            continue
        if letter in BLANK or is_noncharacter(letter) or (category in {"Cc", "Cf", "Cs"} and letter != "\t"):
            raise ValidationError(
                _("The name holds a character that cannot be seen (%(code)s). Type the name instead of pasting it."),
                code="person_name",
                params={"code": f"U+{ord(letter):04X}"},
            )
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks > MOST_MARKS:
            raise ValidationError(
                _("The name has too many accents on one letter. Leave out those that do not belong to it."),
                code="person_name",
            )


def stands_between_letters(text: str, place: int) -> bool:
    """Whether the character joins or parts letters, as the scripts of India, Sri Lanka, Persian and Urdu need it to.

    As for names of the internet (RFC 5892, CONTEXTJ): after a virama, or between two letters that would join.
    """
    if text[place] not in JOINERS:
        return False
    before = text[:place]
    if before and unicodedata.combining(before[-1]) == VIRAMA:
        return True
    before = before.rstrip("".join({letter for letter in before[-MOST_MARKS:] if unicodedata.combining(letter)}))
    after = text[place + 1 : place + 2]
    return bool(before and after) and all(unicodedata.bidirectional(letter) == "AL" for letter in (before[-1], after))


def is_noncharacter(letter: str) -> bool:
    """Whether Unicode promises that this never is a character."""
    return 0xFDD0 <= ord(letter) <= 0xFDEF or ord(letter) & 0xFFFE == 0xFFFE


def is_address(name: str) -> bool:
    """Whether a reader, or a mail program, would take part of it for a link; “J.Chan” and “Dr.Wong” are none."""
    plain = as_read(name)
    return bool(WEB_OR_MAIL.search(plain) or DOMAIN.search(plain))


def greeting_name(name: str) -> str:
    """The name if a letter may greet by it, else nothing: names kept from earlier, long ones, and doubtful ones."""
    doubtful = is_address(name) or ANY_DOMAIN.search(as_read(name))
    return "" if doubtful or len(name) > LONGEST_GREETING else name


def as_read(name: str) -> str:
    """For comparing: wide and half-width forms, and dots of other scripts, as what a browser takes them for."""
    return unicodedata.normalize("NFKC", name).casefold().replace("。", ".")


def isolated(name: str) -> str:
    """For plain text such as a message: the name with its own direction, which then turns nothing beside it."""
    return f"\u2068{name}\u2069"
