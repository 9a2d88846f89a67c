"""Two records of one tenant become one: everything goes along, the code keeps leading somewhere, nothing is lost."""

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from centre import contacts, merging_tenants, tenants
from centre.models import Event, Project, Representative, Tenant, TenantContact, User
from centre.models.tenants import Standing, TenantCategory
from centre.permissions import StaffRole
from subsidies.models import Application
from tests import make
from tests.subsidies import cases

pytestmark = pytest.mark.django_db


def merge(*, keep: Tenant, gone: Tenant, by: User | None = None, reason: str = "twice") -> Tenant:
    return merging_tenants.merge_tenants(keep=keep, gone=gone, reason=reason, by=by, at=timezone.now())


def contact(tenant: Tenant, name: str, email: str) -> TenantContact:
    return contacts.add_contact(tenant=tenant, name=name, email=email, by=None, at=timezone.now())


def changes_of(row: object, act: str) -> list[object]:
    events = Event.objects.filter(act=act, object_id=str(row.pk))  # type: ignore[attr-defined]
    return list(events.values_list("changes", flat=True))


@pytest.fixture
def pair() -> tuple[Tenant, Tenant]:
    """The record to keep, and the one that goes with a project, a contact, a representative and an application."""
    keep, gone = make.tenant("harbour-u", name_en="Harbour University"), make.tenant("hu", name_en="Harbour Univ")
    make.project("llm", tenant=gone)
    contact(gone, "Ada", "ada@example.org")
    make.representative(tenant=gone, user=make.person("signs@example.org"))
    application = cases.application()
    Application.objects.filter(pk=application.pk).update(tenant=gone)
    return keep, gone


def test_everything_of_the_record_that_goes_belongs_to_the_other(pair: tuple[Tenant, Tenant]) -> None:
    keep, gone = pair
    merge(keep=keep, gone=gone)
    moved = [
        Project.objects.get(code="llm").tenant,
        TenantContact.objects.get().tenant,
        Representative.objects.get().tenant,
        Application.objects.get().tenant,
    ]
    assert moved == [keep] * 4
    left = Tenant.objects.get(code="hu")
    assert (left.standing, left.merged_into, left.name_en) == (Standing.CLOSED, keep, "Harbour Univ")


def test_a_merge_is_told_on_both_records_and_on_each_that_moved(pair: tuple[Tenant, Tenant]) -> None:
    keep, gone = pair
    officer = make.staff(StaffRole.TENANT_OFFICER)
    merge(keep=keep, gone=gone, by=officer)
    moved = "representatives 1, contacts 1, project 1, application 1"
    assert changes_of(gone, "merge_into_tenant") == [
        {"merged_into": [None, "harbour-u"], "standing": ["active", "closed"], "moved": moved}
    ]
    assert changes_of(keep, "take_in_tenant") == [{"merged_record": "hu", "moved": moved}]
    told = Event.objects.filter(act="move_to_tenant").order_by("object_type").values_list("object_type", "changes")
    assert list(told) == [
        ("centre.project", {"tenant": ["hu", "harbour-u"]}),
        ("centre.representative", {"tenant": ["hu", "harbour-u"], "person": "signs@example.org"}),
        ("subsidies.application", {"tenant": ["hu", "harbour-u"]}),
    ]


def test_who_may_sign_for_both_records_signs_once_afterwards() -> None:
    keep, gone, both = make.tenant(), make.tenant(), make.person()
    make.representative(tenant=keep, user=both)
    make.representative(tenant=gone, user=both)
    other = make.representative(tenant=gone)
    assert merging_tenants.on_both(keep, gone) == 1
    merge(keep=keep, gone=gone)
    today = Representative.objects.filter(ended_at__isnull=True).order_by("user_id")
    assert list(today.values_list("user", "tenant")) == [(both.pk, keep.pk), (other.pk, keep.pk)]
    assert Representative.objects.filter(tenant=keep, ended_at__isnull=False).get().user == both


def test_a_contact_known_to_both_records_stands_once_afterwards() -> None:
    keep, gone = make.tenant(), make.tenant()
    contact(keep, "Ada", "ada@example.org")
    contact(gone, "Ada L.", "Ada@example.org")
    contact(gone, "Grace", "grace@example.org")
    merge(keep=keep, gone=gone)
    current = TenantContact.objects.current().order_by("name").values_list("name", "tenant")
    assert list(current) == [("Ada", keep.pk), ("Grace", keep.pk)]
    assert TenantContact.objects.filter(tenant=keep).count() == 3


def test_a_record_merged_earlier_leads_on_to_the_last() -> None:
    first, second, last = make.tenant("first"), make.tenant("second"), make.tenant("last")
    merge(keep=second, gone=first)
    merge(keep=last, gone=second)
    assert set(Tenant.objects.filter(merged_into=last)) == {first, second}
    assert changes_of(first, "lead_to_other_tenant") == [{"merged_into": ["second", "last"]}]


def test_the_same_merge_twice_acts_once_and_another_person_is_told(pair: tuple[Tenant, Tenant]) -> None:
    keep, gone = pair
    officer, colleague = make.staff(StaffRole.TENANT_OFFICER, name="Lam"), make.staff(StaffRole.TENANT_OFFICER)
    assert merge(keep=keep, gone=gone, by=officer) == keep
    assert merge(keep=keep, gone=gone, by=officer) == keep
    with pytest.raises(merging_tenants.AlreadyMerged, match=r"hu was merged into Harbour University .* by Lam"):
        merge(keep=keep, gone=gone, by=colleague)
    with pytest.raises(merging_tenants.AlreadyMerged):
        merge(keep=gone, gone=make.tenant(), by=officer)
    assert Event.objects.filter(act="merge_into_tenant").count() == 1


def test_a_record_is_not_merged_into_itself_or_an_open_one_into_a_closed_one() -> None:
    closed, active = make.tenant(), make.tenant()
    tenants.close_tenant(tenant=closed, reason="-", by=None, at=timezone.now())
    with pytest.raises(merging_tenants.SameRecord):
        merge(keep=active, gone=active)
    with pytest.raises(merging_tenants.KeptIsClosed):
        merge(keep=closed, gone=active)
    assert merge(keep=active, gone=closed) == active


def test_a_merged_record_is_changed_no_more_and_gets_no_project(pair: tuple[Tenant, Tenant]) -> None:
    keep, gone = pair
    merge(keep=keep, gone=gone)
    merged = Tenant.objects.get(pk=gone.pk)
    with pytest.raises(tenants.MergedAway, match="harbour-u"):
        tenants.change_tenant(tenant=merged, name_en="Other", by=None, at=timezone.now())
    with pytest.raises(tenants.TenantNotActive):  # also for who still holds the row as it was
        tenants.register_project(tenant=gone, code="late", title="Late", by=None, at=timezone.now())


@pytest.mark.parametrize("wrong", [{"standing": "active"}, {"merged_into": "itself"}])
def test_the_database_refuses_a_merged_record_that_goes_on_or_leads_to_itself(wrong: dict[str, str]) -> None:
    keep, gone = make.tenant(), make.tenant()
    merge(keep=keep, gone=gone)
    change = {"standing": "active"} if "standing" in wrong else {"merged_into": gone}
    with pytest.raises(IntegrityError, match="merged_tenant_is_closed_and_leads_to_another"), transaction.atomic():
        Tenant.objects.filter(pk=gone.pk).update(**change)


def test_whatever_names_a_tenant_goes_along() -> None:
    """Or it would be left behind: a new kind of row that names a tenant has to be in `registry.tenant_records`."""
    naming = {relation.related_model for relation in Tenant._meta.related_objects}
    moved = {Representative, TenantContact, Tenant, *(kind.model for kind in merging_tenants.kinds())}
    assert naming == moved


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"name_en": "Harbour University"}, {"name_en": "University, Harbour"}, True),
        ({"name_en": "Harbour University"}, {"name_en": "Quarry Bay Pumps"}, False),
        ({"name_en": "HU", "name_zh_hant": "海港大學"}, {"name_en": "Xyz Lab", "name_zh_hant": "海港大學"}, True),
    ],
)
def test_names_with_little_in_common_are_warned_of(one: dict[str, str], other: dict[str, str], *, alike: bool) -> None:
    warned = merging_tenants.warnings(make.tenant(**one), make.tenant(**other))  # type: ignore[arg-type]
    assert ([line for line in warned if line.startswith("The names")] == []) is alike


def test_differing_numbers_and_categories_are_warned_of() -> None:
    keep = make.tenant(name_en="Harbour University")
    gone = make.tenant(name_en="Harbour University", category=TenantCategory.ENTERPRISE)
    for row, number in ((keep, "12 34"), (gone, "1234")):
        tenants.change_tenant(tenant=row, registration_number=number, by=None, at=timezone.now())
    assert merging_tenants.warnings(keep, gone) == ["The categories differ; the one of the record that is kept stays."]
    tenants.change_tenant(tenant=gone, registration_number="99", by=None, at=timezone.now())
    assert "The registration numbers differ." in merging_tenants.warnings(keep, gone)


# ---------------------------------------------------------------------------------------------- the page


def merge_url(tenant: Tenant) -> str:
    return reverse("admin:centre_tenant_merge", args=[tenant.pk])


def test_the_page_lists_what_would_move_before_anything_does(client: Client, pair: tuple[Tenant, Tenant]) -> None:
    keep, gone = pair
    client.force_login(make.staff(StaffRole.TENANT_OFFICER))
    assert "llm: Project" in client.get(merge_url(gone)).content.decode()
    given = {"keep": keep.pk, "reason": "Registered twice"}
    shown = client.post(merge_url(gone), given)
    page = shown.content.decode()
    for words in ("Harbour Univ (hu) goes, Harbour University (harbour-u) stays", "1: Ada", "a merge cannot be undone"):
        assert words in page, words
    assert Tenant.objects.get(pk=gone.pk).merged_into is None
    done = client.post(merge_url(gone), given | {"act_step": "confirmed"})
    assert (done.status_code, done["Location"]) == (302, reverse("admin:centre_tenant_change", args=[keep.pk]))
    again = client.post(merge_url(gone), given | {"act_step": "confirmed"})
    assert (again.status_code, Event.objects.filter(act="take_in_tenant").count()) == (302, 1)


def test_the_second_of_two_who_merge_is_told_and_nothing_moves_twice(
    client: Client, pair: tuple[Tenant, Tenant]
) -> None:
    keep, gone = pair
    merge(keep=keep, gone=gone, by=make.staff(StaffRole.TENANT_OFFICER, name="Lam"))
    client.force_login(make.staff(StaffRole.TENANT_OFFICER))
    given = {"keep": keep.pk, "reason": "Registered twice", "act_step": "confirmed"}
    page = client.post(merge_url(gone), given).content.decode()
    assert "hu was merged into Harbour University (harbour-u) by Lam" in page


def test_the_code_of_a_merged_record_leads_to_the_one_that_goes_on(client: Client, pair: tuple[Tenant, Tenant]) -> None:
    keep, gone = pair
    merge(keep=keep, gone=gone)
    client.force_login(make.staff(StaffRole.AUDITOR))
    listed = client.get(reverse("admin:centre_tenant_changelist"), {"q": "hu"}).context["cl"].result_list
    assert [row.code for row in listed] == ["harbour-u", "hu"]
    page = client.get(reverse("admin:centre_tenant_change", args=[gone.pk])).content.decode()
    assert "hu was merged into Harbour University (harbour-u)" in page
    assert reverse("admin:centre_tenant_change", args=[keep.pk]) in page
    assert ">hu<" in client.get(reverse("admin:centre_tenant_change", args=[keep.pk])).content.decode()


def test_records_of_one_name_are_told_apart_where_one_is_chosen(client: Client) -> None:
    same, gone = make.tenant("lru", name_en="Lion Rock"), make.tenant("lion-rock", name_en="Lion Rock")
    earlier = make.tenant("old", name_en="Lion Rock")
    merge(keep=same, gone=earlier)
    Tenant.objects.filter(pk=same.pk).update(registration_number="INV-7", standing="suspended")
    client.force_login(make.staff(StaffRole.TENANT_OFFICER))
    asked = {"app_label": "centre", "model_name": "tenant", "field_name": "merged_into", "term": "lion rock"}
    offered = client.get(reverse("admin:autocomplete"), asked | {"merging": gone.pk}).json()["results"]
    assert [row["text"] for row in offered] == ["Lion Rock (lru) · INV-7 · Suspended"]
    assert f"merging={gone.pk}" in client.get(merge_url(gone)).content.decode()


def test_a_record_that_is_chosen_to_stay_and_to_go_is_refused_before_it_is_confirmed(client: Client) -> None:
    tenant = make.tenant()
    client.force_login(make.staff(StaffRole.TENANT_OFFICER))
    page = client.post(merge_url(tenant), {"keep": tenant.pk, "reason": "twice"})
    assert "This is one and the same record" in page.content.decode()
    assert "confirmation" not in page.context
