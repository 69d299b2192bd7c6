"""Each verb as a person types it: what it prints, where, and how it ends."""
import copy
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import tempfile

import pytest

from outbox import OUTBOXFS, SALES, SALES_SQL, run

VERBS = ["abandon", "abort", "adopt", "export", "init", "jobs", "model",
         "mount", "purge", "status", "verify", "wait", "watch"]
# These take any number of words behind the database.
TALKATIVE = ["export", "purge"]


def ours(*args, **kwargs):
    return run(OUTBOXFS, *args, check=False, **kwargs)


def refused(*args, **kwargs):
    """A sentence on stderr, nothing on stdout, exit status 1."""
    done = ours(*args, **kwargs)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.startswith("outboxfs: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def misused(*args):
    """What is wrong and where help is, on stderr; exit status 2."""
    done = ours(*args)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("outboxfs: "), done.stderr
    assert "--help" in done.stderr
    return done.stderr


def schema(path):
    """The whole schema, in the order in which it is stored."""
    with sqlite3.connect(path) as db:
        return db.execute("SELECT * FROM sqlite_schema ORDER BY rowid"
                          ).fetchall()


def objects(path):
    """The schema without root pages, and without SQLite's own tables."""
    return {row[:3] + row[4:] for row in schema(path)
            if not row[1].startswith("sqlite_seq")}


def rows(path, *tables):
    with sqlite3.connect(path) as db:
        return {t: db.execute(f'SELECT rowid, * FROM "{t}" ORDER BY rowid'
                              ).fetchall() for t in tables}


def make(path, sql=SALES_SQL):
    db = sqlite3.connect(path)
    db.executescript(sql)
    db.close()
    return path


@pytest.fixture
def db(tmp_path):
    return make(tmp_path / "sales.db", SALES_SQL.replace(
        "PRIMARY KEY(location_id, category_id, period, rule_id)",
        "UNIQUE(location_id, category_id, period, rule_id)"))


@pytest.fixture
def model(tmp_path):
    """Writes a model and returns the name of its file."""
    def write(document):
        path = tmp_path / "model.json"
        if isinstance(document, bytes):
            path.write_bytes(document)
        else:
            text = document if isinstance(document, str) \
                else json.dumps(document)
            path.write_text(text, encoding="utf-8")
        return path
    return write


# Help, version, usage.


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_fits_a_terminal(verb):
    done = ours(*([verb] if verb else []), "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("usage: outboxfs ")
    assert done.stdout.endswith("\n")
    for line in done.stdout.splitlines():
        assert len(line) <= 80, line
    if verb:
        assert f"outboxfs {verb}" in done.stdout
    else:
        for name in VERBS:
            assert re.search(rf"^  {name} +\S", done.stdout, re.M)


def test_no_command_is_misuse():
    done = ours()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage" in done.stderr


def test_unknown_command_is_named():
    assert "unknown command 'adpot'" in misused("adpot")


def test_two_words_without_a_command_are_a_mount(tmp_path):
    """As mount(8) calls us, and what a typing error there says."""
    (tmp_path / "mnt").mkdir()
    for name in ("nix.db", "./nix", f"{tmp_path}/nix"):
        text = refused(name, "mnt", cwd=tmp_path)
        assert f"cannot find database '{name}'" in text, text
    (tmp_path / "plain").touch()
    assert "not adopted" in refused("plain", "mnt", cwd=tmp_path)
    text = misused("adpot", "sales")
    assert "unknown command 'adpot', and no database" in text, text


def test_version():
    done = ours("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"outboxfs \d+\.\d+\S*\n", done.stdout)
    source = pathlib.Path(__file__).parents[2] / "meson.build"
    version = re.search(r"version: *'([^']+)'", source.read_text())[1]
    assert done.stdout == f"outboxfs {version}\n"


@pytest.mark.parametrize("words", [
    ["--help"], ["--version"], ["adopt", "--help"], ["model"], ["status"],
    ["status", "--json"]])
@pytest.mark.parametrize("pad", [0, 100000])
def test_output_that_does_not_arrive_is_a_failure(db, model, words, pad):
    run(OUTBOXFS, "adopt", db, "--model", model(dict(SALES, name="x" + " " * pad)))
    last = [] if words[-1] in ("--help", "--version") else [db]
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = ours(*words, *last, stdout=full)
    assert done.returncode == 1, done
    assert "standard output" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("option", ["--nonsense", "-z", "--nonsense=1"])
def test_unknown_option(verb, option, db):
    assert f"unknown option '{option}'" in misused(verb, option, db)


@pytest.mark.parametrize("verb", VERBS)
def test_missing_argument(verb):
    assert "needed" in misused(verb)


@pytest.mark.parametrize("verb", [v for v in VERBS if v not in TALKATIVE])
def test_too_many_arguments(verb, tmp_path):
    args = [tmp_path / name for name in ("a", "b", "c")]
    assert "needed" in misused(verb, *args)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("args", [
    ("adopt", "x.db", "--model"), ("mount", "x.db", "mnt", "-o")])
def test_option_without_its_value(args):
    assert "needs a value" in misused(*args)


@pytest.mark.parametrize("args", [
    ("adopt", "x.db", "--suggest=yes"), ("status", "--json=1", "x.db"),
    ("mount", "-fx", "x.db", "mnt")])
def test_flag_with_a_value(args):
    assert "takes no value" in misused(*args)


def test_suggest_stands_alone(db, model):
    assert "alone" in misused("adopt", db, "--suggest", "--model",
                              model(SALES))
    assert "alone" in misused("adopt", db, "--suggest", "--no-index")


# A path that is an option, an URI, or odd, is still a path.


@pytest.mark.parametrize("name", [
    "a,b.db", "a b.db", "a\\b.db", "a?mode=ro.db", "a#b.db", "a%41.db",
    "Zürich.db", "it's.db", 'say "x".db', "file:x.db", ":memory:", "new\nline.db",
])
def test_any_file_name(name, tmp_path, model):
    make(tmp_path / name)
    run(OUTBOXFS, "adopt", name, "--model", model(SALES), cwd=tmp_path)
    assert json.loads(run(OUTBOXFS, "model", name, cwd=tmp_path).stdout
                      ) == SALES
    status = json.loads(run(OUTBOXFS, "status", name, "--json",
                            cwd=tmp_path).stdout)
    assert status["database"] == str(tmp_path / name)
    run(OUTBOXFS, "abandon", name, cwd=tmp_path)
    found = {e for e in os.listdir(tmp_path)
             if not e.endswith(("-wal", "-shm"))}
    assert found == {name, "model.json"}


def test_leading_dash(tmp_path, model):
    make(tmp_path / "-x.db")
    model(SALES)
    for path in ("./-x.db",):
        run(OUTBOXFS, "adopt", path, "--model", "model.json", cwd=tmp_path)
    run(OUTBOXFS, "adopt", "--model", "model.json", "--", "-x.db",
        cwd=tmp_path)
    run(OUTBOXFS, "abandon", "--", "-x.db", cwd=tmp_path)
    assert "unknown option" in misused("abandon", "-x.db")


def test_double_slash(db, model):
    """What "$dir/x.db" becomes where dir ends in a slash, or is one."""
    run(OUTBOXFS, "adopt", f"/{db}", "--model", model(SALES))
    assert json.loads(run(OUTBOXFS, "model", f"/{db}").stdout) == SALES
    run(OUTBOXFS, "abandon", f"/{db}")


# init


@pytest.fixture
def new(tmp_path):
    done = run(OUTBOXFS, "init", tmp_path / "new.db")
    assert str(tmp_path / "new.db") in done.stdout
    assert done.stderr == ""
    return tmp_path / "new.db"


def test_init_makes_the_tables(new):
    assert os.listdir(new.parent) == ["new.db"]
    with sqlite3.connect(new) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = {n for (n,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert names >= {
        "source_system", "target_application", "location", "import_format",
        "category", "category_mapping", "period", "period_mapping",
        "load_rule", "member_mapping", "data_segment", "mapping_segment",
        "process_status", "process",
    }
    found = json.loads(run(OUTBOXFS, "model", new).stdout)
    assert [d["name"] for d in found["pov"]] == \
        ["location", "category", "period"]
    assert {d["table"] for d in found["data"]} == \
        {"data_segment", "mapping_segment"}


VALID = """
INSERT INTO source_system(id, name) VALUES(1, 'Ledger');
INSERT INTO target_application(id, name) VALUES(1, 'Plan');
INSERT INTO location(id, name) VALUES(1, 'Paris');
INSERT INTO category(id, name) VALUES(1, 'Actual');
INSERT INTO category_mapping VALUES(1, 1, 'ACT');
INSERT INTO period VALUES(1, '2026-01', '2026-01-01', '2026-01-31', 2026);
INSERT INTO load_rule(id, name, location_id, category_id)
  VALUES(1, 'Close', 1, 1);
INSERT INTO data_segment(location_id, category_id, period_id, id,
  load_rule_id, account, amount) VALUES(1, 1, 1, 1, 1, '4000', 12.5);
"""


@pytest.fixture
def valid(new):
    db = sqlite3.connect(new, isolation_level=None)
    db.execute("PRAGMA foreign_keys=ON")
    db.executescript(VALID)
    yield db
    db.close()


@pytest.mark.parametrize("sql, why", [
    ("INSERT INTO location(name) VALUES('Paris')", "UNIQUE"),
    ("INSERT INTO location(name) VALUES(NULL)", "NOT NULL"),
    ("INSERT INTO location(name, currency) VALUES('x', 'EURO')", "CHECK"),
    ("INSERT INTO location(name, parent_id) VALUES('x', 99)", "FOREIGN"),
    ("INSERT INTO source_system(name, kind) VALUES('x', 'magic')", "CHECK"),
    ("INSERT INTO source_system(name, enabled) VALUES('x', 2)", "CHECK"),
    ("INSERT INTO period VALUES(2, 'x', '2026-02-01', '2026-01-01', 2026)",
     "CHECK"),
    ("INSERT INTO category_mapping VALUES(99, 1, 'x')", "FOREIGN"),
    ("INSERT INTO load_rule(name, location_id, category_id)"
     " VALUES('x', 1, 99)", "FOREIGN"),
    ("INSERT INTO data_segment(location_id, category_id, period_id, id,"
     " load_rule_id, account) VALUES(9, 1, 1, 1, 1, 'x')", "FOREIGN"),
    ("INSERT INTO data_segment(location_id, category_id, period_id, id,"
     " load_rule_id, account) VALUES(1, 1, 1, 1, 1, 'x')", "UNIQUE"),
    ("INSERT INTO data_segment(location_id, category_id, period_id, id,"
     " load_rule_id, account) VALUES(1, 1, 1, 2, 1, NULL)", "NOT NULL"),
    ("DELETE FROM location WHERE id = 1", "FOREIGN"),
])
def test_init_tables_reject_bad_rows(valid, sql, why):
    with pytest.raises(sqlite3.IntegrityError, match=why):
        valid.execute(sql)


def test_init_process_status(valid):
    """A flag that is 0 or 1 and a note for each step."""
    columns = [r[1] for r in valid.execute("PRAGMA table_info(process_status)")]
    for step in ("import", "validate", "export", "load", "check"):
        flag = f"{step}_flag"
        assert flag in columns and f"{step}_note" in columns
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            valid.execute(
                f"INSERT INTO process_status(location_id, category_id,"
                f" period_id, load_rule_id, {flag}) VALUES(1, 1, 1, 1, 2)")


def test_init_leaves_an_existing_file_alone(tmp_path):
    for name, content in (("a", b""), ("b", b"anything"),
                          ("c", b"SQLite format 3\0")):
        path = tmp_path / name
        path.write_bytes(content)
        text = refused("init", path)
        assert str(path) in text and "adopt" in text
        assert path.read_bytes() == content
    (tmp_path / "d").mkdir()
    assert str(tmp_path / "d") in refused("init", tmp_path / "d")
    os.symlink("e", tmp_path / "link")
    assert str(tmp_path / "link") in refused("init", tmp_path / "link")
    assert os.path.islink(tmp_path / "link")
    assert not os.path.lexists(tmp_path / "e")


def test_init_by_several_at_once_makes_one_database(tmp_path):
    """Those who come late do not remove what the first has made."""
    for i in range(10):
        path = tmp_path / f"{i}.db"
        done = run("sh", "-c", 'for i in 1 2 3 4; do "$0" init "$1" & done;'
                   " wait", OUTBOXFS, path)
        assert done.stdout.count("made") == 1
        assert done.stderr.count("exists already") == 3
        assert ours("status", path).returncode == 0


def test_init_where_nothing_can_be_made(tmp_path):
    assert str(tmp_path / "no/x.db") in refused("init", tmp_path / "no/x.db")
    assert os.listdir(tmp_path) == []
    refused("init", "/proc/x.db")


def test_init_beside_the_log_of_a_database_that_was(tmp_path):
    """-wal and -journal of another file must not become part of a new one."""
    make(tmp_path / "x.db")
    db = sqlite3.connect(tmp_path / "x.db")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE old(x)")
    db.commit()
    (tmp_path / "wal").write_bytes((tmp_path / "x.db-wal").read_bytes())
    db.close()
    os.rename(tmp_path / "wal", tmp_path / "new.db-wal")
    run(OUTBOXFS, "init", tmp_path / "new.db")
    names = {row[1] for row in schema(tmp_path / "new.db")}
    assert "old" not in names and "location" in names


# adopt, model, abandon


def test_adopt_says_what_it_did(db, model):
    done = run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    assert done.stderr == ""
    assert done.stdout == (f"{db}: adopted; 2 setup tables, 2 data tables,"
                           f" 12 points of view\n")


def test_adopt_changes_no_row_and_no_table_of_theirs(db, model):
    tables = ("location", "category", "fact", "process_status")
    before, was = objects(db), rows(db, *tables)
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    assert rows(db, *tables) == was
    assert objects(db) >= before
    assert all(row[1].startswith("outboxfs_")
               or row[1].startswith("sqlite_autoindex_outboxfs_")
               for row in objects(db) - before)


@pytest.mark.parametrize("how", ["--model FILE", "--model=FILE", "--model -"])
def test_adopt_ways_to_give_the_model(db, model, how):
    path = model(SALES)
    words = how.replace("FILE", str(path)).split()
    with open(path, encoding="utf-8") as file:
        run(OUTBOXFS, "adopt", db, *words, stdin=file)
    assert json.loads(run(OUTBOXFS, "model", db).stdout) == SALES


@pytest.mark.parametrize("text", [
    json.dumps(SALES),
    json.dumps(SALES, indent=7) + "\n",
    "\n\n  " + json.dumps(SALES, indent=1).replace("\n", "\r\n") + "\n\n\n",
    json.dumps({**SALES, "name": "Zürich 'x' \"y\" \\ %s 🙂"},
               ensure_ascii=False) + "\n",
    json.dumps({**SALES, "name": "Zürich 🙂"}) + "\n",
], ids=["bare", "indented", "space", "unicode", "escapes"])
def test_model_comes_back_byte_for_byte(db, model, text):
    run(OUTBOXFS, "adopt", db, "--model", model(text.encode()))
    got = subprocess.run([OUTBOXFS, "model", db], check=True,
                         stdout=subprocess.PIPE).stdout
    assert got == (text if text.endswith("\n") else text + "\n").encode()


def test_adopt_again(db, model):
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    first = objects(db)
    with sqlite3.connect(db) as c:
        c.execute("UPDATE fact SET amount = 1 WHERE id = 1")
        change, = c.execute("SELECT change FROM outboxfs_change").fetchone()
    run(OUTBOXFS, "adopt", db)
    assert objects(db) == first
    with sqlite3.connect(db) as c:
        assert c.execute("SELECT change FROM outboxfs_change"
                         ).fetchone()[0] > change
    other = copy.deepcopy(SALES)
    other["name"] = "other"
    del other["status"]
    run(OUTBOXFS, "adopt", db, "--model", model(other))
    assert json.loads(run(OUTBOXFS, "model", db).stdout) == other
    assert json.loads(run(OUTBOXFS, "status", db, "--json").stdout)[
        "setup_tables"] == 3


def test_adopt_again_after_a_change_of_the_schema(db, model):
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    with sqlite3.connect(db) as c:
        c.execute("ALTER TABLE fact ADD COLUMN extra")
    text = refused("status", db)
    assert "fact" in text and "extra" in text and "adopt again" in text
    run(OUTBOXFS, "adopt", db)
    run(OUTBOXFS, "status", db)
    with sqlite3.connect(db) as c:
        c.execute("DROP TABLE process_status")
    text = refused("status", db)
    assert "process_status" in text and "adopt again" in text
    assert "process_status" in refused("adopt", db)


def test_adopt_without_a_model_at_first(db):
    before = schema(db)
    text = refused("adopt", db)
    assert "--suggest" in text and "--model" in text
    assert schema(db) == before


def test_adopt_no_index(db, model):
    def indexes():
        return [r for r in objects(db) if r[0] == "index" and r[2] == "fact"]

    run(OUTBOXFS, "adopt", db, "--model", model(SALES), "--no-index")
    assert indexes() == []
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    assert len(indexes()) == 1
    run(OUTBOXFS, "adopt", db, "--no-index")
    assert indexes() == []


def test_suggest_prints_a_model_that_fits(tmp_path):
    db = make(tmp_path / "x.db", """
        CREATE TABLE location(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE category(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE period(id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE fact(id INTEGER PRIMARY KEY,
          location_id INTEGER REFERENCES location(id),
          category_id INTEGER REFERENCES category(id),
          period_id INTEGER REFERENCES period(id), amount REAL);
        INSERT INTO location VALUES(1, 'a');
        INSERT INTO category VALUES(1, 'b');
        INSERT INTO period VALUES(1, 'c');
        INSERT INTO fact VALUES(1, 1, 1, 1, 5);
        """)
    before = db.read_bytes()
    done = run(OUTBOXFS, "adopt", db, "--suggest")
    assert db.read_bytes() == before
    assert "fact" in {d["table"] for d in json.loads(done.stdout)["data"]}
    run(OUTBOXFS, "adopt", db, "--model", "-", input=done.stdout)
    assert run(OUTBOXFS, "model", db).stdout == done.stdout


@pytest.mark.parametrize("sql", [
    "", "CREATE TABLE t(x);", "CREATE VIEW v AS SELECT 1 AS x;",
    'CREATE TABLE "a""b"("c d" REFERENCES "a""b"("c d"), "select");',
])
def test_suggest_on_what_gives_no_hint(tmp_path, sql):
    """It may have nothing to suggest; then it says so."""
    db = make(tmp_path / "x.db", "PRAGMA user_version=1;" + sql)
    done = ours("adopt", db, "--suggest")
    if done.returncode == 0:
        json.loads(done.stdout)
    else:
        assert done.returncode == 1 and done.stdout == ""
        assert len(done.stderr) > 20


def test_abandon_leaves_no_trace(db, model):
    tables = ("location", "category", "fact", "process_status")
    before, was = objects(db), rows(db, *tables)
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    done = run(OUTBOXFS, "abandon", db)
    assert str(db) in done.stdout and done.stderr == ""
    assert objects(db) == before
    assert rows(db, *tables) == was
    with sqlite3.connect(db) as c:
        assert c.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    text = refused("abandon", db)
    assert "nothing of outboxfs" in text


def test_abandon_leaves_not_even_a_table_of_sequences(db, model):
    """No table that was not there: sqlite_sequence would be one."""
    before = {row[:3] for row in schema(db)}
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    run(OUTBOXFS, "abandon", db)
    assert {row[:3] for row in schema(db)} == before


def test_abandon_what_init_made(new):
    run(OUTBOXFS, "abandon", new)
    assert not [row for row in schema(new) if "outboxfs" in row[1]]
    assert "location" in {row[1] for row in schema(new)}
    with sqlite3.connect(new) as c:
        c.execute("INSERT INTO location(name) VALUES('Paris')")


def test_abandon_of_half_a_database(db, model):
    """Whatever there is of ours goes, even when other parts are missing."""
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    with sqlite3.connect(db) as c:
        c.execute("DROP TABLE outboxfs_model")
        c.execute("DROP TABLE fact")
    run(OUTBOXFS, "abandon", db)
    assert not [row for row in schema(db) if "outboxfs" in row[1]]


def test_abandon_leaves_names_alike_alone(db, model):
    """_ is a wildcard of LIKE, and LIKE knows no case."""
    with sqlite3.connect(db) as c:
        c.execute("CREATE TABLE outboxfsX(x)")
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    run(OUTBOXFS, "abandon", db)
    assert "outboxfsX" in {row[1] for row in schema(db)}


# Models that do not fit.


def without(*path):
    def edit(m):
        for key in path[:-1]:
            m = m[key]
        del m[path[-1]]
    return edit


def put(value, *path):
    def edit(m):
        for key in path[:-1]:
            m = m[key]
        m[path[-1]] = value
    return edit


MISFITS = {
    "no table": (put("fakt", "data", 0, "table"), ["fakt", "no table"]),
    "no dimension table": (put("ort", "pov", 0, "table"), ["ort"]),
    "no setup table": (put(["location", "nix"], "setup"), ["nix"]),
    "no status table": (put("stat", "status", "table"), ["stat"]),
    "no pov column": (put("loc", "data", 0, "pov", "location"),
                      ["fact", "loc", "location"]),
    "no order column": (put(["idd"], "data", 0, "order"), ["fact", "idd"]),
    "no key column": (put("idd", "pov", 0, "key"), ["location", "idd"]),
    "no label column": (put("title", "pov", 0, "label"),
                        ["location", "title"]),
    "no rule column": (put("rul", "status", "rule"),
                       ["process_status", "rul"]),
    "pov missing": (without("data", 0, "pov"), ["data[0]", "pov"]),
    "pov lacks one": (without("data", 0, "pov", "period"),
                      ["fact", "period"]),
    "pov has one more": (put("x", "data", 0, "pov", "color"),
                         ["data[0]", "color", "dimension"]),
    "status lacks one": (without("status", "pov", "period"),
                         ["process_status", "period"]),
    "key not unique": (put("name", "pov", 0, "key"),
                       ["location", "name", "unique"]),
    "key missing": (without("pov", 0, "key"), ["pov[0]", "key"]),
    "label alone": (lambda m: m["pov"][2].update(label="x"),
                    ["pov[2]", "table"]),
    "dimension twice": (put("location", "pov", 1, "name"), ["pov[1]"]),
    "unknown key": (put(1, "colour"), ["document", "colour"]),
    "unknown key in data": (put(["id"], "data", 0, "ordr"),
                            ["data[0]", "ordr"]),
    "unknown key in pov": (put("x", "pov", 0, "keys"), ["pov[0]", "keys"]),
    "unknown key in status": (put("x", "status", "flag"),
                              ["status", "flag"]),
    "data twice": (lambda m: m["data"].append(dict(m["data"][0])),
                   ["data[1]", "fact", "twice"]),
    "data twice by case": (lambda m: m["data"].append(
        {**m["data"][0], "table": "FACT"}), ["data[1]", "FACT", "twice"]),
    "data and status": (put("fact", "status", "table"), ["fact", "twice"]),
    "data and setup": (put(["fact"], "setup"), ["fact", "twice"]),
    "no dimensions": (put([], "pov"), ["1 to 8"]),
    "no name": (without("name"), ["name"]),
    "empty name": (put("", "name"), ["name"]),
    "no setup": (without("setup"), ["setup"]),
    "setup is a number": (put(5, "setup"), ["setup"]),
    "setup is another text": (put("all", "setup"), ["setup"]),
    "setup lists a number": (put([5], "setup"), ["setup[0]"]),
    "data is an object": (put({}, "data"), ["data"]),
    "table is a number": (put(5, "data", 0, "table"), ["table"]),
    "order is a text": (put("id", "data", 0, "order"), ["order"]),
    "order lists a number": (put([1], "data", 0, "order"), ["order"]),
    "name with NUL": (put("a\0b", "name"), ["name"]),
    "table with NUL": (put("fact\0x", "data", 0, "table"), ["table"]),
    "setup with NUL": (put(["location\0x"], "setup"), ["setup"]),
    "column with NUL": (put("period\0x", "data", 0, "pov", "period"),
                        ["pov"]),
    "order with NUL": (put(["id\0x"], "data", 0, "order"), ["order"]),
    "view": (put("v", "data", 0, "table"), ["'v'", "view"]),
    "view for a dimension": (put("v", "pov", 0, "table"), ["'v'", "view"]),
    "view for setup": (put(["v"], "setup"), ["'v'", "view"]),
    "virtual": (put(["r"], "setup"), ["'r'", "virtual"]),
    "shadow": (put(["r_node"], "setup"), ["'r_node'"]),
    "schema table": (put(["sqlite_schema"], "setup"), ["sqlite_schema"]),
    "sequence table": (put(["sqlite_sequence"], "setup"),
                       ["sqlite_sequence"]),
    "our table": (put(["outboxfs_mine"], "setup"), ["outboxfs_mine"]),
    "our table by case": (put(["OUTBOXFS_mine"], "setup"),
                          ["outboxfs_mine"]),
    "process table": (put({"table": "proc", "key": "id"}, "process"),
                      ["proc"]),
    "process key": (put({"table": "fact", "key": "pid"}, "process"),
                    ["fact", "pid"]),
    "orphan dimension": (put([{"pov": "x", "table": "fact",
                               "column": "id"}], "orphans"), ["'x'"]),
    "orphan column": (put([{"pov": "period", "table": "fact",
                            "column": "pid"}], "orphans"), ["fact", "pid"]),
    "record without key": (put([{"table": "location"}], "records"),
                           ["records[0]", "key"]),
    "record key": (put([{"table": "location", "key": ["uuid"]}],
                       "records"), ["location", "uuid"]),
    "record column": (put([{"table": "location", "key": ["id"],
                            "deleted": "gone"}], "records"),
                      ["location", "gone"]),
    "component": (put([{"table": "location", "key": ["id"], "components":
                        [{"table": "fact", "column": "lid"}]}], "records"),
                  ["fact", "lid"]),
}


@pytest.fixture
def odd(db):
    with sqlite3.connect(db) as c:
        c.execute("CREATE VIEW v AS SELECT * FROM fact")
        c.execute("CREATE VIRTUAL TABLE r USING rtree(id, a, b)")
        c.execute("CREATE TABLE s(id INTEGER PRIMARY KEY AUTOINCREMENT)")
        c.execute("CREATE TABLE outboxfs_mine(id INTEGER PRIMARY KEY)")
    return db


@pytest.mark.parametrize("what", MISFITS)
def test_misfit_is_refused_and_nothing_is_installed(odd, model, what):
    edit, words = MISFITS[what]
    document = copy.deepcopy(SALES)
    edit(document)
    before = odd.read_bytes()
    was = schema(odd)
    text = refused("adopt", odd, "--model", model(document))
    for word in words:
        assert word.lower() in text.lower(), text
    assert schema(odd) == was
    assert odd.read_bytes() == before


@pytest.mark.parametrize("what", ["no table", "no pov column", "view"])
def test_misfit_keeps_the_model_that_was(odd, model, what):
    with sqlite3.connect(odd) as c:
        c.execute("DROP TABLE outboxfs_mine")
    run(OUTBOXFS, "adopt", odd, "--model", model(SALES))
    document = copy.deepcopy(SALES)
    MISFITS[what][0](document)
    was = schema(odd)
    refused("adopt", odd, "--model", model(document))
    assert schema(odd) == was
    assert json.loads(run(OUTBOXFS, "model", odd).stdout) == SALES


@pytest.mark.parametrize("text", [
    b"", b" ", b"{", b"[]", b"5", b"null", b'"x"', b"{} x", b"{\"name\": }",
    b"{'name': 'x'}", b'{"name": "x",}', b"// x\n{}", b'{"name": "\xff"}',
    b'{"name": NaN}', b"\0", b"[" * 100000, b'{"a":' * 100000,
    b"\xef\xbb\xbf{}", b"PK\3\4",
], ids=lambda b: repr(b[:12]))
def test_what_is_no_json_document_is_refused(db, model, text):
    was = schema(db)
    message = refused("adopt", db, "--model", model(text))
    assert "model" in message
    assert schema(db) == was


def test_key_given_twice_is_refused(db, model):
    """The last would win, and what stands before it be lost in silence."""
    text = json.dumps(SALES, indent=1)
    was = schema(db)
    message = refused("adopt", db, "--model", model(
        text[:-2] + ',\n "data": []\n}'))
    assert "'data' is given twice" in message, message
    assert f"line {text.count(chr(10)) + 1} " in message
    assert schema(db) == was


def test_dimensions_one_to_eight(tmp_path, model):
    def adopt(n):
        columns = [f"d{i}" for i in range(n)]
        db = make(tmp_path / f"{n}.db",
                  "CREATE TABLE f(id INTEGER PRIMARY KEY,"
                  f"{','.join(columns)});"
                  f"INSERT INTO f VALUES(1,{','.join('1' * n)});")
        return db, model({
            "name": "x", "pov": [{"name": c} for c in columns], "setup": [],
            "data": [{"table": "f", "pov": {c: c for c in columns}}]})

    for n in (1, 8):
        db, path = adopt(n)
        assert "1 points of view" in run(OUTBOXFS, "adopt", db, "--model",
                                         path).stdout
    db, path = adopt(9)
    text = refused("adopt", db, "--model", path)
    assert "pov" in text and "8" in text


def test_no_lasting_row_order(tmp_path, model):
    db = make(tmp_path / "x.db",
              "CREATE TABLE f(rowid, _rowid_, oid, p);")
    text = refused("adopt", db, "--model", model({
        "name": "x", "pov": [{"name": "p"}], "setup": [],
        "data": [{"table": "f", "pov": {"p": "p"}}]}))
    assert "'f'" in text and "primary key" in text


def test_model_file_that_cannot_be_read(db, tmp_path):
    assert str(tmp_path / "no") in refused("adopt", db, "--model",
                                           tmp_path / "no")
    assert str(tmp_path) in refused("adopt", db, "--model", tmp_path)


def test_model_file_that_is_too_large(db, model):
    small = json.dumps(SALES).encode()
    room = (16 << 20) - len(small)
    run(OUTBOXFS, "adopt", db, "--model", model(small + b" " * room))
    path = model(small + b" " * (room + 1))
    text = refused("adopt", db, "--model", path)
    assert f"'{path}'" in text and "16 MiB" in text, text


# Databases that are none.


def not_a_database(tmp_path, kind, whole):
    path = tmp_path / "bad.db"
    data = whole.read_bytes()
    path.write_bytes({
        "random": os.urandom(8192),
        "text": b"hello, world\n" * 100,
        "short": b"SQLite",
        "header": data[:100],
        "truncated": data[:len(data) // 2],
    }[kind])
    return path


@pytest.mark.parametrize("kind", ["random", "text", "short", "header",
                                  "truncated"])
@pytest.mark.parametrize("verb", ["adopt", "suggest", "model", "abandon",
                                  "status", "mount"])
def test_not_a_database(tmp_path, db, model, verb, kind):
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    bad = not_a_database(tmp_path, kind, db)
    before = bad.read_bytes()
    (tmp_path / "mnt").mkdir()
    args = {
        "adopt": ["adopt", bad, "--model", model(SALES)],
        "suggest": ["adopt", bad, "--suggest"],
        "mount": ["mount", "-f", bad, tmp_path / "mnt"],
    }.get(verb, [verb, bad])
    text = refused(*args)
    assert "bad.db" in text, text
    assert re.search("SQLite|damaged|malformed|not a database", text), text
    assert bad.read_bytes() == before


@pytest.mark.parametrize("verb", ["adopt", "suggest", "model", "abandon",
                                  "status", "mount"])
def test_missing_and_directory(tmp_path, model, verb):
    (tmp_path / "mnt").mkdir()
    (tmp_path / "dir").mkdir()
    for name in ("missing.db", "dir", "dir/missing.db", "mnt/x/y.db"):
        path = tmp_path / name
        args = {
            "adopt": ["adopt", path, "--model", model(SALES)],
            "suggest": ["adopt", path, "--suggest"],
            "mount": ["mount", "-f", path, tmp_path / "mnt"],
        }.get(verb, [verb, path])
        assert str(path) in refused(*args)
    assert os.listdir(tmp_path / "dir") == []
    assert not (tmp_path / "missing.db").exists()


@pytest.mark.parametrize("verb", ["adopt", "suggest", "model", "abandon",
                                  "mount"])
def test_directory_as_a_database(tmp_path, model, verb):
    (tmp_path / "mnt").mkdir()
    (tmp_path / "dir").mkdir()
    path = tmp_path / "dir"
    args = {
        "adopt": ["adopt", path, "--model", model(SALES)],
        "suggest": ["adopt", path, "--suggest"],
        "mount": ["mount", path, tmp_path / "mnt"],
    }.get(verb, [verb, path])
    assert f"'{path}' is a directory, not a database" in refused(*args)


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture
def open_path():
    """pytest's own directories are for their owner only."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


@pytest.mark.parametrize("args", [["model"], ["status"],
                                  ["adopt", "--suggest"]])
def test_wal_where_nothing_can_be_made(open_path, args, model):
    """SQLite only says "unable to open database file"."""
    db = make(open_path / "x.db", "PRAGMA journal_mode=WAL;" + SALES_SQL)
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    before = set(os.listdir(open_path))

    def ask():
        return run(*NOBODY, OUTBOXFS, *args, db, check=False)

    done = ask()
    assert done.returncode == 1
    for word in (str(db), "WAL mode", "directory", "journal_mode=DELETE"):
        assert word in done.stderr, done.stderr
    assert set(os.listdir(open_path)) == before
    with sqlite3.connect(db) as other:  # it has made what is needed
        other.execute("SELECT count(*) FROM fact").fetchone()
        assert ask().returncode == 0
    other.close()
    run("sqlite3", db, "PRAGMA journal_mode=DELETE")
    assert ask().returncode == 0
    db.chmod(0o600)
    assert "Permission denied" in ask().stderr


@pytest.mark.parametrize("verb", ["model", "status", "mount"])
@pytest.mark.parametrize("empty", [True, False])
def test_not_adopted(tmp_path, db, verb, empty):
    path = tmp_path / "empty.db" if empty else db
    if empty:
        path.touch()
    before = path.read_bytes()
    (tmp_path / "mnt").mkdir()
    args = ["mount", "-f", path, tmp_path / "mnt"] if verb == "mount" \
        else [verb, path]
    text = refused(*args)
    assert str(path) in text and "adopt" in text, text
    assert path.read_bytes() == before
    assert not os.path.ismount(tmp_path / "mnt")


def test_adopted_by_a_newer_version(db, model):
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    with sqlite3.connect(db) as c:
        c.execute("UPDATE outboxfs_model SET format = 1000")
    assert "newer" in refused("status", db)


def test_adopt_while_somebody_writes(db, model):
    """It waits for a while; then it says so and has done nothing."""
    other = sqlite3.connect(db, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    was = schema(db)
    text = refused("adopt", db, "--model", model(SALES))
    assert str(db) in text and "locked" in text
    other.execute("ROLLBACK")
    assert schema(db) == was
    other.close()
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))


# status


def test_status_text_and_json(db, model):
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    found = json.loads(run(OUTBOXFS, "status", db, "--json").stdout)
    assert found["database"] == str(db)
    assert found["model"] == "sales"
    assert found["setup_tables"] == 2
    assert found["data_tables"] == 2
    assert found["povs"] == 12
    assert found["in_use_by"] is None
    text = run(OUTBOXFS, "status", db).stdout
    for word in (str(db), "sales", "location x category x period", "12",
                 "nobody"):
        assert word in text


def test_status_of_a_directory(tmp_path):
    assert "mounted" in refused("status", tmp_path)


def test_status_reads_only(db, model):
    run(OUTBOXFS, "adopt", db, "--model", model(SALES))
    before, names = db.read_bytes(), set(os.listdir(db.parent))
    run(OUTBOXFS, "model", db)
    run(OUTBOXFS, "status", db)
    assert db.read_bytes() == before
    assert set(os.listdir(db.parent)) == names
