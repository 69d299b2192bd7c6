"""What cannot be written, made durable or allocated, at every step."""
import contextlib
import os
import shutil
import sqlite3

import pytest

import world
from outbox import Mount, run

ERRORS = ("EIO", "ENOSPC", "ENOMEM")


def fail(prepared, flow, env):
    """
    With something failing: either it is done nevertheless, or there is a
    sentence that says why not and nothing has changed; or it failed after it
    was done, and the job says so. The next try works in any case.
    """
    w = prepared.copy_to(prepared.path.parent / "w")
    words = world.words_of(w, flow)
    before = w.visible(), w.database()
    last = world.last_job(w)
    result = w.run(*words, env=env)
    job = world.last_job(w)
    if result.returncode != 0:
        world.one_sentence(result, "ENOMEM" in str(env))
    changed = (w.visible(), w.database()) != before
    if changed or result.returncode == 0:
        assert job > last, result
        w.look()
        with world.saying(result):
            # What cannot be read is not compacted, and that is all.
            world.has_effect(w, flow, job, space=result.returncode == 0
                             and "pack-read" not in str(env))
    # What was queued and not followed to its end is done by the next process.
    states = {state for n, _, state in w.jobs() if n > last}
    if states & {"queued", "processing"}:
        w.done("export", "setup")
        w.look()
    if states - {"failed"} and words[0] == "export" and flow != "overwrite":
        words.append("overwrite=yes")
    again = w.run(*words)
    assert again.returncode == 0, again
    world.has_effect(w, flow, world.last_job(w), last + 1)
    w.recover(("done", "failed"))
    assert not w.store("SELECT id FROM job WHERE state = 'failed'"
                       " AND (error IS NULL OR length(error) < 10)")
    shutil.rmtree(w.path)


@pytest.mark.parametrize("flow", world.FLOWS)
def test_failpoints(template, work, flow):
    prepared = world.prepare(template, flow, work / "prepared")
    points = world.points_of(prepared, flow)
    tries = [(point, n) for point in dict.fromkeys(points)
             for n in world.spread(points.count(point), 4)]
    for i, (point, n) in enumerate(tries):
        for error in ERRORS[i % 3:i % 3 + 1] if world.MOST else ERRORS:
            rule = f"{point}:{error}:{n}"
            with world.saying(rule):
                fail(prepared, flow, {"OUTBOXFS_FAULT": rule})


@pytest.mark.parametrize("kind", ["write", "sync", "name", "open", "alloc"])
@pytest.mark.parametrize("flow", ["all", "incremental", "orphans",
                                  "purge outbox", "compact"])
def test_system_calls(template, work, flow, kind):
    prepared = world.prepare(template, flow, work / "prepared")
    n = world.calls_of(prepared, flow, kind)
    for i, at in enumerate(world.spread(n)):
        error = "ENOMEM" if kind == "alloc" else ERRORS[i % 2]
        with world.saying(f"{kind}:{error}:{at}"):
            fail(prepared, flow, world.failing(kind, error, at))


@pytest.fixture
def small_disk(work):
    path = work / "disk"
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4m", "none", path)
    yield path
    run("umount", "-l", path)


@pytest.fixture
def disk(template, small_disk):
    """A small disk of its own, with a database and its store on it."""
    return template.copy_to(small_disk / "w")


def fill(w):
    """To the last byte."""
    with open(w.path / "ballast", "wb", buffering=0) as file:
        try:
            for size in (1 << 16, 1 << 12, 1):
                while file.write(b"x" * size) == size:
                    pass
        except OSError:
            pass
        # A part of a page that is left.
        assert os.statvfs(w.path).f_bavail == 0


def empty(w):
    (w.path / "ballast").unlink()


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("flow", world.FLOWS)
def test_full_disk(template, small_disk, flow, others):
    disk = world.prepare(template, flow, small_disk / "w")
    words = world.words_of(disk, flow)
    before = disk.visible(), disk.database()
    with contextlib.ExitStack() as stack:
        if others:
            # They have made the files that a reader needs.
            for path in disk.db, disk.store_path / "store.db":
                db = stack.enter_context(contextlib.closing(
                    sqlite3.connect(path)))
                db.execute("SELECT count(*) FROM sqlite_master").fetchall()
        fill(disk)
        result = disk.run(*words)
    world.one_sentence(result)
    assert "disk is full" in result.stderr or "o space" in result.stderr
    empty(disk)
    assert (disk.visible(), disk.database()) == before
    assert disk.run(*words).returncode == 0
    world.has_effect(disk, flow, world.last_job(disk))
    disk.recover(("done", "failed"))


def test_disk_fills_up_during_an_export(disk):
    """It has room to begin with."""
    disk.sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
             " WHERE i < 200) INSERT INTO fact(location_id, category_id,"
             " period, amount, note) SELECT 1, 1, '2026-05', 0,"
             " hex(randomblob(4000)) FROM n")
    before = disk.visible()
    ballast = disk.path / "ballast"
    free = os.statvfs(disk.path).f_bavail * 4096
    ballast.write_bytes(b"x" * (free - 500000))
    world.one_sentence(disk.run("export", "all", "file=x"))
    assert disk.visible() == before
    assert [state for _, _, state in disk.jobs()][-1] == "failed"
    disk.look()
    disk.check_packs()
    empty(disk)
    disk.recover(("done", "failed"))


def test_full_disk_while_mounted(disk, work):
    """Reading goes on; what was there is there."""
    disk.done("export", "incremental")
    disk.look()
    mount = Mount(disk.db, work / "mnt")
    try:
        fill(disk)
        for number, data in disk.seen.items():
            path = mount / "outbox" / disk.names[number]
            assert path.read_bytes() == data
        live = {f: f.read_bytes() for f in mount.path.rglob("*.csv")}
        assert live
        with pytest.raises(OSError) as refused:
            (mount / "control/export").write_text("all wait=yes\n")
        assert refused.value.strerror
        assert {f: f.read_bytes() for f in mount.path.rglob("*.csv")} == live
        empty(disk)
        (mount / "control/export").write_text("all wait=yes\n")
    finally:
        mount.close()
    disk.recover(("done", "failed"))


@pytest.mark.parametrize("flow", ["all", "incremental", "purge outbox"])
def test_read_only_disk(disk, flow):
    words = world.words_of(disk, flow)
    before = disk.visible(), disk.database()
    run("mount", "-o", "remount,ro", disk.path.parent)
    result = disk.run(*words)
    world.one_sentence(result)
    run("mount", "-o", "remount,rw", disk.path.parent)
    assert (disk.visible(), disk.database()) == before
    assert disk.run(*words).returncode == 0
    disk.recover()
