"""What a mount must show, computed from the database by other means.

Nothing here shares code with outboxfs: rows come from Python's SQLite, reals
from Python's repr, CSV is read by a strict parser of its own.
"""
import decimal
import re
import sqlite3

from outbox import sqlite


class Text(bytes):
    """Text as its bytes; a blob is plain bytes."""


def connect(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.text_factory = Text
    return db


def same(a, b):
    """Equal value and storage class, -0.0 apart from 0.0."""
    return type(a) is type(b) and repr(a) == repr(b)


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def affinity(declared):
    t = declared.upper()
    if "INT" in t:
        return "INTEGER"
    if "CHAR" in t or "CLOB" in t or "TEXT" in t:
        return "TEXT"
    if "BLOB" in t or not t:
        return "BLOB"
    if "REAL" in t or "FLOA" in t or "DOUB" in t:
        return "REAL"
    return "NUMERIC"


# CSV

NUMBER = re.compile(rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
INTEGER = re.compile(rb"[+-]?\d+")
BLOB = re.compile(rb"\\x(?:[0-9a-f]{2})*")


def real_text(v):
    if v in (float("inf"), float("-inf")):
        return b"1.0e999" if v > 0 else b"-1.0e999"
    sign, digits, exp = decimal.Decimal(repr(v)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    exp += len(digits) - len(text)
    if not text:
        text, exp = "0", 0
    point = len(text) + exp  # digits before the point
    if v == 0:
        out = "0.0"
    elif -4 <= point <= 16:
        if point <= 0:
            out = "0." + "0" * -point + text
        elif exp >= 0:
            out = text + "0" * exp + ".0"
        else:
            out = text[:point] + "." + text[point:]
    else:
        out = f"{text[0]}.{text[1:] or '0'}e{point - 1}"
    return (("-" if sign else "") + out).encode()


def field(v, aff):
    """One value as outboxfs must write it."""
    if v is None:
        return b""
    if isinstance(v, int):
        return str(v).encode()
    if isinstance(v, float):
        return real_text(v)
    if not isinstance(v, Text):
        return b"\\x" + v.hex().encode()
    if (not v or v.startswith(b"\\x") or re.search(rb'[,"\r\n]', v)
            or (aff != "TEXT" and NUMBER.fullmatch(v))):
        return b'"' + v.replace(b'"', b'""') + b'"'
    return bytes(v)


def record(fields):
    return b",".join(fields) + b"\n"


def parse(data):
    """Records of (bytes, quoted); an error for anything that is not RFC 4180.

    Line ends are exactly LF, and the last line has one.
    """
    assert data.endswith(b"\n")
    records, fields, at = [], [], 0
    while at < len(data):
        if data[at:at + 1] == b'"':
            piece, at = b"", at + 1
            while True:
                end = data.index(b'"', at)
                piece += data[at:end]
                at = end + 1
                if data[at:at + 1] != b'"':
                    break
                piece, at = piece + b'"', at + 1
            fields.append((piece, True))
        else:
            end = re.compile(rb"[,\n]").search(data, at).start()
            piece = data[at:end]
            assert b'"' not in piece and b"\r" not in piece, piece
            fields.append((piece, False))
            at = end
        if data[at:at + 1] == b"\n":
            records.append(fields)
            fields = []
        else:
            assert data[at:at + 1] == b",", data[at - 20:at + 20]
        at += 1
    return records


def value(piece, quoted, aff):
    """The value that a field stands for: what include/…/csv.h promises."""
    if quoted:
        return Text(piece)
    if not piece:
        return None
    if BLOB.fullmatch(piece):
        return bytes.fromhex(piece[2:].decode())
    if aff != "TEXT" and NUMBER.fullmatch(piece):
        if INTEGER.fullmatch(piece) and -2**63 <= int(piece) < 2**63:
            return int(piece)
        return float(piece)
    return Text(piece)


# Names

def name_text(v):
    """One value as a path component, for values that fit."""
    if v is None:
        return b"%null"
    text = field(v, "NONE") if not isinstance(v, Text) else bytes(v)
    if text in (b".", b".."):
        return text.replace(b".", b"%2E")
    if text == b"SnapshotParams.json":
        return b"%53" + text[1:]
    if not text:
        return b"%"
    out = b""
    for c in text.decode("utf-8", "surrogateescape"):
        raw = c.encode("utf-8", "surrogateescape")
        if (c in "/%" or ord(c) < 32 or 0x7f <= ord(c) < 0xa0
                or 0xdc80 <= ord(c) <= 0xdcff):
            out += b"".join(b"%%%02X" % b for b in raw)
        else:
            out += raw
    return out


# Tables and the tree

class Table:
    def __init__(self, db, entry):
        entry = entry if isinstance(entry, dict) else {"table": entry}
        self.name = entry["table"]
        self.pov = list(entry.get("pov", {}).values())
        info = db.execute(
            "SELECT CAST(name AS BLOB), CAST(type AS BLOB), pk, hidden"
            " FROM pragma_table_xinfo(?) ORDER BY cid", (self.name,)).fetchall()
        self.columns = [r[0].decode() for r in info if r[3] != 1]
        self.types = [r[1].decode() for r in info if r[3] != 1]
        self.affinities = [affinity(t) for t in self.types]
        pk = sorted((r[2], r[0].decode()) for r in info if r[2])
        self.order = list(entry.get("order", []))
        self.order += [c for _, c in pk if c not in self.order]
        if not db.execute("SELECT wr FROM pragma_table_list WHERE name = ?"
                          " AND schema = 'main'", (self.name,)).fetchone()[0]:
            self.order += ["rowid"]

    def header(self):
        out = []
        for c in self.columns:
            text = Text(c.encode())
            piece = field(text, "TEXT")
            if text.startswith("\ufeff".encode()) and not piece[:1] == b'"':
                piece = b'"' + piece + b'"'
            out.append(piece)
        return record(out)

    def select(self):
        order = ", ".join(c if c == "rowid" else quote(c) for c in self.order)
        return (f"SELECT {', '.join(map(quote, self.columns))}"
                f" FROM {quote(self.name)} ORDER BY {order}")

    def line(self, row):
        return record(field(v, a) for v, a in zip(row, self.affinities))

    def whole(self, db):
        return self.header() + b"".join(map(self.line, db.execute(self.select())))

    def povs(self, db):
        """POV values as a key -> its file."""
        at = [[c.lower() for c in self.columns].index(p.lower())
              for p in self.pov]
        found = {}
        for row in db.execute(self.select()):
            pov = tuple((type(row[i]), row[i]) for i in at)
            found.setdefault(pov, [self.header()]).append(self.line(row))
        return {pov: b"".join(parts) for pov, parts in found.items()}


class Tree:
    """All files of a model: by relative name their bytes, without pov.json."""

    def __init__(self, path, model):
        self.db = connect(path)
        self.model = model
        named = [t for t in model["data"]] + (
            [model["status"]] if "status" in model else [])
        self.slots = [Table(self.db, t) for t in named]
        if model["setup"] == "*":
            taken = {t.name for t in self.slots}
            taken.add(model.get("process", {}).get("table"))
            setup = [r[0].decode() for r in self.db.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name"
                " NOT LIKE 'outboxfs\\_%' ESCAPE '\\' AND name NOT LIKE"
                " 'sqlite\\_%' ESCAPE '\\'")]
            setup = [n for n in setup if n not in taken]
        else:
            setup = model["setup"]
        self.setup = [Table(self.db, t) for t in setup]
        self.labels = [self.read_labels(d) for d in model["pov"]]
        self.files, self.dirs = {}, {}
        for t in self.setup:
            name = name_text(Text(f"{t.name}.csv".encode()))
            self.files[b"setup/" + name] = t.whole(self.db)
        for t in self.slots:
            for pov, data in t.povs(self.db).items():
                values = tuple(v for _, v in pov)
                path = b"data/" + b"/".join(map(self.name, range(8), values))
                self.dirs[path] = values
                name = name_text(Text(f"{t.name}.csv".encode()))
                self.files[path + b"/" + name] = data
        self.db.close()

    def read_labels(self, dim):
        """Key -> (label, whether another row has the same)."""
        if "table" not in dim:
            return {}
        rows = self.db.execute(
            f"SELECT {quote(dim['key'])}, {quote(dim['label'])}"
            f" FROM {quote(dim['table'])}").fetchall()
        names = [name_text(label) for _, label in rows]
        count = {}
        for n in names:
            count[n] = count.get(n, 0) + 1
        return {key: (label, count[n] > 1)
                for (key, label), n in zip(rows, names)}

    def label(self, dim, v):
        return self.labels[dim].get(v, (v, False))

    def name(self, dim, v):
        label, shared = self.label(dim, v)
        if shared:
            return name_text(label) + b"%~" + name_text(v)
        return name_text(label)


# By the sqlite3 command

def comparable(column, aff):
    """A column as .import can carry it.

    .import knows no NULL (an empty field is the empty string) and no blobs
    (they stay text); SQLite's own text to real conversion is exact to 15
    digits only, so reals are compared by these. What that leaves open, the
    strict parser compares: storage classes, NULL against '', every digit.
    """
    c = quote(column)
    number = f"CAST({c} AS TEXT)" if aff == "BLOB" else f"printf('%.15g', {c})"
    whole = f"CAST({c} AS TEXT)" if aff == "BLOB" else c
    return (f"CASE typeof({c}) WHEN 'null' THEN '' WHEN 'real' THEN {number}"
            f" WHEN 'blob' THEN '\\x' || lower(hex({c})) ELSE {whole} END")


def reimport_differences(db, table, path, scratch):
    """Rows of a CSV file that the table has not, and the other way round."""
    columns = ", ".join(f"{quote(c)} {t}"
                        for c, t in zip(table.columns, table.types))
    exprs = ", ".join(map(comparable, table.columns, table.affinities))
    new = f"SELECT {exprs} FROM main.imported"
    old = f"SELECT {exprs} FROM theirs.{quote(table.name)}"
    return sqlite(
        scratch, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
        f" DROP TABLE IF EXISTS imported; CREATE TABLE imported({columns})",
        f".import --csv --skip 1 {path} imported",
        f"ATTACH '{db}' AS theirs",
        f"SELECT 'only in the file', * FROM ({new} EXCEPT {old})",
        f"SELECT 'only in the table', * FROM ({old} EXCEPT {new})",
        "SELECT 'counts differ' WHERE (SELECT count(*) FROM imported)"
        f" <> (SELECT count(*) FROM theirs.{quote(table.name)})",
    ).replace("off\n", "")
