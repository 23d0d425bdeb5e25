-- Rows and seconds of the slice, by the facts in its new partition and by its rollup.
SELECT count(*) AS rows,
       coalesce(sum(watch_seconds), 0) AS watch_seconds
FROM {partition}
UNION ALL
SELECT coalesce(sum(customers + has_anonymous::int), 0)::bigint,
       coalesce(sum(watch_seconds), 0)
FROM content_daily
WHERE report_date = {start_date}
  AND report_type = {start_type}
