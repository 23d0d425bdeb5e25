-- The month's table takes the place of its slices' partitions. Nobody can read watch_time meanwhile; all that is written
-- is the catalog.
ALTER TABLE watch_time ATTACH PARTITION {partition}
    FOR VALUES FROM ({start_date}, {start_type}) TO ({end_date}, {end_type});
ALTER TABLE {partition} DROP CONSTRAINT {bound}
