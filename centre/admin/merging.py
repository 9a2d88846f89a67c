"""The page on which one record of a tenant is merged into another: all that would move is listed before it happens."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from centre import merging_tenants
from centre.admin.acts import act_page
from centre.admin.choosing import ReasonForm, chosen
from centre.admin.confirming import Confirmation, Effect, Text, in_words
from centre.admin.kept import KeptAdmin
from centre.http import signed_in
from centre.models import Tenant
from centre.models.tenants import Standing

DESCRIBING = (
    *("name_en", "name_zh_hant", "name_zh_hans", "category", "registration_number"),
    *("agreement_from_on", "agreement_until_on", "notes"),
)


class MergeForm(ReasonForm):
    field_order = ("keep", "reason")
    keep = chosen(
        Tenant,
        "merged_into",
        label=_("The record to keep"),
        help_text=_("Everything goes to this one. Search by code, name, registration number, contact or project."),
    )

    def __init__(self, *args: Any, gone: Tenant, **options: Any) -> None:
        super().__init__(*args, **options)
        field: Any = self.fields["keep"]
        field.widget.among = {"merging": gone.pk}


def merge_page(request: HttpRequest, page: KeptAdmin[Tenant], gone: Tenant) -> HttpResponse:
    """Choose the record to keep, see what goes along, confirm."""

    def run(given: dict[str, Any]) -> tuple[str, Tenant]:
        kept = merging_tenants.merge_tenants(
            keep=given["keep"], gone=gone, reason=given["reason"], by=signed_in(request), at=timezone.now()
        )
        return gettext("%(gone)s is merged into %(keep)s; its code leads here now.") % {
            "gone": gone.code,
            "keep": kept.code,
        }, kept

    def confirm(given: dict[str, Any]) -> Confirmation | None:
        keep: Tenant = given["keep"]
        if merging_tenants.is_own_merge(keep=keep, gone=gone, by=signed_in(request)):
            return None
        merging_tenants.refuse_merge(keep=keep, gone=gone)
        return Confirmation(
            effects=effects(keep, gone),
            headline=gettext("%(gone)s goes, %(keep)s stays") % {"gone": name(gone), "keep": name(keep)},
            warnings=merging_tenants.warnings(keep, gone),
            facts=differences(keep, gone),
            note=gettext(
                "Nothing is deleted, but a merge cannot be undone. %(gone)s stays readable with its own history, and "
                "whoever looks for its code is led to %(keep)s."
            )
            % {"gone": gone.code, "keep": keep.code},
            button=gettext("Merge the two records"),
            danger=True,
        )

    refusal = merging_tenants.merged_in_words(gone)
    return act_page(
        request,
        admin=page,
        row=gone,
        title=_("Merge into another record"),
        explanation=refusal
        or _(
            "For a tenant that was registered twice. Everything that belongs to this record goes to the one that you "
            "choose, and this one is closed."
        ),
        facts=[] if request.method == "POST" else going_along(gone),
        form=MergeForm(request.POST or None, gone=gone),
        button=_("See what would change"),
        run=run,
        refusals=(merging_tenants.MergeError,),
        confirm=confirm,
    )


def name(tenant: Tenant) -> str:
    return f"{tenant.name} ({tenant.code})"


def going_along(gone: Tenant) -> list[tuple[Text, Text]]:
    """What belongs to the record, kind by kind."""
    return [(part.title, named(part)) for part in merging_tenants.would_move(gone)]


def named(part: merging_tenants.Moving) -> str:
    """How many, and which: “3: llm: Models, vision: Sight, …”."""
    if not part.count:
        return gettext("none")
    shown = "; ".join(part.first)
    more = ngettext("%(count)s more", "%(count)s more", part.more) % {"count": part.more} if part.more else ""
    return f"{part.count}: {shown}" + (f"; {more}" if more else "")


def effects(keep: Tenant, gone: Tenant) -> list[Effect]:
    """Every kind of rows that changes its tenant, and where the record that goes will stand."""
    moved = [
        Effect(part.title, f"{gone.code} – {named(part)}", keep.code)
        for part in merging_tenants.would_move(gone)
        if part.count
    ]
    both = merging_tenants.on_both(keep, gone)
    if both:
        sentence = ngettext(
            "%(count)s person may sign for both; for %(keep)s they do so once.",
            "%(count)s people may sign for both; for %(keep)s each does so once.",
            both,
        )
        moved.append(Effect(_("Representatives of both"), str(both), sentence % {"count": both, "keep": keep.code}))
    stands = gettext("%(standing)s, leads to %(code)s") % {"standing": Standing.CLOSED.label, "code": keep.code}
    return [
        Effect(gettext("Standing of %(code)s") % {"code": gone.code}, gone.get_standing_display(), stands),
        *moved,
    ]


def differences(keep: Tenant, gone: Tenant) -> list[tuple[Text, Text]]:
    """What the record that goes says otherwise: it stays to be read there."""
    told: list[tuple[Text, Text]] = []
    for field_name in DESCRIBING:
        field: Any = Tenant._meta.get_field(field_name)
        words = [in_words(field.formfield(), getattr(row, field_name)) for row in (keep, gone)]
        if words[0] != words[1] and getattr(gone, field_name) not in ("", None):
            sentence = gettext("“%(kept)s” stays; “%(left)s” is left on %(gone)s.")
            told.append(
                (
                    capfirst(str(field.verbose_name)),
                    sentence % {"kept": words[0], "left": words[1], "gone": gone.code},
                )
            )
    return told
