"""ZIPs in outbox/: generated when read, the same bytes for ever."""
import hashlib
import json
import os
import random
import threading
import zipfile

import pytest

from outbox import run, sqlite


def export(mnt, words):
    return run("bash", "-c", f"echo '{words} wait=yes' > control/export",
               cwd=mnt.path)


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def large(sales):
    """Enough that a ZIP has more than a few pages, and a large file."""
    sqlite(sales,
           "INSERT INTO fact(location_id, category_id, period, amount, note)"
           " SELECT 1, 1, '2026-03', value / 7.0, hex(randomblob(40))"
           " FROM generate_series(1, 30000)",
           "INSERT INTO fact(location_id, category_id, period, amount, note)"
           " SELECT 2, 1, printf('P%04d', value), value / 7.0, 'x'"
           " FROM generate_series(1, 300)")
    return sales


@pytest.fixture
def mnt(work, mounts, large):
    mount = mounts(large, work / "mnt")
    export(mount, "all file=a")
    return mount


def test_other_programs_read_it(mnt, work):
    path = mnt / "outbox/a.zip"
    run("unzip", "-tqq", path)
    with zipfile.ZipFile(path) as z:
        assert z.testzip() is None
        names = z.namelist()
        assert "data/SnapshotParams.json" in names
        assert "datapackage.json" in names
        assert "setup/location.csv" in names
        for name in names:
            if name.startswith("output/"):
                assert z.read(name) == (mnt / name).read_bytes(), name
    run("unzip", "-q", path, "-d", work / "out")
    run("diff", "-r", work / "out/output", mnt / "output")
    run("diff", "-r", work / "out/setup", mnt / "setup")


def test_size_and_time_are_right_before_it_is_read(mnt, mounts, work, large):
    before = os.stat(mnt / "outbox/a.zip")
    assert before.st_size == len((mnt / "outbox/a.zip").read_bytes())
    digest = sha(mnt / "outbox/a.zip")
    assert mnt.unmount() == 0
    again = mounts(large, work / "mnt")
    after = os.stat(again / "outbox/a.zip")
    assert (after.st_size, after.st_mtime, after.st_ino) == (
        before.st_size, before.st_mtime, before.st_ino)
    assert sha(again / "outbox/a.zip") == digest


def test_second_rsync_transfers_nothing(mnt, mounts, work, large):
    export(mnt, "setup file=b")
    run("rsync", "-a", f"{mnt.path}/outbox/", work / "copy")
    again = ["rsync", "-ai", f"{mnt.path}/outbox/", work / "copy"]
    assert run(*again).stdout == ""
    assert run("rsync", "-nai", "--checksum", f"{mnt.path}/outbox/",
               work / "copy").stdout == ""
    assert mnt.unmount() == 0
    mounts(large, work / "mnt")
    # The directory's own time is that of mounting.
    assert run(*again, "--omit-dir-times").stdout == ""


def test_reads_at_any_offset(mnt, work):
    whole = (mnt / "outbox/a.zip").read_bytes()
    rng = random.Random(1)
    fd = os.open(mnt / "outbox/a.zip", os.O_RDONLY)
    direct = os.open(mnt / "outbox/a.zip", os.O_RDONLY | os.O_DIRECT)
    for _ in range(200):
        at = rng.randrange(len(whole) + 100)
        n = rng.choice([1, 30, 512, 4096, 70000, 1 << 20])
        assert os.pread(fd, n, at) == whole[at:at + n]
        assert os.pread(direct, n, at) == whole[at:at + n]
    os.close(fd)
    os.close(direct)


def test_many_readers_at_once(mnt):
    digest = sha(mnt / "outbox/a.zip")
    wrong = []

    def read():
        for _ in range(3):
            if run("sh", "-c", f"cat {mnt.path}/outbox/a.zip | sha256sum"
                   ).stdout.split()[0] != digest:
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(12)]
    for t in threads:
        t.start()
    run("ls", "-lR", mnt / "output")
    for t in threads:
        t.join()
    assert not wrong


def test_withdrawn_while_it_is_read(mnt):
    whole = (mnt / "outbox/a.zip").read_bytes()
    with open(mnt / "outbox/a.zip", "rb") as file:
        begin = file.read(10)
        run("rm", mnt / "outbox/a.zip")
        assert not (mnt / "outbox/a.zip").exists()
        assert os.listdir(mnt / "outbox") == []
        assert os.fstat(file.fileno()).st_size == len(whole)
        assert begin + file.read() == whole
    export(mnt, "all file=a")
    assert (mnt / "outbox/a.zip").exists()


def test_appears_at_once_and_complete(mnt):
    assert not (mnt / "outbox/b.zip").exists()
    for i in range(5):
        export(mnt, f"all file=b overwrite=yes")
        assert (mnt / "outbox/b.zip").exists()
        run("unzip", "-tqq", mnt / "outbox/b.zip")
        assert sorted(os.listdir(mnt / "outbox")) == ["a.zip", "b.zip"], i


def test_overwritten_while_it_is_read(mnt, large):
    whole = (mnt / "outbox/a.zip").read_bytes()
    with open(mnt / "outbox/a.zip", "rb") as file:
        file.read(10)
        sqlite(large, "UPDATE fact SET amount = 0 WHERE location_id = 2")
        export(mnt, "all file=a overwrite=yes")
        assert file.read() == whole[10:]
    assert (mnt / "outbox/a.zip").read_bytes() != whole
    run("unzip", "-tqq", mnt / "outbox/a.zip")


def test_purged_zips_are_gone_at_once(mnt):
    for name in ("b", "c"):
        export(mnt, f"setup file={name}")
    assert len(run("ls", "-l", mnt / "outbox").stdout.splitlines()) == 4
    run("bash", "-c", f"echo 'outbox name=b* wait=yes' > "
        f"{mnt.path}/control/purge")
    assert not (mnt / "outbox/b.zip").exists()
    assert sorted(os.listdir(mnt / "outbox")) == ["a.zip", "c.zip"]


def test_writing_is_refused(mnt, work):
    for args in (["sh", "-c", f"echo x > {mnt.path}/outbox/a.zip"],
                 ["sh", "-c", f"echo x > {mnt.path}/outbox/new"],
                 ["mv", mnt / "outbox/a.zip", mnt / "outbox/b.zip"],
                 ["mkdir", mnt / "outbox/x"],
                 ["truncate", "-s", "0", mnt / "outbox/a.zip"]):
        done = run(*args, check=False)
        assert done.returncode != 0
        assert "not permitted" in done.stderr, done.stderr
    assert os.listdir(mnt / "outbox") == ["a.zip"]


def test_with_kernel_cache(mnt, mounts, work, large):
    digest = sha(mnt / "outbox/a.zip")
    assert mnt.unmount() == 0
    again = mounts(large, work / "mnt", "-o", "kernel_cache")
    assert sha(again / "outbox/a.zip") == digest
    run("unzip", "-tqq", again / "outbox/a.zip")
    assert (again / "output/Oslo/Actual/2026-01/fact.csv").read_bytes() == \
        (again / "data/Oslo/Actual/2026-01/fact.csv").read_bytes()
    assert json.loads((again / "jobs/1/result.json").read_text())["job"] == 1
