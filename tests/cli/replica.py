"""Somebody who has nothing but the ZIPs: applies them to an empty copy."""
import sqlite3

import expect
from worlds import POVS, SETUP, TABLES

DIMS = ["location", "category", "period"]
DATA = ("fact", "detail")
TYPES = {}  # table -> affinities of its columns


def affinities(table):
    if not TYPES:
        db = sqlite3.connect(":memory:")
        db.executescript(TABLES)
        for t in [*SETUP, *POVS]:
            TYPES[t] = [expect.affinity(row[2]) for row in
                        db.execute(f'PRAGMA table_info("{t}")')]
        db.close()
    return TYPES[table]


def rows_of(table, data):
    """Rows of a CSV file, as outboxfs-tree(5) says that they read back."""
    kinds = affinities(table)
    found = []
    for fields in expect.parse(data)[1:]:
        row = [expect.value(piece, quoted, aff)
               for (piece, quoted), aff in zip(fields, kinds, strict=True)]
        found.append(tuple(v.decode() if isinstance(v, expect.Text) else v
                           for v in row))
    return found


def pov_of(table, row):
    """The values of a row's POV: where its columns stand."""
    at = {"fact": (1, 2, 3), "detail": (0, 1, 2), "status": (0, 1, 2)}[table]
    return tuple(row[i] for i in at)


class Replica:
    """What a channel's follower has at one snapshot."""

    def __init__(self):
        self.snapshot = None
        self.setup = {}
        self.povs = {}    # path -> {table: rows}
        self.values = {}  # path -> values

    def copy(self):
        new = Replica()
        new.setup = dict(self.setup)
        new.povs = {path: dict(tables) for path, tables in self.povs.items()}
        new.values = dict(self.values)
        return new

    def applied(self, z):
        """The state after one ZIP more; self is not touched."""
        new = self.copy()
        assert z.params["base"] in (None, self.snapshot)
        self.check_names(z.params["renamed"])
        new.delete(z.params["deleted"])
        new.rename(z.params["renamed"])
        new.replace(z)
        if z.params["type"] == "incremental":
            self.check_changed(new, z)
        new.setup = {n[6:-4]: rows_of(n[6:-4], data)
                     for n, data in z.contents.items()
                     if n.startswith("setup/")}
        new.snapshot = z.params["snapshot"]
        return new

    def check_names(self, renamed):
        """What is renamed was there under that name."""
        for r in renamed:
            i = DIMS.index(r["dimension"])
            assert any(path.split("/")[i] == r["from"]
                       and values[i] == r["value"]
                       for path, values in self.values.items()), r

    def check_changed(self, new, z):
        """Nothing is in an incremental ZIP that is as it was."""
        old = {self.values[p]: tables for p, tables in self.povs.items()}
        for path in z.shown:
            assert new.povs[path] != old.get(new.values[path]), path

    def delete(self, deleted):
        for d in deleted:
            tables = self.povs[d["path"]]
            if d["data"]:
                gone = [tables.pop(t, None) for t in DATA]
                assert any(gone), d
            if d["status"]:
                assert tables.pop("status", None), d
            if not any(t in tables for t in DATA + ("status",)):
                del self.povs[d["path"]], self.values[d["path"]]

    def rename(self, renamed):
        """All at once: two names may have been swapped."""
        by_name = [{r["from"]: r for r in renamed if r["dimension"] == d}
                   for d in DIMS]
        assert sum(map(len, by_name)) == len(renamed)
        moved = {}
        for path, tables in self.povs.items():
            parts = path.split("/")
            for i, part in enumerate(parts):
                r = by_name[i].get(part)
                if r:
                    assert r["value"] == self.values[path][i], (path, r)
                    parts[i] = r["to"]
            moved[path] = "/".join(parts)
        assert len(set(moved.values())) == len(moved)
        self.povs = {moved[p]: tables for p, tables in self.povs.items()}
        self.values = {moved[p]: v for p, v in self.values.items()}

    def replace(self, z):
        """POVs that are there are replaced: their data, their status."""
        fresh = {}
        for name, data in z.contents.items():
            top, *pov, file = name.split("/")
            if top == "setup":
                continue
            table = file[:-4]
            rows = rows_of(table, data)
            assert rows and len({pov_of(table, r) for r in rows}) == 1
            fresh.setdefault("/".join(pov), {})[table] = rows
        for path, tables in fresh.items():
            old = self.povs.setdefault(path, {})
            if any(t in tables for t in DATA):
                for t in DATA:
                    old.pop(t, None)
            old.update(tables)
            values, = {pov_of(t, rows[0]) for t, rows in tables.items()}
            assert self.values.setdefault(path, values) == values

    def compare(self, world):
        """What the database has and we have not, and the other way round."""
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.executescript(TABLES + "CREATE TEMP TABLE orphan(l, c, p);")
        db.execute("ATTACH ? AS theirs", (f"{world.path}",))
        db.executemany("INSERT INTO orphan VALUES(?, ?, ?)", world.orphans())
        ours = {t: rows for t, rows in self.setup.items()}
        for tables in self.povs.values():
            for t, rows in tables.items():
                ours[t] = ours.get(t, []) + rows
        assert set(self.setup) == set(SETUP)
        for t in [*SETUP, *POVS]:
            compare_table(db, t, ours.get(t, []))
        db.close()


def compare_table(db, t, rows):
    columns = [r[1] for r in db.execute(f'PRAGMA table_info("{t}")')]
    if rows:
        db.executemany(f'INSERT INTO main."{t}" VALUES'
                       f'({", ".join("?" * len(columns))})', rows)
    fields = ", ".join(f"{c}, typeof({c})" for c in columns)
    there = f'theirs."{t}" AS x'
    if t in POVS:
        l, c, p = POVS[t]
        there += (" WHERE NOT EXISTS (SELECT 1 FROM orphan AS o WHERE"
                  f" o.l IS x.{l} AND o.c IS x.{c} AND o.p IS x.{p})")
    mine = f'SELECT {fields} FROM main."{t}"'
    other = f"SELECT {fields} FROM {there}"
    extra = db.execute(f"{mine} EXCEPT {other}").fetchall()
    missing = db.execute(f"{other} EXCEPT {mine}").fetchall()
    assert (extra, missing) == ([], []), t
    assert db.execute(f"SELECT (SELECT count(*) FROM ({mine})) ="
                      f" (SELECT count(*) FROM ({other}))").fetchone() == (1,)
