"""Message catalogues: are they whole, and compiled? `make messages` brings them up to date.

`python -m tests.catalogues` checks them. English is the language of the code and needs no catalogue.
"""

import gettext
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from tests.screen_texts import Text, texts_of

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ("zh_Hant", "zh_Hans")
NOT_OURS = (".venv", ".cache", "var", "tests")


def paths(root: Path = ROOT) -> list[Path]:
    """Every catalogue of the repository."""
    return sorted(path for app in root.iterdir() if app.name not in NOT_OURS for path in app.glob("locale/*/*/*.po"))


def read(path: Path) -> Catalog:
    with path.open("rb") as source:
        catalogue = read_po(source, locale=path.parts[-3])
    for message in catalogue:
        if "no-python-format" in message.flags:  # Babel takes the “% o” of “50 % of it” for something to fill in
            message.flags.discard("python-format")
    return catalogue


def compiled(path: Path) -> bool:
    """Whether the `.mo` beside a catalogue, which is what the portal reads, says the same."""
    beside = path.with_suffix(".mo")
    if not beside.exists():
        return False
    with beside.open("rb") as source, tempfile.TemporaryFile() as fresh:
        write_mo(fresh, read(path))
        fresh.seek(0)
        wanted, found = gettext.GNUTranslations(fresh), gettext.GNUTranslations(source)
    texts = [message.id if isinstance(message.id, str) else message.id[0] for message in read(path) if message.id]
    return all(wanted.gettext(text) == found.gettext(text) for text in texts)


def problems_of(path: Path) -> list[str]:
    """What is missing, unsure or malformed in one catalogue, one line each."""
    problems = []
    catalogue = read(path)
    where = named(path)
    for message in catalogue:
        if not message.id:
            continue
        strings = message.string if isinstance(message.string, tuple | list) else [message.string]
        if not all(strings):
            problems.append(f"{where}:{message.lineno}: not translated: {message.id}")
        counted = message.id if isinstance(message.id, str) else message.id[-1]
        if any(string and placeholders(string) != placeholders(counted) for string in strings):
            problems.append(f"{where}:{message.lineno}: other placeholders: {message.id}")
        if message.fuzzy:
            problems.append(f"{where}:{message.lineno}: marked fuzzy: {message.id}")
    problems += [f"{where}:{message.lineno}: {error}" for message, errors in catalogue.check() for error in errors]
    if not compiled(path):
        problems.append(f"{where}: not compiled: run `make messages`")
    return problems


def texts_in(path: Path) -> set[Text]:
    """What a catalogue has a translation for, as `screen_texts` tells it."""
    found: set[Text] = set()
    for message in read(path):
        if message.id:
            one, *more = [message.id] if isinstance(message.id, str) else message.id
            found.add((message.context, one, more[0] if more else None))
    return found


def differences(path: Path, root: Path = ROOT) -> list[str]:
    """Texts of the code and templates that a catalogue lacks, and those that it holds although nobody shows them."""
    marked, held = texts_of(root), texts_in(path)
    return [
        *(f"{named(path)}: not in the catalogue: {text}" for _context, text, _many in sorted(marked - held, key=str)),
        *(f"{named(path)}: no longer shown: {text}" for _context, text, _many in sorted(held - marked, key=str)),
    ]


def placeholders(text: str) -> list[str]:
    """What a translation has to keep: what is filled in, and markup."""
    return sorted(set(re.findall(r"%\(\w+\)[sd]|%[sd]|%%|</?\w[^>]*>", text)))


def named(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def update(root: Path) -> None:
    """Extract every text anew (needs gettext's own programs) and keep the translations that still fit."""
    command = [sys.executable, "manage.py", "makemessages", "--no-obsolete", "--no-wrap", "--add-location", "file"]
    command += [word for name in NOT_OURS for word in ("--ignore", name)]
    command += [word for name in LANGUAGES for word in ("--locale", name)]
    subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)
    for path in paths(root):
        # xgettext gives every new counted text an English pair; Chinese has one form.
        path.write_text(path.read_text(encoding="utf-8").replace('\nmsgstr[1] ""\n', "\n"), encoding="utf-8")


def compile_all() -> None:
    for path in paths():
        with path.with_suffix(".mo").open("wb") as target:
            write_mo(target, read(path))


def main() -> int:
    if sys.argv[1:] == ["update"]:
        if shutil.which("xgettext") is None:
            print("xgettext is missing; on Debian and Ubuntu: apt-get install gettext")
            return 1
        (ROOT / "centre" / "locale").mkdir(exist_ok=True)
        update(ROOT)
        compile_all()
        return 0
    problems = [problem for path in paths() for problem in problems_of(path)]
    problems += [problem for path in paths() for problem in differences(path)]
    print("\n".join(problems) or f"{len(paths())} catalogues are whole")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
