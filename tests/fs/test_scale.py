"""Large databases: nothing reads everything, and memory stays small.

Measured times and memory are printed (pytest -s) and held to generous limits,
so that a busy machine does not fail what a wrong algorithm must.
"""
import contextlib
import hashlib
import os
import pathlib
import re
import sqlite3
import subprocess
import time

import pytest

from outbox import OUTBOXFS, ROOT, adopt, run, sqlite

MILLION_SQL = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;
CREATE TABLE fact(location TEXT, category TEXT, period TEXT, v INTEGER,
  PRIMARY KEY(location, category, period)) WITHOUT ROWID;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n
  WHERE i < 999999)
INSERT INTO fact SELECT printf('loc %05d', i / 100), 'c' || (i / 50 % 2),
  printf('week %02d', i % 50), i FROM n;
PRAGMA wal_checkpoint(TRUNCATE);
"""

MILLION = {
    "name": "million", "setup": "*",
    "pov": [{"name": "location"}, {"name": "category"}, {"name": "period"}],
    "data": [{"table": "fact", "pov": {
        "location": "location", "category": "category", "period": "period"}}],
}

ONE = {"name": "one", "setup": "*", "pov": [{"name": "p"}],
       "data": [{"table": "t", "pov": {"p": "p"}}]}


def memory(mnt, key="VmRSS"):
    """Of the daemon, in MB."""
    status = pathlib.Path(f"/proc/{mnt.process.pid}/status").read_text()
    return int(re.search(rf"{key}:\s+(\d+) kB", status).group(1)) / 1024


@contextlib.contextmanager
def measured(what, limit):
    start = time.monotonic()
    yield
    took = time.monotonic() - start
    print(f"{what}: {took:.3f} s")
    assert took < limit, what


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    """Made once: no test of this file changes it but by a row and back."""
    path = tmp_path_factory.mktemp("million") / "million.db"
    sqlite(path, MILLION_SQL)
    with measured("adopt a million POVs", 60):
        adopt(path, MILLION)
    yield path
    for name in path.parent.glob("million.db*"):
        if name.is_file():
            name.unlink()


def test_million_povs_mount_and_list_at_once(million, work, mounts):
    with measured("mount", 1):
        mnt = mounts(million, work / "mnt")
    with measured("ls of the root", 1):
        assert sorted(run("ls", mnt.path).stdout.split()) == ROOT
    with measured("first entry of 10,000", 1):
        with os.scandir(mnt / "data") as entries:
            next(entries)
    with measured("ls of 10,000 entries", 5):
        names = run("ls", mnt / "data").stdout.splitlines()
    assert names == [f"loc {i:05}" for i in range(10000)]
    with measured("a path in the middle, by name", 1):
        text = (mnt / "data/loc 07777/c1/week 05/fact.csv").read_text()
    assert text == ("location,category,period,v\n"
                    "loc 07777,c1,week 05,777755\n")
    with measured("a name that is not there", 1):
        assert not (mnt / "data/loc 10000").exists()
    with measured("a change seen", 1):
        sqlite(million, "UPDATE fact SET v = -1 WHERE location = 'loc 07777'"
               " AND category = 'c1' AND period = 'week 05'")
        assert ",-1\n" in (
            mnt / "data/loc 07777/c1/week 05/fact.csv").read_text()
    sqlite(million, "UPDATE fact SET v = 777755 WHERE v = -1")
    with measured("unmount", 5):
        assert mnt.unmount() == 0


def test_million_povs_are_all_found_in_little_memory(million, work, mounts):
    """Directories alone: a million POVs, their parents, data and its root.

    To list what is in each POV would take minutes; ten locations stand for
    the others.
    """
    mnt = mounts(million, work / "mnt")
    with measured("find of 1,030,001 directories", 100):
        out = subprocess.run(
            f"find '{mnt.path}/data' -mindepth 0 -maxdepth 3 -type d | wc -l",
            shell=True, check=True, stdout=subprocess.PIPE, timeout=200)
    assert int(out.stdout) == 1 + 10000 + 20000 + 1000000
    print(f"memory after listing: {memory(mnt):.1f} MB")
    assert memory(mnt) < 100
    with measured("find everything below 10 locations", 30):
        out = subprocess.run(
            f"find '{mnt.path}'/data/loc\\ 0500? | wc -l",
            shell=True, check=True, stdout=subprocess.PIPE, timeout=200)
    assert int(out.stdout) == 10 * (1 + 2 + 100 * 3)


def test_twenty_thousand_files_read_in_little_memory(million, work, mounts):
    mnt = mounts(million, work / "mnt")
    with measured("20,000 files", 60):
        for row in range(500000, 520000):
            path = (mnt / f"data/loc {row // 100:05}/c{row // 50 % 2}"
                    / f"week {row % 50:02}/fact.csv")
            assert path.read_bytes().endswith(b",%d\n" % row)
    print(f"memory after reading: {memory(mnt):.1f} MB")
    assert memory(mnt) < 100


def test_unclustered_rows_of_one_pov_are_found_by_index(work, mounts):
    """Rows of each POV spread over the table: an index walk, not a scan."""
    db = work / "u.db"
    sqlite(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(p INTEGER, v);"
           "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n"
           " WHERE i < 299999) INSERT INTO t SELECT i * 7919 % 1000, i FROM n")
    adopt(db, ONE)
    mnt = mounts(db, work / "mnt")
    with measured("1,000 files of 300 rows", 20):
        total = sum((mnt / f"data/{i}/t.csv").read_bytes().count(b"\n") - 1
                    for i in range(1000))
    assert total == 300000


def test_table_of_2000_columns_is_complete(work, mounts):
    db = sqlite3.connect(work / "wide.db")
    names = [f"c{i}" for i in range(1998)]
    for table in ("t", "wide_setup"):
        db.execute(f"CREATE TABLE {table}(p TEXT, q, {', '.join(names)})")
        row = ["p", None] + list(range(1998))
        db.execute(f"INSERT INTO {table} VALUES({','.join('?' * 2000)})", row)
    db.commit()
    db.close()
    adopt(work / "wide.db", ONE)
    mnt = mounts(work / "wide.db", work / "mnt")
    wanted = ",".join(["p", "q"] + names) + "\n" + ",".join(
        ["p", ""] + [str(i) for i in range(1998)]) + "\n"
    assert (mnt / "data/p/t.csv").read_text() == wanted
    assert (mnt / "setup/wide_setup.csv").read_text() == wanted
    sqlite(work / "wide.db", "UPDATE t SET c1997 = 'last'")
    assert (mnt / "data/p/t.csv").read_text().endswith(",last\n")


def test_text_of_200_mb_streams_and_memory_returns(work, mounts):
    size = 200 * 1000 * 1000
    db = work / "big.db"
    # Random bytes would take long to make: a counter, in lines of 100.
    sqlite(db, "PRAGMA page_size=65536; PRAGMA journal_mode=OFF;"
           "PRAGMA synchronous=OFF; CREATE TABLE t(p TEXT, id INTEGER, v TEXT);"
           "INSERT INTO t VALUES('big', 1, 'a'), ('small', 1, 'b');"
           "CREATE TABLE setup_big(v TEXT)")
    line = b"0123456789abcdef" * 6 + b"xyz\n"
    data = line * (size // 100)
    assert len(data) == size
    con = sqlite3.connect(db)
    con.execute("INSERT INTO t VALUES('big', 2, CAST(? AS TEXT))", (data,))
    con.commit()
    con.close()
    adopt(db, ONE)
    wanted = hashlib.sha256(b"p,id,v\nbig,1,a\nbig,2,\"")
    wanted.update(data)
    wanted.update(b'"\n')
    del data
    mnt = mounts(db, work / "mnt")
    (mnt / "data/small/t.csv").read_bytes()
    before = memory(mnt)
    path = mnt / "data/big/t.csv"
    with measured("stat of 200 MB", 30):
        assert os.stat(path).st_size == size + 24
    found = hashlib.sha256()
    with measured("read of 200 MB", 30), open(path, "rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
        # Somewhere in the middle, of the open file and by a new one.
        offset = size // 2 + 7
        want = os.pread(file.fileno(), 50, offset)
        assert len(want) == 50 and want in (line + line)
    assert found.hexdigest() == wanted.hexdigest()
    with open(path, "rb") as file:
        assert os.pread(file.fileno(), 50, offset) == want
        assert os.pread(file.fileno(), 50, size + 23) == b"\n"
        assert os.pread(file.fileno(), 50, size + 24) == b""
    assert hashlib.sha256(path.read_bytes()).hexdigest() in (
        mnt / "data/big/pov.json").read_text()
    print(f"memory: {before:.0f} MB before, {memory(mnt, 'VmHWM'):.0f} MB at"
          f" most, {memory(mnt):.0f} MB after")

    def returned():
        (mnt / "data/small/t.csv").read_bytes()
        return memory(mnt) < before + 30

    deadline = time.monotonic() + 5
    while not returned():
        assert time.monotonic() < deadline, f"{memory(mnt)} MB are kept"
        os.sched_yield()


def test_thousand_setup_tables_mount_and_list_at_once(work, mounts):
    db = work / "many.db"
    sqlite(db, "PRAGMA journal_mode=WAL", "BEGIN", *(
        f"CREATE TABLE s{i:04}(id INTEGER PRIMARY KEY, v TEXT);"
        f"INSERT INTO s{i:04}(v) VALUES('{i}')" for i in range(1000)),
        "CREATE TABLE t(p TEXT, v)", "COMMIT")
    adopt(db, ONE)
    with measured("mount", 3):
        mnt = mounts(db, work / "mnt")
    with measured("ls", 1):
        assert sorted(os.listdir(mnt / "setup")) == [
            f"s{i:04}.csv" for i in range(1000)]
    with measured("read all", 10):
        for i in range(1000):
            assert (mnt / f"setup/s{i:04}.csv").read_text() == f"id,v\n1,{i}\n"
    print(f"memory: {memory(mnt):.1f} MB")
    assert memory(mnt) < 100
    was = os.stat(mnt / "setup/s0500.csv").st_mtime
    sqlite(db, "UPDATE s0500 SET v = 'new'")
    assert (mnt / "setup/s0500.csv").read_text() == "id,v\n1,new\n"
    assert os.stat(mnt / "setup/s0500.csv").st_mtime >= was + 1
    assert "setup_tables\": 1000" in (mnt / "status.json").read_text()
    assert run(OUTBOXFS, "status", db).returncode == 0
