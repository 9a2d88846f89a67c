"""The lists that teams see: their projects, and the latest job runs of one."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import django_tables2
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from allocations.models import JobRun
from allocations.project_lines import ProjectLine
from allocations.quota import STANDING_TONES
from allocations.run_states import in_words
from centre.charts import percentage, whole_percent
from centre.models import Project
from centre.models.tenants import Standing
from centre.tables import HoursColumn, InstantColumn, NumberColumn, Table
from centre.templatetags.portal import NOTHING

LONGEST_NAME = 40


def cells(name: str) -> dict[str, dict[str, str]]:
    """The class of a column's cells."""
    return {"th": {"class": name}, "td": {"class": name}}


class ProjectTable(Table):
    """Projects, each with what all of its open allocations have left together and with what comes next.

    `lines` are told apart from the rows, for those of the page only: see allocations.views.project_table.
    """

    title = _("Projects")
    project = django_tables2.Column(accessor="title", verbose_name=_("Project"))
    tenant = django_tables2.Column(order_by=("tenant__name_en",), verbose_name=_("Tenant"), attrs=cells("p-tenant"))
    left = django_tables2.Column(
        accessor="left_seconds", empty_values=(), verbose_name=_("GPU-hours left"), attrs=cells("p-left")
    )
    ends = django_tables2.Column(
        accessor="nearest_end_on", empty_values=(), verbose_name=_("What comes next"), attrs=cells("p-next")
    )
    jobs = django_tables2.Column(accessor="pk", verbose_name=_("New jobs"), orderable=False, attrs=cells("p-jobs"))

    lines: Mapping[int, ProjectLine] = {}

    @property
    def as_of(self) -> datetime | None:
        """How far the books reach for every figure of the page: the oldest import behind them."""
        return min(self.imports, default=None)

    @property
    def imports_differ(self) -> bool:
        return len(self.imports) > 1

    @property
    def imports(self) -> set[datetime]:
        return {as_of for line in self.lines.values() for as_of in line.imports}

    class Meta:
        order_by = ("project",)

    def render_project(self, record: Project) -> SafeString:
        standing = Standing(record.standing)
        badge = {"text": standing.label, "tone": STANDING_TONES[standing]}
        told = "" if standing == Standing.ACTIVE else render_to_string("components/badge.html", badge)
        return format_html(
            '<a href="{}">{}</a> {} <small class="mono">{}</small>',
            record.get_absolute_url(),
            record.title,
            told,
            record.code,
        )

    def render_left(self, record: Any) -> str:
        left, granted = record.left_seconds, record.open_granted_seconds
        if not granted:
            return NOTHING
        shown = {
            "left": left,
            "granted": granted,
            "left_bp": whole_percent(max(left, 0), granted) * 100,
            "used_share": percentage(granted - left, granted),
        }
        return render_to_string("projects/left.html", shown)

    def render_ends(self, record: Any) -> str:
        return render_to_string(
            "projects/next.html",
            {"line": self.lines.get(record.pk), "waiting": getattr(record, "requests_waiting", 0)},
        )

    def render_jobs(self, record: Project) -> str:
        line = self.lines.get(record.pk)
        if line is None or line.scheduling is None:
            return NOTHING
        state = {"text": line.scheduling.state.label, "tone": line.scheduling.tone}
        return render_to_string("components/badge.html", state)


class RunTable(Table):
    """Job runs of a project, each leading to its own page.

    Names from the cluster keep their own direction and are cut when long.
    """

    title = _("Job runs, newest first")
    compact = True
    run = django_tables2.Column(accessor="job_id", verbose_name=_("Job run"))
    state = django_tables2.Column(verbose_name=_("State"))
    gpus = NumberColumn(verbose_name=_("GPUs"))
    hours = HoursColumn(accessor="charged_seconds", places=1, verbose_name=_("GPU-hours charged"))
    member = django_tables2.Column(accessor="user_name", empty_values=(), verbose_name=_("Member"))
    started = InstantColumn(accessor="start_at", default=NOTHING, verbose_name=_("Started"))

    class Meta:
        orderable = False

    def __init__(self, runs: Iterable[Any], *, code: str) -> None:
        self.code = code
        super().__init__(list(runs))

    def render_run(self, record: JobRun) -> SafeString:
        return run_link(record, code=self.code, name=Truncator(record.job_name).chars(LONGEST_NAME))

    def render_member(self, record: JobRun) -> SafeString:
        return format_html("<bdi>{}</bdi>", record.member_name or record.user_name or "–")

    def render_state(self, record: JobRun) -> str:
        text, tone = in_words(record.state)
        return render_to_string("components/badge.html", {"text": text, "tone": tone})


def run_link(run: JobRun, *, code: str, name: str) -> SafeString:
    """A run's number, leading to its page in the project, and its name."""
    url = reverse("run", args=[code, run.pk])
    return format_html('<a class="mono" href="{}">{}</a> <bdi>{}</bdi>', url, run.job_id, name)
