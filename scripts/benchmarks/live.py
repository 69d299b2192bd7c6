"""Reading and walking the live files: P5, P6, P8."""
import contextlib
import os
import shutil
import subprocess

from benchmarks.data import is_pov, n_povs, povs_of
from benchmarks.report import (at_most, requests_row, show_seconds,
                               times_faster)
from benchmarks.tools import (CAT, count_requests, drop_caches, export_first,
                              forget_store, in_turn, mounted, read_all, run,
                              seconds, shell, unmount, wait_until)


def csv_script(bench, one_process):
    """The way it is done today: a query of the sqlite3 command per POV."""
    db = bench.large()
    queries = [f"SELECT * FROM fact WHERE {is_pov(p)} ORDER BY id"
               for p in povs_of(db)]
    if one_process:
        path = bench.work / "one.sql"
        path.write_text(";\n".join(queries) + ";\n")
        return f"sqlite3 -csv -header {db} <{path} >/dev/null"
    path = bench.work / "each.sh"
    path.write_text("".join(f'sqlite3 -csv -header {db} "{q}"\n'
                            for q in queries))
    return f"bash -e {path} >/dev/null"


def p5(bench):
    """cat of every live file, cold, against sqlite3 -csv for each POV.

    Then again where an export is in the store.
    """
    db = bench.large()
    each = csv_script(bench, one_process=False)
    one = csv_script(bench, one_process=True)

    def ours(forget=False):
        if forget:
            forget_store(db)
        with mounted(db) as mnt:
            drop_caches(2)
            return seconds(CAT.format(mnt / "data"))

    forget_store(db)
    with mounted(db) as mnt:
        lines = int(shell(f"find {mnt} -name fact.csv -print0 |"
                          " xargs -0 cat | wc -l"))
        shape = bench.large_shape()
        if lines != n_povs(shape) * (shape.n_rows + 1):
            raise RuntimeError(f"the mount gave {lines} lines")
    cold, known, script, query = in_turn(
        bench.rounds, lambda: ours(forget=True), ours,
        lambda: seconds(each), lambda: seconds(one))
    n = n_povs(shape)
    yield times_faster("P5 `cat` of every live file, first mount;"
                       f" {n:,} times `sqlite3 -csv`", cold, script, 5)
    yield times_faster(f"P5 the same; one `sqlite3 -csv`, {n:,} queries", cold,
                       query, None)
    yield times_faster(f"P5 a later mount, sizes known; {n:,} times"
                       " `sqlite3 -csv`", known, script, 5)
    export_first(db)
    stored, script = in_turn(bench.rounds, ours, lambda: seconds(each))
    yield times_faster(f"P5 after an export, a later mount; {n:,} times"
                       " `sqlite3 -csv`", stored, script, 5)


def second_cat(bench, what, db, options=None):
    """Files that were read once, and have not changed."""
    tree = bench.copy_of(db)
    n_files = int(shell(f"find {tree} -type f | wc -l"))
    what = what.format(n_files)
    shell(CAT.format(tree))
    with mounted(db, options) as mnt:
        shell(CAT.format(mnt / "data"))
        ours, peer = in_turn(
            bench.rounds, lambda: seconds(CAT.format(mnt / "data")),
            lambda: seconds(CAT.format(tree)))
    return at_most(f"P6 `cat` again, {what}; {bench.disk}"
                   + (f", `{options}`" if options else ""), ours, peer, 1.3)


def p6(bench):
    """cat of every live file again, unchanged, against the same on ext4."""
    trees = (("{0:,} files, half of them large", bench.large()),
             ("{0:,} small files", bench.many()))
    for what, db in trees:
        forget_store(db)
        for options in (None, "kernel_cache"):
            yield second_cat(bench, what, db, options)
    for what, db in trees:
        export_first(db)
        yield second_cat(bench, what + ", after an export", db)
    # No goal of P6, but what decides it.
    n_files = 2 * n_povs(bench.large_shape())
    row = requests_row(f"P6 `cat` again, {n_files:,} files",
                       count_requests(bench.large(), CAT, CAT), n_files)
    yield row._replace(goal="", met=None)


@contextlib.contextmanager
def squashed(tree):
    """The same tree as an image, mounted by squashfuse_ll."""
    image = tree.with_suffix(".squashfs")
    path = tree.with_suffix(".squash")
    path.mkdir(exist_ok=True)
    if not image.exists():
        run("mksquashfs", tree, image, "-quiet", "-no-progress")
    daemon = None
    try:
        with subprocess.Popen(["squashfuse_ll", "-f", str(image), str(path)]
                              ) as daemon:
            try:
                wait_until(lambda: os.path.ismount(path))
                yield path
            finally:
                unmount(path, None)
                daemon.wait(60)
    finally:
        if os.path.ismount(path):
            run("umount", "-l", path)


WALKS = {
    "ls -lR": "ls -lR {0} >/dev/null",
    "rsync -an": "rsync -an {0}/ {1}/",
    "find": "find {0} >/dev/null",
}


def cold_and_warm(command, place, below, empty):
    """The same walk over a fresh mount (or disk) twice."""
    with place() as path:
        script = command.format(path / below, empty)
        drop_caches(3)
        return seconds(script), seconds(script)


def state_rows(what, disk, times):
    """Rows for cold and warm, with and without kernel_cache."""
    for i, state in enumerate(("cold", "warm")):
        found = {k: [pair[i] for pair in v] for k, v in times.items()}
        note = ""
        if "squashfuse_ll" in found:
            note = "squashfuse_ll: " + show_seconds(found["squashfuse_ll"])
        for mode in ("", "kernel_cache"):
            if mode in found:
                option = f", `{mode}`" if mode else ""
                yield at_most(f"{what}, {state}{option}; {disk}", found[mode],
                              found["disk"], 1.5 if state == "cold" else None,
                              1 if state == "cold" else None, note)


def walk_rows(bench, what, db):
    """One tree, all walks, all systems, in turn."""
    forget_store(db)
    read_all(db)
    tree = bench.copy_of(db)
    n_files = int(shell(f"find {tree} -type f | wc -l"))
    what = what.format(n_files)
    empty = bench.work / "empty"
    empty.mkdir(exist_ok=True)
    places = {
        "": (lambda: mounted(db), "data"),
        "disk": (lambda: contextlib.nullcontext(tree), ""),
        "kernel_cache": (lambda: mounted(db, "kernel_cache"), "data"),
    }
    if shutil.which("squashfuse_ll") and shutil.which("mksquashfs"):
        places["squashfuse_ll"] = (lambda: squashed(tree), "")
    for command, script in WALKS.items():
        if command != "ls -lR":
            places.pop("kernel_cache", None)
        times = dict(zip(places, in_turn(bench.rounds, *[
            lambda p=p, b=b: cold_and_warm(script, p, b, empty)
            for p, b in places.values()])))
        yield from state_rows(f"P8 `{command}`, {what}", bench.disk, times)
    yield requests_row(f"P8 `ls -lR`, {what}, cold",
                       count_requests(db, WALKS["ls -lR"]), n_files)


def stored_walk_rows(bench, db):
    """The same where the store has an export: the live tree, and output/."""
    export_first(db)
    disk = bench.copy_of(db)
    n_files = int(shell(f"find {disk} -type f | wc -l"))
    empty = bench.work / "empty"
    for command, script in WALKS.items():
        live, stored, peer = in_turn(
            bench.rounds,
            lambda: cold_and_warm(script, lambda: mounted(db), "data", empty),
            lambda: cold_and_warm(script, lambda: mounted(db), "output",
                                  empty),
            lambda: cold_and_warm(script, lambda: contextlib.nullcontext(
                disk), "", empty))
        yield from state_rows(
            f"P8 `{command}` after an export, {n_files:,} files in pairs",
            bench.disk, {"": live, "disk": peer})
        # It has no pov.json: half as many files.
        for i, state in enumerate(("cold", "warm")):
            yield at_most(
                f"P8 `{command} output/`, {n_files // 2:,} files alone,"
                f" {state}; {n_files:,} in pairs, {bench.disk}",
                [t[i] for t in stored], [t[i] for t in peer], None)


def p8(bench):
    """Walks over 100,000 files whose sizes an earlier mount has found out."""
    yield from walk_rows(bench, "{0:,} files in pairs", bench.many())
    yield from walk_rows(bench, "{0:,} files in fifties", bench.wide())
    yield from stored_walk_rows(bench, bench.many())
