-- A day by \copy FREEZE into a new table, which gets its key and takes the old partition's place; with its sums.
BEGIN;
CREATE TABLE report_new (LIKE report INCLUDING DEFAULTS);
\copy report_new (title, content_id, streaming_type, created_at, customer_id, watch_seconds) FROM '@csv@' WITH (FORMAT csv, HEADER, FORCE_NOT_NULL (title, customer_id), FREEZE)
ALTER TABLE report_new
    ADD CONSTRAINT report_bound CHECK (report_date = '2026-01-05' AND report_type = 'VOD'),
    ADD PRIMARY KEY (customer_id, content_id, streaming_type, report_date, report_type);
DROP TABLE IF EXISTS report_sums;
CREATE TABLE report_sums AS
SELECT content_id,
       streaming_type,
       count(*) FILTER (WHERE customer_id <> '') AS customers,
       sum(watch_seconds) AS watch_seconds,
       sum(watch_seconds) FILTER (WHERE customer_id = '') AS anonymous_seconds
FROM report_new
GROUP BY content_id, streaming_type;
DROP TABLE IF EXISTS report_day;
ALTER TABLE report_new RENAME TO report_day;
ALTER TABLE report ATTACH PARTITION report_day
    FOR VALUES FROM ('2026-01-05', 'VOD') TO ('2026-01-06', 'LIVE');
ALTER TABLE report_day DROP CONSTRAINT report_bound;
COMMIT;
