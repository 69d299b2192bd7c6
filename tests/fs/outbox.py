"""What the mounted tests share: a database, a mount, and how to look at them."""
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

OUTBOXFS = os.path.abspath(os.environ.get("OUTBOXFS", "build/src/outboxfs"))
TIMEOUT = float(os.environ.get("OUTBOXFS_TEST_TIMEOUT", "60"))


def run(*args, check=True, timeout=TIMEOUT, **kwargs):
    """A command with its output as text; fails the test if it fails."""
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run(
        [str(a) for a in args], timeout=timeout, check=False, text=True,
        errors="surrogateescape", **kwargs,
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"{args} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
    return done


def sqlite(db, *sql):
    """What the sqlite3 command prints: another program, as users have it."""
    return run("sqlite3", "-cmd", ".timeout 5000", db, *sql).stdout


def adopt(db, model, *options):
    path = pathlib.Path(str(db) + ".model.json")
    path.write_text(json.dumps(model), encoding="utf-8")
    return run(OUTBOXFS, "adopt", db, "--model", path, *options)


class Notify:
    """A socket for READY=1, so that nobody sleeps until a mount works."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(TIMEOUT)

    def wait(self, word):
        while word not in self.socket.recv(4096).decode():
            pass

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def connection_of(path):
    """The number of a mount below /sys/fs/fuse/connections, or None."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if words[4] == str(path):
                return words[2].split(":")[1]
    return None


def abort(path):
    """Ends a mount that hangs, whatever its daemon does."""
    number = connection_of(path)
    control = "/sys/fs/fuse/connections"
    if not os.path.ismount(control):
        run("mount", "-t", "fusectl", "none", control, check=False)
    if number and os.path.exists(f"{control}/{number}/abort"):
        pathlib.Path(f"{control}/{number}/abort").write_text("1")
    run("umount", "-l", path, check=False)


class Mount:
    """A daemon in the foreground over a database; ends with the test."""

    def __init__(self, db, path, *options, env=None, wait=True):
        self.db = pathlib.Path(db)
        self.path = pathlib.Path(path)
        self.path.mkdir(exist_ok=True)
        self.log_path = pathlib.Path(str(path) + ".log")
        notify = Notify(os.path.dirname(str(path)))
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [OUTBOXFS, "mount", "-f", "-v", str(db), str(path), *options],
                stderr=log, stdout=log,
                env={**os.environ, "NOTIFY_SOCKET": notify.path, **(env or {})},
            )
        try:
            if wait:
                self.wait_ready(notify)
        finally:
            notify.close()

    def wait_ready(self, notify):
        notify.socket.settimeout(0.2)
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            try:
                notify.wait("READY=1")
                return
            except TimeoutError:
                if self.process.poll() is not None:
                    raise AssertionError(f"no mount: {self.log()}") from None
        raise AssertionError(f"the mount is not ready: {self.log()}")

    def log(self):
        return self.log_path.read_text(errors="replace")

    def __truediv__(self, name):
        return self.path / name

    def unmount(self):
        """As a user does; the daemon must then end well by itself."""
        run("umount", self.path)
        return self.process.wait(TIMEOUT)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(TIMEOUT)

    def close(self):
        if self.process.poll() is None:
            run("umount", self.path, check=False)
            try:
                self.process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                abort(self.path)
                self.process.kill()
                self.process.wait()
                raise AssertionError("the daemon did not end") from None
            if self.process.returncode != 0:
                raise AssertionError(
                    f"the daemon ended with {self.process.returncode}:\n"
                    + self.log()[-8000:])
        elif os.path.ismount(self.path):
            run("umount", "-l", self.path, check=False)


# What every mount has at its top, in the order of ls.
ROOT = ["README.md", "control", "data", "jobs", "outbox", "output", "setup",
        "snapshots", "status.json"]


def walk(path):
    """os.walk(), but for control files: what they answer is no content."""
    for base, dirs, names in os.walk(path):
        if base == path:
            dirs[:] = [d for d in dirs if d not in ("control", b"control")]
        yield base, dirs, names


def tree(path):
    """Everything below a directory: relative name -> (type, size, mtime)."""
    found = {}
    for base, dirs, files in walk(os.fsencode(path)):
        for name in dirs + files:
            full = os.path.join(base, name)
            st = os.lstat(full)
            kind = "d" if os.path.isdir(full) else "f"
            found[os.path.relpath(full, os.fsencode(path))] = (
                kind, st.st_size, int(st.st_mtime))
    return found


def files(path):
    """Bytes of every file below a directory, by relative name."""
    found = {}
    for base, _, names in walk(os.fsencode(path)):
        for name in names:
            full = os.path.join(base, name)
            with open(full, "rb") as file:
                found[os.path.relpath(full, os.fsencode(path))] = file.read()
    return found


SALES = {
    "name": "sales",
    "pov": [
        {"name": "location", "table": "location", "key": "id", "label": "name"},
        {"name": "category", "table": "category", "key": "id", "label": "name"},
        {"name": "period"},
    ],
    "setup": "*",
    "data": [{
        "table": "fact", "order": ["id"],
        "pov": {"location": "location_id", "category": "category_id",
                "period": "period"},
    }],
    "status": {
        "table": "process_status", "rule": "rule_id",
        "pov": {"location": "location_id", "category": "category_id",
                "period": "period"},
    },
}

SALES_SQL = """
CREATE TABLE location(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE category(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE fact(id INTEGER PRIMARY KEY, location_id INTEGER NOT NULL,
  category_id INTEGER NOT NULL, period TEXT NOT NULL, amount REAL, note TEXT);
CREATE TABLE process_status(location_id INTEGER, category_id INTEGER,
  period TEXT, rule_id INTEGER, flag INTEGER, note TEXT,
  PRIMARY KEY(location_id, category_id, period, rule_id));
INSERT INTO location VALUES(1, 'Paris'), (2, 'Oslo'), (3, 'Lima');
INSERT INTO category VALUES(1, 'Actual'), (2, 'Budget');
INSERT INTO fact(location_id, category_id, period, amount, note)
  SELECT l.id, c.id, p.value, l.id * 10 + c.id + 0.25, 'row of ' || l.name
  FROM location AS l, category AS c, json_each('["2026-01","2026-02"]') AS p,
  json_each('[1,2,3]') AS n;
INSERT INTO process_status SELECT DISTINCT location_id, category_id, period,
  1, 0, NULL FROM fact;
"""


def make_sales(path):
    """A small database whose every POV can be checked by hand."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.executescript(SALES_SQL)
    db.close()
    adopt(path, SALES)
    return path
