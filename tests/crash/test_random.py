"""Killed at random instants while others write."""
import os
import random
import subprocess
import threading
import time

import pytest

import world
from actors import MAY_FAIL, Reader, Writer, submit
from outbox import OUTBOXFS, Mount, abort, run

ROUNDS = int(os.environ.get("OUTBOXFS_KILL_ROUNDS", "200"))
SEED = int(os.environ.get("OUTBOXFS_KILL_SEED", "0")) or random.randrange(10**9)
TYPES = ("all", "all_incremental", "incremental", "incremental", "setup")
CHANNELS = ("main", "second")
PURGES = (("outbox", "name="), ("outbox", "keep=40"), ("snapshots", "keep=2"),
          ("snapshots", "keep=1"), ("jobs", "older=2s"), ("output",))


def random_command(rng, seen, number):
    if rng.random() < 0.25:
        words = ["purge", *rng.choice(PURGES)]
        # Nothing goes that was not seen.
        if words[-1] == "name=":
            words[-1] += rng.choice(seen)
        return words
    kind = rng.choice(TYPES)
    words = ["export", kind, f"file=z{number}"]
    if kind != "setup":
        words.append(f"channel={rng.choice(CHANNELS)}")
    return words


def check_replay(w):
    for channel in CHANNELS:
        world.replay([z for z in w.parsed.values() if z.channel == channel])
    for z in w.parsed.values():
        if z.type != "setup" and z.shows_all():
            assert world.total_of(z.files) == world.TOTAL


def check_end(w):
    """With nobody writing, what is exported is what is there."""
    for channel in CHANNELS:
        w.done("export", "incremental", f"channel={channel}")
    w.look()
    w.check_packs()
    w.check_verify()
    w.check_jobs()
    for channel in CHANNELS:
        w.check_channel(channel)


@pytest.fixture
def small(work):
    w = world.World(work / "small")
    w.begin()
    for channel in CHANNELS:
        w.done("export", "all", f"channel={channel}")
    w.look()
    return w


def test_killed_export(small):
    rng = random.Random(SEED)
    print("seed", SEED)
    writer = Writer(small.db, SEED)
    durations = [0.05]  # of a process, for each job that it has to do
    deaths = 0
    try:
        for number in range(ROUNDS):
            words = random_command(rng, sorted(small.names.values()), number)
            todo = 1 + len(small.store("SELECT id FROM job WHERE"
                                       " finished_at IS NULL"))
            begun = time.monotonic()
            process = subprocess.Popen(
                [OUTBOXFS, words[0], small.db, *words[1:]],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                text = process.communicate(
                    timeout=rng.random() * 3 * todo
                    * sorted(durations)[len(durations) // 2])
                assert process.returncode == 0, (SEED, number, words, text)
                durations = durations[-20:] + [
                    (time.monotonic() - begun) / todo]
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                deaths += 1
            with world.saying((SEED, number, words)):
                small.look()
                small.check_packs()
                if number % 20 == 0:
                    small.check_verify()
                    check_replay(small)
    finally:
        writer.stop()
    print(deaths, "killed", writer.n, "written", len(small.seen), "ZIPs")
    assert deaths > ROUNDS // 10
    with world.saying(SEED):
        check_replay(small)
        check_end(small)


class Killing:
    """A daemon that is killed, and all that others did with its mount."""

    def __init__(self, w, rng):
        self.w = w
        self.rng = rng
        self.path = w.path / "mnt"
        self.jobs = set()  # whose numbers were told
        self.found = {}    # by name
        self.lock = threading.Lock()
        self.number = 0
        self.wedged = 0

    def act(self, until):
        """Commands until then, and now and then a ZIP is withdrawn."""
        while time.monotonic() < until:
            self.number += 1
            with self.lock:
                seen = sorted({*self.w.names.values(), *self.found})
            command = random_command(self.rng, seen, f"m{self.number}")
            words = " ".join(command[1:])
            if self.rng.random() < 0.3:
                words += " wait=yes"
            job = submit(self.path, command[0], words)
            # What was purged is not missed.
            if job and command[0] == "export":
                self.jobs.add(job)
            try:
                names = os.listdir(self.path / "outbox")
                if len(names) > 30:
                    os.unlink(self.path / "outbox" / self.rng.choice(
                        [n for n in names if n in seen]))
            except OSError as e:
                assert e.errno in MAY_FAIL, e
            time.sleep(self.rng.random() * 0.02)

    def kill(self, mount):
        """
        A thread that has the kernel forget a name waits for the directory, and
        whoever lists that waits for us: then the kernel keeps a killed daemon
        until somebody ends the connection.
        """
        mount.process.kill()
        try:
            mount.process.wait(2)
        except subprocess.TimeoutExpired:
            self.wedged += 1
            abort(self.path)
            mount.process.wait(world.TIMEOUT)

    def round(self):
        mount = Mount(self.w.db, self.path)
        readers = [Reader(self.path, self.rng.random(), self.found, self.lock)
                   for _ in range(2)]
        killer = threading.Timer(self.rng.random() * 0.4, self.kill, (mount,))
        try:
            killer.start()
            self.act(time.monotonic() + 0.4)
        finally:
            killer.join()
            for reader in readers:
                reader.stop()
            if mount.process.poll() is None:
                self.kill(mount)
        self.w.look()
        self.w.check_packs()


def test_killed_daemon(small):
    rng = random.Random(SEED)
    print("seed", SEED)
    k = Killing(small, rng)
    writer = Writer(small.db, SEED)
    try:
        for number in range(max(1, ROUNDS // 10)):
            with world.saying((SEED, number)):
                k.round()
    finally:
        run("umount", "-l", k.path, check=False)
        writer.stop()
    print(writer.n, "written", len(small.seen), "ZIPs", len(k.found), "read",
          k.wedged, "wedged")
    with world.saying(SEED):
        check_mounted(small, k)


def check_mounted(w, k):
    w.done("export", "setup", "file=drained")
    w.look()
    # What readers saw is what the store has; some of it is gone meanwhile.
    by_name = {name: w.seen[number] for number, name in w.names.items()}
    for name, data in k.found.items():
        if by_name.setdefault(name, data) != data:
            raise AssertionError(name)
    assert set(k.found) & set(w.names.values())
    w.parsed = {name: world.Zip(data) for name, data in by_name.items()}
    check_replay(w)
    ended = {number: state for number, _, state in w.jobs()}
    assert set(ended.values()) == {"done"}, ended
    # Older ones may have been purged; of the others none is lost.
    assert not [j for j in k.jobs if j >= min(ended) and j not in ended]
    check_end(w)
