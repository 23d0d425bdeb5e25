-- Whether one of the tables is attached to watch_time as a partition.
SELECT EXISTS (
    SELECT
    FROM pg_inherits
    JOIN pg_class ON pg_class.oid = pg_inherits.inhrelid
    WHERE pg_inherits.inhparent = 'watch_time'::regclass
      AND pg_class.relname = ANY(%(names)s)
)
