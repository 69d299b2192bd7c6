"""Exports against scripts, themselves and each other: P1 to P4, P16, scale."""
import contextlib
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess

from benchmarks.data import SEED, Shape, change, povs_of
from benchmarks.peers import Duck, Script, count_lines, rows_of
from benchmarks.report import Row, at_most, no_peer, show_seconds, times_faster
from benchmarks.tools import (daemon_of, export, forget_store, in_turn,
                              mounted, say, shell, warm)


def first_all(db):
    """An export where there is no store yet; the database is in the cache."""
    forget_store(db)
    warm(db)
    with mounted(db) as mnt:
        return export(mnt, "all", "first")


def check_first(db):
    """Is every row in it?"""
    forget_store(db)
    with mounted(db) as mnt:
        export(mnt, "all", "first")
        lines = count_lines(mnt / "outbox/first.zip", "output/*")
        expected = rows_of(db) + len(povs_of(db))
        if lines != expected:
            raise RuntimeError(f"{lines} lines are in the ZIP, not {expected}")
        return (mnt / "outbox/first.zip").stat().st_size


def shares(db):
    """Where a first export spends its time: shares of the CPU, by library."""
    if not shutil.which("perf"):
        return ""
    data = pathlib.Path(f"{db}.perf")
    forget_store(db)
    warm(db)
    with mounted(db) as mnt:
        done = subprocess.run(
            ["perf", "record", "-q", "-F", "999", "-p", str(daemon_of(db)),
             "-o", data, "--", "bash", "-c",
             f"echo all wait=yes >{mnt}/control/export"],
            check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode:
        return ""
    report = shell(f"perf report -i {data} --stdio -q --sort dso 2>/dev/null")
    data.unlink()
    found = re.findall(r"([\d.]+)%\s+(\S+)", report)
    return "CPU: " + ", ".join(
        f"{name.strip('[]').split('.')[0]} {float(share):.0f} %"
        for share, name in found if float(share) >= 1)


def p1(bench):
    """A first export of everything, against sqlite3 -csv per POV and zip."""
    db = bench.large()
    script = Script(bench, db)
    size = check_first(db)
    ours, peer, best = in_turn(bench.rounds, lambda: first_all(db),
                               script.whole, script.parallel)
    n = len(script.povs)
    yield times_faster(f"P1 first `all`; {n:,} times `sqlite3 -csv`, `zip -r`",
                       ours, peer, 15, f"{size / 1e6:.1f} MB; {shares(db)}")
    yield times_faster("P1 the same; two `sqlite3 -csv` at a time,"
                       " `7z -mx=1 -mmt=2`", ours, best, None)


def p2(bench):
    """The same against DuckDB's partitioned COPY, and zip -1."""
    db = bench.large()
    what = "P2 first `all`; DuckDB `COPY … PARTITION_BY`, `zip -1`"
    try:
        duck = Duck(bench, db)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as failure:
        ours, = in_turn(bench.rounds, lambda: first_all(db))
        yield no_peer(what, ours, failure)
        return
    duck.whole()
    n_files = int(shell(f"find {duck.tree} -type f | wc -l"))
    if duck.lines() != rows_of(db) + n_files:
        raise RuntimeError(f"DuckDB wrote {duck.lines()} lines")
    ours, peer = in_turn(bench.rounds, lambda: first_all(db), duck.whole)
    yield times_faster(what, ours, peer, 5, f"@duckdb/node-api {duck.version},"
                       f" {n_files:,} files")


def some_povs(rng, povs, n):
    return sorted(rng.sample(povs, n))


def p3(bench):
    """An incremental export after 1 % of the POVs have changed."""
    db = bench.large()
    script = Script(bench, db)
    n = len(script.povs) // 100
    rng = random.Random(SEED)
    firsts, ours, peer = [], [], []
    for _ in range(bench.rounds):
        changed = some_povs(rng, script.povs, n)
        forget_store(db)
        warm(db)
        with mounted(db) as mnt:
            firsts.append(export(mnt, "all", "first"))
            change(db, changed)
            os.sync()
            ours.append(export(mnt, "incremental", "second"))
            lines = count_lines(mnt / "outbox/second.zip", "output/*/fact.csv")
        if lines != n * (bench.large_shape().n_rows + 1):
            raise RuntimeError(f"the incremental has {lines} lines")
        peer.append(script.some(changed))
    share = statistics.median(ours) / statistics.median(firsts)
    yield Row(f"P3 `incremental`, {n} of {len(script.povs):,} changed; own"
              " first `all`", show_seconds(ours), show_seconds(firsts),
              f"{100 * share:.2g} %", "3 % at most", share <= 0.03)
    yield times_faster(f"P3 the same; {n} times `sqlite3 -csv`, `zip`, told"
                       " which", ours, peer, 8)


def p4(bench):
    """The same as a ZIP of everything, against zip -u."""
    db = bench.large()
    script = Script(bench, db)
    n = len(script.povs) // 100
    rng = random.Random(SEED)
    script.whole()
    forget_store(db)
    ours, peer = [], []
    with mounted(db) as mnt:
        export(mnt, "all", "first")
        for i in range(bench.rounds):
            changed = some_povs(rng, script.povs, n)
            change(db, changed)
            os.sync()
            ours.append(export(mnt, "all_incremental", f"next-{i}"))
            peer.append(script.update(changed))
        lines = count_lines(mnt / f"outbox/next-{bench.rounds - 1}.zip",
                            "output/*")
    if lines != rows_of(db) + len(script.povs):
        raise RuntimeError(f"the ZIP of everything has {lines} lines")
    yield times_faster(f"P4 `all_incremental`, {n} of {len(script.povs):,}"
                       f" changed; {n} times `sqlite3 -csv`, `zip -u`, told"
                       " which", ours, peer, 20)


def space_of(db):
    """What the store takes on the disk, its daemon gone."""
    return int(shell(f"du -sB1 {db}.outboxfs").split()[0])


def p16(bench):
    """The space of ten exports of the same data, against one."""
    db = bench.large()
    forget_store(db)
    with mounted(db) as mnt:
        export(mnt, "all", "export-0")
    one = space_of(db)
    with mounted(db) as mnt:
        for i in range(1, 10):
            export(mnt, "all", f"export-{i}")
        zips = sum(p.stat().st_size for p in (mnt / "outbox").iterdir())
    ten = space_of(db)
    yield Row("P16 store after ten `all` of the same data; after one",
              f"{ten / 1e6:.2f} MB", f"{one / 1e6:.2f} MB",
              f"{ten / one:.4f}x", "1.01x at most", ten <= 1.01 * one,
              f"the ten ZIPs have {zips / 1e6:.1f} MB together")


def scale_databases(bench):
    """Two rows a point of view; as many of them as the run's scale allows."""
    shapes = [Shape(10, 10, 10, 2), Shape(10, 10, 100, 2),
              Shape(10, 100, 100, 2)]
    for shape in shapes:
        n = shape.n_locations * shape.n_categories * shape.n_periods
        if n <= max(1000, bench.scaled(1_000_000) * 2 // 3):
            yield bench.db(f"scale-{n}", shape)
    if bench.scaled(1_000_000) > 1000:
        yield bench.million()


def changed_exports(bench, stack, dbs):
    """Times of incrementals, of those with everything; and of the firsts."""
    mounts, povs, firsts = [], [], []
    for db in dbs:
        forget_store(db)
        povs.append(povs_of(db))
        mounts.append(stack.enter_context(mounted(db)))
        firsts.append(export(mounts[-1], "all", "first"))
        say(f"first export of {len(povs[-1]):,} points of view took"
            f" {firsts[-1]:.2f} s")
    rng = random.Random(SEED)
    some, whole = [[] for _ in dbs], [[] for _ in dbs]
    for i in range(bench.rounds):
        for times, kind in ((some, "incremental"), (whole, "all_incremental")):
            for k, db in enumerate(dbs):
                change(db, some_povs(rng, povs[k], 100))
                os.sync()
                times[k].append(export(mounts[k], kind, f"{kind}-{i}"))
    return [len(p) for p in povs], firsts, some, whole


def scale(bench):
    """The cost of 100 changed POVs, against how many there are in all."""
    with contextlib.ExitStack() as stack:
        counts, firsts, some, whole = changed_exports(
            bench, stack, list(scale_databases(bench)))
    for k, n in enumerate(counts):
        yield at_most(f"Scale `incremental`, 100 of {n:,} changed;"
                      f" of {counts[0]:,}", some[k], some[0],
                      1.5 if k else None,
                      note=f"first `all`: {firsts[k]:.2f} s")
    # It has a directory of everything in it, and so cannot be flat.
    for k, n in enumerate(counts):
        yield at_most(f"Scale `all_incremental`, 100 of {n:,} changed;"
                      f" of {counts[0]:,}", whole[k], whole[0], None)
