-- What is stored of a slice.
SELECT count(*) AS rows, coalesce(sum(watch_seconds), 0) AS watch_seconds
FROM watch_time
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
