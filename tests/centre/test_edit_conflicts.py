"""Two people edit one record: the second is told what changed, by whom and when, and loses nothing typed."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import models
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from centre import contacts, merging_tenants, tenants
from centre.admin.editing import SNAPSHOT
from centre.models import Outage, Tenant, TenantContact, User
from centre.permissions import StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole


def page_of(row: models.Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def browser(role: StaffRole = R.TENANT_OFFICER, name: str = "") -> tuple[Client, User]:
    client, user = Client(), make.staff(role, name=name)
    client.force_login(user)
    return client, user


def filled_in(response: Any) -> dict[str, str]:
    """Every field of the form of a page, as a browser would send it back."""
    form = response.context["adminform"].form
    given = {SNAPSHOT: response.context["snapshot"]}
    fields = list(form)
    for inline in response.context["inline_admin_formsets"]:
        fields += list(inline.formset.management_form)
        fields += [field for part in inline.formset.forms for field in part]
    for field in fields:
        given |= as_sent(field)
    return given


def as_sent(field: Any) -> dict[str, str]:
    value = field.value()
    if value is None or value is False:
        return {}
    if hasattr(field.field.widget, "decompress"):
        pieces = value if isinstance(value, list) else field.field.widget.decompress(value)
        parts = zip(field.field.widget.widgets, pieces, strict=True)
        return {f"{field.html_name}_{n}": part.format_value(piece) for n, (part, piece) in enumerate(parts)}
    return {field.html_name: "on" if value is True else str(value)}


def told(response: Any) -> list[tuple[str, str, str, str, bool]]:
    changes = response.context["answer"].meanwhile
    return [(change.label, change.before, change.after, change.who, change.clashes) for change in changes]


def test_the_second_is_told_and_what_they_typed_is_still_there() -> None:
    tenant = make.tenant(name_en="Harbor")
    first, _lam = browser(name="Lam")
    second, _ng = browser(name="Ng")
    of_first, of_second = filled_in(first.get(page_of(tenant))), filled_in(second.get(page_of(tenant)))
    assert first.post(page_of(tenant), of_first | {"name_en": "Harbour"}).status_code == 302
    answer = second.post(page_of(tenant), of_second | {"name_en": "Haven"})
    assert told(answer) == [("Name in English", "Harbor", "Harbour", "Lam", True)]
    page = answer.content.decode()
    assert "was “Harbor” and is now “Harbour”" in page
    assert re.search(r"Changed by Lam, \d+ \w+ \d{4}", page)
    assert 'value="Haven"' in page
    assert Tenant.objects.get().name_en == "Harbour"
    again = second.post(page_of(tenant), filled_in(answer))
    assert (again.status_code, Tenant.objects.get().name_en) == (302, "Haven")


def test_a_change_of_another_field_is_told_too_and_is_not_put_back() -> None:
    tenant = make.tenant(name_en="Harbour")
    first, _lam = browser(name="Lam")
    second, _ng = browser()
    of_second = filled_in(second.get(page_of(tenant)))
    first.post(
        page_of(tenant),
        filled_in(first.get(page_of(tenant))) | {"notes": "Pays late", "agreement_until_on": "2030-01-31"},
    )
    answer = second.post(page_of(tenant), of_second | {"name_en": "Haven"})
    assert told(answer) == [
        ("Agreement until", "–", "31 Jan 2030", "Lam", False),
        ("Notes", "–", "Pays late", "Lam", False),
    ]
    second.post(page_of(tenant), filled_in(answer))
    stands = Tenant.objects.get()
    assert (stands.name_en, stands.notes, str(stands.agreement_until_on)) == ("Haven", "Pays late", "2030-01-31")


def test_a_verb_that_moved_the_record_meanwhile_is_told() -> None:
    tenant = make.tenant()
    client, _user = browser()
    typed = filled_in(client.get(page_of(tenant)))
    tenants.suspend_tenant(tenant=tenant, reason="Fees", by=None, at=timezone.now())
    answer = client.post(page_of(tenant), typed | {"name_en": "Haven"})
    assert told(answer) == [("Standing", "Active", "Suspended", "a command of the operator", False)]
    assert client.post(page_of(tenant), filled_in(answer)).status_code == 302


def test_what_was_typed_before_the_record_was_merged_is_not_lost() -> None:
    tenant, keep = make.tenant(), make.tenant("keep", name_en="Kept")
    client, _user = browser()
    typed = filled_in(client.get(page_of(tenant)))
    merging_tenants.merge_tenants(keep=keep, gone=tenant, reason="-", by=None, at=timezone.now())
    answer = client.post(page_of(tenant), typed | {"name_en": "Haven"})
    assert [change[:3] for change in told(answer)] == [
        ("Standing", "Active", "Closed"),
        ("Merged into", "–", "Kept"),
    ]
    refused = client.post(page_of(tenant), filled_in(answer))
    assert (refused.status_code, 'value="Haven"' in refused.content.decode()) == (200, True)
    assert "was merged into keep and is kept as it was" in refused.content.decode()


def test_the_same_form_sent_twice_by_one_person_is_no_conflict() -> None:
    tenant = make.tenant(name_en="Harbor")
    client, _user = browser()
    typed = filled_in(client.get(page_of(tenant))) | {"name_en": "Harbour"}
    assert [client.post(page_of(tenant), typed).status_code for _ in range(2)] == [302, 302]


def test_a_form_that_nobody_else_touched_is_saved_at_once() -> None:
    tenant = make.tenant(name_en="Harbor")
    other = make.tenant(name_en="Other")
    client, _user = browser()
    typed = filled_in(client.get(page_of(tenant)))
    tenants.change_tenant(tenant=other, name_en="Another", by=None, at=timezone.now())
    assert client.post(page_of(tenant), typed | {"name_en": "Harbour"}).status_code == 302
    assert Tenant.objects.get(pk=tenant.pk).name_en == "Harbour"


@pytest.mark.parametrize("snapshot", ["forged", "of another row"])
def test_a_snapshot_that_cannot_be_trusted_is_not_saved_at_first(snapshot: str) -> None:
    tenant = make.tenant(name_en="Harbor")
    client, _user = browser()
    typed = filled_in(client.get(page_of(tenant)))
    foreign = filled_in(client.get(page_of(make.tenant())))[SNAPSHOT]
    given = typed | {"name_en": "Harbour", SNAPSHOT: foreign if snapshot == "of another row" else "e30:1:x"}
    answer = client.post(page_of(tenant), given)
    assert "Nothing is saved yet" in answer.content.decode()
    assert Tenant.objects.get(pk=tenant.pk).name_en == "Harbor"
    assert client.post(page_of(tenant), filled_in(answer)).status_code == 302
    assert Tenant.objects.get(pk=tenant.pk).name_en == "Harbour"


def test_hostile_text_of_the_other_person_is_shown_as_text() -> None:
    tenant = make.tenant(name_en="Harbor")
    client, _user = browser()
    typed = filled_in(client.get(page_of(tenant)))
    tenants.change_tenant(tenant=tenant, name_en="<script>alert(1)</script>", by=None, at=timezone.now())
    page = client.post(page_of(tenant), typed | {"notes": "-"}).content.decode()
    assert ("<script>alert(1)" in page, "&lt;script&gt;alert(1)" in page) == (False, True)


def test_contacts_that_another_person_added_changed_and_ended_are_told_and_stay() -> None:
    tenant, at = make.tenant(), timezone.now()
    ada, grace = (
        contacts.add_contact(tenant=tenant, name=name, email=f"{name.lower()}@example.org", by=None, at=at)
        for name in ("Ada", "Grace")
    )
    client, _user = browser()
    typed = filled_in(client.get(page_of(tenant)))
    lam = make.staff(R.TENANT_OFFICER, name="Lam")
    contacts.change_contact(contact=ada, phone="2345", by=lam, at=at)
    contacts.end_contact(contact=grace, by=lam, at=at)
    contacts.add_contact(tenant=tenant, name="Mary", phone="1234", by=lam, at=at)
    answer = client.post(page_of(tenant), typed | {"name_en": "Haven", "contacts-0-role": "Dean"})
    assert told(answer) == [
        ("Contact", "Ada, ada@example.org", "Ada, ada@example.org, 2345", "Lam", False),
        ("Contact", "Grace, grace@example.org", "–", "Lam", False),
        ("Contact", "–", "Mary, 1234", "Lam", False),
    ]
    assert client.post(page_of(tenant), filled_in(answer)).status_code == 302
    stand = TenantContact.objects.current().order_by("name").values_list("name", "role", "phone")
    assert list(stand) == [("Ada", "Dean", "2345"), ("Mary", "", "1234")]


def test_capacity_that_another_person_mended_is_told_and_is_not_put_back() -> None:
    pool = make.pool(gpus=64)
    row = pool.capacities.get()
    first, _lam = browser(R.ADMINISTRATOR, "Lam")
    second, _ng = browser(R.ADMINISTRATOR)
    of_first, of_second = filled_in(first.get(page_of(pool))), filled_in(second.get(page_of(pool)))
    assert first.post(page_of(pool), of_first | {"capacities-0-note": "From the delivery note"}).status_code == 302
    answer = second.post(page_of(pool), of_second | {"gpu_model": "H900"})
    assert [(change[0], change[3]) for change in told(answer)] == [("Capacity", "Lam")]
    assert second.post(page_of(pool), filled_in(answer)).status_code == 302
    pool.refresh_from_db()
    row.refresh_from_db()
    assert (pool.gpu_model, row.note) == ("H900", "From the delivery note")


def test_instants_that_nobody_touched_stay_as_the_other_person_set_them() -> None:
    at = timezone.now().replace(microsecond=0)
    outage = make.outage(pool=make.pool(), gpus=1, starts_at=at, ends_at=at + timedelta(hours=1))
    first, _lam = browser(R.ADMINISTRATOR, "Lam")
    second, _ng = browser(R.ADMINISTRATOR)
    of_first, of_second = filled_in(first.get(page_of(outage))), filled_in(second.get(page_of(outage)))
    later = of_first | {"ends_at_0": "2031-05-01", "ends_at_1": "10:00:00"}
    assert first.post(page_of(outage), later).status_code == 302
    answer = second.post(page_of(outage), of_second | {"reason": "Cooling"})
    assert [(change[0], change[3], change[4]) for change in told(answer)] == [("Ends at", "Lam", False)]
    assert second.post(page_of(outage), filled_in(answer)).status_code == 302
    stands = Outage.objects.get()
    ends = timezone.localtime(stands.ends_at)
    assert (stands.reason, f"{ends:%Y-%m-%d %H:%M}") == ("Cooling", "2031-05-01 10:00")
