"""A small database, what was exported from it, and what must hold of both."""
import contextlib
import csv
import io
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import time
import zipfile

from outbox import OUTBOXFS, SALES, adopt

csv.field_size_limit(1 << 30)
COPY_OUTBOX = os.environ["COPY_OUTBOX"]
FAILCALL = os.environ["FAILCALL"]
TIMEOUT = 120

SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE location(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE category(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE fact(id INTEGER PRIMARY KEY, location_id INTEGER NOT NULL,
  category_id INTEGER NOT NULL, period TEXT NOT NULL,
  amount INTEGER NOT NULL, note TEXT NOT NULL);
CREATE TABLE process_status(location_id INTEGER, category_id INTEGER,
  period TEXT, rule_id INTEGER, flag INTEGER, note TEXT,
  PRIMARY KEY(location_id, category_id, period, rule_id));
INSERT INTO location VALUES(1, 'Paris'), (2, 'Oslo');
INSERT INTO category VALUES(1, 'Actual');
INSERT INTO fact(location_id, category_id, period, amount, note)
  SELECT l.id, 1, p.value, 100, hex(randomblob(300)) FROM location AS l,
  json_each('["2026-01","2026-02","2026-03"]') AS p, json_each('[1,2]') AS n;
INSERT INTO process_status SELECT DISTINCT location_id, category_id, period,
  1, 0, 'started' FROM fact;
"""
TOTAL = 1200  # of all amounts; each transaction keeps it

FACTS = """
SELECT l.name || '/' || c.name || '/' || f.period, f.id, f.amount, f.note
FROM fact AS f JOIN location AS l ON l.id = f.location_id
JOIN category AS c ON c.id = f.category_id ORDER BY 1, 2
"""
STATUS = """
SELECT DISTINCT l.name || '/' || c.name || '/' || s.period
FROM process_status AS s JOIN location AS l ON l.id = s.location_id
JOIN category AS c ON c.id = s.category_id
"""


def ours(*args, env=None, **kwargs):
    return subprocess.run(
        [OUTBOXFS, *map(str, args)], capture_output=True, text=True,
        timeout=TIMEOUT, check=False, env={**os.environ, **(env or {})},
        **kwargs)


def done(*args, **kwargs):
    result = ours(*args, **kwargs)
    assert (result.returncode, result.stderr) == (0, ""), result
    return result.stdout


REASON = re.compile(
    "Input/output error|disk I/O error|[Nn]o space|is full|memory|Read-only"
    "|unable to open|cannot be written|cannot write into")


def one_sentence(result, memory=False):
    """A failure that a person understands."""
    assert result.returncode == 1, result
    # A purge prints its log, whatever comes of it.
    assert all(re.match(r"\d{4}-\d\d-\d\dT", line)
               for line in result.stdout.splitlines()), result
    text = "".join(line for line in result.stderr.splitlines(True)
                   if not line.startswith("<"))  # of the log
    assert text.startswith("outboxfs: "), result
    assert text.count("\n") == 1, result
    # What, and why; no memory needs no more words.
    text = re.sub("^outboxfs: |job [0-9]*: |failed: ", "", text)
    assert memory or REASON.search(text), result
    assert memory or not REASON.fullmatch(text.strip()), result
    assert "not an error" not in text and "Success" not in text, result


@contextlib.contextmanager
def saying(what):
    """Which of many tries it was that failed."""
    try:
        yield
    except AssertionError as e:
        raise AssertionError(f"{what}: {e}") from e


class Zip:
    """What a ZIP of ours says and holds."""

    def __init__(self, data):
        with zipfile.ZipFile(io.BytesIO(data)) as z:
            assert z.testzip() is None
            self.files = {n: z.read(n) for n in z.namelist()}
        self.params = json.loads(self.files["data/SnapshotParams.json"])
        self.type = self.params["type"]
        self.channel = self.params.get("channel")
        self.snapshot = self.params["snapshot"]
        self.base = self.params.get("base") or 0
        assert self.files["setup/location.csv"].startswith(b"id,name")

    def shows_all(self):
        return self.type in ("all", "all_incremental") or not self.base


def rows_of(data):
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def total_of(state):
    return sum(int(row["amount"]) for name, data in state.items()
               if name.startswith("output/") for row in rows_of(data))


def replay(zips):
    """
    The files that the ZIPs of one channel leave, applied in their order. Every
    state on the way is a committed one: it has the total.
    """
    state = {}
    at = None
    for z in sorted(zips, key=lambda z: z.snapshot):
        files = {n: d for n, d in z.files.items()
                 if n.startswith(("output/", "data/")) and n.count("/") > 1}
        if z.shows_all():
            state = files
        else:
            assert z.base == at, f"{z.params} is not since snapshot {at}"
            for gone in z.params["deleted"]:
                for area in [a for a, key in (("output", "data"),
                                              ("data", "status"))
                             if gone[key]]:
                    prefix = f"{area}/{gone['path']}/"
                    state = {n: d for n, d in state.items()
                             if not n.startswith(prefix)}
            state.update(files)
        assert total_of(state) == TOTAL, z.params
        at = z.snapshot
    return state


class World:
    """A directory with a database, its store, and the ZIPs ever seen."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.db = self.path / "sales.db"
        self.store_path = self.path / "sales.db.outboxfs"
        self.out = self.path / "out"
        self.seen = {}    # id in outbox/ -> bytes
        self.names = {}   # the same -> name
        self.parsed = {}  # the same -> Zip
        self.runs = 0

    def begin(self):
        self.path.mkdir()
        self.out.mkdir()
        with sqlite3.connect(self.db) as db:
            db.executescript(SCHEMA)
        db.close()
        adopt(self.db, SALES)

    def copy_to(self, path):
        """The same anew; nothing is open."""
        shutil.copytree(self.path, path)
        other = World(path)
        other.seen = dict(self.seen)
        other.names = dict(self.names)
        other.parsed = dict(self.parsed)
        return other

    def run(self, *words, env=None):
        return ours(words[0], self.db, *words[1:], env=env)

    def done(self, *words):
        return done(words[0], self.db, *words[1:])

    def sql(self, *statements):
        with sqlite3.connect(self.db, timeout=30) as db:
            for statement in statements:
                db.execute(statement)
        db.close()

    def change(self):
        """Two POVs change, one comes, one goes; the total stays."""
        self.sql(
            "UPDATE fact SET amount = amount - 7 WHERE id = 1",
            "UPDATE fact SET amount = amount + 7 WHERE id = 5",
            "UPDATE fact SET amount = amount + 200 WHERE id = 3",
            "DELETE FROM fact WHERE location_id = 2 AND period = '2026-02'",
            "DELETE FROM process_status WHERE location_id = 2 AND"
            " period = '2026-02'",
            "INSERT INTO fact(location_id, category_id, period, amount, note)"
            " VALUES(1, 1, '2026-04', 9, 'new')",
            "UPDATE fact SET amount = amount - 9 WHERE id = 5")

    def add_history(self):
        self.done("export", "all", "file=a")
        self.done("export", "all", "channel=second", "file=b")
        self.sql("UPDATE fact SET amount = amount - 5 WHERE id = 2",
                 "UPDATE fact SET amount = amount + 5 WHERE id = 7")
        self.done("export", "incremental", "file=c")
        self.sql("UPDATE fact SET amount = amount - 6, note = hex(randomblob("
                 "2000)) WHERE id = 2",
                 "UPDATE fact SET amount = amount + 6 WHERE id = 1")
        self.done("export", "all_incremental", "file=d")
        self.done("export", "setup", "file=e")
        self.change()
        self.look()

    def wait_a_second(self):
        """What is older than no time at all has ended before this second."""
        ended, = self.store("SELECT max(finished_at) FROM job")[0]
        while time.time() < ended + 1:
            time.sleep(0.05)

    # What is there

    def store(self, sql):
        uri = f"file:{self.store_path}/store.db?mode=ro"
        db = sqlite3.connect(uri, uri=True, timeout=30)
        try:
            return db.execute(sql).fetchall()
        finally:
            db.close()

    def visible(self):
        """What whoever looks would call the state of the outbox."""
        if not (self.store_path / "store.db").exists():
            return None
        if not self.store("SELECT 1 FROM sqlite_master WHERE name = 'job'"):
            return None
        return {
            "outbox": self.store("SELECT * FROM outbox ORDER BY id"),
            "selection": self.store("SELECT * FROM selection ORDER BY 1, 2"),
            "channel": self.store("SELECT name, snapshot FROM channel"
                                  " ORDER BY 1"),
            "snapshot": self.store("SELECT * FROM snapshot ORDER BY id"),
            "version": self.store("SELECT * FROM version ORDER BY id"),
        }

    def jobs(self):
        return self.store("SELECT id, kind, state FROM job ORDER BY id")

    def look(self):
        """Opens the store; what is visible has the bytes that it ever had."""
        self.runs += 1
        directory = self.path / f"seen-{self.runs}"
        directory.mkdir()
        result = subprocess.run([COPY_OUTBOX, self.db, directory],
                                capture_output=True, text=True, check=False,
                                timeout=TIMEOUT)
        assert result.returncode == 0, result
        there = set()
        for file in directory.iterdir():
            number = int(file.name.split("-", 1)[0])
            data = file.read_bytes()
            there.add(number)
            self.names[number] = file.name.split("-", 1)[1]
            if number in self.seen:
                assert data == self.seen[number], file.name
            else:
                self.seen[number] = data
                self.parsed[number] = Zip(data)
        shutil.rmtree(directory)
        return there

    # What must hold

    def check_packs(self):
        """No byte beyond the index, after the store was opened."""
        index = dict(self.store("SELECT id, bytes FROM pack"))
        files = {int(f.name): f.stat().st_size
                 for f in (self.store_path / "packs").iterdir()}
        assert files == index
        assert ({f.name for f in self.store_path.iterdir()}
                <= {"lock", "store.db", "store.db-wal", "store.db-shm",
                    "packs"})

    def check_jobs(self, states=("done",)):
        """Each has ended, and has one effect at most."""
        for number, kind, state in self.jobs():
            assert state in states, (number, kind, state)
        made = self.store(
            "SELECT j.id, j.state, count(s.id) FROM job AS j LEFT JOIN"
            " snapshot AS s ON s.job = j.id WHERE j.kind = 'export'"
            " GROUP BY j.id")
        assert not [m for m in made if m[2] > (m[1] == "done")], made
        assert not self.store("SELECT job FROM outbox GROUP BY job"
                              " HAVING count(*) > 1")

    def database(self):
        with sqlite3.connect(self.db, timeout=30) as db:
            facts = db.execute(FACTS).fetchall()
            status = {row[0] for row in db.execute(STATUS)}
        db.close()
        return facts, status

    def check_channel(self, channel="main"):
        """Its ZIPs, replayed, give what the database has now."""
        zips = [z for z in self.parsed.values() if z.channel == channel]
        state = replay(zips)
        facts = []
        status = set()
        for name, data in state.items():
            pov = "/".join(name.split("/")[1:-1])
            if name.startswith("output/"):
                facts += [(pov, int(r["id"]), int(r["amount"]), r["note"])
                          for r in rows_of(data)]
            else:
                status.add(pov)
        assert (sorted(facts, key=lambda f: f[:2]), status) == self.database()

    def check_verify(self):
        assert "0 damaged" in self.done("verify")

    def recover(self, states=("done",)):
        """What comes after a crash does what was left, and its own."""
        self.look()
        self.done("export", "incremental", f"file=after-{self.runs}")
        self.look()
        self.check_packs()
        self.check_verify()
        self.check_jobs(states)
        self.check_channel()


FLOWS = {
    # Since the history something has changed.
    "all": ("export", "all", "file=x", "-o", "out"),
    "all_incremental": ("export", "all_incremental", "file=x"),
    "incremental": ("export", "incremental", "file=x"),
    "base": ("export", "incremental", "base=1", "file=x", "channel=third"),
    "overwrite": ("export", "all", "file=a", "overwrite=yes"),
    "setup": ("export", "setup", "file=x"),
    "orphans": ("export", "all", "orphans=delete", "file=x"),
    "purge outbox": ("purge", "outbox", "keep=1"),
    "purge snapshots": ("purge", "snapshots", "keep=1"),
    "compact": ("purge", "snapshots", "keep=1"),
    "purge jobs": ("purge", "jobs", "older=0m"),
    "purge output": ("purge", "output"),
    "purge data": ("purge", "data", "location=Paris", "from=2026-04"),
    "purge orphans": ("purge", "orphans"),
}


def prepare(template, flow, path):
    """A database for which a flow has work to do."""
    world = template.copy_to(path)
    if "orphans" in flow:
        world.sql("INSERT INTO fact(location_id, category_id, period, amount,"
                  " note) VALUES(9, 1, '2026-01', 55, 'of nowhere')")
    if flow == "purge data":
        world.sql("UPDATE fact SET amount = amount + 9 WHERE id = 5",
                  "UPDATE fact SET amount = 0 WHERE period = '2026-04'")
    if flow == "compact":
        world.sql("UPDATE fact SET note = hex(randomblob(40000))"
                  " WHERE id = 1")
        world.done("export", "incremental", "file=large")
        world.sql("UPDATE fact SET note = 'small' WHERE id = 1")
        world.done("export", "incremental", "file=small")
        world.look()
        world.done("purge", "outbox", "keep=1")
    world.wait_a_second()
    return world


def words_of(world, flow):
    return [str(world.out) if w == "out" else w for w in FLOWS[flow]]


def log_of(world, job):
    """Of a job and all later ones."""
    return "".join(text + "\n" for text, in world.store(
        f"SELECT text FROM job_log WHERE job >= {job} ORDER BY job, line"))


def has_effect(world, flow, job, since=None, space=True):
    """What a job that is done must have done, logged, and given back."""
    if flow.startswith("purge outbox"):
        assert not world.store("SELECT 1 FROM outbox WHERE id < 5")
        text = log_of(world, since or job)
        assert all(f"gone: outbox/{name}.zip" in text
                   for name in "abcd"), text
    elif flow in ("purge snapshots", "compact"):
        last, = world.store("SELECT max(id) FROM snapshot")[0]
        assert world.store("SELECT id FROM snapshot WHERE kept = 1"
                           f" AND id < {last - 1}") == []
    elif flow == "purge jobs":
        # Not what has ended in this very second.
        assert not world.store(f"SELECT 1 FROM job WHERE id < {since or job}")
    elif flow == "purge output":
        assert world.store("SELECT name FROM channel") in ([], [("main",)])
    elif flow == "purge data":
        assert not [f for f in world.database()[0]
                    if f[0].endswith("/2026-04")]
    elif "orphans" in flow:
        with sqlite3.connect(world.db) as db:
            assert not db.execute("SELECT 1 FROM fact WHERE"
                                  " location_id = 9").fetchall()
        text = log_of(world, since or job)
        assert re.search("orphan: 9/1|data/9/", text), text
    else:
        assert world.store(f"SELECT 1 FROM outbox WHERE job = {job}")
    if flow == "compact" and space:
        size = sum(f.stat().st_size
                   for f in (world.store_path / "packs").iterdir())
        assert size < 40000


def last_job(world):
    if world.visible() is None:
        return 0
    return world.store("SELECT max(id) FROM job")[0][0] or 0


def tell(text):
    """The points that a process with *:tell has passed, in their order."""
    return [line.split()[1] for line in text.splitlines()
            if line.startswith("fault ")]


def points_of(prepared, flow):
    trial = prepared.copy_to(prepared.path.parent / "trial")
    result = trial.run(*words_of(trial, flow),
                       env={"OUTBOXFS_FAULT": "*:tell"})
    assert result.returncode == 0, result
    shutil.rmtree(trial.path)
    return tell(result.stderr)


def calls_of(prepared, flow, kind):
    """How many calls of a kind a flow makes."""
    trial = prepared.copy_to(prepared.path.parent / "trial")
    count = trial.path / "count"
    result = trial.run(*words_of(trial, flow), env=failing(kind, "EIO", 0)
                       | {"OUTBOXFS_FAILCALL_COUNT": str(count)})
    assert result.returncode == 0, result
    n = int(count.read_text())
    shutil.rmtree(trial.path)
    return n


def failing(kind, action, n):
    return {"LD_PRELOAD": FAILCALL,
            "OUTBOXFS_FAILCALL": f"{kind}:{action}:{n}"}


# Not to take too long; 0: each.
MOST = int(os.environ.get("OUTBOXFS_CRASH_CALLS", "10"))


def spread(n, most=MOST):
    """Numbers from 1 to n: all, or so many of them with the first and last."""
    if n <= most or MOST == 0:
        return range(1, n + 1)
    return sorted({1 + i * (n - 1) // (most - 1) for i in range(most)})
