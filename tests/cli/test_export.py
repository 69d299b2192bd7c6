"""Exports, purges and jobs by the command line, with nothing mounted."""
import contextlib
import csv
import io
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import zipfile

import pytest

from outbox import (OUTBOXFS, SALES, SALES_SQL, TIMEOUT, adopt, make_sales,
                    run, sqlite)


def ours(*args, **kwargs):
    return run(OUTBOXFS, *args, check=False, **kwargs)


def done(*args, **kwargs):
    """Exit status 0 and nothing on stderr; what was printed."""
    result = ours(*args, **kwargs)
    assert result.returncode == 0, result
    assert result.stderr == "", result
    return result.stdout


def refused(*args, **kwargs):
    """A sentence on stderr, nothing on stdout, exit status 1."""
    result = ours(*args, **kwargs)
    assert result.returncode == 1, result
    assert result.stdout == "", result
    assert result.stderr.startswith("outboxfs: "), result
    assert result.stderr.count("\n") == 1, result
    return result.stderr


def misused(*args):
    result = ours(*args)
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert "--help" in result.stderr
    return result.stderr


@pytest.fixture
def db(tmp_path):
    return make_sales(tmp_path / "sales.db")


@pytest.fixture
def out(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    return path


def jobs(db):
    return json.loads(done("jobs", db, "--json"))


def names(path):
    """What is in a ZIP that others' tools find whole."""
    run("unzip", "-tqq", path)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return file.namelist()


def table(path, name):
    with zipfile.ZipFile(path) as file:
        text = file.read(name).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


POVS = [f"{loc}/{cat}/{per}" for loc in ("Lima", "Oslo", "Paris")
        for cat in ("Actual", "Budget") for per in ("2026-01", "2026-02")]
SETUP = ["setup/category.csv", "setup/location.csv"]
DOCUMENTS = ["data/SnapshotParams.json", "datapackage.json"]


def expected(povs=tuple(POVS)):
    return sorted(SETUP + DOCUMENTS
                  + [f"data/{p}/process_status.csv" for p in povs]
                  + [f"output/{p}/fact.csv" for p in povs])


# export


def test_export_all(db, out):
    text = done("export", db, "all", "file=close", "-o", out)
    assert text == "job 1: done, snapshot 1, outbox/close.zip\n"
    assert os.listdir(out) == ["close.zip"]
    assert sorted(names(out / "close.zip")) == expected()
    rows = table(out / "close.zip", "output/Paris/Actual/2026-01/fact.csv")
    found = sqlite(db, "SELECT id, amount FROM fact WHERE location_id = 1 AND"
                   " category_id = 1 AND period = '2026-01' ORDER BY id")
    ids, amounts = rows[0].index("id"), rows[0].index("amount")
    assert [f"{r[ids]}|{r[amounts]}" for r in rows[1:]] == found.split()


def test_export_json(db):
    result = json.loads(done("export", db, "ALL", "--json"))
    assert result["job"] == 1
    assert result["kind"] == "export"
    assert result["state"] == "done"
    assert result["error"] is None
    assert result["snapshot"] == 1
    assert result["file"] == "sales-all-1.zip"
    assert isinstance(result["counts"], dict)
    assert f"uid {os.getuid()}" in result["requested_by"]
    for key in ("queued_at", "started_at", "finished_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", result[key])


def test_export_takes_json(db):
    done("export", db, '{"type": "setup", "file": "a b"}')
    assert [j["file"] for j in jobs(db)] == ["a b.zip"]


@pytest.mark.parametrize("name", ["it's", 'say "x"', "a\\b", "a b", "$x", "ü"])
def test_export_any_file_name(db, out, name):
    done("export", db, "setup", f"file={name}", "-o", out)
    assert os.listdir(out) == [name + ".zip"]
    assert sorted(n for n in names(out / (name + ".zip"))
                  if n.startswith("setup/")) == SETUP


def test_incremental_has_what_changed(db, out):
    done("export", db, "incremental", "-o", out, "file=1")
    assert sorted(names(out / "1.zip")) == expected()
    sqlite(db, "UPDATE fact SET amount = 99 WHERE id ="
           " (SELECT max(id) FROM fact WHERE location_id = 2"
           " AND category_id = 1 AND period = '2026-02')")
    done("export", db, "incremental", "-o", out, "file=2")
    assert sorted(names(out / "2.zip")) == expected(["Oslo/Actual/2026-02"])
    done("export", db, "incremental", "-o", out, "file=3")
    assert sorted(names(out / "3.zip")) == expected([])
    done("export", db, "all_incremental", "-o", out, "file=4")
    assert sorted(names(out / "4.zip")) == expected()


def test_name_in_outbox_is_taken(db):
    done("export", db, "setup", "file=x")
    assert "overwrite=yes" in refused("export", db, "all", "file=x.zip")
    assert len(jobs(db)) == 1
    done("export", db, "all", "file=x", "overwrite=yes")


def test_file_in_directory_is_taken(db, out):
    (out / "x.zip").write_bytes(b"mine")
    assert "overwrite=yes" in refused("export", db, "all", "file=x", "-o", out)
    assert not (pathlib.Path(f"{db}.outboxfs")).exists()
    assert (out / "x.zip").read_bytes() == b"mine"
    # A name that is made up is known late: the ZIP is there, the file is not.
    (out / "sales-all-1.zip").write_bytes(b"mine")
    assert "overwrite=yes" in refused("export", db, "all", "-o", out)
    assert (out / "sales-all-1.zip").read_bytes() == b"mine"
    assert sorted(os.listdir(out)) == ["sales-all-1.zip", "x.zip"]
    done("export", db, "all", "file=x", "overwrite=yes", "-o", out)
    assert "setup/location.csv" in names(out / "x.zip")


def test_directory_is_missing(db, out):
    text = refused("export", db, "all", "-o", out / "no")
    assert str(out / "no") in text
    assert not (pathlib.Path(f"{db}.outboxfs")).exists()


def test_delivered_file_has_ordinary_modes(db, out):
    before = os.umask(0o027)
    try:
        done("export", db, "setup", "file=x", "-o", out)
    finally:
        os.umask(before)
    assert (out / "x.zip").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("words, says", [
    (["al"], "nothing to export"),
    (["all", "base=1"], "base="),
    (["all", "overwrit=yes"], "unknown key"),
    (["all", "all"], "key=value"),
    (["file=x"], "all, all_incremental"),
    (["all", "file=a/b"], "'/'"),
    (["all", "file=a\nb"], ""),
    ([""], ""),
])
def test_export_misused(db, words, says):
    assert says in misused("export", db, *words)
    assert not (pathlib.Path(f"{db}.outboxfs")).exists()


def test_no_such_snapshot(db):
    done("export", db, "setup")
    assert "snapshot 7" in refused("export", db, "incremental", "base=7")


def test_no_database(tmp_path):
    for verb, *words in (["export", "all"], ["purge", "output"], ["jobs"],
                         ["abort", "1"], ["wait"], ["watch"], ["verify"]):
        refused(verb, tmp_path / "no.db", *words)
        path = tmp_path / "text"
        path.write_text("no database", encoding="utf-8")
        refused(verb, path, *words)
    assert os.listdir(tmp_path) == ["text"]


# Who else has it


@pytest.fixture
def held(db):
    """The store's lock, as another process holds it."""
    done("export", db, "setup")
    lock = pathlib.Path(f"{db}.outboxfs/lock")
    code = ("import fcntl, struct, sys\n"
            "f = open(sys.argv[1], 'r+')\n"
            "fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0,"
            " 0, 0))\n"  # F_OFD_SETLK
            "f.truncate(0)\n"
            "f.write('process 1, ' + sys.argv[2] + '\\n'); f.flush()\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n")
    started = []

    def hold(text):
        process = subprocess.Popen(
            ["/usr/bin/python3", "-c", code, str(lock), text],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return db

    yield hold
    for process in started:
        process.communicate()


@pytest.mark.parametrize("verb, words", [
    ("export", ["all"]), ("purge", ["output"]), ("jobs", []), ("wait", []),
    ("watch", []), ("abort", ["1"]), ("verify", [])])
def test_another_command_is_named(held, verb, words):
    text = refused(verb, held("command export"), *words)
    assert "process 1, command export" in text


def test_mount_out_of_reach_is_named(held, tmp_path):
    db = held(f"mounted at '{tmp_path}/else'")
    assert f"mounted at '{tmp_path}/else'" in refused("export", db, "all")


# Jobs


def test_jobs_list(db):
    assert done("jobs", db) == ""
    assert jobs(db) == []
    done("export", db, "all", "file=a")
    done("export", db, "setup", "file=b")
    lines = done("jobs", db).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:3] == ["1", "export", "done"]
    assert lines[1].endswith("  a.zip")
    assert [j["job"] for j in jobs(db)] == [1, 2]


def test_one_job_with_its_log(db):
    done("export", db, "all", "file=a")
    text = done("jobs", db, "1")
    document, end = json.JSONDecoder().raw_decode(text)
    assert document["file"] == "a.zip"
    log = text[end:].strip().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S", line)
               for line in log)
    assert "export started" in log[0]
    assert "done" in log[-1]
    assert json.loads(done("jobs", db, "1", "--json")) == document
    assert "no job 2" in refused("jobs", db, "2")
    assert "number of a job" in misused("jobs", db, "x")


def test_wait_and_watch_after_the_end(db):
    assert "no job" in refused("wait", db)
    assert done("watch", db) == "no job is running\n"
    done("export", db, "all", "file=a")
    assert done("wait", db) == ""
    assert done("wait", db, "1") == ""
    assert done("watch", db, "1") == \
        "job 1: done, snapshot 1, outbox/a.zip\n"
    assert "no job 2" in refused("wait", db, "2")


def add_job(db, state, request='{"type": "setup"}'):
    with contextlib.closing(sqlite3.connect(
            f"{db}.outboxfs/store.db", isolation_level=None)) as store:
        store.execute(
            "INSERT INTO job(kind, request, state, requested_by, queued_at)"
            " VALUES('export', ?, ?, 'a dead process', 1)", (request, state))


def test_what_a_dead_process_left_is_run_first(db):
    done("export", db, "setup")
    add_job(db, "processing")
    add_job(db, "queued", '{"type": "all"}')
    assert "nobody serves" in refused("wait", db, "3")
    assert "nobody serves" in refused("watch", db)
    done("export", db, "setup")
    assert [j["state"] for j in jobs(db)] == ["done"] * 4
    assert [j["snapshot"] for j in jobs(db)] == [1, 2, 3, 4]


@pytest.mark.parametrize("state", ["queued", "processing", "aborting"])
def test_abort_what_a_dead_process_left(db, state):
    done("export", db, "setup")
    add_job(db, state)
    done("abort", db, "2")
    job = jobs(db)[1]
    assert job["state"] == "aborted"
    assert job["error"]
    assert "has ended" in refused("abort", db, "2")
    assert "no job 3" in refused("abort", db, "3")
    assert refused("wait", db, "2")
    done("export", db, "setup")
    assert jobs(db)[1]["state"] == "aborted"


def test_failed_job(db):
    done("export", db, "setup")
    add_job(db, "queued", '{"type": "everything"}')
    done("export", db, "setup")
    assert "failed" in refused("wait", db, "2")
    assert "'everything'" in refused("watch", db, "2")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Enough to be under way for a while; adopted when it is full."""
    path = tmp_path_factory.mktemp("large") / "sales.db"
    with sqlite3.connect(path) as file:
        file.executescript(SALES_SQL)
        file.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            " WHERE i < 400000) INSERT INTO fact(location_id, category_id,"
            " period, amount, note) SELECT i % 3 + 1, i % 2 + 1,"
            " 2000 + i % 500, i * 1.1, 'a note of some length ' || i FROM n")
    file.close()
    adopt(path, SALES)
    return path


@pytest.fixture
def large(template, tmp_path):
    return pathlib.Path(shutil.copy(template, tmp_path))


def start(db, *words):
    """An export in a process of its own, when its job has begun."""
    process = subprocess.Popen(
        [OUTBOXFS, "export", str(db), *words], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + TIMEOUT
    path = f"{db}.outboxfs/store.db"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with contextlib.closing(sqlite3.connect(
                    f"file:{path}?mode=ro", uri=True, timeout=0)) as store:
                if store.execute("SELECT 1 FROM job WHERE state ="
                                 " 'processing'").fetchone():
                    return process
        except sqlite3.OperationalError:
            pass
        time.sleep(0.005)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_aborts(large, out, number):
    process = start(large, "all", "-o", str(out))
    process.send_signal(number)
    begun = time.monotonic()
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert time.monotonic() - begun < 10
    assert process.returncode == 1
    assert stdout == ""
    assert "aborted" in stderr
    assert [j["state"] for j in jobs(large)] == ["aborted"]
    assert os.listdir(out) == []
    done("export", large, "setup")
    assert done("verify", large)


def test_progress_on_a_terminal(large):
    """Drawn on stderr alone, each time over the last, and gone at the end."""
    master, slave = pty.openpty()
    process = subprocess.Popen([OUTBOXFS, "export", str(large), "all"],
                               stdout=subprocess.PIPE, stderr=slave, text=True)
    os.close(slave)
    seen = b""
    with pytest.raises(OSError):  # EIO: nobody has the other end any more
        while True:
            seen += os.read(master, 65536)
    os.close(master)
    assert process.communicate()[0].startswith("job 1: done")
    lines = seen.decode().split("\r")
    assert any(re.search(r"\d+/\d+ POVs, \d+ rows/s", line) for line in lines)
    assert all(len(line.replace("\033[K", "")) < 80 for line in lines)
    assert "\n" not in seen.decode()
    assert lines[-1] == "\033[K"


def test_killed_export_is_repeated(large, out):
    process = start(large, "all", "file=x")
    process.kill()
    process.communicate()
    assert jobs(large)[0]["state"] == "processing"
    done("export", large, "incremental", "file=y", "-o", out)
    assert [j["state"] for j in jobs(large)] == ["done", "done"]
    # The mark moved with the first: nothing has changed since.
    assert not [n for n in names(out / "y.zip") if n.startswith("output/")]


# Purging


def test_purge_outbox(db):
    for name in "abc":
        done("export", db, "setup", f"file={name}")
    text = done("purge", db, "outbox", "name=[ab]*", "dry_run=yes")
    assert "a.zip" in text and "b.zip" in text and "c.zip" not in text
    assert "overwrite=yes" in refused("export", db, "setup", "file=a")
    text = done("purge", db, "outbox", "name=[ab]*")
    assert "a.zip" in text and "b.zip" in text and "c.zip" not in text
    done("export", db, "setup", "file=a")
    refused("export", db, "setup", "file=c")
    result = json.loads(done("purge", db, "outbox", "keep=0", "--json"))
    assert result["kind"] == "purge"
    assert result["counts"]["gone"] == 2


def test_purge_output_makes_the_next_incremental_an_all(db, out):
    done("export", db, "all")
    done("purge", db, "output")
    done("export", db, "incremental", "file=x", "-o", out)
    assert sorted(names(out / "x.zip")) == expected()


def test_purge_data(db):
    text = done("purge", db, "data", "location=Paris", "from=2026-02",
                "to=2026-02", "dry_run=yes")
    assert "Paris/Actual/2026-02" in text
    assert sqlite(db, "SELECT count(*) FROM fact") == "36\n"
    done("purge", db, "data", "location=Paris", "from=2026-02", "to=2026-02")
    assert sqlite(db, "SELECT count(*) FROM fact") == "30\n"


@pytest.mark.parametrize("words", [
    ["outbox"], ["attic"], ["jobs", "keep=3"], ["outbox", "older=3"], ["data"],
    ["output", "older=1d"]])
def test_purge_misused(db, words):
    misused("purge", db, *words)
    assert not (pathlib.Path(f"{db}.outboxfs")).exists()


# Verify


def packs(db):
    return sorted(pathlib.Path(f"{db}.outboxfs/packs").iterdir())


def test_verify(db):
    done("export", db, "all")
    text = done("verify", db)
    assert str(db) in text
    assert "0 damaged" in text


def test_verify_finds_damage_and_repairs(db, out):
    done("export", db, "all", "file=a", "-o", out)
    before = (out / "a.zip").read_bytes()
    pack = packs(db)[0]
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 0x55
    pack.write_bytes(content)
    result = ours("verify", db)
    assert result.returncode == 1
    assert ".csv" in result.stdout or ".json" in result.stdout
    assert "0 damaged" not in result.stdout
    ours("verify", db, "--repair")
    assert "0 damaged" in done("verify", db)
    assert (out / "a.zip").read_bytes() == before


# Tables whose rows do not lie together

SCATTERED = {
    "name": "scattered",
    "pov": [{"name": n} for n in ("location", "category", "period")],
    "setup": ["load_rule"],
    "data": [{"table": "fact", "order": ["id"], "rule": "r",
              "pov": {"location": "l", "category": "c", "period": "p"}}],
    "orphans": [{"rule": True, "table": "load_rule", "column": "id"}],
}
SCATTERED_SQL = """
CREATE TABLE load_rule(id INTEGER PRIMARY KEY, name);
INSERT INTO load_rule VALUES (1, 'x'), (2, 'y');
CREATE TABLE fact(id INTEGER PRIMARY KEY, l TEXT, c, p, r INTEGER, v REAL);
INSERT INTO fact
  SELECT value, 'L' || (value % 10),
    value / 10 % 5 + CASE WHEN value % 3 = 0 THEN 0.0 ELSE 0 END,
    nullif('2026-' || (value / 50 % 12), '2026-3'),
    CASE WHEN value % 10 = 7 THEN 9 ELSE 1 + value % 2 END, value / 7.0
  FROM generate_series(1, 60000);
"""


def contents(path):
    """What a ZIP has, without the documents, which have times in them."""
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()
                if not name.endswith(".json")}


def test_one_pass_gives_the_same_files(tmp_path, out):
    """By index, in one sorted pass, and clustered: the same bytes."""
    ways = {"indexed": [], "bare": ["--no-index"], "clustered": []}
    model = tmp_path / "model.json"
    model.write_text(json.dumps(SCATTERED))
    found = {}
    for way, options in ways.items():
        path = tmp_path / f"{way}.db"
        text = SCATTERED_SQL
        if way == "clustered":
            text = text.replace(
                "FROM generate_series(1, 60000)",
                "FROM generate_series(1, 60000) ORDER BY 2, 3, 4")
        run("sqlite3", path, text)
        done("adopt", path, "--model", model, *options)
        done("export", path, "all", f"file={way}", "-o", out)
        first = contents(out / f"{way}.zip")
        run("sqlite3", path, "UPDATE fact SET v = v + 1 WHERE id % 50 = 1")
        done("export", path, "incremental", f"file={way}-2", "-o", out)
        found[way] = first, contents(out / f"{way}-2.zip")
    assert found["bare"] == found["indexed"] == found["clustered"]
    # 10 locations of which one has only a rule that is gone.
    assert sum(n.startswith("output/") for n in found["bare"][0]) == 540
    assert sum(n.startswith("output/") for n in found["bare"][1]) == 12
