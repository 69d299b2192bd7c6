-- What a draft stages. Ids of values, directories and tables are final: there
-- is one writer.
CREATE TEMP TABLE staged_object (
  sha256 BLOB PRIMARY KEY,
  crc INTEGER,
  size INTEGER,
  rows INTEGER,
  method INTEGER,
  packed INTEGER,
  pack INTEGER,
  offset INTEGER,
  pieces BLOB
) WITHOUT ROWID;

CREATE TEMP TABLE staged_tbl (
  id INTEGER PRIMARY KEY,
  name TEXT,
  role INTEGER,
  file TEXT
);

CREATE TEMP TABLE staged_value (
  id INTEGER PRIMARY KEY,
  dim INTEGER,
  key BLOB,
  missing INTEGER,
  UNIQUE (dim, key)
);

-- Values, new or not, with what is said of them now.
CREATE TEMP TABLE staged_name (
  value INTEGER PRIMARY KEY,
  name TEXT,  -- NULL: as it was
  missing INTEGER
);

CREATE TEMP TABLE staged_dir (
  id INTEGER PRIMARY KEY,
  parent INTEGER,
  value INTEGER,
  level INTEGER,
  pov INTEGER,
  UNIQUE (parent, value, pov)
);

CREATE TEMP TABLE staged_pov (
  dir INTEGER PRIMARY KEY,
  orphan INTEGER
);

CREATE TEMP TABLE staged_rule (
  dir INTEGER,
  value INTEGER,
  PRIMARY KEY (dir, value)
) WITHOUT ROWID;

CREATE TEMP TABLE staged_file (
  dir INTEGER,
  tbl INTEGER,
  sha256 BLOB,  -- NULL: the same as before
  time INTEGER,
  object INTEGER,  -- id of sha256, once it is known
  PRIMARY KEY (dir, tbl)
) WITHOUT ROWID;

-- Versions that end.
CREATE TEMP TABLE closing (
  version INTEGER PRIMARY KEY,
  dir INTEGER,
  tbl INTEGER
);

-- How the number of present children of directories changes.
CREATE TEMP TABLE delta (
  level INTEGER,
  dir INTEGER,
  area INTEGER,  -- 0: data/, 1: output/
  n INTEGER,
  up INTEGER,  -- 1: the directory itself comes; -1: it goes; 0
  PRIMARY KEY (level, dir, area)
) WITHOUT ROWID;

-- Directories whose listing in output/ is another one.
CREATE TEMP TABLE touched (
  dir INTEGER PRIMARY KEY
);

-- What becomes known of live files; ids of the artifact database.
CREATE TEMP TABLE staged_known (
  pov INTEGER,
  tbl INTEGER,
  change INTEGER,
  rows INTEGER,
  bytes INTEGER,
  sha256 BLOB,
  PRIMARY KEY (pov, tbl)
) WITHOUT ROWID;
