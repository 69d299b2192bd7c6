"""Purging by the command line: what goes, what stays, and what is lost."""
import json
import os
import pathlib
import time

import pytest

from outbox import OUTBOXFS, Mount, run
from worlds import FIRST, World, sha256


@pytest.fixture
def world(tmp_path):
    w = World(tmp_path)
    yield w
    w.close()


def age(w, table, column, what, seconds=100000):
    """Makes something older, while nobody has the store open."""
    run("sqlite3", f"{w.path}.outboxfs/store.db",
        f"UPDATE {table} SET {column} = {column} - {seconds} WHERE {what}")


def purge(w, *words):
    """What goes, by name; a dry run said the same and changed nothing."""
    def lines(*more):
        text = w.done("purge", *words, *more)
        return sorted(line.split(": ", 1)[1] for line in text.splitlines()
                      if " gone: " in line or " would go: " in line)

    def seen():
        tables = ["snapshot", "channel", "outbox", "version", "object",
                  "presence", "name", "captured"]
        return ([w.store(f"SELECT * FROM {t}") for t in tables],
                [s for s in w.db.iterdump() if "outboxfs_" not in s],
                disk(w))

    # Ages are whole seconds: what is there must be older than none.
    began = int(time.time())
    while int(time.time()) == began:
        time.sleep(0.01)
    before = seen()
    would = lines("dry_run=yes")
    assert seen() == before
    went = lines()
    last = json.loads(w.done("jobs", "--json"))[-1]
    assert last["kind"] == "purge" and last["state"] == "done"
    assert last["counts"]["gone"] == len(went)
    assert last["counts"]["dry_run"] is False
    assert went == would
    return went


def disk(w):
    path = pathlib.Path(f"{w.path}.outboxfs/packs")
    return sum(p.stat().st_size for p in path.iterdir())


def names(w):
    return [n for n, in w.store("SELECT name FROM outbox ORDER BY id")]


def kept(w):
    return [n for n, in w.store("SELECT id FROM snapshot WHERE kept = 1"
                                " ORDER BY id")]


def outbox(w, directory):
    """The ZIPs as the mount shows them."""
    mount = Mount(w.path, directory / "mnt")
    try:
        return {p.name: p.read_bytes()
                for p in (mount / "outbox").iterdir()}
    finally:
        mount.close()


# Kinds


def test_outbox(world):
    for name in ("a1", "a2", "b1", "b2", "b3"):
        world.export("setup", f"file={name}")
    age(world, "outbox", "time", "name IN ('a1.zip', 'b1.zip')")
    assert purge(world, "outbox", "older=1d", "name=b*") == ["outbox/b1.zip"]
    assert purge(world, "outbox", "older=2d") == []
    assert purge(world, "outbox", "older=27h") == ["outbox/a1.zip"]
    assert purge(world, "outbox", "keep=1", "name=b?.zip") == ["outbox/b2.zip"]
    assert names(world) == ["a2.zip", "b3.zip"]
    assert purge(world, "outbox", "keep=2") == []
    assert purge(world, "outbox", "keep=0") == ["outbox/a2.zip",
                                                "outbox/b3.zip"]
    assert world.ours("export", world.path, "setup",
                      "file=a1").returncode == 0


def test_snapshots(world):
    for i in range(5):
        world.sql("UPDATE fact SET amount = ? WHERE id = 1", i)
        world.export("incremental", f"file={i}",
                     channel="b" if i == 1 else "main")
    age(world, "snapshot", "time", "id <= 3")
    assert purge(world, "snapshots", "older=1d") == [
        "snapshots/1", "snapshots/2", "snapshots/3"]
    assert purge(world, "snapshots", "keep=0") == ["snapshots/4"]
    assert kept(world) == [5]  # the last one stays
    for base in (1, 2, 4):
        result = world.ours("export", world.path, "incremental",
                            f"base={base}")
        assert (result.returncode, result.stdout) == (1, "")
        assert f"snapshot {base}" in result.stderr
    # The mark of the other channel is at one that went from snapshots/.
    z = world.export("incremental", channel="b")
    assert z.shown == {"Paris/Actual/Jan": FIRST["Paris/Actual/Jan"]}
    assert z.params["base"] == 2
    assert world.export("incremental", base=5, channel="b").shown == {}


def test_jobs_go_and_marks_stay(world):
    world.export("all", "file=a")
    world.export("all", "file=b", channel="b")
    world.ours("purge", world.path, "data", "from=x", "to=x")
    age(world, "job", "finished_at", "id <= 2")
    assert purge(world, "jobs", "older=1d") == ["jobs/1", "jobs/2"]
    assert [j["job"] for j in json.loads(world.done("jobs", "--json"))] \
        == [3, 4, 5]
    assert world.ours("jobs", world.path, "1").returncode == 1
    assert names(world) == ["a.zip", "b.zip"]
    assert world.channels() == world.marks
    z = world.export("incremental")
    assert (z.shown, z.params["base"], z.result["job"]) == ({}, 1, 6)


def test_output_makes_the_next_an_all(world):
    first = world.export("all").params["snapshot"]
    world.export("incremental", channel="b")
    world.sql("UPDATE fact SET amount = 8 WHERE id = 3")
    purge(world, "output")
    world.marks = {}
    assert world.channels() == {}
    z = world.export("incremental")
    assert (z.shown, z.params["base"]) == (FIRST, None)
    assert world.export("incremental", channel="b").shown == FIRST
    z = world.export("incremental", base=first)
    assert z.shown == {"Paris/Actual/Feb": "fact status"}
    assert z.deleted == {}


@pytest.mark.parametrize("words, povs", [
    (["location=Oslo"], ["Oslo/Actual/Jan", "Oslo/Budget/Jan"]),
    (["category=Budget", "location=Oslo"], ["Oslo/Budget/Jan"]),
    (["from=Jan"], ["Oslo/Actual/Jan", "Oslo/Budget/Jan",
                    "Paris/Actual/Jan"]),
    (["to=Feb"], ["Paris/Actual/Feb", "Paris/Budget/Feb"]),
    (["from=Feb", "to=Jan", "category=Actual"],
     ["Oslo/Actual/Jan", "Paris/Actual/Feb", "Paris/Actual/Jan"]),
    (["from=Mar"], []), (["location=Rome"], []), (["location=1"], []),
    (["period=Feb", "location=Paris"],
     ["Paris/Actual/Feb", "Paris/Budget/Feb"]),
])
def test_data(world, words, povs):
    world.export("incremental")
    went = purge(world, "data", *words)
    assert went == ["data/" + p for p in povs]
    z = world.export("incremental")
    assert z.shown == {}
    assert set(z.deleted) == set(povs)
    assert all(why.endswith(" deleted") for why in z.deleted.values())
    assert world.export("all").shown == {
        p: t for p, t in FIRST.items() if p not in povs}


def test_orphans(world):
    world.export("all")
    world.script("DELETE FROM location WHERE id = 2;"
                 "DELETE FROM period_mapping WHERE period = 'Feb';"
                 "DELETE FROM status WHERE category_id = 2 AND period = 'Feb'")
    assert purge(world, "orphans") == [
        "data/2/Actual/Jan", "data/2/Budget/Jan", "data/Paris/Actual/Feb"]
    assert world.sql("SELECT id FROM fact ORDER BY id") == [(1,), (2,)]
    assert world.sql("SELECT DISTINCT l FROM detail") == [(1,)]
    assert purge(world, "orphans") == []
    z = world.export("incremental")
    assert z.orphans == []
    assert z.deleted == {
        "Oslo/Actual/Jan": "data deleted",
        "Oslo/Budget/Jan": "data status deleted",
        "Paris/Actual/Feb": "data status deleted",
        "Paris/Budget/Feb": "status deleted"}


# Space


def fill(w, seed):
    """About 700 kB that cannot be made smaller."""
    w.sql("DELETE FROM detail WHERE l = 3")
    w.sql("INSERT INTO detail WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL"
          " SELECT i + 1 FROM n WHERE i < 99) SELECT 3, 1, 'Jan', i,"
          " randomblob(3000) FROM n WHERE ? IS NOT NULL", seed)


def test_space_is_given_back(world, tmp_path):
    for i in range(5):
        fill(world, i)
        world.export("all", f"file={i}")
    full = disk(world)
    assert full > 5 * 300000
    for name in "0123":
        assert purge(world, "outbox", f"name={name}.zip") == [
            f"outbox/{name}.zip"]
    assert disk(world) > 0.9 * full  # snapshots/ still shows them
    assert purge(world, "snapshots", "keep=1") == [
        f"snapshots/{n}" for n in range(1, 5)]
    counts = json.loads(world.done("jobs", "--json"))[-1]["counts"]
    assert disk(world) < 0.25 * full
    assert counts["bytes"] >= full - disk(world) - 4096
    assert "; 0 damaged" in world.done("verify")
    found = outbox(world, tmp_path)
    assert found == {"4.zip": (world.out / "4.zip").read_bytes()}


def test_ten_exports_cost_the_space_of_one(world):
    fill(world, 0)
    world.export("all")
    one = disk(world)
    for _ in range(9):
        world.export("all")
    assert disk(world) - one < 9 * 8192  # documents


def test_a_mark_keeps_what_it_needs(world):
    fill(world, 0)
    world.export("all", channel="slow")
    for i in range(3):
        fill(world, i)
        world.export("incremental")
    world.sql("DELETE FROM detail WHERE l = 3")
    world.sql("UPDATE location SET name = 'Rome' WHERE id = 1")
    world.export("incremental")
    purge(world, "outbox", "keep=0")
    purge(world, "snapshots", "keep=0")
    purge(world, "jobs", "older=0s")
    z = world.export("incremental", channel="slow")
    assert z.deleted == {"Lima/Actual/Jan": "data deleted"}
    assert z.renamed == [("location", 1, "Paris", "Rome")]
    assert z.shown == {}


# Damage


def damage(w, data):
    """Flips a byte of the place in the packs where this file lies."""
    (pack, offset, n), = w.store(
        "SELECT pack, offset, packed FROM object WHERE hex(sha256) = ?",
        sha256(data).upper())
    with open(f"{w.path}.outboxfs/packs/{pack}", "r+b") as file:
        file.seek(offset + n // 2)
        byte = file.read(1)[0]
        file.seek(offset + n // 2)
        file.write(bytes([byte ^ 0x10]))


def verify(w, *words):
    """Exit status, and what is named."""
    result = run(OUTBOXFS, "verify", w.path, *words, check=False)
    lines = result.stdout.splitlines()
    assert lines[-1].startswith(f"{w.path}: "), result
    return result.returncode, sorted(line.rsplit(": ", 1)[0]
                                     for line in lines[:-1])


@pytest.mark.parametrize("name", [
    "output/Paris/Actual/Jan/fact.csv", "data/Oslo/Budget/Jan/status.csv",
    "setup/Größe, cm.csv", "setup/location.csv"])
def test_one_flipped_byte_is_named_and_mended(world, tmp_path, name):
    z = world.export("all", "file=a")
    assert verify(world) == (0, [])
    damage(world, z.contents[name])
    named = [f"{name} (since snapshot 1)"]
    assert verify(world) == (1, named)
    assert verify(world) == (1, named)  # looking mends nothing
    assert verify(world, "--repair") == (0, named)
    assert verify(world) == (0, [])
    assert outbox(world, tmp_path) == {"a.zip": z.path.read_bytes()}
    assert world.export("incremental").shown == {}


def test_a_pack_that_is_gone(world, tmp_path):
    world.export("all", "file=a")
    packs = pathlib.Path(f"{world.path}.outboxfs/packs")
    for p in packs.iterdir():
        p.unlink()
    status, named = verify(world)
    assert status == 1
    assert {n.split(" (")[0] for n in named} == set(world.last.contents) | {
        "outbox/a.zip: SnapshotParams.json", "outbox/a.zip: datapackage.json",
        "snapshots/1/data/SnapshotParams.json"}
    status, _ = verify(world, "--repair")
    assert status == 1  # the documents are nowhere else
    status, named = verify(world)
    assert status == 1
    assert [n.split(" (")[0] for n in named] == [
        "outbox/a.zip: SnapshotParams.json", "outbox/a.zip: datapackage.json",
        "snapshots/1/data/SnapshotParams.json"]
    z = json.loads(run(OUTBOXFS, "export", world.path, "all", "--json",
                       "file=b", "-o", world.out).stdout)
    assert z["state"] == "done"
    run("unzip", "-tqq", world.out / "b.zip")


def test_a_pack_that_is_cut(world):
    world.export("all", "file=a")
    packs = sorted(pathlib.Path(f"{world.path}.outboxfs/packs").iterdir())
    os.truncate(packs[0], packs[0].stat().st_size // 2)
    status, named = verify(world)
    assert status == 1 and named
    verify(world, "--repair")
    assert not [n for n in verify(world)[1] if ".csv" in n]


def test_what_the_database_has_no_more_stays_damaged(world):
    old = world.export("all", "file=a").contents
    name = "output/Paris/Actual/Jan/fact.csv"
    world.sql("UPDATE fact SET note = 'new' WHERE id = 1")
    new = world.export("incremental").contents
    damage(world, old[name])
    damage(world, new[name])
    both = [f"{name} (since snapshot 2)", f"{name} (snapshots 1 to 1)"]
    assert verify(world) == (1, both)
    assert verify(world, "--repair") == (1, both)
    assert verify(world) == (1, both[1:])
    # An export goes on, and the old state can be given up.
    assert world.export("incremental").shown == {}
    world.done("purge", "outbox", "name=a.zip")
    world.done("purge", "snapshots", "keep=1")
    assert verify(world) == (0, [])


def test_a_damaged_file_is_not_exported_again_as_it_is(world):
    """all renders afresh: what is known to be damaged is stored anew."""
    z = world.export("all", "file=a")
    damage(world, z.contents["output/Paris/Actual/Jan/fact.csv"])
    assert verify(world)[0] == 1
    world.export("all", "file=b")
    assert verify(world) == (0, [])
