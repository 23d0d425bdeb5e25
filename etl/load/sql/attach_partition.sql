-- Readers of watch_time go on meanwhile (CREATE TABLE ... PARTITION OF would block them). Other attachments, ANALYZE
-- and VACUUM of the parent make us wait, and may take long; nobody waits behind us for it. The CHECK spares a scan.
SET LOCAL lock_timeout = '30min';
LOCK TABLE ONLY watch_time IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '10s';
ALTER TABLE watch_time ATTACH PARTITION {partition}
    FOR VALUES FROM ({start_date}, {start_type}) TO ({end_date}, {end_type});
ALTER TABLE {partition} DROP CONSTRAINT {bound};
-- The rest is autovacuum's. Without this much the planner takes the slice for a handful of rows until then.
SET LOCAL default_statistics_target = 1;
ANALYZE {partition} (report_date, report_type)
