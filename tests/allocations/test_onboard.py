"""Bringing a centre in from spreadsheets: everything or nothing, each bad line by its number, and never twice."""

import io
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from allocations.models import Allocation, JobRun, LedgerEntry
from centre.models import (
    Capacity,
    Cluster,
    ClusterUser,
    Event,
    GpuPool,
    ListPrice,
    Membership,
    PoolMapping,
    Project,
    Site,
    Tenant,
    User,
)
from tests import make

pytestmark = pytest.mark.django_db

POOLS = "code,site,cluster,time_zone,gpu_model,tres,partitions,gpus,in_service_on,list_price_hkd\n"
TENANTS = "code,name_en,name_zh_hant,name_zh_hans,category\n"
PROJECTS = "code,tenant,title,lead_email\n"
MEMBERS = "project,email,name,role,cluster_users\n"
ALLOCATIONS = "project,pool,start_on,end_on,gpu_hours,reference,account,funding\n"
WHOLE = {
    "pools": POOLS
    + "h800,Cyberport,hgx,Asia/Hong_Kong,H800,gres/gpu:h800,gpu long,512,2024-12-09,25.50\n"
    + "h800,Cyberport,hgx,Asia/Hong_Kong,H800,gres/gpu:h800,gpu long,1024,2025-07-01,25.5\n"
    + "ridge,Sandy Ridge,ridge,Asia/Hong_Kong,H20,,all,2048,2028-01-01,\n",
    "tenants": TENANTS
    + 'harbour-u,"Harbour University, Main",海港大學,海港大学,University\nboats,Boats Ltd,,,start-up\n',
    "projects": PROJECTS + "llm,harbour-u,Large models,Lead@example.org\n",
    "members": MEMBERS + "llm,lead@example.org,Ada,Lead,ada hgx:ada2\nllm,bo@example.org,Bo,member,bo\n",
    "allocations": ALLOCATIONS + "llm,h800,2026-01-01,2026-12-31,1000.5,R-1,,POC\n",
}

Write = Callable[..., dict[str, str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write spreadsheets; returns what `call_command("onboard", **...)` is given."""

    def files(**texts: str | bytes) -> dict[str, str]:
        for name, text in texts.items():
            (tmp_path / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return {name: str(tmp_path / f"{name}.csv") for name in texts}

    return files


def onboard(files: dict[str, str], **options: object) -> list[str]:
    """The lines that a successful call prints."""
    out = io.StringIO()
    call_command("onboard", stdout=out, stderr=io.StringIO(), **files, **options)
    return out.getvalue().splitlines()


def refused(files: dict[str, str]) -> list[str]:
    """The lines on stderr of a call that is refused."""
    err = io.StringIO()
    with pytest.raises(CommandError, match="Nothing was written") as caught:
        call_command("onboard", stdout=io.StringIO(), stderr=err, **files)
    assert caught.value.returncode == 1
    return err.getvalue().splitlines()


def everything() -> list[list[tuple[object, ...]]]:
    """Every row that onboarding can write, to compare before with after."""
    models = (Site, Cluster, GpuPool, PoolMapping, Capacity, ListPrice, Tenant, Project, User, Membership, ClusterUser)
    return [list(model.objects.order_by("pk").values_list()) for model in (*models, Allocation, LedgerEntry, Event)]


# ---------------------------------------------------------------------------------------------- what it makes


def test_machines_are_made_with_their_days(write: Write) -> None:
    assert onboard(write(pools=WHOLE["pools"])) == ["pools.csv: new 3, changed 0, same 0"]
    assert list(Site.objects.values_list("code", "name_en")) == [
        ("cyberport", "Cyberport"),
        ("sandy-ridge", "Sandy Ridge"),
    ]
    assert list(Cluster.objects.values_list("code", "site__name_en", "time_zone")) == [
        ("hgx", "Cyberport", "Asia/Hong_Kong"),
        ("ridge", "Sandy Ridge", "Asia/Hong_Kong"),
    ]
    assert list(Capacity.objects.order_by("from_on").values_list("pool__code", "from_on", "gpus")) == [
        ("h800", date(2024, 12, 9), 512),
        ("h800", date(2025, 7, 1), 1024),
        ("ridge", date(2028, 1, 1), 2048),
    ]
    assert list(ListPrice.objects.order_by("from_on").values_list("pool__code", "from_on", "cents_per_gpu_hour")) == [
        ("h800", date(2024, 12, 9), 2550),
        ("h800", date(2025, 7, 1), 2550),
    ]
    assert list(PoolMapping.objects.order_by("id").values_list("kind", "name", "from_on", "until_on")) == [
        ("tres", "gres/gpu:h800", date(2024, 12, 9), None),
        ("partition", "gpu", date(2024, 12, 9), None),
        ("partition", "long", date(2024, 12, 9), None),
        ("partition", "all", date(2028, 1, 1), None),
    ]


def test_teams_are_made_with_their_people(write: Write) -> None:
    assert onboard(write(**WHOLE)) == [
        "pools.csv: new 3, changed 0, same 0",
        "tenants.csv: new 2, changed 0, same 0",
        "projects.csv: new 1, changed 0, same 0",
        "members.csv: new 1, changed 1, same 0",
        "allocations.csv: new 1, changed 0, same 0",
    ]
    assert list(Tenant.objects.values_list("code", "name_en", "name_zh_hant", "name_zh_hans", "category")) == [
        ("boats", "Boats Ltd", "", "", "start_up"),
        ("harbour-u", "Harbour University, Main", "海港大學", "海港大学", "university"),
    ]
    assert list(User.objects.values_list("email", "name")) == [("bo@example.org", "Bo"), ("lead@example.org", "Ada")]
    assert not any(user.has_usable_password() for user in User.objects.all())
    added = Membership.objects.filter(added_by__isnull=True).order_by("user__email")
    assert list(added.values_list("user__email", "role")) == [
        ("bo@example.org", "member"),
        ("lead@example.org", "lead"),
    ]
    names = ClusterUser.objects.order_by("cluster__code", "name").values_list("cluster__code", "name", "user__email")
    assert list(names) == [
        ("hgx", "ada", "lead@example.org"),
        ("hgx", "ada2", "lead@example.org"),
        ("hgx", "bo", "bo@example.org"),
        ("ridge", "ada", "lead@example.org"),
        ("ridge", "bo", "bo@example.org"),
    ]


def test_allocations_are_opened_through_the_ledger(write: Write) -> None:
    onboard(write(**WHOLE))
    allocation = Allocation.objects.get()
    assert (allocation.account, allocation.funding, allocation.state) == ("llm", "proof_of_concept", "open")
    assert (allocation.start_on, allocation.end_on) == (date(2026, 1, 1), date(2026, 12, 31))
    assert allocation.granted_seconds == 3_601_800
    entry = LedgerEntry.objects.get()
    assert (entry.kind, entry.seconds, entry.source_kind, entry.asked_by, entry.approved_by) == (
        "grant",
        3_601_800,
        "onboard",
        None,
        None,
    )


def test_funding_is_internal_and_account_the_code_where_none_is_named(write: Write) -> None:
    allocations = "project,pool,start_on,end_on,gpu_hours,reference\nllm,h800,2026-01-01,2026-12-31,0.0025,R-1\n"
    onboard(write(**{**WHOLE, "allocations": allocations}))
    assert list(Allocation.objects.values_list("funding", "account", "granted_seconds")) == [("internal", "llm", 9)]


def test_every_act_is_recorded_as_the_operators(write: Write) -> None:
    onboard(write(**WHOLE))
    acts = list(Event.objects.filter(actor__isnull=True).values_list("act", flat=True))
    assert {act: acts.count(act) for act in acts} == {
        "register_site": 2,
        "register_cluster": 2,
        "register_pool": 2,
        "set_capacity": 3,
        "set_price": 2,
        "map_pool": 4,
        "register_tenant": 2,
        "add_person": 2,
        "register_project": 1,
        "add_member": 2,
        "rename_person": 1,
        "add_cluster_user": 5,
        "open_allocation": 1,
    }
    assert Event.objects.count() == len(acts)


def test_waiting_runs_are_charged_once_a_mapping_says_whose_they_are(write: Write) -> None:
    onboard(write(**WHOLE))
    allocation = Allocation.objects.get()
    start = timezone.now().replace(microsecond=0) - timedelta(hours=5)
    run = make.Run(account="llm", partition="late", gpus=2, start_at=start, end_at=start + timedelta(hours=1))
    make.imported(run, cluster=Cluster.objects.get(code="hgx"))
    assert JobRun.objects.unmatched().count() == 1
    later = "h800,Cyberport,hgx,Asia/Hong_Kong,H800,,late,1024,2025-07-02,\n"
    assert onboard(write(pools=POOLS + later)) == ["pools.csv: new 1, changed 0, same 0"]
    allocation.refresh_from_db()
    assert (allocation.used_seconds, JobRun.objects.unmatched().count()) == (7200, 0)


# ---------------------------------------------------------------------------------------------- twice


def test_same_files_again_change_nothing(write: Write) -> None:
    files = write(**WHOLE)
    onboard(files)
    before = everything()
    assert onboard(files) == [
        "pools.csv: new 0, changed 0, same 3",
        "tenants.csv: new 0, changed 0, same 2",
        "projects.csv: new 0, changed 0, same 1",
        "members.csv: new 0, changed 0, same 2",
        "allocations.csv: new 0, changed 0, same 1",
        "Everything stood already; nothing was changed.",
    ]
    assert everything() == before


def test_name_that_is_no_longer_listed_stays_and_is_warned_of(write: Write) -> None:
    pools = POOLS + "h800,S,hgx,UTC,H800,,gpu long,8,2025-01-01,1\n"
    onboard(write(pools=pools))
    before = everything()
    out, err = io.StringIO(), io.StringIO()
    call_command("onboard", stdout=out, stderr=err, **write(pools=pools.replace("gpu long", "gpu")))
    assert out.getvalue().splitlines()[0] == "pools.csv: new 0, changed 0, same 1"
    assert err.getvalue() == (
        "pools.csv line 2: “long” is not listed, but it belongs to the pool h800 from 2025-01-01 on and stays there: "
        "leaving it out does not end that. List it again.\n"
    )
    assert everything() == before


def test_name_that_a_later_line_adds_is_no_matter_of_the_earlier_one(write: Write) -> None:
    lines = "h800,S,hgx,UTC,H800,,gpu,8,2025-01-01,1\nh800,S,hgx,UTC,H800,,gpu long,16,2025-07-01,1\n"
    for _time in range(2):
        err = io.StringIO()
        call_command("onboard", stdout=io.StringIO(), stderr=err, **write(pools=POOLS + lines))
        assert err.getvalue() == ""


def test_columns_in_any_order_with_a_byte_order_mark_and_windows_lines(write: Write) -> None:
    text = "category,CODE , name_zh_hans,name_zh_hant,name_en,colour\r\nR&D Centre,lab,,,Lab,red\r\n\r\n,,,,,\r\n"
    err, out = io.StringIO(), io.StringIO()
    call_command("onboard", stdout=out, stderr=err, **write(tenants=b"\xef\xbb\xbf" + text.encode()))
    assert out.getvalue() == "tenants.csv: new 1, changed 0, same 0\n"
    assert err.getvalue() == "tenants.csv: these columns are not used: colour.\n"
    assert list(Tenant.objects.values_list("code", "name_en", "category")) == [("lab", "Lab", "research_institute")]


def test_dry_run_prints_the_same_and_writes_nothing(write: Write) -> None:
    files = write(**WHOLE)
    before = everything()
    said = onboard(files, dry_run=True)
    assert everything() == before
    assert said[-1] == "A dry run: nothing was written."
    assert onboard(files) == said[:-1]


def test_what_describes_is_written_anew_and_an_empty_cell_leaves_what_stands(write: Write) -> None:
    onboard(write(**WHOLE))
    said = onboard(
        write(
            tenants=TENANTS + "harbour-u,Harbour University,,,research institute\nboats,Boats Ltd,,,startup\n",
            projects=PROJECTS + "llm,harbour-u,Larger models,lead@example.org\n",
            members=MEMBERS + "llm,bo@example.org,Bo Yin,manager,\nllm,lead@example.org,,lead,\n",
        )
    )
    assert said == [
        "tenants.csv: new 0, changed 1, same 1",
        "projects.csv: new 0, changed 1, same 0",
        "members.csv: new 0, changed 1, same 1",
    ]
    tenant = Tenant.objects.get(code="harbour-u")
    assert (tenant.name_en, tenant.name_zh_hant, tenant.category) == (
        "Harbour University",
        "海港大學",
        "research_institute",
    )
    assert Project.objects.get().title == "Larger models"
    current = Membership.objects.current().order_by("user__email").values_list("user__name", "role")
    assert list(current) == [("Bo Yin", "manager"), ("Ada", "lead")]


def test_lead_is_handed_on_in_one_file(write: Write) -> None:
    onboard(write(**WHOLE))
    onboard(write(members=MEMBERS + "llm,lead@example.org,Ada,viewer,\nllm,bo@example.org,Bo,lead,\n"))
    current = Membership.objects.current().order_by("user__email").values_list("user__name", "role")
    assert list(current) == [("Bo", "lead"), ("Ada", "viewer")]


# ---------------------------------------------------------------------------------------------- refused


def test_bad_lines_of_every_file_are_all_named_and_nothing_is_written(write: Write) -> None:
    onboard(write(**WHOLE))
    before = everything()
    said = refused(
        write(
            pools=POOLS
            + "h800,Cyberport,hgx,Asia/Hong_Kong,H800,gres/gpu:h800,gpu,511,2024-12-09,25.50\n"
            + "b,Cyberport,hgx,Asia/Hong_Kong,H20,gres/gpu:h800,,8,2025-01-01,1\n"
            + "c,Cyberport,hgx,UTC,H20,,xx,8,2025-01-01,1\n",
            tenants=TENANTS + "fine,Fine,,,enterprise\nclub,The Club,,,club\n",
            projects=PROJECTS + 'llm,boats,Large models,lead@example.org\np2,club,"Two\nlines",a@example.org\n',
            members=MEMBERS
            + "llm,bo@example.org,Bo,owner,\nllm,new@example.org,New,member,bo\np2,x@example.org,X,lead,\n",
            allocations=ALLOCATIONS
            + "llm,h800,2026-01-01,2026-12-31,1000.5,R-2,,\n"
            + "llm,nope,2026-01-01,2026-12-31,0.0001,R-3,,\n"
            + "llm,c,2026-01-01,2026-12-31,1,R-4,,\n",
        )
    )
    assert said == [
        "pools.csv line 2: From 2024-12-09 on h800 has 512 GPUs in service. "
        "Give a change a line of its own, with a later in_service_on.",
        "pools.csv line 3: “gres/gpu:h800” on hgx belongs to the pool h800 from 2024-12-09 on.",
        "pools.csv line 4: The cluster hgx stands at the site cyberport with the time zone Asia/Hong_Kong, and its "
        "accounting days depend on it. Write the same here.",
        "tenants.csv line 3: category “club” is unknown; it is one of: enterprise, government department, public body, "
        "research institute, start up, university.",
        "projects.csv line 2: The project llm belongs to the tenant harbour-u, and no project changes its tenant.",
        "projects.csv line 3: title has a line break or a control character in it.",
        "members.csv line 2: role “owner” is unknown; it is one of: lead, manager, member, viewer.",
        "members.csv line 3: The user name “bo” on hgx belongs to bo@example.org. "
        "Write cluster:name to give a name on one cluster only.",
        "allocations.csv line 2: R-1 already covers the Slurm account llm on h800 from 2026-01-01 to 2026-12-31. "
        "Choose other days, or give this allocation a Slurm account of its own.",
        "allocations.csv line 3: gpu_hours 0.0001 is not a whole number of GPU-seconds.",
    ]
    assert everything() == before


BAD_LINES = [
    ("pools", "x,S,hgx,UTC,H20,,,8,2025-01-01,1", "tres and partitions are both empty; one of them has to say whose"),
    ("pools", "x,S,hgx,UTC,H20,gres/gpu,,8,2025-01-01,1", "tres “gres/gpu” does not name a type of GPU"),
    ("pools", "x,S,hgx,UTC,H20,,p,8,2025-02-30,1", "in_service_on “2025-02-30” is not a day"),
    ("pools", "x,S,hgx,UTC,H20,,p,8,1/2/2025,1", "in_service_on “1/2/2025” is not a day"),
    ("pools", "x,S,hgx,UTC,H20,,p,8,1999-12-31,1", "in_service_on: 1999-12-31 is outside the days from 2000-01-01 to"),
    ("pools", "x,S,hgx,localtime,H20,,p,8,2025-01-01,1", "time_zone: “localtime” is not the name of a time zone"),
    ("pools", "x,S,hgx,UTC,H20,,p,-8,2025-01-01,1", "gpus “-8” is not a number"),
    ("pools", "x,S,hgx,UTC,H20,,p,8,2025-01-01,1.005", "list_price_hkd 1.005 has more than 2 decimals"),
    ("pools", "x,S,hgx,UTC,H20,,p,8,2025-01-01,1e3", "list_price_hkd “1e3” is not a number"),
    ("pools", "x,S,hgx,UTC,H20,,p,8,2025-01-01,１", "list_price_hkd “１” is not a number"),
    ("pools", "x,S,hgx,Mars,H20,,p,8,2025-01-01,1", "time_zone: “Mars” is not the name of a time zone"),
    ("tenants", "Harbour,H,,,university", "code: Use lower-case letters"),
    ("tenants", "h,,,,university", "name_en is empty."),
    ("tenants", f"h,{'x' * 201},,,university", "name_en is longer than 200 characters."),
    ("tenants", "h,a\x00b,,,university", "name_en has a line break or a control character in it."),
    ("projects", "p,nope,T,a@example.org", "There is no tenant “nope”."),
    ("projects", "p,t,T,nobody", "“nobody” is not an e-mail address."),
    ("members", "nope,a@example.org,A,lead,", "There is no project “nope”."),
    ("members", "p,a@example.org,A,lead,a", "There is no cluster yet to have user names on; bring in pools first."),
    ("members", "p,a@example.org,A,lead,x:a", "There is no cluster “x”."),
    ("allocations", "p,q,2026-01-02,2026-01-01,1,R,,", "end_on is before start_on."),
    ("allocations", "p,q,0001-01-01,2026-01-01,1,R,,", "start_on: 0001-01-01 is outside the days from 2000-01-01 to"),
    ("allocations", "p,q,2026-01-01,9999-12-31,1,R,,", "end_on: 9999-12-31 is outside the days from 2000-01-01 to"),
    ("allocations", "p,q,2026-01-01,2026-01-01,0,R,,", "gpu_hours has to be more than 0."),
    ("allocations", "p,q,2026-01-01,2026-01-01,1.00001,R,,", "gpu_hours 1.00001 has more than 4 decimals."),
    ("allocations", "p,q,2026-01-01,2026-01-01,NaN,R,,", "gpu_hours “NaN” is not a number"),
    ("allocations", "p,q,2026-01-01,2026-01-01,1,,,", "reference is empty."),
    (
        "allocations",
        "p,q,2026-01-01,2026-01-01,1,R,,gift",
        "funding “gift” is unknown; it is one of: subsidised, purchased",
    ),
    ("allocations", "p,q,2026-01-01,2026-01-01,1,R,,", "There is no GPU pool “q”."),
    ("allocations", "p,q,2026-01-01,2026-01-01,1,R,other,", "The account “other” is the code of another project"),
]
HEADERS = {
    "pools": POOLS,
    "tenants": TENANTS,
    "projects": PROJECTS,
    "members": MEMBERS,
    "allocations": ALLOCATIONS,
}


@pytest.mark.parametrize(("kind", "line", "reason"), BAD_LINES)
def test_bad_line_is_named_with_its_reason(write: Write, kind: str, line: str, reason: str) -> None:
    tenant = make.tenant("t")
    make.project("p", tenant=tenant)
    make.project("other", tenant=tenant)
    before = everything()
    said = refused(write(**{kind: f"{HEADERS[kind]}\n{line}\n"}))
    assert len(said) == 1
    assert said[0].startswith(f"{kind}.csv line 3: {reason}")
    assert everything() == before


@pytest.mark.parametrize(
    ("kind", "first", "second", "reason"),
    [
        ("tenants", "h,H,,,university", "h,H,,,university", "Line 2 already has the code “h”."),
        ("projects", "p2,t,T,a@example.org", "p2,t,T,a@example.org", "Line 2 already has the code “p2”."),
        (
            "members",
            "p,a@example.org,A,lead,",
            "p,A@example.org,A,lead,",
            "Line 2 already has a@example.org in p.",
        ),
        (
            "members",
            "p,a@example.org,A,lead,",
            "other,a@example.org,B,lead,",
            "Line 2 calls a@example.org “A”. Write one name in both.",
        ),
        (
            "members",
            "p,a@example.org,A,lead,q:u",
            "p,b@example.org,B,lead,u",
            "The user name “u” on q belongs to a@example.org. Write cluster:name to give a name on one cluster only.",
        ),
        (
            "pools",
            "x,S,hgx,UTC,H20,,p,8,2025-01-01,1",
            "x,S,hgx,UTC,H20,,p,8,2025-01-01,1",
            "Line 2 already says what x has from 2025-01-01 on.",
        ),
        (
            "pools",
            "x,S,hgx,UTC,H20,,p,8,2025-01-01,1",
            "x,S,hgx,UTC,H21,,p,8,2025-02-01,1",
            "Line 2 gives the pool x another gpu_model: “H20”.",
        ),
        (
            "pools",
            "x,S,hgx,UTC,H20,,p,8,2025-01-01,1",
            "y,S,hgx,UTC,H20,,p,8,2025-02-01,1",
            "“p” on hgx belongs to the pool x from 2025-01-01 on.",
        ),
        (
            "allocations",
            "p,q,2026-01-01,2026-06-30,1,R,,",
            "p,q,2026-06-30,2026-12-31,1,S,,",
            "R already covers the Slurm account p on q from 2026-01-01 to 2026-06-30. "
            "Choose other days, or give this allocation a Slurm account of its own.",
        ),
    ],
)
def test_second_line_that_contradicts_the_first_is_refused(
    write: Write, kind: str, first: str, second: str, reason: str
) -> None:
    tenant = make.tenant("t")
    make.project("p", tenant=tenant)
    make.project("other", tenant=tenant)
    make.pool("q", cluster=make.cluster("q"))
    before = everything()
    assert refused(write(**{kind: f"{HEADERS[kind]}{first}\n{second}\n"})) == [f"{kind}.csv line 3: {reason}"]
    assert everything() == before


def test_projects_lead_is_not_something_less_in_the_members(write: Write) -> None:
    files = write(**{**WHOLE, "members": MEMBERS + "llm,lead@example.org,Ada,viewer,\n"})
    assert refused(files) == [
        "members.csv line 2: lead@example.org is this project's lead in projects.csv line 2; "
        "the role here has to be lead."
    ]


def test_standing_allocation_is_not_rewritten(write: Write) -> None:
    onboard(write(**WHOLE))
    before = everything()
    said = refused(write(allocations=ALLOCATIONS + "llm,h800,2026-01-01,2026-11-30,999,R-1,,POC\n"))
    assert said == [
        "allocations.csv line 2: The allocation R-1 stands with end_on 2026-12-31, gpu_hours 1000.5000. "
        "Give another reference to open another one; change this one in the portal."
    ]
    assert everything() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"code;name_en\nx;y\n",
            " line 1: Its columns are not separated by commas. Save it as “CSV UTF-8” with commas.",
        ),
        (b"code,name_en,category\n", " line 1: The header lacks these columns: name_zh_hant, name_zh_hans."),
        (b"", " line 1: The header lacks these columns: code, name_en, name_zh_hant, name_zh_hans, category."),
        (TENANTS.encode() + b"\nx,\xff,,,y\n", " line 3: It is not UTF-8 text. Save the spreadsheet as “CSV UTF-8”."),
        (
            TENANTS.encode() + b'x,"y,,,university\n',
            " line 2: It is not CSV from here on: unexpected end of data.",
        ),
        (
            TENANTS.encode() + b"x,Boats, Ltd,,,university\n",
            " line 2: It has 6 cells, but the header names 5 columns. Is a comma not in quotes?",
        ),
        (
            b"code,code,name_en,name_zh_hant,name_zh_hans,category\n",
            " line 1: The header names these columns twice: code.",
        ),
    ],
)
def test_file_that_is_no_spreadsheet_is_named_and_what_needs_it_is_not_blamed(
    write: Write, content: bytes, reason: str
) -> None:
    files = write(tenants=content, projects=PROJECTS + "llm,harbour-u,Large models,lead@example.org\n")
    assert refused(files) == [f"tenants.csv{reason}"]
    assert User.objects.count() == 0


def test_file_that_is_not_there_is_named(write: Write, tmp_path: Path) -> None:
    assert refused({"tenants": str(tmp_path / "none.csv")}) == [
        "none.csv: It cannot be opened: No such file or directory."
    ]


def test_no_file_at_all_is_refused() -> None:
    with pytest.raises(CommandError, match="Name at least one file"):
        call_command("onboard")


# ---------------------------------------------------------------------------------------------- size


def crowd(number: int, *, prefix: str) -> str:
    return MEMBERS + "".join(f"p,{prefix}{i}@example.org,Person {i},member,{prefix}{i}\n" for i in range(number))


def test_members_cost_no_query_each(write: Write) -> None:
    make.project("p")
    make.cluster("hgx")
    costs = []
    for number, prefix in ((10, "a"), (100, "b")):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            onboard(write(members=crowd(number, prefix=prefix)))
        costs.append(len(queries))
        with CaptureQueriesContext(connection) as queries:
            onboard(write(members=crowd(number, prefix=prefix)))
        costs.append(len(queries))
    assert costs[0] < 40
    assert costs[2] - costs[0] < 10
    assert costs[3] == costs[1]


@pytest.mark.hard
def test_ten_thousand_members_come_in_well_under_a_minute(write: Write) -> None:
    make.project("p")
    make.cluster("hgx")
    begun = time.process_time()  # what this process works, however busy the machine is
    onboard(write(members=crowd(10_000, prefix="a")))
    assert time.process_time() - begun < 30
    assert Membership.objects.count() == 10_000
