"""A pool's page with the act that only this app can do: mapping runs to it, which charges those that waited."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from allocations import ledger, waiting
from centre import machines
from centre.admin.acts import act_page, act_urls, row_of_act
from centre.admin.choosing import day
from centre.admin.facility import GpuPoolAdmin
from centre.admin.kept import ActLink
from centre.http import signed_in
from centre.models import GpuPool, PoolMapping


class MappingForm(forms.Form):
    kind = forms.ChoiceField(label=_("What is named"), choices=PoolMapping.Kind.choices)
    name = forms.CharField(
        label=_("Name"), max_length=128, help_text=_("Such as gres/gpu:h800, or the name of a partition.")
    )
    from_on = day(label=_("From"), help_text=_("The first day on which its GPUs are this pool’s."))


admin.site.unregister(GpuPool)


@admin.register(GpuPool)
class GpuPoolWithRunsAdmin(GpuPoolAdmin):
    def acts(self, request: HttpRequest, obj: GpuPool) -> list[ActLink]:
        links = super().acts(request, obj)
        if request.user.has_perm("centre.add_poolmapping"):
            links.append(ActLink(_("Map runs to this pool"), "../map/"))
        return links

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("map", self.map_runs)]), *super().get_urls()]

    def map_runs(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """From a day on, a typed GPU name or a partition belongs to the pool."""
        pool: GpuPool = row_of_act(self, request, object_id, "centre.add_poolmapping")

        @transaction.atomic
        def run(given: dict[str, Any]) -> tuple[str, GpuPool]:
            at = timezone.now()
            machines.map_pool(
                pool=pool,
                kind=PoolMapping.Kind(given["kind"]),
                name=given["name"],
                from_on=given["from_on"],
                by=signed_in(request),
                at=at,
            )
            waiting.charge_waiting_runs(clusters=[pool.cluster], at=at)
            return gettext("Runs of “%(name)s” now belong to %(pool)s.") % {"name": given["name"], "pool": pool}, pool

        return act_page(
            request,
            admin=self,
            row=pool,
            title=_("Map runs to this pool"),
            explanation=_("Runs that were imported before and waited for this pool are charged at once."),
            form=MappingForm(request.POST or None),
            button=_("Map the runs"),
            run=run,
            refusals=(machines.MachineError, ledger.LedgerError),
        )
