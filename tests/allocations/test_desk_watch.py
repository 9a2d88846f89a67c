"""The desk beside what waits: overdrawn, ending and idle allocations, and how the books of each cluster stand."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format

from allocations.importing.health import coverage_of_clusters
from allocations.importing.standing import standings
from allocations.models import Allocation, UsageImport
from centre import registry
from centre.models import GpuPool, User
from centre.permissions import StaffRole
from centre.registry import DeskGroup, DeskPart
from tests import make
from tests.allocations.watched import DAY, ending, overdrawn, run_of, some_of_each, told

pytestmark = [pytest.mark.django_db, pytest.mark.page]

R = StaffRole
OVERDRAWN, ENDING, IDLE = "Overdrawn allocations", "Allocations that end within 30 days", "No usage for 30 days"
IMPORTS = "Usage imports"


@pytest.fixture
def officer() -> User:
    return make.staff(R.ALLOCATION_OFFICER)


@pytest.fixture
def pool() -> GpuPool:
    return make.pool("gpu", cluster=make.cluster("hgx"))


def groups(user: User, part: DeskPart = DeskPart.WATCH) -> dict[str, DeskGroup]:
    """The groups of a part of somebody's desk, by their titles, the person loaded anew as for a request."""
    sections = registry.desk_of(User.objects.get(pk=user.pk), timezone.now(), parts=frozenset({part}))
    return {str(group.title): group for section in sections for group in section.groups}


def titles(user: User, group: str, part: DeskPart = DeskPart.WATCH) -> list[str]:
    found = groups(user, part).get(group)
    return [str(line.title) for line in found.lines] if found else []


def idle_references(user: User) -> list[str]:
    return [title.partition(" ")[0] for title in titles(user, IDLE)]


def page_of(row: Allocation) -> str:
    return reverse("admin:allocations_allocation_change", args=[row.pk])


# ---------------------------------------------------------------------------------------------- overdrawn and ending


def test_overdrawn_are_told_the_worst_first_by_how_much_and_lead_to_their_page(officer: User, pool: GpuPool) -> None:
    project = make.project("maps", tenant=make.tenant(name_en="Harbour University"))
    made = [
        overdrawn(by=2, reference="A-1", pool=pool, project=project),
        overdrawn(by=5, reference="A-2", pool=pool),
        overdrawn(by=9, reference="A-3", pool=pool),
        overdrawn(by=0, reference="A-4", pool=pool),
    ]
    told(pool.cluster, *(run for _, run in made))
    Allocation.objects.filter(reference="A-3").update(state=Allocation.State.SUSPENDED)
    group = groups(officer)[OVERDRAWN]
    assert [line.title for line in group.lines] == [
        "A-2 is overdrawn by 5 GPU-hours",
        "A-1 is overdrawn by 2 GPU-hours",
    ]
    assert (group.lines[1].note, group.lines[1].url) == (
        "1 were granted. For maps of Harbour University.",
        page_of(made[0][0]),
    )


def test_those_that_end_within_30_days_are_told_the_first_to_end_first(officer: User, pool: GpuPool) -> None:
    for days in (30, 29, 0, -1):
        ending(days=days, reference=f"IN{days}", pool=pool)
    make.allocation(reference="LATER", pool=pool, start_on=make.today() + DAY, end_on=make.today() + 9 * DAY)
    on = [date_format(make.today() + days * DAY) for days in (0, 29)]
    assert titles(officer, ENDING) == [f"IN0 ends on {on[0]}", f"IN29 ends on {on[1]}"]


def test_one_that_ends_tells_hours_left_and_when_they_run_out(officer: User, pool: GpuPool) -> None:
    project = make.project("maps", tenant=make.tenant(name_en="Harbour University"))
    rows = [ending(days=20, pool=pool, hours=48, project=project), ending(days=20, pool=pool, reference="UNUSED")]
    told(pool.cluster, *(run_of(rows[0], days_ago=day, hours=6) for day in range(1, 8)))
    notes = [str(line.note) for line in groups(officer)[ENDING].lines]
    assert notes[0].startswith("1,000 GPU-hours left. No usage yet. For ")
    assert notes[1].startswith("6 GPU-hours left. Runs out ")
    assert notes[1].endswith(" For maps of Harbour University.")


def test_an_overdrawn_one_that_ends_is_told_once(officer: User, pool: GpuPool) -> None:
    _allocation, run = overdrawn(by=3, reference="A-1", pool=pool, end_on=make.today())
    told(pool.cluster, run)
    assert {title: group.count for title, group in groups(officer).items()} == {OVERDRAWN: 1}


# ---------------------------------------------------------------------------------------------- no usage for 30 days


def test_idle_are_those_with_hours_and_without_use_the_most_hours_first(officer: User, pool: GpuPool) -> None:
    today = make.today()
    make.allocation(reference="NEVER", pool=pool, hours=5)
    before = make.allocation(reference="BEFORE", pool=pool, hours=900)
    lately = make.allocation(reference="LATELY", pool=pool)
    make.allocation(reference="YOUNG", pool=pool, start_on=today - 29 * DAY)
    make.allocation(reference="THIRTY", pool=pool, hours=7, start_on=today - 30 * DAY)
    make.allocation(reference="HALTED", pool=pool)
    make.allocation(reference="ENDED", pool=pool, end_on=today - DAY)
    empty = make.allocation(reference="EMPTY", pool=pool, hours=1)
    told(
        pool.cluster,
        run_of(before, days_ago=45),
        run_of(lately, days_ago=29),
        run_of(empty, days_ago=45),
    )
    Allocation.objects.filter(reference="HALTED").update(state=Allocation.State.SUSPENDED)
    assert idle_references(officer) == ["BEFORE", "THIRTY", "NEVER"]
    lines = groups(officer)[IDLE].lines
    last_second = timezone.now() - 45 * DAY + timedelta(minutes=59, seconds=59)  # an hour long, perhaps over midnight
    used_on = date_format(last_second.astimezone(pool.cluster.zone))
    assert str(lines[0].note).startswith(f"Last used on {used_on}. The period ends on ")
    assert str(lines[2].note).startswith("Never used. The period ends on ")
    assert (lines[0].title, lines[0].url) == ("BEFORE has 899 GPU-hours left", page_of(before))


def test_nothing_is_idle_where_no_usage_ever_came_in(officer: User, pool: GpuPool) -> None:
    make.allocation(pool=pool)
    assert idle_references(officer) == []


@pytest.mark.parametrize(
    ("windows", "is_told"),
    [
        pytest.param([(90, 0)], True, id="complete"),
        pytest.param([(90, 20), (20, 0)], True, id="complete in parts"),
        pytest.param([(90, 20), (19, 0)], False, id="a day is missing"),
        pytest.param([(90, 60), (50, 0)], True, id="a day before is missing"),
        pytest.param([(90, 2)], False, id="late"),
    ],
)
def test_nobody_is_called_idle_on_books_that_are_not_complete(
    officer: User, pool: GpuPool, windows: list[tuple[int, int]], is_told: bool
) -> None:
    make.allocation(reference="IDLE", pool=pool)
    now = timezone.now().replace(microsecond=0)
    for begins, ends in windows:
        told(pool.cluster, days=begins - ends, as_of=now - ends * DAY)
    assert idle_references(officer) == (["IDLE"] if is_told else [])


def test_the_books_of_one_cluster_say_nothing_of_another(officer: User, pool: GpuPool) -> None:
    other = make.pool()
    make.allocation(reference="HERE", pool=pool)
    make.allocation(reference="THERE", pool=other)
    told(pool.cluster)
    assert idle_references(officer) == ["HERE"]


# ---------------------------------------------------------------------------------------------- who, how much, where


def test_each_role_sees_what_it_may_look_at(pool: GpuPool) -> None:
    some_of_each(1)
    watched = [OVERDRAWN, ENDING, IDLE]
    expected: dict[StaffRole, tuple[list[str], list[str]]] = {
        R.TENANT_OFFICER: (watched, [IMPORTS]),
        R.ALLOCATION_OFFICER: (watched, [IMPORTS]),
        R.SUBSIDY_SECRETARY: (watched, []),
        R.COMMITTEE_MEMBER: ([], []),
        R.COMMITTEE_CHAIR: ([], []),
        R.FINANCE_OFFICER: (watched, []),
        R.MANAGEMENT: (watched, []),
        R.AUDITOR: (watched, [IMPORTS]),
        R.ADMINISTRATOR: ([], [IMPORTS]),
    }
    staff = {role: make.staff(role) for role in StaffRole}
    seen = {role: (list(groups(user)), list(groups(user, DeskPart.STANDING))) for role, user in staff.items()}
    assert seen == expected


def test_every_line_and_list_opens_for_each_role_that_sees_it(client: Client) -> None:
    some_of_each(1)
    opened = 0
    for role in StaffRole:
        user = make.staff(role)
        client.force_login(user)
        for part in (DeskPart.WATCH, DeskPart.STANDING):
            for group in groups(user, part).values():
                for url in (group.url, *(line.url for line in group.lines)):
                    assert client.get(url).status_code == 200, (role, url)
                    opened += 1
    assert opened > 30


def test_a_group_is_cut_counted_and_its_list_has_as_many(client: Client, officer: User, pool: GpuPool) -> None:
    runs = []
    for number in range(registry.DESK_SHOWS + 2):
        runs.append(overdrawn(by=number + 1, pool=pool)[1])
        ending(days=number, pool=pool)
        make.allocation(pool=pool)
    told(pool.cluster, *runs)
    found = groups(officer)
    client.force_login(officer)
    page = client.get(reverse("desk")).content.decode()
    for group in (found[OVERDRAWN], found[ENDING]):
        assert (len(group.lines), group.count) == (registry.DESK_SHOWS, registry.DESK_SHOWS + 2)
        assert "7 allocations" in client.get(group.url).content.decode()
        assert f'<a href="{group.url.replace("&", "&amp;")}">and 2 more<' in page
    assert (found[IDLE].count, "14 allocations" in client.get(found[IDLE].url).content.decode()) == (14, True)


# ---------------------------------------------------------------------------------------------- how the books stand


def stand(user: User) -> list[tuple[Any, str, datetime | None]]:
    group = groups(user, DeskPart.STANDING).get(IMPORTS)
    return [(line.title, str(line.note), line.since) for line in group.lines] if group else []


def test_books_of_each_cluster_are_told_with_their_age_and_what_is_missing(officer: User, pool: GpuPool) -> None:
    now = timezone.now().replace(microsecond=0)
    make.pool(cluster=make.cluster("new"))
    told(pool.cluster, days=3, as_of=now - 5 * DAY)
    told(pool.cluster, days=1, as_of=now - timedelta(hours=2))
    quiet = make.pool(cluster=make.cluster("quiet")).cluster
    make.imported(cluster=quiet, as_of=now)
    told_of = stand(officer)
    assert [(title, since) for title, _, since in told_of] == [
        ("new: no usage has come in yet", None),
        ("Usage of hgx", now - timedelta(hours=2)),
        ("Usage of quiet", now),
    ]
    endings = [note.rpartition(" HKT. ")[2] for _, note, _ in told_of[1:]]
    assert endings == ["1 window is missing.", "Whether a window is missing, nobody can tell."]


def test_missing_windows_are_looked_for_in_the_last_400_days(pool: GpuPool) -> None:
    now = timezone.now().replace(microsecond=0)
    for begins, ends in ((900, 800), (700, 450), (420, 100), (90, 0)):
        UsageImport.objects.create(
            cluster=pool.cluster,
            file_name="x.txt",
            time_zone="UTC",
            received_at=now,
            state=UsageImport.State.DONE,
            as_of=now - ends * DAY,
            covers_from=now - begins * DAY,
        )
    [standing], _queue = standings(at=now)
    assert standing.coverage is not None
    assert [gap.begins for gap in standing.coverage.gaps] == [now - 100 * DAY]
    whole = coverage_of_clusters()[pool.cluster.pk]
    assert [gap.begins for gap in whole.gaps] == [now - 800 * DAY, now - 450 * DAY, now - 100 * DAY]
