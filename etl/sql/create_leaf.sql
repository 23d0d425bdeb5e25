-- A bare table for one slice, no key yet: COPY into it is several times cheaper than into a keyed one. The columns
-- that are the same on every row are not sent over the wire.
CREATE TABLE {partition} (LIKE watch_time INCLUDING CONSTRAINTS);
ALTER TABLE {partition}
    ALTER COLUMN report_date SET DEFAULT {start_date},
    ALTER COLUMN report_type SET DEFAULT {start_type}
