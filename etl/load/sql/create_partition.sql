-- A bare table for one slice, no key yet: COPY into it is several times cheaper than into a keyed one. The columns
-- that are the same on every row are not sent over the wire. The bound is there as a CHECK from the first row on, so
-- that neither it nor ATTACH needs a scan. A little room is left on each page: what a restated report changes then stays
-- on its page, and the index need not be touched (HOT).
CREATE TABLE {partition} (
    LIKE watch_time INCLUDING CONSTRAINTS,
    CONSTRAINT {bound} CHECK (report_date = {start_date} AND report_type = {start_type})
) WITH (fillfactor = 95);
ALTER TABLE {partition}
    ALTER COLUMN report_date SET DEFAULT {start_date},
    ALTER COLUMN report_type SET DEFAULT {start_type};
{distribute}
