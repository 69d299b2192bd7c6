"""Worlds small enough to check by hand, and what every export of one must be.

Nothing here shares code with outboxfs. Each export that a test makes is looked
at whole: its files byte by byte against the database as Python's SQLite reads
it, its documents against its files, the job and the channels' marks.
"""
import datetime
import hashlib
import json
import pathlib
import re
import sqlite3
import zipfile

import expect
from outbox import OUTBOXFS, adopt, run

MODEL = {
    "name": "World",
    "pov": [
        {"name": "location", "table": "location", "key": "id",
         "label": "name"},
        {"name": "category", "table": "category", "key": "id",
         "label": "name"},
        {"name": "period"},
    ],
    "setup": "*",
    "data": [
        {"table": "fact", "order": ["id"], "rule": "rule_id",
         "pov": {"location": "location_id", "category": "category_id",
                 "period": "period"}},
        {"table": "detail",
         "pov": {"location": "l", "category": "c", "period": "p"}},
    ],
    "status": {"table": "status", "rule": "rule_id",
               "pov": {"location": "location_id", "category": "category_id",
                       "period": "period"}},
    "process": {"table": "process", "key": "process_id"},
    "orphans": [
        {"pov": "category", "table": "category_mapping",
         "column": "category_id"},
        {"pov": "period", "table": "period_mapping", "column": "period"},
        {"rule": True, "table": "load_rule", "column": "id"},
    ],
}

TABLES = """
CREATE TABLE location(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE category(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE category_mapping(category_id INTEGER, target TEXT,
  PRIMARY KEY(category_id, target)) WITHOUT ROWID;
CREATE TABLE period_mapping(period TEXT PRIMARY KEY, target TEXT);
CREATE TABLE load_rule(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE "Größe, cm"(k TEXT PRIMARY KEY, v);
CREATE TABLE fact(id INTEGER PRIMARY KEY, location_id INTEGER,
  category_id INTEGER, period TEXT, rule_id INTEGER, amount REAL, note TEXT);
CREATE TABLE detail(l INTEGER, c INTEGER, p TEXT, line INTEGER, v,
  PRIMARY KEY(l, c, p, line)) WITHOUT ROWID;
CREATE TABLE status(location_id INTEGER, category_id INTEGER, period TEXT,
  rule_id INTEGER, flag INTEGER, note TEXT,
  PRIMARY KEY(location_id, category_id, period, rule_id));
CREATE TABLE process(process_id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT);
"""

ROWS = """
INSERT INTO location VALUES(1, 'Paris'), (2, 'Oslo'), (3, 'Lima');
INSERT INTO category VALUES(1, 'Actual'), (2, 'Budget');
INSERT INTO category_mapping VALUES(1, 'A'), (2, 'B'), (2, 'B2');
INSERT INTO period_mapping VALUES('Jan', '1'), ('Feb', '2'), ('Mar', '3');
INSERT INTO load_rule VALUES(1, 'one'), (2, 'two');
INSERT INTO "Größe, cm" VALUES('a', 1), ('b', 'x,"y"'), ('c', NULL);
INSERT INTO fact VALUES
  (1, 1, 1, 'Jan', 1, 1.5, 'first'), (2, 1, 1, 'Jan', 1, -0.1, NULL),
  (3, 1, 1, 'Feb', 1, 2.0, ''), (4, 2, 1, 'Jan', NULL, 1e22, 'a,"b"'),
  (5, 2, 2, 'Jan', 2, NULL, 'two' || char(10) || 'lines');
INSERT INTO detail VALUES(1, 1, 'Jan', 1, x'00ff'), (2, 1, 'Jan', 1, '7'),
  (2, 1, 'Jan', 2, 7);
INSERT INTO status VALUES(1, 1, 'Jan', 1, 1, 'ok'), (1, 1, 'Feb', 1, 0, NULL),
  (2, 2, 'Jan', 2, 0, ''), (1, 2, 'Feb', 1, 1, NULL);
INSERT INTO process(at) VALUES('x'), ('y'), ('z');
"""

# What an export of everything shows of it.
FIRST = {
    "Paris/Actual/Jan": "detail fact status",
    "Paris/Actual/Feb": "fact status",
    "Oslo/Actual/Jan": "detail fact",
    "Oslo/Budget/Jan": "fact status",
    "Paris/Budget/Feb": "status",
}

SETUP = sorted(["location", "category", "category_mapping", "period_mapping",
                "load_rule", "Größe, cm"])

# Rows of a data or status table with their POV, for statements of ours.
POVS = {"fact": ("location_id", "category_id", "period"),
        "detail": ("l", "c", "p"),
        "status": ("location_id", "category_id", "period")}

ORPHANS = "".join(
    f"SELECT {l}, {c}, {p}, {r} FROM {t} UNION "
    for t, (l, c, p), r in [("fact", POVS["fact"], "rule_id"),
                            ("detail", POVS["detail"], "NULL"),
                            ("status", POVS["status"], "rule_id")])
ORPHANS = (
    f"WITH pov(l, c, p, r) AS ({ORPHANS.removesuffix(' UNION ')})"
    " SELECT l, c, p FROM pov GROUP BY l, c, p HAVING"
    " l IS NULL OR l NOT IN (SELECT id FROM location)"
    " OR c IS NULL OR c NOT IN (SELECT id FROM category)"
    " OR c NOT IN (SELECT category_id FROM category_mapping)"
    " OR p IS NULL OR p NOT IN (SELECT period FROM period_mapping)"
    " OR (count(r) > 0 AND sum(r IN (SELECT id FROM load_rule)) = 0)")

DOCUMENTS = {"data/SnapshotParams.json", "datapackage.json"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Zip:
    """One export: what is in the ZIP, and what its documents say."""

    def __init__(self, path, result):
        self.path = pathlib.Path(path)
        self.result = result
        run("unzip", "-tqq", path)
        with zipfile.ZipFile(path) as file:
            self.entries = file.infolist()
            names = [e.filename for e in self.entries]
            assert len(set(names)) == len(names)
            self.files = {n: file.read(n) for n in names}
        self.params = json.loads(self.files["data/SnapshotParams.json"])
        self.package = json.loads(self.files["datapackage.json"])
        self.contents = {n: data for n, data in self.files.items()
                         if n not in DOCUMENTS}

    @property
    def shown(self):
        """POV -> tables that have a file, in alphabetical order."""
        found = {}
        for name in sorted(self.contents):
            top, *pov, table = name.split("/")
            if top != "setup":
                assert len(pov) == 3 and table.endswith(".csv"), name
                assert top == ("data" if table == "status.csv" else "output")
                found.setdefault("/".join(pov), set()).add(table[:-4])
        return {pov: " ".join(sorted(t)) for pov, t in found.items()}

    @property
    def deleted(self):
        """POV -> what of it is gone, and why."""
        found = {}
        for d in self.params["deleted"]:
            assert set(d) == {"path", "data", "status", "reason"}, d
            what = [k for k in ("data", "status") if d[k]]
            assert what and d["path"] not in found, d
            found[d["path"]] = " ".join(what + [d["reason"]])
        return found

    @property
    def renamed(self):
        return sorted((r["dimension"], r["value"], r["from"], r["to"])
                      for r in self.params["renamed"])

    @property
    def orphans(self):
        return sorted(self.params["orphans"])


class World:
    """A database, a directory for its ZIPs, and the marks it should have."""

    def __init__(self, directory, rows=ROWS, model=None, tables=TABLES):
        self.directory = pathlib.Path(directory)
        self.path = self.directory / "world.db"
        self.out = self.directory / "out"
        self.out.mkdir(parents=True)
        self.model = model or MODEL
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=OFF")
        self.db.executescript(tables + rows)
        adopt(self.path, self.model)
        self.marks = {}
        self.last = None

    def close(self):
        self.db.close()

    def sql(self, text, *values):
        return self.db.execute(text, values).fetchall()

    def script(self, text):
        self.db.executescript("BEGIN;" + text + ";COMMIT;")

    def ours(self, *words):
        return run(OUTBOXFS, *words, check=False)

    def done(self, verb, *words):
        result = self.ours(verb, self.path, *words)
        assert result.returncode == 0, result
        assert result.stderr == "", result
        return result.stdout

    def store(self, text, *values):
        """The store as another process may read it."""
        db = sqlite3.connect(f"file:{self.path}.outboxfs/store.db?mode=ro",
                             uri=True)
        try:
            return db.execute(text, values).fetchall()
        finally:
            db.close()

    def channels(self):
        return dict(self.store("SELECT name, snapshot FROM channel"))

    # What must be exported

    def orphans(self):
        """POVs with rows that lack what the model requires."""
        return {tuple(r) for r in self.sql(ORPHANS)}

    def expected(self):
        """Every file that an export of everything must have, and orphans."""
        tree = expect.Tree(self.path, self.model)
        orphans = self.orphans()
        lost, files = set(), {}
        for path, values in tree.dirs.items():
            if plain(values) in orphans:
                lost.add(path)
        for path, data in tree.files.items():
            top, rest = path.split(b"/", 1)
            if top == b"data" and path.rpartition(b"/")[0] in lost:
                continue
            if top == b"data" and not path.endswith(b"/status.csv"):
                top = b"output"
            files[(top + b"/" + rest).decode()] = data
        return files, sorted(p.decode().removeprefix("data/") for p in lost)

    # Exports

    def export(self, kind, *words, channel="main", base=None):
        """An export that succeeds, looked at from all sides."""
        words = list(words)
        if kind.lower() != "setup" and channel != "main":
            words.append(f"channel={channel}")
        if base is not None:
            words.append(f"base={base}")
        begun = now()
        expected = self.expected()
        result = json.loads(self.done(
            "export", kind, "--json", "-o", self.out, *words))
        z = Zip(self.out / result["file"], result)
        kind = kind.lower()
        if kind == "setup":
            channel, since = None, None
        else:
            mark = self.marks.get(channel)
            since = base or mark
            # A ZIP that begins later than the mark cannot move it.
            if kind == "incremental" and base and base > (mark or 0):
                channel = None
            else:
                self.marks[channel] = result["snapshot"]
        self.check_head(z, kind, channel, since, begun)
        self.check_contents(z, kind, since, *expected)
        check_hash(z)
        check_counts(z)
        check_entries(z)
        check_package(z)
        assert self.channels() == self.marks
        self.last = z
        return z

    def check_head(self, z, kind, channel, since, begun):
        params, result = z.params, z.result
        assert set(params) == {
            "format", "snapshot", "type", "channel", "base",
            "last_process_id", "requested_at", "captured_at", "model",
            "content_sha256", "deleted", "renamed", "orphans", "counts"}
        assert params["format"] == 1
        assert params["type"] == kind
        assert params["channel"] == channel
        assert params["base"] == since
        assert params["snapshot"] == result["snapshot"]
        assert not self.last or result["snapshot"] > self.last.params["snapshot"]
        assert params["last_process_id"] == self.sql(
            "SELECT max(process_id) FROM process")[0][0]
        text = (pathlib.Path(str(self.path) + ".model.json")).read_bytes()
        assert params["model"] == {"name": self.model["name"],
                                   "sha256": sha256(text)}
        assert result["state"] == "done" and result["error"] is None
        assert result["kind"] == "export"
        times = [begun, result["queued_at"], params["captured_at"],
                 result["finished_at"], now()]
        assert all(map(TIME.fullmatch, times)) and times == sorted(times)
        assert params["requested_at"] == result["queued_at"]

    def check_contents(self, z, kind, since, files, orphans):
        setup = {n for n in files if n.startswith("setup/")}
        assert {n for n in z.contents if n.startswith("setup/")} == setup
        if kind == "setup":
            wanted = setup
        elif kind == "incremental" and since:
            wanted = {n for n in files if n in z.contents}
            for name in wanted - setup:  # POVs come whole
                top, rest = name.split("/", 1)
                pov = rest.rpartition("/")[0]
                if top == "output":
                    wanted = wanted | {
                        n for n in files
                        if n.partition("/")[2].rpartition("/")[0] == pov
                        and not n.startswith("setup/")}
        else:
            wanted = set(files)
        assert set(z.contents) == wanted
        for name, data in z.contents.items():
            assert data == files[name], name
        assert z.orphans == ([] if kind == "setup" else orphans)


def plain(values):
    return tuple(v.decode() if isinstance(v, expect.Text) else v
                 for v in values)


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime(
        "%Y-%m-%dT%H:%M:%SZ")


def check_hash(z):
    lines = "".join(f"{sha256(z.contents[n])}  {n}\n"
                    for n in sorted(z.contents, key=lambda n: n.encode()))
    assert z.params["content_sha256"] == sha256(lines.encode())


def check_counts(z):
    def below(top):
        return [n for n in z.contents if n.startswith(top)]

    rows = sum(len(expect.parse(data)) - 1 for data in z.contents.values())
    assert z.params["counts"] == {
        "setup_files": len(below("setup/")),
        "povs": len({n.rpartition("/")[0] for n in below("output/")}),
        "status_files": len(below("data/")),
        "data_files": len(below("output/")),
        "rows": rows,
        "bytes": sum(map(len, z.contents.values())),
        "deleted": len(z.params["deleted"]),
        "renamed": len(z.params["renamed"]),
        "orphans": len(z.params["orphans"]),
    }
    assert z.result["counts"] == z.params["counts"]


def check_entries(z):
    """What the headers of a ZIP's entries say."""
    names = [e.filename.encode() for e in z.entries]
    assert names == sorted(names)
    for e in z.entries:
        assert not e.is_dir() and not e.flag_bits & 0x8, e
        assert e.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        assert e.flag_bits & 0x800 or e.filename.isascii(), e


# datapackage.json. What follows states the rules of the JSON schema of Data
# Package v1 and its tabular profile, as far as they bear on what we write,
# and more strictly: a key that is not here is one that nobody thought of.

SLUG = re.compile(r"[-a-z0-9._/]+")
SAFE_PATH = re.compile(r"(?=[^./~])((?!\.{2}).)*")
FIELD_TYPES = {"string", "number", "integer", "any"}


def check_package(z):
    doc = z.package
    assert set(doc) == {"name", "profile", "title", "created", "resources"}
    assert SLUG.fullmatch(doc["name"])
    assert doc["profile"] == "data-package"
    assert doc["title"] == z.params["model"]["name"]
    assert doc["created"] == z.params["captured_at"]
    assert TIME.fullmatch(doc["created"])
    resources = doc["resources"]
    assert isinstance(resources, list) and resources
    assert len({r["name"] for r in resources}) == len(resources)
    assert len({r["title"] for r in resources}) == len(resources)
    listed = []
    for resource in resources:
        listed += check_resource(z, resource)
    assert sorted(listed) == sorted(z.contents)


def check_resource(z, r):
    assert set(r) == {"name", "title", "profile", "path", "format",
                      "mediatype", "encoding", "schema"}
    assert SLUG.fullmatch(r["name"])
    assert isinstance(r["title"], str) and r["title"]
    assert r["profile"] == "tabular-data-resource"
    assert (r["format"], r["mediatype"], r["encoding"]) == (
        "csv", "text/csv", "utf-8")
    assert set(r["schema"]) == {"fields", "missingValues"}
    assert r["schema"]["missingValues"] == [""]
    for field in r["schema"]["fields"]:
        assert set(field) == {"name", "type"}
        assert field["type"] in FIELD_TYPES
    paths = r["path"]
    if isinstance(paths, str):  # a pattern, for more than 10,000 files
        shape = "[^/]*".join(map(re.escape, paths.split("*")))
        paths = [n for n in z.contents if re.fullmatch(shape, n)]
        assert len(paths) > 10000
    else:
        assert paths and len(set(paths)) == len(paths) <= 10000
        assert all(map(SAFE_PATH.fullmatch, paths))
    header = [f["name"].encode() for f in r["schema"]["fields"]]
    for path in paths:
        first = z.contents[path].split(b"\n", 1)[0] + b"\n"
        assert [name for name, _ in expect.parse(first)[0]] == header, path
    return paths
