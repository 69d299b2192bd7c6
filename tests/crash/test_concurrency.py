"""Readers, writers and exports at once: each ZIP is one committed state."""
import os
import random
import re
import subprocess
import threading
import time

import pytest

import world
from actors import Reader, Writer, submit
from outbox import Mount

SECONDS = float(os.environ.get("OUTBOXFS_CONCURRENCY_SECONDS", "10"))
KEEP = 60  # ZIPs


class Walker(threading.Thread):
    """An ordinary program over the whole mount, again and again."""

    def __init__(self, command, cwd):
        super().__init__()
        self.command = command
        self.cwd = cwd
        self.stopping = threading.Event()
        self.n = 0
        self.error = None
        self.start()

    def run(self):
        while not self.error and not self.stopping.wait(0.01):
            done = subprocess.run(
                self.command, cwd=self.cwd, capture_output=True, text=True,
                check=False, timeout=world.TIMEOUT)
            # A file may go between its listing and its opening, or change
            # twice while the kernel opens it.
            lines = [line for line in done.stderr.splitlines()
                     if not re.search("No such file|vanished|Stale file",
                                      line)]
            if lines:
                self.error = (self.command, lines[:5])
            self.n += 1

    def stop(self):
        self.stopping.set()
        self.join()
        assert self.error is None, self.error
        assert self.n


@pytest.fixture
def mounted(work):
    w = world.World(work / "w")
    w.begin()
    mount = Mount(w.db, w.path / "mnt")
    yield w, mount
    mount.close()


def snapshot_total(mnt, number):
    """Of a tree in snapshots/, which does not change."""
    total = 0
    for base, _, names in os.walk(mnt / f"snapshots/{number}/output"):
        for name in names:
            with open(os.path.join(base, name), "rb") as file:
                total += sum(int(r["amount"])
                             for r in world.rows_of(file.read()))
    return total


def test_constant_total(mounted, work):
    w, mount = mounted
    mnt = mount.path
    rng = random.Random(1)
    found = {}
    lock = threading.Lock()
    (work / "copy").mkdir()
    writers = [Writer(w.db, i, pause=0.01) for i in range(4)]
    actors = [Reader(mnt, i, found, lock) for i in range(5)]
    actors += [Walker(command, mnt) for command in (
        ["find", ".", "-type", "f", "-size", "+0"],
        ["sh", "-c", "cat setup/*.csv data/*/*/*/*.csv output/*/*/*/*.csv"],
        ["rsync", "-a", "--delete", "outbox/", work / "copy/"])]
    deadline = time.monotonic() + SECONDS
    number = 0
    try:
        while time.monotonic() < deadline:
            number += 1
            kind = rng.choice(["all", "all_incremental", "incremental"])
            job = submit(mnt, "export", f"{kind} file=c{number} wait=yes"
                         f" channel={rng.choice(['main', 'second'])}")
            assert job
            assert (mnt / f"jobs/{job}/state").read_text() == "done\n"
            if number % 5 == 0:
                last = max(int(n) for n in os.listdir(mnt / "snapshots")
                           if n.isdigit())
                assert snapshot_total(mnt, last) == world.TOTAL
            if number % KEEP == 0:
                assert submit(mnt, "purge", f"outbox keep={KEEP} wait=yes")
                assert submit(mnt, "purge", "snapshots keep=5 wait=yes")
            time.sleep(0.05)
    finally:
        for actor in actors + writers:
            actor.stopping.set()
        for actor in actors + writers:
            actor.join()
    for actor in actors + writers:
        actor.stop()
    assert mount.unmount() == 0
    print(number, "exports", sum(a.n for a in writers), "written", len(found),
          "ZIPs read")
    assert len(found) > 5
    w.look()
    for zip_ in w.parsed.values():
        if zip_.shows_all():
            assert world.total_of(zip_.files) == world.TOTAL
    w.check_packs()
    w.check_verify()
    w.check_jobs()
    for channel in ("main", "second"):
        w.done("export", "all", f"channel={channel}")
        w.done("export", "incremental", f"channel={channel}")
    w.look()
    w.parsed = {i: z for i, z in w.parsed.items() if z.snapshot > number}
    for channel in ("main", "second"):
        w.check_channel(channel)
