"""What people use today: scripts, DuckDB, libfuse's example."""
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import time

from benchmarks.data import is_pov, povs_of
from benchmarks.tools import run, seconds, shell, sqlite, unmount, wait_until

PASSTHROUGH = pathlib.Path(
    "/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")


class Script:
    """sqlite3 -csv for each point of view, into a tree; and zip."""

    def __init__(self, bench, db):
        self.db = db
        self.povs = povs_of(db)
        self.tree = bench.work / "script"
        self.zip = bench.work / "script.zip"
        self.file = bench.work / "script.sh"
        for pov in self.povs:
            (self.tree / "/".join(pov)).mkdir(parents=True, exist_ok=True)

    def _commands(self, povs, options=""):
        return [f'sqlite3 -csv -header {options} {self.db} "SELECT * FROM fact'
                f' WHERE {is_pov(p)} ORDER BY id" >{"/".join(p)}/fact.csv\n'
                for p in povs]

    def _seconds(self, commands, *more):
        self.file.write_text("".join([f"cd {self.tree}\n", *commands, *more]),
                             encoding="utf-8")
        os.sync()
        return seconds(f"bash -e {self.file}")

    def whole(self):
        """Everything."""
        self.zip.unlink(missing_ok=True)
        return self._seconds(self._commands(self.povs),
                             f"zip -qr {self.zip} .\n")

    def parallel(self):
        """Everything, two at a time, by the fastest tool for ZIPs."""
        self.zip.unlink(missing_ok=True)
        program = shutil.which("7z") or shutil.which("7zz")
        jobs = pathlib.Path(f"{self.file}.jobs")
        # Whoever is last to close the database locks it for a moment.
        commands = self._commands(self.povs, "-cmd '.timeout 5000'")
        jobs.write_text("\0".join(commands), encoding="utf-8")
        return self._seconds(
            [f"xargs -0 -P2 -n1 sh -c <{jobs}\n"],
            f"{program} a -tzip -mmt=2 -mx=1 {self.zip} . >/dev/null\n")

    def some(self, povs):
        """A ZIP of these alone."""
        self.zip.unlink(missing_ok=True)
        names = " ".join(f"{'/'.join(p)}/fact.csv" for p in povs)
        return self._seconds(self._commands(povs),
                             f"zip -q {self.zip} {names}\n")

    def update(self, povs):
        """The ZIP of everything, with these brought up to date."""
        log = pathlib.Path(f"{self.file}.log")
        # Times in a ZIP are even seconds: an update sooner sees no change.
        time.sleep(2.1)
        took = self._seconds(self._commands(povs),
                             f"zip -urD {self.zip} . >{log}\n")
        n_updated = log.read_text("utf-8").count("updating:")
        if n_updated != len(povs):
            raise RuntimeError(f"zip -u brought {n_updated} up to date")
        return took


DUCK_LOAD = """
CREATE TABLE fact AS SELECT * FROM read_csv('{csv}', header = true, columns = {{
  'location': 'VARCHAR', 'category': 'VARCHAR', 'period': 'VARCHAR',
  'id': 'BIGINT', 'qty': 'BIGINT', 'price': 'DOUBLE', 'amount': 'DOUBLE',
  'description': 'VARCHAR'}})
"""
DUCK_COPY = """
COPY fact TO '{tree}' (FORMAT csv, HEADER, WRITE_PARTITION_COLUMNS true,
  PARTITION_BY (location, category, period))
"""
DUCK_RUN = """
const { DuckDBInstance } = require('@duckdb/node-api');
(async () => {
  const [, , db, sql] = process.argv;
  const instance = await DuckDBInstance.create(db, { threads: '2' });
  const connection = await instance.connect();
  await connection.run(sql);
  connection.closeSync();
})();
"""


class Duck:
    """DuckDB's partitioned COPY out of a table of its own; and zip -1."""

    def __init__(self, bench, db):
        """Raises where npm cannot be reached."""
        self.directory = bench.work / "duckdb"
        self.directory.mkdir()
        self.db = self.directory / "duck.db"
        self.tree = self.directory / "tree"
        self.zip = self.directory / "duck.zip"
        run("npm", "install", "--loglevel=error", "--no-audit", "--no-fund",
            "@duckdb/node-api", cwd=self.directory, timeout=300)
        package = self.directory / "node_modules/@duckdb/node-api/package.json"
        self.version = json.loads(package.read_text("utf-8"))["version"]
        (self.directory / "run.js").write_text(DUCK_RUN, encoding="utf-8")
        source = self.directory / "fact.csv"
        with open(source, "w", encoding="utf-8") as file:
            run("sqlite3", "-csv", "-header", db, "SELECT * FROM fact",
                stdout=file)
        shell(self._command(DUCK_LOAD.format(csv=source)))
        source.unlink()

    def _command(self, sql):
        return (f"cd {self.directory}; "
                f"node run.js {self.db} {shlex.quote(sql)}")

    def whole(self):
        shutil.rmtree(self.tree, ignore_errors=True)
        self.zip.unlink(missing_ok=True)
        os.sync()
        return seconds(self._command(DUCK_COPY.format(tree=self.tree))
                       + f"; cd {self.tree}; zip -1 -qr {self.zip} .")

    def lines(self):
        return int(shell(f"cat {self.tree}/*/*/*/*.csv | wc -l"))


def build_passthrough(bench):
    """libfuse's example, compiled; raises where Debian has it not."""
    program = bench.work / "passthrough_ll"
    shell(f"cc -O2 -w {PASSTHROUGH} -o {program}"
          " $(pkg-config --cflags --libs fuse3)")
    return program


@contextlib.contextmanager
def passed_through(program, tree, cache="auto"):
    """A directory, mounted again by libfuse's example."""
    path = tree.with_suffix(".through")
    path.mkdir(exist_ok=True)
    with subprocess.Popen([program, "-f", "-o",
                           f"source={tree},cache={cache}", path],
                          stderr=subprocess.DEVNULL) as daemon:
        try:
            if not wait_until(lambda: os.path.ismount(path), 10):
                raise RuntimeError("passthrough_ll made no mount")
            yield path
        finally:
            unmount(path, None)
            daemon.wait(60)


def count_lines(zip_file, pattern):
    """Of all the files of a ZIP together."""
    return int(shell(f"unzip -p {zip_file} '{pattern}' | wc -l"))


def rows_of(db):
    return int(sqlite(db, "SELECT count(*) FROM fact"))
