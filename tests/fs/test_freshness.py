"""An open or a stat after a commit by another program shows that commit."""
import errno
import os
import sqlite3
import subprocess
import sys
import time

from outbox import files, sqlite, tree

PARIS = "data/Paris/Actual/2026-01"


def test_update_changes_exactly_one_data_file(mnt, sales):
    before, was = tree(mnt.path), files(mnt.path / "data")
    sqlite(sales, "UPDATE fact SET amount = 99.5 WHERE id = 1")
    after, now = tree(mnt.path), files(mnt.path / "data")
    changed = {n for n in was if was[n] != now.get(n)}
    assert changed == {b"Paris/Actual/2026-01/fact.csv",
                       b"Paris/Actual/2026-01/pov.json"}
    assert b"99.5" in now[b"Paris/Actual/2026-01/fact.csv"]
    moved = {n for n in before
             if before[n][0] == "f" and before[n] != after[n]
             and n != b"status.json"}
    assert moved == {b"data/" + n for n in changed}
    for name in moved:
        assert after[name][2] > before[name][2]


def test_stat_and_open_right_after_each_commit(mnt, sales):
    db = sqlite3.connect(sales, isolation_level=None)
    path = mnt / PARIS / "fact.csv"
    for i in range(300):
        db.execute("UPDATE fact SET note = ? WHERE id = 1", ("x" * i,))
        size = os.stat(path).st_size
        text = path.read_text(encoding="utf-8")
        assert len(text) == size, i
        assert f",{'x' * i if i else chr(34) * 2}\n" in text, i
    db.close()


def test_open_file_keeps_the_bytes_it_was_opened_with(mnt, sales):
    path = mnt / PARIS / "fact.csv"
    old = path.read_bytes()
    with open(path, "rb", buffering=0) as file:
        start = file.read(10)
        sqlite(sales, "UPDATE fact SET note = 'something much longer'")
        assert path.read_bytes() != old
        rest = b""
        while piece := file.read(7):
            rest += piece
    assert start + rest == old


def test_descriptor_that_a_child_inherited_and_closed(mnt, sales):
    """The kernel tells of every close(2), not only of the last."""
    path = mnt / PARIS / "fact.csv"
    with open(path, "rb") as file:
        was = os.fstat(file.fileno())
        subprocess.run(["true"], check=True, pass_fds=[file.fileno()])
        sqlite(sales, "UPDATE fact SET note = 'longer' WHERE id = 1")
        now = os.fstat(file.fileno())
        assert (now.st_size, now.st_mtime) == (was.st_size, was.st_mtime)
        assert len(file.read()) == was.st_size
    assert os.stat(path).st_size != was.st_size


def test_kernel_cache_hears_of_what_cannot_be_counted(work, mounts, sales):
    """A commit, and at once a lock: no change number tells of it."""
    mount = mounts(sales, work / "mnt", "-o", "kernel_cache")
    path = mount / PARIS / "fact.csv"
    db = sqlite3.connect(sales, isolation_level=None)
    for word in ("first", "second and longer", "third"):
        path.read_text(encoding="utf-8")
        for sql in ("BEGIN IMMEDIATE",
                    f"UPDATE fact SET note = '{word}' WHERE id = 1",
                    "DELETE FROM fact WHERE period = '2026-02'"
                    " AND location_id = 2", "COMMIT", "BEGIN IMMEDIATE"):
            db.execute(sql)
        until = time.monotonic() + 10
        while word not in path.read_text(encoding="utf-8"):
            assert time.monotonic() < until, word
        db.execute("COMMIT")
    db.close()


class Writer:
    """Another program that commits to one row as fast as it can."""

    CODE = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
db.execute("PRAGMA synchronous=OFF")
print(flush=True)
i = 0
while True:
    i += 1
    db.execute("UPDATE fact SET note = ? WHERE id = 2", (f"w{i:09}",))
"""

    def __init__(self, db):
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, str(db)],
            stdout=subprocess.PIPE)
        self.process.stdout.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def test_open_succeeds_however_often_the_file_changes(mnt, sales):
    """The kernel walks a path again once; a commit comes in between."""
    path = mnt / PARIS / "fact.csv"
    stale, seen = 0, set()
    with Writer(sales):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                with open(path, "rb") as file:
                    data = file.read()
                    assert len(data) == os.stat(file.fileno()).st_size
                seen.add(data)
                os.stat(path)
            except OSError as e:
                assert e.errno == errno.ESTALE
                stale += 1
    assert len(seen) > 100
    assert stale == 0


def test_own_commits_show_while_others_change_the_file(mnt, sales):
    """What is tolerated for a walk is not tolerated for the next call."""
    path = mnt / PARIS / "fact.csv"
    own = sqlite3.connect(sales, isolation_level=None, timeout=20)
    own.execute("PRAGMA synchronous=OFF")

    def commit(note):
        own.execute("UPDATE fact SET note = ? WHERE id = 1", (note,))

    before = [lambda: None, lambda: os.stat(path), lambda: os.access(path, 4),
              lambda: os.access(path, 0), path.read_bytes,
              lambda: os.listdir(path.parent),
              lambda: list(os.scandir(path.parent))]
    stale = 0
    with Writer(sales):
        end = time.monotonic() + 10
        i = 0
        while time.monotonic() < end:
            i += 1
            try:
                before[i % len(before)]()
                before[i // 7 % len(before)]()
                commit(f"own{i};")
                with open(path, "rb") as file:
                    data = file.read()
                assert f"own{i};".encode() in data
                commit(f"own{i};" + "x" * (i % 50 + 1))
                if b",w0" in data:  # the other's row keeps its length
                    size = os.stat(path).st_size
                    assert size == len(data) + i % 50 + 1
            except OSError as e:
                assert e.errno == errno.ESTALE
                stale += 1
    own.close()
    assert i > 50 and stale <= i / 100
