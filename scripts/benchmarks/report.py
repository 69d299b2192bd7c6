"""Rows, and the document that they stand in."""
import collections
import os
import pathlib
import platform
import re
import statistics
import subprocess

from benchmarks.data import n_povs
from benchmarks.tools import ROOT, run

DOCUMENT = ROOT / "docs" / "benchmarks.md"
BY_HAND = "<!-- What follows is written by hand; scripts/bench keeps it. -->"
# met: True, False, or None where there is no goal.
Row = collections.namedtuple("Row", "what ours peer ratio goal met note",
                             defaults=[""])


def show_seconds(values):
    """The median, and from where to where."""
    def text(v):
        if v >= 10:
            return f"{v:.1f}"
        return f"{v:.2f}" if v >= 1 else f"{v * 1000:.3g}"

    low, mid, high = min(values), statistics.median(values), max(values)
    unit = "s" if low >= 1 else "ms"
    if unit == "ms" and high >= 1:
        return f"{mid:.2f} s ({low:.2f} to {high:.2f})"
    return f"{text(mid)} {unit} ({text(low)} to {text(high)})"


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(len(values) * p / 100))]


def times_faster(what, ours, peer, goal, note=""):
    """A row that is met when we are so many times as fast."""
    ratio = statistics.median(peer) / statistics.median(ours)
    return Row(what, show_seconds(ours), show_seconds(peer),
               f"{ratio:.2g}x faster", f"{goal}x faster" if goal else "",
               ratio >= goal if goal else None, note)


def at_most(what, ours, peer, goal, limit=None, note=""):
    """A row that is met when we take so many times as long, at most."""
    ratio = statistics.median(ours) / statistics.median(peer)
    text = f"{goal}x at most" if goal else ""
    met = ratio <= goal if goal else None
    if limit:
        text += f", under {limit:g} s"
        met = met and statistics.median(ours) < limit
    return Row(what, show_seconds(ours), show_seconds(peer), f"{ratio:.2f}x",
               text, met, note)


def no_peer(what, ours, why):
    """A row of something that nothing was there to be measured against."""
    return Row(what, show_seconds(ours), "peer not available", "", "", None,
               " ".join(str(why).split())[:200])


def requests_row(what, counts, n_files):
    """How many there were, and how many about single files (the goal)."""
    about = sum(n for kind, n in counts.items()
                if kind in ("LOOKUP", "GETATTR", "OPEN", "READ", "RELEASE"))
    most = ", ".join(f"{kind} {n:,}" for kind, n in counts.most_common(6))
    return Row(f"{what}: requests", f"{sum(counts.values()) / n_files:.2f} a"
               " file", "", f"{about / n_files:.3f} of them about files",
               "none per file", about < n_files / 100, most)


NOTES = """
What the rows say:

- The large database: one WITHOUT ROWID table of {rows:,} rows of 8
  columns, clustered by {povs:,} points of view. The small files
  are 50,000 points of view of one table with two rows (a CSV file and
  `pov.json` each), or 2,000 of 49 tables (fifty files each).
- P1: a fresh mount without a store, the database in the page cache, also for
  the peers. From the write into `control/export` (`wait=yes`) until the last
  bytes of the ZIP have been read. Ours is on the disk then (fsync); what the
  scripts have written need not be. Their directories are made beforehand. The
  shares of the CPU are those of `perf` in one more run.
- P2: DuckDB copies out of a table of its own, with 2 threads, the columns of
  the partition included; node's start is part of it.
- P3, P4: a row of each of 1 % of the points of view is updated by the sqlite3
  command before, and the script is told which they are. P3's own first `all`
  is of the same mount just before. Before `zip -u` the script waits for the
  2 seconds of a ZIP's times, unmeasured.
- P5: a fresh mount each time, names and attributes dropped from the kernel,
  the database in the page cache for both. "First mount" also forgets what the
  store knows of sizes. All files are read, `pov.json` too; the peer writes
  the CSV only. After an export, files come from the store.
- P6, P8: the peer is `cp -a` of the same tree on this file system ({fs}).
  Cold is a fresh mount, sizes known from an earlier one, and all caches
  dropped; warm is the same command at once again.
- P7: incompressible text. With the pages of the mount dropped (fadvise), what
  is behind it stays in the page cache: the packs for us, a copy of the ZIP on
  {fs} for passthrough_ll. With all pages dropped (drop_caches), both read from
  the disk.
- P9: requests are of a fresh mount; the time is of a mount that has been
  looked at, against a second `rsync -a` from a copy on {fs}.
- P10: into an empty adopted database, WAL, one transaction; the load by our
  own import is not there yet.
- P13: `outboxfs mount` and then `ls` of `data/`.
- P15: 1,000 commits by a sqlite3 command behind a pipe, each followed at once.
- P16: space on the disk (`du`) of the store, its daemon gone.
- P17: the root, `data/` and a directory of files, by `ls`, again and again
  while it lasts; the store is removed before each round. The 64 files have a
  64th of the rows each.
- Scale: points of view of two rows each, all databases mounted at once, 100
  points of view updated by a row before each export.
"""


def versions():
    cpu = re.search(r"model name\s*: (.*)",
                    pathlib.Path("/proc/cpuinfo").read_text("utf-8"))
    memory_kb = int(re.search(
        r"MemTotal:\s+(\d+)",
        pathlib.Path("/proc/meminfo").read_text("utf-8"))[1])
    packages = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}, ", "sqlite3",
         "libsqlite3-0", "libfuse3-3", "rsync", "squashfuse", "coreutils",
         "zip", "7zip", "nodejs"],
        check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True).stdout.strip(", ")
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "n_cpus": os.cpu_count(),
        "memory": f"{memory_kb / 2**20:.0f} GiB",
        "kernel": platform.release(),
        "packages": packages,
        "commit": run("git", "-C", ROOT, "describe", "--always", "--dirty",
                      "--exclude=*").strip(),
    }


HEAD = ["what; against", "ours", "peer", "ratio", "goal", "", "beside it",
        "measured"]
MET = {True: "met", False: "**missed**", None: ""}


def cells_of(rows, when):
    return [[r.what, r.ours, r.peer, r.ratio, r.goal, MET[r.met], r.note, when]
            for r in rows]


def table(cells):
    widths = [max(len(line[i]) for line in [HEAD] + cells)
              for i in range(len(HEAD))]

    def line(words):
        padded = [w.ljust(n) for w, n in zip(words, widths)]
        return "| " + " | ".join(padded) + " |"

    return "\n".join([line(HEAD),
                      "|" + "|".join("-" * (n + 2) for n in widths) + "|",
                      *map(line, cells)])


def benchmark_of(line):
    """P5 and so on: the first word of a row."""
    return line[0].split()[0].lower()


def merged(path, cells, order):
    """New rows, and those in the document of what was not measured now."""
    new = {benchmark_of(line) for line in cells}
    old = []
    if path.exists():
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("| "):
                old.append([c.strip() for c in line.strip("|").split("|")])
    kept = [line for line in old
            if len(line) == len(HEAD) and benchmark_of(line) in order
            and benchmark_of(line) not in new]
    return sorted(kept + cells, key=lambda c: order.index(benchmark_of(c)))


def document(bench, cells, facts):
    judged = [line for line in cells if line[5]]
    n_met = sum(line[5] == MET[True] for line in judged)
    return f"""# Benchmarks

Written by `scripts/bench`; {facts['cpu']}, {facts['n_cpus']} cores,
{facts['memory']}, Linux {facts['kernel']}, {bench.disk};
{facts['packages']}.

Ours and the peer take turns; times are medians of {bench.rounds} (lowest to
highest), and the ratio is of medians. The last column says when, of which
commit, and how busy the machine was with other things. {n_met} of \
{len(judged)} goals are met.

{table(cells)}
{NOTES.format(rows=bench.options.rows, povs=n_povs(bench.large_shape()),
              fs=bench.disk)}"""


def write_document(path, text):
    """Replaces what is generated; keeps what was written by hand."""
    kept = ""
    if path.exists():
        _, mark, kept = path.read_text("utf-8").partition(BY_HAND)
        kept = mark + kept
    path.write_text(f"{text}\n{kept or BY_HAND + chr(10)}", encoding="utf-8")
