"""Commands, mounts and times."""
import collections
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "bench"
OUTBOXFS = BUILD / "src" / "outboxfs"

# Each file once, by as few programs as possible: the same for both sides.
CAT = "find {0} -type f -print0 | xargs -0 cat >/dev/null"


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def run(*args, **kwargs):
    """A command that must succeed; its output as text."""
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run([str(a) for a in args], check=False, text=True,
                          **kwargs)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(a) for a in args)[:300]} gave "
                           f"{done.returncode}: {(done.stderr or '').strip()}")
    return done.stdout


def shell(script):
    return run("bash", "-o", "pipefail", "-ec", script)


def seconds(script):
    """How long a script takes; it must succeed."""
    began = time.perf_counter()
    shell(script)
    return time.perf_counter() - began


def sqlite(db, *statements):
    return run("sqlite3", "-bail", "-cmd", ".timeout 5000", db, *statements)


def drop_caches(what):
    """1: pages of files, 2: names and attributes, 3: both."""
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text(str(what))
    # The tools themselves are not what is measured.
    shell("for i in bash find xargs cat ls rsync sqlite3 umount sleep zip; do"
          " $i --version; done >/dev/null 2>&1 || true")


def in_turn(rounds, *sides):
    """Times of each side: the first of all, the second of all, …"""
    times = [[] for _ in sides]
    for _ in range(rounds):
        for side, found in zip(sides, times):
            found.append(side())
    return times


def daemon_of(db):
    """The process that serves a database, as the store's lock names it."""
    try:
        text = pathlib.Path(f"{db}.outboxfs/lock").read_text("utf-8")
    except OSError:
        return None
    found = re.search(r"process (\d+)", text)
    return int(found[1]) if found else None


def wait_until(condition, limit=60):
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def unmount(path, pid):
    """Takes a mount away, whatever state it is in; its daemon ends."""
    if os.path.ismount(path) and subprocess.run(
            ["umount", path], check=False, stderr=subprocess.PIPE).returncode:
        run("umount", "-l", path)
    if pid and not wait_until(lambda: not os.path.exists(f"/proc/{pid}")):
        os.kill(pid, signal.SIGKILL)
        raise RuntimeError(f"daemon {pid} did not end after umount")


@contextlib.contextmanager
def mounted(db, options=None):
    """A mount of ours over a database, for the length of a with."""
    path = pathlib.Path(f"{db}.mnt")
    path.mkdir(exist_ok=True)
    # A file, not a pipe: the daemon keeps what it is given to write to.
    with open(f"{db}.log", "a+", encoding="utf-8") as log:
        try:
            run(OUTBOXFS, "mount", db, path,
                *(["-o", options] if options else []), stdout=log, stderr=log)
            yield path
        finally:
            unmount(path, daemon_of(db))


@contextlib.contextmanager
def logged(db, path):
    """A mount that logs its requests; yields where, and the log."""
    log_path = pathlib.Path(f"{db}.requests")
    path.mkdir(exist_ok=True)
    with open(log_path, "wb") as log, subprocess.Popen(
            [OUTBOXFS, "mount", "-d", str(db), str(path)],
            stdout=log, stderr=log) as daemon:
        try:
            if not wait_until(lambda: os.path.ismount(path)):
                raise RuntimeError("no mount with -d")
            yield log_path
        finally:
            unmount(path, None)
            daemon.wait(60)
            log_path.unlink()


def sweep(work):
    """Takes away what a benchmark left mounted; rmtree must not enter it."""
    mounts = pathlib.Path("/proc/self/mounts").read_text("utf-8")
    for line in mounts.splitlines():
        if line.split()[1].startswith(f"{work}/"):
            run("umount", "-l", line.split()[1])


def forget_store(db):
    """What earlier mounts have found out about files, and all exports."""
    shutil.rmtree(f"{db}.outboxfs", ignore_errors=True)


def read_all(db):
    """Finds out the size of every file; the store keeps them."""
    with mounted(db) as mnt:
        shell(CAT.format(mnt))


def warm(path):
    """Has a file in the page cache, and nothing waiting to be written."""
    shell(f"cat {path} >/dev/null")
    os.sync()


def export(mnt, kind, name):
    """From the write of a command until the end of its ZIP has been read."""
    began = time.perf_counter()
    control = os.open(mnt / "control" / "export", os.O_WRONLY)
    try:
        os.write(control, f"{kind} file={name} wait=yes\n".encode())
    finally:
        os.close(control)
    made = os.open(mnt / "outbox" / f"{name}.zip", os.O_RDONLY)
    try:
        end = os.pread(made, 22, os.fstat(made).st_size - 22)
    finally:
        os.close(made)
    took = time.perf_counter() - began
    if not end.startswith(b"PK\5\6"):
        raise RuntimeError(f"{name}.zip has no end")
    return took


def export_first(db):
    """A store that holds one export, and nothing older."""
    forget_store(db)
    with mounted(db) as mnt:
        export(mnt, "all", "first")


def count_requests(db, script, before=None, below="data"):
    """Requests of each kind that a script makes, names dropped before."""
    path = pathlib.Path(f"{db}.mnt")
    with logged(db, path) as log:
        if before:
            shell(before.format(path / below, "/nonexistent"))
        else:
            drop_caches(2)
        start = log.stat().st_size
        shell(script.format(path / below, "/nonexistent"))
        with open(log, encoding="utf-8", errors="replace") as file:
            file.seek(start)
            return collections.Counter(
                re.findall(r"opcode: (\w+)", file.read()))
