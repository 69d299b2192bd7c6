"""Reading the outbox, copying it, and looking around: P7, P9, P17."""
import contextlib
import os
import re
import shutil
import subprocess
import time

from benchmarks.data import Shape
from benchmarks.peers import build_passthrough, passed_through
from benchmarks.report import (Row, at_most, no_peer, percentile,
                               show_seconds)
from benchmarks.tools import (count_requests, drop_caches, export_first,
                              forget_store, in_turn, mounted, run, seconds,
                              shell)


def forget_pages(path):
    """Takes the pages of one file out of the cache, as its mount has them."""
    os.sync()
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


def read_warm(path):
    return seconds(f"cat {path} >/dev/null")


def read_mount_cold(path):
    """What is behind the mount stays in the page cache."""
    forget_pages(path)
    return read_warm(path)


def read_cold(path):
    drop_caches(1)
    return read_warm(path)


def cold_rows(bench, what, ours, tree):
    """A ZIP of ours, and a copy of it behind passthrough_ll."""
    sides = ((f"{what}, pages of the mount dropped; passthrough_ll",
              read_mount_cold, 1.1),
             (f"{what}, all pages dropped; passthrough_ll", read_cold, None))
    try:
        program = build_passthrough(bench)
        with passed_through(program, tree) as path:
            peer = path / ours.name
            for text, read, goal in sides:
                read_warm(ours)
                read_warm(peer)
                yield at_most(text, *in_turn(
                    bench.rounds, lambda: read(ours), lambda: read(peer)),
                    goal)
    except (RuntimeError, OSError) as failure:
        for text, read, _ in sides:
            yield no_peer(text, *in_turn(bench.rounds, lambda: read(ours)),
                          failure)


def warm_row(bench, what, ours, copy):
    """Read again; beside it, what FUSE's example takes for that."""
    program = bench.work / "passthrough_ll"
    with contextlib.ExitStack() as stack:
        paths = [ours, copy]
        if program.exists():
            paths.append(stack.enter_context(passed_through(
                program, copy.parent, "always")) / copy.name)
        for path in paths:
            read_warm(path)
        warm, disk, *others = in_turn(
            bench.rounds, *[lambda p=p: read_warm(p) for p in paths])
    note = [f"passthrough_ll `cache=always`: {show_seconds(t)}"
            for t in others]
    return at_most(f"{what}, warm; {bench.disk}", warm, disk, 1.1,
                   note="".join(note))


def p7(bench):
    """A sequential read of a ZIP of 1 GB, cold and warm."""
    db = bench.noise()
    export_first(db)
    tree = bench.work / "zips"
    tree.mkdir()
    with mounted(db) as mnt:
        ours = mnt / "outbox" / "first.zip"
        copy = tree / ours.name
        run("cp", ours, copy)
        run("cmp", ours, copy)
        os.sync()
        size = copy.stat().st_size
        what = f"P7 sequential read of a ZIP of {size / 1e6:,.0f} MB"
        yield from cold_rows(bench, what, ours, tree)
        yield warm_row(bench, what, ours, copy)
        cold, disk = in_turn(bench.rounds, lambda: read_cold(ours),
                             lambda: read_cold(copy))
        yield at_most(f"{what}, all pages dropped; {bench.disk}", cold, disk,
                      None)
    shutil.rmtree(tree)


def statistic(text, name):
    """A number out of what rsync --stats prints."""
    return int(re.search(rf"{name}: ([\d,]+)", text)[1].replace(",", ""))


def p9(bench):
    """A second rsync -a of outbox/ and output/: nothing is to be done."""
    db = bench.large()
    export_first(db)
    target = bench.work / "mirror"
    target.mkdir()
    script = f"rsync -a {{0}}/outbox {{0}}/output {target}/"
    with mounted(db) as mnt:
        command = script.format(mnt)
        first = seconds(command)
        text = shell(f"{command} --stats")
        # As cp -a gives it, so that rsync has as many files to look at.
        copy = bench.work / "mirror-source"
        run("cp", "-a", target, copy)
        peer_command = f"rsync -a {copy}/outbox {copy}/output {target}/"
        again, disk = in_turn(bench.rounds, lambda: seconds(command),
                              lambda: seconds(peer_command))
    n_files = statistic(text, "Number of files")
    n_bytes = statistic(text, "Total transferred file size")
    n_moved = statistic(text, "Number of regular files transferred")
    # A mount of which the kernel knows nothing yet.
    counts = count_requests(db, script, below="")
    opened = counts["OPEN"] + counts["READ"]
    yield Row(f"P9 second `rsync -a` of outbox/ and output/, {n_files:,}"
              " names; none", f"{n_bytes} bytes of {n_moved} files, {opened}"
              " opened or read", "", "", "nothing transferred, none opened",
              n_bytes == n_moved == opened == 0,
              ", ".join(f"{k} {n:,}" for k, n in counts.most_common(6)))
    yield at_most(f"P9 the same, its time; from {bench.disk}", again, disk,
                  None, note=f"the first: {first:.2f} s")
    for path in (target, copy):
        shutil.rmtree(path)


def look(places):
    """Times of an ls of each."""
    times = []
    for path in places:
        began = time.perf_counter()
        subprocess.run(["ls", path], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return times


def look_while(places, processes):
    """Times of ls while any of these runs; each must end well."""
    times = []
    try:
        while any(p.poll() is None for p in processes):
            times += look(places)
    finally:
        failed = [p.args for p in processes if p.wait(600) != 0]
    if failed:
        raise RuntimeError(f"{failed[0]} failed")
    return times


def readers(mnt):
    """64 programs; each waits for a file of its own to be rendered."""
    # Not a glob of fact.csv: it would stat, and so render, each of them.
    files = [p / "fact.csv" for p in sorted((mnt / "data").glob("*/*/*"))]
    return [subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL)
            for path in files]


def exporter(mnt):
    return [subprocess.Popen(
        ["bash", "-c", f"echo all wait=yes >{mnt}/control/export"])]


def p17(bench):
    """ls while 64 readers wait, and while an export runs."""
    heavy = bench.db("heavy", Shape(
        8, 8, 1, max(10_000, bench.options.rows // 64)))
    for what, db, start in (
            ("64 readers wait for their files", heavy, readers),
            ("an export runs", bench.large(), exporter)):
        busy, idle = [], []
        for _ in range(bench.rounds):
            forget_store(db)
            with mounted(db) as mnt:
                places = [mnt, mnt / "data",
                          next((mnt / "data").glob("Loc001/*/*"))]
                for _ in range(10):
                    idle += look(places)
                busy += look_while(places, start(mnt))
        yield Row(f"P17 `ls` while {what}; idle", show_seconds(busy),
                  show_seconds(idle), f"highest {max(busy) * 1000:.3g} ms",
                  "under 100 ms", max(busy) < 0.1, f"{len(busy):,} times,"
                  f" p99 {percentile(busy, 99) * 1000:.3g} ms")
