"""The bytes of ZIPs: other people's programs read them, and they stay."""
import json
import pathlib
import shutil
import sqlite3
import time
import zipfile

import pytest

from outbox import OUTBOXFS, Mount, adopt, run
from worlds import World, sha256

C_UTF8 = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """One ZIP of each kind, of a world with odd names and large files."""
    w = World(tmp_path_factory.mktemp("zoo"))
    w.script(
        "UPDATE location SET name = 'a/b ü%' WHERE id = 1;"
        "UPDATE location SET name = '..' WHERE id = 2;"
        "UPDATE category SET name = char(10) || 'x' WHERE id = 1;"
        f"UPDATE category SET name = '{'Größe' * 36}' WHERE id = 2;"
        'DELETE FROM "Größe, cm";'
        "INSERT INTO fact WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT"
        " i + 1 FROM n WHERE i < 25000) SELECT i, 3, 1, 'Jan', 1, i / 7.0,"
        " 'note of ' || i FROM n;"
        "INSERT INTO detail VALUES(3, 1, 'Jan', 1, randomblob(700000))")
    zips = {"all": w.export("all", "file=all")}
    w.script("UPDATE fact SET note = 'new' WHERE id IN (1, 5);"
             "UPDATE detail SET v = 'x' WHERE l = 2 AND line = 1;"
             "DELETE FROM status WHERE period = 'Feb'")
    zips["incremental"] = w.export("incremental", "file=incremental")
    zips["empty"] = w.export("incremental", "file=empty")
    zips["setup"] = w.export("setup", "file=setup")
    zips["everything"] = w.export("all_incremental", "file=everything")
    yield w, zips
    w.close()


KINDS = ["all", "incremental", "empty", "setup", "everything"]


def unpacked(directory):
    base = pathlib.Path(directory)
    return {str(p.relative_to(base)): p.read_bytes()
            for p in base.rglob("*") if p.is_file()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [
    ["unzip", "-q", "{zip}", "-d", "{to}"],
    ["bsdtar", "-xf", "{zip}", "-C", "{to}"],
    ["7zz", "x", "-bso0", "-o{to}", "{zip}"],
    ["/usr/bin/python3", "-m", "zipfile", "-e", "{zip}", "{to}"],
], ids=["unzip", "bsdtar", "7zz", "python"])
def test_unpacked_by_others(zoo, tmp_path, kind, words):
    z = zoo[1][kind]
    done = run(*[w.format(zip=z.path, to=tmp_path) for w in words],
               env=C_UTF8)
    assert done.stderr == ""
    assert unpacked(tmp_path) == z.files


@pytest.mark.parametrize("kind", KINDS)
def test_tested_by_others(zoo, kind):
    path = zoo[1][kind].path
    run("unzip", "-tqq", path)
    assert "Everything is Ok" in run("7zz", "t", path).stdout
    assert "Warnings" not in run("7zz", "t", path).stdout
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
    n = len(zoo[1][kind].entries)
    assert run("ziptool", path, "get_num_entries",
               "0").stdout.split()[0] == str(n)
    for i in range(min(n, 5)):
        text = run("ziptool", path, "cat", str(i), env=C_UTF8).stdout
        assert text == zoo[1][kind].files[
            zoo[1][kind].entries[i].filename].decode()
    run("zipcmp", "-t", path, path)


def test_told_apart_by_zipcmp(zoo):
    zips = zoo[1]
    differs = run("zipcmp", zips["all"].path, zips["everything"].path,
                  check=False)
    assert differs.returncode == 1
    assert "data/SnapshotParams.json" in differs.stdout


YAUZL = """
const yauzl = require("yauzl");
yauzl.open(process.argv[1], {lazyEntries: true, strictFileNames: true,
    validateEntrySize: true}, (err, zip) => {
  if (err) throw err;
  zip.on("error", (e) => { throw e; });
  zip.on("entry", (entry) => zip.openReadStream(entry, (err, stream) => {
    if (err) throw err;
    let n = 0;
    stream.on("error", (e) => { throw e; });
    stream.on("data", (d) => { n += d.length; });
    stream.on("end", () => {
      console.log(JSON.stringify([entry.fileName, n,
          entry.getLastModDate().getTime()]));
      zip.readEntry();
    });
  }));
  zip.readEntry();
});
"""


def test_read_by_a_strict_reader(zoo):
    """yauzl refuses what ZIP readers usually let pass."""
    for z in zoo[1].values():
        out = run("node", "-e", YAUZL, z.path, env={
            **C_UTF8, "NODE_PATH": "/usr/share/nodejs", "TZ": "UTC"}).stdout
        found = [json.loads(line) for line in out.splitlines()]
        assert {name: n for name, n, _ in found} == {
            name: len(data) for name, data in z.files.items()}


def test_headers(zoo):
    z = zoo[1]["all"]
    captured = time.strptime(z.params["captured_at"], "%Y-%m-%dT%H:%M:%SZ")
    for e in z.entries:
        if e.filename in ("datapackage.json", "data/SnapshotParams.json"):
            # DOS time has two seconds.
            assert e.date_time[:5] == captured[:5]
            assert abs(e.date_time[5] - captured[5]) <= 1
        assert all(len(part.encode()) <= 255
                   for part in e.filename.split("/"))
    big = [e for e in z.entries if e.file_size > 10**6]
    assert len(big) == 2
    assert all(e.compress_type == zipfile.ZIP_DEFLATED for e in big)
    # The end of the archive is where it is in the simplest of archives.
    data = z.path.read_bytes()
    assert data[:4] == b"PK\x03\x04" and data[-22:-18] == b"PK\x05\x06"


# The same bytes for ever


def outbox(path, directory):
    mount = Mount(path, directory / "mnt")
    try:
        return {p.name: sha256(p.read_bytes())
                for p in (mount / "outbox").iterdir()}
    finally:
        mount.close()


def copy(w, to):
    """A copy of the database and its store, with nobody at work."""
    w.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    to.mkdir()
    shutil.copy(w.path, to)
    shutil.copytree(f"{w.path}.outboxfs", to / "world.db.outboxfs")
    return to / "world.db"


def test_same_in_a_copy_and_after_purges(zoo, tmp_path):
    w, zips = zoo
    sums = {z.path.name: sha256(z.path.read_bytes()) for z in zips.values()}
    assert outbox(w.path, tmp_path) == sums
    other = copy(w, tmp_path / "copy")
    assert outbox(other, tmp_path) == sums
    run(OUTBOXFS, "purge", other, "snapshots", "keep=1")
    run(OUTBOXFS, "purge", other, "jobs", "older=0s")
    assert outbox(other, tmp_path) == sums
    run(OUTBOXFS, "purge", other, "outbox", "name=all.zip")
    run(OUTBOXFS, "purge", other, "output")
    del sums["all.zip"]
    assert outbox(other, tmp_path) == sums
    run(OUTBOXFS, "export", other, "all", "file=later")
    assert {n: s for n, s in outbox(other, tmp_path).items()
            if n != "later.zip"} == sums


def test_same_when_made_in_the_same_second(zoo, tmp_path):
    """Two copies that export at the same time make the same ZIP."""
    w = zoo[0]
    for i in range(20):
        zips = []
        for name in ("a", "b"):
            db = copy(w, tmp_path / f"{name}{i}")
            run(OUTBOXFS, "export", db, "all", "file=x", "-o", db.parent)
            zips.append(db.parent / "x.zip")
        docs = [zipfile.ZipFile(z).read("data/SnapshotParams.json")
                for z in zips]
        if docs[0] == docs[1]:  # the times are the same
            assert zips[0].read_bytes() == zips[1].read_bytes()
            return
    raise AssertionError("never in the same second")


# Many files


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """More files than a ZIP without ZIP64 can count."""
    path = tmp_path_factory.mktemp("many") / "many.db"
    db = sqlite3.connect(path)
    db.executescript(
        "CREATE TABLE t(p TEXT PRIMARY KEY, v) WITHOUT ROWID;"
        "CREATE TABLE s(x);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE"
        " i < 66000) INSERT INTO t SELECT printf('p%05d', i), i % 7 FROM n")
    db.close()
    adopt(path, {"name": "many", "pov": [{"name": "p"}], "setup": ["s"],
                 "data": [{"table": "t", "pov": {"p": "p"}}]})
    run(OUTBOXFS, "export", path, "all", "file=x", "-o", path.parent)
    return path.parent / "x.zip"


@pytest.mark.parametrize("words", [
    ["unzip", "-tqq"], ["7zz", "t"], ["bsdtar", "-tf"],
    ["/usr/bin/python3", "-m", "zipfile", "-t"]], ids=lambda w: w[0][-7:])
def test_many_files_are_read_by_others(many, words):
    run(*words, many)


def test_many_files(many):
    with zipfile.ZipFile(many) as file:
        names = file.namelist()
        package = json.loads(file.read("datapackage.json"))
        params = json.loads(file.read("data/SnapshotParams.json"))
        assert file.read("output/p65999/t.csv") == b"p,v\np65999,3\n"
    assert names == sorted(
        ["data/SnapshotParams.json", "datapackage.json", "setup/s.csv"]
        + [f"output/p{i:05}/t.csv" for i in range(1, 66001)])
    assert [r["path"] for r in package["resources"][::-1]] == [
        "output/*/t.csv", ["setup/s.csv"]]
    assert params["counts"]["povs"] == 66000
