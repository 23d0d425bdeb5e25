-- The partitions of a month that hold one slice.
SELECT relname AS partition
FROM pg_inherits
JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = 'watch_time'::regclass
  AND relname ~ '^watch_time_[0-9]{8}_(live|vod)$'
  AND to_date(substring(relname FROM 12 FOR 8), 'YYYYMMDD') BETWEEN %(start)s AND %(end)s
ORDER BY relname
