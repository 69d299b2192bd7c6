"""What cannot be written, made durable or allocated, at every step."""
import os
import shutil
import sqlite3

import pytest

import world
from outbox import run

ERRORS = ("EIO", "ENOSPC", "ENOMEM")


def fail(template, work, flow, env):
    """
    With something failing: either it is done nevertheless, or there is a
    sentence that says why not and nothing has changed; or it failed after it
    was done, and the job says so. The next try works in any case.
    """
    w = template.copy_to(work / "w")
    words = world.prepare(w, flow)
    before = w.visible(), w.database()
    last = world.last_job(w)
    result = w.run(*words, env=env)
    job = world.last_job(w)
    if result.returncode != 0:
        world.one_sentence(result, "ENOMEM" in str(env))
    changed = (w.visible(), w.database()) != before
    if changed or result.returncode == 0:
        assert job > last, result
        w.look()
        with world.saying(result):
            # What cannot be read is not compacted, and that is all.
            world.has_effect(w, flow, job, space=result.returncode == 0
                             and "pack-read" not in str(env))
        if words[0] == "export" and flow != "overwrite":
            words.append("overwrite=yes")
    again = w.run(*words)
    assert again.returncode == 0, again
    world.has_effect(w, flow, world.last_job(w), last + 1)
    w.recover(("done", "failed"))
    assert not w.store("SELECT id FROM job WHERE state = 'failed'"
                       " AND (error IS NULL OR length(error) < 10)")
    shutil.rmtree(w.path)


@pytest.mark.parametrize("flow", world.FLOWS)
def test_failpoints(template, work, flow):
    points = world.points_of(template, flow, work / "trial")
    tries = [(point, n) for point in dict.fromkeys(points)
             for n in world.spread(points.count(point), 4)]
    for i, (point, n) in enumerate(tries):
        for error in ERRORS[i % 3:i % 3 + 1] if world.MOST else ERRORS:
            rule = f"{point}:{error}:{n}"
            with world.saying(rule):
                fail(template, work, flow, {"OUTBOXFS_FAULT": rule})


@pytest.mark.parametrize("kind", ["write", "sync", "name", "open", "alloc"])
@pytest.mark.parametrize("flow", ["all", "incremental", "orphans",
                                  "purge outbox", "compact"])
def test_system_calls(template, work, flow, kind):
    n = world.calls_of(template, flow, kind, work / "trial")
    for i, at in enumerate(world.spread(n)):
        error = "ENOMEM" if kind == "alloc" else ERRORS[i % 2]
        with world.saying(f"{kind}:{error}:{at}"):
            fail(template, work, flow, world.failing(kind, error, at))
