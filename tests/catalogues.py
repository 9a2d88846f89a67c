"""Message catalogues: are they whole, and compiled? `make messages` brings them up to date.

`python -m tests.catalogues` checks them. English is the language of the code and needs no catalogue.
"""

import gettext
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ("zh_Hant", "zh_Hans")
NOT_OURS = (".venv", ".cache", "var", "tests")


def paths(root: Path = ROOT) -> list[Path]:
    """Every catalogue of the repository."""
    return sorted(path for app in root.iterdir() if app.name not in NOT_OURS for path in app.glob("locale/*/*/*.po"))


def read(path: Path) -> Catalog:
    with path.open("rb") as source:
        return read_po(source, locale=path.parts[-3])


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
    where = path.relative_to(ROOT)
    for message in catalogue:
        if not message.id:
            continue
        strings = message.string if isinstance(message.string, tuple | list) else [message.string]
        if not all(strings):
            problems.append(f"{where}:{message.lineno}: not translated: {message.id}")
        if message.fuzzy:
            problems.append(f"{where}:{message.lineno}: marked fuzzy: {message.id}")
    problems += [f"{where}:{message.lineno}: {error}" for message, errors in catalogue.check() for error in errors]
    if not compiled(path):
        problems.append(f"{where}: not compiled: run `make messages`")
    return problems


def ids(path: Path) -> set[object]:
    return {(message.context, message.id) for message in read(path) if message.id}


def missing_from(catalogues: list[Path]) -> list[str]:
    """Texts of the code and templates that a catalogue does not have, found by extracting them anew into a copy."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "portal"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", *NOT_OURS))
        update(copy)
        return [
            f"{path.relative_to(ROOT)}: not in the catalogue: {text}"
            for path in catalogues
            for text in sorted(map(str, ids(copy / path.relative_to(ROOT)) - ids(path)))
        ]


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
    if paths() and shutil.which("xgettext"):
        problems += missing_from(paths())
    print("\n".join(problems) or f"{len(paths())} catalogues are whole")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
