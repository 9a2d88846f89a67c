"""Every role at every page and bulk act of the administration: who gets in is written here, line by line.

The pages are found in the code (`admin.site`), never listed by hand: a page without its entry fails and says which
line to write. A line names a model and who may do what there, by the letters of `LETTERS`:

* `see`: its list, a row's page and its history. `search`: finding rows by typing in another form.
* `add`, `change`, `delete`: the forms. GET and POST answer alike, but a row's page opens for all who see it.
* any other word: the act or page whose address is named `<app>_<model>_<word>`, by GET and by POST.
* `[word]`: a bulk act of the list. Pages that are of no row stand with their whole name.

Whoever is not named is refused with 403 (404 for those who are not staff), and nothing is changed by what they send.
A word with nobody, such as `delete:`, is nobody's.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.models import Session
from django.core.exceptions import PermissionDenied
from django.db import connection, models, transaction
from django.http import Http404, QueryDict
from django.test import RequestFactory
from django.urls import URLPattern, resolve, reverse
from django.utils import timezone

from allocations.models import OnboardingFile, OnboardingUpload
from centre import permissions
from centre.models import Project, User
from centre.permissions import ProjectRole, StaffRole
from tests import make
from tests.subsidies import cases
from tests.test_urls import placeholders, world  # noqa: F401  a fixture: rows of the first two apps

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite]  # rights do not depend on the database: once is enough

R = StaffRole
LETTERS = {
    "t": R.TENANT_OFFICER,
    "a": R.ALLOCATION_OFFICER,
    "s": R.SUBSIDY_SECRETARY,
    "m": R.COMMITTEE_MEMBER,
    "c": R.COMMITTEE_CHAIR,
    "f": R.FINANCE_OFFICER,
    "g": R.MANAGEMENT,
    "u": R.AUDITOR,
    "x": R.ADMINISTRATOR,
}
EXPECTED = """
allocations.allocation see:tasfgu search:tasfgu csv:tasfgu add:a change: delete: top_up:a transfer:a take_back:a
    refund:a extend:a end_early:a suspend:a resume:a let_draw:a together_extend:a together_notify:a together_suspend:a
    together_resume:a [extend_chosen]:a [write_to_chosen]:a [suspend_chosen]:a [resume_chosen]:a
allocations.changerequest see:tasfgu search:tasfgu add: change: delete: approve:a decline:a withdraw:a
    together_approve:a [approve_chosen]:a
allocations.drawingaccount see:tasfgu add:a change: delete: allocations_unmatched:taux withdraw:a
allocations.importtoken see:aux search:aux add:x change: delete: revoke:x
allocations.jobrun see:taux search:taux add: change: delete: lines:taux
allocations.ledgerentry see:tasfgu search:tasfgu add: change: delete: reverse:a
allocations.notice see:tasfgu add: change: delete:
allocations.onboardingupload see:tau search:tau add:ta change:tau delete: out:tau apply:ta look_again:ta wrong:tau
    file:tau withdraw:ta
allocations.periodendrule see:tasfgu search:tasfgu add:a change: delete: approve:a refuse:a
allocations.quarantinedrecord see:taux add: change: delete: mend:a set_aside:a [set_chosen_aside]:a
allocations.statement see:tasfgu add: change: delete:
allocations.takebackexemption see:tasfgu add:a change: delete: end:a
allocations.takebackrule see:tasfgu search:tasfgu add:a change: delete: approve:a refuse:a
allocations.takebackwarning see:tasfgu add: change: delete: exempt:a
allocations.usageimport see:taux search:taux add:a change: delete: allocations_import_health:taux try_again:a
    set_aside:a entries:taux file:taux
centre.appointment see:ux add:x change: delete: approve:x withdraw:x end:x
centre.centre see:tasfgux add: change:x delete:
centre.cluster see:tasfgux search:tasfgux add:x change:x delete:
centre.clusteruser see:tasfgux add:t change:t delete:
centre.event see:ux add: change: delete:
centre.gpupool see:tasfgux search:tasfgux add:x change:x delete: map:x end_mapping:x set_capacity:x mend_capacity:x
    cancel_capacity:x
    set_price:fx
centre.invitation see:tasfgux add: change: delete:
centre.letter see:ux add: change: delete:
centre.membership see:tasfgux add: change: delete: role:t remove:t
centre.outage see:tasfgux add:x change:x delete: end:x
centre.project see:tasfgux search:tasfgux add:t change:t delete: suspend:t resume:t close:t add_member:t
centre.representative see:tasfgux add: change: delete: end:t
centre.site see:tasfgux search:tasfgux add:x change:x delete:
centre.tenant see:tasfgux search:tasfgux add:t change:t delete: suspend:t resume:t close:t represent:t merge:t
centre.user see:tasfgux search:tasfgux add:tx change:tx delete: invite:tx close:tx reopen:tx [send_links]:tx
subsidies.application see:tascfgu search:tascfgu add:s change: delete: decide:s refuse:s mend:s withdraw:s
    ineligible:s
subsidies.award see:tascfgu search:tascfgu add: change: delete:
subsidies.decision see:tascfgu search:tascfgu add: change: delete: confirm:c take_back:s
subsidies.fundentry see:ascfgu add: change: delete:
subsidies.scheme see:asmcfgu search:asmcfgu add:f change:f delete:
subsidies.subsidyproject see:tascfgu add: change: delete:
"""
MISSING = {"allocations.jobrun lines"}
"""Pages that are about something that the row of this test lacks: whoever may open them is told so with 404."""
WORDS = {"changelist": "see", "history": "see"}


@dataclass(frozen=True)
class Page:
    """An address of the administration: the model that it stands under, the word of its entry, and a path."""

    model: str
    word: str
    path: str
    kind: str

    @property
    def entry(self) -> str:
        return f"{self.model} {self.word}"


@dataclass
class Found:
    """What one person was answered: the entries that opened, and what was neither open nor properly refused."""

    opened: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)


@pytest.fixture
def rows(world: dict[str, str]) -> None:  # noqa: F811
    """A row of every model, so that no page is missing for want of one."""
    cases.award()
    cases.decision()
    officer = make.staff(R.TENANT_OFFICER)
    upload = OnboardingUpload.objects.create(
        uploaded_by=officer, uploaded_at=timezone.now(), key="k", looked_at=timezone.now(), digest="-"
    )
    for kind in OnboardingFile.Kind.values:
        OnboardingFile.objects.create(
            upload=upload, kind=kind, name="people.csv", sha256="-", size_bytes=0, content=b"", unused=[]
        )


def row_of(model: type[models.Model]) -> models.Model | None:
    """The row that the test acts on; of people one who is no staff, whom more roles may change."""
    if model is User:
        return User.objects.get(email="other-lead@example.org")
    return model._default_manager.order_by("pk").first()


def pages() -> list[Page]:
    """Every address of every model of the administration, and one search for every model that can be searched."""
    found: list[Page] = []
    for model, model_admin in admin.site._registry.items():
        label, row = model._meta.label_lower, row_of(model)
        prefix = label.replace(".", "_")
        for url in model_admin.get_urls():
            assert isinstance(url, URLPattern)
            if not url.name:
                continue  # the bare number, which only leads on to the row's page
            known = {"object_id": str(row.pk if row is not None else 0), "kind": OnboardingFile.Kind.values[0]}
            route = re.sub(r"<(\w+)>", lambda part: known[part[1]], placeholders(url.pattern))  # noqa: B023
            word = url.name.removeprefix(f"{prefix}_")
            path = f"/admin/{label.replace('.', '/')}/{route}"
            found.append(Page(label, WORDS.get(word, word), path, word))
    return [*found, *searches()]


def searches() -> Iterator[Page]:
    """For each model that others point at and that can be found by typing: the address that does so."""
    seen = set()
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            target: Any = column.related_model
            if isinstance(column, models.ForeignKey) and admin.site.is_registered(target) and target not in seen:
                seen.add(target)
                asked = (
                    f"app_label={model._meta.app_label}&model_name={model._meta.model_name}&field_name={column.name}"
                )
                if admin.site.get_model_admin(target).search_fields:
                    path = f"{reverse('admin:autocomplete')}?term=&{asked}"
                    yield Page(target._meta.label_lower, "search", path, "search")


def letter_of(role: StaffRole) -> str:
    return next(letter for letter, each in LETTERS.items() if each is role)


def expected() -> dict[str, str]:
    """The letters of every entry of the table."""
    table = {}
    for line in EXPECTED.replace("\n    ", " ").strip().splitlines():
        label, *entries = line.split()
        for entry in entries:
            word, _colon, letters = entry.rpartition(":")
            assert set(letters) <= set(LETTERS), f"{entry} of {label} names a letter that is no role"
            assert f"{label} {word}" not in table, f"{label} {word} is written twice"
            table[f"{label} {word}"] = letters
    return table


def asked(page: Page, method: str, user: User) -> int:
    """The status of an answer. The page is called as it stands in the URLs, and not drawn: most of the time goes there.

    The roles that the person holds are read once.
    """
    path, _mark, query = page.path.partition("?")
    request: Any = getattr(RequestFactory(), method)(path, QueryDict(query))
    request._dont_enforce_csrf_checks = True
    request.user, request.session = user, {}
    request._messages = FallbackStorage(request)
    request.resolver_match = match = resolve(path)
    try:
        response = match.func(request, *match.args, **match.kwargs)
    except PermissionDenied:
        return 403
    except Http404:
        return 404
    return int(response.status_code)


def undone(page: Page, method: str, user: User) -> int:
    """The status of an answer; what it did is undone, so that one page does not change what the next one meets."""
    with transaction.atomic():
        status = asked(page, method, user)
        transaction.set_rollback(True)
    return status


def walk(wanted: list[Page], user: User) -> Found:
    """Ask for each page, and send to it. What is sent where the person is refused is not undone."""
    found = Found()
    for page in wanted:
        got = undone(page, "get", user)  # a download leaves a trace
        opens = got in {200, 302} or (got == 404 and page.entry in MISSING)
        if not opens and got not in {403, 404}:
            found.odd.append(f"GET {page.path} answered {got}")
        if page.kind in {"changelist", "history", "search"}:  # nothing is sent to these; see the bulk acts below
            note(found, page, page.entry, opens=opens)
            continue
        if page.kind == "change":
            note(found, page, f"{page.model} see", opens=opens)
        sent = undone(page, "post", user) if opens else asked(page, "post", user)
        acts = sent in {200, 302, 405} or (sent == 404 and page.entry in MISSING)
        if not acts and sent not in {403, 404}:
            found.odd.append(f"POST {page.path} answered {sent}")
        if page.kind != "change" and acts is not opens:
            found.odd.append(f"GET {page.path} answered {got}, POST {sent}")
        if acts:
            found.opened.add(page.entry)
    return found


def note(found: Found, page: Page, entry: str, *, opens: bool) -> None:
    """Keep whether a page of an entry opened; all pages of one entry open alike."""
    if entry in (found.refused if opens else found.opened):
        found.odd.append(f"{page.path}: pages of the entry {entry} do not answer alike")
    (found.opened if opens else found.refused).add(entry)


def bulk_acts(user: User) -> Found:
    """Which acts each list offers to the person; one that is not offered is sent all the same."""
    found = Found()
    for model, model_admin in admin.site._registry.items():
        label, row = model._meta.label_lower, row_of(model)
        address = reverse(f"admin:{label.replace('.', '_')}_changelist")
        names = act_names(model_admin)
        request = RequestFactory().get(address)
        request.user = user
        offered = set(model_admin.get_actions(request)) if names and model_admin.has_view_permission(request) else set()
        found.opened.update(f"{label} [{name}]" for name in names if name in offered)
        for name in set(names) - offered:
            sent = {"action": name, "_selected_action": str(row.pk if row else 0), "confirmed": "yes", "index": "0"}
            with suppress(PermissionDenied):
                send_to_list(model_admin, address, sent, user)
    return found


def act_names(model_admin: Any) -> list[str]:
    return [act if isinstance(act, str) else act.__name__ for act in model_admin.actions or ()]


def send_to_list(model_admin: Any, address: str, sent: dict[str, str], user: User) -> None:
    request: Any = RequestFactory().post(address, sent)
    request._dont_enforce_csrf_checks = True
    request.user, request.session = user, {}
    request._messages = FallbackStorage(request)
    request.resolver_match = resolve(address)
    model_admin.changelist_view(request)


def stored() -> dict[str, str]:
    """A digest of each table's rows, but for sessions."""
    digests = {}
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            if model is not Session and model._meta.managed:
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(model._meta.db_table)} ORDER BY 1")
                digests[model._meta.label] = hashlib.sha256(repr(cursor.fetchall()).encode()).hexdigest()
    return digests


def differences(role: StaffRole, wanted: list[Page]) -> list[str]:
    """Where the role meets something else than the table says, in words."""
    user = make.staff(role)
    user = User.objects.get(pk=user.pk)
    letter, table, before = letter_of(role), expected(), stored()
    found, acts = walk(wanted, user), bulk_acts(user)
    every = {page.entry for page in wanted} | {entry for entry in table if "[" in entry} | acts.opened
    opened = found.opened | acts.opened
    wrong = [
        f"{entry}:{table.get(entry, '?')} stands in EXPECTED, but “{letter}” {'may' if entry in opened else 'may not'}"
        for entry in sorted(every)
        if (entry in opened) is not (letter in table.get(entry, ""))
    ]
    after = stored()
    changed = [f"{table} was changed by who may not" for table in before if before[table] != after[table]]
    return wrong + found.odd + changed


def test_every_page_and_bulk_act_has_its_entry_and_every_entry_its_page(rows: None) -> None:
    found = {page.entry for page in pages()} | {
        f"{model._meta.label_lower} [{name}]"
        for model, model_admin in admin.site._registry.items()
        for name in act_names(model_admin)
    }
    missing = [entry.split() for entry in sorted(found - expected().keys())]
    assert [f"write {word}:<letters> in the line of {label} in EXPECTED" for label, word in missing] == []
    assert sorted(expected().keys() - found) == []  # entries of pages that are gone


@pytest.mark.parametrize("role", list(StaffRole))
def test_a_role_opens_exactly_what_the_table_says_and_changes_nothing_elsewhere(role: StaffRole, rows: None) -> None:
    assert differences(role, pages()) == []


def test_whoever_is_not_staff_finds_no_page_and_changes_nothing(rows: None) -> None:
    project = Project.objects.get(code="other-project")
    lead, signatory = make.member(project=project, role=ProjectRole.LEAD), make.representative(tenant=project.tenant)
    wanted, stranger = pages(), make.person()
    before = stored()
    answers = {
        (page.path, asked(page, method, user))
        for page in wanted
        for method in ("get", "post")
        for user in (stranger, lead, signatory)
    }
    assert {path for path, status in answers if status != 404} == set()
    assert stored() == before


def test_a_policy_that_is_loosened_by_one_word_is_caught(rows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [page for page in pages() if page.model in {"centre.tenant", "centre.gpupool"}]
    assert [line for line in differences(R.AUDITOR, wanted) if "but" in line and "[" not in line] == []
    loosened = permissions.GRANTED[R.AUDITOR] | {"centre.add_listprice"}
    monkeypatch.setitem(permissions.GRANTED, R.AUDITOR, loosened)
    assert differences(R.AUDITOR, wanted) == ["centre.gpupool set_price:fx stands in EXPECTED, but “u” may"]


def test_a_policy_that_is_tightened_by_one_word_is_caught(rows: None, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [page for page in pages() if page.model == "centre.gpupool"]
    tightened = permissions.GRANTED[R.FINANCE_OFFICER] - {"centre.add_listprice"}
    monkeypatch.setitem(permissions.GRANTED, R.FINANCE_OFFICER, tightened)
    assert differences(R.FINANCE_OFFICER, wanted) == ["centre.gpupool set_price:fx stands in EXPECTED, but “f” may not"]
