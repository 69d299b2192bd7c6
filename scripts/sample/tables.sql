-- The tables of the sample. Point of view: state x size of the animal x month.

-- First dimension: where the flight began.
CREATE TABLE state (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);

-- Second dimension.
CREATE TABLE wildlife_size (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);

-- What a report calls each size. A size without a line here is not reported:
-- its points of view are orphans.
CREATE TABLE size_mapping (
  wildlife_size_id INTEGER NOT NULL REFERENCES wildlife_size(id),
  report TEXT NOT NULL,
  report_size TEXT NOT NULL,
  PRIMARY KEY (wildlife_size_id, report)
) WITHOUT ROWID;

-- Airports are records: they have an identity that outlives this database.
CREATE TABLE airport (
  id INTEGER PRIMARY KEY,
  uuid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  state_id INTEGER NOT NULL REFERENCES state(id),
  modified_on TEXT NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1))
);

CREATE TABLE aircraft (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL UNIQUE
);

CREATE TABLE operator (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);

CREATE TABLE species (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  strikes INTEGER NOT NULL, -- in the whole sample
  share REAL NOT NULL       -- of all strikes, in percent
);

CREATE TABLE phase (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
);

-- Degrees of damage; the source has codes that nobody explains, too.
CREATE TABLE damage (
  code TEXT PRIMARY KEY,
  severity INTEGER -- 0 none … 3 substantial; NULL: not known
) WITHOUT ROWID;

-- One a state: its reports come in one file.
CREATE TABLE load_rule (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  state_id INTEGER NOT NULL REFERENCES state(id),
  enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1))
);

-- Runs of load rules.
CREATE TABLE process (
  process_id INTEGER PRIMARY KEY,
  load_rule_id INTEGER NOT NULL REFERENCES load_rule(id),
  started_at TEXT NOT NULL,
  finished_at TEXT
);

-- The data: one row a strike, clustered by point of view.
CREATE TABLE strike (
  state_id INTEGER NOT NULL REFERENCES state(id),
  wildlife_size_id INTEGER NOT NULL REFERENCES wildlife_size(id),
  period TEXT NOT NULL,          -- the month: 1990-01
  id INTEGER NOT NULL,           -- the row in the source, from 1
  load_rule_id INTEGER NOT NULL REFERENCES load_rule(id),
  flight_date TEXT NOT NULL,
  time_of_day TEXT NOT NULL,
  airport_id INTEGER NOT NULL REFERENCES airport(id),
  aircraft_id INTEGER NOT NULL REFERENCES aircraft(id),
  operator_id INTEGER REFERENCES operator(id), -- NULL: not known
  species_id INTEGER NOT NULL REFERENCES species(id),
  phase_id INTEGER NOT NULL REFERENCES phase(id),
  damage_code TEXT NOT NULL REFERENCES damage(code),
  cost_repair INTEGER NOT NULL,  -- in dollars
  cost_other INTEGER NOT NULL,
  speed_kt INTEGER,              -- NULL: not reported
  speed_kmh REAL,
  note TEXT,                     -- of whoever corrects the row
  PRIMARY KEY (state_id, wildlife_size_id, period, id)
) WITHOUT ROWID;

-- The workflow of each point of view: a flag (0 not done, 1 done) and a note
-- for each step.
CREATE TABLE process_status (
  state_id INTEGER NOT NULL REFERENCES state(id),
  wildlife_size_id INTEGER NOT NULL REFERENCES wildlife_size(id),
  period TEXT NOT NULL,
  load_rule_id INTEGER NOT NULL REFERENCES load_rule(id),
  import_flag INTEGER NOT NULL DEFAULT 0 CHECK (import_flag IN (0, 1)),
  import_note TEXT,
  validate_flag INTEGER NOT NULL DEFAULT 0 CHECK (validate_flag IN (0, 1)),
  validate_note TEXT,
  export_flag INTEGER NOT NULL DEFAULT 0 CHECK (export_flag IN (0, 1)),
  export_note TEXT,
  load_flag INTEGER NOT NULL DEFAULT 0 CHECK (load_flag IN (0, 1)),
  load_note TEXT,
  check_flag INTEGER NOT NULL DEFAULT 0 CHECK (check_flag IN (0, 1)),
  check_note TEXT,
  PRIMARY KEY (state_id, wildlife_size_id, period, load_rule_id)
) WITHOUT ROWID;
