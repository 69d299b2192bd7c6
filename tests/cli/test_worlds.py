"""Exports of worlds that can be checked by hand, step by step.

What World.export() looks at, it looks at each time: contents, documents,
counts, hashes, marks. The tests say which points of view are in the ZIP.
"""
import json

import pytest

from outbox import OUTBOXFS, run
from worlds import FIRST, SETUP, World


@pytest.fixture
def world(tmp_path):
    w = World(tmp_path)
    yield w
    w.close()


@pytest.fixture
def begun(world):
    """A world of which everything was exported once."""
    z = world.export("all")
    assert (z.shown, z.deleted, z.renamed) == (FIRST, {}, [])
    return world


def nothing(z):
    return (z.shown, z.deleted, z.renamed) == ({}, {}, [])


def setup_of(z):
    return sorted(n[len("setup/"):-len(".csv")] for n in z.contents
                  if n.startswith("setup/"))


# Types


@pytest.mark.parametrize("kind", ["all", "ALL_INCREMENTAL", "Incremental",
                                  "incremental"])
def test_first_export_has_everything(world, kind):
    z = world.export(kind)
    assert (z.shown, z.deleted, z.renamed) == (FIRST, {}, [])
    assert z.params["base"] is None
    assert setup_of(z) == SETUP
    assert z.params["counts"]["povs"] == 4
    assert z.params["counts"]["rows"] == 5 + 3 + 4 + 16


def test_setup_touches_neither_output_nor_a_mark(begun):
    begun.sql("UPDATE fact SET amount = 9 WHERE id = 1")
    z = begun.export("setup")
    assert nothing(z)
    assert setup_of(z) == SETUP
    assert z.params["channel"] is None and z.params["base"] is None
    assert begun.export("incremental").shown == {
        "Paris/Actual/Jan": FIRST["Paris/Actual/Jan"]}


def test_setup_as_the_very_first(world):
    assert nothing(world.export("setup"))
    assert world.channels() == {}
    z = world.export("incremental")
    assert z.shown == FIRST and z.params["base"] is None


@pytest.mark.parametrize("kind, shown", [
    ("incremental", {}), ("all_incremental", FIRST), ("all", FIRST)])
def test_nothing_changed(begun, kind, shown):
    for _ in range(2):
        z = begun.export(kind)
        assert (z.shown, z.deleted, z.renamed) == (shown, {}, [])


def test_empty_world(tmp_path):
    w = World(tmp_path, rows="")
    for kind in ("all", "incremental", "all_incremental", "setup"):
        z = w.export(kind)
        assert nothing(z) and setup_of(z) == SETUP
        assert z.params["last_process_id"] is None
    w.close()


# Loads


def test_one_changed_row_brings_its_pov_whole(begun):
    begun.sql("UPDATE fact SET amount = amount + 1 WHERE id = 2")
    before = begun.expected()[0]
    z = begun.export("incremental")
    assert z.shown == {"Paris/Actual/Jan": "detail fact status"}
    assert (z.deleted, z.renamed) == ({}, [])
    assert z.files["output/Paris/Actual/Jan/fact.csv"] == (
        b"id,location_id,category_id,period,rule_id,amount,note\n"
        b"1,1,1,Jan,1,1.5,first\n2,1,1,Jan,1,0.9,\n")
    assert before["output/Paris/Actual/Jan/detail.csv"] == (
        b"l,c,p,line,v\n1,1,Jan,1,\\x00ff\n")


def test_new_pov(begun):
    begun.script("INSERT INTO detail VALUES(3, 2, 'Mar', 1, NULL);"
                 "INSERT INTO process(at) VALUES('later')")
    z = begun.export("incremental")
    assert z.shown == {"Lima/Budget/Mar": "detail"}
    assert z.params["last_process_id"] == 4


def test_reload_with_the_same_rows_is_no_change(begun):
    begun.script("CREATE TEMP TABLE t AS SELECT * FROM fact;"
                 "DELETE FROM fact; INSERT INTO fact SELECT * FROM t;"
                 "UPDATE status SET note = note")
    assert nothing(begun.export("incremental"))
    assert begun.export("all_incremental").shown == FIRST


def test_changed_and_changed_back_is_no_change(begun):
    begun.sql("UPDATE fact SET amount = 9 WHERE id = 1")
    assert begun.export("all", channel="other").shown == FIRST
    begun.sql("UPDATE fact SET amount = 1.5 WHERE id = 1")
    assert nothing(begun.export("incremental"))
    assert begun.export("incremental", channel="other").shown == {
        "Paris/Actual/Jan": "detail fact status"}


def test_rolled_back_is_no_change(begun):
    begun.db.executescript("BEGIN; DELETE FROM fact; DELETE FROM status;"
                           "UPDATE location SET name = 'x'; ROLLBACK")
    assert nothing(begun.export("incremental"))


def test_status_alone(begun):
    begun.sql("UPDATE status SET flag = 1 - flag WHERE period = 'Jan'")
    z = begun.export("incremental")
    assert z.shown == {"Paris/Actual/Jan": "status",
                       "Oslo/Budget/Jan": "status"}
    begun.sql("INSERT INTO status VALUES(2, 1, 'Jan', NULL, 0, NULL)")
    assert begun.export("incremental").shown == {"Oslo/Actual/Jan": "status"}


def test_row_moves_to_another_pov(begun):
    begun.sql("UPDATE fact SET period = 'Mar' WHERE id IN (1, 4)")
    z = begun.export("incremental")
    assert z.shown == {
        "Paris/Actual/Jan": "detail fact status",
        "Paris/Actual/Mar": "fact",
        "Oslo/Actual/Jan": "detail",
        "Oslo/Actual/Mar": "fact",
    }
    assert z.deleted == {}


# Deletions


def test_one_data_table_is_emptied(begun):
    begun.sql("DELETE FROM detail WHERE l = 1")
    z = begun.export("incremental")
    assert z.shown == {"Paris/Actual/Jan": "fact status"}
    assert z.deleted == {}


def test_all_rows_go(begun):
    begun.script("DELETE FROM fact WHERE period = 'Feb';"
                 "DELETE FROM status WHERE period = 'Feb'")
    z = begun.export("incremental")
    assert z.shown == {}
    assert z.deleted == {"Paris/Actual/Feb": "data status deleted",
                         "Paris/Budget/Feb": "status deleted"}
    assert nothing(begun.export("incremental"))


def test_data_goes_and_status_stays(begun):
    begun.script("DELETE FROM fact WHERE location_id = 1 AND period = 'Jan';"
                 "DELETE FROM detail WHERE l = 1")
    z = begun.export("incremental")
    assert z.shown == {"Paris/Actual/Jan": "status"}
    assert z.deleted == {"Paris/Actual/Jan": "data deleted"}
    assert begun.export("all_incremental").shown == {
        **FIRST, "Paris/Actual/Jan": "status"}


def test_status_goes_and_data_stays(begun):
    begun.sql("DELETE FROM status WHERE period = 'Jan'")
    z = begun.export("incremental")
    assert z.shown == {}
    assert z.deleted == {"Paris/Actual/Jan": "status deleted",
                         "Oslo/Budget/Jan": "status deleted"}


def test_gone_and_back_between_exports_is_no_change(begun):
    rows = begun.sql("SELECT * FROM fact")
    begun.sql("DELETE FROM fact")
    z = begun.export("all", channel="other")
    assert z.shown == {
        "Paris/Actual/Jan": "detail status", "Paris/Actual/Feb": "status",
        "Oslo/Actual/Jan": "detail", "Oslo/Budget/Jan": "status",
        "Paris/Budget/Feb": "status"}
    begun.db.executemany("INSERT INTO fact VALUES(?, ?, ?, ?, ?, ?, ?)", rows)
    assert nothing(begun.export("incremental"))
    z = begun.export("incremental", channel="other")
    assert z.shown == {p: t for p, t in FIRST.items() if "fact" in t}
    assert z.deleted == {}


def test_everything_goes(begun):
    begun.script("DELETE FROM fact; DELETE FROM detail; DELETE FROM status")
    z = begun.export("incremental")
    assert z.shown == {}
    assert z.deleted == {
        pov: " ".join(["data"] * (tables != "status")
                      + ["status"] * ("status" in tables) + ["deleted"])
        for pov, tables in FIRST.items()}
    assert nothing(begun.export("all"))


# Names


def test_label_is_renamed(begun):
    begun.sql("UPDATE location SET name = 'Lutetia' WHERE id = 1")
    z = begun.export("incremental")
    assert (z.shown, z.deleted) == ({}, {})
    assert z.renamed == [("location", 1, "Paris", "Lutetia")]
    begun.sql("UPDATE fact SET note = 'x' WHERE id = 3")
    z = begun.export("incremental")
    assert z.shown == {"Lutetia/Actual/Feb": "fact status"}
    assert z.renamed == []


def test_renamed_and_changed_at_once(begun):
    begun.script("UPDATE location SET name = 'a/b' WHERE id = 2;"
                 "UPDATE category SET name = 'Ist' WHERE id = 1;"
                 "DELETE FROM fact WHERE id = 4; DELETE FROM detail WHERE l = 2;"
                 "UPDATE fact SET amount = 3 WHERE id = 5")
    z = begun.export("incremental")
    assert z.shown == {"a%2Fb/Budget/Jan": "fact status"}
    assert z.deleted == {"Oslo/Actual/Jan": "data deleted"}
    assert z.renamed == [("category", 1, "Actual", "Ist"),
                         ("location", 2, "Oslo", "a%2Fb")]


def test_labels_are_swapped(begun):
    begun.script("UPDATE location SET name = CASE name WHEN 'Paris' THEN 'Oslo'"
                 " WHEN 'Oslo' THEN 'Paris' ELSE name END;"
                 "UPDATE fact SET amount = 7 WHERE id = 3")
    z = begun.export("incremental")
    assert z.shown == {"Oslo/Actual/Feb": "fact status"}
    assert z.deleted == {}
    assert z.renamed == [("location", 1, "Paris", "Oslo"),
                         ("location", 2, "Oslo", "Paris")]
    assert set(begun.export("all_incremental").shown) == {
        "Oslo/Actual/Jan", "Oslo/Actual/Feb", "Paris/Actual/Jan",
        "Paris/Budget/Jan", "Oslo/Budget/Feb"}


def test_two_labels_become_one(begun):
    begun.sql("UPDATE location SET name = 'Paris' WHERE id = 2")
    z = begun.export("incremental")
    assert z.renamed == [("location", 1, "Paris", "Paris%~1"),
                         ("location", 2, "Oslo", "Paris%~2")]
    begun.sql("DELETE FROM location WHERE id = 2")
    z = begun.export("incremental")
    assert z.renamed == [("location", 1, "Paris%~1", "Paris")]
    assert z.deleted == {"Paris%~2/Actual/Jan": "data orphan",
                         "Paris%~2/Budget/Jan": "data status orphan"}
    assert z.orphans == ["2/Actual/Jan", "2/Budget/Jan"]


def test_name_of_one_that_went_is_taken_over(begun):
    begun.script("DELETE FROM fact WHERE location_id = 2;"
                 "DELETE FROM detail WHERE l = 2;"
                 "DELETE FROM status WHERE location_id = 2;"
                 "DELETE FROM location WHERE id = 2;"
                 "UPDATE location SET name = 'Oslo' WHERE id = 3;"
                 "INSERT INTO detail VALUES(3, 1, 'Jan', 1, 'new')")
    z = begun.export("incremental")
    assert z.shown == {"Oslo/Actual/Jan": "detail"}
    assert z.deleted == {"Oslo/Actual/Jan": "data deleted",
                         "Oslo/Budget/Jan": "data status deleted"}
    assert z.renamed == []
    assert z.orphans == []


@pytest.mark.parametrize("label", ["7", "2026", "1.5", "\\xff", "%null"])
def test_label_that_reads_as_another_type(begun, label):
    begun.sql("UPDATE category SET name = ? WHERE id = 2", label)
    name = label.replace("%", "%25")
    z = begun.export("incremental")
    assert z.renamed == [("category", 2, "Budget", name)]
    assert set(begun.export("all").shown) == {
        pov.replace("Budget", name) for pov in FIRST}


def test_renamed_and_back_between_exports(begun):
    begun.sql("UPDATE category SET name = 'Plan' WHERE id = 2")
    begun.export("incremental", channel="other")
    begun.sql("UPDATE category SET name = 'Budget' WHERE id = 2")
    assert nothing(begun.export("incremental"))
    assert begun.export("incremental", channel="other").renamed == [
        ("category", 2, "Plan", "Budget")]


# Orphans

CAUSES = {
    "location": ("DELETE FROM location WHERE id = 2",
                 "INSERT INTO location VALUES(2, 'Oslo')",
                 {"Oslo/Actual/Jan": "2/Actual/Jan",
                  "Oslo/Budget/Jan": "2/Budget/Jan"}),
    "category": ("DELETE FROM category WHERE id = 2",
                 "INSERT INTO category VALUES(2, 'Budget')",
                 {"Oslo/Budget/Jan": "Oslo/2/Jan",
                  "Paris/Budget/Feb": "Paris/2/Feb"}),
    "category mapping": ("DELETE FROM category_mapping WHERE category_id = 2",
                         "INSERT INTO category_mapping VALUES(2, 'C')",
                         {"Oslo/Budget/Jan": "Oslo/Budget/Jan",
                          "Paris/Budget/Feb": "Paris/Budget/Feb"}),
    "period mapping": ("DELETE FROM period_mapping WHERE period = 'Feb'",
                       "INSERT INTO period_mapping VALUES('Feb', 'f')",
                       {"Paris/Actual/Feb": "Paris/Actual/Feb",
                        "Paris/Budget/Feb": "Paris/Budget/Feb"}),
    "load rule": ("DELETE FROM load_rule WHERE id = 2",
                  "INSERT INTO load_rule VALUES(2, 'again')",
                  {"Oslo/Budget/Jan": "Oslo/Budget/Jan"}),
}


def gone(pov, why):
    tables = FIRST[pov]
    return " ".join(["data"] * (tables != "status")
                    + ["status"] * ("status" in tables) + [why])


@pytest.mark.parametrize("cause", CAUSES)
def test_orphans_are_dropped_and_come_back(begun, cause):
    away, back, povs = CAUSES[cause]
    begun.sql(away)
    z = begun.export("incremental")
    assert z.shown == {}
    assert z.deleted == {pov: gone(pov, "orphan") for pov in povs}
    assert z.orphans == sorted(povs.values())
    z = begun.export("incremental")
    assert nothing(z) and z.orphans == sorted(povs.values())
    assert begun.export("all").shown == {
        pov: tables for pov, tables in FIRST.items() if pov not in povs}
    assert begun.sql("SELECT count(*) FROM fact") == [(5,)]
    begun.sql(back)
    z = begun.export("incremental")
    assert z.shown == {pov: FIRST[pov] for pov in povs}
    assert (z.deleted, z.orphans, z.renamed) == ({}, [], [])


def test_one_mapping_of_two_is_enough(begun):
    begun.sql("DELETE FROM category_mapping WHERE target = 'B2'")
    assert nothing(begun.export("incremental"))


def test_one_rule_of_two_is_enough(begun):
    begun.sql("INSERT INTO status VALUES(2, 2, 'Jan', 1, 0, NULL)")
    begun.export("incremental")
    begun.sql("DELETE FROM load_rule WHERE id = 2")
    assert nothing(begun.export("incremental"))
    begun.sql("DELETE FROM status WHERE location_id = 2 AND rule_id = 1")
    z = begun.export("incremental")
    assert z.deleted == {"Oslo/Budget/Jan": "data status orphan"}


def test_orphan_from_the_first(world):
    world.script("DELETE FROM location WHERE id = 2")
    z = world.export("incremental")
    assert z.shown == {pov: tables for pov, tables in FIRST.items()
                       if not pov.startswith("Oslo")}
    assert z.orphans == ["2/Actual/Jan", "2/Budget/Jan"]
    assert z.deleted == {}
    world.sql("INSERT INTO location VALUES(2, 'Bergen')")
    z = world.export("incremental")
    assert z.shown == {"Bergen/Actual/Jan": "detail fact",
                       "Bergen/Budget/Jan": "fact status"}
    assert z.renamed == []


def test_orphan_whose_rows_go_is_none(begun):
    begun.sql("DELETE FROM location WHERE id = 2")
    begun.export("incremental")
    begun.script("DELETE FROM fact WHERE location_id = 2;"
                 "DELETE FROM detail WHERE l = 2;"
                 "DELETE FROM status WHERE location_id = 2")
    z = begun.export("incremental")
    assert nothing(z) and z.orphans == []


def test_rows_and_location_go_at_once(begun):
    begun.script("DELETE FROM fact WHERE location_id = 2;"
                 "DELETE FROM detail WHERE l = 2;"
                 "DELETE FROM status WHERE location_id = 2;"
                 "DELETE FROM location WHERE id = 2")
    z = begun.export("incremental")
    assert z.deleted == {"Oslo/Actual/Jan": "data deleted",
                         "Oslo/Budget/Jan": "data status deleted"}
    assert z.orphans == []
    assert begun.export("all").orphans == []


@pytest.mark.parametrize("cause", CAUSES)
def test_orphans_are_deleted(begun, cause):
    away, back, povs = CAUSES[cause]
    begun.sql(away)
    z = begun.export("incremental", "orphans=delete")
    assert z.deleted == {pov: gone(pov, "orphan") for pov in povs}
    assert z.orphans == sorted(povs.values())
    assert begun.orphans() == set()
    log = begun.done("jobs", str(z.result["job"]))
    assert log.count("deleting orphan: ") == len(povs)
    left = sum(begun.sql(f"SELECT count(*) FROM {t}")[0][0]
               for t in ("fact", "detail", "status"))
    assert f"rows of orphans deleted: {12 - left}\n" in log
    z = begun.export("incremental")
    assert nothing(z) and z.orphans == []
    begun.sql(back)
    assert nothing(begun.export("incremental"))
    assert begun.export("all").shown == {
        pov: tables for pov, tables in FIRST.items() if pov not in povs}


def test_no_orphan_is_no_deletion(begun):
    before = list(begun.db.iterdump())
    z = begun.export("all", "orphans=delete")
    assert "deleted" not in begun.done("jobs", str(z.result["job"])) \
        .split("}\n")[-1]
    after = list(begun.db.iterdump())
    assert [r for r in after if "outboxfs_" not in r] == [
        r for r in before if "outboxfs_" not in r]


# Setup


def test_setup_is_replaced_whole(begun):
    begun.script('UPDATE "Größe, cm" SET v = v || 1; DELETE FROM load_rule'
                 " WHERE id = 2; INSERT INTO load_rule VALUES(2, 'zwei'),"
                 " (3, 'drei')")
    z = begun.export("incremental")
    assert nothing(z)
    assert z.files["setup/load_rule.csv"] == \
        b"id,name\n1,one\n2,zwei\n3,drei\n"
    begun.sql('DELETE FROM "Größe, cm"')
    assert begun.export("setup").files["setup/Größe, cm.csv"] == b"k,v\n"


def test_setup_export_hides_nothing_from_an_incremental(begun):
    begun.sql("UPDATE location SET name = 'Roma' WHERE id = 1")
    begun.export("setup")
    assert begun.export("incremental").renamed == [
        ("location", 1, "Paris", "Roma")]
    begun.sql("DELETE FROM period_mapping WHERE period = 'Feb'")
    begun.export("setup")
    z = begun.export("incremental")
    assert z.deleted == {"Roma/Actual/Feb": "data status orphan",
                         "Roma/Budget/Feb": "status orphan"}


def test_new_model(begun):
    begun.sql("CREATE TABLE extra(x)")
    begun.sql("INSERT INTO extra VALUES(1)")
    run(OUTBOXFS, "adopt", begun.path)
    z = begun.export("incremental")
    assert nothing(z)
    assert setup_of(z) == sorted([*SETUP, "extra"])
    begun.sql("ALTER TABLE detail ADD COLUMN more TEXT DEFAULT 'm'")
    result = begun.ours("export", begun.path, "incremental")
    assert result.returncode == 1 and "detail" in result.stderr, result
    run(OUTBOXFS, "adopt", begun.path)
    z = begun.export("incremental")
    assert z.shown == {pov: tables for pov, tables in FIRST.items()
                       if "detail" in tables}


# Channels and bases


def test_two_channels_each_from_its_mark(world):
    assert world.export("incremental").shown == FIRST
    world.sql("UPDATE fact SET note = 'a' WHERE id = 1")
    assert world.export("incremental", channel="b").shown == FIRST
    world.sql("UPDATE fact SET note = 'a' WHERE id = 3")
    jan = {"Paris/Actual/Jan": "detail fact status"}
    feb = {"Paris/Actual/Feb": "fact status"}
    assert world.export("incremental").shown == {**jan, **feb}
    assert world.export("incremental", channel="b").shown == feb
    world.sql("DELETE FROM fact WHERE id = 5")
    z = world.export("incremental", channel="b")
    assert z.shown == {"Oslo/Budget/Jan": "status"}
    assert z.deleted == {"Oslo/Budget/Jan": "data deleted"}
    world.sql("INSERT INTO fact VALUES(6, 2, 2, 'Jan', 2, 6.5, NULL)")
    z = world.export("incremental")
    assert z.shown == {"Oslo/Budget/Jan": "fact status"} and z.deleted == {}
    z = world.export("all_incremental", channel="b")
    assert z.shown == FIRST and z.deleted == {}
    assert nothing(world.export("incremental", channel="b"))
    assert nothing(world.export("incremental"))


def test_all_moves_the_mark(begun):
    begun.sql("DELETE FROM status WHERE period = 'Feb'")
    z = begun.export("all")
    assert z.deleted == {"Paris/Actual/Feb": "status deleted",
                         "Paris/Budget/Feb": "status deleted"}
    assert nothing(begun.export("incremental"))


def test_since_an_older_snapshot(begun):
    first = begun.last.params["snapshot"]
    begun.sql("UPDATE fact SET note = 'a' WHERE id = 1")
    second = begun.export("incremental").params["snapshot"]
    begun.script("UPDATE fact SET note = 'b' WHERE id = 3;"
                 "UPDATE location SET name = 'Oz' WHERE id = 2;"
                 "DELETE FROM status WHERE category_id = 2")
    z = begun.export("incremental", base=first)
    assert z.shown == {"Paris/Actual/Jan": "detail fact status",
                       "Paris/Actual/Feb": "fact status"}
    assert z.renamed == [("location", 2, "Oslo", "Oz")]
    assert z.deleted == {"Oslo/Budget/Jan": "status deleted",
                         "Paris/Budget/Feb": "status deleted"}
    third = z.params["snapshot"]
    z = begun.export("incremental", base=second)
    assert z.shown == {"Paris/Actual/Feb": "fact status"}
    assert nothing(begun.export("incremental", base=third))
    z = begun.export("all_incremental", base=first, channel="new")
    assert len(z.shown) == 4 and z.renamed and z.deleted


# What is refused


def state(w):
    """Everything that an export may change."""
    store = "\n".join(
        repr(r) for t in ("snapshot", "channel", "outbox", "job", "version",
                          "object", "name", "captured")
        for r in w.store(f"SELECT * FROM {t}"))
    return store, list(w.db.iterdump()), sorted(p.name for p in
                                                w.out.iterdir())


@pytest.mark.parametrize("status, words, says", [
    (1, ["all", "file=taken"], "outbox/taken.zip is there already"),
    (1, ["incremental", "base=99"], "snapshot 99"),
    (1, ["all_incremental", "base=2"], "snapshot 2"),  # was purged
    (2, ["incremental", "base=0"], "base"),
    (2, ["all", "base=1"], "base="),
    (2, ["setup", "channel=x"], "channel"),
    (2, ["setup", "orphans=delete"], "orphans"),
    (2, ["incremental", "channel=a b"], "channel"),
    (2, ["incremental", "channel="], "channel"),
    (2, ["everything"], "'everything'"),
    (2, ["all", "incremental"], "incremental"),
    (2, ["all", "colour=red"], "colour"),
    (2, ["all", "orphans=keep"], "orphans"),
    (2, ["all", "overwrite=maybe"], "overwrite"),
    (2, ["all", "file=../x"], "'/'"),
    (2, ["all", "file="], "file"),
    (2, ["all", "file=" + "x" * 256], "file"),
    (2, ["all", "file=x", "file=y"], "file"),
    (2, ['{"type": "all", "colour": 1}'], "colour"),
    (2, ['{"type": "all"'], "JSON"),
])
def test_refused_export_changes_nothing(begun, status, words, says):
    begun.export("setup")
    begun.export("setup", "file=taken")
    begun.done("purge", "snapshots", "keep=1")
    before = state(begun)
    result = begun.ours("export", begun.path, *words)
    assert (result.returncode, result.stdout) == (status, ""), result
    assert result.stderr.startswith("outboxfs: "), result
    assert says in result.stderr, result
    assert state(begun) == before


@pytest.mark.parametrize("status, words, says", [
    (1, ["data", "colour=red"], "'colour'"),
    (2, ["attic"], "attic"), (2, ["outbox"], "older"),
    (2, ["snapshots"], "older"), (2, ["jobs", "older=soon"], "older"),
    (2, ["outbox", "keep=-1"], "keep"), (2, ["orphans", "keep=1"], "keep"),
    (2, ["data"], "from="), (2, ["output", "older=1d"], "older"),
    (2, ["outbox", "keep=0", "dry_run=perhaps"], "dry_run"),
])
def test_refused_purge_changes_nothing(begun, status, words, says):
    before = state(begun)
    result = begun.ours("purge", begun.path, *words)
    assert (result.returncode, result.stdout) == (status, ""), result
    assert says in result.stderr, result
    assert state(begun) == before


def test_overwrite_takes_the_place(begun):
    old = begun.export("all", "file=x").path.read_bytes()
    begun.sql("DELETE FROM fact")
    z = begun.export("all", "file=x", "overwrite=yes")
    assert z.path.read_bytes() != old
    assert [n for n, in begun.store("SELECT name FROM outbox WHERE name ="
                                    " 'x.zip'")] == ["x.zip"]


# Jobs


def test_jobs_say_what_was_made(begun):
    begun.export("incremental", "file=two", channel="c")
    begun.ours("export", begun.path, "all", "file=two")
    begun.export("setup", "file=THREE.ZIP")
    found = json.loads(begun.done("jobs", "--json"))
    assert [(j["job"], j["kind"], j["state"], j["snapshot"], j["file"])
            for j in found] == [
        (1, "export", "done", 1, "world-all-1.zip"),
        (2, "export", "done", 2, "two.zip"),
        (3, "export", "done", 3, "THREE.ZIP")]
    assert found[2] == begun.last.result
