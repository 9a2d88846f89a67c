"""The centre: its people, tenants and machines; and the admin site that belongs to it."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.core import checks
from django.db.models.signals import post_migrate, pre_migrate
from django.utils.translation import gettext_lazy as _


class PortalAdminConfig(AdminConfig):
    """Django's admin with the portal's own site as its default."""

    default_site = "centre.admin_site.PortalAdminSite"


class CentreConfig(AppConfig):
    name = "centre"
    verbose_name = _("The centre")

    def ready(self) -> None:
        from centre import desk, registry, reports, tabs, triggers  # noqa: PLC0415  models are ready only now

        pre_migrate.connect(triggers.lift_before_migrate, dispatch_uid="centre.triggers")
        post_migrate.connect(triggers.install_after_migrate, dispatch_uid="centre.triggers")
        checks.register(triggers.check_installed, checks.Tags.database)
        registry.add_reports(*reports.REPORTS)
        registry.project_tabs.append(tabs.project_tabs)
        registry.desk_lines.append(desk.appointments_waiting)
