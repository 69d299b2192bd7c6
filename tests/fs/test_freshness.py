"""An open or a stat after a commit by another program shows that commit."""
import os
import sqlite3
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
