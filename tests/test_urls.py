"""A walk over every URL of the resolver, by GET and by POST: who is turned away, and how.

| who                                          | where                         | answer                       |
|----------------------------------------------|-------------------------------|------------------------------|
| nobody signed in                             | `PUBLIC`                      | not sent to sign in          |
| nobody signed in                             | everywhere else               | sent to sign in              |
| signed in, belongs to nothing                | `OWN`: about the person       | opens, or leads on           |
| signed in, belongs to nothing; another's lead| everywhere else               | 404                          |
| not staff                                    | everything under `/admin/`    | 404                          |
| staff                                        | an admin row that is missing  | 404                          |
| staff without the permission                 | that model in the admin       | 403 (see the admin's tests)  |

A page that takes one method only may answer 405 to the other. New URLs are walked without being listed: what stands in
an address is taken from `ARGUMENTS` by its name, and from the model where the address is a row's page in the admin.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.urls.resolvers import RegexPattern, RoutePattern
from django.utils import timezone

from allocations.models import (
    Allocation,
    ChangeRequest,
    DrawingAccount,
    ImportToken,
    JobRun,
    Notice,
    OnboardingFile,
    OnboardingUpload,
    PeriodEndRule,
    QuarantinedRecord,
    RunCharge,
    Statement,
    TakeBackExemption,
    TakeBackRule,
    TakeBackWarning,
    UsageImport,
)
from centre import invitations, registry
from centre.models import Event, Letter, User
from centre.permissions import ProjectRole, StaffRole
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]  # rights do not depend on the database: once is enough

PUBLIC = {
    "front",
    "health",
    "set_language",
    "account_login",
    "account_logout",
    "account_inactive",
    "account_reset_password",
    "account_reset_password_done",
    "account_reset_password_from_key",
    "account_reset_password_from_key_done",
    "hand_over_usage",  # by token
    "handed_over_usage",
    "invitation",  # by the link of a letter
}
OWN = {"after_sign_in", "projects", "notices", "account_change_password", "account_set_password"}
NO_ROW = "no-such-row"


@dataclass(frozen=True)
class Address:
    """One URL of the resolver: its full name and a path with real arguments."""

    name: str
    path: str


@pytest.fixture
def world() -> dict[str, str]:
    """Rows of somebody else, by the name of the argument that they stand for; one of each model of two apps."""
    make.centre()
    project = make.project("other-project")
    make.representative(tenant=project.tenant)
    lead = make.member(project=project, role=ProjectRole.LEAD, user=make.person("other-lead@example.org"))
    pool = make.pool("other-pool")
    allocation = make.allocation(project=project, pool=pool)
    make.member(project=project, cluster_user="somebody")
    now = timezone.now()
    make.outage(pool=pool, gpus=1, starts_at=now, ends_at=now + timedelta(hours=1))
    ChangeRequest.objects.create(
        project=project,
        allocation=allocation,
        kind="top_up",
        asked_seconds=3600,
        reason="-",
        asked_by=lead,
        asked_at=now,
    )
    Notice.objects.create(allocation=allocation, user=lead, kind="used_share", threshold=80, due_at=now)
    usage_import = UsageImport.objects.create(
        cluster=pool.cluster, file_name="export.txt", time_zone="UTC", received_at=now
    )
    QuarantinedRecord.objects.create(usage_import=usage_import, line=1, text="?", reason="-")
    ImportToken.objects.create(cluster=pool.cluster, label="-", prefix="usage_", digest="-", made_by=lead, made_at=now)
    upload = OnboardingUpload.objects.create(uploaded_by=lead, uploaded_at=now, looked_at=now, key="-", digest="-")
    OnboardingFile.objects.create(
        upload=upload,
        kind="tenants",
        name="-",
        sha256="-",
        size_bytes=5,
        content=b"code,name_en,name_zh_hant,name_zh_hans,category",
    )
    run = JobRun.objects.create(
        cluster=pool.cluster,
        job_id="17",
        job_id_raw=17,
        submit_at=now,
        first_import=usage_import,
        usage_import=usage_import,
        state="COMPLETED",
        account=project.code,
        finished=True,
        as_of=now,
        digest="-",
    )
    entry = allocation.entries.get()
    RunCharge.objects.create(run=run, allocation=allocation, day=make.today(), seconds=1, entry=entry, recorded_at=now)
    rules_of_unused_time(allocation, by=lead)
    told: dict[str, Any] = {"last_entry": 0, "as_of": now, "issued_at": now, "content": "{}", "digest": "-"}
    Statement.objects.create(project=project, month=make.today().replace(day=1), sequence=1, **told)
    Letter.objects.create(user=lead, subject="-", sent_at=now)
    invitations.invite_to_project(project=project, email="guest@example.org", role=ProjectRole.MEMBER, by=lead, at=now)
    Event.objects.create(at=now, actor=lead, act="look", object_type="-", object_id="1", object_name="-")
    return {
        "code": project.code,
        "tenant": project.tenant.code,
        "name": next(iter(registry.reports)),
        "kind": "tenants",
        "month": f"{make.today():%Y-%m}",
        "app_label": "centre",
        "uidb36": "1",
        "key": "never-sent",
        "token": "never-sent",
        "url": "no-such-page",
        "pk": str(entry.pk),
        "id": str(entry.pk),
    }


def rules_of_unused_time(allocation: Allocation, *, by: User) -> None:
    """A rule of each kind that waits for its approval, a warning, an exemption and a further Slurm account."""
    now, today = timezone.now(), make.today()
    asked: dict[str, Any] = {"pool": allocation.pool, "from_on": today, "reason": "-", "asked_by": by, "asked_at": now}
    PeriodEndRule.objects.create(carry_over="none", **asked)
    TakeBackWarning.objects.create(
        allocation=allocation,
        rule=TakeBackRule.objects.create(funding=allocation.funding, **asked),
        checked_on=today,
        used_seconds=0,
        planned_seconds=1,
        warned_at=now,
        due_on=today,
    )
    TakeBackExemption.objects.create(allocation=allocation, reason="-", by=by, from_at=now)
    days = {"from_on": allocation.start_on, "until_on": allocation.end_on}
    DrawingAccount.objects.create(
        allocation=allocation, pool=allocation.pool, account="guest", reason="-", made_by=by, made_at=now, **days
    )


def patterns(resolver: URLResolver, before: str = "", space: str = "") -> Iterator[tuple[str, str]]:
    """Every (full name, route) below a resolver; a route keeps its placeholders as `<name>`."""
    for item in resolver.url_patterns:
        route = before + placeholders(item.pattern)
        if isinstance(item, URLResolver):
            below = f"{space}{item.namespace}:" if item.namespace else space
            yield from patterns(item, route, below)
        else:
            assert isinstance(item, URLPattern)
            yield f"{space}{item.name or ''}", route


def placeholders(pattern: Any) -> str:
    """The route of a pattern with `<name>` for what varies, however it was written."""
    if isinstance(pattern, RoutePattern):
        return re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", str(pattern))
    assert isinstance(pattern, RegexPattern)
    return re.sub(r"\(\?P<(\w+)>[^()]*\)", r"<\1>", str(pattern)).lstrip("^").removesuffix("$")


def addresses(world: dict[str, str]) -> list[Address]:
    """Every URL with arguments that name real rows; an argument that the world does not know fails the test."""
    found = []
    for name, route in patterns(get_resolver()):
        of_admin = re.match(r"admin/(\w+)/(\w+)/", route)
        known = dict(world)
        if of_admin and of_admin[1] in apps.app_configs and "<object_id>" in route:
            row = apps.get_model(of_admin[1], of_admin[2])._default_manager.first()
            known["object_id"] = str(row.pk) if row is not None else NO_ROW
        unknown = set(re.findall(r"<(\w+)>", route)) - known.keys()
        assert not unknown, f"say in the world of this test what stands for {unknown} in /{route}"
        path = route
        for argument, value in known.items():
            path = path.replace(f"<{argument}>", value)
        found.append(Address(name, f"/{path}"))
    return found


def answers(client: Client, address: Address) -> Iterator[tuple[str, Any]]:
    yield f"GET {address.path}", client.get(address.path)
    yield f"POST {address.path}", client.post(address.path, {"language": "en"})


def sent_to_sign_in(response: Any) -> bool:
    return bool(response.status_code == 302 and response.url.startswith(reverse(settings.LOGIN_URL)))


def test_every_public_url_is_in_the_list_and_every_other_asks_to_sign_in(world: dict[str, str], client: Client) -> None:
    walked = addresses(world)
    wrong = [
        (which, response.status_code)
        for address in walked
        for which, response in answers(client, address)
        if sent_to_sign_in(response) is (address.name in PUBLIC - {"account_logout"})
        and address.name != "account_logout"
    ]
    assert wrong == []
    assert {address.name for address in walked} >= PUBLIC | OWN


def test_a_stranger_finds_nothing_but_their_own_pages(world: dict[str, str], client: Client) -> None:
    stranger = make.person()
    wrong = []
    for address in addresses(world):
        if address.name in PUBLIC:
            continue
        client.force_login(stranger)
        for which, response in answers(client, address):
            expected = {200, 302, 405} if address.name in OWN else {404, 405}
            if response.status_code not in expected:
                wrong.append((which, response.status_code))
    assert wrong == []


def test_the_lead_of_another_project_finds_nothing_of_this_one(world: dict[str, str], client: Client) -> None:
    lead = make.member(project=make.project("own-project"), role=ProjectRole.LEAD)
    assert own_page(client, lead, "own-project") == 200  # the control: what is theirs opens
    wrong = []
    for address in addresses(world):
        if address.name in PUBLIC | OWN:
            continue
        for which, response in answers(client, address):
            if response.status_code not in {404, 405}:
                wrong.append((which, response.status_code))
    assert wrong == []


def own_page(client: Client, user: User, code: str) -> int:
    client.force_login(user)
    return client.get(reverse("project", args=[code])).status_code


def test_whoever_is_not_staff_gets_404_everywhere_in_the_admin(world: dict[str, str], client: Client) -> None:
    lead = User.objects.get(email="other-lead@example.org")
    client.force_login(lead)
    under_admin = [address for address in addresses(world) if address.path.startswith("/admin/")]
    assert len(under_admin) > 100
    wrong = [
        (which, response.status_code)
        for address in under_admin
        for which, response in answers(client, address)
        if response.status_code != 404
    ]
    assert wrong == []


def test_an_admin_row_that_is_missing_is_404_for_staff(world: dict[str, str], client: Client) -> None:
    client.force_login(make.staff(StaffRole.AUDITOR))
    wrong = []
    rows = 0
    for name, route in patterns(get_resolver()):
        if "<object_id>" in route and not name.endswith("_delete"):
            rows += 1
            for missing in ("999999", "abc"):
                path = "/" + route.replace("<object_id>", missing)
                status = client.get(path, follow=True).status_code  # the bare number leads on to the page
                if status != 404:
                    wrong.append((path, status))
    assert rows > 50
    assert wrong == []


def test_the_world_has_a_row_of_every_model_of_the_first_two_apps(world: dict[str, str]) -> None:
    """Or the walk would only see pages of rows that do not exist."""
    from django.contrib import admin

    registered: list[type[models.Model]] = [
        model for model in admin.site._registry if model._meta.app_label in ("centre", "allocations")
    ]
    make.staff(StaffRole.AUDITOR)
    assert [model.__name__ for model in registered if not model._default_manager.exists()] == []
