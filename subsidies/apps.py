"""Applications that are judged, projects that are funded."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SubsidiesConfig(AppConfig):
    name = "subsidies"
    verbose_name = _("Subsidy scheme")

    def ready(self) -> None:
        from allocations import statement_money as of_statements  # noqa: PLC0415  models are ready only now
        from centre import registry  # noqa: PLC0415
        from subsidies import before_closing, desk, plugs, reports, statement_money  # noqa: PLC0415

        registry.add_reports(*reports.REPORTS)
        registry.project_links.append(plugs.project_links)
        registry.project_tabs.append(plugs.project_tabs)
        registry.admin_panels.extend((plugs.awards_of_project, plugs.applications_of_tenant, plugs.capacity_of_pool))
        registry.desk_lines.extend((desk.decisions_waiting, desk.conditions_overdue, desk.pipeline))
        of_statements.subsidies.append(statement_money.subsidies_of)
        registry.before_closing.append(before_closing.going_on)
        registry.tenant_records.append(before_closing.APPLICATIONS)
