-- The tables of the built-in data-management model, made by outboxfs init.
-- Names follow the field: points of view, load rules, mappings, segments.

-- Where data comes from.
CREATE TABLE source_system (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL DEFAULT 'file'
    CHECK (kind IN ('file', 'database', 'service')),
  description TEXT,
  enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1))
);

-- Where data goes to.
CREATE TABLE target_application (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL DEFAULT 'planning',
  currency TEXT CHECK (currency IS NULL OR length(currency) = 3),
  description TEXT
);

-- How a file is read, column by column.
CREATE TABLE import_format (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  source_system_id INTEGER NOT NULL REFERENCES source_system(id),
  target_application_id INTEGER NOT NULL REFERENCES target_application(id),
  file_type TEXT NOT NULL DEFAULT 'delimited'
    CHECK (file_type IN ('delimited', 'fixed', 'spreadsheet')),
  delimiter TEXT NOT NULL DEFAULT ',',
  header_rows INTEGER NOT NULL DEFAULT 1 CHECK (header_rows >= 0)
);
CREATE TABLE import_format_field (
  import_format_id INTEGER NOT NULL REFERENCES import_format(id) ON DELETE CASCADE,
  position INTEGER NOT NULL CHECK (position > 0),
  source_column TEXT NOT NULL,
  target_dimension TEXT NOT NULL,
  expression TEXT,
  PRIMARY KEY (import_format_id, position)
) WITHOUT ROWID;

-- The first dimension of the point of view: who delivers.
CREATE TABLE location (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  parent_id INTEGER REFERENCES location(id),
  import_format_id INTEGER REFERENCES import_format(id),
  currency TEXT CHECK (currency IS NULL OR length(currency) = 3)
);

-- The second: actual, budget, forecast.
CREATE TABLE category (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  description TEXT
);
CREATE TABLE category_mapping (
  category_id INTEGER NOT NULL REFERENCES category(id),
  target_application_id INTEGER NOT NULL REFERENCES target_application(id),
  target_category TEXT NOT NULL,
  PRIMARY KEY (category_id, target_application_id)
) WITHOUT ROWID;

-- The third: when.
CREATE TABLE period (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  start_date TEXT NOT NULL,
  end_date TEXT NOT NULL,
  fiscal_year INTEGER NOT NULL,
  CHECK (start_date <= end_date)
);
CREATE TABLE period_mapping (
  period_id INTEGER NOT NULL REFERENCES period(id),
  target_application_id INTEGER NOT NULL REFERENCES target_application(id),
  target_period TEXT NOT NULL,
  target_year TEXT NOT NULL,
  PRIMARY KEY (period_id, target_application_id)
) WITHOUT ROWID;

-- What is loaded for a location and category, and how.
CREATE TABLE load_rule (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  location_id INTEGER NOT NULL REFERENCES location(id),
  category_id INTEGER NOT NULL REFERENCES category(id),
  import_mode TEXT NOT NULL DEFAULT 'replace'
    CHECK (import_mode IN ('replace', 'append', 'merge')),
  enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1))
);

-- Source members to target members, per location and dimension.
CREATE TABLE member_mapping (
  id INTEGER PRIMARY KEY,
  location_id INTEGER NOT NULL REFERENCES location(id),
  dimension TEXT NOT NULL,
  kind TEXT NOT NULL DEFAULT 'explicit'
    CHECK (kind IN ('explicit', 'between', 'in', 'like')),
  source_member TEXT NOT NULL,
  target_member TEXT NOT NULL,
  sequence INTEGER NOT NULL DEFAULT 1,
  UNIQUE (location_id, dimension, kind, source_member, sequence)
);

-- Runs of load rules; the largest id of an export is what was exported last.
CREATE TABLE process (
  process_id INTEGER PRIMARY KEY AUTOINCREMENT,
  load_rule_id INTEGER REFERENCES load_rule(id),
  period_id INTEGER REFERENCES period(id),
  started_at TEXT NOT NULL,
  finished_at TEXT,
  started_by TEXT
);

-- The rows that were loaded, as they go to the target. Clustered by point of
-- view: one is read in one sweep however the rows arrived.
CREATE TABLE data_segment (
  location_id INTEGER NOT NULL REFERENCES location(id),
  category_id INTEGER NOT NULL REFERENCES category(id),
  period_id INTEGER NOT NULL REFERENCES period(id),
  id INTEGER NOT NULL,
  load_rule_id INTEGER NOT NULL REFERENCES load_rule(id),
  process_id INTEGER REFERENCES process(process_id),
  account TEXT NOT NULL,
  entity TEXT,
  counterparty TEXT,
  product TEXT,
  currency TEXT,
  description TEXT,
  amount REAL,
  amount_source REAL,
  PRIMARY KEY (location_id, category_id, period_id, id)
) WITHOUT ROWID;

-- Which mapping each row went through, for drilling back to the source.
CREATE TABLE mapping_segment (
  location_id INTEGER NOT NULL REFERENCES location(id),
  category_id INTEGER NOT NULL REFERENCES category(id),
  period_id INTEGER NOT NULL REFERENCES period(id),
  id INTEGER NOT NULL,
  dimension TEXT NOT NULL,
  load_rule_id INTEGER NOT NULL REFERENCES load_rule(id),
  source_member TEXT,
  target_member TEXT,
  member_mapping_id INTEGER REFERENCES member_mapping(id),
  PRIMARY KEY (location_id, category_id, period_id, id, dimension)
) WITHOUT ROWID;

-- The workflow of each point of view and rule: a flag (0 not started or
-- failed, 1 done) and a note for each step.
CREATE TABLE process_status (
  location_id INTEGER NOT NULL REFERENCES location(id),
  category_id INTEGER NOT NULL REFERENCES category(id),
  period_id INTEGER NOT NULL REFERENCES period(id),
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
  PRIMARY KEY (location_id, category_id, period_id, load_rule_id)
) WITHOUT ROWID;
