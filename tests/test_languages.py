"""Chinese is whole: every text has its translation in both scripts, and no page shows a word of English."""

import html
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation

from allocations import requests
from allocations.models import ChangeRequest, JobRun
from centre import emails, invitations, registry
from centre.models import Membership
from centre.permissions import ProjectRole, StaffRole
from subsidies import awards
from tests import catalogues, make
from tests.screen_texts import marked
from tests.subsidies import cases

CHINESE = ("zh-hant", "zh-hans")
pytestmark = pytest.mark.sqlite  # what a page says does not depend on the database: once is enough
ALLOWED = re.compile(
    r"""
      (?:GPU|Slurm|sacct|CSV|UTC|TRES|QOS|ID|SHA-256|HKT|ClusterName|UTF-8|YYYY-MM-DD)(?![A-Za-z])
    # fields of sacct within a Chinese sentence, and sizes
    | (?<=[\u4e00-\u9fff、])[ ]?(?:Submit|Start|End|AllocTRES|NUL)\b
    | \b(?:Submit|Start|End|AllocTRES|NUL)[ ]?(?=[\u4e00-\u9fff、])
    | (?<=\d)[\s\u00a0](?:KB|MB)\b
    | HK\$ | <?[\w.+-]+@[\w.-]+>? | https?://\S+ | gres/gpu(?::\w+)? | Asia/Hong_Kong
    | \b[a-z]+\.csv\b | ^English$  # a file's name; a language is named in itself
    | \bmanage\.py[ ][a-z_]+ | (?<=例如[「“])[a-z]+-[a-z]+(?=[」”])  # the operator’s command; a code as an example
    | \b(?:True|False|PENDING|RUNNING|COMPLETED)\b | \bbilling=\S+  # Django's words for tick and cross; Slurm's states
    | \b(?:[a-z]+[ :-])?[a-z]+(?:-[a-z\d]+)*-\d+(?::[\w-]+)*        # codes and sources: award S-1, usage import-1:2
    | \b(?:[Aa]ward[ ]|commit:)?[A-Z]+-\d[\w-]* | \b[a-f\d]{64}\b | \busage\b
    """,
    re.VERBOSE,
)
MADE_UP = re.compile(
    r"(?:Person|Project|Tenant) \d+|Harbour Centre|H800|maintenance|test\.txt"
    r"|for a test|\btest\b|The committee approves\."
)
"""What the builders of tests write into rows; like every row of a real centre it is shown as it was written."""
TEAM_PAGES = (
    *("usage", "runs", "ledger", "statements", "members", "member_history", "invite_member", "name_cluster_user"),
    *("requests", "ask"),
)
NO_TEXT = {"script", "style", "code"}
SPOKEN = ("aria-label", "title", "alt", "placeholder")


class Words(HTMLParser):
    """What a page says, shown or read aloud, without what it marks as another language or as code."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.silent: list[str] = []
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self.silent or tag in NO_TEXT or (tag != "html" and (given.get("lang") or "").startswith("en")):
            if tag not in {"input", "img", "br", "link", "meta", "hr"}:
                self.silent.append(tag)
            return
        self.said += [given[name] or "" for name in SPOKEN if name in given]
        if tag == "input" and given.get("type") in {"submit", "button", "reset"}:
            self.said.append(given.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.silent:
            while self.silent.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.said.append(data)


def english(body: str) -> list[str]:
    """The words of a page that are left when what may stand in any language is taken out."""
    said = (" ".join(text.split()) for text in Words(body).said)
    return sorted({text for text in said if re.search(r"[A-Za-z]{2,}", ALLOWED.sub("", MADE_UP.sub("", text)))})


@pytest.fixture
def world() -> dict[str, Any]:
    """A centre whose own names are Chinese, so that whatever is English was written by us."""
    make.centre(name_zh_hant="海港超算中心", name_zh_hans="海港超算中心", contact_email="desk@example.org")
    site = make.site(name_en="碼頭")
    cluster = make.cluster(site=site)
    pool = make.pool(cluster=cluster)
    make.outage(pool=pool, gpus=1, starts_at=timezone.now(), ends_at=timezone.now() + timedelta(hours=1))
    tenant = make.tenant(name_en="獅子山大學")
    lead = make.person(name="陳大文")
    project = make.project(tenant=tenant, title="粵語模型", lead=lead)
    make.representative(tenant=tenant, user=make.person(name="李小明"))
    make.member(project=project, role=ProjectRole.VIEWER, user=make.person(name="何小姐"), cluster_user="u-1")
    scheme = cases.scheme()
    scheme.name_en = "資助計劃"
    scheme.save()
    conditions = [awards.Asked("提交報告", make.today() - timedelta(days=1)), awards.Asked("公開模型", make.today())]
    case = cases.application(scheme=scheme, project=project, hours={pool: 1_000}, title="粵語模型")
    award = cases.award(decision=cases.decision(application=case, conditions=conditions, account=f"paid-{lead.pk}"))
    cases.application(scheme=scheme, tenant=tenant, hours={pool: 10}, title="手語")
    cases.decision(application=cases.application(scheme=scheme, tenant=tenant, hours={pool: 10}, title="天氣"))
    allocation = make.allocation(project=project, pool=pool)
    began = timezone.now() - timedelta(hours=5)
    make.imported(
        make.run(allocation=allocation, start_at=began, user="u-1", name="訓練"),
        make.run(allocation=allocation, start_at=began, running=True, name="評測"),
        make.Run(account="nobody-1", partition=pool.code, start_at=began, end_at=timezone.now(), name="無主"),
        cluster=cluster,
    )
    asked: dict[str, Any] = {"project": project, "reason": "訓練未完", "by": lead, "at": timezone.now()}
    requests.ask(kind=ChangeRequest.Kind.TOP_UP, allocation=allocation, seconds=36_000, **asked)
    until = allocation.end_on + timedelta(days=30)
    requests.ask(kind=ChangeRequest.Kind.EXTENSION, allocation=allocation, until_on=until, **asked)
    requests.ask(kind=ChangeRequest.Kind.OTHER, **asked)
    return {"project": project, "lead": lead, "award": award}


def opened(client: Client, path: str, language: str) -> str:
    """A page in a language, as the browser asks for it."""
    answer = client.get(path, headers={"accept-language": language})
    assert answer.status_code == 200, (path, answer.status_code)
    return str(answer.content.decode())


def rows_of_the_admin() -> Iterator[tuple[str, str]]:
    """The list, and the page and history of the newest row, of every model in the admin."""
    yield "admin", reverse("admin:index")
    for model in sorted(admin.site._registry, key=lambda one: one._meta.label):
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield name, reverse(f"{name}_changelist")
        row = model._default_manager.order_by("-pk").first()
        if row is not None:
            yield name, reverse(f"{name}_change", args=[row.pk])


def found_english(client: Client, pages: Iterator[tuple[str, str]] | list[tuple[str, str]], language: str) -> list[Any]:
    return [(name, words) for name, path in pages if (words := english(opened(client, path, language)))]


@pytest.mark.django_db
@pytest.mark.parametrize("language", CHINESE)
def test_public_pages_say_nothing_in_english(world: dict[str, Any], client: Client, language: str) -> None:
    names = ("front", "account_login", "account_reset_password", "account_reset_password_done", "account_inactive")
    assert found_english(client, [(name, reverse(name)) for name in names], language) == []
    missing = client.get("/nothing-here/", headers={"accept-language": language})
    assert english(missing.content.decode()) == []


@pytest.mark.django_db
@pytest.mark.parametrize("language", CHINESE)
def test_team_pages_say_nothing_in_english(world: dict[str, Any], client: Client, language: str) -> None:
    client.force_login(world["lead"])
    code = world["project"].code
    pages = [
        ("projects", reverse("projects")),
        ("project", reverse("project", args=[code])),
        ("subsidy", reverse("project_subsidy", args=[code])),
        ("password", reverse("account_change_password")),
        ("notices", reverse("notices")),
        *((name, reverse(name, args=[code])) for name in TEAM_PAGES),
        *((kind, reverse("ask", args=[code]) + f"?kind={kind}") for kind in ChangeRequest.Kind.values),
        ("statement", reverse("statement", args=[code, f"{make.today():%Y-%m}"])),
        *(("run", reverse("run", args=[code, run.pk])) for run in JobRun.objects.filter(account=code)),
        *(("request", reverse("request", args=[code, row.pk])) for row in ChangeRequest.objects.all()),
    ]
    for row in Membership.objects.filter(project=world["project"]):
        pages += [(name, reverse(name, args=[code, row.pk])) for name in ("change_member_role", "remove_member")]
    assert found_english(client, pages, language) == []


@pytest.mark.django_db
@pytest.mark.parametrize("language", CHINESE)
def test_pages_of_an_invitation_say_nothing_in_english(
    world: dict[str, Any], client: Client, language: str, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        invitations.invite_to_project(
            project=world["project"],
            email="mei@example.org",
            role=ProjectRole.MEMBER,
            by=world["lead"],
            at=timezone.now(),
            name="張小美",
            language=language,
        )
    letter = mail.outbox[0]
    said = [re.sub(r"https?://\S+", "", line) for line in f"{letter.subject}\n{letter.body}".splitlines()]
    assert [line for line in said if english(f"<p>{html.escape(line)}</p>")] == []
    link = re.search(r"https?://[^/]+(/\S+)", str(letter.body))
    assert link is not None
    assert found_english(client, [("newcomer", link.group(1))], language) == []
    make.person("mei@example.org", name="張小美")
    assert found_english(client, [("sign in", link.group(1))], language) == []
    client.force_login(world["lead"])
    pages = [("somebody else", link.group(1)), ("waiting", reverse("members", args=[world["project"].code]))]
    assert found_english(client, pages, language) == []
    unknown = client.get(reverse("invitation", args=["x" * 43]), headers={"accept-language": language})
    assert english(unknown.content.decode()) == []


@pytest.mark.django_db
@pytest.mark.parametrize("language", CHINESE)
def test_pages_of_a_tenant_and_of_the_desk_say_nothing_in_english(
    world: dict[str, Any], client: Client, language: str
) -> None:
    tenant = world["project"].tenant
    client.force_login(tenant.representatives.get().user)
    pages = [("projects", reverse("projects")), ("tenant", reverse("tenant", args=[tenant.code]))]
    assert found_english(client, pages, language) == []
    for role in (StaffRole.ALLOCATION_OFFICER, StaffRole.SUBSIDY_SECRETARY):
        client.force_login(make.staff(role, user=make.person(name="林主任")))
        pages = [("desk", reverse("desk")), ("capacity", reverse("capacity"))]
        assert found_english(client, pages, language) == []


@pytest.mark.django_db
@pytest.mark.parametrize("language", CHINESE)
def test_reports_say_nothing_in_english(world: dict[str, Any], client: Client, language: str) -> None:
    client.force_login(make.staff(StaffRole.MANAGEMENT, user=make.person(name="黃經理")))
    pages = [("reports", reverse("reports"))]
    pages += [(name, reverse("report", args=[name])) for name in registry.reports]
    assert len(pages) > 5
    assert found_english(client, pages, language) == []


@pytest.mark.django_db
@pytest.mark.parametrize("language", CHINESE)
def test_admin_says_nothing_in_english(world: dict[str, Any], client: Client, language: str) -> None:
    auditor = make.staff(StaffRole.AUDITOR, user=make.person(name="審計員"))
    client.force_login(auditor)
    assert found_english(client, rows_of_the_admin(), language) == []


@pytest.mark.django_db
@pytest.mark.parametrize("language", CHINESE)
def test_letters_say_nothing_in_english(world: dict[str, Any], client: Client, language: str) -> None:
    lead = world["lead"]
    lead.language = language
    lead.save(update_fields=["language"])
    assert emails.first_sign_in(people=[lead], at=timezone.now()) == []
    client.post(reverse("account_reset_password"), {"email": lead.email}, headers={"accept-language": language})
    assert len(mail.outbox) == 2
    for letter in mail.outbox:
        said = [re.sub(r"https?://\S+", "", line) for line in f"{letter.subject}\n{letter.body}".splitlines()]
        assert [line for line in said if english(f"<p>{html.escape(line)}</p>")] == []


def test_an_english_word_is_found_wherever_it_stands() -> None:
    assert english("<p>配額 Left over</p>") == ["配額 Left over"]
    assert english('<a aria-label="Open it">開</a>') == ["Open it"]
    assert english('<input type="submit" value="Save it">') == ["Save it"]
    assert english("<svg><title>Bars of it</title></svg>") == ["Bars of it"]
    assert english('<button lang="en">English</button><code>gpu_seconds</code><p>1,200 GPU 小時 HK$12</p>') == []


@pytest.mark.parametrize("path", catalogues.paths(), ids=lambda path: path.parts[-3])
def test_catalogue_is_whole_and_compiled(path: Path) -> None:
    assert catalogues.problems_of(path) == []
    assert catalogues.differences(path) == []
    assert len(catalogues.texts_in(path)) > 1_000


def test_there_is_a_catalogue_for_each_chinese_language() -> None:
    assert [path.parts[-3] for path in catalogues.paths()] == sorted(catalogues.LANGUAGES)
    assert {translation.to_locale(language) for language in CHINESE} == set(catalogues.LANGUAGES)


TEXT = 'msgid "%(hours)s GPU-hours"\nmsgstr "%(hours)s GPU 小時"\n'


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda text: text.replace('"%(hours)s GPU 小時"', '""'), "not translated"),
        (lambda text: text.replace('"%(hours)s GPU 小時"', '"%(hour)s GPU 小時"'), "other placeholders"),
        (lambda text: text.replace(TEXT, f"#, fuzzy\n{TEXT}"), "marked fuzzy"),
        (lambda text: text.replace("GPU 小時", "GPU 小時數"), "not compiled"),
    ],
)
def test_a_spoilt_catalogue_is_told(tmp_path: Path, spoil: Callable[[str], str], complaint: str) -> None:
    whole = catalogues.paths()[-1]
    copy = tmp_path / whole.parts[-3] / "LC_MESSAGES" / whole.name
    copy.parent.mkdir(parents=True)
    shutil.copy(whole.with_suffix(".mo"), copy.with_suffix(".mo"))
    text = whole.read_text(encoding="utf-8")
    assert TEXT in text
    copy.write_text(text, encoding="utf-8")
    assert catalogues.problems_of(copy) == []
    copy.write_text(spoil(text), encoding="utf-8")
    problems = catalogues.problems_of(copy)
    assert problems
    assert any(complaint in problem for problem in problems)


def test_a_text_that_the_catalogue_lacks_or_nobody_shows_is_told(tmp_path: Path) -> None:
    (tmp_path / "centre").mkdir()
    (tmp_path / "templates").mkdir()
    (tmp_path / "centre" / "new.py").write_text('pgettext("place", "A new text")\n', encoding="utf-8")
    (tmp_path / "templates" / "new.html").write_text(
        "{% load i18n %}{% translate 'A new page' %}"
        "{% blocktranslate count n=n %}One{% plural %}{{ n }}{% endblocktranslate %}",
        encoding="utf-8",
    )
    whole = catalogues.paths()[-1]
    told = catalogues.differences(whole, tmp_path)
    assert [line.partition(": ")[2] for line in told[:3]] == [
        "not in the catalogue: A new text",
        "not in the catalogue: A new page",
        "not in the catalogue: One",
    ]
    assert len(told) == 3 + len(catalogues.texts_in(whole))


def test_texts_are_found_in_every_way_of_marking_them() -> None:
    source = '_("a" "b"); translation.ngettext("one", "many", n); pgettext_lazy("place", "word"); print("not this")'
    assert set(marked(source)) == {(None, "ab", None), (None, "one", "many"), ("place", "word", None)}
