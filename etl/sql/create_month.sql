-- A bare table for a month, filled in the order of its slices, so that each slice's rows lie together.
CREATE TABLE {partition} (LIKE watch_time INCLUDING CONSTRAINTS);
INSERT INTO {partition}
SELECT *
FROM watch_time
WHERE report_date >= {start_date}
  AND report_date < {end_date}
