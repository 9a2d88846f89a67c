"""The pages on which spreadsheets are handed over, previewed, applied and taken out again."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from allocations.models import Allocation, OnboardingStep, OnboardingUpload
from allocations.onboard import recognising
from centre.models import Event, Tenant
from centre.permissions import StaffRole
from tests import make
from tests.allocations.uploads import ADD, HEADERS, handed_over, looked_at, officer, page, sent, verdicts

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole
LIST = "admin:allocations_onboardingupload_changelist"
OUT = "admin:allocations_onboardingupload_out"
GOOD = HEADERS["tenants"] + "h,Harbour,,,university\n"
HOSTILE = "<script>alert(1)</script>"


def send_apply(client: Client, upload: OnboardingUpload) -> Any:
    """Press the button of the page as it is shown."""
    shown = client.get(page(upload)).content.decode()
    given = dict(re.findall(r'name="(act_key|preview)" value="([^"]*)"', shown))
    return client.post(page(upload, "apply"), given, follow=True)


def messages_of(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def test_officer_hands_over_looks_and_applies(client: Client) -> None:
    client.force_login(officer())
    response = sent(client, ("a.csv", GOOD.encode() + b"x,X,,,club\n"))
    upload = OnboardingUpload.objects.get()
    assert response.url == page(upload)
    shown = client.get(page(upload)).content.decode()
    assert "1 new, 0 changed, 0 same, 1 wrong" in shown
    assert "Apply the 1 good line" in shown
    assert "category “club” is unknown" in shown
    assert Tenant.objects.count() == 0
    done = send_apply(client, upload)
    assert messages_of(done) == [
        "Applied: 1 new, 0 changed. 1 wrong line was left out; download it below, mend it and hand it over again."
    ]
    assert "Nothing is left to apply" in done.content.decode()
    assert list(Tenant.objects.values_list("code", flat=True)) == ["h"]


def test_button_pressed_twice_acts_once(client: Client) -> None:
    client.force_login(officer())
    sent(client, ("a.csv", GOOD.encode()))
    upload = OnboardingUpload.objects.get()
    shown = client.get(page(upload)).content.decode()
    given = dict(re.findall(r'name="(act_key|preview)" value="([^"]*)"', shown))
    said = [messages_of(client.post(page(upload, "apply"), given, follow=True)) for _time in range(2)]
    assert said == [["Applied: 1 new, 0 changed."]] * 2
    assert OnboardingStep.objects.count() == 1


def test_new_preview_is_shown_when_the_books_have_changed(client: Client) -> None:
    client.force_login(officer())
    sent(client, ("a.csv", GOOD.encode()))
    upload = OnboardingUpload.objects.get()
    make.tenant("h", name_en="Somebody's")
    said = send_apply(client, upload)
    assert messages_of(said) == [
        "The books have changed since this preview was made. Nothing was applied; look at it once more."
    ]
    assert verdicts(upload) == {("tenants", 2): "changed"}
    assert "Somebody&#x27;s" in said.content.decode()
    assert Tenant.objects.get().name_en == "Somebody's"


def test_get_changes_nothing(client: Client) -> None:
    client.force_login(officer())
    sent(client, ("a.csv", GOOD.encode()))
    upload = OnboardingUpload.objects.get()
    for act in ("apply", "look_again"):
        assert client.get(page(upload, act)).status_code == 302
    assert (Tenant.objects.count(), OnboardingStep.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    ("files", "reasons"),
    [
        ([], ["Choose at least one file."]),
        ([("a.csv", b"x")] * 5, ["These are more than four files. Hand over one of each kind at a time."]),
        (
            [("a.csv", b"PK\x03\x04"), ("b.csv", b"")],
            [
                "a.csv: It is an Excel workbook. Save each sheet as “CSV UTF-8 (comma delimited)” and choose that "
                "file.",
                "b.csv: It is empty.",
            ],
        ),
        (
            [("a.csv", GOOD.encode()), ("b.csv", GOOD.encode())],
            ["b.csv: It holds tenants, and so does a.csv. Hand them over one after the other."],
        ),
        ([(f"{HOSTILE.replace('/', '')}.csv", b"a\x00")], None),
    ],
)
def test_what_cannot_be_read_is_refused_on_the_page(
    client: Client, files: list[tuple[str, bytes]], reasons: list[str] | None
) -> None:
    client.force_login(officer())
    response = sent(client, *files)
    assert response.status_code == 200
    if reasons is not None:
        assert response.context["form"].errors["spreadsheets"] == reasons
    assert "<script>alert" not in response.content.decode()
    assert OnboardingUpload.objects.count() == 0


def test_file_that_is_too_large_is_refused(client: Client) -> None:
    client.force_login(officer())
    response = sent(client, ("a.csv", GOOD.encode() + b"x" * recognising.LARGEST_BYTES))
    assert response.context["form"].errors["spreadsheets"] == [
        "a.csv: It is larger than 10 MB, far more than a spreadsheet of lines. Is it the right file?"
    ]


def test_texts_from_outside_are_inert_on_the_page_and_in_the_download(client: Client) -> None:
    client.force_login(officer())
    sent(client, (f"{HOSTILE.replace('/', '')}.csv", f"{HEADERS['tenants']}=cmd,{HOSTILE},,,{HOSTILE}\n".encode()))
    upload = OnboardingUpload.objects.get()
    shown = client.get(page(upload)).content.decode()
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    listed = client.get(reverse(LIST)).content.decode()
    assert "<script>alert" not in listed
    out: Any = client.get(page(upload, "wrong", "tenants"))
    lines = b"".join(out.streaming_content).decode("utf-8-sig").splitlines()
    assert lines[1].startswith(f"'=cmd,{HOSTILE},,,{HOSTILE},")


def test_lines_are_narrowed_and_paged(client: Client) -> None:
    by = officer()
    client.force_login(by)
    lines = "".join(f"t{number},T,,,{'club' if number % 50 == 0 else 'university'}\n" for number in range(150))
    upload = handed_over(by, tenants=lines)
    shown = client.get(page(upload))
    assert len(shown.context["lines"]) == 100
    assert [(str(choice.text), choice.count) for choice in shown.context["verdicts"]] == [
        ("All lines", 150),
        ("New", 147),
        ("Changed", 0),
        ("Same", 0),
        ("Wrong", 3),
    ]
    wrong = client.get(page(upload) + "?show=wrong")
    assert [line.number for line, _file, _tone in wrong.context["lines"]] == [2, 52, 102]
    second = client.get(page(upload) + "?page=2")
    assert [line.number for line, _file, _tone in second.context["lines"]] == list(range(102, 152))
    assert client.get(page(upload) + "?show=nonsense&file=nonsense&page=x").status_code == 200


def test_pages_cost_the_same_for_few_lines_and_many(client: Client) -> None:
    by = officer()
    client.force_login(by)
    costs = []
    for number in (1, 30):
        upload = handed_over(by, tenants="".join(f"t{n},T,,,university\n" for n in range(number)))
        client.get(page(upload))
        with CaptureQueriesContext(connection) as queries:
            client.get(page(upload))
        costs.append(len(queries))
        with CaptureQueriesContext(connection) as queries:
            client.get(reverse(LIST))
        costs.append(len(queries))
    assert costs == [8, 8, 8, 8]


# ---------------------------------------------------------------------------------------------- who may

SEE = {R.TENANT_OFFICER, R.ALLOCATION_OFFICER, R.AUDITOR}
HAND_OVER = {R.TENANT_OFFICER, R.ALLOCATION_OFFICER}


@pytest.mark.parametrize("role", list(R))
def test_each_role_sees_and_does_what_the_policy_says(role: StaffRole, client: Client) -> None:
    upload = handed_over(officer(), tenants="h,H,,,university\nx,X,,,club\n")
    client.force_login(officer(role))
    sees, hands_over = (200 if role in SEE else 403), (200 if role in HAND_OVER else 403)
    opened = [reverse(LIST), page(upload), page(upload, "wrong", "tenants"), page(upload, "file", "tenants")]
    opened += [reverse(OUT, args=[kind]) for kind in HEADERS]
    assert {address: client.get(address).status_code for address in opened} == dict.fromkeys(opened, sees)
    assert client.get(reverse(ADD)).status_code == hands_over
    index = client.get(reverse("admin:index")).content.decode()
    assert (f'href="{reverse(ADD)}"' in index) is (role in HAND_OVER)
    for act in ("apply", "look_again"):
        assert client.post(page(upload, act)).status_code == (302 if role in HAND_OVER else 403)
    sent(client, ("a.csv", GOOD.encode()))
    assert OnboardingUpload.objects.count() == (2 if role in HAND_OVER else 1)
    assert Tenant.objects.count() == 0


def test_auditor_sees_the_preview_without_buttons(client: Client) -> None:
    upload = handed_over(officer(), tenants="h,H,,,university\n")
    client.force_login(officer(R.AUDITOR))
    shown = client.get(page(upload)).content.decode()
    assert "1 new, 0 changed, 0 same, 0 wrong" in shown
    assert "<button" not in shown.partition('id="content-main"')[2].partition("<footer")[0]


def test_second_officer_finds_the_same_preview_and_applies(client: Client) -> None:
    make.project("p")
    make.pool("q")
    first, second = officer(R.ALLOCATION_OFFICER), officer(R.ALLOCATION_OFFICER)
    upload = handed_over(first, allocations="p,q,2026-01-01,2026-12-31,10,A,,\n")
    client.force_login(first)
    shown = client.get(page(upload)).content.decode()
    assert "Another allocation officer has to apply the opening balances, because you handed them over." in shown
    assert "This waits for somebody else" in shown
    assert "New opening balances together: 10.00 GPU-hours." in shown
    assert messages_of(client.post(page(upload, "apply"), {"preview": upload.digest}, follow=True)) == [
        "Another allocation officer has to apply the opening balances, because you handed them over."
    ]
    assert Allocation.objects.count() == 0
    client.force_login(second)
    assert messages_of(send_apply(client, upload)) == ["Applied: 1 new, 0 changed."]
    entry = Allocation.objects.get().entries.get()
    assert (entry.asked_by, entry.approved_by, entry.source_kind) == (first, second, "upload")


def test_balances_that_a_colleague_handed_over_wait_on_the_desk(client: Client) -> None:
    project = make.project("p")
    make.pool("q")
    first, second = officer(R.ALLOCATION_OFFICER), officer(R.ALLOCATION_OFFICER)
    hours = "p,q,2026-01-01,2026-12-31,10,A,,\n"
    upload = handed_over(first, allocations=hours)
    handed_over(first, tenants="h,H,,,university\n", allocations=hours.replace("A", "B"))  # its teams come first
    line = f'href="{page(upload)}"'
    for user, waits in ((first, False), (second, True), (officer(), False)):
        client.force_login(user)
        desk = client.get(reverse("desk")).content.decode()
        assert (line in desk, "Apply opening balances of 10 GPU-hours" in desk) == (waits, waits)
    client.force_login(second)
    send_apply(client, upload)
    assert line not in client.get(reverse("desk")).content.decode()
    assert Allocation.objects.get().project == project


def test_lists_of_tenants_and_allocations_lead_there(client: Client) -> None:
    for label, role, leads in (
        ("centre_tenant", R.TENANT_OFFICER, True),
        ("allocations_allocation", R.ALLOCATION_OFFICER, True),
        ("centre_tenant", R.MANAGEMENT, False),
    ):
        client.force_login(officer(role))
        listed = client.get(reverse(f"admin:{label}_changelist")).content.decode()
        assert (f'href="{reverse(ADD)}"' in listed) is leads


def test_taking_a_file_is_written_down(client: Client) -> None:
    by = officer()
    upload = handed_over(by, tenants="h,H,,,university\n")
    client.force_login(by)
    response: Any = client.get(page(upload, "file", "tenants"))
    assert b"".join(response.streaming_content) == (HEADERS["tenants"] + "h,H,,,university\n").encode()
    assert response["Content-Disposition"] == 'attachment; filename="tenants.csv"'
    event = Event.objects.latest("pk")
    assert (event.act, event.actor, event.changes) == ("take_upload_file", by, {"files": "tenants.csv"})
    assert client.get(page(upload, "file", "members")).status_code == 404
    assert client.get(reverse(OUT, args=["pools"])).status_code == 404


def test_compare_again_says_what_is_so_now(client: Client) -> None:
    by = officer()
    upload = handed_over(by, tenants="h,Harbour,,,university\n")
    client.force_login(by)
    make.tenant("h", name_en="Harbour")
    said = client.post(page(upload, "look_again"), follow=True)
    assert messages_of(said) == ["This is what the lines would do to the books as they are now."]
    assert verdicts(looked_at(upload, by)) == {("tenants", 2): "same"}
    assert "The books hold everything that these lines say." in said.content.decode()
