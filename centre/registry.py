"""What upper apps show on the screens of this one.

Imports go one way, so a screen of `centre` cannot ask `allocations` or `subsidies`. It asks these registries instead,
and those apps fill them in `AppConfig.ready()`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from django.db import models

from centre.exports import Report, Text
from centre.models import Project, User


@dataclass(frozen=True)
class Link:
    """A text that leads somewhere; without an address it is only the text. `note`: what is found there, in a line."""

    text: Text
    url: str = ""
    note: Text = ""


@dataclass(frozen=True)
class Panel:
    """A read-only table on a record's admin page: what another app knows of the record.

    `numbers` are the columns, counted from 0, that hold numbers: they are set to the right.
    """

    title: Text
    headings: tuple[Text, ...]
    rows: tuple[tuple[Link, ...], ...]
    numbers: tuple[int, ...] = ()


AdminPanel = Callable[[models.Model, User], Panel | None]
ProjectLinks = Callable[[Project, User], list[Link]]

reports: dict[str, Report] = {}
admin_panels: list[AdminPanel] = []
project_links: list[ProjectLinks] = []


def add_reports(*added: Report) -> None:
    """Put reports into the catalogue, in this order; two of one name are a mistake that stops the start."""
    for report in added:
        if reports.setdefault(report.name, report) is not report:
            raise ValueError(f"Two reports are called {report.name}.")


def panels_of(record: models.Model, user: User) -> list[Panel]:
    """What the apps have to show this person about a record on its admin page."""
    panels = (panel(record, user) for panel in admin_panels)
    return [panel for panel in panels if panel is not None]


def links_of(project: Project, user: User) -> list[Link]:
    """Where else the apps can lead this person from a project's page."""
    return [link for links in project_links for link in links(project, user)]
