-- As on a single server. The differences go to the nodes first, beside the facts: a table of the coordinator's cannot be
-- merged from. Citus would have two slices' changes wait for each other, so that copies of a shard stay equal; watch_time
-- has one copy of each.
-- Reads: difference (load/compare_slice)
CREATE UNLOGGED TABLE {difference} (LIKE difference);
{distribute}
INSERT INTO {difference}
SELECT *
FROM difference;
SET LOCAL citus.all_modifications_commutative = on;
MERGE INTO watch_time AS stored
USING {difference} AS difference
ON stored.report_date = {start_date}
AND stored.report_type = {start_type}
AND ({stored.row_key}) = ({difference.row_key})
WHEN MATCHED AND difference.report_seconds IS NULL THEN
    DELETE
WHEN MATCHED THEN
    UPDATE SET watch_seconds = difference.report_seconds
WHEN NOT MATCHED THEN
    INSERT ({row_key}, report_date, report_type, watch_seconds)
    VALUES ({difference.row_key}, {start_date}, {start_type}, difference.report_seconds);
SET LOCAL citus.all_modifications_commutative TO DEFAULT;
DROP TABLE {difference}
