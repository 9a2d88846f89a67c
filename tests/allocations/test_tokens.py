"""Import tokens: made once, shown once, kept as a digest, revoked for good."""

from datetime import timedelta

import pytest
from django.core.serializers import serialize
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from allocations.importing.tokens import TokenError, make_token, revoke_token, token_of
from allocations.models import ImportToken
from centre.models import Event
from centre.permissions import StaffRole
from tests import make

pytestmark = pytest.mark.django_db
ADD = reverse("admin:allocations_importtoken_add")


def made(*, label: str = "login1", key: str = "") -> tuple[ImportToken, str]:
    return make_token(cluster=make.cluster(), label=label, by=make.person(), at=timezone.now(), key=key)


def test_token_is_long_recognised_and_kept_as_a_digest_only() -> None:
    token, secret = made()
    assert secret.startswith(token.prefix + "_")
    assert len(bytes.fromhex(secret.removeprefix(token.prefix + "_"))) == 32
    assert token_of(secret, timezone.now()) == token
    kept = serialize("json", [*ImportToken.objects.all(), *Event.objects.all()])
    assert (token.prefix in kept, secret in kept, secret[-20:] in kept) == (True, False, False)
    assert Event.objects.get(act="make_import_token").changes["label"] == [None, "login1"]


def test_two_tokens_differ() -> None:
    assert made()[1] != made()[1]


def test_what_is_no_token_is_nobodys() -> None:
    (token, secret), (_other, other_secret) = made(), made()
    now = timezone.now()
    mixed = f"{token.prefix}_{other_secret.rpartition('_')[2]}"
    for text in ("", "usage_", token.prefix, secret[:-1], secret + "0", secret.upper(), mixed, f" {secret}", "\x00"):
        assert token_of(text, now) is None
    assert ImportToken.objects.filter(last_used_at=None).count() == 2
    assert token_of(secret, now) == token


def test_revoked_token_is_nobodys_and_is_revoked_once() -> None:
    token, secret = made()
    by, now = make.person(), timezone.now()
    revoke_token(token=token, by=by, at=now, reason="The disk was sold.")
    assert token_of(secret, now) is None
    assert (token.revoked_by, token.revoked_at) == (by, now)
    with pytest.raises(TokenError, match="revoked already"):
        revoke_token(token=token, by=make.person(), at=now, reason="again")
    event = Event.objects.get(act="revoke_import_token")
    assert (event.reason, event.actor) == ("The disk was sold.", by)


def test_use_is_noted_at_most_once_a_minute() -> None:
    token, secret = made()
    first = timezone.now()
    for seconds, noted in ((0, 0), (59, 0), (60, 60), (100, 60), (130, 130)):
        assert token_of(secret, first + timedelta(seconds=seconds)) == token
        token.refresh_from_db()
        assert token.last_used_at == first + timedelta(seconds=noted)


def test_form_that_is_sent_twice_makes_one_token(client: Client) -> None:
    cluster = make.cluster()
    client.force_login(make.staff(StaffRole.ADMINISTRATOR))
    form = {"cluster": cluster.pk, "label": "login1", "act_key": "3f0c8a52b1d94e6f8a7b6c5d4e3f2a1b"}
    first, second = (client.post(ADD, form).content.decode() for _ in range(2))
    token = ImportToken.objects.get()
    assert (f"{token.prefix}_" in first, f"{token.prefix}_" in second) == (True, False)
    assert f"revoke {token.prefix}… and begin anew" in second


def test_secret_stands_on_the_answer_and_nowhere_else(client: Client) -> None:
    cluster = make.cluster("hgx")
    client.force_login(make.staff(StaffRole.ADMINISTRATOR))
    answer = client.post(ADD, {"cluster": cluster.pk, "label": "<b>login1</b>"})
    token = ImportToken.objects.get()
    page = answer.content.decode()
    secret = page.partition(token.prefix + "_")[2][:64]
    assert token_of(f"{token.prefix}_{secret}", timezone.now()) == token
    assert (page.count(secret), page.count("&lt;b&gt;login1"), page.count("<b>login1")) == (1, 1, 0)
    assert "no-store" in answer["Cache-Control"]
    beside = str(dict(client.session)) + str(answer.cookies) + serialize("json", Event.objects.all())
    later = (reverse("admin:allocations_importtoken_changelist"), f"/admin/allocations/importtoken/{token.pk}/change/")
    for path in later:
        shown = client.get(path).content.decode()
        assert token.prefix in shown
        beside += shown
    assert secret not in beside


def test_administrator_revokes_with_a_reason(client: Client) -> None:
    token, secret = made()
    client.force_login(make.staff(StaffRole.ADMINISTRATOR))
    path = reverse("admin:allocations_importtoken_revoke", args=[token.pk])
    assert client.get(path).status_code == 200
    assert "This field is required" in client.post(path, {"reason": ""}).content.decode()
    assert token_of(secret, timezone.now()) == token
    done = client.post(path, {"reason": "Not needed any more."}, follow=True)
    assert "The token is no longer accepted." in done.content.decode()
    assert token_of(secret, timezone.now()) is None
    assert "Revoke" not in [str(act.label) for act in done.context["acts"]]


@pytest.mark.parametrize(
    ("role", "looks", "acts"),
    [
        (StaffRole.ADMINISTRATOR, 200, 200),
        (StaffRole.ALLOCATION_OFFICER, 200, 403),
        (StaffRole.AUDITOR, 200, 403),
        (StaffRole.TENANT_OFFICER, 403, 403),
        (StaffRole.MANAGEMENT, 403, 403),
    ],
)
def test_machines_belong_to_administrators(client: Client, role: StaffRole, looks: int, acts: int) -> None:
    token, _secret = made()
    client.force_login(make.staff(role))
    revoke = reverse("admin:allocations_importtoken_revoke", args=[token.pk])
    paths = {reverse("admin:allocations_importtoken_changelist"): looks, ADD: acts, revoke: acts}
    assert {path: client.get(path).status_code for path in paths} == paths


@pytest.mark.parametrize("rows", [1, 3])
def test_list_of_tokens_asks_as_much_for_three_as_for_one(
    client: Client, rows: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(make.staff(StaffRole.AUDITOR))
    for _ in range(rows):
        made()
    with django_assert_num_queries(7):
        client.get(reverse("admin:allocations_importtoken_changelist"))
