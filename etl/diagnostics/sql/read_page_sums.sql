-- Seconds watched from one date to another, both included, from the rollup: a row per slice and streaming type that
-- has any.
SELECT report_date,
       report_type,
       streaming_type,
       sum(watch_seconds) AS watch_seconds,
       sum(anonymous_seconds) AS anonymous_seconds
FROM content_daily
WHERE report_date BETWEEN %(since)s AND %(end)s
GROUP BY report_date, report_type, streaming_type
