-- The first dates of the months that have slices in partitions of their own, oldest first, and when a slice of the month
-- was loaded last.
SELECT months.report_date,
       (
           SELECT max(loaded_at)
           FROM report_slice
           WHERE report_slice.report_date >= months.report_date
             AND report_slice.report_date < (months.report_date + interval '1 month')::date
       ) AS last_loaded_at
FROM (
    SELECT DISTINCT date_trunc(
        'month', to_date(substring(relname FROM 12 FOR 8), 'YYYYMMDD')::timestamp
    )::date AS report_date
    FROM pg_inherits
    JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
    WHERE pg_inherits.inhparent = 'watch_time'::regclass
      AND relname ~ '^watch_time_[0-9]{8}_(live|vod)$'
) AS months
ORDER BY months.report_date
