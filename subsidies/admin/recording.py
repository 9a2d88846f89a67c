"""The pages on which a decision is recorded: an approval, with its amount shown before it is saved, or a refusal."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from centre.admin.acts import Text, act_page, page_of
from centre.admin.choosing import ReasonForm
from centre.http import signed_in
from centre.models import GpuPool
from centre.templatetags.portal import gpu_hours, percent
from subsidies import awards, prices
from subsidies.forms import ConditionFormSet, DecisionForm
from subsidies.life_cycle import CaseError
from subsidies.models import Application, Decision, Scheme


@dataclass(frozen=True)
class Line:
    """One pool of a preview."""

    pool: GpuPool
    gpu_seconds: int
    cents_per_gpu_hour: int
    list_value_cents: int


@dataclass(frozen=True)
class Preview:
    """What an approval would come to: list value, subsidy, own share, and the envelope before and after."""

    lines: tuple[Line, ...]
    rate_bp: int
    list_value_cents: int
    amount_cents: int
    left_before_cents: int

    @property
    def own_share_cents(self) -> int:
        return self.list_value_cents - self.amount_cents

    @property
    def left_after_cents(self) -> int:
        return self.left_before_cents - self.amount_cents


def preview_of(scheme: Scheme, form: DecisionForm) -> Preview:
    """Compute what a filled-in form comes to. Raises AboveCeiling and NoListPrice, as recording would."""
    given = form.cleaned_data
    awards.refuse_above_ceiling(scheme, rate_bp=given["rate_bp"], exceptional_grounds=given["exceptional_grounds"])
    priced = awards.price_grants(form.seconds(), on=given["starts_on"])
    return Preview(
        lines=tuple(
            Line(pool, seconds, price, prices.list_value_cents(seconds * price))
            for pool, (seconds, price) in priced.items()
        ),
        rate_bp=given["rate_bp"],
        list_value_cents=prices.list_value_cents(prices.cent_seconds(priced.values())),
        amount_cents=awards.amount_cents(priced.values(), rate_bp=given["rate_bp"]),
        left_before_cents=scheme.left_cents,
    )


def facts_of(application: Application) -> list[tuple[Text, str]]:
    """What the application asks for, as the decision pages show it."""
    asks = application.asks.select_related("pool")
    asked = "; ".join(
        gettext("%(hours)s GPU-hours on %(pool)s") % {"hours": exact_hours(ask.gpu_seconds), "pool": ask.pool}
        for ask in asks
    )
    target: str = (
        gettext("%(code)s (exists)") % {"code": application.project.code}
        if application.project
        else gettext("%(code)s (new), lead: %(lead)s")
        % {"code": application.new_project_code, "lead": application.lead}
    )
    return [
        (_("Application"), f"{application.number}: {application.title}"),
        (_("Tenant"), application.tenant.name),
        (_("Project"), target),
        (_("Asked for"), asked),
        (_("Period asked for"), period(application.starts_on, application.ends_on)),
    ]


def exact_hours(seconds: int) -> str:
    """GPU-hours as people decide on them: whole where they are, else with two decimals."""
    return gpu_hours(seconds, 2 if seconds % 3600 else 0)


def period(first: Any, last: Any) -> str:
    return f"{date_format(first, 'DATE_FORMAT')} – {date_format(last, 'DATE_FORMAT')}" if first and last else "–"


def record_decision_page(request: HttpRequest, page: ModelAdmin[Any], row: Application) -> HttpResponse:
    """Fill in an approval, see what it comes to, record it. What is recorded is what was shown."""
    scheme = row.scheme
    posted = request.POST.copy() if request.method == "POST" else None
    if posted is not None and "more" in posted:
        posted["conditions-TOTAL_FORMS"] = str(min(int_or_0(posted.get("conditions-TOTAL_FORMS")) + 3, 30))
    form = DecisionForm(
        posted,
        scheme=scheme,
        pools=GpuPool.objects.all(),
        hours={ask.pool: ask.gpu_seconds for ask in row.asks.select_related("pool")},
        initial={"rate_bp": scheme.default_rate_bp, "starts_on": row.starts_on, "ends_on": row.ends_on},
    )
    conditions = ConditionFormSet(posted, prefix="conditions")
    preview, refusal = None, ""
    if posted is not None and "more" not in posted and all([form.is_valid(), conditions.is_valid()]):
        try:
            preview = preview_of(scheme, form)
            if "record" in posted and posted.get("shown") == str(preview.amount_cents):
                decision = _record(request, row, form, conditions)
                messages.success(
                    request, gettext("The approval is recorded. Someone else has to confirm it before it counts.")
                )
                return HttpResponseRedirect(page_of(decision))
        except (CaseError, ValidationError) as refused:
            refusal = " ".join(refused.messages) if isinstance(refused, ValidationError) else str(refused)
    context = {
        **page.admin_site.each_context(request),
        "title": _("Record an approval"),
        "opts": page.opts,
        "row": row,
        "row_url": page_of(row),
        "facts": facts_of(row),
        "form": form,
        "conditions": conditions,
        "preview": preview,
        "refusal": refusal,
        "ceiling": percent(scheme.ordinary_ceiling_bp),
        "media": page.media + form.media + conditions.media,
    }
    request.current_app = page.admin_site.name
    return TemplateResponse(request, "admin/subsidies/record_decision.html", context)


def _record(request: HttpRequest, row: Application, form: DecisionForm, conditions: Any) -> Decision:
    given = form.cleaned_data
    return awards.record_decision(
        application=row,
        grants=form.seconds(),
        rate_bp=given["rate_bp"],
        exceptional_grounds=given["exceptional_grounds"],
        conditions=conditions.asked(),
        starts_on=given["starts_on"],
        ends_on=given["ends_on"],
        account=given["account"],
        reason=given["reason"],
        by=signed_in(request),
        at=timezone.now(),
    )


def int_or_0(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 4 else 0


def refuse_page(request: HttpRequest, page: ModelAdmin[Any], row: Application) -> HttpResponse:
    """Record that the application is not approved."""

    def run(given: dict[str, Any]) -> tuple[str, Decision]:
        decision = awards.record_refusal(
            application=row, reason=given["reason"], by=signed_in(request), at=timezone.now()
        )
        return gettext("The refusal is recorded. Someone else has to confirm it before it counts."), decision

    return act_page(
        request,
        admin=page,
        row=row,
        title=_("Record a refusal"),
        explanation=_("Say why the application is not approved. Someone else has to confirm it before it counts."),
        facts=facts_of(row),
        form=ReasonForm(request.POST or None),
        button=_("Record the refusal"),
        run=run,
        refusals=(CaseError,),
    )
