-- A day by \copy into staging, and from there with ON CONFLICT. Rows that the new report does not have stay.
BEGIN;
CREATE TEMPORARY TABLE staging (LIKE report INCLUDING DEFAULTS) ON COMMIT DROP;
\copy staging (title, content_id, streaming_type, created_at, customer_id, watch_seconds) FROM '@csv@' WITH (FORMAT csv, HEADER, FORCE_NOT_NULL (title, customer_id))
INSERT INTO report SELECT * FROM staging
ON CONFLICT (content_id, customer_id, streaming_type, report_date, report_type) DO UPDATE
SET title = excluded.title, created_at = excluded.created_at, watch_seconds = excluded.watch_seconds;
COMMIT;
