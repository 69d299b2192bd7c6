-- Where in the packs the bytes of rendered files lie. Only what a commit of
-- this database names exists: bytes behind a pack's end are a capture's that
-- was never published.
CREATE TABLE pack (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- packs/<id>
  bytes INTEGER NOT NULL                 -- its end
);

CREATE TABLE object (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sha256 BLOB NOT NULL UNIQUE,  -- 32 bytes, of the file as rendered
  crc INTEGER NOT NULL,         -- CRC-32 of the same
  size INTEGER NOT NULL,        -- bytes of the same
  rows INTEGER NOT NULL,        -- without the header; documents: 0
  method INTEGER NOT NULL,      -- as in ZIP: 0 stored, 8 deflate
  packed INTEGER NOT NULL,      -- bytes in the pack
  pack INTEGER NOT NULL,
  offset INTEGER NOT NULL,      -- in the pack
  pieces BLOB,                  -- deflated, over 1 MiB: of each MiB
  damaged INTEGER NOT NULL DEFAULT 0  -- 1: what lies there is not that
);
CREATE INDEX object_pack ON object(pack, packed);

-- Values of dimensions that a captured POV has, and load rules.
CREATE TABLE value (
  id INTEGER PRIMARY KEY,
  dim INTEGER NOT NULL,      -- place in the model, from 0; -1: a load rule
  key BLOB NOT NULL,         -- value_encode()
  missing INTEGER NOT NULL,  -- 1: a row that the model requires is not there
  UNIQUE (dim, key)
);

-- Path components of values. Everywhere below: part of each snapshot n with
-- since <= n < until; until is 2^63 - 1 while it lasts.
CREATE TABLE name (
  value INTEGER NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  name TEXT NOT NULL,
  time INTEGER NOT NULL,  -- files beneath are not older in output/: a path that
                          -- is another value's now shows that by its times
  PRIMARY KEY (value, since)
) WITHOUT ROWID;
CREATE INDEX name_name ON name(name);
CREATE INDEX name_time ON name(time) WHERE time > 0;
CREATE INDEX name_since ON name(since);

-- Directories: prefixes of POVs, and POVs. The root has id 1; setup/ is
-- directory 0 and has no row.
CREATE TABLE dir (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  parent INTEGER NOT NULL,
  value INTEGER NOT NULL,
  level INTEGER NOT NULL,    -- number of values; the root: 0
  pov INTEGER NOT NULL,      -- 1: it has a value of every dimension
  orphan INTEGER NOT NULL,   -- POV: left out of the last capture as an orphan
  status INTEGER NOT NULL,   -- present children (a POV: files) in data/
  output INTEGER NOT NULL,   -- the same in output/
  time INTEGER NOT NULL,     -- output/: last change beneath, UTC seconds
  UNIQUE (parent, value, pov)
);
CREATE INDEX dir_parent ON dir(parent);
CREATE INDEX dir_value ON dir(value);
CREATE INDEX dir_orphan ON dir(orphan) WHERE orphan = 1;
INSERT INTO dir VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0);

-- When a directory had anything beneath it.
CREATE TABLE presence (
  dir INTEGER NOT NULL,
  area INTEGER NOT NULL,  -- 0: data/ (status), 1: output/
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (dir, area, since)
) WITHOUT ROWID;
CREATE INDEX presence_since ON presence(since);
CREATE INDEX presence_until ON presence(until)
  WHERE until < 9223372036854775807;

-- The load rules that rows of a POV name.
CREATE TABLE pov_rule (
  dir INTEGER NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (dir, value)
) WITHOUT ROWID;
CREATE INDEX pov_rule_value ON pov_rule(value);

CREATE TABLE tbl (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  role INTEGER NOT NULL,  -- enum model_role: 0 setup, 1 data, 2 status
  file TEXT NOT NULL,     -- path component
  UNIQUE (name, role, file)
);

CREATE TABLE version (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  dir INTEGER NOT NULL,  -- POV; 0: setup/
  tbl INTEGER NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER NOT NULL,
  object INTEGER NOT NULL,
  time INTEGER NOT NULL,  -- modified, UTC seconds; grows with since
  UNIQUE (dir, tbl, since)
);
CREATE UNIQUE INDEX version_open ON version(dir, tbl)
  WHERE until = 9223372036854775807;
CREATE INDEX version_since ON version(since);
CREATE INDEX version_until ON version(until)
  WHERE until < 9223372036854775807;
CREATE INDEX version_object ON version(object);

CREATE TABLE snapshot (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  time INTEGER NOT NULL,     -- of the consistent read, UTC seconds
  setup INTEGER NOT NULL,    -- 1: setup was captured
  data INTEGER NOT NULL,     -- 1: data and status were captured
  params INTEGER NOT NULL,   -- object: SnapshotParams.json
  job INTEGER NOT NULL,
  kept INTEGER NOT NULL      -- 1: a tree in snapshots/; 0: only what it was
);

-- Up to which change number the present state was captured; nothing holds if
-- the database's timeline is another one.
CREATE TABLE captured (
  setup_change INTEGER NOT NULL,
  data_change INTEGER NOT NULL,
  data_snapshot INTEGER NOT NULL,  -- the last with data; 0: none
  model TEXT NOT NULL              -- SHA-256 of the model, hex
);
INSERT INTO captured VALUES (0, 0, 0, '');

CREATE TABLE channel (
  name TEXT PRIMARY KEY,
  snapshot INTEGER NOT NULL,  -- exported up to here
  time INTEGER NOT NULL       -- when the mark moved, UTC seconds
) WITHOUT ROWID;

CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL,
  snapshot INTEGER NOT NULL,
  selected INTEGER NOT NULL,  -- 1: POVs as in selection; 0: all of them
  params INTEGER NOT NULL,    -- object: data/SnapshotParams.json
  package INTEGER NOT NULL,   -- object: datapackage.json
  bytes INTEGER NOT NULL,     -- of the ZIP
  entries INTEGER NOT NULL,
  time INTEGER NOT NULL,      -- UTC seconds
  job INTEGER NOT NULL
);

-- What an incremental ZIP shows.
CREATE TABLE selection (
  outbox INTEGER NOT NULL,
  dir INTEGER NOT NULL,   -- POV
  what INTEGER NOT NULL,  -- bits: 1 status, 2 data
  PRIMARY KEY (outbox, dir)
) WITHOUT ROWID;

CREATE TABLE job (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,          -- 'export', 'purge'
  request TEXT NOT NULL,       -- JSON
  state TEXT NOT NULL,         -- queued processing aborting done failed aborted limit_reached
  requested_by TEXT NOT NULL,  -- 'uid 1000, process 77 (bash)'
  queued_at INTEGER NOT NULL,  -- UTC seconds
  started_at INTEGER,
  finished_at INTEGER,
  error TEXT,                  -- a sentence
  errno INTEGER NOT NULL DEFAULT 0,
  snapshot INTEGER,
  file TEXT,                   -- name in outbox/
  counts TEXT                  -- JSON object
);
CREATE INDEX job_open ON job(id) WHERE finished_at IS NULL;

CREATE TABLE job_log (
  job INTEGER NOT NULL,
  line INTEGER NOT NULL,
  time INTEGER NOT NULL,  -- UTC seconds
  text TEXT NOT NULL,
  PRIMARY KEY (job, line)
) WITHOUT ROWID;
