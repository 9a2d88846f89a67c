"""Figures on screen: the unit that people read, rounded once and half up, from whole numbers."""

from datetime import UTC, date, datetime

import django_tables2 as tables
import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.template import Context, Template
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.translation import override

from centre import tables as columns
from centre.http import portal as frame
from centre.models import Centre
from centre.templatetags import portal

INSTANT = datetime(2026, 11, 22, 6, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "places", "shown"),
    [
        (148_752_000, 0, "41,320"),
        (1799, 0, "0"),
        (1800, 0, "1"),
        (5400, 0, "2"),
        (5400, 1, "1.5"),
        (179, 1, "0.0"),
        (180, 1, "0.1"),
        (-1800, 0, "−1"),
        (-1799, 0, "0"),
        (9_007_199_254_740_993 * 3600, 0, "9,007,199,254,740,993"),
        (None, 0, "–"),
    ],
)
def test_gpu_hours_are_rounded_once_half_up_and_exact_beyond_floats(
    seconds: int | None, places: int, shown: str
) -> None:
    assert portal.gpu_hours(seconds, places) == shown


@pytest.mark.parametrize(
    ("cents", "places", "shown"),
    [
        (300_000_000, None, "HK$3,000,000"),
        (300_000_001, None, "HK$3,000,000.01"),
        (300_000_000, 2, "HK$3,000,000.00"),
        (150, 0, "HK$2"),
        (149, 0, "HK$1"),
        (-5, None, "−HK$0.05"),
        (-49, 0, "HK$0"),
        (0, None, "HK$0"),
        (None, None, "–"),
    ],
)
def test_money_shows_cents_only_where_there_are_any(cents: int | None, places: int | None, shown: str) -> None:
    assert portal.hkd(cents, places) == shown


@pytest.mark.parametrize(
    ("basis_points", "shown"),
    [(7000, "70\xa0%"), (7050, "70.5\xa0%"), (3333, "33.33\xa0%"), (0, "0\xa0%"), (-150, "−1.5\xa0%"), (None, "–")],
)
def test_percent_keeps_the_decimals_that_basis_points_have(basis_points: int | None, shown: str) -> None:
    assert portal.percent(basis_points) == shown


def test_filters_take_their_places_in_a_template() -> None:
    page = Template("{% load portal %}{{ seconds|gpu_hours:1 }} {{ cents|hkd:2 }}")
    assert page.render(Context({"seconds": 5400, "cents": 100})) == "1.5 HK$1.00"


def test_as_of_is_written_in_the_portal_s_time_zone_for_people_and_programs() -> None:
    with override("en"):
        assert portal.as_of(INSTANT) == (
            '<span class="asof">As of <time datetime="2026-11-22T14:05:00+08:00">22 Nov 2026, 14:05 HKT</time></span>'
        )
        assert portal.as_of(None) == '<span class="asof">No data yet</span>'


def test_languages_are_named_as_html_wants_them() -> None:
    assert [portal.language_tag(code) for code in ("en", "zh-hant", "zh-hans")] == ["en", "zh-Hant", "zh-Hans"]


class Rows(columns.Table):
    title = "Runs"
    name = tables.Column()
    hours = columns.HoursColumn(places=1)
    price = columns.MoneyColumn()
    rate = columns.PercentColumn()
    day = columns.DayColumn()
    seen = columns.InstantColumn()
    state = columns.BadgeColumn(tones={"done": "ok"})


ROW = {
    "name": "<script>alert(1)</script>",
    "hours": 5400,
    "price": 12345,
    "rate": 7000,
    "day": date(2026, 11, 22),
    "seen": INSTANT,
    "state": "done",
}


def test_columns_write_figures_and_exports_keep_the_stored_numbers() -> None:
    with override("en"):
        table = Rows([ROW])
        cells = [str(cell).strip() for cell in table.rows[0]]
    assert cells[1:] == [
        "1.5",
        "HK$123.45",
        "70\xa0%",
        "22 Nov 2026",
        '<time datetime="2026-11-22T14:05:00+08:00">22 Nov 2026, 14:05 HKT</time>',
        '<span class="badge ok">done</span>',
    ]
    assert list(table.as_values())[1][1:4] == [5400, 12345, 7000]


@pytest.mark.django_db
def test_list_sorts_by_links_says_how_it_is_sorted_and_where_one_is(rf: RequestFactory) -> None:
    request = rf.get("/", {"sort": "-hours", "page": "2"})
    request.user = AnonymousUser()
    table = Rows([ROW | {"hours": hours * 3600} for hours in range(1200)])
    columns.show_page(table, request, rows=25)
    with override("en"):
        page = table.as_html(request)
    assert page.count('aria-sort="descending"') == 1
    assert page.count("aria-sort") == 1
    assert "26–50 of 1,200" in page
    assert 'href="?sort=hours&amp;page=2"' in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 25
    assert "<script>" not in page


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"per_page": "-1"}, "1–25 of 100"),
        ({"per_page": "0"}, "1–25 of 100"),
        ({"per_page": "100"}, "1–25 of 100"),
        ({"page": "x", "sort": "nothing"}, "1–25 of 100"),
        ({"page": "9" * 5000, "sort": "-"}, "1–25 of 100"),
        ({"page": "99", "sort": "--hours"}, "76–100 of 100"),
    ],
)
def test_list_passes_over_what_is_not_the_readers_to_choose(
    rf: RequestFactory, asked: dict[str, str], shown: str
) -> None:
    request = rf.get("/", asked)
    request.user = AnonymousUser()
    table = Rows([ROW | {"hours": hours * 3600} for hours in range(100)])
    columns.show_page(table, request, rows=25)
    with override("en"):
        assert shown in table.as_html(request)


@pytest.mark.django_db
def test_list_without_rows_says_what_its_table_says(rf: RequestFactory) -> None:
    request = rf.get("/")
    request.user = AnonymousUser()
    page = Rows([], empty_text="No runs yet.").as_html(request)
    assert "No runs yet." in page
    assert "<table" not in page


@pytest.mark.django_db
def test_frame_asks_for_the_centre_once_per_request_and_only_when_shown(rf: RequestFactory) -> None:
    Centre.objects.create(id=1, name_en="Harbour Centre", is_demo=True)
    request = rf.get("/")
    request.user = AnonymousUser()
    with CaptureQueriesContext(connection) as asked:
        context = frame(request)
        frame(request)
    assert len(asked) == 0
    with CaptureQueriesContext(connection) as asked:
        shown = Template("{% if demo %}{{ centre.name }}{% endif %}").render(Context(context))
        again = Template("{{ centre.name }}").render(Context(frame(request)))
    assert (shown, again, len(asked)) == ("Harbour Centre", "Harbour Centre", 1)


@pytest.mark.django_db
@pytest.mark.parametrize(("language", "tag"), [("en", "en"), ("zh-hant", "zh-Hant"), ("zh-hans", "zh-Hans")])
def test_anybody_chooses_a_language_and_stays_on_the_page(client: Client, language: str, tag: str) -> None:
    sign_in = reverse("account_login") + "?next=/projects/"
    answer = client.post(reverse("set_language"), {"language": language, "next": sign_in})
    assert (answer.status_code, answer["Location"]) == (302, sign_in)
    assert f'<html lang="{tag}">' in client.get(sign_in).content.decode()


@pytest.mark.django_db
def test_language_switch_leads_to_no_other_site(client: Client) -> None:
    answer = client.post(reverse("set_language"), {"language": "en", "next": "https://elsewhere.example.org/"})
    assert answer["Location"] == "/"


@pytest.mark.django_db
def test_error_page_of_the_portal_stands_without_the_database(client: Client) -> None:
    with CaptureQueriesContext(connection) as asked:
        page = Template("{% include '500.html' %}").render(Context())
    assert len(asked) == 0
    assert page.count("<h1>") == 1
