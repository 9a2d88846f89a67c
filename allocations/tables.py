"""The lists that teams see: their projects, and the latest job runs of one."""

import django_tables2
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from allocations.models import JobRun
from allocations.quota import STANDING_TONES
from allocations.run_states import in_words
from centre.models import Project
from centre.models.tenants import Standing
from centre.tables import BadgeColumn, DayColumn, HoursColumn, InstantColumn, NumberColumn, Table

LONGEST_NAME = 40


class ProjectTable(Table):
    """Projects with what all of their open allocations have left together."""

    title = _("Projects")
    project = django_tables2.Column(accessor="title", verbose_name=_("Project"))
    tenant = django_tables2.Column(order_by=("tenant__name_en",), verbose_name=_("Tenant"))
    standing = BadgeColumn(accessor="standing", tones=STANDING_TONES, verbose_name=_("Standing"))
    left = HoursColumn(accessor="left_seconds", verbose_name=_("GPU-hours left"))
    granted = HoursColumn(accessor="open_granted_seconds", verbose_name=_("of granted"))
    ends = DayColumn(accessor="nearest_end_on", verbose_name=_("Next end"))

    class Meta:
        order_by = ("project",)

    def render_project(self, record: Project) -> SafeString:
        return format_html(
            '<a href="{}">{}</a> <small class="mono">{}</small>', record.get_absolute_url(), record.title, record.code
        )

    def render_standing(self, record: Project) -> str:
        badge = {"text": record.get_standing_display(), "tone": STANDING_TONES[Standing(record.standing)]}
        return render_to_string("components/badge.html", badge)


class RunTable(Table):
    """The latest job runs of a project; names from the cluster keep their own direction and are cut when long."""

    title = _("Job runs, newest first")
    compact = True
    run = django_tables2.Column(accessor="job_id", verbose_name=_("Job run"))
    state = django_tables2.Column(verbose_name=_("State"))
    gpus = NumberColumn(verbose_name=_("GPUs"))
    hours = HoursColumn(accessor="charged_seconds", places=1, verbose_name=_("GPU-hours charged"))
    member = django_tables2.Column(accessor="user_name", empty_values=(), verbose_name=_("Member"))
    started = InstantColumn(accessor="start_at", verbose_name=_("Started"))

    class Meta:
        orderable = False

    def render_run(self, record: JobRun) -> SafeString:
        name = Truncator(record.job_name).chars(LONGEST_NAME)
        return format_html('<span class="mono">{}</span> <bdi>{}</bdi>', record.job_id, name)

    def render_member(self, record: JobRun) -> SafeString:
        return format_html("<bdi>{}</bdi>", record.member_name or record.user_name or "–")

    def render_state(self, record: JobRun) -> str:
        text, tone = in_words(record.state)
        return render_to_string("components/badge.html", {"text": text, "tone": tone})
