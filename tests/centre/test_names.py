"""What a person may be called: names of people in any script pass, what cannot be seen or misleads does not."""

import unicodedata

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone
from hypothesis import assume, given
from hypothesis import strategies as st

from centre import members
from centre.models import Event, User
from centre.names import greeting_name, isolated, person_name
from centre.permissions import StaffRole
from tests import make

REAL = [
    "陳大文",
    "欧阳娜娜",
    "山田 太郎",
    "葛\U000e0100城 花子",
    "김민준",
    "Nguyễn Thị Minh Khai",
    "José Álvarez-Núñez",
    "O’Connor, Zoë",
    "محمد علی",
    "علی\u200cرضا",
    "עמית כהן",
    "श्रीक\u094d\u200dष",
    "ශ\u0dca\u200dරී",
    "สมชาย ใจดี",
    "J. R. R. Chan",
    "J.Chan",
    "Dr.Wong Siu-ming",
    "Prof.Lee",
    "Ho Ka Yan (Karen)",
    "Team 3/4",
    "<script>alert(1)</script>",
]
ON_ONE_LINE = "Write the name on one line."
A_LETTER = "Write a name that has at least one letter."
ALONE = "Write the name alone, without a web or e-mail address."
ACCENTS = "The name has too many accents on one letter. Leave out those that do not belong to it."
WRONG = [
    ("Lena\nLead", ON_ONE_LINE),
    ("Lena\u2028Lead", ON_ONE_LINE),
    ("Lena\x85Lead", ON_ONE_LINE),
    ("\u3000.\u00a0-", A_LETTER),
    ("🙂", A_LETTER),
    ("a" * 201, "The name has 201 characters. Shorten it to 200 or fewer."),
    ("Z" + "\u0300" * 7, ACCENTS),
    ("https://evil.example click here", ALONE),
    ("see www.evil", ALONE),
    ("eve@example.org", ALONE),
    ("eve＠example", ALONE),
    ("Pay at evil.example", ALONE),
    ("evil．example", ALONE),
    ("陳大。公司", ALONE),
]
UNSEEN = [
    *("\x00", "\x07", "\x1b", "\x7f", "\ud800", "\ufdd0", "\uffff"),
    *("\u202a", "\u202b", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u200e", "\u200f", "\u061c"),
    *("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u180e", "\U000e0041"),
    *("\u034f", "\u115f", "\u3164", "\uffa0", "\u2800"),
]


def refusal(name: str) -> str:
    """The sentence with which a name is refused; empty when it is taken."""
    try:
        person_name(name)
    except ValidationError as refused:
        return str(refused.messages[0])
    return ""


@pytest.mark.parametrize("name", REAL)
def test_names_of_people_are_kept_as_they_are(name: str) -> None:
    assert person_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(("name", "said"), WRONG)
def test_what_only_looks_like_a_name_is_refused_with_what_to_do(name: str, said: str) -> None:
    assert refusal(name) == said


@pytest.mark.parametrize("letter", UNSEEN, ids=lambda letter: f"U+{ord(letter):04X}")
def test_what_cannot_be_seen_is_refused_by_its_number(letter: str) -> None:
    number = f"U+{ord(letter):04X}"
    said = f"The name holds a character that cannot be seen ({number}). Type the name instead of pasting it."
    assert [refusal(f"Lena{letter}Lead"), refusal(f"陳{letter}大文"), refusal("Lena Lead")] == [said, said, ""]


def test_spaces_are_put_in_order_and_letters_composed() -> None:
    assert person_name(" \n Zoe\u0308\u3000 \t\u00a0Chan \r\n") == "Zoë Chan"
    assert person_name("  ") == ""


@given(st.text(max_size=30))
def test_name_that_is_taken_is_one_visible_line_and_stays_what_it_is(text: str) -> None:
    """And the other way round: to drop one of the rules is to let a text through that this finds."""
    assume(refusal(text) == "")
    name = person_name(text)
    assert person_name(name) == name == unicodedata.normalize("NFC", " ".join(text.split()))
    categories = {unicodedata.category(letter) for letter in name.replace("\u200c", "").replace("\u200d", "")}
    assert categories.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert name == "" or any(category[0] in "LN" for category in categories)


@given(st.sampled_from(REAL), st.sampled_from(UNSEEN), st.integers(min_value=1, max_value=3))
def test_one_unseen_character_anywhere_in_a_latin_name_is_caught(name: str, letter: str, place: int) -> None:
    assume(name.isascii())
    assert refusal(name[:place] + letter + name[place:]) != ""


def test_letter_greets_by_short_names_that_no_mail_program_makes_a_link_of() -> None:
    names = ["Lena Lead", "陳大文", "J. R. Chan", "t.co", "J.Chan", "x" * 60, "x" * 61, "mailto:eve@x", "evil.example"]
    assert [bool(greeting_name(name)) for name in names] == [True, True, True, False, False, True, False, False, False]


def test_isolated_name_is_closed_again() -> None:
    assert isolated("a") == "\u2068a\u2069"


# ---------------------------------------------------------------------------------------------- where it is kept


@pytest.mark.django_db
def test_verbs_keep_the_name_in_order_and_refuse_one_that_is_none() -> None:
    at = timezone.now()
    person = members.add_person(email="ada@example.org", name=" Zoe\u0308  Chan ", by=None, at=at)
    assert User.objects.get().name == "Zoë Chan"
    with pytest.raises(members.NotAName, match=r"U\+202E"):
        members.add_person(email="eve@example.org", name="Eve\u202e", by=None, at=at)
    with pytest.raises(members.NotAName, match="on one line"):
        members.rename_people(names=[(person, "Zoë\nChan")], by=None, at=at)
    assert list(User.objects.values_list("name", flat=True)) == ["Zoë Chan"]


@pytest.mark.django_db
def test_administration_obeys_it_when_a_person_is_added_and_when_the_name_is_changed(client: Client) -> None:
    client.force_login(make.staff(StaffRole.ADMINISTRATOR))
    form = {"email": "ada@example.org", "name": "Ada\u200b", "language": "en"}
    refused = client.post("/admin/centre/user/add/", form)
    assert [error for errors in refused.context["errors"] for error in errors] == [
        "The name holds a character that cannot be seen (U+200B). Type the name instead of pasting it."
    ]
    client.post("/admin/centre/user/add/", form | {"name": "Ada  Chan"})
    person = User.objects.get(email="ada@example.org")
    assert person.name == "Ada Chan"
    before = Event.objects.count()
    path = f"/admin/centre/user/{person.pk}/change/"
    refused = client.post(path, form | {"name": "https://evil.example", "is_active": "on"})
    assert ALONE in refused.content.decode()
    person.refresh_from_db()
    assert (person.name, Event.objects.count()) == ("Ada Chan", before)
