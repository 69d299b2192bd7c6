"""output/ and snapshots/: what was exported, as trees."""
import json
import os
import threading
import time
import zipfile

import pytest

import outbox
from outbox import run, sqlite

PARIS = "Paris/Actual/2026-01"


def export(mnt, words):
    return run("bash", "-c", f"echo '{words} wait=yes' > control/export",
               cwd=mnt.path)


def test_before_the_first_export(mnt):
    for name in ("output", "snapshots", "outbox", "jobs"):
        assert os.listdir(mnt / name) == []
        assert abs(os.stat(mnt / name).st_mtime - time.time()) < 100
    assert not (mnt / "data/SnapshotParams.json").exists()
    assert "SnapshotParams.json" not in os.listdir(mnt / "data")
    assert not (mnt / "snapshots/1").exists()
    assert json.loads((mnt / "status.json").read_text())[
        "last_snapshot"] is None


def test_output_is_what_was_exported(mnt, sales):
    os.listdir(mnt / "output")
    export(mnt, "all")
    run("diff", "-r", "--exclude=pov.json", "--exclude=process_status.csv",
        "--exclude=SnapshotParams.json", mnt / "data", mnt / "output")
    was = (mnt / f"output/{PARIS}/fact.csv").read_bytes()
    sqlite(sales, "UPDATE fact SET amount = 99 WHERE location_id = 1"
           " AND category_id = 1 AND period = '2026-01'")
    assert (mnt / f"output/{PARIS}/fact.csv").read_bytes() == was
    assert (mnt / f"data/{PARIS}/fact.csv").read_bytes() != was
    out = run("diff", "-rq", mnt / f"data/{PARIS}/fact.csv",
              mnt / f"output/{PARIS}/fact.csv", check=False)
    assert "differ" in out.stdout


def test_a_change_shows_at_once(mnt, sales):
    export(mnt, "all")
    path = mnt / f"output/{PARIS}/fact.csv"
    for i in range(1, 6):
        before = (path.read_bytes(), os.stat(path))
        sqlite(sales, f"UPDATE fact SET amount = {i} WHERE location_id = 1")
        export(mnt, "incremental")
        after = (path.read_bytes(), os.stat(path))
        assert after[0] != before[0]
        assert after[1].st_mtime > before[1].st_mtime
        assert after[0] == (mnt / f"data/{PARIS}/fact.csv").read_bytes()


def test_what_comes_and_goes(mnt, sales):
    export(mnt, "all")
    assert sorted(os.listdir(mnt / "output")) == ["Lima", "Oslo", "Paris"]
    run("ls", "-lR", mnt / "output")
    assert not (mnt / "output/Quito").exists()
    sqlite(sales, "INSERT INTO location VALUES(4, 'Quito')",
           "INSERT INTO fact(location_id, category_id, period)"
           " VALUES(4, 1, '2026-01')",
           "DELETE FROM fact WHERE location_id = 3",
           "DELETE FROM process_status WHERE location_id = 3",
           "UPDATE location SET name = 'Bergen' WHERE id = 2")
    export(mnt, "incremental")
    assert sorted(os.listdir(mnt / "output")) == ["Bergen", "Paris", "Quito"]
    assert not (mnt / "output/Lima").exists()
    assert not (mnt / "output/Oslo").exists()
    assert (mnt / "output/Quito/Actual/2026-01/fact.csv").exists()
    assert (mnt / "output/Bergen/Actual/2026-01/fact.csv").exists()
    old = mnt / "snapshots/1/output"
    assert sorted(os.listdir(old)) == ["Lima", "Oslo", "Paris"]
    assert (old / "Lima/Actual/2026-01/fact.csv").read_text()


def test_snapshots_never_change(mnt, sales):
    export(mnt, "all")
    first = outbox.files(mnt / "snapshots/1")
    stats = outbox.tree(mnt / "snapshots/1")
    assert b"setup/location.csv" in first
    assert b"data/SnapshotParams.json" in first
    assert f"data/{PARIS}/process_status.csv".encode() in first
    assert f"output/{PARIS}/fact.csv".encode() in first
    for i in range(3):
        sqlite(sales, f"UPDATE fact SET amount = {i}",
               f"UPDATE location SET name = name || {i}")
        export(mnt, "all")
    assert outbox.files(mnt / "snapshots/1") == first
    assert outbox.tree(mnt / "snapshots/1") == stats
    assert os.readlink(mnt / "snapshots/latest") == "4"
    run("diff", "-r", mnt / "snapshots/latest/output", mnt / "output")
    assert sorted(os.listdir(mnt / "snapshots")) == [
        "1", "2", "3", "4", "latest"]


def test_sizes_in_snapshots_are_right(mnt):
    export(mnt, "all")
    for name, (kind, size, _) in outbox.tree(mnt / "snapshots").items():
        full = os.path.join(os.fsencode(mnt / "snapshots"), name)
        if kind == "f" and not os.path.islink(full):
            with open(full, "rb") as file:
                assert len(file.read()) == size, name


def test_params_of_the_last_export(mnt, sales):
    export(mnt, "all")
    path = mnt / "data/SnapshotParams.json"
    one = json.loads(path.read_text())
    assert "SnapshotParams.json" in os.listdir(mnt / "data")
    assert path.read_bytes() == (
        mnt / "snapshots/1/data/SnapshotParams.json").read_bytes()
    before = os.stat(path)
    export(mnt, "incremental")
    two = json.loads(path.read_text())
    assert one["snapshot"] == 1 and two["snapshot"] == 2
    assert os.stat(path).st_mtime > before.st_mtime
    assert json.loads((mnt / "status.json").read_text())[
        "last_snapshot"]["snapshot"] == 2


def test_unchanged_files_are_the_same_node(mnt, sales):
    export(mnt, "all")
    sqlite(sales, "UPDATE fact SET amount = 1 WHERE location_id = 2")
    export(mnt, "incremental")
    a = os.stat(mnt / f"snapshots/1/output/{PARIS}/fact.csv")
    b = os.stat(mnt / f"snapshots/2/output/{PARIS}/fact.csv")
    c = os.stat(mnt / f"output/{PARIS}/fact.csv")
    assert a == b
    assert (c.st_size, c.st_mtime) == (a.st_size, a.st_mtime)


def test_second_rsync_of_output_transfers_nothing(mnt, work):
    export(mnt, "all")
    run("rsync", "-a", f"{mnt.path}/output/", work / "copy")
    assert run("rsync", "-ai", f"{mnt.path}/output/",
               work / "copy").stdout == ""
    export(mnt, "all")
    assert run("rsync", "-ai", "--omit-dir-times", f"{mnt.path}/output/",
               work / "copy").stdout == ""


def test_purged_snapshots_are_gone_at_once(mnt, sales):
    for i in range(4):
        sqlite(sales, f"UPDATE fact SET amount = {i}")
        export(mnt, "all")
        run("sh", "-c", f"rm {mnt.path}/outbox/*")
    run("ls", "-lR", mnt / "snapshots")
    run("bash", "-c",
        f"echo 'snapshots keep=1 wait=yes' > {mnt.path}/control/purge")
    left = [n for n in os.listdir(mnt / "snapshots") if n != "latest"]
    assert "4" in left and "1" not in left
    assert not (mnt / "snapshots/1").exists()
    assert (mnt / f"snapshots/4/output/{PARIS}/fact.csv").read_text()


def test_names_that_change_places(mnt, sales):
    """rsync believes size and time: where a path means other rows, both must
    not stay the same."""
    export(mnt, "all")
    paths = [mnt / f"output/{n}/Actual/2026-01/fact.csv"
             for n in ("Lima", "Oslo")]
    before = [(p.read_bytes(), os.stat(p).st_mtime) for p in paths]
    sqlite(sales, "UPDATE location SET name = 'x' WHERE id = 3",
           "UPDATE location SET name = 'Lima' WHERE id = 2",
           "UPDATE location SET name = 'Oslo' WHERE id = 3")
    export(mnt, "incremental")
    after = [(p.read_bytes(), os.stat(p).st_mtime) for p in paths]
    assert [a[0] for a in after] == [b[0] for b in reversed(before)]
    for a, b in zip(after, before):
        assert a[1] > b[1]


@pytest.mark.parametrize("name", [
    "output/Paris", "snapshots/1/output/Paris", "snapshots/1",
    "jobs/1", "output"])
def test_nothing_can_be_written(mnt, name):
    export(mnt, "all")
    done = run("mkdir", mnt / name / "x", check=False)
    assert "Read-only file system" in done.stderr
    done = run("rm", "-rf", mnt / name, check=False)
    assert done.returncode != 0


def test_live_file_is_the_stored_one(work, mounts, sales):
    """After a remount an unchanged file comes out of the store, the same."""
    mnt = mounts(sales, work / "mnt")
    before = outbox.files(mnt / "data")
    export(mnt, "all")
    assert mnt.unmount() == 0
    again = mounts(sales, work / "mnt")
    after = outbox.files(again / "data")
    after.pop(b"SnapshotParams.json")
    assert after == before


def test_exports_while_others_walk_the_tree(mnt, sales):
    """Notices and requests must not wait for each other; nothing is torn."""
    stop = threading.Event()
    errors = []

    def walk():
        while not stop.is_set():
            # What goes while it is listed is no error of the mount.
            run("find", mnt / "output", mnt / "outbox", mnt / "snapshots",
                mnt / "jobs", "-ls", check=False)

    def read():
        while not stop.is_set():
            for name in os.listdir(mnt / "outbox"):
                try:
                    with zipfile.ZipFile(mnt / "outbox" / name) as z:
                        bad = z.testzip()
                except FileNotFoundError:
                    continue
                except (OSError, zipfile.BadZipFile) as e:
                    bad = repr(e)
                if bad:
                    errors.append((name, bad))

    threads = [threading.Thread(target=t) for t in (walk, walk, read, read)]
    for t in threads:
        t.start()
    try:
        for i in range(15):
            sqlite(sales, f"UPDATE fact SET amount = {i} WHERE location_id ="
                   f" {i % 3 + 1}",
                   f"INSERT OR IGNORE INTO location VALUES({i + 10}, 'N{i}')",
                   "INSERT INTO fact(location_id, category_id, period)"
                   f" VALUES({i + 10}, 1, '2026-01')",
                   f"DELETE FROM fact WHERE location_id = {i + 8}")
            export(mnt, f"incremental file=z{i % 4} overwrite=yes")
            assert (mnt / f"output/N{i}/Actual/2026-01/fact.csv").exists()
            if i > 2:
                assert not (mnt / f"output/N{i - 2}").exists()
            if i % 5 == 4:
                os.unlink(mnt / f"outbox/z{i % 4}.zip")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not errors
    run("diff", "-rq", "--exclude=pov.json", "--exclude=process_status.csv",
        "--exclude=SnapshotParams.json", "--exclude=Lima", mnt / "data",
        mnt / "output")
