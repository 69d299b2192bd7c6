import pathlib
import shutil
import tempfile

import pytest

import outbox


@pytest.fixture
def work():
    """A directory of the test's own, on a disk that knows O_TMPFILE."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="outboxfs-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def mounts():
    """Makes mounts and ends them, whatever the test does."""
    made = []

    def make(*args, **kwargs):
        mount = outbox.Mount(*args, **kwargs)
        made.append(mount)
        return mount

    yield make
    for mount in reversed(made):
        mount.close()


@pytest.fixture
def sales(work):
    return outbox.make_sales(work / "sales.db")


@pytest.fixture
def mnt(work, mounts, sales):
    return mounts(sales, work / "mnt")
