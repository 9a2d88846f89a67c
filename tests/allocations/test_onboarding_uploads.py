"""Spreadsheets handed over in the administration: what a preview says, and that applying does exactly that."""

import time
from datetime import date
from uuid import uuid4

import pytest
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from allocations.models import Allocation, LedgerEntry, OnboardingLine, OnboardingStep, OnboardingUpload
from allocations.onboard.applying import LookAgain, NotYours, SecondOfficerNeeded, apply
from allocations.onboard.lines import BadFile, as_meant
from allocations.onboard.preview import receive
from allocations.onboard.recognising import recognise
from allocations.onboard.spelling_out import chunks_of, wrong_lines
from allocations.verifying import differences
from centre import members, tenants
from centre.exports import inert
from centre.models import ClusterUser, Event, Membership, Project, Tenant, User
from centre.permissions import ProjectRole, StaffRole
from tests import make
from tests.allocations.uploads import HEADERS, applied, handed_over, looked_at, officer, said, verdicts

pytestmark = pytest.mark.django_db

R = StaffRole
OPENING = "p,q,2026-01-01,2026-12-31,{hours},{reference},,\n"


def books() -> list[list[tuple[object, ...]]]:
    """Every row that an upload can write."""
    models = (Tenant, Project, User, Membership, ClusterUser, Allocation, LedgerEntry)
    return [list(model.objects.order_by("pk").values_list()) for model in models]


def p_and_q() -> Project:
    project = make.project("p", tenant=make.tenant("t", name_en="T"), title="P")
    make.pool("q", cluster=make.cluster("hgx"))
    return project


# ---------------------------------------------------------------------------------------------- the preview


def test_three_bad_lines_are_named_and_the_good_ones_are_applied() -> None:
    by = officer()
    upload = handed_over(
        by,
        tenants="harbour-u,Harbour University,海港大學,海港大学,university\nclub,The Club,,,club\n",
        projects="maps,harbour-u,Old maps,lead@example.org\nchess,club,Chess,bob@example.org\n",
        members="maps,lead@example.org,Ada,lead,\nmaps,ben@example.org,Ben,owner,\nmaps,cat@example.org,Cat,member,\n",
    )
    assert verdicts(upload) == {
        ("tenants", 2): "new",
        ("tenants", 3): "wrong",
        ("projects", 2): "new",
        ("projects", 3): "wrong",
        ("members", 2): "changed",
        ("members", 3): "wrong",
        ("members", 4): "new",
    }
    assert said(upload, "projects", 3).problem == (
        "There is no tenant “club”. Its own line in this upload is wrong: mend that one, and this one is right."
    )
    assert said(upload, "members", 3).problem == "role “owner” is unknown; it is one of: lead, manager, member, viewer."
    assert said(upload, "members", 2).changes == [["name", "", "Ada"]]
    assert (Tenant.objects.count(), Project.objects.count()) == (0, 0)
    step = applied(upload, by)
    assert (step.part, step.new, step.changed, step.left_out) == ("all", 3, 1, 3)
    assert list(Project.objects.values_list("code", "tenant__code")) == [("maps", "harbour-u")]
    assert list(Membership.objects.order_by("user__email").values_list("user__email", "user__name", "role")) == [
        ("cat@example.org", "Cat", "member"),
        ("lead@example.org", "Ada", "lead"),
    ]
    assert not User.objects.filter(email__in=["ben@example.org", "bob@example.org"]).exists()
    assert set(verdicts(upload).values()) == {"same", "wrong"}
    assert mail.outbox == []


def test_changed_line_says_from_what_to_what() -> None:
    p_and_q()
    upload = handed_over(
        officer(),
        tenants="t,Harbour,,,start-up\n",
        projects="p,t,Old maps,lead@example.org\n",
        members="p,new@example.org,Ada,manager,hgx:ada\n",
    )
    assert said(upload, "tenants", 2).changes == [["name_en", "T", "Harbour"], ["category", "university", "start_up"]]
    assert said(upload, "projects", 2).changes == [["title", "P", "Old maps"], ["lead_email", "", "lead@example.org"]]
    assert said(upload, "members", 2).changes == [["role", "", "manager"], ["cluster_users", "", "hgx:ada"]]


def test_new_line_says_what_its_name_does_not() -> None:
    p_and_q()
    upload = handed_over(
        officer(),
        tenants="n,New,,,R&D centre\n",
        projects="m,n,M,lead@example.org\n",
        allocations="p,q,2026-01-01,2026-12-31,10.50,A,,\n",
    )
    assert set(verdicts(upload).values()) == {"new"}
    assert said(upload, "tenants", 2).changes == [["category", "", "research_institute"]]
    assert said(upload, "projects", 2).changes == [["tenant", "", "n"], ["lead_email", "", "lead@example.org"]]
    assert said(upload, "allocations", 2).changes == [
        *(["gpu_hours", "", "10.5"], ["start_on", "", "2026-01-01"], ["end_on", "", "2026-12-31"]),
        *(["account", "", "p"], ["funding", "", "internal"]),
    ]


def test_preview_writes_nothing_but_itself() -> None:
    p_and_q()
    by = officer(R.TENANT_OFFICER, R.ALLOCATION_OFFICER)
    before, events = books(), Event.objects.count()
    handed_over(
        by,
        tenants="t,Other,,,university\n",
        members="p,ada@example.org,Ada,member,ada\n",
        allocations=OPENING.format(hours=10, reference="A"),
    )
    assert books() == before
    assert list(Event.objects.order_by("pk")[events:].values_list("act", flat=True)) == ["receive_upload"]


def test_wrong_line_takes_nothing_of_itself_along() -> None:
    project = p_and_q()
    lead = make.member(project=project, role=ProjectRole.LEAD, user=make.person("lead@example.org", name="Ada"))
    by = officer()
    upload = handed_over(by, members="p,lead@example.org,Ada Wong,viewer,ada\nnope,x@example.org,X,member,x\n")
    assert said(upload, "members", 2).problem.startswith("lead@example.org is the only lead of p.")
    assert verdicts(upload) == {("members", 2): "wrong", ("members", 3): "wrong"}
    with pytest.raises(NotYours, match="nothing was applied"):
        applied(upload, by)
    lead.refresh_from_db()
    assert (lead.name, ClusterUser.objects.count(), User.objects.filter(email="x@example.org").count()) == ("Ada", 0, 0)


def test_centre_staff_are_not_renamed_by_upload() -> None:
    p_and_q()
    make.staff(R.AUDITOR, user=make.person("auditor@example.org", name="The Auditor"))
    upload = handed_over(officer(), members="p,auditor@example.org,Somebody,member,\n")
    assert said(upload, "members", 2).problem == (
        "auditor@example.org is centre staff; an administrator changes the name. "
        "Write “The Auditor”, or leave it empty."
    )


def test_line_with_too_many_cells_is_wrong_and_the_others_are_not() -> None:
    upload = handed_over(officer(), tenants="boats,Boats, Ltd,,,university\nh,H,,,university\n")
    assert verdicts(upload) == {("tenants", 2): "wrong", ("tenants", 3): "new"}
    assert said(upload, "tenants", 2).problem == (
        "It has 6 cells, but the header names 5 columns. Is a comma not in quotes?"
    )
    rows = b"".join(wrong_lines(upload.files.get())).decode("utf-8-sig").splitlines()
    assert rows == [
        "code,name_en,name_zh_hant,name_zh_hans,category,problem",
        'boats,Boats,Ltd,,university,"It has 6 cells, but the header names 5 columns. Is a comma not in quotes?"',
    ]


BAD_FILES = [
    (b"", "x.csv: It is empty."),
    (b"\xef\xbb\xbf \r\n", "x.csv line 1: None of its columns is known."),
    (b"PK\x03\x04rest", "x.csv: It is an Excel workbook. Save each sheet as “CSV UTF-8 (comma delimited)”"),
    (b"\xff\xfec\x00", "x.csv: It is “Unicode text”, not UTF-8."),
    (b"\x7fELF\x00\x01", "x.csv: It is not a text file."),
    (b"\xc3\x28,b\n", "x.csv line 1: It is not UTF-8 text."),
    (b"code;tenant;title;lead_email\n", "x.csv line 1: Its columns are separated by semicolons or tabs."),
    (b"colour,size\n1,2\n", "x.csv line 1: None of its columns is known."),
    (HEADERS["members"].encode(), "x.csv: It has a header, but no lines below it."),
    (
        b"project,mail,name,role\np,a,b,c\n",
        "x.csv line 1: It looks like members, but the header lacks these columns: email. "
        "These are not known: mail. Is one of them misspelt?",
    ),
    (
        b"code,name_en,name_zh_hant,name_zh_hans,category,tenant,title,lead_email\n",
        "x.csv line 1: Its columns are those of several spreadsheets: tenants, projects.",
    ),
    (HEADERS["members"].encode() + b"p,a@example.org,A,lead,\n" * 20_001, "x.csv: It has 20001 lines, and 20000"),
    (HEADERS["tenants"].encode() + b'a,"b\n', "x.csv line 2: It is not CSV from here on"),
]


@pytest.mark.parametrize(("content", "reason"), BAD_FILES)
def test_file_that_cannot_be_read_says_what_to_do(content: bytes, reason: str) -> None:
    with pytest.raises(BadFile) as caught:
        recognise("x.csv", content)
    assert str(caught.value.problem).startswith(reason)


@pytest.mark.parametrize("kind", list(HEADERS))
def test_kind_is_told_by_the_columns_in_any_order(kind: str) -> None:
    columns = HEADERS[kind].strip().split(",")
    text = ",".join(reversed([*columns, "Problem", "colour"])) + "\n" + ",".join("x" for _ in range(len(columns) + 2))
    read = recognise("export (3).csv", b"\xef\xbb\xbf" + text.encode())
    assert (read.kind.name, read.sheet.unknown) == (kind, ["colour"])


# ---------------------------------------------------------------------------------------------- applying


def test_applying_twice_acts_once_and_again_finds_everything_the_same() -> None:
    by = officer()
    upload = handed_over(by, tenants="h,H,,,university\n")
    key = uuid4().hex
    first = applied(upload, by, key=key)
    assert applied(upload, by, key=key) == first
    assert (OnboardingStep.objects.count(), Tenant.objects.count()) == (1, 1)
    before = books()
    with pytest.raises(NotYours, match="The books hold all of it already"):
        applied(upload, by)
    again = handed_over(by, tenants="h,H,,,university\n")
    assert verdicts(again) == {("tenants", 2): "same"}
    assert books() == before


def test_same_form_sent_twice_is_one_upload() -> None:
    by, now = officer(), timezone.now()
    files = [recognise("t.csv", (HEADERS["tenants"] + "h,H,,,university\n").encode())]
    uploads = [receive(files=files, key="k", by=by, at=now) for _time in range(2)]
    assert uploads[0] == uploads[1]
    assert OnboardingUpload.objects.count() == 1


def test_books_that_changed_since_the_preview_are_not_written_over() -> None:
    tenant = make.tenant("t", name_en="T")
    by = officer()
    upload = handed_over(by, tenants="t,Harbour,,,university\nn,New,,,university\n")
    tenants.change_tenant(tenant=tenant, name_en="Somebody's", by=None, at=timezone.now())
    with pytest.raises(LookAgain, match="The books have changed"):
        applied(upload, by)
    assert list(Tenant.objects.values_list("code", "name_en")) == [("t", "Somebody's")]
    looked_at(upload, by)
    assert said(upload, "tenants", 2).changes == [["name_en", "Somebody's", "Harbour"]]
    applied(upload, by)
    assert list(Tenant.objects.values_list("code", "name_en")) == [("n", "New"), ("t", "Harbour")]


def test_preview_that_was_not_seen_is_not_applied() -> None:
    make.tenant("t", name_en="T")
    by = officer()
    upload = handed_over(by, tenants="t,Harbour,,,university\n")
    with pytest.raises(LookAgain, match="made anew"):
        apply(upload=upload, digest="what was seen before", key="k", by=by, at=timezone.now())
    assert Tenant.objects.get().name_en == "T"


def test_every_act_carries_the_officers_name() -> None:
    by = officer()
    before = Event.objects.count()
    upload = handed_over(by, tenants="h,H,,,university\n", projects="m,h,M,a@example.org\n")
    applied(upload, by)
    events = Event.objects.order_by("pk")[before:]
    assert {event.actor for event in events} == {by}
    assert [event.act for event in events] == [
        *("receive_upload", "register_tenant", "add_person", "register_project", "add_member", "apply_upload"),
    ]


# ---------------------------------------------------------------------------------------------- opening balances


def test_hours_have_two_people_behind_them() -> None:
    p_and_q()
    first, second = officer(R.ALLOCATION_OFFICER), officer(R.ALLOCATION_OFFICER)
    upload = handed_over(first, allocations=OPENING.format(hours="12.5", reference="A"))
    assert (upload.opening_seconds, verdicts(upload)) == (45_000, {("allocations", 2): "new"})
    with pytest.raises(NotYours, match="Another allocation officer has to apply the opening balances"):
        applied(upload, first)
    assert not Allocation.objects.exists()
    applied(upload, second)
    entry = LedgerEntry.objects.get()
    assert (entry.seconds, entry.source_kind, entry.asked_by, entry.approved_by) == (45_000, "upload", first, second)
    assert entry.source_reference == f"{upload.pk}, allocations.csv line 2"
    assert list(differences()) == []


def test_database_refuses_hours_of_an_upload_by_one_person() -> None:
    """The exemption of the operator's command does not cover uploads, whatever the code does."""
    from allocations import ledger

    project = p_and_q()
    by = officer(R.ALLOCATION_OFFICER)
    with pytest.raises(ledger.TwoPeopleNeeded):
        ledger.open_allocation(
            project=project,
            pool=make.pool("r"),
            reference="A",
            funding="internal",
            start_on=date(2026, 1, 1),
            end_on=date(2026, 12, 31),
            seconds=3600,
            by=by,
            approved_by=None,
            at=timezone.now(),
            reason="-",
            source_kind="upload",
        )


def test_hours_within_the_threshold_all_together_need_one_officer() -> None:
    make.centre(two_person_above_seconds=20 * 3600)
    p_and_q()
    make.project("p2", tenant=Tenant.objects.get())
    by = officer(R.ALLOCATION_OFFICER)
    two = OPENING.format(hours=10, reference="A") + OPENING.format(hours=11, reference="B").replace("p,", "p2,", 1)
    with pytest.raises(NotYours, match="Another allocation officer"):
        applied(handed_over(by, allocations=two), by)
    applied(handed_over(by, allocations=two.replace(",11,", ",10,")), by)
    assert [(entry.asked_by, entry.approved_by) for entry in LedgerEntry.objects.all()] == [(by, None)] * 2


def test_tenant_officer_leaves_the_hours_to_an_allocation_officer() -> None:
    make.pool("q")
    tenant_officer, allocation_officer = officer(), officer(R.ALLOCATION_OFFICER)
    upload = handed_over(
        tenant_officer,
        tenants="t,T,,,university\n",
        projects="p,t,P,a@example.org\n",
        allocations=OPENING.format(hours=10, reference="A"),
    )
    assert set(verdicts(upload).values()) == {"new"}
    with pytest.raises(NotYours, match="A tenant officer has to apply the tenants"):
        applied(upload, allocation_officer)
    assert applied(upload, tenant_officer).part == "teams"
    assert (Project.objects.count(), Allocation.objects.count()) == (1, 0)
    with pytest.raises(NotYours, match="An allocation officer has to apply the opening balances"):
        applied(upload, tenant_officer)
    assert applied(upload, allocation_officer).part == "hours"
    assert Allocation.objects.get().granted_seconds == 36_000
    assert set(verdicts(upload).values()) == {"same"}


def test_nobody_gives_hours_to_a_project_of_their_own() -> None:
    project = p_and_q()
    by = officer(R.ALLOCATION_OFFICER)
    members.add_member(project=project, user=by, role=ProjectRole.MEMBER, by=None, at=timezone.now())
    upload = handed_over(officer(R.ALLOCATION_OFFICER), allocations=OPENING.format(hours=10, reference="A"))
    with pytest.raises(SecondOfficerNeeded, match="You belong to a project that gets hours here"):
        applied(upload, by)
    assert not Allocation.objects.exists()


@pytest.mark.parametrize("role", [role for role in R if role not in (R.TENANT_OFFICER, R.ALLOCATION_OFFICER)])
def test_other_roles_apply_nothing(role: StaffRole) -> None:
    p_and_q()
    upload = handed_over(officer(), tenants="h,H,,,university\n", allocations=OPENING.format(hours=1, reference="A"))
    before = books()
    other = officer(role)
    without = books()
    with pytest.raises(NotYours):
        applied(upload, other)
    assert books() == without
    assert len(before[0]) == len(without[0])


# ---------------------------------------------------------------------------------------------- out again


NAMES = ["Boats, Ltd", 'The "Old" Club', "海港大學，九龍", "=1+1", "'quoted", "-5", "'=odd", "＝wide", "a\u200fb"]


def test_what_is_downloaded_comes_back_all_the_same() -> None:
    by = officer(R.TENANT_OFFICER, R.ALLOCATION_OFFICER)
    hgx = make.cluster("hgx")
    pool = make.pool("q", cluster=hgx)
    for number, name in enumerate(NAMES):
        tenant = make.tenant(f"t{number}", name_en=name, name_zh_hant=name)
        project = make.project(f"p{number}", tenant=tenant, title=name)
        make.member(
            project=project,
            user=make.person(f"u{number}@example.org", name=name.replace("\u200f", "")),
            cluster_user=f"u{number}",
        )
        make.allocation(project=project, pool=pool, seconds=1_000_001 * number, reference=f"R,{number}")
    files = {
        kind: recognise(f"{kind}.csv", b"".join(chunks_of(kind, by)))
        for kind in ("tenants", "projects", "members", "allocations")
    }
    assert [kind for kind, file in files.items() if file.kind.name != kind] == []
    upload = receive(files=list(files.values()), key="k", by=by, at=timezone.now())
    wrong = OnboardingLine.objects.filter(file__upload=upload).exclude(verdict="same")
    assert list(wrong.values_list("file__kind", "what", "changes", "problem")) == []
    assert [file.same for file in upload.files.all()] == [9, 9, Membership.objects.count(), 9]


def test_download_is_formula_safe_and_for_those_who_may_see() -> None:
    make.tenant("t", name_en='=HYPERLINK("http://example.org")')
    rows = b"".join(chunks_of("tenants", officer())).decode("utf-8-sig").splitlines()
    assert rows[1].startswith('t,"\'=HYPERLINK(""http://example.org"")"')
    assert len(b"".join(chunks_of("tenants", make.person())).splitlines()) == 1


@given(st.text(alphabet=" '=+-@＝abc\t1", max_size=6))
def test_apostrophe_of_our_own_files_is_taken_away_and_no_other(text: str) -> None:
    assert as_meant(inert(text)) == text


def test_wrong_lines_come_out_with_their_problem_and_go_in_again_mended() -> None:
    by = officer()
    upload = handed_over(by, tenants="good,Good,,,university\nclub,=The Club,,,club\n")
    applied(upload, by)
    out = b"".join(wrong_lines(upload.files.get()))
    assert out.decode("utf-8-sig").splitlines()[0] == "code,name_en,name_zh_hant,name_zh_hans,category,problem"
    mended = recognise("mended.csv", out.replace(b",club,", b",public body,"))
    assert mended.sheet.unknown == []
    again = receive(files=[mended], key="k", by=by, at=timezone.now())
    assert verdicts(again) == {("tenants", 2): "new"}
    applied(again, by)
    assert Tenant.objects.get(code="club").name_en == "=The Club"


# ---------------------------------------------------------------------------------------------- in general

CODES = st.sampled_from(["a", "b", "c", "Bad code", ""])
PEOPLE = st.sampled_from(["u@example.org", "v@example.org", "w@example.org", "nobody"])
TENANT = st.tuples(CODES, st.sampled_from(["N", "M", ""]), st.sampled_from(["university", "start-up", "club"]))
PROJECT = st.tuples(CODES, CODES, st.sampled_from(["T", "S"]), PEOPLE)
MEMBER = st.tuples(
    CODES,
    PEOPLE,
    st.sampled_from(["", "Ada", "Ben"]),
    st.sampled_from(["lead", "member", "viewer", "owner"]),
    st.sampled_from(["", "x", "y", "z:x"]),
)
BALANCE = st.tuples(CODES, st.sampled_from(["1", "2", "0", "12,000"]), st.sampled_from(["R", "S", "T"]))


@given(
    st.lists(TENANT, min_size=1, max_size=3),
    st.lists(PROJECT, min_size=1, max_size=4),
    st.lists(MEMBER, min_size=1, max_size=6),
    st.lists(BALANCE, min_size=1, max_size=3),
)
def test_preview_says_what_applying_does(
    tenant_lines: list[tuple[str, ...]],
    project_lines: list[tuple[str, ...]],
    member_lines: list[tuple[str, ...]],
    balance_lines: list[tuple[str, ...]],
) -> None:
    sid = transaction.savepoint()
    make.pool("q", cluster=make.cluster("hgx"))
    tenant = make.tenant("a", name_en="N")
    make.member(
        project=make.project("a", tenant=tenant, title="T"), user=make.person("u@example.org"), role=ProjectRole.LEAD
    )
    first, second = (officer(R.TENANT_OFFICER, R.ALLOCATION_OFFICER) for _ in range(2))
    upload = handed_over(
        first,
        tenants="".join(f"{code},{name},,,{category}\n" for code, name, category in tenant_lines),
        projects="".join(",".join(line) + "\n" for line in project_lines),
        members="".join(",".join(line) + "\n" for line in member_lines),
        allocations="".join(
            f'{project},q,2026-01-01,2026-12-31,"{hours}",{reference},,\n'
            for project, hours, reference in balance_lines
        ),
    )
    seen = verdicts(upload)
    before = counted()
    if {"new", "changed"} & set(seen.values()):
        applied(upload, second)
    looked_at(upload, first)
    assert verdicts(upload) == {key: "wrong" if verdict == "wrong" else "same" for key, verdict in seen.items()}
    new = {kind: sum(verdict == "new" for (of, _line), verdict in seen.items() if of == kind) for kind in HEADERS}
    grown = {kind: counted()[kind] - before[kind] for kind in ("tenants", "projects", "allocations")}
    assert grown == {kind: new[kind] for kind in grown}
    transaction.savepoint_rollback(sid)


def counted() -> dict[str, int]:
    return {
        "tenants": Tenant.objects.count(),
        "projects": Project.objects.count(),
        "allocations": Allocation.objects.count(),
    }


# ---------------------------------------------------------------------------------------------- size


def crowd(number: int, prefix: str) -> str:
    return "".join(f"p,{prefix}{i}@example.org,Person {i},member,{prefix}{i}\n" for i in range(number))


def test_members_cost_no_query_each() -> None:
    p_and_q()
    by = officer()
    costs = []
    for number, prefix in ((1, "w"), (10, "a"), (100, "b")):  # the first fills what the process keeps
        with CaptureQueriesContext(connection) as queries:
            upload = handed_over(by, members=crowd(number, prefix))
        costs.append(len(queries))
        with CaptureQueriesContext(connection) as queries:
            applied(upload, by)
        costs.append(len(queries))
    assert costs[2:4] == costs[4:]


@pytest.mark.hard
def test_ten_thousand_members_are_looked_at_and_applied_in_well_under_a_minute() -> None:
    p_and_q()
    by = officer()
    begun = time.process_time()
    upload = handed_over(by, members=crowd(10_000, "a"))
    applied(upload, by)
    assert time.process_time() - begun < 45
    assert Membership.objects.count() == 10_000


def test_database_refuses_a_wrong_line_without_a_reason() -> None:
    upload = handed_over(officer(), tenants="h,H,,,university\n")
    with pytest.raises(IntegrityError), transaction.atomic():
        OnboardingLine.objects.filter(file__upload=upload).update(verdict="wrong")
