"""The forms with which staff record applications and decisions."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre.admin.choosing import chosen, day
from centre.forms import DollarsField, GpuHoursField, PercentField
from centre.models import GpuPool
from centre.templatetags.portal import percent
from subsidies.awards import Asked
from subsidies.models import Application, Decision, Scheme

LONG = forms.Textarea(attrs={"rows": 4, "cols": 60, "class": "vLargeTextField"})


class PoolHoursForm(forms.Form):
    """A form with one field per GPU pool for GPU-hours; `seconds()` gives what was filled in."""

    def __init__(self, *args: Any, pools: Iterable[GpuPool], hours: Mapping[GpuPool, int], **options: Any) -> None:
        super().__init__(*args, **options)
        self.pools = list(pools)
        for pool in self.pools:
            self.fields[self.field_of(pool)] = GpuHoursField(
                label=_("GPU-hours on %(pool)s") % {"pool": pool},
                required=False,
                min_value=0,
                initial=hours.get(pool),
            )

    @staticmethod
    def field_of(pool: GpuPool) -> str:
        return f"hours_{pool.pk}"

    def seconds(self) -> dict[GpuPool, int]:
        """GPU-seconds per pool, of those that are not left empty."""
        filled = {pool: self.cleaned_data.get(self.field_of(pool)) for pool in self.pools}
        return {pool: seconds for pool, seconds in filled.items() if seconds}

    def clean(self) -> dict[str, Any]:
        """At least one pool has hours."""
        given = super().clean() or self.cleaned_data
        if self.pools and not self.errors and not self.seconds():
            raise forms.ValidationError(_("Fill in GPU-hours for at least one pool."))
        return given


class ApplicationForm(PoolHoursForm):
    """What the paper or the letter of a tenant asks for."""

    tenant = chosen(Application, "tenant")
    title = forms.CharField(label=_("Title"), max_length=300, widget=forms.TextInput(attrs={"class": "vTextField"}))
    summary = forms.CharField(label=_("Summary"), required=False, widget=LONG)
    project = chosen(
        Application,
        "project",
        required=False,
        help_text=_("Leave this empty when an approval is to create a new project."),
    )
    new_project_code = forms.CharField(
        label=_("Code of the new project"),
        max_length=40,
        required=False,
        help_text=_("Lower-case letters, digits, hyphens and underscores. It becomes the project's Slurm account."),
    )
    lead = chosen(Application, "lead", required=False, label=_("Lead of the new project"))
    received_on = day(label=_("Received on"))
    starts_on = day(label=_("Asked from"))
    ends_on = day(label=_("Asked until"))

    FIELDS = (
        "tenant",
        "title",
        "summary",
        "project",
        "new_project_code",
        "lead",
        "received_on",
        "starts_on",
        "ends_on",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.order_fields([*self.FIELDS[:6], *map(self.field_of, self.pools), *self.FIELDS[6:]])

    def described(self) -> dict[str, Any]:
        """What was filled in, beside the hours."""
        return {name: self.cleaned_data[name] for name in self.FIELDS}


class DecisionForm(PoolHoursForm):
    """An approval: how much, at which rate, for how long, why."""

    rate_bp = PercentField(label=_("Rate (per cent of the list price)"))
    exceptional_grounds = forms.CharField(label=_("Exceptional grounds"), required=False, widget=LONG)
    starts_on = day(label=_("First day"))
    ends_on = day(label=_("Last day"))
    account = forms.CharField(
        label=_("Slurm account"),
        max_length=128,
        required=False,
        help_text=_("Empty: the project's code. Name another one if the project also pays for hours at the same time."),
        validators=Decision._meta.get_field("account").validators,
    )
    reason = forms.CharField(label=_("Reason"), widget=LONG, help_text=_("What the decision rests on."))

    def __init__(self, *args: Any, scheme: Scheme, **options: Any) -> None:
        super().__init__(*args, **options)
        self.scheme = scheme
        ceiling, highest = percent(scheme.ordinary_ceiling_bp), percent(scheme.exceptional_ceiling_bp)
        self.fields["rate_bp"].help_text = gettext("Up to %(ceiling)s; up to %(highest)s on exceptional grounds.") % {
            "ceiling": ceiling,
            "highest": highest,
        }
        self.fields["exceptional_grounds"].help_text = gettext("Only needed above %(ceiling)s.") % {"ceiling": ceiling}
        self.order_fields([*map(self.field_of, self.pools), *self.fields])


class ConditionForm(forms.Form):
    """One condition of an approval."""

    text = forms.CharField(label=_("Condition"), required=False, widget=forms.Textarea(attrs={"rows": 2, "cols": 60}))
    due_on = day(label=_("Due on"), required=False)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or self.cleaned_data
        if given.get("due_on") and not given.get("text"):
            self.add_error("text", _("Say what is due on that day."))
        return given


class Conditions(forms.BaseFormSet[ConditionForm]):
    def asked(self) -> list[Asked]:
        """The conditions that are filled in."""
        filled = (form.cleaned_data for form in self.forms)
        return [Asked(text=given["text"], due_on=given.get("due_on")) for given in filled if given.get("text")]


ConditionFormSet = forms.formset_factory(ConditionForm, formset=Conditions, extra=3, max_num=30)


class SchemeForm(forms.ModelForm[Scheme]):
    """A scheme, with its money in dollars and its rates in per cent."""

    envelope_cents = DollarsField(label=_("Envelope (HK$)"), min_value=0)
    ordinary_ceiling_bp = PercentField(
        label=_("Ordinary ceiling (%)"), help_text=_("The highest share of the list price in ordinary cases.")
    )
    exceptional_ceiling_bp = PercentField(
        label=_("Exceptional ceiling (%)"),
        help_text=_("The highest share with recorded exceptional grounds; nothing goes above it."),
    )
    default_rate_bp = PercentField(label=_("Usual rate (%)"), help_text=_("What a new decision begins with."))

    class Meta:
        model = Scheme
        fields = (
            "code",
            "name_en",
            "name_zh_hant",
            "name_zh_hans",
            "starts_on",
            "ends_on",
            "envelope_cents",
            "default_rate_bp",
            "ordinary_ceiling_bp",
            "exceptional_ceiling_bp",
            "how_to_apply_en",
            "how_to_apply_zh_hant",
            "how_to_apply_zh_hans",
        )

    def clean(self) -> dict[str, Any] | None:
        """Said here as well as by the database, so that the page can tell why."""
        given = super().clean()
        if given and not self.errors:
            rates = [given["default_rate_bp"], given["ordinary_ceiling_bp"], given["exceptional_ceiling_bp"]]
            if rates != sorted(rates) or rates[0] == 0:
                self.add_error(
                    "default_rate_bp",
                    _("The usual rate is above 0, at most the ordinary ceiling, and that at most the exceptional one."),
                )
            if given["envelope_cents"] < self.instance.taken_cents:
                self.add_error("envelope_cents", _("More than this is reserved and committed already."))
        return given
