-- Names and values: what there is one of.
CREATE TABLE setting (
  name TEXT PRIMARY KEY,  -- 'timeline', 'next_timeline'
  value TEXT NOT NULL
) WITHOUT ROWID;

-- Size and hash of live files, so that stat need not render them.
CREATE TABLE known (
  pov INTEGER NOT NULL,     -- id in the registry; 0: a setup table
  tbl INTEGER NOT NULL,     -- id in the model
  change INTEGER NOT NULL,  -- change number under which this holds
  rows INTEGER NOT NULL,    -- without the header
  bytes INTEGER NOT NULL,
  sha256 BLOB NOT NULL,     -- 32 bytes
  PRIMARY KEY (pov, tbl)
) WITHOUT ROWID;
