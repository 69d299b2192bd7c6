"""Exactly the files whose rows changed change, appear and go.

The writer is the sqlite3 command, another process as users have it. After
each step the whole tree is compared with an independent query, the set of
changed files with the one that the test names, and times with what was.
"""
import os
import pathlib
import random
import re
import time

import pytest

import expect
from outbox import OUTBOXFS, SALES, adopt, make_sales, run, sqlite

POV_1 = {"pov": [{"name": "p"}], "setup": "*"}


def fail(error):
    raise error


def snapshot(path):
    """Relative name -> (bytes, size, mtime, inode) of setup/ and data/."""
    found, base = {}, os.fsencode(path)
    for top in (b"setup", b"data"):
        for at, _, leaves in os.walk(os.path.join(base, top), onerror=fail):
            for leaf in leaves:
                full = os.path.join(at, leaf)
                with open(full, "rb") as file:
                    data = file.read()
                st = os.stat(full)
                found[os.path.relpath(full, base).decode()] = (
                    data, st.st_size, st.st_mtime, st.st_ino)
    return found


def poll(what, seconds=2.0):
    """Some things are dropped a moment later, by design: not much later."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "too late"
        os.sched_yield()


class Watched:
    """A mounted database, and what the last look at it showed."""

    def __init__(self, mounts, db, model, adopted=False):
        self.db, self.model, self.mounts = db, model, mounts
        self.path = db.parent / "mnt"
        if not adopted:
            adopt(db, model)
        self.mount()
        self.seen = self.look()

    def mount(self):
        self.mnt = self.mounts(self.db, self.path)

    def look(self):
        """All files; they must be what the database says."""
        found = snapshot(self.path)
        wanted = expect.Tree(self.db, self.model).files
        shown = {n: v[0] for n, v in found.items()
                 if not n.endswith("/pov.json")}
        wanted = {n.decode(): data for n, data in wanted.items()}
        assert shown.keys() == wanted.keys()
        for name, data in wanted.items():
            assert shown[name] == data, name
        for data, size, _, _ in found.values():
            assert len(data) == size
        return found

    def sql(self, *sql, check=True):
        done = run("sqlite3", "-bail", "-cmd", ".timeout 5000", self.db, *sql,
                   check=check)
        return done

    def changes(self, changed="", appeared="", gone="", touched=""):
        """Looks, and compares with what must have happened since.

        touched: written to, though nothing differs in the end. pov.json goes
        with the other files of its directory.
        """
        was, now = self.seen, self.look()
        self.seen = now
        changed, appeared, gone, touched = (
            set(w.split()) for w in (changed, appeared, gone, touched))
        beside = {os.path.dirname(n) + "/pov.json"
                  for n in changed | appeared | gone | touched
                  if n.startswith("data/")}
        leaves = {n for n in now.keys() - was.keys() if n not in beside}
        assert leaves == appeared
        assert {n for n in was.keys() - now.keys() if n not in beside} == gone
        both = was.keys() & now.keys()
        assert {n for n in both - beside if was[n][0] != now[n][0]} == changed
        moved = {n for n in both if was[n][2] != now[n][2]}
        assert moved == (changed | touched | beside) & both
        for n in moved:
            assert now[n][2] >= was[n][2] + 1, n
        for n in both - moved:
            assert was[n] == now[n], n
        for n in beside & both:
            assert now[n][2] >= was[n][2] + 1, n

    def after(self, sql, **changes):
        self.sql(sql)
        self.changes(**changes)


@pytest.fixture
def watched(mounts, sales):
    return Watched(mounts, sales, SALES, adopted=True)


def watch(mounts, work, sql, data="t", model=None, order=()):
    """One dimension p; tables by name."""
    sqlite(work / "w.db", "PRAGMA journal_mode=WAL;" + sql)
    model = model or POV_1 | {"name": "w", "data": [
        {"table": t, "pov": {"p": "p"}, "order": list(order)}
        for t in data.split()]}
    return Watched(mounts, work / "w.db", model)


PARIS = "data/Paris/Actual/2026-01/"


def test_insert_into_a_pov_changes_its_file(watched):
    watched.after("INSERT INTO fact VALUES(99, 1, 1, '2026-01', 1, 'new')",
                  changed=PARIS + "fact.csv")


def test_insert_into_a_new_pov_makes_directories(watched):
    watched.after("INSERT INTO fact VALUES(99, 3, 2, '2030-12', 1, 'new')",
                  appeared="data/Lima/Budget/2030-12/fact.csv")
    watched.after("INSERT INTO location VALUES(4, 'Rome');"
                  "INSERT INTO fact VALUES(100, 4, 1, 'x', 1, 'new')",
                  appeared="data/Rome/Actual/x/fact.csv",
                  changed="setup/location.csv")


def test_update_changes_one_file(watched):
    watched.after("UPDATE fact SET amount = -1 WHERE id = 1",
                  changed=PARIS + "fact.csv")


def test_updates_in_one_second_each_move_the_time(watched):
    for i in range(5):
        watched.after(f"UPDATE fact SET amount = {i} WHERE id = 1",
                      changed=PARIS + "fact.csv")


def test_update_of_nothing_changes_nothing(watched):
    watched.after("UPDATE fact SET amount = -1 WHERE id = -7; DELETE FROM fact"
                  " WHERE id = -7; INSERT INTO fact SELECT * FROM fact WHERE 0")


def test_update_to_the_same_values_changes_no_bytes(watched):
    watched.after("UPDATE fact SET amount = amount WHERE id = 1",
                  touched=PARIS + "fact.csv")


def test_update_across_povs_moves_a_row(watched):
    watched.after("UPDATE fact SET period = '2026-02' WHERE id = 1",
                  changed=f"{PARIS}fact.csv data/Paris/Actual/2026-02/fact.csv")
    watched.after("UPDATE fact SET location_id = 3, category_id = 2,"
                  " period = '1999' WHERE id = 1",
                  changed="data/Paris/Actual/2026-02/fact.csv",
                  appeared="data/Lima/Budget/1999/fact.csv")


def test_delete_changes_one_file(watched):
    watched.after("DELETE FROM fact WHERE id = 1", changed=PARIS + "fact.csv")


def test_delete_of_all_rows_removes_directories_and_empty_parents(watched):
    old = watched.path / "data/Paris/Actual/2026-01"
    files = [old / "fact.csv", old / "process_status.csv", old / "pov.json"]
    watched.after("DELETE FROM fact WHERE location_id = 1 AND category_id = 1"
                  " AND period = '2026-01'", gone=PARIS + "fact.csv")
    poll(lambda: not files[0].exists())
    watched.after("DELETE FROM process_status WHERE location_id = 1 AND"
                  " category_id = 1 AND period = '2026-01'",
                  gone=PARIS + "process_status.csv")
    poll(lambda: not any(f.exists() for f in files) and not old.exists())
    assert os.listdir(old.parent) == ["2026-02"]
    watched.sql("DELETE FROM fact WHERE location_id = 1;"
                "DELETE FROM process_status WHERE location_id = 1")
    assert sorted(os.listdir(watched.path / "data")) == ["Lima", "Oslo"]
    poll(lambda: not (watched.path / "data/Paris").exists())
    watched.look()


def test_directory_time_moves_when_entries_come_and_go(watched):
    data = watched.path / "data"
    was = [os.stat(d).st_mtime for d in (data, data / "Oslo")]

    def moves(than):
        """The kernel keeps what it knows of a directory until it is told."""
        deadline = time.monotonic() + 5
        while os.stat(data).st_mtime < than + 1:
            assert time.monotonic() < deadline, "the time did not move"

    watched.sql("INSERT INTO fact VALUES(99, 77, 1, 'x', 1, 'new')")
    moves(was[0])
    assert os.stat(data / "Oslo").st_mtime == was[1]
    now = os.stat(data).st_mtime
    watched.sql("DELETE FROM fact WHERE id = 99")
    moves(now)


def test_reinserted_rows_bring_the_file_back_with_a_later_time(watched):
    was = os.stat(watched.path / PARIS / "fact.csv")
    keep = f"ATTACH '{watched.db}.keep' AS k;"
    watched.sql(keep + "CREATE TABLE k.keep AS SELECT * FROM fact;"
                "DELETE FROM fact WHERE period = '2026-01'")
    watched.seen = watched.look()
    watched.after(
        keep + "INSERT INTO fact SELECT * FROM keep WHERE location_id = 1"
        " AND category_id = 1 AND period = '2026-01'",
        appeared=PARIS + "fact.csv")
    now = os.stat(watched.path / PARIS / "fact.csv")
    assert now.st_size == was.st_size and now.st_mtime >= was.st_mtime + 1


def test_delete_and_reinsert_in_one_transaction_touches(watched):
    watched.after(
        "BEGIN; CREATE TEMP TABLE k AS SELECT * FROM fact WHERE id <= 3;"
        "DELETE FROM fact WHERE id <= 3; INSERT INTO fact SELECT * FROM k;"
        "COMMIT", touched=PARIS + "fact.csv")


def test_time_of_pov_json_moves_with_each_of_its_tables(mounts, work):
    """Its bytes change with every table and label: max(times) is not enough."""
    w = watch(mounts, work, "CREATE TABLE t(p TEXT, v); CREATE TABLE u(p TEXT,"
              " v); INSERT INTO t VALUES('a', 0); INSERT INTO u VALUES('a', 0)",
              "t u")
    for i in range(3):
        w.after(f"UPDATE t SET v = {i + 1}", changed="data/a/t.csv")
    for i in range(3):
        w.after(f"UPDATE u SET v = {i + 1}", changed="data/a/u.csv")
    w.after("UPDATE t SET v = 9; UPDATE u SET v = 9",
            changed="data/a/t.csv data/a/u.csv")
    w.after("DELETE FROM u", gone="data/a/u.csv")


def test_truncate_removes_everything(watched):
    watched.sql("DELETE FROM fact")
    watched.look()
    watched.sql("DELETE FROM process_status")
    watched.look()
    assert os.listdir(watched.path / "data") == []
    poll(lambda: not (watched.path / PARIS).exists())


def test_rollback_changes_nothing(watched):
    watched.after(
        "BEGIN; DELETE FROM fact; UPDATE location SET name = 'gone';"
        "INSERT INTO fact VALUES(99, 9, 9, '9', 9, '9'); ROLLBACK")
    watched.after(
        "BEGIN; SAVEPOINT s; UPDATE fact SET amount = 1; ROLLBACK TO s;"
        "UPDATE fact SET amount = -9 WHERE id = 1; COMMIT",
        changed=PARIS + "fact.csv")


def test_transaction_shows_only_when_committed(watched):
    db = expect.connect(watched.db)
    db.execute("BEGIN")
    db.execute("UPDATE fact SET amount = -1 WHERE id = 1")
    watched.changes()
    db.execute("COMMIT")
    watched.changes(changed=PARIS + "fact.csv")
    db.close()


def test_status_change_moves_the_status_file_only(watched):
    watched.after("UPDATE process_status SET flag = 1, note = 'done' WHERE"
                  " location_id = 1 AND category_id = 1 AND period = '2026-01'",
                  changed=PARIS + "process_status.csv")
    watched.after("INSERT INTO process_status VALUES(2, 2, 'new', 1, 0, '')",
                  appeared="data/Oslo/Budget/new/process_status.csv")


def test_setup_change_moves_the_setup_file_only(mounts, work):
    w = watch(mounts, work, "CREATE TABLE t(p TEXT, v);"
              "CREATE TABLE a(x); CREATE TABLE b(x INTEGER PRIMARY KEY);"
              "INSERT INTO t VALUES('p', 1); INSERT INTO b VALUES(1), (2)")
    w.after("INSERT INTO a VALUES(1)", changed="setup/a.csv")
    w.after("UPDATE b SET x = 5 WHERE x = 2", changed="setup/b.csv")
    w.after("REPLACE INTO b VALUES(5)", touched="setup/b.csv")
    w.after("UPDATE OR REPLACE b SET x = 1 WHERE x = 5", changed="setup/b.csv")
    w.after("DELETE FROM b", changed="setup/b.csv")
    w.after("DELETE FROM b")


REPLACE_SQL = """
CREATE TABLE keyed(id INTEGER PRIMARY KEY, code TEXT UNIQUE, p TEXT NOT NULL,
  v);
CREATE TABLE plain(p TEXT, code TEXT COLLATE NOCASE, v);
CREATE UNIQUE INDEX plain_code ON plain(code, v);
CREATE TABLE wr(k TEXT, n INTEGER, p TEXT, v, PRIMARY KEY(k, n)) WITHOUT ROWID;
CREATE UNIQUE INDEX wr_v ON wr(v) WHERE v IS NOT NULL;
INSERT INTO keyed VALUES(1, 'a', 'one', 1), (2, 'b', 'two', 2),
  (3, NULL, 'three', 3), (4, 'd', 'four', 4), (5, 'e', 'one', 5);
INSERT INTO plain(rowid, p, code, v) VALUES(1, 'one', 'a', 1),
  (2, 'two', 'b', 2), (3, NULL, 'c', NULL), (4, 'four', 'd', 4),
  (5, 'one', 'e', 5);
INSERT INTO wr VALUES('a', 1, 'one', 1), ('b', 2, 'two', 2),
  ('c', 3, NULL, NULL), ('d', 4, 'four', 4), ('e', 5, 'one', 5);
"""


@pytest.fixture
def replaced(mounts, work):
    return watch(mounts, work, REPLACE_SQL, "keyed plain wr")


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
@pytest.mark.parametrize("statement, changes", [
    # By the primary key: row 2 leaves its POV, which had no other.
    ("INSERT OR REPLACE INTO keyed VALUES(2, 'x', 'one', 9)",
     {"changed": "data/one/keyed.csv", "gone": "data/two/keyed.csv"}),
    # By another key.
    ("REPLACE INTO keyed VALUES(20, 'e', 'new', 9)",
     {"changed": "data/one/keyed.csv", "appeared": "data/new/keyed.csv"}),
    # By both at once: two rows go.
    ("REPLACE INTO keyed VALUES(1, 'd', 'two', 9)",
     {"changed": "data/one/keyed.csv data/two/keyed.csv",
      "gone": "data/four/keyed.csv"}),
    ("REPLACE INTO keyed(id, p) VALUES('2', 'three')",
     {"changed": "data/three/keyed.csv", "gone": "data/two/keyed.csv"}),
    ("UPDATE OR REPLACE keyed SET code = 'b' WHERE id = 5",
     {"changed": "data/one/keyed.csv", "gone": "data/two/keyed.csv"}),
    ("UPDATE OR REPLACE keyed SET id = 2, p = 'new' WHERE id = 5",
     {"changed": "data/one/keyed.csv", "gone": "data/two/keyed.csv",
      "appeared": "data/new/keyed.csv"}),
    ("UPDATE OR REPLACE keyed SET rowid = 2 WHERE id = 5",
     {"changed": "data/one/keyed.csv", "gone": "data/two/keyed.csv"}),
    # There and back again.
    ("UPDATE OR REPLACE keyed SET id = 4 - id WHERE id IN (1, 3)",
     {"touched": "data/one/keyed.csv", "gone": "data/three/keyed.csv"}),
    # By the implicit rowid, under each of its names.
    ("REPLACE INTO plain(rowid, p, v) VALUES(2, 'one', 9)",
     {"changed": "data/one/plain.csv", "gone": "data/two/plain.csv"}),
    ("REPLACE INTO plain(oid, p, v) VALUES(3, 'one', 9)",
     {"changed": "data/one/plain.csv", "gone": "data/%null/plain.csv"}),
    ("UPDATE OR REPLACE plain SET _rowid_ = 4 WHERE rowid = 5",
     {"touched": "data/one/plain.csv", "gone": "data/four/plain.csv"}),
    # By a key that compares without case.
    ("REPLACE INTO plain VALUES('one', 'D', 4)",
     {"changed": "data/one/plain.csv", "gone": "data/four/plain.csv"}),
    ("UPDATE OR REPLACE plain SET code = 'B', v = 2 WHERE rowid = 5",
     {"changed": "data/one/plain.csv", "gone": "data/two/plain.csv"}),
    ("REPLACE INTO plain VALUES('one', 'c', NULL)",
     {"changed": "data/one/plain.csv"}),
    # WITHOUT ROWID: by the key, and by a partial index.
    ("REPLACE INTO wr VALUES('d', 4, 'one', 44)",
     {"changed": "data/one/wr.csv", "gone": "data/four/wr.csv"}),
    ("REPLACE INTO wr VALUES('x', 0, 'one', 4)",
     {"changed": "data/one/wr.csv", "gone": "data/four/wr.csv"}),
    ("UPDATE OR REPLACE wr SET k = 'b', n = 2 WHERE k = 'e'",
     {"changed": "data/one/wr.csv", "gone": "data/two/wr.csv"}),
    ("UPDATE OR REPLACE wr SET v = 2 WHERE k = 'e'",
     {"changed": "data/one/wr.csv", "gone": "data/two/wr.csv"}),
    # UPSERT.
    ("INSERT INTO keyed VALUES(2, 'z', 'ignored', 1) ON CONFLICT(id) DO"
     " UPDATE SET p = 'one', v = excluded.v",
     {"changed": "data/one/keyed.csv", "gone": "data/two/keyed.csv"}),
    # BEFORE triggers have run by the time that there is nothing to do.
    ("INSERT INTO keyed VALUES(20, 'e', 'ignored', 1) ON CONFLICT DO NOTHING",
     {"touched": "data/one/keyed.csv"}),
])
def test_replaced_rows_change_the_pov_that_they_leave(
        replaced, recursive, statement, changes):
    replaced.sql(f"PRAGMA recursive_triggers = {recursive}; {statement}")
    # What was in no row's way is not even touched.
    replaced.changes(**changes)


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
@pytest.mark.parametrize("clause, row_1, rest", [
    ("ABORT", False, False), ("FAIL", True, False), ("ROLLBACK", False, False),
    ("IGNORE", True, True), ("REPLACE", True, True),
])
def test_outer_conflict_clause_keeps_marks_and_rows_together(
        replaced, recursive, clause, row_1, rest):
    """Three rows, the second in conflict: what is kept is shown."""
    w = replaced
    w.sql(f"PRAGMA recursive_triggers = {recursive}; BEGIN;"
          f"INSERT OR {clause} INTO keyed VALUES(10, 'k', 'new', 1),"
          " (2, 'l', 'one', 1), (11, 'm', 'later', 1)", "COMMIT", check=False)
    w.sql(f"UPDATE OR {clause} wr SET v = v % 2, p = 'new' WHERE v IS NOT NULL",
          check=False)
    w.seen = w.look()
    if clause == "FAIL":
        return  # the command gives up the transaction
    assert ("data/later/keyed.csv" in w.seen) == rest
    assert ("data/new/keyed.csv" in w.seen) == row_1
    # Marks are folded by now; again, into POVs that have open marks.
    w.sql(f"BEGIN; INSERT OR {clause} INTO keyed VALUES(30, 'q', 'one', 1),"
          " (31, 'r', 'one', 1);"
          f"INSERT OR {clause} INTO keyed VALUES(32, 's', 'one', 1)", "COMMIT",
          check=False)
    w.look()


def test_outer_fail_outside_of_a_transaction_keeps_the_first_row(replaced):
    replaced.sql("INSERT OR FAIL INTO keyed VALUES(10, 'k', 'new', 1),"
                 " (2, 'l', 'x', 1), (11, 'm', 'later', 1)", check=False)
    replaced.changes(appeared="data/new/keyed.csv", touched="data/two/keyed.csv")


def test_row_replaced_through_a_default_changes_its_pov(mounts, work):
    """REPLACE puts a NOT NULL column's default in after BEFORE triggers."""
    w = watch(mounts, work, "CREATE TABLE t(p TEXT, code TEXT NOT NULL"
              " DEFAULT 'x' UNIQUE, v); INSERT INTO t VALUES('one', 'x', 1),"
              " ('two', 'y', 2)")
    w.after("REPLACE INTO t VALUES('two', NULL, 3)",
            changed="data/two/t.csv", gone="data/one/t.csv")


def test_moving_a_key_that_is_the_pov_is_seen_under_any_name(mounts, work):
    """UPDATE OF column triggers do not fire for SET rowid."""
    w = watch(mounts, work, "CREATE TABLE t(p INTEGER PRIMARY KEY, v);"
              "INSERT INTO t VALUES(1, 'a'), (2, 'b')")
    w.after("UPDATE t SET p = 3 WHERE p = 1",
            gone="data/1/t.csv", appeared="data/3/t.csv")
    w.after("UPDATE t SET rowid = 4 WHERE p = 2",
            gone="data/2/t.csv", appeared="data/4/t.csv")


def test_order_by_rowid_changes_with_the_rowid(mounts, work):
    w = watch(mounts, work, "CREATE TABLE t(p TEXT, v);"
              "INSERT INTO t VALUES('a', 1), ('a', 2)")
    w.after("UPDATE t SET rowid = 9 WHERE v = 1", changed="data/a/t.csv")


@pytest.mark.parametrize("statement", [
    "REPLACE INTO t VALUES('PAR', 'x', 2)",
    "UPDATE OR REPLACE t SET p = 'PAR' WHERE p = 'one'",
])
def test_row_replaced_through_a_key_without_case_changes_its_pov(
        mounts, work, statement):
    """The key has the POV in it, and takes two of them for one."""
    w = watch(mounts, work, "CREATE TABLE t(p TEXT COLLATE NOCASE, code, v,"
              " PRIMARY KEY(p, code)) WITHOUT ROWID; INSERT INTO t"
              " VALUES('par', 'x', 1), ('par', 'y', 1), ('one', 'x', 1)")
    w.after(statement, changed="data/par/t.csv", appeared="data/PAR/t.csv",
            gone="data/one/t.csv" if "UPDATE" in statement else "")


def test_row_replaced_by_one_that_differs_in_case_changes_its_pov(mounts, work):
    """The column ignores case, and its unique index does not."""
    w = watch(mounts, work, "CREATE TABLE t(code TEXT COLLATE NOCASE, p, v);"
              "CREATE UNIQUE INDEX u ON t(code COLLATE BINARY);"
              "INSERT INTO t VALUES('a', 'one', 1), ('A', 'two', 2),"
              " ('b', 'two', 3)")
    w.after("UPDATE OR REPLACE t SET code = 'A' WHERE p = 'one'",
            changed="data/one/t.csv data/two/t.csv")


RECORDS_SQL = """
CREATE TABLE a(id INTEGER PRIMARY KEY);
CREATE TABLE r(id TEXT PRIMARY KEY COLLATE NOCASE, code UNIQUE);
CREATE TABLE t(p, v);
INSERT INTO r VALUES('one', 1), ('two', 2), ('three', 3);
"""
RECORDS = {"name": "r", "pov": [{"name": "p"}], "setup": ["a", "r"], "data": [
    {"table": "t", "pov": {"p": "p"}}], "records": [
        {"table": "r", "key": ["id"]}]}


@pytest.mark.parametrize("statement, keys", [
    ("DELETE FROM r WHERE id = 'one'", {"'one'"}),
    ("UPDATE r SET id = 'four' WHERE id = 'one'", {"'one'"}),
    ("UPDATE r SET id = 'ONE' WHERE id = 'one'", {"'one'"}),
    ("UPDATE OR REPLACE r SET id = 'ONE' WHERE id = 'one'", {"'one'"}),
    ("UPDATE r SET code = 7 WHERE id = 'one'", set()),
    ("REPLACE INTO r VALUES('one', 7)", set()),
    ("REPLACE INTO r VALUES('ONE', 7)", {"'one'"}),
    ("REPLACE INTO r VALUES('four', 2)", {"'two'"}),
    ("REPLACE INTO r VALUES('one', 2)", {"'two'"}),
    ("UPDATE OR REPLACE r SET code = 2 WHERE id = 'one'", {"'two'"}),
    ("UPDATE OR REPLACE r SET id = 'two' WHERE id = 'one'", {"'one'"}),
    ("UPDATE OR REPLACE r SET id = 'two', code = 3 WHERE id = 'one'",
     {"'one'", "'three'"}),
])
def test_records_that_go_leave_tombstones(work, statement, keys):
    db = work / "r.db"
    sqlite(db, RECORDS_SQL)
    adopt(db, RECORDS)
    sqlite(db, statement)
    assert sorted(sqlite(db, "SELECT key FROM outboxfs_tombstone").split()) == \
        sorted(keys)


def test_tombstones_keep_their_table_through_another_adoption(work):
    db = work / "r.db"
    sqlite(db, RECORDS_SQL)
    adopt(db, RECORDS)
    sqlite(db, "DELETE FROM r WHERE id = 'one'")
    adopt(db, dict(RECORDS, setup=["r"]))
    sqlite(db, "DELETE FROM r WHERE id = 'two'")
    assert sqlite(db, "SELECT tbl, key FROM outboxfs_tombstone ORDER BY id"
                  ) == "r|'one'\nr|'two'\n"


CASCADE_SQL = """
CREATE TABLE parent(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE t(id INTEGER PRIMARY KEY, p INTEGER REFERENCES parent
  ON DELETE CASCADE ON UPDATE CASCADE, v);
CREATE TABLE u(id INTEGER PRIMARY KEY, p INTEGER DEFAULT 3 REFERENCES parent
  ON DELETE SET DEFAULT ON UPDATE SET NULL, v);
INSERT INTO parent VALUES(1, 'x'), (2, 'y'), (3, 'z');
INSERT INTO t VALUES(1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c');
INSERT INTO u VALUES(1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c');
"""


@pytest.mark.parametrize("recursive", ["OFF", "ON"])
def test_cascades_change_what_they_reach(mounts, work, recursive):
    w = watch(mounts, work, CASCADE_SQL, "t u")
    on = f"PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = {recursive};"
    w.after(on + "DELETE FROM parent WHERE id = 1",
            changed="setup/parent.csv data/3/u.csv",
            gone="data/1/t.csv data/1/u.csv")
    w.after(on + "UPDATE parent SET id = 20 WHERE id = 2",
            changed="setup/parent.csv", gone="data/2/t.csv data/2/u.csv",
            appeared="data/20/t.csv data/%null/u.csv")
    # REPLACE of the parent deletes it, and with it its children.
    w.after(on + "REPLACE INTO parent VALUES(20, 'new')",
            changed="setup/parent.csv", gone="data/20/t.csv")


def test_triggers_of_the_users_are_followed(mounts, work):
    w = watch(mounts, work, "CREATE TABLE t(p TEXT, v); CREATE TABLE log(v);"
              "CREATE TRIGGER x AFTER INSERT ON log BEGIN"
              " UPDATE t SET v = NEW.v WHERE p = 'a';"
              " REPLACE INTO t(rowid, p, v) VALUES(2, 'new', 0); END;"
              "CREATE VIEW seen AS SELECT * FROM t;"
              "CREATE TRIGGER y INSTEAD OF DELETE ON seen BEGIN"
              " DELETE FROM t WHERE p = OLD.p; END;"
              "INSERT INTO t VALUES('a', 1), ('b', 2), ('c', 3)")
    w.after("INSERT INTO log VALUES(7)", changed="setup/log.csv data/a/t.csv",
            gone="data/b/t.csv", appeared="data/new/t.csv")
    w.after("DELETE FROM seen WHERE p = 'c'", gone="data/c/t.csv")


@pytest.mark.parametrize("kind", ["STORED", "VIRTUAL"])
def test_generated_pov_column_is_followed(mounts, work, kind):
    w = watch(mounts, work, "CREATE TABLE t(id INTEGER PRIMARY KEY, day TEXT,"
              f" p TEXT AS (substr(day, 1, 7)) {kind}, v);"
              "INSERT INTO t(day, v) VALUES('2026-01-05', 1),"
              " ('2026-01-06', 2), ('2026-02-01', 3)")
    w.after("UPDATE t SET day = '2026-02-02' WHERE id = 1",
            changed="data/2026-01/t.csv data/2026-02/t.csv")
    w.after("UPDATE t SET v = 9 WHERE id = 3", changed="data/2026-02/t.csv")
    w.after("REPLACE INTO t(id, day) VALUES(2, '2027-01-01')",
            gone="data/2026-01/t.csv", appeared="data/2027-01/t.csv")
    w.after("UPDATE t SET day = NULL WHERE id = 2",
            gone="data/2027-01/t.csv", appeared="data/%null/t.csv")


def test_null_in_pov_columns_is_a_value(mounts, work):
    model = {"name": "n", "setup": "*", "pov": [{"name": "a"}, {"name": "b"}],
             "data": [{"table": "t", "pov": {"a": "a", "b": "b"}}]}
    w = watch(mounts, work, "CREATE TABLE t(a INTEGER, b TEXT, v);"
              "INSERT INTO t VALUES(NULL, NULL, 1), (0, '', 2), (NULL, '0', 3),"
              " (0, NULL, 4)", model=model)
    w.after("UPDATE t SET v = 9 WHERE a IS NULL AND b IS NULL",
            changed="data/%null/%null/t.csv")
    w.after("UPDATE t SET v = 9 WHERE a = 0 AND b IS NULL",
            changed="data/0/%null/t.csv")
    w.after("UPDATE t SET a = NULL WHERE v = 2",
            gone="data/0/%/t.csv", appeared="data/%null/%/t.csv")
    w.after("DELETE FROM t WHERE a IS NULL",
            gone="data/%null/%/t.csv data/%null/0/t.csv data/%null/%null/t.csv")


def test_pov_values_that_differ_in_case_stay_apart(mounts, work):
    w = watch(mounts, work, "CREATE TABLE t(p TEXT COLLATE NOCASE, v, "
              "PRIMARY KEY(p, v)); INSERT INTO t VALUES('a', 1), ('A', 2)")
    w.after("UPDATE t SET v = 3 WHERE v = 1", changed="data/a/t.csv")
    w.after("UPDATE t SET v = 4 WHERE v = 2", changed="data/A/t.csv")
    w.after("UPDATE t SET p = 'A' WHERE v = 3",
            gone="data/a/t.csv", changed="data/A/t.csv")
    w.after("UPDATE t SET p = 'a'", gone="data/A/t.csv", appeared="data/a/t.csv")


# Labels


def untimed(document):
    return re.sub(rb'"time": "[^"]*"', b"", document)


def test_renamed_label_moves_the_directory_and_keeps_its_files(watched):
    data = watched.path / "data"
    was = watched.seen
    assert (data / "Paris/Actual/2026-01/fact.csv").exists()
    watched.sql("UPDATE location SET name = 'Roma' WHERE id = 1")
    new = (data / "Roma/Actual/2026-01/fact.csv").read_bytes()
    assert new == was[PARIS + "fact.csv"][0]
    assert sorted(os.listdir(data)) == ["Lima", "Oslo", "Roma"]
    poll(lambda: not (data / "Paris").exists())
    poll(lambda: not (data / "Paris/Actual/2026-01/fact.csv").exists())
    now = watched.look()
    for name, (content, size, mtime, ino) in was.items():
        new = now[name.replace("data/Paris/", "data/Roma/")]
        if name == "setup/location.csv":
            assert new[2] >= mtime + 1
        elif name.endswith("pov.json") and "/Paris/" in name:
            assert untimed(new[0]) == untimed(
                content.replace(b"Paris", b"Roma"))
            assert new[2] >= mtime + 1
        elif "/Paris/" in name:
            # Nobody knows what a copy had under the new name.
            assert new[:2] == (content, size) and new[3] == ino, name
            assert new[2] >= mtime + 1
        else:
            assert new == (content, size, mtime, ino), name


def test_swapped_labels_swap_the_directories(watched):
    data = watched.path / "data"
    paris = (data / "Paris/Actual/2026-01/fact.csv").read_bytes()
    oslo = (data / "Oslo/Actual/2026-01/fact.csv").read_bytes()
    watched.sql("UPDATE location SET name = CASE id WHEN 1 THEN 'Oslo'"
                " ELSE 'Paris' END WHERE id < 3")
    poll(lambda: (data / "Paris/Actual/2026-01/fact.csv").read_bytes() == oslo)
    poll(lambda: (data / "Oslo/Actual/2026-01/fact.csv").read_bytes() == paris)
    watched.look()


def test_equal_labels_get_their_key_and_lose_it_again(watched):
    data = watched.path / "data"
    watched.sql("INSERT INTO location VALUES(4, 'Paris')")
    assert sorted(os.listdir(data)) == ["Lima", "Oslo", "Paris%~1"]
    assert (data / "Paris%~1/Actual/2026-01/fact.csv").exists()
    poll(lambda: not (data / "Paris").exists())
    watched.sql("INSERT INTO fact VALUES(99, 4, 1, 'x', 1, '')")
    assert sorted(os.listdir(data)) == ["Lima", "Oslo", "Paris%~1", "Paris%~4"]
    watched.look()
    watched.sql("UPDATE location SET name = 'Nice' WHERE id = 4")
    assert sorted(os.listdir(data)) == ["Lima", "Nice", "Oslo", "Paris"]
    poll(lambda: not (data / "Paris%~1").exists())
    poll(lambda: not (data / "Paris%~4").exists())
    watched.look()
    watched.sql("UPDATE location SET name = 'Oslo'")
    assert sorted(os.listdir(data)) == [
        "Oslo%~1", "Oslo%~2", "Oslo%~3", "Oslo%~4"]
    poll(lambda: not any((data / n).exists() for n in (
        "Lima", "Nice", "Oslo", "Paris")))
    watched.look()


def test_value_without_a_label_is_its_own_name(watched):
    data = watched.path / "data"
    watched.sql("DELETE FROM location WHERE id = 1")
    assert sorted(os.listdir(data)) == ["1", "Lima", "Oslo"]
    poll(lambda: not (data / "Paris").exists())
    watched.look()
    watched.sql("INSERT INTO location VALUES(1, 'Back')")
    assert sorted(os.listdir(data)) == ["Back", "Lima", "Oslo"]
    poll(lambda: not (data / "1").exists())
    watched.look()


LABEL_SQL = """
CREATE TABLE d(id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE t(p INTEGER, v);
INSERT INTO d VALUES(1, 'one'), (2, 'two'), (3, 'three');
INSERT INTO t VALUES(1, 'a'), (2, 'b'), (3, 'c');
"""


@pytest.mark.parametrize("setup", ["*", []], ids=["setup", "no setup"])
@pytest.mark.parametrize("recursive", ["OFF", "ON"])
@pytest.mark.parametrize("statement, names", [
    ("REPLACE INTO d VALUES(1, 'new')", {"new": 1, "two": 2, "three": 3}),
    # Row 2 goes, and its name passes to another value.
    ("REPLACE INTO d VALUES(1, 'two')", {"two": 1, "2": 2, "three": 3}),
    ("UPDATE OR REPLACE d SET name = 'two' WHERE id = 1",
     {"two": 1, "2": 2, "three": 3}),
    ("UPDATE OR REPLACE d SET id = 2 WHERE id = 1",
     {"1": 1, "one": 2, "three": 3}),
    ("UPDATE d SET id = 9 WHERE id = 1", {"1": 1, "two": 2, "three": 3}),
    ("UPDATE d SET rowid = 9 WHERE id = 1", {"1": 1, "two": 2, "three": 3}),
    ("DELETE FROM d", {"1": 1, "2": 2, "3": 3}),
    ("REPLACE INTO d VALUES(9, 'one')", {"1": 1, "two": 2, "three": 3}),
])
def test_labels_that_pass_to_another_value_take_its_files(
        mounts, work, setup, recursive, statement, names):
    model = {"name": "l", "setup": setup, "data": [
        {"table": "t", "pov": {"p": "p"}}], "pov": [
            {"name": "p", "table": "d", "key": "id", "label": "name"}]}
    w = watch(mounts, work, LABEL_SQL, model=model)
    old = os.listdir(w.path / "data")
    w.sql(f"PRAGMA recursive_triggers = {recursive}; {statement}")
    assert set(os.listdir(w.path / "data")) == set(names)
    for name, key in names.items():
        path = w.path / "data" / name / "t.csv"
        wanted = f"p,v\n{key},{'?abc'[key]}\n".encode()
        poll(lambda p=path, c=wanted: p.read_bytes() == c)
    for name in set(old) - set(names):
        poll(lambda n=name: not (w.path / "data" / n).exists())
    w.look()


@pytest.mark.parametrize("column, was, now", [
    ("name TEXT COLLATE NOCASE", "'Paris'", "'PARIS'"),
    ("name TEXT COLLATE RTRIM", "'a'", "'a '"),
    ("name", "1", "1.0"), ("name", "'1'", "1"),
])
def test_label_that_only_looks_the_same_moves_pov_json(
        mounts, work, column, was, now):
    model = {"name": "l", "setup": "*", "data": [
        {"table": "t", "pov": {"p": "p"}}], "pov": [
            {"name": "p", "table": "d", "key": "id", "label": "name"}]}
    w = watch(mounts, work, f"CREATE TABLE d(id INTEGER PRIMARY KEY, {column});"
              f"INSERT INTO d VALUES(1, {was}); CREATE TABLE t(p INTEGER, v);"
              "INSERT INTO t VALUES(1, 'a')", model=model)
    w.sql(f"UPDATE d SET name = {now}")
    old, = (v for n, v in w.seen.items() if n.endswith("pov.json"))
    new, = (v for n, v in w.look().items() if n.endswith("pov.json"))
    assert new[0] != old[0] and new[2] >= old[2] + 1


@pytest.mark.parametrize("key, first, second, names", [
    ("id INTEGER PRIMARY KEY", "INTEGER", "TEXT", {1: "Paris", "1": "1"}),
    ("id TEXT PRIMARY KEY", "TEXT", "INTEGER", {"1": "Paris", 1: "1"}),
    ("id INTEGER PRIMARY KEY", "INTEGER", "TEXT", {1: "Paris", "01": "01"}),
    ("id TEXT PRIMARY KEY COLLATE NOCASE", "TEXT", "TEXT",
     {"par": "Paris", "PAR": "PAR"}),
    ("id TEXT PRIMARY KEY COLLATE RTRIM", "TEXT", "TEXT",
     {"par": "Paris", "par ": "par "}),
])
def test_values_that_only_equal_a_key_have_names_of_their_own(
        mounts, work, key, first, second, names):
    """By affinity or collation both would be found in the one row."""
    model = {"name": "l", "setup": "*", "data": [
        {"table": t, "pov": {"p": "p"}} for t in "tu"], "pov": [
            {"name": "p", "table": "d", "key": "id", "label": "name"}]}
    one, two = map(repr, names)
    w = watch(mounts, work, f"CREATE TABLE d({key}, name TEXT);"
              f"CREATE TABLE t(p {first}, v); CREATE TABLE u(p {second}, v);"
              f"INSERT INTO d VALUES({one}, 'Paris');"
              f"INSERT INTO t VALUES({one}, 'a'); INSERT INTO u"
              f" VALUES({two}, 'b')", model=model)
    assert set(os.listdir(w.path / "data")) == set(names.values())
    w.mnt.unmount()
    w.mount()
    for table, name in zip("tu", names.values()):  # before any listing
        assert (w.path / "data" / name / f"{table}.csv").exists()
    w.sql("UPDATE d SET name = 'Rome'")
    assert set(os.listdir(w.path / "data")) == {
        "Rome", *list(names.values())[1:]}
    w.look()


# Who writes, and when


def test_changes_while_unmounted_show_at_the_next_mount(watched):
    assert watched.mnt.unmount() == 0
    sqlite(watched.db, "UPDATE fact SET amount = -1 WHERE id = 1;"
           "INSERT INTO fact VALUES(99, 2, 2, 'new', 1, '');"
           "DELETE FROM fact WHERE location_id = 3 AND period = '2026-02'")
    watched.mount()
    watched.changes(
        changed=PARIS + "fact.csv", appeared="data/Oslo/Budget/new/fact.csv",
        gone="data/Lima/Actual/2026-02/fact.csv"
        " data/Lima/Budget/2026-02/fact.csv")


def test_remount_without_changes_shows_the_same(watched):
    assert watched.mnt.unmount() == 0
    watched.mount()
    watched.changes()


def test_changes_around_a_kill_show_at_the_next_mount(watched):
    sqlite(watched.db, "UPDATE fact SET amount = -1 WHERE id = 1")
    watched.mnt.kill()
    sqlite(watched.db, "UPDATE fact SET amount = -2 WHERE id = 4")
    watched.mount()
    watched.changes(
        changed=f"{PARIS}fact.csv data/Paris/Actual/2026-02/fact.csv")
    watched.mnt.kill()
    watched.mount()
    watched.changes()


def test_many_kills_lose_no_change(mounts, work):
    w = watch(mounts, work, "CREATE TABLE t(p TEXT, v); INSERT INTO t"
              " VALUES('a', 0), ('b', 0)")
    for i in range(1, 6):
        w.after(f"UPDATE t SET v = {i} WHERE p = 'a'", changed="data/a/t.csv")
        sqlite(w.db, f"UPDATE t SET v = {i} WHERE p = 'b'")
        w.mnt.kill()
        w.mount()
        w.changes(changed="data/b/t.csv")


def test_attached_writer_is_seen(watched):
    other = watched.db.parent / "other.db"
    sqlite(other, "CREATE TABLE fact(outboxfs_open_0)",
           f"ATTACH '{watched.db}' AS s",
           "CREATE TEMP TABLE outboxfs_open_0(x)",
           "UPDATE s.fact SET amount = -1 WHERE id = 1")
    watched.changes(changed=PARIS + "fact.csv")


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST"])
def test_rollback_journal_writers_are_seen(mounts, work, mode):
    sqlite(work / "sales.db", "PRAGMA journal_mode=WAL")
    make_sales(work / "sales.db")
    sqlite(work / "sales.db", "PRAGMA journal_mode=DELETE")
    w = Watched(mounts, work / "sales.db", SALES, adopted=True)
    for i in range(3):
        w.after(f"PRAGMA journal_mode={mode}; UPDATE fact SET amount = {i}"
                " WHERE id = 1", changed=PARIS + "fact.csv")


def test_first_change_after_a_mount_gives_no_error(mounts, work):
    """In rollback-journal mode whoever commits keeps readers out."""
    w = watch(mounts, work, "CREATE TABLE t(p TEXT, v); INSERT INTO t"
              " VALUES('a', 0)")
    w.mnt.unmount()
    sqlite(w.db, "PRAGMA journal_mode=DELETE")
    for i in range(10):
        w.mount()
        w.sql(f"UPDATE t SET v = {i}")
        w.look()
        w.mnt.unmount()


def test_second_daemon_is_refused_with_the_pid_of_the_first(watched, work):
    (work / "other").mkdir()
    done = run(OUTBOXFS, "mount", watched.db, work / "other", check=False)
    assert done.returncode != 0
    assert str(watched.mnt.process.pid) in done.stderr
    assert str(watched.path) in done.stderr
    assert not os.path.ismount(work / "other")
    # By another name of the same file, too.
    os.symlink(watched.db, work / "link.db")
    done = run(OUTBOXFS, "mount", work / "link.db", work / "other", check=False)
    assert done.returncode != 0
    assert str(watched.mnt.process.pid) in done.stderr
    watched.changes()


TABLES = ["keyed", "plain", "wr"]


def random_statement(rng):
    """One statement of any form, with values that often collide."""
    table = rng.choice(TABLES)
    clause = rng.choice(["", "", "OR REPLACE", "OR REPLACE", "OR IGNORE",
                         "OR FAIL", "OR ABORT"])
    p = rng.choice(["'one'", "'two'", "'three'", "NULL", "'One'"])
    n, m = rng.randrange(8), rng.randrange(8)
    code = rng.choice("abcdeABC")
    if rng.random() < 0.1:
        p = "'one'" if p == "NULL" else p
        return (f"INSERT INTO keyed VALUES({n}, '{code}', {p}, 1) ON CONFLICT"
                f" DO UPDATE SET p = {p}, id = {m}")
    if rng.random() < 0.2:
        return f"DELETE FROM {table} WHERE v % 3 = {n % 3}"
    if rng.random() < 0.5:
        key = {"keyed": f"id = {n}", "plain": f"rowid = {n}",
               "wr": f"n = {n}"}[table]
        what = rng.choice([
            f"p = {p}", f"v = {m}", f"v = v + 1, p = {p}",
            {"keyed": f"id = {m}", "plain": f"rowid = {m}",
             "wr": f"k = '{code}', n = {m}"}[table],
            {"keyed": f"code = '{code}'", "plain": f"code = '{code}'",
             "wr": f"v = {m}"}[table]])
        where = rng.choice([key, key, f"v < {n}", f"p IS {p}", "1"])
        return f"UPDATE {clause} {table} SET {what} WHERE {where}"
    return f"INSERT {clause} INTO {table}" + {
        "keyed": f" VALUES({n}, '{code}', {p}, {m})",
        "plain": f"(rowid, p, code, v) VALUES({n}, {p}, '{code}', {m})",
        "wr": f" VALUES('{code}', {n}, {p}, {m})"}[table]


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_show_and_move_times(mounts, work, seed):
    """Whatever happens: the tree is right, and no change keeps its time."""
    w = watch(mounts, work, REPLACE_SQL, "keyed plain wr")
    rng = random.Random(seed)
    db = expect.connect(w.db)
    last = {}  # the latest time that a name has had, and with which bytes
    for _ in range(120):
        db.execute(f"PRAGMA recursive_triggers = {rng.randrange(2)}")
        statements = [random_statement(rng) for _ in range(rng.randrange(1, 4))]
        outcome = rng.choice(["", "", "COMMIT", "ROLLBACK"])
        if outcome:
            db.execute("BEGIN")
        for s in statements:
            try:
                db.execute(s).fetchall()
            except expect.sqlite3.IntegrityError:
                pass
        if outcome and db.in_transaction:
            db.execute(outcome)
        was, now = w.seen, w.look()
        for name, (data, _, mtime, _) in now.items():
            if name in last and last[name][0] != data:
                assert mtime >= last[name][1] + 1, (name, statements)
            assert mtime >= last.get(name, (b"", 0))[1], (name, statements)
            last[name] = (data, mtime)
        if outcome == "ROLLBACK":
            assert now == was, statements
        w.seen = now
    db.close()


# Schema changes


def refused(db, at):
    at.mkdir(exist_ok=True)
    log = pathlib.Path(str(at) + ".err")
    with open(log, "w", encoding="utf-8") as err:
        done = run(OUTBOXFS, "mount", db, at, check=False, stderr=err)
    if done.returncode == 0:
        run("umount", at)
    assert done.returncode != 0, "mounted in spite of it"
    return log.read_text(encoding="utf-8")


SCHEMA_CHANGES = {
    "column added": ("ALTER TABLE fact ADD COLUMN extra TEXT",
                     ["fact", "extra"]),
    "column renamed": ("ALTER TABLE fact RENAME COLUMN note TO remark",
                       ["fact", "remark"]),
    "column dropped": ("ALTER TABLE fact DROP COLUMN note", ["fact", "note"]),
    "setup column added": ("ALTER TABLE category ADD COLUMN extra",
                           ["category", "extra"]),
    "type changed": (
        "CREATE TABLE f AS SELECT * FROM fact; DROP TABLE fact; CREATE TABLE"
        " fact(id INTEGER PRIMARY KEY, location_id INTEGER NOT NULL,"
        " category_id INTEGER NOT NULL, period TEXT NOT NULL, amount NUMERIC,"
        " note TEXT); INSERT INTO fact SELECT * FROM f; DROP TABLE f",
        ["fact", "amount"]),
    # As https://sqlite.org/lang_altertable.html advises: columns as they were,
    # but a dropped table takes its triggers along.
    "table made anew": (
        "CREATE TABLE f(id INTEGER PRIMARY KEY, location_id INTEGER NOT NULL,"
        " category_id INTEGER NOT NULL, period TEXT NOT NULL, amount REAL,"
        " note TEXT); INSERT INTO f SELECT * FROM fact; DROP TABLE fact;"
        " ALTER TABLE f RENAME TO fact", ["fact"]),
    "setup table made anew": (
        "ALTER TABLE category RENAME TO c; CREATE TABLE category(id INTEGER"
        " PRIMARY KEY, name TEXT NOT NULL); INSERT INTO category SELECT * FROM"
        " c; DROP TABLE c", ["category"]),
    # REPLACE deletes through it, and no trigger of ours looks there.
    "unique index added": (
        "CREATE UNIQUE INDEX u ON fact(location_id, amount, id)", ["fact"]),
    "trigger dropped": ("DROP TRIGGER outboxfs_1_insert", ["outboxfs"]),
}


def fix_trigger_name(db, sql):
    """A trigger of the data table, whatever its number is."""
    name = sqlite(db, "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
                  " AND tbl_name = 'fact' AND name LIKE '%_update'").strip()
    return sql.replace("outboxfs_1_insert", name)


@pytest.mark.parametrize("what", SCHEMA_CHANGES)
def test_schema_change_is_named_and_adopt_repairs_it(sales, mounts, work, what):
    sql, words = SCHEMA_CHANGES[what]
    sqlite(sales, fix_trigger_name(sales, sql))
    error = refused(sales, work / "no")
    for word in words + ["outboxfs adopt"]:
        assert word in error
    run(OUTBOXFS, "adopt", sales)
    w = Watched(mounts, sales, SALES, adopted=True)
    w.after("UPDATE fact SET amount = -1 WHERE id = 1",
            changed=PARIS + "fact.csv")


@pytest.mark.parametrize("what", SCHEMA_CHANGES)
def test_schema_change_while_mounted_gives_errors_never_wrong_files(
        watched, what):
    sql, words = SCHEMA_CHANGES[what]
    path = watched.path / PARIS / "fact.csv"
    sqlite(watched.db, fix_trigger_name(watched.db, sql))
    sqlite(watched.db, "UPDATE fact SET amount = -1 WHERE id = 1")
    with pytest.raises(OSError):
        path.read_bytes()
    with pytest.raises(OSError):
        os.listdir(watched.path / "data")
    assert words[0] in (watched.path / "status.json").read_text()
    run(OUTBOXFS, "adopt", watched.db)
    poll(lambda: readable(path))
    watched.look()
    assert b",-1" in path.read_bytes()
    was = watched.seen = watched.look()
    watched.after("UPDATE fact SET amount = -2 WHERE id = 1",
                  changed=PARIS + "fact.csv")
    assert was is not watched.seen


def readable(path):
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


@pytest.mark.parametrize("sql, word", [
    ("DROP TABLE fact", "fact"),
    ("ALTER TABLE fact RENAME TO facts", "fact"),
    ("DROP TABLE process_status", "process_status"),
    ("DROP TABLE location", "location"),
    ("ALTER TABLE location RENAME TO place", "location"),
    ("ALTER TABLE fact RENAME COLUMN period TO month", "period"),
    ("ALTER TABLE location RENAME COLUMN name TO title", "name"),
])
def test_schema_that_the_model_does_not_fit_is_refused(
        sales, mounts, work, sql, word):
    w = Watched(mounts, sales, SALES, adopted=True)
    sqlite(sales, sql)
    with pytest.raises(OSError):
        (w.path / PARIS / "fact.csv").read_bytes()
    with pytest.raises(OSError):
        os.listdir(w.path / "setup")
    w.mnt.unmount()
    error = refused(sales, work / "no")
    assert f"'{word}'" in error and "outboxfs adopt" in error
    # The model names what is gone: adopting needs another model.
    done = run(OUTBOXFS, "adopt", sales, check=False)
    assert done.returncode != 0 and f"'{word}'" in done.stderr


@pytest.mark.parametrize("sql", [
    "CREATE TABLE unrelated(x)",
    "CREATE TABLE untrackable(x); CREATE UNIQUE INDEX u ON"
    " untrackable(lower(x))",
    "CREATE VIEW v AS SELECT * FROM fact",
    "CREATE INDEX i ON fact(amount)", "VACUUM", "ANALYZE", "REINDEX",
    "CREATE TRIGGER mine AFTER INSERT ON fact BEGIN SELECT 1; END",
    "CREATE TABLE unrelated(x); DROP TABLE unrelated", "PRAGMA user_version=7",
])
def test_schema_changes_elsewhere_do_not_matter(watched, sql):
    model = dict(SALES, setup=["location", "category"])
    sqlite(watched.db, sql)
    watched.model = model
    watched.changes()
    watched.after("UPDATE fact SET amount = -1 WHERE id = 1",
                  changed=PARIS + "fact.csv")


def test_abandoned_while_mounted_gives_errors_until_adopted_again(watched):
    path = watched.path / PARIS / "fact.csv"
    run(OUTBOXFS, "abandon", watched.db)
    with pytest.raises(OSError):
        path.read_bytes()
    adopt(pathlib.Path(watched.db), SALES)
    poll(lambda: readable(path))
    watched.look()
