-- Rows and seconds of the slice, by its facts and by its rollup.
-- Reads: slice_sums (load/sum_slice)
SELECT coalesce(sum(customers + has_anonymous::int), 0)::bigint AS rows,
       coalesce(sum(watch_seconds), 0) AS watch_seconds
FROM slice_sums
UNION ALL
SELECT coalesce(sum(customers + has_anonymous::int), 0)::bigint,
       coalesce(sum(watch_seconds), 0)
FROM content_daily
WHERE report_date = {start_date}
  AND report_type = {start_type}
