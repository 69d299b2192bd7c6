"""From the start of a daemon to its end, however it comes about."""
import concurrent.futures
import contextlib
import errno
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import threading
import time

import pytest

import outbox
from outbox import OUTBOXFS, ROOT, TIMEOUT, Notify, files, run, sqlite

PARIS = "data/Paris/Actual/2026-01"


def wait_for(what, condition, seconds=TIMEOUT):
    """Polls until the condition is true, and returns what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not within {seconds} s: {what}")


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return any(unescape(line.split()[4]) == str(path) for line in file)


def unescape(text):
    return re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), text)


def holder(db):
    """The process that serves a database, by its own word."""
    try:
        text = pathlib.Path(f"{db}.outboxfs/lock").read_text()
        pid = int(re.search(r"process (\d+)", text)[1])
    except FileNotFoundError:
        return None
    return pid if alive(pid) else None


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(autouse=True)
def clean(work):
    """Whatever a test has mounted below its directory goes with it."""
    yield
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        places = [unescape(line.split()[4]) for line in file]
    for path in reversed(places):
        if path.startswith(f"{work}/"):
            done = run("umount", path, check=False)
            if done.returncode != 0:
                outbox.abort(path)


@pytest.fixture
def place(work):
    """A mount point for daemons that nobody waits for."""
    path = work / "mnt"
    path.mkdir()
    return path


def start(*args, check=True, timeout=20, **kwargs):
    """A command that may leave a daemon, which may keep its stderr."""
    with tempfile.TemporaryFile("w+") as err:
        done = run(*args, check=False, stderr=err, timeout=timeout,
                   **kwargs)
        err.seek(0)
        done.stderr = err.read()
    assert done.returncode == 0 or not check, done
    return done


def daemon(db, path, *options, **kwargs):
    """Starts one as a person does, and returns its process id."""
    done = start(OUTBOXFS, "mount", db, path, *options, **kwargs)
    assert is_mounted(path)
    return done, holder(db)


def end(path, pid):
    run("umount", path)
    wait_for("end of the daemon", lambda: not alive(pid))


def refused(db, path, *options, foreground=True, **kwargs):
    """Not mounted, exit status 1 and a sentence."""
    flags = ["-f"] if foreground else []
    done = start(OUTBOXFS, "mount", *flags, db, path, *options, check=False,
                 timeout=5, **kwargs)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.startswith("outboxfs: "), done.stderr
    return done.stderr


# Daemons


def test_daemon_returns_when_ready(sales, place):
    began = time.monotonic()
    done, pid = daemon(sales, place)
    print("mounted after", time.monotonic() - began)
    assert (done.stdout, done.stderr) == ("", "")
    assert sorted(os.listdir(place)) == ROOT
    assert json.loads((place / "status.json").read_text())["process"] == pid
    end(place, pid)
    assert holder(sales) is None


def test_daemon_lets_go_of_the_terminal(sales, place):
    _, pid = daemon(sales, place)
    fds = f"/proc/{pid}/fd"
    assert os.readlink(f"{fds}/0") == "/dev/null"
    assert os.readlink(f"{fds}/1") == "/dev/null"
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    status = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1]
    _, parent, group, session = status.split()[:4]
    assert int(session) == pid and int(group) == pid
    assert int(parent) != os.getpid()
    end(place, pid)


def test_daemon_ends_a_pipe(sales, place):
    """$(outboxfs mount …) must not wait for the daemon's end."""
    text = subprocess.run(
        ["sh", "-c", 'x=$("$0" mount "$1" "$2"); echo "got:$x"',
         OUTBOXFS, str(sales), str(place)],
        stdout=subprocess.PIPE, timeout=10, check=True).stdout
    assert text == b"got:\n"
    end(place, holder(sales))


def test_daemon_ends_a_pipe_of_errors(sales, place):
    """Nor a caller that reads stderr as well, as cron and ssh do."""
    child = subprocess.Popen([OUTBOXFS, "mount", str(sales), str(place)],
                             stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        out, err = child.communicate(timeout=10)
    finally:
        child.kill()
        child.wait()
    assert (out, err, child.returncode) == (b"", b"", 0)


def test_daemon_keeps_no_file_of_its_caller(sales, place, work):
    with open(work / "mine", "wb") as mine:
        _, pid = daemon(sales, place, pass_fds=[mine.fileno()])
        links = {os.readlink(f"/proc/{pid}/fd/{n}")
                 for n in os.listdir(f"/proc/{pid}/fd")}
    end(place, pid)
    assert not [i for i in links if i.startswith(str(work / "mnt"))]


@pytest.mark.parametrize("foreground", [True, False])
def test_errors_reach_the_shell(sales, place, work, foreground):
    (work / "empty.db").touch()
    (work / "text.db").write_text("no database\n" * 1000)
    for name in ("empty.db", "text.db", "missing.db"):
        text = refused(work / name, place, foreground=foreground)
        assert name in text
        assert text.count("\n") == 1, text
        assert not is_mounted(place)
    assert not (work / "missing.db").exists()
    assert not (work / "missing.db.outboxfs").exists()
    assert stat.S_IMODE(place.stat().st_mode) & 0o400, \
        "a mount point is changed only when it is taken"


def test_failed_mount_leaves_the_directory_as_it_was(sales, place):
    place.chmod(0o751)
    done = run("unshare", "-m", "--propagation", "private", "sh", "-c",
               'mount --bind /dev/null /dev/fuse && exec "$@"', "sh",
               OUTBOXFS, "mount", sales, place, check=False)
    assert done.returncode == 1 and "cannot mount at" in done.stderr
    assert stat.S_IMODE(place.stat().st_mode) == 0o751


def test_started_without_standard_files(sales, place):
    start("sh", "-c", 'exec "$0" mount "$1" "$2" <&- >&- 2>&-',
        OUTBOXFS, sales, place)
    pid = holder(sales)
    fds = [os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)]
    assert fds[:2] == ["/dev/null", "/dev/null"]
    assert fds[2] in ("/dev/null", f"{sales}.outboxfs/log")
    assert sqlite(sales, "PRAGMA integrity_check") == "ok\n"
    assert files(place / "data")
    end(place, pid)
    assert sqlite(sales, "PRAGMA integrity_check") == "ok\n"


def test_started_in_another_directory(sales, work):
    (work / "rel").mkdir()
    start(OUTBOXFS, "mount", "../sales.db", ".", cwd=work / "rel")
    pid = holder(sales)
    assert files(work / "rel" / "data")
    sqlite(sales, "UPDATE fact SET note = 'x' WHERE id = 1")
    assert "x" in (work / "rel" / PARIS / "fact.csv").read_text()
    end(work / "rel", pid)


# mount(8), fstab, systemd


@pytest.fixture
def inside(work):
    """A mount namespace in which outboxfs is installed, as mount(8) finds it.

    mount(8) starts mount.fuse3, and that a shell, with the shell's own PATH.
    """
    child = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c",
         'mount -t tmpfs none /usr/local/sbin && '
         'ln -s "$0" /usr/local/sbin/outboxfs && echo ready && exec sleep 300',
         OUTBOXFS], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"

    def command(*args, **kwargs):
        return start("nsenter", "-t", child.pid, "-m", "--", *args, **kwargs)

    yield command
    command("umount", work / "mnt", check=False)
    child.kill()
    child.wait()


def end_inside(inside, db, place):
    inside("umount", place)
    wait_for("end of the daemon", lambda: holder(db) is None)


def test_mount_command(sales, place, inside):
    inside("mount", "-t", "fuse.outboxfs", sales, place, "-o",
           "ro,allow_other")
    line = inside("findmnt", "-n", "-o", "SOURCE,FSTYPE,OPTIONS", place).stdout
    source, fstype, options = line.split()
    assert source == str(sales)
    assert fstype == "fuse.outboxfs"
    assert {"ro", "allow_other", "nosuid", "nodev"} <= set(options.split(","))
    assert "period" in inside("cat", place / PARIS / "fact.csv").stdout
    end_inside(inside, sales, place)


@pytest.mark.parametrize("options", [
    "ro,allow_other", "defaults", "noauto,user,x-systemd.automount,_netdev",
    "rw,nofail,noatime,uid=65534,comment=hello", "ro,nodev,nosuid,noexec",
    "umask=027,gid=65534,allow_other,exporters=root",
])
def test_fstab(sales, place, work, inside, options):
    fstab = work / "fstab"
    fstab.write_text(f"{sales} {place} fuse.outboxfs {options} 0 0\n")
    inside("mount", "-T", fstab, place)
    assert "period" in inside("cat", place / PARIS / "fact.csv").stdout
    end_inside(inside, sales, place)


def test_mount_command_tells_of_errors(place, work, inside):
    (work / "x.db").touch()
    done = inside("mount", "-t", "fuse.outboxfs", work / "x.db", place,
                  check=False)
    assert done.returncode != 0
    assert "not adopted" in done.stderr
    done = inside("mount", "-t", "fuse.outboxfs", work / "missing.db", place,
                  check=False)
    assert done.returncode != 0
    assert f"cannot find database '{work}/missing.db'" in done.stderr, \
        done.stderr


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_and_stopping(sales, place, work, abstract):
    """READY=1 comes when ls works, not before; STOPPING=1 at SIGTERM."""
    name = f"\0outboxfs-{os.getpid()}" if abstract else str(work / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(name)
        s.settimeout(TIMEOUT)
        daemon_ = subprocess.Popen(
            [OUTBOXFS, "mount", "-f", str(sales), str(place)],
            env={**os.environ, "NOTIFY_SOCKET": name.replace("\0", "@")})
        try:
            assert "READY=1" in s.recv(4096).decode().split("\n")
            assert is_mounted(place)
            assert "data" in os.listdir(place)
            daemon_.send_signal(signal.SIGTERM)
            assert "STOPPING=1" in s.recv(4096).decode().split("\n")
            assert daemon_.wait(TIMEOUT) == 0
        finally:
            daemon_.kill()
            daemon_.wait()
    assert not is_mounted(place)


def test_not_ready_when_refused(place, work):
    (work / "x.db").touch()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(work / "notify"))
        s.setblocking(False)
        refused(work / "x.db", place,
                env={**os.environ, "NOTIFY_SOCKET": str(work / "notify")})
        with pytest.raises(BlockingIOError):
            s.recv(4096)


# Ends


def test_umount_ends_well(mnt):
    files(mnt.path)
    assert mnt.unmount() == 0
    assert not is_mounted(mnt.path)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_an_idle_daemon(mnt, sig):
    mnt.process.send_signal(sig)
    assert mnt.process.wait(TIMEOUT) == 0
    assert not is_mounted(mnt.path)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_open_file_is_read_to_its_end(work, mounts, sig):
    db = big(work / "big.db", n_povs=1, bytes_each=3 << 20)
    mount = mounts(db, work / "mnt")
    path = mount / "data" / "p0" / "fact.csv"
    expected = path.read_bytes()
    with open(path, "rb", buffering=0) as file:
        start = file.read(1000)
        mount.process.send_signal(sig)
        wait_for("the mount to go", lambda: not is_mounted(mount.path))
        with pytest.raises(OSError):
            os.listdir(mount.path / "data")
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        rest = b""
        while piece := file.read(100000):
            rest += piece
        assert mount.process.poll() is None
    assert start + rest == expected
    assert mount.process.wait(TIMEOUT) == 0


@contextlib.contextmanager
def opened(path):
    """An open file whose daemon may be dead by the time it is closed."""
    file = open(path, "rb", buffering=0)
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.close()


def test_second_signal_ends_at_once(mnt):
    with opened(mnt / PARIS / "fact.csv") as file:
        file.read(1)
        mnt.process.send_signal(signal.SIGTERM)
        wait_for("the mount to go", lambda: not is_mounted(mnt.path))
        assert mnt.process.poll() is None
        mnt.process.send_signal(signal.SIGTERM)
        assert mnt.process.wait(5) != 0
    assert not is_mounted(mnt.path)


def test_busy_umount_says_so_and_works_later(mnt):
    with open(mnt / PARIS / "fact.csv", "rb"):
        done = run("umount", mnt.path, check=False)
        assert done.returncode != 0
        assert "busy" in done.stderr
        assert files(mnt / "data")
    child = subprocess.Popen(["sleep", "60"], cwd=mnt / "data")
    try:
        assert run("umount", mnt.path, check=False).returncode != 0
        assert files(mnt / "data")
    finally:
        child.kill()
        child.wait()
    assert mnt.unmount() == 0


def test_lazy_umount_with_an_open_file(mnt):
    path = mnt / PARIS / "fact.csv"
    expected = path.read_bytes()
    with open(path, "rb", buffering=0) as file:
        run("umount", "-l", mnt.path)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert file.read() == expected
        assert mnt.process.poll() is None
    assert mnt.process.wait(TIMEOUT) == 0


def test_hangup_is_no_end(mnt, sales):
    for _ in range(3):
        mnt.process.send_signal(signal.SIGHUP)
        sqlite(sales, "UPDATE fact SET amount = amount + 1 WHERE id = 1")
        assert files(mnt / "data")
    assert mnt.process.poll() is None
    assert mnt.unmount() == 0


def test_mounted_again_and_again(sales, place):
    for _ in range(8):
        _, pid = daemon(sales, place)
        assert files(place / "data")
        end(place, pid)
    assert run("umount", place, check=False).returncode != 0


def test_unmounted_directly_after_mounting(sales, place):
    """Nothing depends on how long a mount lives."""
    for _ in range(8):
        start(OUTBOXFS, "mount", sales, place)
        pid = holder(sales)
        run("umount", place)
        wait_for("end of the daemon", lambda p=pid: not alive(p))


# Killed


def mount_again(mounts, db, path, *options):
    """Over what a killed daemon has left; at once, as systemd does it."""
    return mounts(db, Dead(path), *options)


class Dead(type(pathlib.Path())):
    """A mount point that even mkdir(exist_ok) cannot look at."""

    def mkdir(self, *args, **kwargs):
        pass


@pytest.mark.parametrize("options", [[], ["-o", "kernel_cache"]])
def test_killed_and_mounted_again(mounts, sales, work, options):
    first = mounts(sales, work / "mnt", *options)
    expected = files(first / "data")
    first.kill()
    with pytest.raises(OSError) as e:
        os.listdir(first.path)
    assert e.value.errno == errno.ENOTCONN
    assert holder(sales) is None
    again = mount_again(mounts, sales, first.path, *options)
    assert files(again / "data") == expected
    assert "taken over" in again.log()
    assert again.unmount() == 0
    assert not is_mounted(again.path)


def test_reading_what_the_kernel_opened_by_itself(mounts, sales, work):
    """
    With kernel_cache there is no OPEN. A read at the end asks for attributes
    with a handle that is none, once those of the lookup are too old.
    """
    mount = mounts(sales, work / "mnt", "-o", "kernel_cache")
    for name in ("status.json", "README.md", f"{PARIS}/fact.csv"):
        fd = os.open(mount / name, os.O_RDONLY)
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            try:
                os.pread(fd, 1 << 20, 0)
            except OSError as e:
                assert e.errno == errno.ESTALE
        os.close(fd)
    assert files(mount / "data")


def test_killed_while_a_file_is_open(mounts, mnt, sales):
    with opened(mnt / PARIS / "fact.csv") as file:
        mnt.kill()
        mount = mount_again(mounts, sales, mnt.path)
        assert files(mount / "data")
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            file.read()
        except OSError as e:
            assert e.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)


def test_killed_daemon_taken_over_in_daemon_mode(sales, place):
    _, pid = daemon(sales, place)
    os.kill(pid, signal.SIGKILL)
    wait_for("end of the daemon", lambda: not alive(pid))
    start(OUTBOXFS, "mount", sales, place)
    assert files(place / "data")
    end(place, holder(sales))
    assert not is_mounted(place)


@pytest.mark.parametrize("how", ["killed", "unmounted"])
def test_rsync_delete_never_empties_a_copy(mnt, work, how):
    run("rsync", "-a", "--delete", f"{mnt.path}/data/", work / "copy/")
    copy = files(work / "copy")
    assert copy == files(mnt / "data") and copy
    if how == "killed":
        mnt.kill()
    else:
        mnt.unmount()
    done = run("rsync", "-a", "--delete", f"{mnt.path}/data/",
               work / "copy/", check=False)
    assert done.returncode != 0
    assert files(work / "copy") == copy
    if how == "unmounted":
        assert not (mnt.path / "data").exists()


def test_bare_mount_point_is_empty_and_unreadable(mnt, work):
    mnt.unmount()
    assert stat.S_IMODE(mnt.path.stat().st_mode) == 0o300
    assert os.listdir(mnt.path) == []
    done = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
               "ls", mnt.path, check=False)
    assert done.returncode != 0


# Two of them, and places that do not fit


@pytest.mark.parametrize("foreground", [True, False])
def test_second_daemon_is_refused(mnt, sales, work, foreground):
    (work / "two").mkdir()
    os.symlink(sales, work / "link.db")
    for name in (sales, work / "link.db"):
        text = refused(name, work / "two", foreground=foreground)
        assert f"process {mnt.process.pid}" in text, text
        assert str(mnt.path) in text
        assert str(sales) in text
    assert not is_mounted(work / "two")
    assert files(mnt / "data")
    found = json.loads(run(OUTBOXFS, "status", sales, "--json").stdout)
    assert f"process {mnt.process.pid}" in found["in_use_by"]
    assert stat.S_IMODE((work / "two").stat().st_mode) & 0o400


def test_hard_link_is_the_same_database(mnt, sales, work):
    """Two names, one file: whatever happens, both show the same rows."""
    os.link(sales, work / "hard.db")
    (work / "two").mkdir()
    done = run(OUTBOXFS, "status", work / "hard.db", check=False)
    assert done.returncode in (0, 1)


def test_mount_point_missing(sales, work):
    assert "missing" in refused(sales, work / "missing")


def test_mount_point_is_a_file(sales, work):
    (work / "file").touch()
    text = refused(sales, work / "file")
    assert "not a directory" in text and str(work / "file") in text


def test_mount_point_is_not_empty(sales, work):
    (work / "full").mkdir()
    (work / "full" / ".hidden").touch()
    text = refused(sales, work / "full")
    assert "not empty" in text
    assert os.listdir(work / "full") == [".hidden"]


def test_mount_point_is_taken(mnt, work):
    other = outbox.make_sales(work / "other.db")
    text = refused(other, mnt.path)
    assert "mounted" in text and str(mnt.path) in text
    assert files(mnt / "data")
    (work / "other.mnt").mkdir()
    run("mount", "-t", "tmpfs", "none", work / "other.mnt")
    try:
        assert "mounted" in refused(other, work / "other.mnt")
    finally:
        run("umount", work / "other.mnt")


def test_mount_point_of_a_bind_mount_is_taken(sales, work):
    """A directory of the same disk mounted there has the same device."""
    (work / "bind").mkdir()
    (work / "src").mkdir()
    run("mount", "--bind", work / "src", work / "bind")
    try:
        assert "mounted" in refused(sales, work / "bind")
    finally:
        run("umount", work / "bind")


@pytest.mark.parametrize("link", [False, True])
def test_database_below_the_mount_point(work, link):
    (work / "dir").mkdir()
    db = outbox.make_sales(work / "dir" / "sales.db")
    where = work / "dir"
    if link:
        os.symlink(where, work / "link")
        where = work / "link"
    text = refused(db, where)
    assert "below" in text, text
    assert not is_mounted(work / "dir")


@pytest.mark.parametrize("where", ["", "/sub"])
def test_mount_point_in_the_store(sales, work, where):
    place = pathlib.Path(f"{sales}.outboxfs{where}")
    place.mkdir(parents=True)
    text = refused(sales, place)
    assert "store" in text, text
    assert not is_mounted(place)


def test_mount_point_beside_the_store(sales, work):
    """A name that only begins like the store's is not in it."""
    place = pathlib.Path(f"{sales}.outboxfs-mnt")
    place.mkdir()
    _, pid = daemon(sales, place)
    end(place, pid)


@pytest.mark.parametrize("name", [
    "a,b", "a b", "a\\b", "a,\\,b\\", "Zürich", "it's", "-dash", "x=y,ro",
    "a\tb", "a\nb", "50%", "#x", "?mode=ro",
])
def test_odd_names_of_database_and_mount_point(work, name):
    here = work / name
    here.mkdir()
    db = outbox.make_sales(here / f"{name}.db")
    place = here / f"{name} mnt"
    place.mkdir()
    start(OUTBOXFS, "mount", f"./{name}.db", f"./{name} mnt", cwd=here)
    assert is_mounted(place)
    try:
        assert os.stat(place / PARIS / "fact.csv").st_size > 0
        status = json.loads((place / "status.json").read_text())
        assert status["database"] == str(db)
        found = json.loads(run(OUTBOXFS, "status", place, "--json").stdout)
        assert found["database"] == str(db)
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            line = next(i for i in file
                        if unescape(i.split()[4]) == str(place))
        assert unescape(line.split(" - ")[1].split(" ")[1]) == str(db)
        readme = (place / "README.md").read_text()
        commands = re.findall(
            r"^    (head .*|cat .*|echo .*|unzip .*|ls .*)$", readme, re.M)
        assert len(commands) == 7
        if "\n" in name:
            commands = []  # they go on in the next line
        for command in commands:
            out = run("sh", "-c", command).stdout
            assert out or command.startswith("echo ")
    finally:
        run("umount", place)
    wait_for("end of the daemon", lambda: holder(db) is None)


# Options


@pytest.mark.parametrize("options, words", [
    ("nonsense", ["unknown option", "nonsense"]),
    ("ro,nonsense=5", ["unknown option", "nonsense"]),
    ("uid=nobody-has-this-name", ["uid", "nobody-has-this-name"]),
    ("uid=-1", ["uid", "-1"]), ("uid=", ["uid"]), ("uid", ["uid", "value"]),
    ("uid=4294967295", ["uid"]), ("uid=99999999999", ["uid"]),
    ("gid=nobody-has-this-name", ["gid"]), ("gid=1x", ["gid"]),
    ("umask=8", ["umask", "8"]), ("umask=1777", ["umask"]),
    ("umask=-1", ["umask"]), ("umask=", ["umask"]),
    ("umask=0x1", ["umask"]), ("umask= 1", ["umask"]),
    ("umask=+1", ["umask"]),
    ("umask=999", ["'999' is not an octal number from 0 to 777"]),
    ("remount,ro", ["unmount", "mount it again"]),
    ("exporters=nobody-has-this-name", ["exporters"]),
    ("exporters", ["exporters", "value"]),
    ("busy_timeout=x", ["busy_timeout"]),
    ("busy_timeout=100000", ["busy_timeout"]),
    ("allow_other=1", ["allow_other"]), ("ro=yes", ["ro"]),
    ("auto_unmount", ["auto_unmount", "killed"]),
    ("allow_root,kernel_cache", ["allow_root", "kernel_cache"]),
    ("max_read=x", ["max_read"]), ("max_read", ["max_read", "value"]),
    ("user=nobody-has-this-name", ["user", "nobody-has-this-name"]),
    ("user=", ["user"]), ("user=4294967295", ["user"]),
])
def test_bad_options(sales, place, options, words):
    done = start(OUTBOXFS, "mount", sales, place, "-o", options, check=False)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr
    assert not is_mounted(place)


def test_good_options(sales, place):
    for options in ("exporters=0", "exporters=root,ro", "busy_timeout=0",
                    "atime", "noatime", "dev,suid,exec,relatime", "",
                    ",,ro,,", "umask=022,umask=077",
                    "sync,dirsync,nodiratime,diratime,strictatime",
                    "lazytime,nolazytime,iversion,silent,group,owner",
                    "user", "user=root", "max_read=65536"):
        _, pid = daemon(sales, place, "-o", options)
        end(place, pid)


def test_source_and_type_cannot_be_renamed(sales, place):
    _, pid = daemon(sales, place, "-o", "fsname=other,subtype=thing")
    line = run("findmnt", "-n", "-o", "SOURCE,FSTYPE", place).stdout
    end(place, pid)
    assert line.split() == [str(sales), "fuse.outboxfs"]


def test_max_read(sales, work, mounts):
    mount = mounts(sales, work / "mnt", "-o", "max_read=4096")
    with sqlite3.connect(sales) as db:
        db.execute("UPDATE fact SET note = ?", ("x" * 50000,))
    db.close()
    assert len((mount / PARIS / "fact.csv").read_bytes()) > 150000
    assert "max_read=4096" in run("findmnt", "-n", "-o", "OPTIONS",
                                  mount.path).stdout


# Another user


def who(n):
    return ["setpriv", f"--reuid={n}", f"--regid={n}", "--clear-groups"]


@pytest.fixture
def theirs(work, monkeypatch):
    """A database of nobody's own, in a directory of his."""
    # Who has changed its user cannot look at itself, as a leak check wants to.
    options = os.environ.get("ASAN_OPTIONS")
    if options:
        monkeypatch.setenv("ASAN_OPTIONS", options + ":detect_leaks=0")
    (work / "dir").mkdir()
    db = outbox.make_sales(work / "dir" / "sales.db")
    for path in (work / "dir", db):
        os.chown(path, 65534, 65534)
    return db


def ids(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        lines = dict(line.rstrip("\n").split(":", 1) for line in file)
    assert int(lines["CapPrm"], 16) == 0 and int(lines["CapEff"], 16) == 0
    return {key: set(lines[key].split()) for key in ("Uid", "Gid", "Groups")}


@pytest.mark.parametrize("how", ["umount", "signal"])
@pytest.mark.parametrize("name", ["nobody", "65534"])
def test_served_by_another_user(theirs, work, mounts, name, how):
    mount = mounts(theirs, work / "mnt", "-o", f"user={name},allow_other")
    assert ids(mount.process.pid) == {
        "Uid": {"65534"}, "Gid": {"65534"}, "Groups": {"65534"}}
    for path in (f"{theirs}.outboxfs", f"{theirs}.outboxfs/lock",
                 f"{theirs}.outboxfs/store.db", mount / PARIS / "fact.csv"):
        st = os.stat(path)
        assert (st.st_uid, st.st_gid) == (65534, 65534), path
    sqlite(theirs, "UPDATE fact SET note = 'of now'")
    assert "of now" in (mount / PARIS / "fact.csv").read_text()
    assert json.loads((mount / "status.json").read_text())["health"] == "ok"
    if how == "umount":
        assert mount.unmount() == 0
    else:
        mount.process.send_signal(signal.SIGTERM)
        assert mount.process.wait(TIMEOUT) == 0
    assert not is_mounted(mount.path)


def test_served_by_another_user_who_alone_may_look(theirs, work, mounts):
    mount = mounts(theirs, work / "mnt", "-o", "user=nobody")
    assert run(*who(65534), "cat", mount / PARIS / "fact.csv").stdout
    for n in (0, 1):
        assert run(*who(n), "ls", mount.path, check=False).returncode != 0
    assert mount.unmount() == 0


def test_served_by_another_user_as_a_daemon(theirs, place):
    _, pid = daemon(theirs, place, "-o", "user=nobody,uid=0,umask=077")
    assert ids(pid)["Uid"] == {"65534"}
    end(place, pid)


@pytest.mark.parametrize("what", ["database", "directory", "store"])
def test_another_user_who_may_not_is_refused(theirs, place, what):
    if what == "database":
        os.chown(theirs, 0, 0)
        theirs.chmod(0o600)
    elif what == "directory":
        theirs.parent.chmod(0o700)
        os.chown(theirs.parent, 0, 0)
    else:
        pathlib.Path(f"{theirs}.outboxfs").mkdir(mode=0o700)
    text = refused(theirs, place, "-o", "user=nobody")
    assert "as user 'nobody'" in text and "Permission denied" in text, text
    assert str(theirs) in text
    assert not is_mounted(place)


def test_only_root_can_name_another_user(theirs, place):
    os.chown(place, 65534, 65534)
    done = start(*who(65534), OUTBOXFS, "mount", theirs, place, "-o",
                 "user=daemon", check=False)
    assert done.returncode == 2 and "only root" in done.stderr
    # Naming himself is as naming nobody; /dev/fuse may be closed to him.
    done = start(*who(65534), OUTBOXFS, "mount", theirs, place, "-o",
                 "user=nobody", check=False)
    assert done.returncode in (0, 1) and "user" not in done.stderr, done


@pytest.mark.parametrize("user", [[], ["-o", "user=nobody"]])
def test_allow_root(theirs, work, mounts, user):
    mount = mounts(theirs, work / "mnt", "-o", "allow_root", *user)
    file = mount / PARIS / "fact.csv"
    allowed = {0, 65534} if user else {0}
    for n in (0, 1, 65534):
        done = run(*who(n), "cat", file, check=False)
        assert (done.returncode == 0) == (n in allowed), (n, done)


def test_last_of_several_o_options_does_not_hide_the_others(sales, place):
    """As with mount(8), -o can be given more than once."""
    _, pid = daemon(sales, place, "-o", "umask=077", "-o", "uid=65534")
    st = os.stat(place / "README.md")
    end(place, pid)
    assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (65534, 0o400)


# status


def test_status_of_database_and_mount_point(mnt, sales):
    for path in (sales, mnt.path, f"{mnt.path}/"):
        found = json.loads(run(OUTBOXFS, "status", path, "--json").stdout)
        assert found["database"] == str(sales)
        assert found["model"] == "sales"
        assert found["povs"] == 12
        assert f"process {mnt.process.pid}" in found["in_use_by"]
        text = run(OUTBOXFS, "status", path).stdout
        assert str(sales) in text and str(mnt.process.pid) in text
    mnt.unmount()
    assert holder(sales) is None
    done = run(OUTBOXFS, "status", mnt.path, check=False)
    assert done.returncode == 1 and "mounted" in done.stderr


def test_status_while_daemons_come_and_go(sales, place):
    """It waits for a lock that is held for a moment only."""
    stop = threading.Event()
    failed = []

    def ask():
        while not stop.is_set():
            done = run(OUTBOXFS, "status", sales, "--json", check=False)
            if done.returncode != 0:
                failed.append(done.stderr)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(15):
            _, pid = daemon(sales, place)
            sqlite(sales, "UPDATE fact SET note = 'x' WHERE id = 1")
            end(place, pid)
    finally:
        stop.set()
        thread.join()
    assert failed == []


def test_status_of_a_mount_point_whose_daemon_was_killed(mnt, sales):
    mnt.kill()
    done = run(OUTBOXFS, "status", mnt.path, check=False)
    assert "nobody" in done.stdout or str(mnt.path) in done.stderr
    assert json.loads(run(OUTBOXFS, "status", sales, "--json").stdout)[
        "in_use_by"] is None


def test_status_of_a_mount_on_a_read_only_disk(work, mounts):
    """No lock file can be made there that would say who it is."""
    (work / "disk").mkdir()
    run("mount", "-t", "tmpfs", "none", work / "disk")
    db = outbox.make_sales(work / "disk" / "sales.db")
    run("mount", "-o", "remount,ro", work / "disk")
    try:
        mount = mounts(db, work / "mnt")
        found = json.loads(run(OUTBOXFS, "status", mount.path, "--json").stdout)
        assert found["in_use_by"] == f"mounted at '{mount.path}'"
        assert "nobody" not in run(OUTBOXFS, "status", mount.path).stdout
        mount.kill()
        done = run(OUTBOXFS, "status", mount.path, check=False)
        assert "mounted at" not in done.stdout
        mount.close()
    finally:
        run("umount", work / "disk")


def test_control_characters_in_a_mount_point_leave_one_line(sales, work):
    place = work / "a\nb\x1b[1m"
    place.mkdir()
    _, pid = daemon(sales, place)
    text = pathlib.Path(f"{sales}.outboxfs/lock").read_text()
    found = json.loads(run(OUTBOXFS, "status", sales, "--json").stdout)
    end(place, pid)
    whole = f"process {pid}, mounted at '{work}/a\\012b\\033[1m'"
    assert text == whole + "\n"
    assert found["in_use_by"] == whole


# Load


def big(path, n_povs, bytes_each):
    """One text dimension, and large files of it."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE fact(id INTEGER PRIMARY KEY, p TEXT, x TEXT)")
    db.executemany(
        "INSERT INTO fact(p, x) VALUES(?, ?)",
        ((f"p{i}", f"{j:0999d}") for i in range(n_povs)
         for j in range(bytes_each // 1000)))
    db.commit()
    db.close()
    outbox.adopt(path, {
        "name": "big", "pov": [{"name": "p"}], "setup": [],
        "data": [{"table": "fact", "pov": {"p": "p"}}]})
    return path


def test_listing_while_64_readers_wait(work, mounts):
    db = big(work / "big.db", n_povs=64, bytes_each=2 << 20)
    mount = mounts(db, work / "mnt")
    go = threading.Barrier(65)

    def read(i):
        go.wait()
        with open(mount / f"data/p{i}/fact.csv", "rb") as file:
            return sum(len(piece) for piece in iter(
                lambda: file.read(1 << 17), b""))

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        reads = [pool.submit(read, i) for i in range(64)]
        go.wait()
        times = []
        while not all(r.done() for r in reads):
            began = time.monotonic()
            run("ls", "-l", mount.path)
            times.append(time.monotonic() - began)
        sizes = {r.result() for r in reads}
    print(f"ls -l while 64 wait: {len(times)} times,"
          f" median {sorted(times)[len(times) // 2]:.3f} s,"
          f" longest {max(times):.3f} s")
    rows = (2 << 20) // 1000
    assert all(s > rows * 1000 for s in sizes)
    assert max(times) < (10 if os.environ.get("OUTBOXFS_SANITIZER") else 1)
