-- The month's table takes the place of its slices' partitions. From the first lock to the commit nobody can read
-- watch_time; what follows only writes to the catalog. A reader that is in the way makes us give up, not wait: others
-- would queue behind us.
SET LOCAL lock_timeout = '200ms';
LOCK TABLE ONLY watch_time IN ACCESS EXCLUSIVE MODE;
DROP TABLE {slices};
ALTER TABLE watch_time ATTACH PARTITION {partition}
    FOR VALUES FROM ({start_date}, {start_type}) TO ({end_date}, {end_type});
ALTER TABLE {partition} DROP CONSTRAINT {bound}
