"""Every file of the tree is what an independent query of the database gives."""
import hashlib
import json
import os
import pathlib
import shutil
import time

import pytest

import expect
import outbox
from expect import Text, Tree, connect
from outbox import OUTBOXFS, SALES, adopt, run, sqlite

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = pathlib.Path(os.environ.get(
    "OUTBOXFS_SHARED", ROOT.parent / "shared/data"))

SAHANA = {
    "name": "relief",
    "pov": [
        {"name": "location", "table": "location", "key": "id", "label": "path"},
        {"name": "category", "table": "category", "key": "id", "label": "name"},
        {"name": "period"},
    ],
    "setup": "*",
    "data": [{"table": "fact", "pov": {
        "location": "location_id", "category": "category_id",
        "period": "period"}}],
}

# Two data tables that share no POV: the first dimension is an artist's album
# or a customer, and a NULL (tracks without a genre, invoices without a state)
# is a value like others.
CHINOOK = {
    "name": "music",
    "pov": [
        {"name": "album", "table": "Album", "key": "AlbumId", "label": "Title"},
        {"name": "media", "table": "MediaType", "key": "MediaTypeId",
         "label": "Name"},
        {"name": "genre", "table": "Genre", "key": "GenreId", "label": "Name"},
    ],
    "setup": ["Artist", "Album", "Customer", {"table": "Employee", "order": [
        "LastName", "FirstName"]}, "Genre", "Invoice", "InvoiceLine",
        "MediaType", "Playlist", "PlaylistTrack"],
    "data": [{"table": "Track", "order": ["Name"], "pov": {
        "album": "AlbumId", "media": "MediaTypeId", "genre": "GenreId"}}],
}

INVOICES = {
    "name": "invoices",
    "pov": [
        {"name": "country"},
        {"name": "state"},
        {"name": "customer", "table": "Customer", "key": "CustomerId",
         "label": "LastName"},
    ],
    "setup": "*",
    "data": [{"table": "Invoice", "order": ["InvoiceDate"], "pov": {
        "country": "BillingCountry", "state": "BillingState",
        "customer": "CustomerId"}}],
}

HANDMADE_SQL = """
CREATE TABLE location(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE category(id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE "a table, quoted ""so""/there"(
  "a,b" TEXT, [say "x"] INTEGER, "two
lines" NUMERIC, "order" BLOB, [\ufefffirst] REAL);
CREATE TABLE one(only_column TEXT);
CREATE TABLE no_rows(a INTEGER, b TEXT);
CREATE TABLE bom("\ufeffname" TEXT, b);
CREATE TABLE fact(location_id INTEGER, category_id TEXT, period,
  seq INTEGER, amount NUMERIC, double_amount AS (amount * 2) STORED,
  note AS (upper(note_text)), note_text TEXT);
CREATE TABLE second(id INTEGER PRIMARY KEY, location_id INTEGER NOT NULL,
  category_id TEXT NOT NULL, period TEXT NOT NULL, v REAL);
CREATE TABLE process_status(location_id INTEGER NOT NULL,
  category_id TEXT NOT NULL, period TEXT NOT NULL, rule_id INTEGER NOT NULL,
  flag INTEGER, PRIMARY KEY(rule_id, period, category_id, location_id)
) WITHOUT ROWID;
INSERT INTO location VALUES(1, 'Paris'), (2, 'Paris'), (3, 'São/Tomé'),
  (4, '100 %'), (5, 'paris'), (6, ''), (7, '..'), (8, 'unused');
INSERT INTO category VALUES('a', 'Actual'), ('B', 'Budget "B", old'),
  ('7', 'Twin'), ('8', 'twin');
INSERT INTO "a table, quoted ""so""/there" VALUES
  ('x,y', 1, 2.50, x'00ff', 1), ('"', -1, 1e300, 'text', 0.1),
  ('', NULL, NULL, NULL, NULL), (NULL, 'text', 'two
lines', '12', 1e999);
INSERT INTO one VALUES(NULL), (''), ('a'), ('1'), (' '), (char(0xfeff));
INSERT INTO bom VALUES('x', 1);
INSERT INTO fact(location_id, category_id, period, seq, amount, note_text)
  SELECT l.id, c.id, p.value, (l.id * 7 + p.key * 3 + n.value) % 5,
    n.value / 4.0, 'n ' || n.value
  FROM (SELECT id FROM location WHERE id < 8 UNION SELECT NULL) AS l,
  category AS c, json_each('["2026-01", 2026, 2026.5, null, ""]') AS p,
  json_each('[1, 2, 3, 4]') AS n WHERE c.id < '8' OR l.id = 1;
INSERT INTO fact(location_id, category_id, period) VALUES(99, 'gone', 'x');
INSERT INTO second(location_id, category_id, period, v)
  VALUES(1, 'a', '2026-01', 1), (1, 'a', '2026-02', 2), (8, 'a', 'only', -0.5);
INSERT INTO process_status VALUES(1, 'a', '2026-01', 2, 1),
  (1, 'a', '2026-01', 1, 0), (3, 'B', 'status only', 1, 0);
"""

HANDMADE = {
    **SALES, "name": "handmade",
    "data": [
        {"table": "fact", "order": ["seq", "amount"], "pov": {
            "location": "location_id", "category": "category_id",
            "period": "period"}},
        {"table": "second", "pov": {
            "location": "location_id", "category": "category_id",
            "period": "period"}},
    ],
}


def make_shared(name, model):
    def make(path):
        shutil.copyfile(SHARED / name, path)
        adopt(path, model)
        return model
    return make


def make_sample(path):
    run(ROOT / "scripts/make-sample", path,
        env={**os.environ, "OUTBOXFS": os.path.abspath(OUTBOXFS)})
    return json.loads((ROOT / "scripts/sample/model.json").read_text())


def make_handmade(path):
    db = connect(path)
    db.executescript(HANDMADE_SQL)
    db.close()
    adopt(path, HANDMADE)
    return HANDMADE


CASES = {"handmade": make_handmade}
if (ROOT / "scripts/make-sample").exists():
    CASES["sample"] = make_sample
if (SHARED / "sahana.db").exists():
    CASES["sahana"] = make_shared("sahana.db", SAHANA)
if (SHARED / "chinook.db").exists():
    CASES["chinook tracks"] = make_shared("chinook.db", CHINOOK)
    CASES["chinook invoices"] = make_shared("chinook.db", INVOICES)


def walk(mnt):
    """Relative name -> (bytes, stat) of every file, and all directories."""
    files, dirs = {}, set()
    base = os.fsencode(mnt.path)
    for at, names, leaves in outbox.walk(base):
        below = os.path.relpath(at, base)
        if at == base:  # here the database alone is looked at
            names[:] = [n for n in names if n in (b"data", b"setup")]
        dirs |= {os.path.normpath(os.path.join(below, n)) for n in names}
        for leaf in leaves:
            full = os.path.join(at, leaf)
            with open(full, "rb") as file:
                st = os.stat(full)
                data = file.read()
            assert len(data) == st.st_size, full
            files[os.path.normpath(os.path.join(below, leaf))] = (data, st)
    return files, dirs


def check_names(tree, dirs):
    """Exactly the directories that have rows, under the names of values."""
    wanted = {b"setup", b"data"}
    for path in tree.dirs:
        parts = path.split(b"/")
        wanted |= {b"/".join(parts[:i]) for i in range(1, len(parts) + 1)}
    assert dirs == wanted


def check_files(tree, files):
    shown = {n for n in files if os.path.basename(n) != b"pov.json"}
    assert shown == set(tree.files) | {b"README.md", b"status.json"}
    for name, data in tree.files.items():
        assert files[name][0] == data, name


def check_storage_classes(tree, path, files):
    """Each file, read strictly, gives the values and their classes."""
    db = connect(path)
    for t in tree.setup:
        rows = db.execute(t.select()).fetchall()
        name = b"setup/" + expect.name_text(Text(f"{t.name}.csv".encode()))
        records = expect.parse(files[name][0])
        assert [p.decode() for p, _ in records[0]] == t.columns
        check_rows(t, rows, records[1:])
    for t in tree.slots:
        rows = db.execute(t.select()).fetchall()
        name = b"/" + expect.name_text(Text(f"{t.name}.csv".encode()))
        found = []
        for d in tree.dirs:
            if d + name in files:
                found += expect.parse(files[d + name][0])[1:]
        # The sum of all POVs is the table.
        key = [repr(r) for r in rows]
        read = [[expect.value(p, q, a)
                 for (p, q), a in zip(r, t.affinities)] for r in found]
        assert sorted(repr(tuple(r)) for r in read) == sorted(key), t.name
    db.close()


def check_rows(t, rows, records):
    assert len(rows) == len(records), t.name
    for row, fields in zip(rows, records):
        assert len(fields) == len(row), (t.name, row)
        for v, (piece, quoted), a in zip(row, fields, t.affinities):
            assert expect.same(expect.value(piece, quoted, a), v), (t.name, v)


def json_value(v):
    return v.decode() if isinstance(v, Text) else v


def check_pov_json(tree, files):
    """Values and labels as they are, and what is said of each file."""
    dims = [d["name"] for d in tree.model["pov"]]
    for path, values in tree.dirs.items():
        doc = json.loads(files[path + b"/pov.json"][0])
        assert list(doc["pov"]) == dims
        for i, (name, v) in enumerate(zip(dims, values)):
            said = doc["pov"][name]
            assert expect.same(said["value"], json_value(v)), path
            if v in tree.labels[i]:
                label = json_value(tree.label(i, v)[0])
                assert expect.same(said["label"], label), path
            else:
                assert "label" not in said, path
            # The name, taken apart, is the label, and the key if shared.
            assert path.split(b"/")[1 + i] == tree.name(i, v)
        present = {n for n in tree.slots if path + b"/" + expect.name_text(
            Text(f"{n.name}.csv".encode())) in tree.files}
        assert set(doc["tables"]) == {t.name for t in present}
        for t in present:
            name = path + b"/" + expect.name_text(Text(f"{t.name}.csv".encode()))
            data, st = files[name]
            said = doc["tables"][t.name]
            assert said["bytes"] == len(data)
            assert said["rows"] == len(expect.parse(data)) - 1
            assert said["sha256"] == hashlib.sha256(data).hexdigest()
            assert said["time"] == time.strftime(
                "%Y-%m-%dT%H:%M:%SZ", time.gmtime(st.st_mtime))
            assert isinstance(said["change"], int)


def check_reimport(tree, path, files, work):
    """By the sqlite3 command: import, EXCEPT both ways, nothing is left."""
    db, csv = work / "again.db", work / "again.csv"
    for t in tree.setup:
        name = b"setup/" + expect.name_text(Text(f"{t.name}.csv".encode()))
        csv.write_bytes(files[name][0])
        assert expect.reimport_differences(path, t, csv, db) == "", t.name
    for t in tree.slots:
        leaf = b"/" + expect.name_text(Text(f"{t.name}.csv".encode()))
        header = t.header()
        with open(csv, "wb") as out:
            out.write(header)
            for d in tree.dirs:
                if d + leaf in files:
                    out.write(files[d + leaf][0][len(header):])
        assert expect.reimport_differences(path, t, csv, db) == "", t.name


@pytest.mark.parametrize("case", CASES)
def test_every_file_equals_an_independent_query(case, work, mounts):
    path = work / "a.db"
    model = CASES[case](path)
    mnt = mounts(path, work / "mnt")
    files, dirs = walk(mnt)
    tree = Tree(path, model)
    check_names(tree, dirs)
    check_files(tree, files)
    check_storage_classes(tree, path, files)
    check_pov_json(tree, files)
    check_reimport(tree, path, files, work)


VALUES = [
    "NULL", "''", "' '", "'a'", "'ä'", "char(0xfeff)", "char(0xfeff) || 'x'",
    "x''", "x'00'", "x'5c78'", "x'0001fffe80'", "zeroblob(300)",
    "0", "1", "-1", "9007199254740991", "9007199254740992", "9007199254740993",
    "-9007199254740993", "9223372036854775807", "-9223372036854775808",
    "0.0", "-0.0", "1.0", "0.1", "-0.5", "1e15", "1e16", "123456789012345678.0",
    "9007199254740993.0", "1e22", "1e-5", "0.00001234", "1e-6", "1e300",
    "1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "1e999",
    "-1e999", "0.1 + 0.2", "1.0 / 3", "100.0 / 3", "4.35", "2.675", "1e23",
    "'0'", "'1'", "'-1'", "'+1'", "'007'", "'1.0'", "'1.'", "'.5'", "'-.5'",
    "'1e5'", "'1E+5'", "'1e'", "'e5'", "'.'", "'-'", "'+'", "'1 '", "' 1'",
    "'1_0'", "'0x10'", "'inf'", "'-Inf'", "'nan'", "'NULL'", "'null'",
    "'9223372036854775808'", "'99999999999999999999999'", "'1e999'", "'-0'",
    "'-0.0'", "'12abc'", "'1,5'", "'true'", "'2026-01-01'", "'12:30'",
    "'\\x'", "'\\x00'", "'\\X00'", "'\\'", "'\\xzz'", "'a\\x00'",
    "'a,b'", "'\"'", "'\"\"'", "'\"a\"'", "'a\"b'", "','", "''''",
    "'a' || char(10) || 'b'", "char(10)", "char(13)", "char(13, 10)",
    "'a' || char(13)", "char(9)", "'a' || char(9) || 'b'",
    "CAST(x'610062' AS TEXT)", "CAST(x'00' AS TEXT)", "CAST(x'31003200' AS TEXT)",
    "CAST(x'ff' AS TEXT)", "CAST(x'61c3' AS TEXT)", "CAST(x'eda080' AS TEXT)",
    "char(0x1f600)", "char(0x85)", "char(0x2028)", "char(0)",
    "printf('%.*c', 70000, 'x')", "printf('%.*c', 8192, '\"')",
]

TYPES = ["INTEGER", "REAL", "TEXT", "NUMERIC", "BLOB", "", "VARCHAR(10)",
         "DOUBLE PRECISION", "DATETIME", "BIGINT UNSIGNED", "CLOB", "STRING",
         "BOOLEAN", "FLOATING POINT", "CHARINT"]


def fill(db, table, columns, pov=""):
    for i, v in enumerate(VALUES):
        for j in range(columns):
            db.execute(f"INSERT INTO {table}(id, {pov and 'p, '}c{j})"
                       f" VALUES({i * 100 + j}, {pov and pov + ', '}{v})")


@pytest.fixture
def typed(work):
    path = work / "typed.db"
    db = connect(path)
    columns = ", ".join(f"c{j} {t}" for j, t in enumerate(TYPES))
    db.executescript(
        f"CREATE TABLE setup_typed(id INTEGER PRIMARY KEY, {columns});"
        f"CREATE TABLE fact(id INTEGER PRIMARY KEY, p TEXT NOT NULL, {columns});"
        "CREATE TABLE strict_typed(id INTEGER PRIMARY KEY, c0 ANY) STRICT;"
        f"CREATE TABLE keyed(id INTEGER, {columns}, PRIMARY KEY(id))"
        " WITHOUT ROWID; BEGIN;")
    fill(db, "setup_typed", len(TYPES))
    fill(db, "fact", len(TYPES), "'p'")
    fill(db, "keyed", len(TYPES))
    fill(db, "strict_typed", 1)
    db.execute("COMMIT")
    db.close()
    adopt(path, TYPED)
    return path


TYPED = {"name": "typed", "pov": [{"name": "p"}], "setup": "*",
         "data": [{"table": "fact", "order": ["id"], "pov": {"p": "p"}}]}


def test_round_trip_of_every_storage_class_in_every_affinity(
        typed, work, mounts):
    mnt = mounts(typed, work / "mnt")
    tree = Tree(typed, TYPED)
    for t in tree.setup + tree.slots:
        # ANY of a STRICT table keeps what it is given, as BLOB affinity does.
        if t.name == "strict_typed":
            t.affinities = ["INTEGER", "BLOB"]
        where = "data/p" if t.pov else "setup"
        data = (mnt / where / f"{t.name}.csv").read_bytes()
        db = connect(typed)
        rows = db.execute(t.select()).fetchall()
        db.close()
        records = expect.parse(data)
        check_rows(t, rows, records[1:])
        # And byte for byte, which also says that nothing else is quoted.
        wanted = [t.header()] + [t.line(r) for r in rows]
        got = data
        for line in wanted:
            assert got.startswith(line), (t.name, line[:80], got[:80])
            got = got[len(line):]
        assert got == b""


def test_values_written_back_by_their_text_are_equal(typed, work, mounts):
    """INSERT of what each field says, by another connection: same classes."""
    mnt = mounts(typed, work / "mnt")
    tree = Tree(typed, TYPED)
    again = connect(work / "again.db")
    for t in tree.setup + tree.slots:
        if t.name == "strict_typed":
            t.affinities = ["INTEGER", "BLOB"]
        where = "data/p" if t.pov else "setup"
        db = connect(typed)
        sql = db.execute("SELECT sql FROM sqlite_schema WHERE name = ?",
                         (t.name,)).fetchone()[0]
        rows = db.execute(t.select()).fetchall()
        db.close()
        again.execute(sql.decode())
        again.execute("BEGIN")
        records = expect.parse((mnt / where / f"{t.name}.csv").read_bytes())
        for r in records[1:]:
            values = [expect.value(p, q, a)
                      for (p, q), a in zip(r, t.affinities)]
            marks = ", ".join(
                "CAST(? AS TEXT)" if isinstance(v, Text) else "?"
                for v in values)
            again.execute(f"INSERT INTO {expect.quote(t.name)} VALUES({marks})",
                          values)
        again.execute("COMMIT")
        for row, want in zip(again.execute(t.select()), rows, strict=True):
            assert all(map(expect.same, row, want)), (t.name, row, want)
    again.close()


def test_null_and_empty_text_differ_in_every_place(work, mounts):
    path = work / "n.db"
    sqlite(path, "CREATE TABLE one(a TEXT); CREATE TABLE two(a TEXT, b TEXT);"
           "CREATE TABLE fact(p TEXT, a TEXT);"
           "INSERT INTO one VALUES(NULL), (''), ('x');"
           "INSERT INTO two VALUES(NULL, NULL), ('', NULL), (NULL, ''), ('', '');"
           "INSERT INTO fact VALUES('', NULL), (NULL, ''), (NULL, NULL)")
    adopt(path, TYPED | {"data": [{"table": "fact", "pov": {"p": "p"}}]})
    mnt = mounts(path, work / "mnt")
    assert (mnt / "setup/one.csv").read_bytes() == b'a\n\n""\nx\n'
    assert (mnt / "setup/two.csv").read_bytes() == (
        b'a,b\n,\n"",\n,""\n"",""\n')
    assert sorted(os.listdir(mnt / "data")) == ["%", "%null"]
    assert (mnt / "data/%/fact.csv").read_bytes() == b'p,a\n"",\n'
    assert (mnt / "data/%null/fact.csv").read_bytes() == b'p,a\n,""\n,\n'


def test_empty_tables_have_a_header_and_no_directories(work, mounts):
    path = work / "e.db"
    sqlite(path, "CREATE TABLE one(a TEXT, b); CREATE TABLE fact(p TEXT, a)")
    adopt(path, TYPED | {"data": [{"table": "fact", "pov": {"p": "p"}}]})
    mnt = mounts(path, work / "mnt")
    assert (mnt / "setup/one.csv").read_bytes() == b"a,b\n"
    assert os.listdir(mnt / "data") == []
