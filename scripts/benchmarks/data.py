"""Databases, made from a fixed seed."""
import base64
import collections
import contextlib
import csv
import json
import os
import pathlib
import random
import sqlite3

from benchmarks.tools import OUTBOXFS, mounted, run, say, sqlite

SEED = 20261121
FULL_ROWS = 5_000_000
# 20 x 10 x 100 points of view and so on; a row is 67 bytes of CSV.
FACT = """
CREATE TABLE {name}(location TEXT NOT NULL, category TEXT NOT NULL,
  period TEXT NOT NULL, id INTEGER NOT NULL, qty INTEGER, price REAL,
  amount REAL, description TEXT,
  PRIMARY KEY(location, category, period, id)) WITHOUT ROWID;
"""
FILL = """
INSERT INTO {name}
  WITH pov AS MATERIALIZED (
    SELECT printf('Loc%03d', l.value) AS l, printf('Cat%03d', c.value) AS c,
      printf('%04d-%02d', 2000 + p.value / 12, 1 + p.value % 12) AS p,
      ((l.value * {n_categories}) + c.value) * {n_periods} + p.value AS n
    FROM generate_series(0, {n_locations} - 1) AS l,
      generate_series(0, {n_categories} - 1) AS c,
      generate_series(0, {n_periods} - 1) AS p
    ORDER BY l, c, p),
  cell AS (
    SELECT l, c, p, n * {n_rows} + r.value AS id,
      ((n * {n_rows} + r.value) * 2654435761 + {seed}) % 4294967296 AS h
    FROM pov, generate_series(0, {n_rows} - 1) AS r)
  SELECT l, c, p, id, h % 1000, h % 100000 / 100.0,
    (h % 1000) * (h % 100000) / 100.0, 'item ' || (h % 50000)
  FROM cell;
"""
POV = [{"name": n} for n in ("location", "category", "period")]


def model(tables):
    columns = {"location": "location", "category": "category",
               "period": "period"}
    return {"name": "bench", "pov": POV, "setup": "*",
            "data": [{"table": t, "order": ["id"], "pov": columns}
                     for t in tables]}


def adopt(db, tables):
    path = pathlib.Path(f"{db}.model.json")
    path.write_text(json.dumps(model(tables)), encoding="utf-8")
    run(OUTBOXFS, "adopt", db, "--model", path)


# A shape of database: points of view, tables, rows of each in each.
Shape = collections.namedtuple(
    "Shape", "n_locations n_categories n_periods n_rows n_tables", defaults=[1])


def n_povs(shape):
    return shape.n_locations * shape.n_categories * shape.n_periods


def make_db(path, shape):
    """A database of this shape, adopted; nobody has mounted it yet."""
    tables = [f"t{i:02}" for i in range(1, shape.n_tables + 1)]
    if shape.n_tables == 1:
        tables = ["fact"]
    statements = ["PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF"]
    for name in tables:
        statements += [FACT.format(name=name),
                       FILL.format(name=name, seed=SEED, **shape._asdict())]
    sqlite(path, *statements, "PRAGMA journal_mode=WAL")
    adopt(path, tables)
    sqlite(path, "PRAGMA wal_checkpoint(TRUNCATE)")


def povs_of(db):
    """All points of view, in order: lists of three values."""
    return list(csv.reader(sqlite(
        "-csv", db, "SELECT DISTINCT location, category, period FROM fact"
    ).splitlines()))


def is_pov(pov):
    """The condition that the rows of a point of view meet."""
    return " AND ".join(f"{column['name']} = '{value}'"
                        for column, value in zip(POV, pov))


def change(db, povs):
    """Another program changes a row of each of these, in one transaction."""
    path = pathlib.Path(f"{db}.change.sql")
    path.write_text("BEGIN;\n" + "".join(
        f"UPDATE fact SET qty = qty + 1 WHERE {is_pov(p)} AND id = (SELECT"
        f" min(id) FROM fact WHERE {is_pov(p)});\n" for p in povs)
        + "COMMIT;\n", encoding="utf-8")
    sqlite(db, f".read {path}")


def noise_rows(n_rows):
    """Rows of 4,200 characters that hardly deflate, 2,000 points of view."""
    rng = random.Random(SEED)
    for n in range(2000):
        pov = (f"Loc{n // 100:03}", f"Cat{n // 10 % 10:03}",
               f"2000-{n % 10 + 1:02}")
        for i in range(n * n_rows, (n + 1) * n_rows):
            yield (*pov, i, i % 1000, i / 100, i / 10,
                   base64.b64encode(rng.randbytes(3150)).decode())


def make_noise(path, n_rows):
    """A database like the large one whose ZIP is large, too."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode=OFF")
        db.execute("PRAGMA synchronous=OFF")
        db.execute(FACT.format(name="fact"))
        db.executemany("INSERT INTO fact VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                       noise_rows(n_rows))
    sqlite(path, "PRAGMA journal_mode=WAL")
    adopt(path, ["fact"])
    sqlite(path, "PRAGMA wal_checkpoint(TRUNCATE)")


class Bench:
    """One run: its options, and the data that its benchmarks share."""

    def __init__(self, options, work):
        self.options = options
        self.rounds = options.rounds
        self.work = pathlib.Path(work)
        self.scale = options.rows / FULL_ROWS
        self.made = {}
        self.disk = run("stat", "-f", "-c", "%T", work).strip().replace(
            "ext2/ext3", "ext4")

    def db(self, name, shape):
        """The database of this name, made when first asked for."""
        if name not in self.made:
            self.made[name] = self.work / f"{name}.db"
            say(f"making {name}.db: {n_povs(shape):,} points of view, "
                f"{n_povs(shape) * shape.n_rows * shape.n_tables:,} rows")
            make_db(self.made[name], shape)
        return self.made[name]

    def scaled(self, n):
        return max(1, round(n * self.scale))

    def large_shape(self):
        # A process for each point of view takes long, however few rows.
        n_periods = 10 if self.options.rows >= 1_000_000 else 2
        return Shape(20, 10, n_periods, self.options.rows // (200 * n_periods))

    def large(self):
        """2,000 points of view of 2,500 rows."""
        return self.db("large", self.large_shape())

    def many(self):
        """100,000 files as one table gives them: two in a directory."""
        return self.db("many", Shape(50, 10, self.scaled(100), 2))

    def wide(self):
        """100,000 files of 49 tables: fifty in a directory."""
        return self.db("wide", Shape(20, 10, self.scaled(10), 2, 49))

    def million(self):
        """1,000,000 points of view of two rows."""
        side = max(10, round(100 * self.scale ** (1 / 3)))
        return self.db("pov-1m", Shape(side, side, side, 2))

    def noise(self):
        """A database whose ZIP has 1 GB."""
        if "noise" not in self.made:
            self.made["noise"] = self.work / "noise.db"
            n_rows = self.scaled(160)
            say(f"making noise.db: {2000 * n_rows:,} rows of 4,200 bytes")
            make_noise(self.made["noise"], n_rows)
        return self.made["noise"]

    def copy_of(self, db):
        """The data files of a database, on the disk."""
        tree = db.with_suffix(".tree")
        if not tree.exists():
            with mounted(db) as mnt:
                run("cp", "-a", mnt / "data", tree)
            os.sync()
        return tree
