-- Contents of the slice whose sums in the rollup are not those of its rows.
-- Reads: slice_sums (load/sum_slice)
SELECT count(*) AS contents
FROM slice_sums
FULL JOIN (
    SELECT content_id, streaming_type, customers, watch_seconds, anonymous_seconds, has_anonymous
    FROM content_daily
    WHERE report_date = {start_date}
      AND report_type = {start_type}
) AS stored USING (content_id, streaming_type)
WHERE (slice_sums.customers, slice_sums.watch_seconds, slice_sums.anonymous_seconds, slice_sums.has_anonymous)
    IS DISTINCT FROM (stored.customers, stored.watch_seconds, stored.anonymous_seconds, stored.has_anonymous)
