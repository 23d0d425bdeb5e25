-- The rollup becomes that of the slice's rows; what is equal is left alone.
-- Reads: slice_sums (load/sum_slice)
DELETE FROM content_daily AS stored
WHERE report_date = {start_date}
  AND report_type = {start_type}
  AND NOT EXISTS (
      SELECT
      FROM slice_sums
      WHERE slice_sums.content_id = stored.content_id
        AND slice_sums.streaming_type = stored.streaming_type
  );
INSERT INTO content_daily AS stored (
    report_date, report_type, content_id, streaming_type, customers, watch_seconds, anonymous_seconds, has_anonymous
)
SELECT {start_date}, {start_type}, content_id, streaming_type, customers, watch_seconds, anonymous_seconds, has_anonymous
FROM slice_sums
ORDER BY content_id, streaming_type
ON CONFLICT (report_date, report_type, content_id, streaming_type) DO UPDATE
SET customers = excluded.customers,
    watch_seconds = excluded.watch_seconds,
    anonymous_seconds = excluded.anonymous_seconds,
    has_anonymous = excluded.has_anonymous
WHERE (stored.customers, stored.watch_seconds, stored.anonymous_seconds, stored.has_anonymous)
    IS DISTINCT FROM (excluded.customers, excluded.watch_seconds, excluded.anonymous_seconds, excluded.has_anonymous)
