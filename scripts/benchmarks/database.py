"""Loads, mounts, memory, freshness: P10, P13, P14, P15."""
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import time

from benchmarks.data import FACT, FILL, SEED, Shape, adopt, povs_of
from benchmarks.report import Row, at_most, percentile, show_seconds
from benchmarks.tools import (CAT, OUTBOXFS, daemon_of, drop_caches,
                              export_first, forget_store, in_turn, mounted,
                              run, seconds, shell, sqlite, unmount)


def load_sources(bench, n):
    """The same rows in order and shuffled, as CSV and as a database."""
    n_each = max(1, n // 2000)
    staging = bench.work / "staging.db"
    statements = ["PRAGMA journal_mode=OFF", FACT.format(name="a"),
                  FILL.format(name="a", seed=SEED,
                              **Shape(20, 10, 10, n_each)._asdict()),
                  "CREATE TABLE ordered AS SELECT * FROM a",
                  "CREATE TABLE shuffled AS SELECT * FROM a ORDER BY"
                  f" (id * 2654435761 + {SEED}) % 4294967291",
                  "DROP TABLE a"]
    sqlite(staging, *statements)
    for name in ("ordered", "shuffled"):
        with open(bench.work / f"{name}.csv", "w", encoding="utf-8") as file:
            run("sqlite3", "-csv", staging, f"SELECT * FROM {name}",
                stdout=file)
    return staging


def p10(bench):
    """A bulk load by the sqlite3 command, with and without tracking."""
    n = bench.scaled(1_000_000)
    staging = load_sources(bench, n)
    plain = bench.work / "plain.db"
    tracked = bench.work / "tracked.db"
    target = bench.work / "target.db"
    for db in (plain, tracked):
        sqlite(db, "PRAGMA journal_mode=WAL", FACT.format(name="fact"))
    adopt(tracked, ["fact"])
    sqlite(tracked, "PRAGMA wal_checkpoint(TRUNCATE)")

    def load(db, pragma, how):
        for end in ("", "-wal", "-shm"):
            pathlib.Path(f"{target}{end}").unlink(missing_ok=True)
        shutil.copy(db, target)
        script = bench.work / "load.sql"
        script.write_text(f"{pragma}\n{how}\n")
        return seconds(f"sqlite3 -bail {target} <{script}")

    for order in ("ordered", "shuffled"):
        ways = {
            "`.import`": f".import --csv {bench.work}/{order}.csv fact",
            "`INSERT … SELECT`": f"ATTACH '{staging}' AS s; INSERT INTO fact"
                                 f" SELECT * FROM s.{order};",
        }
        for way, how in ways.items():
            for pragma, cache in (
                    ("", "default cache"),
                    ("PRAGMA cache_size=-200000;", "200 MB cache")):
                ours, peer = in_turn(
                    bench.rounds, lambda: load(tracked, pragma, how),
                    lambda: load(plain, pragma, how))
                if order == "ordered":
                    text = "clustered"
                else:
                    text = "shuffled"
                yield at_most(f"P10 {way} of {n:,} rows, {text}, {cache}; not"
                              " adopted", ours, peer, 1.4)


def first_ls(db, cold):
    path = pathlib.Path(f"{db}.mnt")
    path.mkdir(exist_ok=True)
    if cold:
        drop_caches(3)
    try:
        return seconds(f"{OUTBOXFS} mount {db} {path} 2>>{db}.log && "
                       f"ls {path}/data >/dev/null")
    finally:
        unmount(path, daemon_of(db))


def p13(bench):
    """From the mount command to the end of the first ls, small and large."""
    tiny = bench.db("tiny", Shape(2, 2, 5, 5))
    larges = [(f"{bench.options.rows:,} rows", bench.large())]
    if bench.options.full:
        larges.append(("100,000,000 rows, 1,000,000 points of view",
                       bench.db("huge", Shape(100, 100, 100, 100))))
    for what, large in larges:
        for cold in (False, True):
            ours, peer = in_turn(2 * bench.rounds + 1,
                                 lambda: first_ls(large, cold),
                                 lambda: first_ls(tiny, cold))
            mid = statistics.median(ours)
            gap = mid - statistics.median(peer)
            yield Row(f"P13 mount and first `ls`, {what}; 100 rows"
                      + (", caches dropped" if cold else ""),
                      show_seconds(ours), show_seconds(peer),
                      f"{gap * 1000:+.1f} ms",
                      "the same (within 10 ms), under 100 ms",
                      gap < 0.01 and mid < 0.1)


def memory(pid):
    """MB of a process: all, and what is its own (not pages of files)."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text("utf-8")
    return [int(re.search(rf"{key}:\s+(\d+) kB", text)[1]) / 1000
            for key in ("VmRSS", "RssAnon")]


def memory_after(db, n_read):
    """Memory after every name was listed, and after files were read."""
    with mounted(db) as mnt:
        pid = daemon_of(db)
        n = int(shell(f"find {mnt} | wc -l"))
        listed = memory(pid)
        # Not pipefail: head ends before find does.
        run("bash", "-ec", f"find {mnt}/data -type f | head -n {n_read} |"
            " xargs cat >/dev/null")
        return n, listed, memory(pid)


def memory_rows(small, big, state):
    """A small one and a big one, as they grow."""
    n_small, *few = memory_after(small, 20_000)
    n_big, *lots = memory_after(big, 20_000)
    n = len(povs_of(big))
    for step, text in enumerate((f"{n:,} points of view listed",
                                 "and 20,000 files read")):
        for kind, name in enumerate(("RSS", "of it anonymous")):
            ours, peer = lots[step][kind], few[step][kind]
            yield Row(f"P14 memory, {text}, {name}{state};"
                      " 1,000 points of view",
                      f"{ours:.1f} MB", f"{peer:.1f} MB",
                      f"{ours - peer:+.1f} MB",
                      "within 20 MB, under 100 MB",
                      ours - peer < 20 and ours < 100,
                      f"{n_big:,} and {n_small:,} names")


def p14(bench):
    """Memory of the daemon, 1,000 and 1,000,000 POVs listed and read."""
    small = bench.db("pov-1k", Shape(10, 10, 10, 10))
    big = bench.million()
    for db in (small, big):
        forget_store(db)
    yield from memory_rows(small, big, "")
    for db in (small, big):
        export_first(db)
    yield from memory_rows(small, big, ", after an export")


class Writer:
    """Another program that commits: the sqlite3 command, over a pipe."""

    def __init__(self, db, sync):
        self.process = subprocess.Popen(
            ["sqlite3", "-bail", "-cmd", ".timeout 5000", str(db)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask(f"PRAGMA synchronous={sync};")

    def ask(self, sql):
        """Returns as soon as the statement has been carried out."""
        self.process.stdin.write(f"{sql}\nSELECT 'done';\n")
        self.process.stdin.flush()
        while self.process.stdout.readline().strip() != "done":
            if self.process.poll() is not None:
                raise RuntimeError("the writer has ended")

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)


def commits(mnt, writer, n, label):
    """Commits a new text to some POV; yields its file, and the text."""
    rng = random.Random(SEED)
    for i in range(n):
        l, c, p = (rng.randrange(10) for _ in range(3))
        period = f"2000-{p + 1:02}"
        text = f"{label} {i} " + "x" * (i % 50)
        writer.ask(f"UPDATE fact SET description = '{text}' WHERE location ="
                   f" 'Loc{l:03}' AND category = 'Cat{c:03}' AND period ="
                   f" '{period}' AND id = {((l * 10 + c) * 10 + p) * 10};")
        yield mnt / f"data/Loc{l:03}/Cat{c:03}/{period}/fact.csv", text


def fresh_cats(db, n):
    """Commit, then open and read: is it the new text, and how soon?"""
    times = []
    n_fresh = 0
    writer = Writer(db, "FULL")
    try:
        with mounted(db) as mnt:
            shell(CAT.format(mnt))
            for path, text in commits(mnt, writer, n, "fresh"):
                began = time.perf_counter()
                content = path.read_text("utf-8")
                times.append(time.perf_counter() - began)
                n_fresh += f",{text}\n" in content
    finally:
        writer.close()
    return n_fresh, times


def appearance(path):
    """What stat shows that a commit changes; times move by a second."""
    found = path.stat()
    return found.st_size, found.st_mtime


def wait_for_change(path, old, limit):
    """How long until stat shows something new; None: not within the limit."""
    began = time.perf_counter()
    while appearance(path) == old:
        if time.perf_counter() - began > limit:
            return None
        time.sleep(0.0002)
    return time.perf_counter() - began


def notices(db, n, sync):
    """Commit, then stat until the kernel has been told."""
    times = []
    n_lost = 0
    writer = Writer(db, sync)
    try:
        with mounted(db, "kernel_cache") as mnt:
            shell(CAT.format(mnt))
            seen = {p: appearance(p) for p in mnt.rglob("fact.csv")}
            for path, _ in commits(mnt, writer, n, sync):
                took = wait_for_change(path, seen[path], 0.5)
                if took is None:
                    n_lost += 1
                else:
                    times.append(took)
                seen[path] = appearance(path)
    finally:
        writer.close()
    return n_lost, times


def p15(bench):
    """From another program's commit to a fresh cat."""
    n = bench.scaled(1000)
    db = bench.db("pov-1k", Shape(10, 10, 10, 10))
    n_fresh, times = fresh_cats(db, n)
    yield Row("P15 fresh on `open` right after a commit",
              f"{n_fresh:,} of {n:,}", "", f"{100 * n_fresh / n:.2f} %",
              "100 %", n_fresh == n,
              f"open, read, close: median {statistics.median(times) * 1000:.2g}"
              f" ms, p99 {percentile(times, 99) * 1000:.2g} ms")
    for sync in ("FULL", "NORMAL"):
        n_lost, times = notices(db, n, sync)
        if not times:
            raise RuntimeError("no commit was noticed with kernel_cache")
        p99 = percentile(times, 99)
        yield Row(f"P15 commit to notification, `kernel_cache`, writer's"
                  f" `synchronous={sync}`",
                  f"median {statistics.median(times) * 1000:.2g} ms, p99"
                  f" {p99 * 1000:.2g} ms, max {max(times) * 1000:.2g} ms", "",
                  f"{n_lost} of {n:,} not within 500 ms", "within 50 ms",
                  max(times) < 0.05 and n_lost == 0)
