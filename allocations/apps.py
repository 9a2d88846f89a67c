"""GPU time: granted, used, left."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AllocationsConfig(AppConfig):
    name = "allocations"
    verbose_name = _("GPU time")

    def ready(self) -> None:
        from allocations import (  # noqa: PLC0415  models are ready only now
            before_closing,
            desk,
            desk_uploads,
            desk_watch,
            over_commitment,
            panels,
            reports,
            tabs,
            take_back_preview,
            user_names,
        )
        from centre import registry  # noqa: PLC0415

        registry.add_reports(*reports.REPORTS)
        registry.admin_panels += [
            panels.allocations_of,
            panels.reserve_of,
            panels.period_end_of,
            take_back_preview.who_would_lose,
        ]
        registry.project_tabs.append(tabs.project_tabs)
        registry.names_in_runs.append(user_names.NAMES_IN_RUNS)
        registry.desk_lines.extend(
            (
                desk.requests_waiting,
                desk.rules_waiting,
                desk_uploads.balances_waiting,
                desk_watch.balances_and_imports,
            )
        )
        registry.before_closing.append(before_closing.going_on)
        registry.over_commitments.append(over_commitment.over_commitments)
        registry.tenant_columns.append(before_closing.HOURS_LEFT)
