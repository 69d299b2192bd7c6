-- Fills the tables of tables.sql from the rows of the source, which stand in
-- temp.report in their order. Same source, same database: nothing here depends
-- on the clock or on chance.

INSERT INTO state (name)
SELECT DISTINCT state FROM report ORDER BY state;

INSERT INTO wildlife_size (id, name)
VALUES (1, 'Small'), (2, 'Medium'), (3, 'Large');

INSERT INTO size_mapping
SELECT id, 'annual', substr(name, 1, 1) FROM wildlife_size;

INSERT INTO airport (uuid, name, state_id, modified_on)
SELECT printf('6f1d2c4e-0b7a-4f3e-9a52-%012x', row_number() OVER (ORDER BY r.airport)),
  r.airport, s.id, max(r.flight_date) || 'T00:00:00Z'
FROM report AS r
JOIN state AS s ON s.name = r.state
GROUP BY r.airport
ORDER BY r.airport;

INSERT INTO aircraft (model)
SELECT DISTINCT aircraft FROM report ORDER BY aircraft;

INSERT INTO operator (name)
SELECT DISTINCT operator FROM report WHERE operator <> 'UNKNOWN' ORDER BY operator;

INSERT INTO species (name, strikes, share)
SELECT species, count(*), count(*) * 100.0 / (SELECT count(*) FROM report)
FROM report
GROUP BY species
ORDER BY species;

INSERT INTO phase (id, name)
VALUES (1, 'Parked'), (2, 'Taxi'), (3, 'Take-off run'), (4, 'Climb'),
  (5, 'Descent'), (6, 'Approach'), (7, 'Landing Roll');

INSERT INTO damage (code, severity)
VALUES ('None', 0), ('Minor', 1), ('Medium', 2), ('Substantial', 3),
  ('B', NULL), ('C', NULL);

INSERT INTO load_rule (id, name, state_id)
SELECT id, 'Reports of ' || name, id FROM state;

INSERT INTO process (process_id, load_rule_id, started_at, finished_at)
SELECT id, id,
  strftime('%Y-%m-%dT%H:%M:%SZ', '2002-08-01', (id * 10) || ' minutes'),
  strftime('%Y-%m-%dT%H:%M:%SZ', '2002-08-01', (id * 10 + 4) || ' minutes')
FROM load_rule;

INSERT INTO strike
SELECT s.id, w.id, substr(r.flight_date, 1, 7), r.rowid, l.id,
  r.flight_date, r.time_of_day, a.id, c.id, o.id, p.id, f.id, d.code,
  r.cost_repair, r.cost_other,
  CASE WHEN r.speed <> '' THEN r.speed END,
  CASE WHEN r.speed <> '' THEN r.speed * 1.852 END,
  NULL
FROM report AS r
JOIN state AS s ON s.name = r.state
JOIN wildlife_size AS w ON w.name = r.size
JOIN load_rule AS l ON l.state_id = s.id
JOIN airport AS a ON a.name = r.airport
JOIN aircraft AS c ON c.model = r.aircraft
LEFT JOIN operator AS o ON o.name = r.operator
JOIN species AS p ON p.name = r.species
JOIN phase AS f ON f.name = r.phase
JOIN damage AS d ON d.code = r.damage
ORDER BY 1, 2, 3, 4;

-- Imported are all; valid are those whose damage is known; checked are those
-- of them that tell the speed of every strike.
INSERT INTO process_status (state_id, wildlife_size_id, period, load_rule_id,
  import_flag, import_note, validate_flag, validate_note, check_flag, check_note)
SELECT state_id, wildlife_size_id, period, load_rule_id,
  1, printf('rows: %d', count(*)),
  sum(severity IS NULL) = 0,
  CASE WHEN sum(severity IS NULL) > 0
    THEN printf('rows with an unknown damage code: %d', sum(severity IS NULL)) END,
  sum(severity IS NULL) = 0 AND count(speed_kt) = count(*),
  CASE WHEN count(speed_kt) < count(*)
    THEN printf('rows without a speed: %d', count(*) - count(speed_kt)) END
FROM strike
JOIN damage ON code = damage_code
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, 4;
