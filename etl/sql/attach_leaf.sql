-- Readers of watch_time go on meanwhile (CREATE TABLE ... PARTITION OF would block them). The CHECK has done its work.
ALTER TABLE watch_time ATTACH PARTITION {leaf}
    FOR VALUES FROM ({report_date}, {report_type}) TO ({next_date}, {next_type});
ALTER TABLE {leaf} DROP CONSTRAINT {bound}
