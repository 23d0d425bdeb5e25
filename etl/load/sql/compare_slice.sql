-- The rows in which the report and the stored slice differ, each side's seconds beside the other's. The planner expects
-- half of all rows to differ, and would not have workers for so many; few do.
SET LOCAL parallel_tuple_cost = 0;
CREATE TEMPORARY TABLE difference ON COMMIT DROP AS
SELECT {row_key},
       report.watch_seconds AS report_seconds,
       stored.watch_seconds AS table_seconds
FROM {lines} AS report
FULL JOIN (
    SELECT {row}
    FROM watch_time
    WHERE report_date = {start_date}
      AND report_type = {start_type}
) AS stored USING ({row_key})
WHERE report.watch_seconds IS DISTINCT FROM stored.watch_seconds
ORDER BY {row_key};
ANALYZE difference;
-- What is done with them then goes through all rows once, if the differences fit into memory.
SET LOCAL work_mem = '32MB'
