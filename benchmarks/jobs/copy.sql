-- A day by \copy into a table that has its key. \copy cannot update: what is stored of the day goes first.
BEGIN;
DELETE FROM report WHERE report_date = '2026-01-05' AND report_type = 'VOD';
\copy report (title, content_id, streaming_type, created_at, customer_id, watch_seconds) FROM '@csv@' WITH (FORMAT csv, HEADER, FORCE_NOT_NULL (title, customer_id))
COMMIT;
