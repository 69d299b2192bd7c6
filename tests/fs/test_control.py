"""Commands: control files, jobs, who may, who waits."""
import contextlib
import errno
import json
import os
import pathlib
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from outbox import OUTBOXFS, TIMEOUT, run, sqlite

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def export(mnt, words, check=True):
    return run("bash", "-c", f"echo '{words}' > control/export", cwd=mnt.path,
               check=check)


def until(what, *args):
    """Asks until it is so."""
    deadline = time.monotonic() + TIMEOUT
    while not what(*args):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def jobs(mnt):
    return sorted((int(n) for n in os.listdir(mnt / "jobs") if n != "latest"))


def state(mnt, job):
    return (mnt / f"jobs/{job}/state").read_text()


def result(mnt, job):
    return json.loads((mnt / f"jobs/{job}/result.json").read_text())


@contextlib.contextmanager
def held(path):
    """Another program holds the write lock: an export cannot begin."""
    db = sqlite3.connect(path, isolation_level=None, timeout=10,
                         check_same_thread=False)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


@pytest.fixture
def mnt(work, mounts, sales):
    return mounts(sales, work / "mnt", "-o", "busy_timeout=60")


# Ways to write


WAYS = {
    "bash": ["bash", "-c", "echo 'all wait=yes' > control/export"],
    "bash without newline": ["bash", "-c",
                             "printf 'all wait=yes' > control/export"],
    "dash": ["dash", "-c", "echo 'all wait=yes' > control/export"],
    "dash append": ["dash", "-c", "echo 'all wait=yes' >> control/export"],
    "tee": ["sh", "-c", "echo 'all wait=yes' | tee control/export"],
    "cp": ["cp", "../command", "control/export"],
    "dd": ["dd", "if=../command", "of=control/export", "status=none"],
    "python": [sys.executable, "-c",
               "open('control/export', 'w').write('all wait=yes')"],
    "python r+": [sys.executable, "-c",
                  "open('control/export', 'r+').write('ALL wait=yes\\n')"],
    "json": ["sh", "-c", "printf '{\\n\"type\": \"all\",\\n\"wait\": true}\\n'"
             " | cat > control/export"],
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_write(mnt, work, way):
    (work / "command").write_text("all wait=yes\n")
    run(*WAYS[way], cwd=mnt.path)
    assert jobs(mnt) == [1]
    assert state(mnt, 1) == "done\n"
    assert os.listdir(mnt / "outbox")


def test_what_does_nothing_does_nothing(mnt):
    path = mnt / "control/export"
    run("touch", path)
    run("touch", "-d", "2001-01-01", path)
    run("truncate", "-s", "0", path)
    run("sh", "-c", f": > {path}")
    run("sh", "-c", f"sleep 0 > {path}")
    os.close(os.open(path, os.O_RDWR | os.O_TRUNC))
    assert jobs(mnt) == []


@pytest.mark.parametrize("args", [
    ["mv", "../file", "control/export"],
    ["install", "../file", "control/export"],
    ["sed", "-i", "s/a/b/", "control/export"],
    ["rm", "-f", "control/export"],
    ["ln", "-sf", "x", "control/export"],
    ["mkdir", "control/x"],
    ["chmod", "777", "control/export"],
    ["sh", "-c", "echo x > control/new"],
    ["sh", "-c", "echo x > outbox/new.zip"],
])
def test_what_replaces_files_is_refused(mnt, work, args):
    (work / "file").write_text("all")
    done = run(*args, cwd=mnt.path, check=False)
    assert done.returncode != 0
    assert "not permitted" in done.stderr, done.stderr
    assert jobs(mnt) == []
    assert sorted(os.listdir(mnt / "control")) == ["abort", "export", "purge"]


# Refusals


REFUSED = {
    "everything": errno.EINVAL,
    "all colour=red": errno.EINVAL,
    "all wait=perhaps": errno.EINVAL,
    "all\nsetup": errno.EINVAL,
    "all file=a/b": errno.EINVAL,
    "incremental base=99": errno.ENOENT,
    "{": errno.EINVAL,
    "x" * 65537: errno.EMSGSIZE,
}


@pytest.mark.parametrize("command", REFUSED, ids=lambda c: c[:20])
def test_refusals(mnt, command):
    fd = os.open(mnt / "control/export", os.O_RDWR)
    with pytest.raises(OSError) as e:
        os.write(fd, command.encode())
    assert e.value.errno == REFUSED[command]
    if e.value.errno != errno.EMSGSIZE:
        text = os.read(fd, 4096).decode()
        assert text.endswith("\n") and len(text) > 10
        assert os.read(fd, 4096) == b""
        assert text.strip() in mnt.log()
    os.close(fd)
    assert jobs(mnt) == []


def test_refusal_is_an_error_of_the_shell(mnt):
    done = run("bash", "-c", f"echo nonsense > {mnt.path}/control/export",
               check=False)
    assert done.returncode == 1
    assert "write error: Invalid argument" in done.stderr


def test_name_that_is_taken(mnt):
    export(mnt, "all file=a wait=yes")
    before = os.stat(mnt / "outbox/a.zip")
    done = export(mnt, "all file=a wait=yes", check=False)
    assert "File exists" in done.stderr
    assert os.stat(mnt / "outbox/a.zip") == before
    assert jobs(mnt) == [1]
    export(mnt, "all file=a wait=yes overwrite=yes")
    after = os.stat(mnt / "outbox/a.zip")
    assert after.st_mtime > before.st_mtime
    assert after.st_ino != before.st_ino


# Reading back


def test_reading_without_writing(mnt):
    text = (mnt / "control/export").read_text()
    assert "all_incremental" in text and "last job: none" in text
    assert "purge" in (mnt / "control/purge").read_text()
    export(mnt, "all wait=yes")
    text = (mnt / "control/export").read_text()
    assert "last job: 1, export, done" in text and "pending: none" in text


def test_reading_back_the_job(mnt):
    out = run("bash", "-c", "exec 3<>control/export; echo 'all wait=yes' >&3;"
              " cat <&3", cwd=mnt.path).stdout
    job = json.loads(out)
    assert (job["job"], job["state"], job["error"]) == (1, "done", None)
    assert out == (mnt / "jobs/1/result.json").read_text()
    assert (mnt / "outbox" / job["file"]).exists()
    assert job["requested_by"].startswith(f"uid {os.getuid()}, process ")
    assert job["requested_by"].endswith("(bash)")


def test_reading_back_from_the_beginning(mnt):
    fd = os.open(mnt / "control/export", os.O_RDWR)
    os.write(fd, b"all")
    assert json.loads(os.read(fd, 65536))["job"] == 1
    until(lambda: state(mnt, 1) == "done\n")
    assert json.loads(os.pread(fd, 65536, 0))["state"] == "done"
    os.close(fd)


def test_answers_are_for_who_asked(mnt):
    a = os.open(mnt / "control/export", os.O_RDWR)
    b = os.open(mnt / "control/export", os.O_RDWR)
    with pytest.raises(OSError):
        os.write(a, b"nonsense")
    assert b"nonsense" in os.read(a, 4096)
    assert b"nonsense" not in os.read(b, 4096)
    os.close(a)
    os.close(b)


def test_each_write_is_a_command(mnt):
    fd = os.open(mnt / "control/export", os.O_WRONLY)
    for _ in range(3):
        os.write(fd, b"setup wait=yes\n")
    os.close(fd)
    assert jobs(mnt) == [1, 2, 3]


# Waiting


def test_who_waits_holds_up_nobody(mnt, sales):
    with held(sales):
        waiting = [subprocess.Popen(
            ["bash", "-c", "echo 'all wait=yes' > control/export"],
            cwd=mnt.path) for _ in range(12)]
        until(lambda: len(jobs(mnt)) == 12)
        began = time.monotonic()
        run("ls", "-l", mnt.path, mnt / "data/Paris", mnt / "control")
        export(mnt, "setup")
        assert time.monotonic() - began < 2
        assert state(mnt, 1) == "processing\n"
        assert state(mnt, 2) == "queued\n"
        assert not (mnt / "jobs/1/result.json").exists()
        assert json.loads((mnt / "jobs/1/progress.json").read_text())[
            "job"] == 1
        assert "pending: 1 (processing), 2," in (
            mnt / "control/export").read_text()
    for process in waiting:
        assert process.wait(TIMEOUT) == 0
    assert len(os.listdir(mnt / "outbox")) >= 12


def test_interrupted_waiting(mnt, sales):
    with held(sales):
        process = subprocess.Popen(
            [sys.executable, "-c",
             "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
             "open('control/export', 'w').write('all wait=yes')"],
            cwd=mnt.path)
        until(lambda: jobs(mnt) == [1])
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT) == -signal.SIGINT
        assert time.monotonic() - began < 1
    until(lambda: state(mnt, 1) == "done\n")
    assert jobs(mnt) == [1]


def test_interrupted_and_written_again_is_the_same_job(mnt, sales):
    """As Python does it: EINTR, a handler, and the same write again."""
    code = ("import os, signal\n"
            "signal.signal(signal.SIGUSR1, lambda *a: None)\n"
            "fd = os.open('control/export', os.O_WRONLY)\n"
            "os.write(fd, b'all wait=yes')\n")
    with held(sales):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=mnt.path)
        until(lambda: jobs(mnt) == [1])
        for _ in range(3):
            time.sleep(0.1)  # it shall have begun to wait again
            process.send_signal(signal.SIGUSR1)
    assert process.wait(TIMEOUT) == 0
    assert jobs(mnt) == [1]


def test_aborted_while_waiting(mnt, sales):
    with held(sales):
        process = subprocess.Popen(
            ["bash", "-c", "echo 'all wait=yes file=a' > control/export"],
            cwd=mnt.path, stderr=subprocess.PIPE, text=True)
        until(lambda: jobs(mnt) == [1] and state(mnt, 1) == "processing\n")
        run("bash", "-c", f"echo 1 > {mnt.path}/control/abort")
        _, err = process.communicate(timeout=TIMEOUT)
    assert "Operation canceled" in err
    assert state(mnt, 1) == "aborted\n"
    assert result(mnt, 1)["state"] == "aborted"
    assert os.listdir(mnt / "outbox") == []
    fd = os.open(mnt / "control/abort", os.O_RDWR)
    with pytest.raises(OSError):
        os.write(fd, b"1\n")
    assert b"ended" in os.read(fd, 4096)
    with pytest.raises(OSError) as e:
        os.write(fd, b"99\n")
    assert e.value.errno == errno.ENOENT
    os.close(fd)


def test_failed_write_sent_again_starts_nothing(mnt, sales):
    with held(sales):
        fd = os.open(mnt / "control/export", os.O_RDWR)
        errors = []

        def write():
            try:
                os.write(fd, b"all wait=yes")
            except OSError as e:
                errors.append(e.errno)

        thread = threading.Thread(target=write)
        thread.start()
        until(lambda: jobs(mnt) == [1] and state(mnt, 1) == "processing\n")
        (mnt / "control/abort").write_text("1\n")
        thread.join(TIMEOUT)
        write()
    assert errors == [errno.ECANCELED] * 2
    assert jobs(mnt) == [1]
    os.write(fd, b"all  wait=yes")  # other bytes
    assert jobs(mnt) == [1, 2]
    os.write(fd, b"all  wait=yes")  # that went well, so it is another one
    assert jobs(mnt) == [1, 2, 3]
    os.close(fd)


def test_limit_of_waiting(work, mounts, sales):
    mnt = mounts(sales, work / "mnt", "-o",
                 "busy_timeout=60,waiting=1,queue=2")
    with held(sales):
        process = subprocess.Popen(
            ["bash", "-c", "echo 'all wait=yes' > control/export"],
            cwd=mnt.path)
        until(lambda: jobs(mnt) == [1])
        done = export(mnt, "all wait=yes", check=False)
        assert "quota" in done.stderr
        export(mnt, "all")
        export(mnt, "all")
        done = export(mnt, "all", check=False)
        assert "quota" in done.stderr
        assert len(jobs(mnt)) == 3
        assert json.loads((mnt / "status.json").read_text())[
            "pending_jobs"] == 3
    assert process.wait(TIMEOUT) == 0


def test_unmounting_while_somebody_waits(mnt, sales):
    with held(sales):
        process = subprocess.Popen(
            ["bash", "-c", "echo 'all wait=yes' > control/export"],
            cwd=mnt.path, stderr=subprocess.PIPE, text=True)
        until(lambda: jobs(mnt) == [1] and state(mnt, 1) == "processing\n")
        began = time.monotonic()
        mnt.process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT)
        assert process.returncode != 0
        assert mnt.process.wait(TIMEOUT) == 0
        assert time.monotonic() - began < 5


def test_job_goes_on_after_a_kill(work, mounts, sales):
    mnt = mounts(sales, work / "mnt", "-o", "busy_timeout=60")
    with held(sales):
        export(mnt, "all file=a")
        until(lambda: state(mnt, 1) == "processing\n")
        mnt.kill()
    mnt = mounts(sales, work / "mnt")
    until(lambda: state(mnt, 1) == "done\n")
    assert os.listdir(mnt / "outbox") == ["a.zip"]
    assert jobs(mnt) == [1]


# Jobs


def test_files_of_a_job(mnt):
    export(mnt, "all file=a wait=yes")
    here = mnt / "jobs/latest"
    assert os.readlink(here) == "1"
    assert sorted(os.listdir(here)) == [
        "log", "progress.json", "request.json", "result.json", "state"]
    for name in os.listdir(here):
        content = (here / name).read_bytes()
        assert os.stat(here / name).st_size == len(content), name
        assert content.endswith(b"\n"), name
    assert json.loads((here / "request.json").read_text())["type"] == "all"
    r = json.loads((here / "result.json").read_text())
    for key in ("job", "kind", "state", "error", "snapshot", "file", "counts",
                "requested_by", "queued_at", "started_at", "finished_at"):
        assert key in r, key
    assert r["file"] == "a.zip" and r["snapshot"] == 1


def test_sizes_of_a_job_under_way_are_right(mnt, sales, work):
    with held(sales):
        export(mnt, "all")
        until(lambda: state(mnt, 1) == "processing\n")
        for name in ("state", "request.json", "log"):
            path = mnt / f"jobs/1/{name}"
            run("tar", "-C", path.parent, "-cf", work / "t.tar", name)
            out = run("tar", "-xOf", work / "t.tar").stdout
            assert out == path.read_text(), name


@pytest.mark.parametrize("events", [select.POLLIN, select.POLLPRI])
def test_poll_on_state(mnt, sales, events):
    with held(sales):
        export(mnt, "all")
        until(lambda: state(mnt, 1) == "processing\n")
        fd = os.open(mnt / "jobs/1/state", os.O_RDONLY)
        assert os.read(fd, 64) == b"processing\n"
        assert os.read(fd, 64) == b""
        poll = select.poll()
        poll.register(fd, events)
        assert poll.poll(100) == []
    assert poll.poll(TIMEOUT * 1000)
    assert os.pread(fd, 64, 0) == b"done\n"
    os.close(fd)


# Who may


def test_modes_without_exporters(mnt):
    assert os.stat(mnt / "control").st_mode & 0o777 == 0o750
    assert os.stat(mnt / "control/export").st_mode & 0o777 == 0o600
    assert os.stat(mnt / "outbox").st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become others")
def test_exporters(work, mounts, sales):
    mnt = mounts(sales, work / "mnt", "-o",
                 "allow_other,umask=022,exporters=12345")
    st = os.stat(mnt / "control/export")
    assert (st.st_gid, st.st_mode & 0o777) == (12345, 0o660)
    member = ["setpriv", "--reuid=65534", "--regid=65534", "--groups=12345"]
    done = run(*NOBODY, "bash", "-c", f"echo all > {mnt.path}/control/export",
               check=False)
    assert "Permission denied" in done.stderr
    run(*member, "bash", "-c",
        f"echo 'all file=a wait=yes' > {mnt.path}/control/export")
    assert "uid 65534" in result(mnt, 1)["requested_by"]
    done = run(*NOBODY, "rm", "-f", mnt / "outbox/a.zip", check=False)
    assert "Permission denied" in done.stderr
    run(*NOBODY, "unzip", "-tq", mnt / "outbox/a.zip")
    run(*member, "rm", "-f", mnt / "outbox/a.zip")
    assert os.listdir(mnt / "outbox") == []


@pytest.mark.parametrize("option", ["ro", "kernel_cache"])
def test_read_only_mounts(work, mounts, sales, option):
    mnt = mounts(sales, work / "mnt", "-o", option)
    done = run("bash", "-c", f"echo all > {mnt.path}/control/export",
               check=False)
    assert "Read-only file system" in done.stderr
    text = (mnt / "control/export").read_text()
    assert "last job: none" in text
    assert os.stat(mnt / "control/export").st_size == len(text)


@pytest.mark.parametrize("options", [
    "queue=-1", "waiting=x", "max_outbox=", "max_store=10Q", "max_store=K"])
def test_bad_limits(work, sales, options):
    (work / "mnt").mkdir()
    done = run(OUTBOXFS, "mount", "-f", sales, work / "mnt", "-o", options,
               check=False)
    assert done.returncode != 0
    assert options.split("=")[0] in done.stderr


def test_limits_are_shown(work, mounts, sales):
    mnt = mounts(sales, work / "mnt", "-o",
                 "queue=7,waiting=8,max_outbox=9,max_store=10K")
    assert json.loads((mnt / "status.json").read_text())["limits"] == {
        "queue": 7, "waiting": 8, "max_outbox": 9, "max_store": 10240}


def test_limit_of_outbox(work, mounts, sales):
    mnt = mounts(sales, work / "mnt", "-o", "max_outbox=1")
    export(mnt, "all wait=yes")
    done = export(mnt, "all wait=yes", check=False)
    assert "quota" in done.stderr
    run("sh", "-c", f"rm {mnt.path}/outbox/*")
    export(mnt, "all wait=yes")


def test_database_gone_or_locked_stops_no_reader_of_the_store(mnt, sales):
    export(mnt, "all file=a wait=yes")
    away = pathlib.Path(str(sales) + ".away")
    sales.rename(away)
    try:
        run("ls", "-lR", mnt / "output", mnt / "snapshots", mnt / "outbox",
            mnt / "jobs", mnt / "control")
        run("unzip", "-tq", mnt / "outbox/a.zip")
        assert (mnt / "output/Paris/Actual/2026-01/fact.csv").read_text()
        assert state(mnt, 1) == "done\n"
    finally:
        away.rename(sales)
    assert sqlite(sales, "SELECT count(*) FROM fact").strip() == "36"


def test_an_export_that_outgrows_the_store_leaves_nothing(work, mounts, sales):
    mount = mounts(sales, work / "mnt", "-o", "max_store=1K")
    with pytest.raises(OSError) as error:
        (mount / "control/export").write_text("all wait=yes")
    assert error.value.errno == errno.EDQUOT
    assert (mount / "jobs/latest/state").read_text() == "limit_reached\n"
    assert "max_store" in (mount / "jobs/latest/log").read_text()
    assert os.listdir(mount / "outbox") == []
    assert sum(p.stat().st_size for p in
               pathlib.Path(f"{sales}.outboxfs/packs").iterdir()) == 0
