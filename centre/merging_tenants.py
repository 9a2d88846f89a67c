"""Two records of one tenant become one. What belongs to one of them goes to the other; nothing is deleted.

The record that goes is closed and names the one that stays, so that its code keeps leading somewhere. What describes it
(names, registration number, agreement, notes) stays on it as it was. Rows of upper apps come along by
`registry.tenant_records`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from centre import registry
from centre.audit import record, record_all
from centre.exports import Text
from centre.models import Event, Project, Representative, Tenant, TenantContact, User
from centre.models.tenants import Standing
from centre.templatetags.portal import written_instant

SHOWN = 50
ALIKE = 0.5  # as SequenceMatcher measures it: 1 is the same name, 0 has nothing in common


class MergeError(Exception):
    """Why two records cannot be merged, as a sentence for a screen."""


class SameRecord(MergeError):
    """A record cannot be merged into itself."""


class AlreadyMerged(MergeError):
    """One of the two records leads to another one already."""


class KeptIsClosed(MergeError):
    """What still goes on cannot be moved to a record that is closed."""


@dataclass(frozen=True)
class Moving:
    """Rows of one kind that would go to the other record: how many, and the first of them."""

    title: Text
    count: int
    first: tuple[str, ...]

    @property
    def more(self) -> int:
        """How many are not shown."""
        return max(self.count - len(self.first), 0)


@transaction.atomic
def merge_tenants(*, keep: Tenant, gone: Tenant, reason: str, by: User | None, at: datetime) -> Tenant:
    """Move all that belongs to `gone` to `keep`, close `gone`, and let its code lead to `keep`.

    Whoever sends the same merge twice gets the record that stands. Raises SameRecord, AlreadyMerged, KeptIsClosed.
    """
    refuse_same(keep=keep, gone=gone)
    locked = Tenant.objects.select_for_update(of=("self",)).select_related("merged_into").order_by("pk")
    rows = {row.pk: row for row in locked.filter(pk__in=(keep.pk, gone.pk))}
    keep, gone = rows[keep.pk], rows[gone.pk]
    if is_own_merge(keep=keep, gone=gone, by=by):
        return keep
    refuse_merge(keep=keep, gone=gone)
    counts = {"representatives": move_representatives(keep=keep, gone=gone, by=by, at=at)}
    counts["contacts"] = move_contacts(keep=keep, gone=gone, at=at)
    change = {"tenant": [gone.code, keep.code]}
    for kind in kinds():
        moved = list(kind.model._default_manager.filter(tenant=gone).order_by("pk"))
        kind.model._default_manager.filter(tenant=gone).update(tenant=keep)
        record_all(act="move_to_tenant", on=((row, change) for row in moved), by=by, at=at, reason=reason)
        counts[str(kind.model._meta.model_name)] = len(moved)
    earlier = list(Tenant.objects.filter(merged_into=gone))
    Tenant.objects.filter(merged_into=gone).update(merged_into=keep)
    on_earlier = [(row, {"merged_into": [gone.code, keep.code]}) for row in earlier]
    record_all(act="lead_to_other_tenant", on=on_earlier, by=by, at=at, reason=reason)
    before = gone.standing
    gone.standing, gone.merged_into = Standing.CLOSED, keep
    gone.save(update_fields=["standing", "merged_into"])
    given = {name: count for name, count in counts.items() if count}
    changes: dict[str, Any] = {"merged_into": [None, keep.code]}
    if before != Standing.CLOSED:
        changes["standing"] = [before, str(Standing.CLOSED)]
    record(act="merge_into_tenant", on=gone, by=by, at=at, reason=reason, changes={**changes, "moved": told(given)})
    taken = {"merged_record": gone.code, "moved": told(given)}
    record(act="take_in_tenant", on=keep, by=by, at=at, reason=reason, changes=taken)
    return keep


def kinds() -> Iterator[registry.TenantRecords]:
    """What goes along row by row, each with its own line in its history: projects, and what upper apps named."""
    yield registry.TenantRecords(title=_("projects"), model=Project)
    yield from registry.tenant_records


def told(counts: dict[str, int]) -> str:
    """“project 3, contacts 1”: what went along, for the trail, in its one language."""
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def is_own_merge(*, keep: Tenant, gone: Tenant, by: User | None) -> bool:
    """The person did exactly this already: the form was sent twice."""
    return gone.merged_into_id == keep.pk and (event := merge_of(gone)) is not None and event.actor == by


def merge_of(gone: Tenant) -> Event | None:
    """The event of the merge by which the record went; None while it stands."""
    events = Event.objects.filter(object_type="centre.tenant", object_id=str(gone.pk), act="merge_into_tenant")
    return events.select_related("actor").order_by("-id").first() if gone.merged_into_id else None


def refuse_same(*, keep: Tenant, gone: Tenant) -> None:
    if keep.pk == gone.pk:
        raise SameRecord(_("This is one and the same record. Choose another one."))


def refuse_merge(*, keep: Tenant, gone: Tenant) -> None:
    """Raise the MergeError that stands in the way, if any."""
    refuse_same(keep=keep, gone=gone)
    for row in (keep, gone):
        if row.merged_into is not None:
            raise AlreadyMerged(merged_in_words(row))
    if keep.standing == Standing.CLOSED and gone.standing != Standing.CLOSED:
        raise KeptIsClosed(
            _("%(keep)s is closed and %(gone)s is not. Keep the record that still goes on.")
            % {"keep": keep.code, "gone": gone.code}
        )


def merged_in_words(gone: Tenant) -> str:
    """Where a merged record leads, since when and by whom."""
    into = gone.merged_into
    if into is None:
        return ""
    event = merge_of(gone)
    names = {"gone": gone.code, "name": into.name, "keep": into.code}
    if event is None:
        return _("%(gone)s was merged into %(name)s (%(keep)s).") % names
    return _("%(gone)s was merged into %(name)s (%(keep)s) by %(person)s, %(instant)s.") % {
        **names,
        "person": event.actor.get_full_name() if event.actor else _("a command of the operator"),
        "instant": written_instant(event.at),
    }


def move_representatives(*, keep: Tenant, gone: Tenant, by: User | None, at: datetime) -> int:
    """Who may sign for `gone` may sign for `keep`; who may for both does so once. How many rows moved."""
    rows = Representative.objects.filter(tenant=gone)
    today = Representative.objects.filter(tenant=keep, ended_at__isnull=True)
    moved = list(rows.select_related("user"))
    twice = {row.pk for row in moved if row.ended_at is None} & set(
        rows.filter(ended_at__isnull=True, user__in=today.values("user")).values_list("pk", flat=True)
    )
    Representative.objects.filter(pk__in=twice).update(ended_at=at)
    rows.update(tenant=keep)
    for act, chosen in (
        ("end_representation", [row for row in moved if row.pk in twice]),
        ("move_to_tenant", [row for row in moved if row.pk not in twice]),
    ):
        on = [(row, {"tenant": [gone.code, keep.code], "person": row.user.email}) for row in chosen]
        record_all(act=act, on=on, by=by, at=at)
    return len(moved)


def move_contacts(*, keep: Tenant, gone: Tenant, at: datetime) -> int:
    """The contacts go along; one whom `keep` has under the same address already ends. How many rows moved."""
    rows = TenantContact.objects.filter(tenant=gone)
    moved = rows.count()
    known = TenantContact.objects.current().filter(tenant=keep).exclude(email="").values_list("email", flat=True)
    known_addresses = {email.lower() for email in known}
    current = list(rows.filter(ended_at__isnull=True))
    twice = [row.pk for row in current if row.email.lower() in known_addresses]
    TenantContact.objects.filter(pk__in=twice).update(ended_at=at)
    rows.update(tenant=keep)
    return moved


# ---------------------------------------------------------------------------------------------- what would happen


def would_move(gone: Tenant) -> list[Moving]:
    """All that would go along, kind by kind, with the first of each; a constant number of queries."""
    current = Representative.objects.filter(tenant=gone, ended_at__isnull=True).select_related("user")
    contacts = TenantContact.objects.current().filter(tenant=gone)
    kept = [moving(kind.title, kind.model._default_manager.filter(tenant=gone).order_by("pk"), str) for kind in kinds()]
    kept.insert(1, moving(_("representatives"), current, lambda row: row.user.get_full_name()))
    kept.insert(2, moving(_("contacts"), contacts, str))
    earlier = Tenant.objects.filter(merged_into=gone)
    kept.append(moving(_("codes of records merged earlier"), earlier, lambda row: row.code))
    return kept


def moving(title: Text, rows: QuerySet[Any], name: Any) -> Moving:
    first = [name(row) for row in rows[: SHOWN + 1]]
    count = len(first) if len(first) <= SHOWN else rows.count()
    return Moving(title=capfirst(str(title)), count=count, first=tuple(first[:SHOWN]))


def on_both(keep: Tenant, gone: Tenant) -> int:
    """How many people may sign for both records today."""
    today = Representative.objects.filter(ended_at__isnull=True)
    return today.filter(tenant=gone, user__in=today.filter(tenant=keep).values("user")).count()


def warnings(keep: Tenant, gone: Tenant) -> list[str]:
    """What should make a person look twice before two records are merged; none of it forbids it."""
    found = []
    if not are_alike(keep, gone):
        found.append(_("The names have little in common. Make sure that both records are of the same organisation."))
    numbers = {row.registration_number.replace(" ", "").lower() for row in (keep, gone)} - {""}
    if len(numbers) > 1:
        found.append(_("The registration numbers differ."))
    if keep.category != gone.category:
        found.append(_("The categories differ; the one of the record that is kept stays."))
    if keep.standing == Standing.SUSPENDED and gone.standing == Standing.ACTIVE:
        found.append(_("The record that is kept is suspended, so the tenant gets no new project until it is resumed."))
    return found


def are_alike(one: Tenant, other: Tenant) -> bool:
    """Whether any of the names of two tenants look like one name; order of words and case do not count."""
    for field in ("name_en", "name_zh_hant", "name_zh_hans"):
        names = [" ".join(sorted(getattr(row, field).lower().split())) for row in (one, other)]
        if all(names) and SequenceMatcher(None, names[0], names[1]).ratio() >= ALIKE:
            return True
    return False
