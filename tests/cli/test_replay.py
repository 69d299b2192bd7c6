"""Whoever follows a channel by its ZIPs alone has what the database has.

A seeded random history of loads, changes, deletions, renames, orphans and
setup changes, with exports on two channels in between, and in one of them
purges of every kind.
"""
import random

import pytest

from replica import Replica
from worlds import POVS, World

TEXTS = ["", "x", "a,b", 'say "x"', "two\nlines", "007", "1e5", "\\xff", "ü",
         None, " ", "\r"]
LABELS = ["Paris", "Oslo", "Lima", "Actual", "Budget", "a/b", "..", "", "7",
          "%", "it's", "Ü b", "Paris%~1", None]


class History:
    def __init__(self, world, seed):
        self.w = world
        self.random = random.Random(seed)
        self.next_id = 100

    def value(self):
        r = self.random
        return r.choice([r.choice(TEXTS), r.randrange(-9, 10**6), r.random(),
                         r.choice([0.0, -0.0, 1e300, 5e-324, 2.0**53]),
                         bytes([r.randrange(256)])])

    def pov(self):
        r = self.random
        period = r.choice(["Jan", "Feb", "Mar"])
        return (r.randint(1, 4), r.randint(1, 3),
                None if r.random() < 0.03 else period)

    def rule(self):
        return self.random.choice([None, 1, 1, 2, 2, 3])

    def fill(self, table, pov):
        for i in range(self.random.randint(1, 3)):
            self.next_id += 1
            row = {
                "fact": lambda: (self.next_id, *pov, self.rule(),
                                 self.random.choice([None, 0.1, 7, 1e22]),
                                 self.random.choice(TEXTS)),
                "detail": lambda: (*pov, i, self.value()),
                "status": lambda: (*pov, i, 0, self.random.choice(TEXTS)),
            }[table]()
            if None in pov and table == "detail":
                continue  # its key
            self.w.sql(f"INSERT INTO {table} VALUES"
                       f"({', '.join('?' * len(row))})", *row)

    def clear(self, table, pov):
        l, c, p = POVS[table]
        self.w.sql(f"DELETE FROM {table} WHERE {l} = ? AND {c} = ? AND"
                   f" {p} IS ?", *pov)

    # Steps

    def load(self):
        for _ in range(self.random.randint(1, 3)):
            pov = self.pov()
            for table in POVS:
                if self.random.random() < 0.6:
                    self.clear(table, pov)
                    self.fill(table, pov)
        self.w.sql("INSERT INTO process(at) VALUES('now')")

    def reload(self):
        table = self.random.choice(["fact", "status"])
        self.w.script(f"CREATE TEMP TABLE t AS SELECT * FROM {table};"
                      f"DELETE FROM {table};"
                      f"INSERT INTO {table} SELECT * FROM t; DROP TABLE t")

    def change(self):
        self.w.sql("UPDATE fact SET note = ? WHERE id ="
                   " (SELECT id FROM fact ORDER BY id % ? LIMIT 1)",
                   self.random.choice(TEXTS), self.random.randint(2, 9))
        self.w.sql("UPDATE status SET flag = flag + 1 WHERE rule_id = ?",
                   self.random.randint(0, 2))

    def move(self):
        self.w.sql("UPDATE fact SET location_id = ?, category_id = ?,"
                   " period = ? WHERE id % 5 = ?", *self.pov(),
                   self.random.randrange(5))

    def delete(self):
        tables = self.random.choice(
            [list(POVS), ["fact", "detail"], ["fact"], ["detail"], ["status"]])
        dim = self.random.randrange(3)
        value = self.pov()[dim]
        for t in tables:
            self.w.sql(f"DELETE FROM {t} WHERE {POVS[t][dim]} IS ?", value)

    def rename(self):
        table = self.random.choice(["location", "location", "category"])
        self.w.sql(f"UPDATE {table} SET name = ? WHERE id = ?",
                   self.random.choice(LABELS), self.random.randint(1, 4))

    def swap(self):
        table = self.random.choice(["location", "category"])
        a, b = self.random.sample(range(1, 4), 2)
        self.w.sql(f"UPDATE {table} SET name = (SELECT o.name FROM {table} o"
                   f" WHERE o.id = ? + ? - {table}.id) WHERE id IN (?, ?)"
                   f" AND (SELECT count(*) FROM {table}"
                   " WHERE id IN (?, ?)) = 2", a, b, a, b, a, b)

    def orphan(self):
        self.w.sql(*self.random.choice([
            ("DELETE FROM location WHERE id = ?", self.random.randint(1, 4)),
            ("DELETE FROM category WHERE id = ?", self.random.randint(1, 3)),
            ("DELETE FROM category_mapping WHERE category_id = ?",
             self.random.randint(1, 3)),
            ("DELETE FROM period_mapping WHERE period = ?",
             self.random.choice(["Jan", "Feb", "Mar"])),
            ("DELETE FROM load_rule WHERE id = ?", self.random.randint(1, 3)),
        ]))

    def come_back(self):
        self.w.script(
            "INSERT OR IGNORE INTO location SELECT value, 'l' || value"
            " FROM json_each('[1,2,3,4]');"
            "INSERT OR IGNORE INTO category SELECT value, 'c' || value"
            " FROM json_each('[1,2,3]');"
            "INSERT OR IGNORE INTO category_mapping SELECT value, 'T'"
            " FROM json_each('[1,2,3]');"
            "INSERT OR IGNORE INTO period_mapping SELECT value, 'T'"
            " FROM json_each('[\"Jan\",\"Feb\",\"Mar\"]');"
            "INSERT OR IGNORE INTO load_rule SELECT value, 'r'"
            " FROM json_each('[1,2,3]')")

    def set_up(self):
        self.w.sql('INSERT OR REPLACE INTO "Größe, cm" VALUES(?, ?)',
                   self.random.choice(["a", "b", "z", "ü"]), self.value())

    def roll_back(self):
        self.w.sql("BEGIN")
        self.delete()
        self.rename()
        self.load()
        self.w.sql("ROLLBACK")

    STEPS = [load, load, load, change, change, reload, move, delete, delete,
             rename, rename, swap, orphan, orphan, come_back, set_up,
             roll_back]

    def step(self):
        if self.random.random() < 0.3:
            self.w.sql("BEGIN")
        step = self.random.choice(self.STEPS)
        if self.w.db.in_transaction and step in (
                History.roll_back, History.reload, History.come_back):
            step = History.load
        step(self)
        if self.w.db.in_transaction:
            self.w.sql("COMMIT")


class Followers:
    """Replicas by snapshot: each export makes one of an older one."""

    def __init__(self, world):
        self.w = world
        self.at = {None: Replica()}
        self.last = None

    def export(self, r):
        kind = r.choices(["incremental", "all_incremental", "all", "setup"],
                         [6, 2, 1, 2])[0]
        words, base = [], None
        if kind.endswith("incremental") and self.last and r.random() < 0.2:
            base = r.choice([s for s, in self.w.store(
                "SELECT id FROM snapshot WHERE kept = 1")] or [None])
        if kind != "setup" and r.random() < 0.1:
            words.append("orphans=delete")
        z = self.w.export(kind, *words, base=base,
                          channel=r.choice(["main", "main", "b"]))
        if kind == "setup":
            self.follow_setup(z)
        else:
            self.follow(z)

    def follow(self, z):
        new = self.at[z.params["base"]].applied(z)
        new.compare(self.w)
        if z.params["type"] != "incremental":
            z.params["deleted"] = z.params["renamed"] = []
            z.params["base"] = None
            fresh = Replica().applied(z)
            assert (fresh.povs, fresh.values) == (new.povs, new.values)
        self.at[new.snapshot] = self.last = new

    def follow_setup(self, z):
        """The data state is that of the last export that had one."""
        if not self.last:
            self.at[z.params["snapshot"]] = Replica()
            self.at[z.params["snapshot"]].snapshot = z.params["snapshot"]
            return
        new = self.last.copy()
        new.snapshot = z.params["snapshot"]
        self.at[new.snapshot] = new


def lines(world, *words):
    """What a purge says that goes, or would go."""
    text = world.done("purge", *words)
    return sorted(line.split(": ", 1)[1] for line in text.splitlines()
                  if " gone: " in line or " would go: " in line)


def purge(followers, r):
    """A purge of a random kind."""
    w = followers.w
    words = r.choice([
        ["outbox", f"keep={r.randint(0, 5)}"], ["outbox", "name=*all*"],
        ["snapshots", f"keep={r.randint(0, 4)}"],
        ["snapshots", f"keep={r.randint(0, 4)}"],
        ["jobs", "older=0s"], ["orphans"], ["output"],
        ["data", f"from={r.choice(['Feb', 'Jan'])}", "to=Jan"],
        ["data", "location=Oslo"],
        ["data", "category=Budget", "from=Mar"],
    ])
    would = lines(w, *words, "dry_run=yes")
    assert w.channels() == w.marks
    went = lines(w, *words)
    assert words[0] == "jobs" or went == would, words
    if words[0] == "output":
        w.marks = {}
        followers.last = None  # a snapshot of setup alone has no data now
    assert w.channels() == w.marks
    if words[0] == "orphans":
        assert w.orphans() == set()


@pytest.mark.parametrize("seed, purges", [(1, False), (2, True), (3, True)])
def test_replay(tmp_path, seed, purges):
    w = World(tmp_path)
    history = History(w, seed)
    followers = Followers(w)
    for _ in range(60):
        history.step()
        if history.random.random() < 0.7:
            followers.export(history.random)
        if purges and history.random.random() < 0.3:
            purge(followers, history.random)
    history.come_back()
    followers.export(history.random)
    assert "; 0 damaged" in w.done("verify")
    assert len(followers.at) > 30
    w.close()
