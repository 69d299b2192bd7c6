"""Who is at work while things are killed: a writer, readers, exporters."""
import errno
import json
import os
import random
import sqlite3
import subprocess
import threading

import world


def move(db, rng):
    """One transaction that keeps the total of all amounts."""
    ids = [row[0] for row in db.execute("SELECT id FROM fact")]
    a, b = rng.sample(ids, 2)
    n = rng.randrange(1, 50)
    what = rng.random()
    if what < 0.15 and len(ids) < 40:
        db.execute("INSERT INTO fact(location_id, category_id, period, amount,"
                   " note) VALUES(?, 1, ?, ?, hex(randomblob(?)))",
                   (rng.randrange(1, 3), f"2026-{rng.randrange(1, 7):02}", n,
                    rng.randrange(1, 2000)))
        b = None
    elif what < 0.25 and len(ids) > 8:
        n = -db.execute("SELECT amount FROM fact WHERE id = ?",
                        (b,)).fetchone()[0]
        db.execute("DELETE FROM fact WHERE id = ?", (b,))
        b = None
    elif what < 0.35:
        db.execute("INSERT OR REPLACE INTO process_status SELECT location_id,"
                   " category_id, period, 1, ?, 'x' FROM fact WHERE id = ?",
                   (n, a))
    db.execute("UPDATE fact SET amount = amount - ? WHERE id = ?", (n, a))
    if b:
        db.execute("UPDATE fact SET amount = amount + ? WHERE id = ?", (n, b))


class Writer(threading.Thread):
    """Moves amounts until it is told to stop."""

    def __init__(self, path, seed, pause=0.002):
        super().__init__()
        self.path = path
        self.rng = random.Random(seed)
        self.pause = pause
        self.stopping = threading.Event()
        self.n = 0
        self.error = None
        self.start()

    def run(self):
        db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            while not self.stopping.wait(self.pause):
                db.execute("BEGIN IMMEDIATE")
                move(db, self.rng)
                db.execute("COMMIT")
                self.n += 1
        except Exception as e:  # noqa: BLE001  (told by stop())
            self.error = e
        finally:
            db.close()

    def stop(self):
        self.stopping.set()
        self.join()
        assert self.error is None
        assert self.n


# What a reader may be told when the daemon is killed, or a ZIP withdrawn.
MAY_FAIL = {errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT, errno.ESTALE}


class Reader(threading.Thread):
    """Reads ZIPs of a mount; all that it read whole is in found, by name."""

    def __init__(self, mountpoint, seed, found, lock):
        super().__init__()
        self.path = mountpoint / "outbox"
        self.rng = random.Random(seed)
        self.found = found
        self.lock = lock
        self.stopping = threading.Event()
        self.error = None
        self.n = 0
        self.start()

    def read(self, name):
        path = self.path / name
        if self.rng.random() < 0.2:
            # Another program, which is killed by nobody and may be refused.
            subprocess.run(["unzip", "-tqq", path], capture_output=True,
                           check=False, timeout=world.TIMEOUT)
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read()
        assert len(data) == size, name
        with self.lock:
            if name in self.found:
                assert self.found[name] == data, name
                return
        z = world.Zip(data)
        if z.type != "setup" and z.shows_all():
            assert world.total_of(z.files) == world.TOTAL, name
        with self.lock:
            self.found[name] = data
        self.n += 1

    def run(self):
        try:
            while not self.stopping.wait(0.001):
                try:
                    names = os.listdir(self.path)
                    if names:
                        self.read(self.rng.choice(names))
                except OSError as e:
                    if e.errno not in MAY_FAIL:
                        raise
        except Exception as e:  # noqa: BLE001  (told by stop())
            self.error = e

    def stop(self):
        self.stopping.set()
        self.join()
        assert self.error is None, repr(self.error)


def submit(mountpoint, kind, words):
    """A command by a control file: the job's number, or None if refused."""
    try:
        fd = os.open(mountpoint / "control" / kind, os.O_RDWR)
        try:
            os.write(fd, words.encode())
            return json.loads(os.pread(fd, 1 << 20, 0))["job"]
        finally:
            os.close(fd)
    except OSError as e:
        if e.errno not in MAY_FAIL | {errno.EDQUOT}:
            raise
        return None
