"""The tests against a real Slurm run only where they are asked for by their mark, as `make test-slurm` does."""

import os
from pathlib import Path

import pytest

from tests.slurm.played import Played, read_played


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "slurm" not in config.option.markexpr:
        elsewhere = [item for item in items if item.get_closest_marker("slurm")]
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if not item.get_closest_marker("slurm")]


@pytest.fixture(scope="session")
def played() -> Played:
    """The history that `python -m tests.slurm` has played; its cluster is still up."""
    return read_played(Path(os.environ["SLURM_PLAYED"]))
