"""What every test stands on: an environment of its own, never the developer's database, files or letters.

The environment is set before Django reads its settings, which is why it happens here at import, at the top.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

SCRATCH = Path(tempfile.mkdtemp(prefix="portal-tests."))
(SCRATCH / "static").mkdir()  # WhiteNoise looks for it
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
    os.environ["DATABASE_URL"] = f"sqlite:///{SCRATCH / 'portal.sqlite3'}"
os.environ.update(
    DJANGO_SETTINGS_MODULE="centre.settings",
    SECRET_KEY="only-for-tests-" + "x" * 50,
    VAR_DIR=str(SCRATCH),
    HTTPS="false",
    DEBUG="false",
    ALLOWED_HOSTS="testserver,127.0.0.1,localhost",
    CACHE_URL="locmemcache://",
)

import random  # noqa: E402 - after the environment, like all that follows
from collections.abc import Iterator  # noqa: E402

import django  # noqa: E402
import hypothesis  # noqa: E402
import pytest  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.test.utils import setup_databases, teardown_databases  # noqa: E402
from django.utils import translation  # noqa: E402
from hypothesis.database import DirectoryBasedExampleDatabase  # noqa: E402
from pytest_django import DjangoDbBlocker  # noqa: E402

from tests import migrated  # noqa: E402
from tests.databases import own_copy  # noqa: E402

settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the slow ones are Django's to test
django.setup()

TESTS = Path(__file__).resolve().parent
MARKED_FOLDERS = {TESTS / "browser": "browser", TESTS / "postgres": "postgres"}
ON_POSTGRES = settings.DATABASES["default"]["ENGINE"].endswith("postgresql")

hypothesis.settings.register_profile(
    "quick",
    deadline=None,
    max_examples=50,
    print_blob=True,
    database=DirectoryBasedExampleDatabase(TESTS.parent / ".cache" / "hypothesis"),
)
hypothesis.settings.register_profile("nightly", hypothesis.settings.get_profile("quick"), max_examples=5_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed of this run's property tests, unless `--hypothesis-seed` gives one, so that it can be printed."""
    if config.getoption("hypothesis_seed", None) is None:
        config.option.hypothesis_seed = str(random.SystemRandom().randrange(2**32))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    database = "PostgreSQL" if ON_POSTGRES else "SQLite"
    terminalreporter.write_line(
        f"on {database}; property tests repeat with --hypothesis-seed={config.option.hypothesis_seed}"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder; leave out, counted as deselected, those that need the other database.

    What uses no database is tested once, beside SQLite.
    """
    for item in items:
        for folder, mark in MARKED_FOLDERS.items():
            if folder in item.path.parents:
                item.add_marker(mark)
    elsewhere = [item for item in items if belongs_elsewhere(item)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        left_out = set(elsewhere)
        items[:] = [item for item in items if item not in left_out]


def belongs_elsewhere(item: pytest.Item) -> bool:
    """Whether a test is made in the stage of the other database."""
    if not ON_POSTGRES:
        return item.get_closest_marker("postgres") is not None
    if item.get_closest_marker("sqlite"):
        return True
    if item.get_closest_marker("postgres") or item.get_closest_marker("browser") or item.get_closest_marker("hard"):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    return not item.get_closest_marker("django_db") and not fixtures & {"db", "transactional_db", "committed"}


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Give each process of each run a test database of its own name; on SQLite a file, so that it can be copied."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:8]
    name = f"test_portal_{run}_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    settings.DATABASES["default"].setdefault("TEST", {})
    settings.DATABASES["default"]["TEST"]["NAME"] = name if ON_POSTGRES else str(SCRATCH / f"{name}.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Make the test database for `db` and for `committed` (pytest-django's own makes it for tests marked django_db)."""
    name = str(settings.DATABASES["default"]["TEST"]["NAME"])
    with django_db_blocker.unblock():
        target = None if ON_POSTGRES else migrated.take(name)
        made = setup_databases(verbosity=0, interactive=False, keepdb=not ON_POSTGRES)
        if target is not None:
            migrated.keep(name, target)
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)


@pytest.fixture(autouse=True)
def as_if_first() -> Iterator[None]:
    """No rate limit, cached figure or language outlives its test."""
    translation.activate(settings.LANGUAGE_CODE)
    yield
    cache.clear()


@pytest.fixture
def committed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database of this test's own, where commits are real and threads and servers see them.

    It is a copy of the migrated test database and is dropped afterwards: nothing is flushed, so no append-only trigger
    ever has to be switched off. Use it instead of `db`, never beside it.
    """
    with django_db_blocker.unblock(), own_copy():
        yield
