"""Ordinary tools on a mount: what they see, copy, compare and count."""
import contextlib
import ctypes
import errno
import hashlib
import json
import mmap
import os
import pathlib
import random
import stat
import subprocess
import threading
import time

import pytest

import outbox
from outbox import run, sqlite, walk


@pytest.fixture
def varied(sales):
    """Sales, with a large file, an odd name, an empty table and a blob."""
    sqlite(sales,
           "INSERT INTO location VALUES(4, 'São Tomé/é %'), (5, '-rf *')",
           "INSERT INTO fact(location_id, category_id, period, amount, note)"
           " SELECT 4, 1, '2026-01', value / 7.0, printf('%.*c', value % 90,"
           " 'n') FROM generate_series(1, 30000)",
           "INSERT INTO fact(location_id, category_id, period, note)"
           " VALUES(5, 2, ' ', x'00ff0a')")
    return sales


@pytest.fixture
def mnt(work, mounts, varied):
    return mounts(varied, work / "mnt")


def live(mnt):
    """Bytes of every file that does not speak of the mount itself."""
    return {n: d for n, d in outbox.files(mnt.path).items()
            if n != b"status.json"}


def test_find_and_ls_list_the_same_tree(mnt):
    found = run("find", mnt.path, "-name", "control", "-prune", "-o",
                "-printf", "%P\\0").stdout.split("\0")[:-1]
    wanted = [""] + [os.fsdecode(n) for n in outbox.tree(mnt.path)]
    assert sorted(found) == sorted(wanted)
    listed = run("ls", "-lR", "--quoting-style=literal", "-I", "control",
                 mnt.path)
    assert listed.stderr == "" and "?" not in listed.stdout
    lines = [w for w in listed.stdout.splitlines() if w[:1] in ("-", "d")]
    assert len(lines) == len(wanted) - 1


def test_find_by_size_time_and_type_agrees_with_stat(mnt):
    tree = outbox.tree(mnt.path)
    big = run("find", mnt.path, "-type", "f", "-size", "+1000000c", "-printf",
              "%P\\n").stdout.split("\n")[:-1]
    assert sorted(big) == sorted(
        os.fsdecode(n) for n, (k, size, _) in tree.items()
        if k == "f" and size > 1000000)
    assert len(big) == 1
    printed = run("find", mnt.path, "-name", "control", "-prune", "-o",
                  "-type", "f", "-printf", "%s %T@ %P\\0")
    for line in printed.stdout.split("\0")[:-1]:
        size, mtime, name = line.split(" ", 2)
        if name != "status.json":
            assert tree[os.fsencode(name)] == ("f", int(size), int(float(mtime)))


def test_sizes_are_right_before_a_file_is_opened(mnt):
    """stat of every file first, then its bytes, by several tools."""
    names = [os.path.join(os.fsencode(mnt.path), n)
             for n, (kind, _, _) in outbox.tree(mnt.path).items()
             if kind == "f"]
    sizes = [os.stat(n).st_size for n in names]
    out = subprocess.run([b"wc", b"-c"] + names, check=True,
                         stdout=subprocess.PIPE).stdout.splitlines()
    assert [int(line.split()[0]) for line in out[:-1]] == sizes
    for name, size in zip(names, sizes):
        with open(name, "rb") as file:
            assert len(file.read()) == size
            assert file.seek(0, os.SEEK_END) == size
    du = run("du", "-b", "-s", "--apparent-size", mnt.path).stdout.split()[0]
    dirs = sum(size for kind, size, _ in outbox.tree(mnt.path).values()
               if kind == "d") + os.stat(mnt.path).st_size
    assert int(du) == sum(sizes) + dirs


def test_grep_finds_what_is_there(mnt):
    hits = run("grep", "-rl", "row of Oslo", mnt.path).stdout.splitlines()
    assert sorted(hits) == sorted(
        os.fsdecode(os.path.join(os.fsencode(mnt.path), n))
        for n, d in live(mnt).items() if b"row of Oslo" in d)
    assert len(hits) == 4
    count = run("grep", "-c", "nn", "-r", mnt / "data").stdout.splitlines()
    assert sum(int(c.rsplit(":", 1)[1]) for c in count) > 29000


def test_head_and_tail_show_the_ends(mnt):
    path = mnt / "data/São Tomé%2Fé %25/Actual/2026-01/fact.csv"
    data = path.read_bytes()
    assert len(data) > 1000000
    for tool, wanted in [
        (["head", "-n", "2"], b"".join(data.splitlines(True)[:2])),
        (["tail", "-n", "2"], b"".join(data.splitlines(True)[-2:])),
        (["head", "-c", "70000"], data[:70000]),
        (["tail", "-c", "70000"], data[-70000:]),
        (["tail", "-c", "+1000001"], data[1000000:]),
        (["dd", "bs=4093", "skip=100", "count=3", "status=none", "if=/dev/stdin"],
         data[409300:409300 + 3 * 4093]),
        (["cat"], data),
    ]:
        with open(path, "rb") as file:
            out = subprocess.run(tool, stdin=file, stdout=subprocess.PIPE,
                                 check=True).stdout
        assert out == wanted, tool


def test_tar_of_the_mount_equals_the_mount(mnt, work):
    was = live(mnt)
    tar = work / "a.tar"
    made = run("tar", "-C", mnt.path, "-cf", tar, "data", "setup", "README.md")
    assert made.stderr == ""
    compared = run("tar", "-C", mnt.path, "-df", tar)
    assert compared.stdout == "" and compared.stderr == ""
    out = work / "out"
    out.mkdir()
    run("tar", "-C", out, "-xf", tar)
    assert outbox.files(out) == was
    # The same rows give the same archive.
    run("tar", "-C", mnt.path, "--sort=name", "-cf", work / "b.tar", "data")
    run("tar", "-C", mnt.path, "--sort=name", "-cf", work / "c.tar", "data")
    assert (work / "b.tar").read_bytes() == (work / "c.tar").read_bytes()


def test_cp_keeps_bytes_and_times(mnt, work):
    run("cp", "-a", mnt / "data", mnt / "setup", work)
    was = outbox.tree(mnt.path)
    for top in ("data", "setup"):
        assert outbox.files(work / top) == outbox.files(mnt / top)
        for name, (kind, size, mtime) in outbox.tree(work / top).items():
            there = was[top.encode() + b"/" + name]
            assert kind == there[0] and mtime == there[2], name
            assert kind == "d" or size == there[1], name
        assert run("diff", "-r", mnt / top, work / top).stdout == ""
    run("chmod", "-R", "u+w", work / "data", work / "setup")


def rsync(*args):
    return run("rsync", *args).stdout


def test_second_rsync_transfers_nothing(mnt, mounts, work, varied):
    copy = work / "copy"
    rsync("-a", f"{mnt.path}/data", f"{mnt.path}/setup", copy)
    again = ["-ain", f"{mnt.path}/data", f"{mnt.path}/setup", copy]
    assert rsync(*again) == ""
    assert run("diff", "-r", mnt / "data", copy / "data").stdout == ""
    for top in ("data", "setup"):
        assert rsync("-na", "--checksum", "-i", f"{copy}/{top}/",
                     f"{mnt.path}/{top}/") == ""
    assert mnt.unmount() == 0
    mounts(varied, work / "mnt")
    assert rsync(*again) == ""
    assert rsync("--checksum", *again) == ""
    run("chmod", "-R", "u+w", copy)


def test_rsync_after_a_change_transfers_that_file(mnt, work, varied):
    copy = work / "copy"
    rsync("-a", f"{mnt.path}/data", copy)
    # As long as before, in the same second, as far as the writer can help it.
    sqlite(varied, "UPDATE fact SET note = 'ROW of Paris' WHERE id = 1")
    out = rsync("-ai", "--out-format=%n", f"{mnt.path}/data", copy)
    assert [n for n in out.split() if not n.endswith("/")] == [
        "data/Paris/Actual/2026-01/fact.csv",
        "data/Paris/Actual/2026-01/pov.json"]
    assert run("diff", "-r", mnt / "data", copy / "data").stdout == ""
    # Rows that go take their files along.
    sqlite(varied, "DELETE FROM fact WHERE location_id = 4")
    out = rsync("-ai", "--delete", f"{mnt.path}/data", copy)
    assert "*deleting" in out and "São" not in "".join(os.listdir(copy / "data"))
    assert rsync("-ain", "--delete", f"{mnt.path}/data", copy) == ""
    run("chmod", "-R", "u+w", copy)


def check_rsync(mnt, copy):
    """A copy by size and time alone is a copy; a second finds no more."""
    rsync("-a", "--delete", f"{mnt.path}/data/", copy)
    assert run("diff", "-rq", mnt / "data", copy, check=False).stdout == ""
    assert rsync("-ain", "--delete", f"{mnt.path}/data/", copy) == ""


SWAP = ("BEGIN; UPDATE location SET name = 'tmp' WHERE id = {0};"
        "UPDATE location SET name = 'Lima' WHERE id = {1};"
        "UPDATE location SET name = 'Oslo' WHERE id = {0}; COMMIT")


@pytest.mark.parametrize("swapped", [False, True], ids=["own", "other's"])
def test_rsync_sees_that_labels_were_swapped(mnt, work, sales, swapped):
    """Files of one size and time: only their place tells them apart."""
    sqlite(sales, "UPDATE fact SET note = 'row' WHERE location_id IN (2, 3)")
    copy = work / "copy"
    check_rsync(mnt, copy)
    for here, there in ((3, 2), (2, 3), (3, 2)):
        sqlite(sales, SWAP.format(here, there))
        check_rsync(mnt, copy)
        # And a change of rows in the same second is later than the label.
        sqlite(sales, "UPDATE fact SET amount = 10 * location_id +"
               f" {here if swapped else there} + 0.25 WHERE location_id > 1")
        check_rsync(mnt, copy)
    run("chmod", "-R", "u+w", copy)


def test_rsync_sees_that_a_key_was_renumbered(work, mounts):
    db = work / "r.db"
    sqlite(db, "PRAGMA journal_mode=WAL; CREATE TABLE d(id INTEGER PRIMARY"
           " KEY, name TEXT); CREATE TABLE t(p INTEGER REFERENCES d(id) ON"
           " UPDATE CASCADE, v); INSERT INTO d VALUES(1, 'one'), (2, 'two');"
           "INSERT INTO t VALUES(1, 'a'), (2, 'b')")
    outbox.adopt(db, {"name": "r", "setup": "*", "pov": [
        {"name": "p", "table": "d", "key": "id", "label": "name"}],
        "data": [{"table": "t", "pov": {"p": "p"}}]})
    mnt = mounts(db, work / "mnt")
    for key in range(1, 9):
        check_rsync(mnt, work / "copy")
        sqlite(db, "PRAGMA foreign_keys = ON;"
               f"UPDATE d SET id = {key % 9 + 2} WHERE id = {key + 1}")
    check_rsync(mnt, work / "copy")
    run("chmod", "-R", "u+w", work / "copy")


def test_rsync_sees_a_value_take_the_name_of_a_label(work, mounts):
    """Keys that the dimension's table takes for equal, and values without a
    row of their own, get and lose names by what happens to others."""
    db = work / "r.db"
    sqlite(db, "PRAGMA journal_mode=WAL; CREATE TABLE d(id TEXT COLLATE NOCASE"
           " PRIMARY KEY, name TEXT); CREATE TABLE t(p, v);"
           "INSERT INTO d VALUES('x', 'one'), ('y', 'two'), ('7', 'six');"
           "INSERT INTO t VALUES('X', 'a'), ('Y', 'b'), (7, 'c')")
    outbox.adopt(db, {"name": "r", "setup": "*", "pov": [
        {"name": "p", "table": "d", "key": "id", "label": "name"}],
        "data": [{"table": "t", "pov": {"p": "p"}}]})
    mnt = mounts(db, work / "mnt")
    check_rsync(mnt, work / "copy")
    sqlite(db, "UPDATE d SET name = CASE id WHEN 'x' THEN 'two' ELSE 'one' END"
           " WHERE id < 'z' AND id > 'a'")
    check_rsync(mnt, work / "copy")
    sqlite(db, "UPDATE d SET name = CASE id WHEN '7' THEN 'one' ELSE 'six' END"
           " WHERE id = '7' OR name = 'one'")
    check_rsync(mnt, work / "copy")
    # The name of a label that stays passes to a value that has none.
    sqlite(db, "UPDATE t SET v = 'e' WHERE p = 'X'")
    check_rsync(mnt, work / "copy")
    sqlite(db, "INSERT INTO t VALUES('two', 'a')",
           "UPDATE d SET name = 'else' WHERE id = 'x'")
    check_rsync(mnt, work / "copy")
    run("chmod", "-R", "u+w", work / "copy")


def test_times_after_a_rename_agree(mnt, sales):
    """A listing, stat, an open file and pov.json say the same."""
    path = mnt / "data/Oslo/Actual/2026-01"
    with open(path / "fact.csv", "rb") as file:
        was = os.fstat(file.fileno())
        other = os.stat(mnt / "data/Lima/Actual/2026-01/fact.csv")
        # By this process: a child would close the file as well.
        with contextlib.closing(outbox.sqlite3.connect(sales)) as db, db:
            db.execute("UPDATE location SET name = 'Roma' WHERE id = 2")
        assert os.fstat(file.fileno()).st_mtime == was.st_mtime
    path = mnt / "data/Roma/Actual/2026-01"
    listed = run("find", path, "-name", "fact.csv", "-printf", "%T@").stdout
    with open(path / "fact.csv", "rb") as file:
        now = os.fstat(file.fileno())
    said = json.loads((path / "pov.json").read_text(encoding="utf-8"))
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now.st_mtime))
    assert now.st_mtime > was.st_mtime
    assert os.stat(path / "fact.csv").st_mtime == now.st_mtime
    assert float(listed) == now.st_mtime
    assert said["tables"]["fact"]["time"] == text
    assert os.stat(path / "pov.json").st_mtime >= now.st_mtime
    same = os.stat(mnt / "data/Lima/Actual/2026-01/fact.csv")
    assert (same.st_mtime, same.st_ino) == (other.st_mtime, other.st_ino)


def test_reads_at_odd_offsets_equal_the_copy(mnt):
    rng = random.Random(1)
    for name, data in live(mnt).items():
        fd = os.open(os.path.join(os.fsencode(mnt.path), name), os.O_RDONLY)
        try:
            for _ in range(40):
                at = rng.randrange(len(data) + 10)
                n = rng.choice([0, 1, 7, 4095, 4096, 4097, 131072, 200001])
                assert os.pread(fd, n, at) == data[at:at + n], (name, at, n)
            assert os.pread(fd, 10, len(data)) == b""
            assert os.pread(fd, 10, 1 << 40) == b""
            with pytest.raises(OSError) as e:
                os.pread(fd, 10, -1)
            assert e.value.errno == errno.EINVAL
        finally:
            os.close(fd)


def test_reads_past_the_page_cache_equal_the_copy(mnt):
    """O_DIRECT: each read is a request of its own."""
    path = mnt / "data/São Tomé%2Fé %25/Actual/2026-01/fact.csv"
    data = path.read_bytes()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        buf = mmap.mmap(-1, 65536)
        got = b""
        while n := os.preadv(fd, [buf], len(got)):
            got += buf[:n]
        assert got == data
    finally:
        os.close(fd)


def test_mapped_files_equal_the_copy(mnt):
    for name, data in live(mnt).items():
        with open(os.path.join(os.fsencode(mnt.path), name), "rb") as file:
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                assert mapped[:] == data, name
                assert mapped.rfind(b"\n") == len(data) - 1


def test_threads_that_read_at_once_get_the_same(mnt):
    was = live(mnt)
    wrong = []

    def reader(seed):
        names = list(was)
        random.Random(seed).shuffle(names)
        for name in names:
            with open(os.path.join(os.fsencode(mnt.path), name), "rb") as file:
                if file.read() != was[name]:
                    wrong.append(name)

    threads = [threading.Thread(target=reader, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


# stat and readdir


def stats(path):
    """Name -> what of a stat must not depend on when one asks."""
    found = {}
    for base, dirs, files in walk(os.fsencode(path)):
        for name in [b"."] + dirs + files:
            full = os.path.join(base, name)
            st = os.lstat(full)
            found[os.path.relpath(full, os.fsencode(path))] = st
    return found


def test_stat_is_what_tools_expect(mnt):
    uid, gid = os.getuid(), os.getgid()
    device = os.stat(mnt.path).st_dev
    inodes = {}
    for name, st in stats(mnt.path).items():
        if stat.S_ISDIR(st.st_mode):
            # 1 says that the number of subdirectories is not known (find).
            assert st.st_nlink == 1, name
            assert stat.S_IMODE(st.st_mode) == (
                0o755 if name == b"outbox" else 0o555), name
        else:
            assert st.st_nlink == 1 and st.st_size > 0, name
            assert stat.S_IMODE(st.st_mode) & 0o222 == 0, name
            assert stat.S_IMODE(st.st_mode) & 0o400, name
            # du without -b must not say 0.
            assert st.st_blocks == (st.st_size + 511) // 512 or (
                st.st_blocks * 512 >= st.st_size), name
        assert (st.st_uid, st.st_gid, st.st_dev) == (uid, gid, device), name
        assert st.st_mtime == st.st_ctime, name
        assert abs(st.st_mtime - time.time()) < 1000, name
        assert inodes.setdefault(st.st_ino, name) == name
    assert os.stat(mnt.path).st_ino == 1


def test_inode_numbers_agree_and_outlive_a_remount(mnt, mounts, work, varied):
    def listed():
        found = {}
        for base, _, _ in os.walk(os.fsencode(mnt.path)):
            with os.scandir(base) as entries:
                for e in entries:
                    name = os.path.relpath(e.path, os.fsencode(mnt.path))
                    found[name] = e.inode()
                    assert e.inode() == os.stat(e.path).st_ino, name
                    assert e.is_dir() == os.path.isdir(e.path)
        return found

    was = listed()
    assert listed() == was
    assert mnt.unmount() == 0
    mounts(varied, work / "mnt")
    now = listed()
    # README.md and status.json speak of the mount, and are new with it.
    for name in was:
        if name not in (b"README.md", b"status.json"):
            assert now[name] == was[name], name


def test_dots_lead_to_self_and_parent(mnt):
    for path in ("data", "data/Paris", "data/Paris/Actual/2026-01", "setup"):
        here = os.stat(mnt / path)
        assert os.stat(mnt / path / ".").st_ino == here.st_ino
        above = os.stat(os.path.join(mnt / path, ".."))
        assert above.st_ino == os.stat((mnt / path).parent).st_ino
        out = run("ls", "-U", "-a", mnt / path).stdout.split("\n")
        assert out[:2] == [".", ".."]


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64),
                ("reclen", ctypes.c_uint16), ("type", ctypes.c_uint8)]


SYS_GETDENTS64 = {"x86_64": 217, "aarch64": 61, "riscv64": 61}


def getdents(fd, size=320):
    """One small step of a listing: (name, offset) pairs."""
    libc = ctypes.CDLL(None, use_errno=True)
    buf = ctypes.create_string_buffer(size)
    n = libc.syscall(SYS_GETDENTS64[os.uname().machine], fd, buf, size)
    assert n >= 0, os.strerror(ctypes.get_errno())
    found, at = [], 0
    while at < n:
        d = Dirent.from_buffer(buf, at)
        name = buf[at + 19:at + d.reclen].split(b"\0", 1)[0]
        found.append((name, d.off))
        at += d.reclen
    return found


def test_small_steps_list_stable_names_once_while_others_come_and_go(
        work, mounts):
    """POVs at odd places stay; those at even ones go and come meanwhile."""
    db = work / "n.db"
    sqlite(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(p INTEGER, v);"
           "INSERT INTO t SELECT value, 0 FROM generate_series(1, 2000)")
    outbox.adopt(db, {"name": "n", "setup": "*", "pov": [{"name": "p"}],
                      "data": [{"table": "t", "pov": {"p": "p"}}]})
    mnt = mounts(db, work / "mnt")
    stop = threading.Event()
    rounds = []

    def write():
        con = outbox.sqlite3.connect(db, isolation_level=None, timeout=10)
        while not stop.is_set():
            con.execute("DELETE FROM t WHERE p % 2 = 0")
            con.execute("WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT"
                        " i + 2 FROM n WHERE i < 2400) INSERT INTO t SELECT i,"
                        " 1 FROM n")
            rounds.append(1)
        con.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        stable = {str(i).encode() for i in range(1, 2001, 2)}
        listings = 0
        while len(rounds) < 5 or listings < 5:
            listings += 1
            fd = os.open(mnt / "data", os.O_RDONLY | os.O_DIRECTORY)
            seen = []
            while step := getdents(fd):
                seen += [name for name, _ in step]
            os.close(fd)
            kept = [n for n in seen if n in stable]
            assert len(kept) == len(set(kept)), "listed twice"
            assert set(kept) == stable, "left out"
            assert seen.count(b".") == seen.count(b"..") == 1
    finally:
        stop.set()
        writer.join()


def test_listing_goes_on_where_a_seek_says(mnt):
    fd = os.open(mnt / "data", os.O_RDONLY | os.O_DIRECTORY)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.lseek.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int]
    libc.lseek.restype = ctypes.c_int64
    whole = []
    while step := getdents(fd):
        whole += step
    names = [n for n, _ in whole]
    assert len(names) == len(set(names)) == 7
    for i, (_, off) in enumerate(whole):
        assert libc.lseek(fd, off, os.SEEK_SET) == off
        rest = []
        while step := getdents(fd):
            rest += [n for n, _ in step]
        assert rest == names[i + 1:]
    os.close(fd)


def test_statfs_is_that_of_the_database(mnt, varied):
    fs, own = os.statvfs(mnt.path), os.statvfs(varied)
    assert (fs.f_bsize, fs.f_frsize) == (own.f_bsize, own.f_frsize)
    assert fs.f_blocks == own.f_blocks and fs.f_namemax == 255
    assert fs.f_bavail <= fs.f_bfree <= fs.f_blocks
    out = run("df", "--output=fstype,target", mnt.path).stdout.splitlines()
    assert out[1].split() == ["fuse.outboxfs", str(mnt.path)]
    assert run("df", "-i", mnt.path).returncode == 0


def test_extended_attributes_are_refused_quickly(mnt):
    path = mnt / "data/Paris/Actual/2026-01/fact.csv"
    for call, args in [
        (os.getxattr, ("user.x",)), (os.getxattr, ("security.capability",)),
        (os.listxattr, ()), (os.setxattr, ("user.x", b"v")),
        (os.removexattr, ("user.x",)),
    ]:
        start = time.monotonic()
        for _ in range(1000):
            with pytest.raises(OSError) as e:
                call(path, *args)
            assert e.value.errno in (errno.ENOTSUP, errno.EOPNOTSUPP)
        # Without a request to the daemon: a thousand of those take longer.
        assert time.monotonic() - start < 2


def test_scandir_order_and_content_repeat(mnt):
    def order():
        return [os.listdir(mnt / d) for d in ("data", "setup", "data/Paris")]

    assert order() == order()


def test_checksums_of_tools_match_pov_json(mnt):
    for path in pathlib.Path(mnt / "data").glob("*/*/*"):
        doc = json.loads((path / "pov.json").read_text(encoding="utf-8"))
        for table, said in doc["tables"].items():
            out = run("sha256sum", path / f"{table}.csv").stdout.lstrip("\\")
            assert out.split()[0] == said["sha256"]
            assert said["bytes"] == os.stat(path / f"{table}.csv").st_size
    assert hashlib.sha256(b"").hexdigest() not in str(doc)
