"""Hostile values, names and databases: the right result, or a clear error."""
import concurrent.futures
import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

import outbox
from outbox import (
    OUTBOXFS, ROOT, SALES, adopt, files, make_sales, run, sqlite, walk)

PARIS = "data/Paris/Actual/2026-01"


def wait_for(what, condition, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


def settle(path):
    """
    Until the log is empty and nothing will be written to it by the daemon: a
    log that stays behind is another file's once the database is replaced.
    """
    def timeline(db, query):
        return run("sqlite3", db, query).stdout

    wait_for("what is known to be saved", lambda: timeline(
        f"{path}.outboxfs/store.db",
        "SELECT value FROM setting WHERE name = 'timeline'") == timeline(
        path, "SELECT timeline FROM outboxfs_model"))
    wait_for("an empty log", lambda: run(
        "sqlite3", path, "PRAGMA wal_checkpoint(TRUNCATE)"
    ).stdout.startswith("0|0|0"))


def connect(path):
    """Texts as bytes, so that none is refused; each statement commits."""
    db = sqlite3.connect(path, isolation_level=None)
    db.text_factory = bytes
    return db


class Bytes(bytes):
    """A text with these bytes, whatever they are."""


def literal(v):
    if isinstance(v, Bytes):
        return f"CAST(X'{v.hex()}' AS TEXT)"
    if isinstance(v, bytes):
        return f"X'{v.hex()}'"
    if isinstance(v, str):
        return f"CAST(X'{v.encode().hex()}' AS TEXT)"
    if v is None:
        return "NULL"
    if v == float("inf"):
        return "9e999"
    return repr(v)


# Values as names


STRINGS = [
    "", ".", "..", "...", "SnapshotParams.json", "/", "//", "a/b", "../../etc/passwd", "/etc/passwd",
    "./x", "a\nb", "\n", "\r\n", "\t", "\x01", "\x1f", "\x7f", "\x80", "\x85",
    "\xa0", "a\0b", "\0", "%", "%%", "%null", "%41", "A", "%2F", "%2f", "%~",
    "%~1", "x%~1", "x%~'1'", "x", "x%~%null", "%~%~", "null", "NULL", "5",
    "5.0", "1e3", "-0", "+5", " 5", "\\x35", "\\x", "\\xff", "\\xFF", "a", " ",
    "  ", "a ", " a", "Paris", "paris", "PARIS", "\u00e9", "e\u0301",
    "\u212b", "\u00c5", "\ufb01", "fi", "\ufeff", "a\u202eb", "-rf", "--help",
    "~", "*", "?", "[a]", "$(id)", "`id`", "a'b", "'a'", 'a"b', "a\\b", ",",
    ";", "con", "pov.json", "fact.csv", "\U0001f642", "\ufffd", "\uffff",
    "a" * 254, "a" * 255, "a" * 256, "a" * 300,
    "b" * 250 + "1" * 50, "b" * 250 + "2" * 50,
    "\u00e9" * 127, "\u00e9" * 128, "\u00e9" * 150, "x" + "\u00e9" * 150,
    "\U0001f642" * 63, "\U0001f642" * 75, "xy" + "\U0001f642" * 75,
    "/" * 85, "/" * 86, "/" * 300, "c" * 221 + "%~" + "0" * 32,
    "0123456789abcdef" * 2, "x%~" + "0123456789abcdef" * 2,
]
BAD_UTF8 = [Bytes.fromhex(h) for h in (
    "ff", "61ff62", "c3", "c328", "c0af", "c0ae", "eda080", "f4908080", "80",
    "e28281e2", "2eff", "ff2f2e2e")] + [
    Bytes(b"\xff" * 85), Bytes(b"\xff" * 86), Bytes(b"\xff" * 300),
    Bytes(b"d" * 250 + b"\xff" * 50), Bytes(b"d" * 250 + b"\xfe" * 50)]
BLOBS = [b"", b"5", b"\xff", b"a", b"\0", b"a\nb", b"z" * 126, b"z" * 127,
         b"z" * 300, b"z" * 299 + b"y"]
NUMBERS = [None, 0, 5, 6, -1, 2**63 - 1, -2**63, 0.5, -0.25, 1e300, 5e-324,
           1e21, float("inf"), 123456789.125]
VALUES = NUMBERS + STRINGS + BAD_UTF8 + BLOBS


def identity(value):
    """Storage class and bytes, from what pov.json says."""
    v = value["value"]
    if "type" in value:
        return value["type"], value["hex"].upper()
    if v is None:
        return "null", ""
    kind = {int: "integer", float: "real", str: "text"}[type(v)]
    text = v if kind == "text" else repr(v)
    return kind, text.encode().hex().upper()


def expected_povs(path):
    """(storage class, bytes) -> ids of rows, by a query of our own."""
    found = {}
    with contextlib.closing(connect(path)) as db:
        for kind, data, value, row in db.execute(
                "SELECT typeof(p), hex(CAST(p AS BLOB)), p, id FROM fact"):
            kind = kind.decode()
            data = repr(value).encode().hex().upper() \
                if kind in ("integer", "real") else data.decode()
            found.setdefault((kind, data), set()).add(row)
    return found


def check_values(mount, path):
    """Listing, names, pov.json and rows against the database."""
    data = os.fsencode(mount.path / "data")
    names = os.listdir(data)
    assert len(names) == len(set(names))
    expected = expected_povs(path)
    found = {}
    for name in names:
        assert len(name) <= 255 and name not in (b".", b"..")
        name.decode()  # every name is UTF-8
        assert not any(c < 0x20 or c == 0x7f for c in name), name
        base = os.path.join(data, name)
        assert os.path.isdir(base), name
        assert os.path.realpath(base) == base
        assert sorted(os.listdir(base)) == [b"fact.csv", b"pov.json"], name
        with open(base + b"/pov.json", encoding="utf-8") as file:
            document = json.load(file)
        size = os.stat(base + b"/fact.csv").st_size
        with open(base + b"/fact.csv", "rb") as file:
            content = file.read()
        assert len(content) == size, name
        assert hashlib.sha256(content).hexdigest() == \
            document["tables"]["fact"]["sha256"], name
        rows = list(csv.reader(io.StringIO(
            content.decode("utf-8", "surrogateescape"), newline="")))
        ids = {int(row[0]) for row in rows[1:]}
        key = identity(document["pov"]["p"])
        assert key not in found, (name, key)
        found[key] = ids
    assert found == expected
    return names


def values_db(path, values, column="p", dims=None, more=""):
    db = connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.executescript(
        f"CREATE TABLE fact(id INTEGER PRIMARY KEY, {column}, x);{more}")
    with db:
        db.execute("BEGIN")
        for i, v in enumerate(values):
            db.execute(f"INSERT INTO fact(p, x) VALUES({literal(v)}, {i})")
            db.execute(f"INSERT INTO fact(p, x) VALUES({literal(v)}, {i})")
    db.close()
    adopt(path, {"name": "values", "pov": dims or [{"name": "p"}],
                 "setup": "*", "data": [{"table": "fact", "pov": {"p": "p"}}]})
    return path


def test_values_without_a_dimension_table(work, mounts):
    db = values_db(work / "v.db", VALUES)
    mount = mounts(db, work / "mnt")
    names = check_values(mount, db)
    assert len(names) == len(VALUES)
    by_tool = run("sh", "-c", 'cd "$1" && find . -type f -name fact.csv'
                  " -print0 | xargs -0 cat | grep -c ,", "sh",
                  mount / "data").stdout
    assert int(by_tool) >= 3 * len(VALUES)


def test_lookups_alone_find_what_a_listing_shows(work, mounts):
    """By a mount that has never listed the directory."""
    db = values_db(work / "v.db", VALUES)
    first = mounts(db, work / "mnt")
    names = os.listdir(os.fsencode(first / "data"))
    first.unmount()
    second = mounts(db, work / "mnt2")
    for name in names:
        base = os.fsencode(second / "data") + b"/" + name
        assert os.stat(base + b"/fact.csv").st_size > 0
    for name in (b"x%~1", b"%2E", b"%41", b"A%", b"%2f", b"%zz", b"nothing",
                 b"%null%~1", b"a" * 221 + b"%~" + b"0" * 32, b"5.00", b"05",
                 b"+5", b"\xff", b"\\XFF", b"%~", b"%~5", b"a%~a", b"\n",
                 b"%" * 255, b"x%~'x'"):
        if name in names:
            continue
        with pytest.raises(FileNotFoundError):
            os.stat(os.fsencode(second / "data") + b"/" + name)


def labels_table(labels, key="id", label="name"):
    rows = ",".join(f"({literal(k)}, {literal(v)})" for k, v in labels)
    return (f"CREATE TABLE d({key} UNIQUE, {label});"
            f"INSERT INTO d VALUES{rows};")


DIM = [{"name": "p", "table": "d", "key": "id", "label": "name"}]


def test_labels_of_all_kinds(work, mounts):
    """Every hostile value as a label, once alone and once shared."""
    labels = list(enumerate(VALUES)) + [
        (1000 + i, v) for i, v in enumerate(VALUES) if i % 3 == 0]
    db = values_db(work / "v.db", [k for k, _ in labels], dims=DIM,
                   more=labels_table(labels))
    mount = mounts(db, work / "mnt")
    check_values(mount, db)
    for name in os.listdir(mount / "data"):
        place = mount / "data" / name
        document = json.loads((place / "pov.json").read_text())
        key = document["pov"]["p"]["value"]
        label = dict(labels)[key]
        shown = document["pov"]["p"]
        if isinstance(label, bytes):
            assert shown["label_hex"] == label.hex()
        elif label == float("inf"):
            pass
        else:
            assert shown["label"] == label and \
                type(shown["label"]) is type(label)


def test_keys_of_all_kinds_under_one_label(work, mounts):
    values = [v for v in VALUES if v is not None]
    for label in ("same", None, "", "n" * 300, Bytes(b"\xff")):
        here = work / f"{hashlib.sha256(literal(label).encode()).hexdigest()}"
        here.mkdir()
        db = values_db(here / "v.db", values, dims=DIM,
                       more=labels_table([(v, label) for v in values]))
        check_values(mounts(db, here / "mnt"), db)


def test_dangling_keys_beside_labels(work, mounts):
    """A value without a row looks like another row's label, and so on."""
    labels = [(1, "X"), (2, "1"), (3, 4), (4, "3"), ("k", "X"), ("a", None),
              ("b", None), ("c", ""), (10, 11), (11, 10), ("m", "m"),
              ("q", b"r"), (20, "dup%~21"), (21, "dup"), (22, "dup"),
              (23, "X%~1"), ("30", 30), (30, "30")]
    dangling = ["X", "1", 5, "5", b"5", "3", 3.5, "3.5", None, "%null", "",
                "%", "a%~b", "r", "dup", "dup%~21", "dup%~22", "X%~k", "K",
                "A", "\\x72", b"r", "31", 31, "n" * 300]
    db = values_db(work / "v.db", [k for k, _ in labels] + dangling, dims=DIM,
                   more=labels_table(labels))
    mount = mounts(db, work / "mnt")
    check_values(mount, db)
    # Rows and labels come and go under it, and it stays so.
    for sql in ("DELETE FROM d WHERE id = 1",
                "INSERT INTO d VALUES('X', 'X'), (5, '5'), ('5', 5)",
                "UPDATE d SET name = 'one' WHERE id = 2",
                "UPDATE d SET name = 'same'", "DELETE FROM d",
                "INSERT INTO d SELECT DISTINCT p, 'again' FROM fact"
                " WHERE p IS NOT NULL",
                "UPDATE d SET name = upper(name)", "DROP TABLE d"):
        sqlite(db, sql)
        if sql.startswith("DROP"):
            break
        check_values(mount, db)


@pytest.mark.parametrize("column", [
    "p COLLATE NOCASE", "p TEXT COLLATE NOCASE", "p COLLATE RTRIM",
    "p TEXT", "p INTEGER", "p REAL", "p NUMERIC", "p BLOB"])
@pytest.mark.parametrize("dim", [False, True])
def test_collations_and_affinities(work, mounts, column, dim):
    """Values that the column takes for equal are still two values."""
    values = ["Paris", "paris", "PARIS", "a", "a ", "A", 5, "5", 7.5, "7.5",
              b"5", None, "", " ", "\u00e9", "\u00c9"]
    labels = [("Paris", "X"), ("a", "x"), ("z", "X "), (5, "Paris")]
    db = values_db(
        work / "v.db", values, column, DIM if dim else None,
        labels_table(labels, f"id {column[2:]}", "name COLLATE NOCASE")
        if dim else "")
    mount = mounts(db, work / "mnt")
    check_values(mount, db)
    for sql in ("UPDATE fact SET p = 'PARIS' WHERE id = 1",
                "UPDATE fact SET p = lower(p) WHERE typeof(p) = 'text'",
                "UPDATE fact SET p = upper(p) WHERE id % 2",
                "UPDATE fact SET p = p || ' ' WHERE id < 8",
                "UPDATE fact SET p = CAST(p AS BLOB) WHERE id = 9",
                "DELETE FROM fact WHERE p = 'PARIS'"):
        sqlite(db, sql)
        check_values(mount, db)


def test_a_change_of_case_is_a_change(work, mounts):
    """What NOCASE takes for equal has moved to another directory."""
    db = values_db(work / "v.db", ["Paris"], "p TEXT COLLATE NOCASE")
    mount = mounts(db, work / "mnt")
    assert os.listdir(mount / "data") == ["Paris"]
    assert ",Paris," in (mount / "data/Paris/fact.csv").read_text()
    sqlite(db, "UPDATE fact SET p = 'PARIS'")
    assert os.listdir(mount / "data") == ["PARIS"]
    assert ",PARIS," in (mount / "data/PARIS/fact.csv").read_text()
    wait_for("the old name to go",
             lambda: not (mount / "data/Paris").exists())


def test_numbers_that_are_equal_share_a_directory(work, mounts):
    """5 and 5.0 are one value to SQLite, so one point of view, once."""
    db = values_db(work / "v.db", [5, 5.0, 2**53, float(2**53), 0, -0.0])
    mount = mounts(db, work / "mnt")
    seen = []
    for content in files(mount / "data").items():
        if content[0].endswith(b"fact.csv"):
            seen += [int(line.split(b",")[0])
                     for line in content[1].splitlines()[1:]]
    assert sorted(seen) == list(range(1, 13))
    assert len(os.listdir(mount / "data")) == 3


def commands(mount):
    """The commands that README.md suggests, without those that write."""
    text = (mount / "README.md").read_text()
    text = text.split("## Try")[1].split("## Export")[0]
    return [line.strip() for line in text.splitlines()
            if line.startswith(("    head", "    cat", "    jq"))]


def test_readme_names_files_as_they_are(work, mounts):
    """Names that a path cannot carry, and paths of more than a kilobyte."""
    path = work / "r.db"
    long = ["v" * 240 + str(i) for i in range(5)]
    with contextlib.closing(connect(path)) as db:
        db.execute("CREATE TABLE \"a/'b\"(id INTEGER PRIMARY KEY, x)")
        db.execute("CREATE TABLE \"f/'\"(id INTEGER PRIMARY KEY,"
                   " a, b, c, d, e)")
        db.execute("INSERT INTO \"f/'\"(a, b, c, d, e)"
                   " VALUES(?, ?, ?, ?, ?)", long)
    adopt(path, {
        "name": "r", "pov": [{"name": n} for n in "abcde"],
        "setup": ["a/'b"],
        "data": [{"table": "f/'", "pov": {n: n for n in "abcde"}}]})
    mount = mounts(path, work / "mnt")
    tried = commands(mount)
    assert [line.split()[0] for line in tried] == ["head", "cat", "jq"]
    for line in tried:
        assert run("sh", "-c", line).stdout, line
    assert "\n        f%2F'.csv\n" in (mount / "README.md").read_text()


# Names of tables and columns


NAMES = [
    "select", "table", "index", "order", 'a"b', "[x]", "[x", "x]", "a b",
    "a/b", "..", ".", "it's", "\u00dcn\u00ef", "`tick`", "a.b", "a\nb", "%",
    "%s", ";drop table fact;--", "*", "1", "-x", "new", "old", "null",
    "rowid", "outboxfs", "t" * 300, "\u00e9" * 150, "\x01", "main.x", "?1",
    ":a", "@b", "$c", "x'ff'", "\\", "pov", "pov.json", "sqlite",
]


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def test_names_of_tables_and_columns(work, mounts):
    path = work / "n.db"
    columns = [n for n in NAMES if n != "rowid"]
    db = connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    listed = ", ".join(quote(c) for c in columns)
    for name in NAMES:
        db.execute(f"CREATE TABLE {quote(name)}({listed})")
        db.execute(f"INSERT INTO {quote(name)}({quote('order')},"
                   f" {quote('select')}) VALUES(1, 'one')")
    for i, name in enumerate(NAMES[:12]):
        db.execute(f"CREATE TABLE {quote('data ' + name)}({quote('k' + name)}"
                   f" INTEGER PRIMARY KEY, {quote(name)}, x)")
        db.execute(f"INSERT INTO {quote('data ' + name)}"
                   f" VALUES(1, 'p', {i}), (2, 'q', {i})")
    adopt(path, {
        "name": "names", "pov": [{"name": "select"}], "setup": "*",
        "data": [{"table": "data " + n, "order": [n, "k" + n],
                  "pov": {"select": n}} for n in NAMES[:12]]})
    mount = mounts(path, work / "mnt")

    def setup_files():
        found = {}
        for name in os.listdir(mount / "setup"):
            file = mount / "setup" / name
            text = file.read_bytes().decode()
            assert file.stat().st_size == len(text.encode())
            found[name] = list(csv.reader(io.StringIO(text, newline="")))
        return found

    before = setup_files()
    assert len(before) == len(NAMES)
    for name, rows in before.items():
        assert rows[0] == columns, name
        assert len(rows) == 2, name
    assert len(os.listdir(mount / "data/p")) == 13
    for name in os.listdir(mount / "data/p"):
        assert (mount / "data/p" / name).read_bytes()
    for name in NAMES:
        db.execute(f"UPDATE {quote(name)} SET {quote('select')} = 'two'")
        now = setup_files()
        assert len([n for n in now if now[n] != before[n]]) == 1, name
        before = now
    for i, name in enumerate(NAMES[:12]):
        db.execute(f"UPDATE {quote('data ' + name)} SET {quote(name)} = 'r'"
                   f" WHERE {quote('k' + name)} = 2")
        assert len(os.listdir(mount / "data/r")) == i + 2
    assert not (mount / "data/q").exists()
    db.close()
    run(OUTBOXFS, "abandon", path)


@pytest.mark.parametrize("ddl, name, word", [
    ("CREATE VIEW it AS SELECT * FROM fact", "it", "view"),
    ("CREATE VIRTUAL TABLE it USING fts5(period, x)", "it", "virtual"),
    ("CREATE VIRTUAL TABLE it USING rtree(id, a, b)", "it", "virtual"),
    ("CREATE VIRTUAL TABLE x USING fts5(a)", "x_content", "x_content"),
    ("CREATE TABLE outboxfs_it(id INTEGER PRIMARY KEY, x)", "outboxfs_it",
     "outboxfs_it"),
])
@pytest.mark.parametrize("role", ["setup", "data", "pov"])
def test_what_cannot_be_tracked_is_refused(work, ddl, name, word, role):
    path = work / "x.db"
    db = connect(path)
    db.executescript(outbox.SALES_SQL)
    db.execute(ddl)
    was = db.execute("SELECT * FROM sqlite_schema").fetchall()
    model = json.loads(json.dumps(SALES))
    if role == "setup":
        model["setup"] = [name]
    elif role == "data":
        model["data"][0]["table"] = name
    else:
        model["pov"][0]["table"] = name
    (work / "m.json").write_text(json.dumps(model))
    done = run(OUTBOXFS, "adopt", path, "--model", work / "m.json",
               check=False)
    assert done.returncode == 1
    assert name in done.stderr and word in done.stderr, done.stderr
    assert db.execute("SELECT * FROM sqlite_schema").fetchall() == was
    db.close()


def test_setup_star_leaves_out_what_cannot_be_tracked(work, mounts):
    path = work / "x.db"
    db = connect(path)
    db.executescript(outbox.SALES_SQL + """
        CREATE VIEW v AS SELECT 1 AS x;
        CREATE VIRTUAL TABLE f USING fts5(a);
        CREATE VIRTUAL TABLE r USING rtree(id, a, b);
        CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT);
        """)
    db.close()
    adopt(path, SALES)
    mount = mounts(path, work / "mnt")
    assert sorted(os.listdir(mount / "setup")) == [
        "category.csv", "location.csv", "s.csv"]


# The sales database, as an independent query renders it


def text_of(v):
    if v is None:
        return ""
    if isinstance(v, bytes):
        return '""' if v == b"" else v.decode()
    return repr(v)


def render(db, sql):
    cursor = db.execute(sql)
    lines = [",".join(d[0] for d in cursor.description)]
    lines += [",".join(text_of(v) for v in row) for row in cursor]
    return ("\n".join(lines) + "\n").encode()


def expected_sales(path):
    found = {}
    with contextlib.closing(connect(path)) as db:
        for table in ("location", "category"):
            found[f"setup/{table}.csv"] = render(
                db, f"SELECT * FROM {table} ORDER BY id")
        for table, order in (("fact", "id"), ("process_status", "rule_id")):
            for loc, cat, per, lname, cname in db.execute(
                    "SELECT DISTINCT l.id, c.id, period, l.name, c.name"
                    f" FROM {table} AS t JOIN location AS l"
                    " ON l.id = location_id JOIN category AS c"
                    " ON c.id = category_id").fetchall():
                place = b"/".join([b"data", lname, cname, per]).decode()
                found[f"{place}/{table}.csv"] = render(
                    db, f"SELECT * FROM {table} WHERE location_id = {loc}"
                    f" AND category_id = {cat} AND period ="
                    f" '{per.decode()}' ORDER BY {order}")
    return found


def check_sales(mount, path):
    """Every file equals a fresh render, and every size its content."""
    expected = expected_sales(path)
    sizes = {}
    for base, _, names in walk(mount.path):
        for name in names:
            full = pathlib.Path(base, name)
            sizes[str(full.relative_to(mount.path))] = os.stat(full).st_size
    found = {n.decode(): c for n, c in files(mount.path).items()}
    rest = {n for n in found
            if n.endswith("pov.json") or n in ("README.md", "status.json")}
    assert {n: c for n, c in found.items() if n not in rest} == expected
    for name, content in found.items():
        if name != "status.json":
            assert sizes[name] == len(content), name
    for name in rest:
        if name.endswith("pov.json"):
            tables = json.loads(found[name])["tables"]
            place = name.rsplit("/", 1)[0]
            assert {f"{place}/{t}.csv" for t in tables} == \
                {n for n in expected if n.rsplit("/", 1)[0] == place}
            for table, facts in tables.items():
                content = expected[f"{place}/{table}.csv"]
                assert facts["bytes"] == len(content)
                assert facts["rows"] == content.count(b"\n") - 1
                assert facts["sha256"] == hashlib.sha256(content).hexdigest()


def set_mode(path, mode):
    with contextlib.closing(connect(path)) as db:
        got, = db.execute(f"PRAGMA journal_mode={mode}").fetchone()
        assert got.decode() == mode


def health(mount):
    return json.loads((mount / "status.json").read_text())


def test_rollback_journal_works_fully(work, mounts, sales):
    set_mode(sales, "delete")
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    db = connect(sales)
    db.execute("PRAGMA busy_timeout=5000")
    for i in range(100):
        db.execute(f"UPDATE fact SET note = '{'x' * i}' WHERE id = 1")
        content = (mount / PARIS / "fact.csv").read_bytes()
        assert os.stat(mount / PARIS / "fact.csv").st_size == len(content)
        assert f",{'x' * i or chr(34) * 2}\n".encode() in content, i
    db.execute("UPDATE fact SET location_id = 2 WHERE location_id = 1")
    db.execute("DELETE FROM process_status WHERE category_id = 2")
    check_sales(mount, sales)
    db.execute("BEGIN")
    db.execute("DELETE FROM fact")
    db.execute("ROLLBACK")
    check_sales(mount, sales)
    db.execute("DELETE FROM fact")
    db.close()
    check_sales(mount, sales)


def die_in_a_transaction(path, mounted=False):
    """A program that has written to the file already when it is killed."""
    code = ("import os, signal, sqlite3, sys\n"
            "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "db.execute('PRAGMA cache_size = 5')\n"
            "db.execute('BEGIN')\n"
            "db.execute(\"UPDATE fact SET note = 'half done'\")\n"
            "db.execute(\"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT\"\n"
            "  \" i + 1 FROM n WHERE i < 20000) INSERT INTO location(name)\"\n"
            "  \" SELECT 'half done ' || i FROM n\")\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n")
    done = subprocess.run(["/usr/bin/python3", "-c", code, str(path)],
                          check=False)
    assert done.returncode == -signal.SIGKILL
    # A daemon that sees it may have taken it back by now.
    assert mounted or os.path.getsize(f"{path}-journal") > 0


def test_journal_of_a_dead_program_before_the_mount(work, mounts, sales):
    sqlite(sales, "PRAGMA journal_mode = delete")
    die_in_a_transaction(sales)
    status = json.loads(run(OUTBOXFS, "status", sales, "--json").stdout)
    assert status["povs"] == 12
    die_in_a_transaction(sales)
    assert json.loads(run(OUTBOXFS, "model", sales).stdout) == SALES
    die_in_a_transaction(sales)
    mnt = mounts(sales, work / "mnt")
    assert b"half done" not in (mnt / PARIS / "fact.csv").read_bytes()


def test_journal_of_a_dead_program_while_mounted(work, mounts, sales):
    sqlite(sales, "PRAGMA journal_mode = delete")
    mnt = mounts(sales, work / "mnt")
    before = (mnt / PARIS / "fact.csv").read_bytes()
    setup = (mnt / "setup/location.csv").read_bytes()
    die_in_a_transaction(sales, mounted=True)
    assert (mnt / PARIS / "fact.csv").read_bytes() == before
    assert (mnt / "setup/location.csv").read_bytes() == setup
    assert run("sqlite3", sales, "PRAGMA integrity_check").stdout == "ok\n"


@pytest.mark.parametrize("to", ["delete", "wal", "truncate", "persist"])
def test_journal_mode_changes_while_mounted(work, mounts, sales, to):
    set_mode(sales, "delete" if to == "wal" else "wal")
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    with contextlib.closing(connect(sales)) as db:
        db.execute("PRAGMA busy_timeout=2000")
        try:
            db.execute(f"PRAGMA journal_mode={to}")
        except sqlite3.OperationalError:
            pass  # somebody else reads: SQLite's rule, not ours
        db.execute("UPDATE fact SET note = 'after' WHERE id < 10")
    check_sales(mount, sales)


# Locked by others


def test_exclusive_lock_in_wal_mode_stops_no_reader(mnt, sales):
    check_sales(mnt, sales)
    db = connect(sales)
    db.execute("UPDATE fact SET note = 'committed' WHERE id = 1")
    db.execute("BEGIN EXCLUSIVE")
    db.execute("UPDATE fact SET note = 'not yet'")
    began = time.monotonic()
    content = (mnt / PARIS / "fact.csv").read_text()
    assert "committed" in content and "not yet" not in content
    assert len(content) == os.stat(mnt / PARIS / "fact.csv").st_size
    check_sales(mnt, sales)
    assert time.monotonic() - began < 10
    db.execute("ROLLBACK")
    db.close()
    check_sales(mnt, sales)
    assert health(mnt)["health"] == "ok"


def test_long_writer_hides_no_commit(mnt, sales):
    """A commit, and at once a lock so that nobody can note it."""
    db = connect(sales)
    path = mnt / PARIS / "fact.csv"
    for i in range(10):
        with open(path, "rb"):
            pass
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE fact SET note = ? WHERE id = 1", ("y" * i * 7,))
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        content = path.read_text()
        assert f",{'y' * i * 7 or chr(34) * 2}\n" in content, i
        assert os.stat(path).st_size == len(content)
        again = path.read_text()
        assert again == content
        db.execute("COMMIT")
    db.close()
    check_sales(mnt, sales)


def commit_and_hold(db, *sql):
    """A commit, and the lock again at once: its marks stay open."""
    if not db.in_transaction:
        db.execute("BEGIN IMMEDIATE")
    for statement in sql:
        db.execute(statement)
    db.execute("COMMIT")
    db.execute("BEGIN IMMEDIATE")


def test_provisional_versions_beyond_the_last_tag(work, mounts):
    """32,768 of them have a tag; the next one is not an old one."""
    n = 50
    db = connect(work / "x.db")
    db.execute("PRAGMA journal_mode=WAL")
    for i in range(n):
        db.execute(f"CREATE TABLE t{i:02}(id INTEGER PRIMARY KEY, p, x)")
        db.execute(f"INSERT INTO t{i:02} VALUES(1, 'p', 'a')")
    adopt(work / "x.db", {
        "name": "x", "pov": [{"name": "p"}], "setup": [],
        "data": [{"table": f"t{i:02}", "pov": {"p": "p"}} for i in range(n)]})
    mount = mounts(work / "x.db", work / "mnt")
    commit_and_hold(db, *(f"UPDATE t{i:02} SET x = 'a'" for i in range(n)))
    for _ in range(400):
        assert b"1,p,a\n" in (mount / "data/p/t00.csv").read_bytes()
    # One open draws a tag for each table, and one for the document.
    for _ in range((32768 - 200) // (n + 1)):
        with open(mount / "data/p/pov.json", "rb"):
            pass
    commit_and_hold(db, "UPDATE t00 SET x = 'bb'")
    for i in range(400):
        assert b"1,p,bb\n" in (mount / "data/p/t00.csv").read_bytes(), i
    db.close()


def test_rows_appear_and_go_under_a_long_writer(mnt, sales):
    check_sales(mnt, sales)
    db = connect(sales)
    for sql in ("DELETE FROM fact WHERE period = '2026-01'",
                "UPDATE location SET name = 'Rome' WHERE id = 2",
                "DELETE FROM process_status"):
        db.execute("BEGIN IMMEDIATE")
        db.execute(sql)
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        check_sales(mnt, sales)
        db.execute("COMMIT")
    db.close()
    check_sales(mnt, sales)


def test_new_pov_under_a_long_writer_is_busy_not_absent(mnt, sales):
    """It has no number yet, and getting one needs the lock."""
    check_sales(mnt, sales)
    db = connect(sales)
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO fact(location_id, category_id, period, amount)"
               " VALUES(1, 1, '2026-03', 1.5)")
    db.execute("COMMIT")
    db.execute("BEGIN IMMEDIATE")
    for look in (lambda: os.listdir(mnt / "data" / "Paris" / "Actual"),
                 lambda: os.stat(mnt / "data/Paris/Actual/2026-03")):
        with pytest.raises(OSError) as e:
            look()
        assert e.value.errno == errno.EBUSY
    assert (mnt / PARIS / "fact.csv").read_bytes() == \
        expected_sales(sales)[f"{PARIS}/fact.csv"]
    db.execute("COMMIT")
    db.close()
    check_sales(mnt, sales)


@pytest.mark.parametrize("command", [["stat", "-c%Y"], ["ls", "-ld"]])
def test_directories_have_their_times_under_a_long_writer(
        work, mounts, sales, command):
    first = mounts(sales, work / "mnt")
    expected = [os.stat(first / name).st_mtime for name in ("data", "setup")]
    first.close()
    mount = mounts(sales, work / "mnt2")
    db = connect(sales)
    for sql in ("BEGIN IMMEDIATE", "UPDATE fact SET note = 'x' WHERE id = 1",
                "COMMIT", "BEGIN IMMEDIATE"):
        db.execute(sql)
    assert "1970" not in run("ls", "-l", "--time-style=full-iso",
                             mount.path).stdout
    run(*command, mount / "data", mount / "setup")
    assert [os.stat(mount / name).st_mtime
            for name in ("data", "setup")] == expected
    db.execute("INSERT INTO fact(location_id, category_id, period) VALUES("
               " 1, 1, '2027-01')")
    db.execute("COMMIT")
    db.close()
    assert "2027-01" in os.listdir(mount / "data/Paris/Actual")
    wait_for("a later time", lambda: os.stat(
        mount / "data").st_mtime > expected[0])


def test_exclusive_lock_in_rollback_mode(work, mounts, sales):
    """Wait, then say that it is busy; go on when it is free."""
    set_mode(sales, "delete")
    mount = mounts(sales, work / "mnt", "-o", "busy_timeout=1")
    path = mount / PARIS / "fact.csv"
    db = connect(sales)
    db.execute("BEGIN EXCLUSIVE")
    result = []

    def read():
        began = time.monotonic()
        try:
            result.append(path.read_bytes())
        except OSError as e:
            result.append(e.errno)
        result.append(time.monotonic() - began)

    reader = threading.Thread(target=read)
    reader.start()
    began = time.monotonic()
    assert run("ls", mount.path).stdout.split() == ROOT
    assert time.monotonic() - began < 1
    reader.join()
    assert result[0] == errno.EBUSY, result
    assert 0.8 < result[1] < 5
    done = run("cat", path, check=False)
    assert done.returncode != 0 and "busy" in done.stderr
    db.execute("ROLLBACK")
    db.close()
    check_sales(mount, sales)


def test_short_lock_in_rollback_mode_is_waited_for(work, mounts, sales):
    set_mode(sales, "delete")
    mount = mounts(sales, work / "mnt")
    path = mount / PARIS / "fact.csv"
    for i in range(3):
        db = connect(sales)
        db.execute("BEGIN EXCLUSIVE")
        db.execute("UPDATE fact SET note = ? WHERE id = 1", (f"late {i}",))
        with subprocess.Popen(["cat", path], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as reader:
            time.sleep(0.3)  # what is tested is a lock that lasts a while
            db.execute("COMMIT")
            db.close()
            out, err = reader.communicate(timeout=20)
        assert (reader.returncode, err) == (0, b"")
        assert f"late {i}".encode() in out
    check_sales(mount, sales)


def test_mounting_while_it_is_locked(work, mounts, sales):
    set_mode(sales, "delete")
    db = connect(sales)
    db.execute("BEGIN EXCLUSIVE")
    (work / "mnt").mkdir()
    done = run(OUTBOXFS, "mount", "-f", sales, work / "mnt", "-o",
               "busy_timeout=1", check=False)
    assert done.returncode == 1
    assert "locked" in done.stderr and str(sales) in done.stderr
    db.execute("ROLLBACK")
    db.close()
    (work / "mnt").chmod(0o755)
    check_sales(mounts(sales, work / "mnt"), sales)


# Disks


@pytest.fixture
def disk(work):
    """A tmpfs of a size of its own."""
    path = work / "disk"
    path.mkdir()
    made = []

    def make(options):
        run("mount", "-t", "tmpfs", "-o", options, "none", path)
        made.append(path)
        return path

    yield make
    for _ in made:
        if run("umount", path, check=False).returncode != 0:
            run("umount", "-l", path)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_read_only_disk(work, disk, mounts, mode):
    path = disk("size=20m")
    db = make_sales(path / "sales.db")
    set_mode(db, mode)
    expected = expected_sales(db)
    run("mount", "-o", "remount,ro", path)
    mount = mounts(db, work / "mnt")
    try:
        found = {n.decode(): c for n, c in files(mount.path).items()}
        assert {n: found[n] for n in expected} == expected
        assert health(mount)["health"] in ("ok", "waiting")
        assert set(os.listdir(path)) == {"sales.db", "sales.db.model.json"}
    finally:
        mount.close()


def test_read_only_disk_with_a_log_left_over(work, disk, mounts):
    """Committed rows are in the log: they show, or it says why not."""
    path = disk("size=20m")
    db = make_sales(work / "sales.db")
    writer = connect(db)
    writer.execute("UPDATE fact SET note = 'in the log' WHERE id = 1")
    for end in ("", "-wal"):
        shutil.copy(f"{db}{end}", f"{path}/sales.db{end}")
    writer.close()
    run("mount", "-o", "remount,ro", path)
    (work / "mnt").mkdir()
    try:
        mount = mounts(path / "sales.db", work / "mnt")
    except AssertionError as e:
        assert "sales.db" in str(e)
        return
    try:
        assert "in the log" in (mount / PARIS / "fact.csv").read_text()
    finally:
        mount.close()


def test_read_only_disk_with_marks_that_nobody_noted(work, disk, mounts):
    """Changes since the last mount cannot be folded: files still are right."""
    path = disk("size=20m")
    db = make_sales(path / "sales.db")
    sqlite(db, "UPDATE fact SET note = 'new' WHERE id < 20",
           "DELETE FROM fact WHERE location_id = 3")
    expected = expected_sales(db)
    run("mount", "-o", "remount,ro", path)
    mount = mounts(db, work / "mnt")
    try:
        found = {n.decode(): c for n, c in files(mount.path).items()}
        assert {n: c for n, c in found.items()
                if n.endswith(".csv")} == expected
    finally:
        mount.close()


def test_full_disk_stops_no_reader(work, disk, mounts):
    path = disk("size=24m")
    db = connect(path / "big.db")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE fact(id INTEGER PRIMARY KEY, p TEXT, x TEXT)")
    with db:
        db.execute("BEGIN")
        db.executemany("INSERT INTO fact(p, x) VALUES(?, ?)",
                       ((p, f"{i:0999d}") for p in ("a", "b", "c")
                        for i in range(3000)))
    db.close()
    adopt(path / "big.db", {
        "name": "big", "pov": [{"name": "p"}], "setup": [],
        "data": [{"table": "fact", "pov": {"p": "p"}}]}, "--no-index")
    run("sqlite3", path / "big.db", "PRAGMA wal_checkpoint(TRUNCATE)")
    mount = mounts(path / "big.db", work / "mnt")
    try:
        os.listdir(mount / "data")
        with open(path / "filler", "wb", buffering=0) as file:
            with pytest.raises(OSError) as e:
                while True:
                    file.write(b"\0" * 65536)
            assert e.value.errno == errno.ENOSPC
        for p in "abc":
            content = (mount / "data" / p / "fact.csv").read_bytes()
            assert content.count(b"\n") == 3001
            assert len(content) == os.stat(
                mount / "data" / p / "fact.csv").st_size
            lines = content.split(b"\n")
            assert lines[3000].endswith(b"2999") and lines[3001] == b""
        os.unlink(path / "filler")
        assert (mount / "data/b/fact.csv").read_bytes().count(b"\n") == 3001
    finally:
        mount.close()


# What is cached of files


def wide(path, n, size):
    """n directories with one file of size bytes of rows each."""
    db = connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE fact(id INTEGER PRIMARY KEY, p TEXT, x TEXT)")
    with db:
        db.execute("BEGIN")
        db.executemany("INSERT INTO fact(p, x) VALUES(?, ?)", (
            (f"p{i:02}", str(i % 10) * (size // 10))
            for i in range(n) for _ in range(10)))
    db.close()
    adopt(path, {"name": "wide", "pov": [{"name": "p"}], "setup": [],
                 "data": [{"table": "fact", "pov": {"p": "p"}}]}, "--no-index")
    run("sqlite3", path, "PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def test_many_open_files_hide_no_other(work, mounts):
    """What is held open is not counted against what is about to be opened."""
    db = wide(work / "wide.db", 40, 1000000)
    mount = mounts(db, work / "mnt")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(
            open(mount / "data" / p / "fact.csv", "rb", buffering=0))
            for p in sorted(os.listdir(mount / "data"))]
        for name in ("status.json", "README.md", "data/p00/pov.json"):
            assert run("cat", mount / name).stdout
        writer = connect(db)
        for sql in ("BEGIN IMMEDIATE", "UPDATE fact SET x = 'y' WHERE id = 1",
                    "COMMIT", "BEGIN IMMEDIATE"):
            writer.execute(sql)
        assert run("cat", mount / "data/p00/fact.csv").stdout.count("y") == 1
        writer.close()
        for file in held:
            assert len(file.read()) > 1000000


def memory_files(process):
    """Bytes of the unnamed files in memory that a process has open."""
    fds = pathlib.Path(f"/proc/{process.pid}/fd")
    found = 0
    for fd in os.listdir(fds):
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(fds / fd).startswith("/memfd:outboxfs"):
                found += os.stat(fds / fd).st_size
    return found


def test_files_in_memory_count_as_memory(work, disk, mounts):
    """Without a disk to put them on, no more are kept than memory may have."""
    db = wide(disk("size=400m") / "wide.db", 40, 2000000)
    run("mount", "-o", "remount,ro", db.parent)
    mount = mounts(db, work / "mnt")
    try:
        for p in sorted(os.listdir(mount / "data")):
            content = (mount / "data" / p / "fact.csv").read_bytes()
            assert content.count(b"\n") == 11
        assert 2000000 < memory_files(mount.process) < 30 << 20
    finally:
        mount.close()


# What is no good database


def clustered(path):
    """Five directories, each of some pages of its own."""
    db = connect(path)
    db.execute("CREATE TABLE fact(id INTEGER PRIMARY KEY, p TEXT, x TEXT)")
    with db:
        db.execute("BEGIN")
        db.executemany("INSERT INTO fact(p, x) VALUES(?, ?)",
                       ((f"p{p}", f"mark-of-{p}-" + "x" * 900)
                        for p in range(5) for i in range(40)))
    db.close()
    adopt(path, {"name": "c", "pov": [{"name": "p"}], "setup": [],
                 "data": [{"table": "fact", "pov": {"p": "p"}}]})
    return path


def damage(path, which):
    """Overwrites one page in the middle of the rows of a directory."""
    data = bytearray(path.read_bytes())
    places = []
    at = data.find(f"mark-of-{which}-".encode())
    while at >= 0:
        places.append(at // 4096)
        at = data.find(f"mark-of-{which}-".encode(), at + 1)
    page = sorted(set(places))[len(set(places)) // 2]
    data[page * 4096:(page + 1) * 4096] = b"\xa5" * 4096
    with open(path, "r+b") as file:  # in place: the same file
        file.write(data)


@pytest.mark.parametrize("when", ["before", "mounted"])
def test_damaged_page_spoils_one_file_only(work, mounts, when):
    path = clustered(work / "c.db")
    with contextlib.closing(connect(path)) as db:
        expected = {p: render(db, f"SELECT * FROM fact WHERE p = 'p{p}'")
                    for p in range(5)}
    if when == "before":
        damage(path, 2)
    mount = mounts(path, work / "mnt")
    if when == "mounted":
        damage(path, 2)
    for _ in range(2):
        for p in (0, 1, 4):
            content = (mount / f"data/p{p}/fact.csv").read_bytes()
            assert content == expected[p]
        with pytest.raises(OSError) as e:
            (mount / "data/p2/fact.csv").read_bytes()
        assert e.value.errno == errno.EIO
        done = run("cat", mount / "data/p2/fact.csv", check=False)
        assert done.returncode != 0 and "Input/output" in done.stderr
    assert sorted(os.listdir(mount / "data")) == [f"p{i}" for i in range(5)]
    copy = run("cp", "-r", mount / "data", work / "copy", check=False)
    assert copy.returncode != 0
    assert not (work / "copy/p2/fact.csv").exists() or \
        (work / "copy/p2/fact.csv").stat().st_size == 0
    assert "damaged" in mount.log() or "malformed" in mount.log(), mount.log()


def test_damage_is_logged_once_and_named_until_it_is_mended(work, mounts):
    """Reading fails with EIO; status.json says what, and what to do."""
    path = clustered(work / "c.db")
    whole = path.read_bytes()
    damage(path, 2)
    mount = mounts(path, work / "mnt")
    for _ in range(3):
        with pytest.raises(OSError):
            (mount / "data/p2/fact.csv").read_bytes()
        assert (mount / "data/p1/fact.csv").read_bytes()
        said = health(mount)
        assert said["health"] == "error"
        assert "table 'fact'" in said["message"], said
        assert "backup" in said["message"] and ".recover" in said["message"]
    assert mount.log().count("cannot read table 'fact'") == 1, mount.log()
    # In place, so that nothing but success says that it is whole again.
    with open(path, "r+b") as file:
        file.write(whole)
    with contextlib.closing(connect(path)) as db:
        db.execute("UPDATE fact SET x = x WHERE p = 'p2'")
    assert (mount / "data/p2/fact.csv").read_bytes()
    wait_for("the all-clear", lambda: health(mount)["health"] == "ok")


def test_damage_that_spoils_a_listing_is_named(work, mounts):
    """Pages of a table that listings look into, found as a user would."""
    path = work / "c.db"
    sqlite(path, "CREATE TABLE fact(p, id, x, PRIMARY KEY(p, id)) WITHOUT"
           " ROWID; INSERT INTO fact SELECT value % 9, value, printf('%.*c',"
           " 900, 'x') FROM generate_series(1, 99)")
    adopt(path, {"name": "c", "pov": [{"name": "p"}], "setup": [],
                 "data": [{"table": "fact", "pov": {"p": "p"}}]})
    pages = sqlite(path, "SELECT pageno FROM dbstat WHERE name = 'fact'"
                   " AND pagetype = 'leaf'").split()
    with open(path, "r+b") as file:
        for page in map(int, pages):
            file.seek((page - 1) * 4096)
            file.write(b"\xa5" * 4096)
    mount = mounts(path, work / "mnt")
    for _ in range(2):
        with pytest.raises(OSError) as e:
            os.listdir(mount / "data")
        assert e.value.errno == errno.EIO
        said = health(mount)
        assert said["health"] == "error", said
        assert "table 'fact'" in said["message"], said
    assert mount.log().count("cannot read table 'fact'") == 1, mount.log()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_emptied_while_mounted_says_so(work, mounts, sales, mode):
    set_mode(sales, mode)
    mount = mounts(sales, work / "mnt")
    assert (mount / PARIS / "fact.csv").read_bytes()
    if mode == "wal":
        settle(sales)
    os.truncate(sales, 0)
    for _ in range(3):
        with pytest.raises(OSError):
            os.listdir(mount / "data")
        said = health(mount)
        assert said["health"] == "error"
        assert "empty" in said["message"], said
        assert "backup" in said["message"], said
    assert mount.log().count("is empty") == 1, mount.log()


@pytest.mark.parametrize("what", ["random", "text", "empty", "truncated",
                                  "zeros", "header"])
def test_not_a_database(work, sales, what):
    data = sales.read_bytes()
    bad = work / "bad.db"
    bad.write_bytes({
        "random": os.urandom(65536), "text": b"hello\n" * 1000, "empty": b"",
        "truncated": data[:len(data) * 2 // 3 // 4096 * 4096],
        "zeros": bytes(65536), "header": data[:4096] + bytes(len(data) - 4096),
    }[what])
    before = bad.read_bytes()
    (work / "mnt").mkdir()
    done = run(OUTBOXFS, "mount", "-f", bad, work / "mnt", check=False,
               timeout=20)
    assert done.returncode == 1
    assert str(bad) in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert bad.read_bytes() == before


@pytest.mark.parametrize("sql", [
    "DELETE FROM outboxfs_table",
    "DELETE FROM outboxfs_table WHERE name = 'fact'",
    "UPDATE outboxfs_table SET slot = 7 WHERE name = 'fact'",
    "UPDATE outboxfs_table SET slot = 1000",
    "UPDATE outboxfs_table SET slot = -1",
    "UPDATE outboxfs_table SET slot = 0",
    "UPDATE outboxfs_table SET slot = 1 - slot WHERE slot >= 0",
    "UPDATE outboxfs_table SET id = id + 5000",
    "UPDATE outboxfs_table SET id = -id",
    "UPDATE outboxfs_table SET name = 'fact'",
    "UPDATE outboxfs_table SET name = x'00'",
    "UPDATE outboxfs_table SET columns = ''",
    "ALTER TABLE outboxfs_table DROP COLUMN columns; ALTER TABLE"
    " outboxfs_table ADD COLUMN columns",
    "DROP TABLE outboxfs_table",
    "ALTER TABLE outboxfs_model DROP COLUMN triggers; ALTER TABLE"
    " outboxfs_model ADD COLUMN triggers",
    "ALTER TABLE outboxfs_model DROP COLUMN json; ALTER TABLE"
    " outboxfs_model ADD COLUMN json",
    "DELETE FROM outboxfs_model", "DELETE FROM outboxfs_change",
])
def test_our_tables_in_other_hands(work, mounts, sales, sql):
    """Nothing in them is believed: ids and slots are places in arrays."""
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    # Another schema, so that they are read anew.
    sqlite(sales, sql + "; CREATE TABLE news(x); DROP TABLE news")
    done = run(OUTBOXFS, "status", sales, check=False)
    assert done.returncode == 1, done
    assert done.stderr.startswith("outboxfs: "), done
    with pytest.raises(OSError) as e:
        os.listdir(mount / "data")
    assert e.value.errno == errno.EIO
    assert health(mount)["health"] == "error"
    adopt(sales, SALES)
    wait_for("recovery", lambda: health(mount)["health"] == "ok")
    check_sales(mount, sales)


def test_directories_in_a_circle(work, mounts, sales):
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    sqlite(sales, "UPDATE outboxfs_dir SET parent = id WHERE id > 1;"
           "DELETE FROM fact WHERE location_id = 1;"
           "DELETE FROM process_status WHERE location_id = 1")
    assert run(OUTBOXFS, "status", sales, check=False).returncode in (0, 1)
    assert health(mount)["health"] in ("ok", "error")
    run(OUTBOXFS, "adopt", sales)
    wait_for("recovery", lambda: health(mount)["health"] == "ok")
    check_sales(mount, sales)


# Under our feet


def gone(mount, sales):
    """What a mount looks like whose database is not there."""
    for path in (PARIS + "/fact.csv", "setup/location.csv"):
        with pytest.raises(OSError) as e:
            with open(mount / path, "rb") as file:
                file.read()
        assert e.value.errno == errno.EIO, path
    assert sorted(os.listdir(mount.path)) == ROOT
    with pytest.raises(OSError) as e:
        os.listdir(mount / "data")
    assert e.value.errno == errno.EIO
    status = health(mount)
    assert status["health"] == "error"
    assert str(sales) in status["message"], status
    assert mount.process.poll() is None


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_moved_away_and_put_back(work, mounts, sales, mode):
    set_mode(sales, mode)
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    for _ in range(2):
        os.rename(sales, work / "away.db")
        gone(mount, sales)
        os.rename(work / "away.db", sales)
        wait_for("recovery", lambda: health(mount)["health"] == "ok")
        check_sales(mount, sales)
    sqlite(sales, "UPDATE fact SET note = 'later' WHERE id = 5")
    check_sales(mount, sales)


def test_first_looked_at_while_the_database_is_away(work, mounts, sales):
    """Directories have the times that they had."""
    first = mounts(sales, work / "mnt")
    expected = [os.stat(first / name).st_mtime for name in ("data", "setup")]
    first.close()
    mount = mounts(sales, work / "mnt2")
    os.rename(sales, work / "away.db")
    for name, when in zip(("data", "setup"), expected):
        done = run("stat", "-c%Y", mount / name, check=False)
        assert done.stdout in (f"{when:.0f}\n", ""), name
    os.rename(work / "away.db", sales)
    wait_for("recovery", lambda: health(mount)["health"] == "ok")
    assert [os.stat(mount / name).st_mtime
            for name in ("data", "setup")] == expected


def test_rsync_delete_while_the_database_is_away(work, mounts, sales):
    """A database that is gone is an error, not an empty tree."""
    mount = mounts(sales, work / "mnt")
    run("rsync", "-a", f"{mount.path}/data/", work / "copy/")
    copy = files(work / "copy")
    for listed in (False, True):
        if listed:
            files(mount / "data")
        os.rename(sales, work / "away.db")
        done = run("rsync", "-a", "--delete", f"{mount.path}/data/",
                   work / "copy/", check=False)
        assert files(work / "copy") == copy
        assert done.returncode != 0
        os.rename(work / "away.db", sales)
        wait_for("recovery", lambda: health(mount)["health"] == "ok")
    run("rsync", "-a", "--delete", f"{mount.path}/data/", work / "copy/")
    assert files(work / "copy") == copy


def test_removed_and_put_back(work, mounts, sales):
    backup = work / "backup"
    sqlite(sales, f".backup {backup}")
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    sqlite(sales, "UPDATE fact SET note = 'lost' WHERE id < 9")
    check_sales(mount, sales)
    for end in ("", "-wal", "-shm"):
        pathlib.Path(f"{sales}{end}").unlink(missing_ok=True)
    gone(mount, sales)
    shutil.copy(backup, sales)
    wait_for("recovery", lambda: health(mount)["health"] == "ok")
    check_sales(mount, sales)
    sqlite(sales, "UPDATE fact SET note = 'found' WHERE id < 7")
    check_sales(mount, sales)


def test_open_file_outlives_the_database(work, mounts, sales):
    mount = mounts(sales, work / "mnt")
    expected = (mount / PARIS / "fact.csv").read_bytes()
    with open(mount / PARIS / "fact.csv", "rb", buffering=0) as file:
        start = file.read(5)
        os.rename(sales, work / "away.db")
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert start + file.read() == expected
    os.rename(work / "away.db", sales)


def step(db, i, word):
    """A change that differs in length, of one commit."""
    sqlite(db, f"UPDATE fact SET note = '{word * (i + 1)}' WHERE id = {i + 1}")


def put_back(how, backup, sales):
    if how == "restore":
        sqlite(sales, f".restore {backup}")
    elif how == "python":
        with contextlib.closing(sqlite3.connect(backup)) as source, \
                contextlib.closing(sqlite3.connect(sales)) as target:
            source.backup(target)
    elif how == "mv":
        shutil.copy(backup, f"{sales}.new")
        for end in ("-wal", "-shm"):
            pathlib.Path(f"{sales}{end}").unlink(missing_ok=True)
        os.rename(f"{sales}.new", sales)
    elif how == "cp":  # into the same file, as careless people do
        with open(backup, "rb") as source, open(sales, "r+b") as target:
            target.write(source.read())
            target.truncate()


def note(mount, seen):
    """Content is never another under the same size and second: rsync's rule."""
    for base, _, names in os.walk(mount / "data"):
        for name in names:
            full = os.path.join(base, name)
            st = os.stat(full)
            content = pathlib.Path(full).read_bytes()
            key = (full, st.st_size, int(st.st_mtime))
            assert seen.setdefault(key, content) == content, key


@pytest.mark.parametrize("how", ["restore", "mv"])
def test_restored_content_has_other_times(work, mounts, sales, how):
    mount = mounts(sales, work / "mnt")
    seen = {}
    note(mount, seen)
    backup = work / "backup"
    sqlite(sales, f".backup {backup}")
    for i in range(3):
        step(sales, 0, "lost" + str(i))
        note(mount, seen)
    put_back(how, backup, sales)
    note(mount, seen)
    for i in range(3):
        step(sales, 0, "rest" + str(i))
        note(mount, seen)


def untracked(path, sql):
    """A change that no trigger notices."""
    run("sqlite3", "-cmd", ".dbconfig enable_trigger off", path, sql)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_rows_changed_without_triggers(work, mounts, sales, mode):
    """A saved size is wrong: it is found out, and all is read again."""
    set_mode(sales, mode)
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    assert mount.unmount() == 0
    untracked(sales, "UPDATE fact SET note = 'longer than it was before'"
              " WHERE id = 1")
    mount = mounts(sales, work / "mnt2")
    assert "longer than" in run("cat", mount / PARIS / "fact.csv").stdout
    assert "adopt again" in mount.log()
    check_sales(mount, sales)
    assert "cannot count" not in mount.log()


def test_nobody_reads_while_all_is_counted_as_changed(work, mounts, sales):
    """
    Another database with the same change numbers and times, locked when it is
    first looked at: who comes meanwhile waits for the new times as well.
    """
    set_mode(sales, "delete")
    other = work / "other.db"
    mount = mounts(sales, work / "mnt")
    expected = (mount / PARIS / "fact.csv").read_bytes()
    shutil.copy(sales, other)
    untracked(other, "UPDATE fact SET note = upper(note)")
    seen = {}

    def look(n):
        for _ in range(n):
            with open(mount / PARIS / "fact.csv", "rb") as file:
                st = os.fstat(file.fileno())
                content = file.read()
                key = (st.st_size, int(st.st_mtime))
                assert seen.setdefault(key, content) == content

    look(1)
    db = connect(other)
    db.execute("BEGIN IMMEDIATE")
    os.rename(other, sales)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(look, 20) for _ in range(4)]
        time.sleep(0.06)  # less than the daemon waits for a lock
        db.execute("ROLLBACK")
        db.close()
        for reader in readers:
            reader.result()
    look(1)
    assert len(seen) == 2 and expected in seen.values()
    assert "cannot count" not in mount.log()


@pytest.mark.parametrize("how, mode", [
    ("restore", "wal"), ("restore", "delete"), ("python", "wal"),
    ("python", "delete"), ("mv", "wal"), ("mv", "delete"), ("cp", "delete")])
@pytest.mark.parametrize("watched", [True, False])
def test_restored_from_a_backup(work, mounts, sales, how, mode, watched):
    """Change numbers go back and are given out again for other content."""
    set_mode(sales, mode)
    mount = mounts(sales, work / "mnt")
    for i in range(2):
        step(sales, i, "first")
        check_sales(mount, sales)
    backup = work / "backup"
    sqlite(sales, f".backup {backup}")
    for i in range(4):
        step(sales, i + 3, "lost")
        check_sales(mount, sales)
    put_back(how, backup, sales)
    if watched:
        check_sales(mount, sales)
    for i in range(4):
        step(sales, i + 3, "other")
        if watched:
            check_sales(mount, sales)
    check_sales(mount, sales)
    assert mount.unmount() == 0
    again = mounts(sales, work / "mnt2")
    check_sales(again, sales)


@pytest.mark.parametrize("how", ["restore", "mv"])
def test_restored_while_not_mounted(work, mounts, sales, how):
    """What the store remembers is of a history that did not happen."""
    backup = work / "backup"
    first = mounts(sales, work / "mnt")
    check_sales(first, sales)
    sqlite(sales, f".backup {backup}")
    for i in range(4):
        step(sales, i, "lost")
        check_sales(first, sales)
    assert first.unmount() == 0
    put_back(how, backup, sales)
    for i in range(4):
        step(sales, i, "other")
    second = mounts(sales, work / "mnt2")
    check_sales(second, sales)


def test_killed_then_restored(work, mounts, sales):
    backup = work / "backup"
    first = mounts(sales, work / "mnt")
    check_sales(first, sales)
    sqlite(sales, f".backup {backup}")
    for i in range(4):
        step(sales, i, "lost")
        check_sales(first, sales)
    first.kill()
    run("umount", "-l", first.path)
    put_back("mv", backup, sales)
    for i in range(4):
        step(sales, i, "other")
    check_sales(mounts(sales, work / "mnt2"), sales)


def test_replaced_by_another_adopted_database(work, mounts, sales):
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    other = values_db(work / "other.db", ["a", "b"])
    with contextlib.closing(connect(other)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    settle(sales)
    os.rename(sales, work / "away.db")
    os.rename(other, sales)
    wait_for("another model",
             lambda: health(mount).get("model", {}).get("name") == "values")
    assert sorted(os.listdir(mount / "data")) == ["a", "b"]
    check_values(mount, sales)
    assert not (mount / PARIS).exists()
    assert os.listdir(mount / "setup") == []
    settle(sales)
    os.rename(work / "away.db", sales)
    wait_for("the old model",
             lambda: health(mount).get("model", {}).get("name") == "sales")
    check_sales(mount, sales)


@pytest.mark.parametrize("what", ["random", "empty", "not adopted",
                                  "directory"])
def test_replaced_by_nothing_good(work, mounts, sales, what):
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    settle(sales)
    os.rename(sales, work / "away.db")
    if what == "directory":
        sales.mkdir()
    elif what == "not adopted":
        run("sqlite3", "-cmd", ".timeout 10000", sales,
            "CREATE TABLE x(y)")
    else:
        sales.write_bytes(os.urandom(8192) if what == "random" else b"")
    gone(mount, sales)
    if what == "directory":
        sales.rmdir()
    os.rename(work / "away.db", sales)
    wait_for("recovery", lambda: health(mount)["health"] == "ok")
    check_sales(mount, sales)


def test_abandoned_and_adopted_while_mounted(work, mounts, sales):
    mount = mounts(sales, work / "mnt")
    check_sales(mount, sales)
    run(OUTBOXFS, "abandon", sales)
    gone(mount, sales)
    assert "adopt" in health(mount)["message"]
    adopt(sales, SALES)
    wait_for("recovery", lambda: health(mount)["health"] == "ok")
    check_sales(mount, sales)
    sqlite(sales, "UPDATE fact SET note = 'x' WHERE id = 1")
    check_sales(mount, sales)
    adopt(sales, {**SALES, "name": "again"})
    check_sales(mount, sales)
    assert health(mount)["model"]["name"] == "again"


def test_truncated_while_mounted(work, mounts, sales):
    set_mode(sales, "delete")
    whole = sales.read_bytes()
    mount = mounts(sales, work / "mnt")
    os.truncate(sales, 4096)
    with pytest.raises(OSError):
        (mount / PARIS / "fact.csv").read_bytes()
    assert health(mount)["health"] == "error"
    with open(sales, "r+b") as file:
        file.write(whole)
    wait_for("recovery", lambda: health(mount)["health"] == "ok")
    check_sales(mount, sales)
    assert mount.process.poll() is None
