"""People and what they belong to."""

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from centre import members
from centre.models import ClusterUser, Event, Membership, Project, Representative, User
from centre.models.tenants import Standing
from centre.permissions import ProjectRole
from tests import make

pytestmark = pytest.mark.django_db


def test_add_person_keeps_the_address_in_lower_case_and_no_password() -> None:
    person = members.add_person(email=" Ada@Example.ORG ", name="Ada", by=None, at=timezone.now())
    assert User.objects.get().email == "ada@example.org"
    assert not person.has_usable_password()
    assert not person.check_password("")


def test_add_person_refuses_someone_known_whatever_the_capitals() -> None:
    make.person("ada@example.org")
    with pytest.raises(members.AlreadyKnown):
        members.add_person(email="ADA@example.org", by=None, at=timezone.now())


@pytest.mark.parametrize("text", ["", "ada", "ada@", "a@b\nBcc: c@example.org", "a b@example.org"])
def test_email_address_refuses_what_is_none(text: str) -> None:
    with pytest.raises(members.NotAnAddress):
        members.email_address(text)


def test_address_is_one_and_the_same_however_its_domain_was_typed() -> None:
    typed = ("guest@例子.公司", "Guest@XN--fsqu00a.xn--55qx5d", "guest@例子。公司", "ＧＵＥＳＴ@例子.公司")
    assert [members.email_address(text) for text in typed[:3]] == ["guest@xn--fsqu00a.xn--55qx5d"] * 3
    for text in (typed[3], "用戶@例子.公司", "José@example.org", "\u212aate@example.org"):
        with pytest.raises(members.NotAnAddress, match="only Latin letters without accents"):
            members.email_address(text)


@pytest.mark.parametrize(
    "text", ["guest@例" + "子" * 80 + ".公司", "guest@例..公司", "guest@\u202e例.公司", "@例子.公司"]
)
def test_domain_that_cannot_be_written_in_ascii_is_refused_in_words(text: str) -> None:
    with pytest.raises(members.NotAnAddress, match="is not an e-mail address"):
        members.email_address(text)


def test_choosing_a_language_is_recorded_once_and_only_a_known_one_is_taken() -> None:
    user, at = make.person(), timezone.now()
    for _twice in range(2):
        members.choose_language(user=user, language="zh-hant", at=at)
    with pytest.raises(members.NotALanguage, match="Choose one of the languages"):
        members.choose_language(user=user, language="tlh", at=at)
    assert (user.language, User.objects.get(pk=user.pk).language) == ("zh-hant", "zh-hant")
    recorded = Event.objects.filter(act="choose_language").values_list("actor", "object_id", "changes")
    assert list(recorded) == [(user.pk, str(user.pk), {"language": ["en", "zh-hant"]})]


def test_add_member_is_refused_twice_and_leaves_one_row() -> None:
    project, user, at = make.project(), make.person(), timezone.now()
    members.add_member(project=project, user=user, role=ProjectRole.MEMBER, by=None, at=at)
    with pytest.raises(members.AlreadyMember):
        members.add_member(project=project, user=user, role=ProjectRole.LEAD, by=None, at=at)
    assert list(Membership.objects.values_list("role", flat=True)) == ["member"]
    assert Event.objects.filter(act="add_member").count() == 1


def test_add_member_refuses_a_closed_account_and_a_closed_project() -> None:
    user, at = make.person(), timezone.now()
    user.is_active = False
    with pytest.raises(members.AccountClosed):
        members.add_member(project=make.project(), user=user, role=ProjectRole.MEMBER, by=None, at=at)
    closed = make.project()
    closed.standing = Standing.CLOSED
    with pytest.raises(members.ProjectClosed):
        members.add_member(project=closed, user=make.person(), role=ProjectRole.MEMBER, by=None, at=at)
    assert Membership.objects.count() == 0


def test_change_role_ends_one_membership_and_begins_the_next() -> None:
    project, by = make.project("llm"), make.person()
    user, at = make.member(project=project), timezone.now()
    members.change_role(membership=Membership.objects.get(), role=ProjectRole.MANAGER, by=by, at=at)
    rows = Membership.objects.order_by("id").values_list("user", "role", "ended_at", "ended_by")
    assert list(rows) == [(user.pk, "member", at, by.pk), (user.pk, "manager", None, None)]
    event = Event.objects.get(act="change_role")
    assert event.changes == {"project": "llm", "person": user.email, "role": ["member", "manager"]}


def test_change_role_of_an_ended_membership_is_refused() -> None:
    project, at = make.project(), timezone.now()
    make.member(project=project)
    seen, also_seen = Membership.objects.get(), Membership.objects.get()
    members.remove_member(membership=seen, by=None, at=at)
    with pytest.raises(members.NotAMember):
        members.change_role(membership=also_seen, role=ProjectRole.LEAD, by=None, at=at)
    assert Membership.objects.current().count() == 0


def test_removed_member_sees_the_project_no_more() -> None:
    project = make.project()
    user = make.member(project=project)
    assert list(Project.objects.visible_to(user)) == [project]
    members.remove_member(membership=Membership.objects.get(), by=None, at=timezone.now())
    assert list(Project.objects.visible_to(user)) == []


def test_project_keeps_a_lead() -> None:
    project, at = make.project(), timezone.now()
    make.member(project=project, role=ProjectRole.LEAD)
    lead = Membership.objects.get()
    with pytest.raises(members.LastLead):
        members.remove_member(membership=lead, by=None, at=at)
    with pytest.raises(members.LastLead):
        members.change_role(membership=lead, role=ProjectRole.VIEWER, by=None, at=at)
    make.member(project=project, role=ProjectRole.LEAD)
    members.remove_member(membership=lead, by=None, at=at)
    assert Membership.objects.current().count() == 1


def test_cluster_user_name_belongs_to_one_person() -> None:
    cluster, at = make.cluster(), timezone.now()
    first, second = make.person(), make.person()
    members.add_cluster_user(cluster=cluster, name="ada", user=first, by=None, at=at)
    with pytest.raises(members.NameTaken):
        members.add_cluster_user(cluster=cluster, name="ada", user=second, by=None, at=at)
    members.add_cluster_user(cluster=make.cluster(), name="ada", user=second, by=None, at=at)
    assert list(ClusterUser.objects.order_by("id").values_list("user", flat=True)) == [first.pk, second.pk]


def test_cluster_user_name_is_not_too_long() -> None:
    with pytest.raises(ValidationError):
        members.add_cluster_user(cluster=make.cluster(), name="a" * 129, user=make.person(), by=None, at=timezone.now())


def test_representative_sees_the_tenant_until_it_ends() -> None:
    project, user, at = make.project(), make.person(), timezone.now()
    representative = members.represent(tenant=project.tenant, user=user, by=None, at=at)
    with pytest.raises(members.AlreadyRepresentative):
        members.represent(tenant=project.tenant, user=user, by=None, at=at)
    assert list(Project.objects.visible_to(user)) == [project]
    members.end_representation(representative=representative, by=None, at=at)
    with pytest.raises(members.NotARepresentative):
        members.end_representation(representative=Representative.objects.get(), by=None, at=at)
    assert list(Project.objects.visible_to(user)) == []
