"""What all tests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import fjeld
from fjeld.kernel import files
from fjeld.sync_points import clear_sync_points
from tests.small import small_options

# Time says something of the machine and what else it does, and nothing of the code.
settings.register_profile("fjeld", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fjeld")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a keyspace can be made: the parent is there, the folder is not."""
    return tmp_path / "keyspace"


@pytest.fixture
def small() -> fjeld.KeyspaceOptions:
    """Options that make a deep tree of little data."""
    return small_options()


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is one: for tests that open hundreds of keyspaces."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _nothing_installed() -> Iterator[None]:
    """No fault, trace or sync point outlives its test."""
    yield
    files.clear_faults()
    files.stop_trace()
    clear_sync_points()
