"""Helpers are shared with the mounted tests."""
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "fs"))

import world  # noqa: E402  (needs the path)


LONG = {"OUTBOXFS_KILL_ROUNDS", "OUTBOXFS_CONCURRENCY_SECONDS",
        "OUTBOXFS_CRASH_CALLS"}


def pytest_collection_modifyitems(items):
    """A hang is a failure, unless many hours were asked for."""
    for item in items:
        item.add_marker(pytest.mark.timeout(
            0 if LONG & set(os.environ) else 400))


def memory():
    """Where fsync costs nothing: what a killed process wrote stays anyway."""
    return "/dev/shm" if pathlib.Path("/dev/shm").is_mount() else None


@pytest.fixture
def work():
    path = pathlib.Path(tempfile.mkdtemp(prefix="outboxfs-", dir=memory()))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def template():
    """A database with a history of exports, and changes since then."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="outboxfs-", dir=memory()))
    made = world.World(path / "made")
    made.begin()
    made.add_history()
    made.wait_a_second()
    yield made
    shutil.rmtree(path, ignore_errors=True)
