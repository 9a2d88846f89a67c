"""A pool's page with the acts that only this app can do: mapping runs to it, and ending a mapping. Both recharge."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from allocations import ledger, unmapping, waiting
from allocations.unmapping import LeftOver
from centre import machines
from centre.admin.acts import Confirmation, Effect, act_page, act_urls, row_of_act
from centre.admin.choosing import ReasonForm, day
from centre.admin.confirming import exact_hours
from centre.admin.kept import ActLink
from centre.admin.pools import GpuPoolAdmin
from centre.http import signed_in
from centre.models import GpuPool, PoolMapping


class MappingForm(forms.Form):
    kind = forms.ChoiceField(label=_("What is named"), choices=PoolMapping.Kind.choices)
    name = forms.CharField(
        label=_("Name"), max_length=128, help_text=_("Such as gres/gpu:h800, or the name of a partition.")
    )
    from_on = day(label=_("From"), help_text=_("The first day on which its GPUs are this pool’s."))


class MappingChoice(forms.ModelChoiceField[PoolMapping]):
    def label_from_instance(self, obj: PoolMapping) -> str:
        """What is named, and when it is the pool's."""
        said = {"name": obj.name, "kind": obj.get_kind_display(), "first": date_format(obj.from_on)}
        if obj.until_on is None:
            return gettext("%(name)s (%(kind)s), from %(first)s") % said
        return gettext("%(name)s (%(kind)s), from %(first)s to %(last)s") % {**said, "last": date_format(obj.until_on)}


class EndingForm(ReasonForm):
    mapping = MappingChoice(label=_("Which mapping"), queryset=PoolMapping.objects.none(), empty_label=None)
    until_on = day(label=_("The last day"), help_text=_("From the next day on, its GPUs are no longer this pool’s."))
    field_order = ("mapping", "until_on", "reason")

    def __init__(self, pool: GpuPool, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mapping = self.fields["mapping"]
        assert isinstance(mapping, MappingChoice)  # noqa: S101  named above
        mapping.queryset = PoolMapping.objects.filter(pool=pool).select_related("cluster").order_by("name", "from_on")


SHOWN_PROJECTS = 20


def ending_confirmed(given: dict[str, Any]) -> Confirmation:
    """What ending a mapping gives back, project by project. Raises MappingEnded."""
    mapping, until_on = given["mapping"], given["until_on"]
    machines.refuse_ending(mapping, until_on=until_on)
    left = unmapping.left_over(mapping=mapping, until_on=until_on)
    seconds, runs = sum(each.seconds for each in left), sum(each.runs for each in left)
    day_after = date_format(until_on + timedelta(days=1))
    effects = [
        Effect(_("“%(name)s” is this pool’s until") % {"name": mapping.name}, last_day(mapping), date_format(until_on))
    ]
    warnings = []
    if left:
        effects += [*map(given_back, left[:SHOWN_PROJECTS])]
        warnings.append(
            ngettext(
                "%(runs)s job run was charged %(hours)s GPU-hours by this name from %(day)s on. "
                "They are given back, and the run waits as usage without an allocation until the name is mapped again.",
                "%(runs)s job runs were charged %(hours)s GPU-hours by this name from %(day)s on. "
                "They are given back, and the runs wait as usage without an allocation until the name is mapped again.",
                runs,
            )
            % {"runs": runs, "hours": exact_hours(seconds), "day": day_after}
        )
    if len(left) > SHOWN_PROJECTS:
        more = len(left) - SHOWN_PROJECTS
        warnings.append(
            ngettext(
                "%(number)s further project is concerned; those with the most GPU-hours are shown.",
                "%(number)s further projects are concerned; those with the most GPU-hours are shown.",
                more,
            )
            % {"number": more}
        )
    if any(each.closed for each in left):
        warnings.append(
            gettext("A part of it lies in periods that are closed: by their rule it is forfeited or carried over anew.")
        )
    note = _("Statements that were issued stay as they are; the next ones show the difference as adjustments.")
    return Confirmation(
        effects=effects,
        headline=gettext("“%(name)s” ends on %(day)s") % {"name": mapping.name, "day": date_format(until_on)},
        warnings=warnings,
        note=note if left else _("No job run was charged by this name after that day."),
        danger=True,
    )


def last_day(mapping: PoolMapping) -> str:
    return date_format(mapping.until_on) if mapping.until_on else gettext("open")


def given_back(left: LeftOver) -> Effect:
    """One project's part of what is given back."""
    runs = ngettext("%(number)s job run", "%(number)s job runs", left.runs) % {"number": left.runs}
    hours = gettext("%(hours)s GPU-hours") % {"hours": exact_hours(left.seconds)}
    return Effect(f"{left.project_code}: {runs}", hours, gettext("no allocation"))


admin.site.unregister(GpuPool)


@admin.register(GpuPool)
class GpuPoolWithRunsAdmin(GpuPoolAdmin):
    def acts(self, request: HttpRequest, obj: GpuPool) -> list[ActLink]:
        links = super().acts(request, obj)
        if request.user.has_perm("centre.add_poolmapping"):
            links.append(ActLink(_("Map runs to this pool"), "../map/"))
        if request.user.has_perm("centre.change_poolmapping"):
            links.append(ActLink(_("End a mapping"), "../end-mapping/"))
        return links

    def get_urls(self) -> list[URLPattern]:
        return [*act_urls(self, [("map", self.map_runs), ("end-mapping", self.end_mapping)]), *super().get_urls()]

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

    def end_mapping(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """After a day, GPUs of a name are no longer the pool's; what they were charged since is given back."""
        pool: GpuPool = row_of_act(self, request, object_id, "centre.change_poolmapping")

        def run(given: dict[str, Any]) -> tuple[str, GpuPool]:
            back = unmapping.end_mapping(**given, by=signed_in(request), at=timezone.now())
            said = {
                "name": given["mapping"].name,
                "day": date_format(given["until_on"]),
                "hours": exact_hours(back),
            }
            if not back:
                return gettext("“%(name)s” ends on %(day)s. No job run was charged by it after that.") % said, pool
            return gettext("“%(name)s” ends on %(day)s. %(hours)s GPU-hours were given back.") % said, pool

        return act_page(
            request,
            admin=self,
            row=pool,
            title=_("End a mapping"),
            explanation=_("Runs that are already charged for later days are given back at once."),
            form=EndingForm(pool, request.POST or None),
            button=_("End the mapping"),
            run=run,
            confirm=ending_confirmed,
            refusals=(machines.MachineError, ledger.LedgerError),
        )
