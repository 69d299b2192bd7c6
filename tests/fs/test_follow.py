"""The commands of the command line where a daemon serves the database."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

from outbox import OUTBOXFS, SALES, SALES_SQL, TIMEOUT, adopt, run, sqlite


def ours(*args, **kwargs):
    return run(OUTBOXFS, *args, check=False, **kwargs)


def done(*args, **kwargs):
    result = ours(*args, **kwargs)
    assert result.returncode == 0, result
    assert result.stderr == "", result
    return result.stdout


def refused(*args, **kwargs):
    result = ours(*args, **kwargs)
    assert result.returncode == 1, result
    assert result.stdout == "", result
    assert result.stderr.startswith("outboxfs: "), result
    assert result.stderr.count("\n") == 1, result
    return result.stderr


@pytest.fixture(params=["database", "mount point"])
def place(request, sales, mnt):
    """Either name means the same while it is mounted."""
    return sales if request.param == "database" else mnt.path


def test_export_goes_through_the_daemon(place, mnt, work):
    out = work / "out"
    out.mkdir()
    assert done("export", place, "all", "file=it's", "-o", out) == \
        "job 1: done, snapshot 1, outbox/it's.zip\n"
    assert os.listdir(mnt / "outbox") == ["it's.zip"]
    assert (out / "it's.zip").read_bytes() == \
        (mnt / "outbox/it's.zip").read_bytes()
    run("unzip", "-tqq", out / "it's.zip")
    assert (mnt / "jobs/1/state").read_text() == "done\n"
    assert done("jobs", place, "1", "--json") == \
        (mnt / "jobs/1/result.json").read_text()


def test_export_json(place, mnt):
    text = done("export", place, "setup", "--json")
    assert text == (mnt / "jobs/1/result.json").read_text()
    assert "(outboxfs)" in json.loads(text)["requested_by"]


def test_refusals_say_the_daemons_words(place):
    done("export", place, "setup", "file=x")
    assert "overwrite=yes" in refused("export", place, "all", "file=x")
    assert "snapshot 7" in refused("export", place, "incremental", "base=7")
    assert "job 9" in refused("abort", place, "9")
    assert "job 1" in refused("abort", place, "1")
    assert "no job 9" in refused("wait", place, "9")
    assert "no job 9" in refused("jobs", place, "9")
    assert len(json.loads(done("jobs", place, "--json"))) == 1


def test_jobs_wait_and_watch(place):
    assert done("jobs", place) == ""
    assert "no job" in refused("wait", place)
    assert done("watch", place) == "no job is running\n"
    done("export", place, "setup", "file=x")
    assert done("jobs", place).splitlines()[1].endswith("  x.zip")
    assert "export started" in done("jobs", place, "1")
    assert done("wait", place) == ""
    assert done("watch", place, "1") == \
        "job 1: done, snapshot 1, outbox/x.zip\n"


def test_purge(place, mnt):
    done("export", place, "setup", "file=x")
    assert "x.zip" in done("purge", place, "outbox", "keep=0", "dry_run=yes")
    assert os.listdir(mnt / "outbox") == ["x.zip"]
    assert "x.zip" in done("purge", place, "outbox", "keep=0")
    assert os.listdir(mnt / "outbox") == []


def test_verify_refuses(place, mnt):
    text = refused("verify", place)
    assert str(mnt.path) in text and "unmount" in text


def test_second_export_waits_for_its_turn(mnt):
    commands = [subprocess.Popen([OUTBOXFS, "export", str(mnt.path), "all",
                                  f"file={i}"], stdout=subprocess.PIPE)
                for i in range(4)]
    for command in commands:
        command.communicate(timeout=TIMEOUT)
        assert command.returncode == 0
    assert sorted(os.listdir(mnt / "outbox")) == \
        ["0.zip", "1.zip", "2.zip", "3.zip"]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "sales.db"
    with sqlite3.connect(path) as file:
        file.executescript(SALES_SQL)
        file.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
            " WHERE i < 600000) INSERT INTO fact(location_id, category_id,"
            " period, amount, note) SELECT i % 3 + 1, i % 2 + 1,"
            " 2000 + i % 500, i * 1.1, 'a note of some length ' || i FROM n")
    file.close()
    adopt(path, SALES)
    return path


@pytest.fixture
def large(template, work, mounts):
    return mounts(shutil.copy(template, work / "large.db"), work / "big")


def start(mount, *words):
    """An export that is followed, when its job has begun."""
    process = subprocess.Popen(
        [OUTBOXFS, "export", str(mount.path), *words], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if (mount / "jobs/1/state").read_text() == "processing\n":
                return process
        except FileNotFoundError:
            pass
    raise AssertionError(process.communicate())


def test_signal_ends_only_the_following(large):
    process = start(large, "all", "file=x")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert stdout == ""
    assert "job 1 goes on" in stderr
    assert done("wait", large.path, "1") == ""
    assert os.listdir(large / "outbox") == ["x.zip"]


def test_abort(large):
    process = start(large, "all", "file=x")
    done("abort", large.path, "1")
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert stdout == ""
    assert "job 1: aborted" in stderr
    assert "aborted" in refused("wait", large.path, "1")
    assert os.listdir(large / "outbox") == []


def test_watch_shows_the_running_job(large):
    process = start(large, "all", "file=x")
    assert done("watch", large.path).startswith("job 1: done")
    assert process.communicate()[0].startswith("job 1: done")


def test_what_was_exported_unmounted_is_there_when_mounted(
        sales, work, mounts):
    done("export", sales, "all", "file=x")
    mount = mounts(sales, work / "mnt")
    assert os.listdir(mount / "outbox") == ["x.zip"]
    assert (mount / "jobs/1/state").read_text() == "done\n"
    sqlite(sales, "UPDATE location SET name = 'Rome' WHERE id = 1")
    done("export", sales, "incremental", "file=y")
    assert sorted(os.listdir(mount / "outbox")) == ["x.zip", "y.zip"]


def test_no_mount_for_a_user_without_permission(mnt):
    """The mount point may be out of reach for others: then that is said."""
    mnt.path.parent.chmod(0o700)
    result = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                 OUTBOXFS, "export", mnt.db, "all", check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("outboxfs: ")
