"""Who may do what: nobody can write where nothing is writable."""
import errno
import json
import os
import stat
import subprocess
import sys

import pytest

from outbox import files, run

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

PATHS = {
    "root": ".",
    "README.md": "README.md",
    "status.json": "status.json",
    "setup dir": "setup",
    "setup file": "setup/location.csv",
    "data dir": "data",
    "inner dir": "data/Paris",
    "pov dir": "data/Paris/Actual/2026-01",
    "data file": "data/Paris/Actual/2026-01/fact.csv",
    "pov.json": "data/Paris/Actual/2026-01/pov.json",
    "output dir": "output",
    "snapshots dir": "snapshots",
    "jobs dir": "jobs",
}
DIRS = {name for name in PATHS if "dir" in name or name == "root"}

# Runs in a process of its own, as whoever is asked about. Prints JSON:
# {path class: {call: errno name, or "ok"}}.
PROBE = r"""
import ctypes, errno, json, os, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
mnt, paths, outside = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
os.chdir("/")

def fallocate(path):
    # Without an open for writing there is nothing to allocate in.
    fd = os.open(path, os.O_RDONLY)
    try:
        if libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(4096)) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")
    finally:
        os.close(fd)

def opener(flags):
    return lambda p: os.close(os.open(p, flags, 0o644))

here = {
    "open O_WRONLY": opener(os.O_WRONLY),
    "open O_RDWR": opener(os.O_RDWR),
    "open O_TRUNC": opener(os.O_WRONLY | os.O_TRUNC),
    "open O_RDONLY|O_TRUNC": opener(os.O_RDONLY | os.O_TRUNC),
    "open O_APPEND": opener(os.O_WRONLY | os.O_APPEND),
    "open O_CREAT": opener(os.O_WRONLY | os.O_CREAT),
    "creat": opener(os.O_CREAT | os.O_WRONLY | os.O_TRUNC),
    "O_TMPFILE": opener(os.O_TMPFILE | os.O_RDWR),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "rename out": lambda p: os.rename(p, outside + "/stolen"),
    "rename onto": lambda p: os.rename(outside + "/file", p),
    "rename within": lambda p: os.rename(p, p + ".new"),
    "link": lambda p: os.link(p, p + ".link"),
    "chmod": lambda p: os.chmod(p, 0o777),
    "chown": lambda p: os.chown(p, 65533, 65533),
    "utimensat": lambda p: os.utime(p, (1, 1)),
    "utimensat now": lambda p: os.utime(p),
    "truncate": lambda p: os.truncate(p, 0),
    "truncate longer": lambda p: os.truncate(p, 1 << 20),
    "setxattr": lambda p: os.setxattr(p, "user.x", b"1"),
    "removexattr": lambda p: os.removexattr(p, "user.x"),
    "fallocate": fallocate,
}
below = {
    "creat new": lambda p: os.close(os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY)),
    "mkdir new": os.mkdir,
    "mkfifo new": os.mkfifo,
    "mknod new": lambda p: os.mknod(p, stat.S_IFREG | 0o644),
    "symlink new": lambda p: os.symlink("/etc/passwd", p),
    "link new": lambda p: os.link(mnt + "/README.md", p),
    "rename into": lambda p: os.rename(outside + "/file", p),
    "rename dir into": lambda p: os.rename(outside + "/dir", p),
    "rename within new": lambda p: os.rename(mnt + "/README.md", p),
}
found = {}
for name, path in paths.items():
    full = os.path.normpath(os.path.join(mnt, path))
    calls = {c: (f, full) for c, f in here.items()}
    if os.path.isdir(full):
        calls.update({c: (f, full + "/new") for c, f in below.items()})
    found[name] = {}
    for call, (func, arg) in calls.items():
        try:
            func(arg)
            found[name][call] = "ok"
        except OSError as e:
            found[name][call] = errno.errorcode.get(e.errno, str(e.errno))
print(json.dumps(found))
"""

# What a kernel may answer: the first reason that it looks at differs with
# the call. "nothing" are errors of calls that make no sense there at all.
REFUSALS = {"EACCES", "EPERM", "EROFS"}
MAKES_NO_SENSE = {
    "open O_WRONLY": {"EISDIR"}, "open O_RDWR": {"EISDIR"},
    "open O_TRUNC": {"EISDIR"}, "open O_RDONLY|O_TRUNC": {"EISDIR"},
    "open O_APPEND": {"EISDIR"},
    "open O_CREAT": {"EISDIR"}, "creat": {"EISDIR"},
    "O_TMPFILE": {"ENOTDIR", "EOPNOTSUPP", "ENOTSUP"},
    "unlink": {"EISDIR"}, "rmdir": {"ENOTDIR", "EBUSY", "ENOTEMPTY"},
    "rename out": {"EXDEV", "EBUSY"},
    "rename onto": {"EXDEV", "EBUSY", "EISDIR"},
    "rename within": {"EXDEV", "EBUSY"},
    "rename into": {"EXDEV"}, "rename dir into": {"EXDEV"},
    "link": {"EPERM", "EXDEV"},
    "truncate": {"EISDIR"}, "truncate longer": {"EISDIR"},
    "setxattr": {"EOPNOTSUPP", "ENOTSUP"},
    "removexattr": {"EOPNOTSUPP", "ENOTSUP"},
    "fallocate": {"EBADF", "EISDIR"},
}


def probe(mount, outside, *before):
    outside.mkdir()
    outside.chmod(0o777)
    (outside / "file").write_text("x")
    (outside / "dir").mkdir()
    text = run(*before, sys.executable, "-c", PROBE, mount.path,
               json.dumps(PATHS), outside).stdout
    assert sorted(os.listdir(outside)) == ["dir", "file"]
    return json.loads(text)


def check(found, allowed):
    wrong = [(path, call, got) for path, calls in found.items()
             for call, got in calls.items()
             if got not in allowed | MAKES_NO_SENSE.get(call, set())]
    assert wrong == []
    assert set(found) == set(PATHS)


@pytest.mark.parametrize("who", ["root", "other"])
@pytest.mark.parametrize("how", ["rw", "ro"])
def test_nobody_can_change_anything(work, mounts, sales, who, how):
    mount = mounts(sales, work / "mnt", "-o", f"allow_other,{how}")
    before = files(mount.path / "data")
    found = probe(mount, work / "outside", *(NOBODY if who == "other" else []))
    allowed = set(REFUSALS)
    if how == "ro" and who == "root":
        allowed = {"EROFS"}
    check(found, allowed)
    assert files(mount.path / "data") == before
    assert json.loads((mount / "status.json").read_text())["health"] == "ok"


def test_root_is_told_that_it_is_read_only(mnt):
    """Mode bits do not hold root back; an errno that explains itself does."""
    names = ["README.md", "status.json", "setup/location.csv",
             "data/Paris/Actual/2026-01/fact.csv",
             "data/Paris/Actual/2026-01/pov.json"]
    for name in names:
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND,
                      os.O_WRONLY | os.O_TRUNC):
            with pytest.raises(OSError) as e:
                os.open(mnt / name, flags)
            assert e.value.errno == errno.EROFS, (name, flags)
        with pytest.raises(OSError) as e:
            os.truncate(mnt / name, 0)
        assert e.value.errno == errno.EROFS, name
    done = run("sh", "-c", 'echo x > "$1"', "sh", mnt / names[3], check=False)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr


@pytest.mark.parametrize("command", [
    "touch {f}", "touch {d}/new", "rm -f {f}", "rm -rf {d}", "mkdir {d}/new",
    "mv {f} {d}/x.csv", "mv {d} {d}2", "cp /etc/passwd {f}",
    "cp /etc/passwd {d}/new", "ln -s x {d}/new", "ln {f} {d}/new",
    "chmod 777 {f}", "chown 1 {f}", "truncate -s 0 {f}", "sed -i s/a/b/ {f}",
    "dd if=/dev/zero of={f} bs=1 count=1", "tee -a {f} < /dev/null",
    "rsync /etc/passwd {d}/", "mkfifo {d}/new", "fallocate -l 10 {f}",
    "setfattr -n user.x -v 1 {f}",
])
def test_tools_fail_and_change_nothing(mnt, command):
    place = mnt / "data/Paris/Actual/2026-01"
    before = files(mnt / "data")
    text = command.format(f=place / "fact.csv", d=place)
    done = run("sh", "-c", text, check=False)
    assert done.returncode != 0
    assert done.stderr
    assert "Input/output" not in done.stderr
    assert files(mnt / "data") == before


def test_reading_as_another_user(work, mounts, sales):
    mount = mounts(sales, work / "mnt", "-o", "allow_other")
    expected = files(mount.path / "data")
    text = run(*NOBODY, "sh", "-c", "cd / && cat \"$1\"", "sh",
               mount / "data/Paris/Actual/2026-01/fact.csv").stdout
    assert text.encode() == expected[b"Paris/Actual/2026-01/fact.csv"]
    out = subprocess.run(
        [*NOBODY, "tar", "--exclude=./control", "-cf", "-", "-C", mount.path,
         "."], check=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert out.stderr == b""
    listing = subprocess.run(["tar", "-tf", "-"], input=out.stdout,
                             check=True, stdout=subprocess.PIPE).stdout
    assert len(listing.splitlines()) > len(expected)


def test_without_allow_other_another_user_gets_nothing(work, mounts, sales):
    mount = mounts(sales, work / "mnt")
    code = r"""
import errno, json, os, sys
os.chdir("/")
for path in json.loads(sys.argv[1]):
    for call in (os.stat, os.listdir, lambda p: os.open(p, os.O_RDONLY),
                 os.chdir, os.statvfs, os.readlink,
                 lambda p: os.open(p, os.O_PATH)):
        try:
            call(path)
            # The root is the mount point: a name of the directory above.
            print("allowed", path)
        except OSError as e:
            if e.errno != errno.EACCES:
                print(path, errno.errorcode[e.errno])
"""
    paths = [str(mount / path) for name, path in PATHS.items()
             if name != "root"]
    done = run(*NOBODY, sys.executable, "-c", code, json.dumps(paths))
    assert done.stdout == ""
    done = run(*NOBODY, "ls", mount.path, check=False)
    assert done.returncode != 0 and "Permission denied" in done.stderr
    assert run("ls", mount.path).stdout


def walk(mount):
    for name, path in PATHS.items():
        yield name, os.lstat(mount / path)


def test_default_owner_and_modes(mnt):
    for name, st in walk(mnt):
        expected = stat.S_IFDIR | 0o555 if name in DIRS \
            else stat.S_IFREG | 0o444
        assert st.st_mode == expected, name
        assert (st.st_uid, st.st_gid) == (os.getuid(), os.getgid()), name
        assert st.st_nlink >= 1, name


@pytest.mark.parametrize("options, uid, gid", [
    ("uid=65534,gid=1234", 65534, 1234),
    ("uid=nobody,gid=nogroup", 65534, 65534),
    ("uid=7", 7, 0), ("gid=7", 0, 7),
    ("uid=0,gid=0", 0, 0), ("uid=4294967294", 4294967294, 0),
])
def test_owner_as_asked(work, mounts, sales, options, uid, gid):
    mount = mounts(sales, work / "mnt", "-o", options)
    for name, st in walk(mount):
        assert (st.st_uid, st.st_gid) == (uid, gid), name
    entries = run("find", mount.path, "-printf", "%U %G\n").stdout
    assert set(entries.split("\n")) - {""} == {f"{uid} {gid}"}


@pytest.mark.parametrize("umask, files_mode, dirs_mode", [
    ("022", 0o444, 0o555), ("077", 0o400, 0o500), ("007", 0o440, 0o550),
    ("0", 0o444, 0o555), ("0777", 0, 0), ("111", 0o444, 0o444),
])
def test_umask(work, mounts, sales, umask, files_mode, dirs_mode):
    mount = mounts(sales, work / "mnt", "-o", f"umask={umask}")
    for name, st in walk(mount):
        expected = dirs_mode if name in DIRS else files_mode
        assert stat.S_IMODE(st.st_mode) == expected, name


def test_umask_keeps_others_out(work, mounts, sales):
    mount = mounts(sales, work / "mnt", "-o", "allow_other,umask=077")
    for path in (".", "README.md", "data", "setup/location.csv"):
        done = run(*NOBODY, "cat" if "." in path[1:] else "ls",
                   mount / path, check=False)
        assert done.returncode != 0
        assert "Permission denied" in done.stderr, done.stderr
    assert (mount / "README.md").read_text()


def test_uid_with_umask_lets_the_owner_in(work, mounts, sales):
    mount = mounts(sales, work / "mnt", "-o",
                   "allow_other,uid=65534,umask=077")
    assert run(*NOBODY, "cat", mount / "README.md").stdout
    other = [w.replace("65534", "65533") for w in NOBODY]
    done = run(*other, "cat", mount / "README.md", check=False)
    assert "Permission denied" in done.stderr


def test_gid_lets_the_group_in(work, mounts, sales):
    mount = mounts(sales, work / "mnt", "-o",
                   "allow_other,gid=65534,umask=007")
    assert run(*NOBODY, "cat", mount / "README.md").stdout
    other = ["setpriv", "--reuid=65534", "--regid=65533", "--clear-groups"]
    done = run(*other, "cat", mount / "README.md", check=False)
    assert "Permission denied" in done.stderr


def test_nothing_can_be_run_or_raised(work, mounts, sales):
    """No setuid files, no devices: the kernel is told so."""
    mount = mounts(sales, work / "mnt", "-o", "allow_other,noexec")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        line = next(i for i in file if i.split()[4] == str(mount.path))
    flags = line.split()[5].split(",")
    assert {"nosuid", "nodev", "noexec"} <= set(flags)


def test_store_is_for_its_owner(work, mnt, sales):
    """Whoever may not read the database learns nothing from the store."""
    store = work / "sales.db.outboxfs"
    mode = stat.S_IMODE(store.stat().st_mode)
    assert mode & 0o077 == 0
    done = run(*NOBODY, "ls", store, check=False)
    assert done.returncode != 0
