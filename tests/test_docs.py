"""What `docs/` lists is what there is: reports and columns, settings, spreadsheets, pictures, links."""

import re
from pathlib import Path

import pytest

from allocations.onboard import hours, machines, people, teams
from allocations.slurm.header import NEEDED
from centre import registry

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def first_cells(text: str) -> list[str]:
    """The code words in the first column of the tables of a text."""
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


def test_docs_list_every_report_with_its_columns() -> None:
    sections = re.split(r"^## ", page("reports.md"), flags=re.MULTILINE)[1:]
    told = {section.partition("\n")[0]: first_cells(section) for section in sections}
    assert told == {report.name: [column.name for column in report.columns] for report in registry.reports.values()}


def test_docs_list_every_setting() -> None:
    read = re.findall(r'env\.\w+\("([A-Z_]+)"', (ROOT / "centre" / "settings.py").read_text(encoding="utf-8"))
    settings = page("running.md").partition("## Settings")[2].partition("\n## ")[0]
    assert sorted(first_cells(settings)) == sorted(set(read))


@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("pools", machines.NEEDED),
        ("tenants", teams.TENANTS_NEEDED),
        ("projects", teams.PROJECTS_NEEDED),
        ("members", people.NEEDED + people.OPTIONAL),
        ("allocations", hours.NEEDED + hours.OPTIONAL),
    ],
)
def test_docs_show_the_columns_of_each_spreadsheet(file: str, columns: tuple[str, ...]) -> None:
    section = page("onboarding.md").partition(f"## {file}.csv\n")[2].partition("\n## ")[0]
    example = section.partition("```\n")[2].partition("\n")[0]
    assert example == ",".join(columns)


def test_docs_name_the_fields_that_an_export_needs() -> None:
    rows = re.findall(r"^\| (.*?) \| yes \|", page("importing.md"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(NEEDED)


def test_docs_lead_nowhere_that_is_not_there() -> None:
    missing = [
        f"{path.name}: {target}"
        for path in PAGES
        for target in re.findall(r'(?:\]\(|src=")([^)"#]+)', path.read_text(encoding="utf-8"))
        if not target.startswith("https://") and not (path.parent / target).exists()
    ]
    assert missing == []


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "pictures").iterdir()}
    assert 4 <= len(sizes) <= 12
    assert {name: size for name, size in sizes.items() if size > 120_000} == {}
