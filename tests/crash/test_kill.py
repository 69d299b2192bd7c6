"""Killed at every step of every flow, then gone on with."""
import pathlib
import re
import shutil
import sqlite3

import pytest

import world

SOURCES = pathlib.Path(__file__).parents[2] / "src"


def kill(prepared, flow, env):
    """False: it came through."""
    w = prepared.copy_to(prepared.path.parent / "w")
    before = world.last_job(w)
    result = w.run(*world.words_of(w, flow), env=env)
    if result.returncode == -9:
        job = world.last_job(w)
        w.recover()
        if job > before:
            world.has_effect(w, flow, job)
    else:
        assert result.returncode == 0, result
    shutil.rmtree(w.path)
    return result.returncode == -9


@pytest.mark.parametrize("flow", world.FLOWS)
def test_failpoints(template, work, flow):
    prepared = world.prepare(template, flow, work / "prepared")
    points = world.points_of(prepared, flow)
    assert points
    for point in dict.fromkeys(points):
        n = 0
        dead = True
        while dead:
            n += 1
            rule = f"{point}:kill:{n}"
            with world.saying(rule):
                dead = kill(prepared, flow, {"OUTBOXFS_FAULT": rule})
        # What waits for another thread may be passed less often.
        assert n > 1, f"{point} did not kill"


@pytest.mark.parametrize("kind", ["write", "sync", "name", "open"])
@pytest.mark.parametrize("flow", ["all", "incremental", "orphans",
                                  "purge outbox", "compact"])
def test_system_calls(template, work, flow, kind):
    prepared = world.prepare(template, flow, work / "prepared")
    n = world.calls_of(prepared, flow, kind)
    assert n or kind == "name"
    for at in world.spread(n):
        with world.saying(f"{kind}:kill:{at}"):
            kill(prepared, flow, world.failing(kind, "kill", at))


def killed_at_each(make, args, check):
    """A process that is killed at its n-th point, for every n."""
    n = 0
    code = -9
    while code == -9:
        n += 1
        w = make()
        result = w.run(*args, env={"OUTBOXFS_FAULT": f"*:kill:{n}"})
        code = result.returncode
        assert code in (0, -9), result
        with world.saying(f"*:kill:{n}"):
            check(w)
        shutil.rmtree(w.path)
    return n


@pytest.fixture
def fresh(work):
    """Nothing was ever exported."""
    w = world.World(work / "fresh")
    w.begin()
    return w


def test_first_export(fresh, work):
    def check(w):
        w.recover()

    assert killed_at_each(lambda: fresh.copy_to(work / "w"),
                          ("export", "all"), check) > 20


def test_recovery(template, work):
    """Killed again while it recovers."""
    left = template.copy_to(work / "left")
    assert left.run("export", "all", "file=x", env={
        "OUTBOXFS_FAULT": "draft-commit:kill"}).returncode == -9

    def check(w):
        job = w.store("SELECT max(id) FROM job WHERE request LIKE '%\"x%'")
        w.recover()
        world.has_effect(w, "all", job[0][0])

    assert killed_at_each(lambda: left.copy_to(work / "w"),
                          ("export", "incremental"), check) > 20


@pytest.mark.parametrize("state", ["queued", "processing"])
def test_aborted(template, work, state):
    left = template.copy_to(work / "left")
    assert left.run("export", "all", "file=x", env={
        "OUTBOXFS_FAULT": "draft-begin:kill"}).returncode == -9
    job = str(world.last_job(left))
    with sqlite3.connect(left.store_path / "store.db") as db:
        db.execute("UPDATE job SET state = ? WHERE id = ?", (state, job))
    db.close()

    def check(w):
        w.run("abort", job)
        w.look()
        w.done("export", "incremental")
        w.look()
        w.check_jobs(("done", "aborted"))
        assert w.jobs()[int(job) - 1][2] == "aborted"
        w.check_channel()

    assert killed_at_each(lambda: left.copy_to(work / "w"), ("abort", job),
                          check) > 2


def test_repair(template, work):
    """What is under way when a damaged store is repaired."""
    damaged = template.copy_to(work / "damaged")
    damaged.done("export", "incremental")
    damaged.look()
    seen = set(damaged.seen)
    pack = next((damaged.store_path / "packs").iterdir())
    offset, = damaged.store("SELECT max(o.offset) FROM object AS o JOIN"
                            " version AS v ON v.object = o.id"
                            " WHERE v.until = 9223372036854775807")[0]
    data = bytearray(pack.read_bytes())
    data[offset] ^= 0x55
    pack.write_bytes(data)
    assert damaged.run("verify").returncode == 1

    def check(w):
        w.run("verify", "--repair")
        w.check_verify()
        assert w.look() == seen
        w.check_packs()

    assert killed_at_each(lambda: damaged.copy_to(work / "w"),
                          ("verify", "--repair"), check) > 5


def test_large(work):
    """A file that is too large for memory while it is deflated."""
    w = world.World(work / "large")
    w.begin()
    w.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
          " WHERE i < 40) INSERT INTO fact(location_id, category_id, period,"
          " amount, note) SELECT 1, 1, '2026-01', 0, hex(randomblob(500000))"
          " FROM n")
    assert w.run("export", "all", env={
        "OUTBOXFS_FAULT": "object-spill:kill"}).returncode == -9
    w.recover()


def test_every_point_is_passed(template, fresh, work):
    named = set()
    for file in SOURCES.rglob("*.c"):
        named |= set(re.findall(r'fault\("([^"]+)"\)', file.read_text()))
    # By the other tests here; outbox-withdraw by test_random.
    passed = {"job-abort", "repair-commit", "object-spill", "outbox-withdraw",
              "pack-cut"}
    for flow in world.FLOWS:
        prepared = world.prepare(template, flow, work / flow)
        passed |= set(world.points_of(prepared, flow))
    passed |= set(world.tell(fresh.run("export", "all", env={
        "OUTBOXFS_FAULT": "*:tell"}).stderr))
    assert named == passed
