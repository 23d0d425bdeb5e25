-- Rows and seconds of a slice, by its facts and by its rollup.
SELECT count(*) AS rows,
       coalesce(sum(watch_seconds), 0) AS watch_seconds
FROM watch_time
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
UNION ALL
SELECT coalesce(sum(customers + has_anonymous::int), 0)::bigint,
       coalesce(sum(watch_seconds), 0)
FROM content_daily
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
