-- The first dates of the months that have slices in partitions of their own, oldest first.
SELECT DISTINCT date_trunc('month', to_date(substring(relname FROM 12 FOR 8), 'YYYYMMDD')::timestamp)::date AS report_date
FROM pg_inherits
JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = 'watch_time'::regclass
  AND relname ~ '^watch_time_[0-9]{8}_(live|vod)$'
ORDER BY 1
