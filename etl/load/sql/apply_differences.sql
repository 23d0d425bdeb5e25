-- The stored slice becomes the report: what vanished goes, what changed is changed, what is new comes, the rest is left
-- alone.
-- Reads: difference (load/compare_slice)
MERGE INTO watch_time AS stored
USING difference
ON stored.report_date = {start_date}
AND stored.report_type = {start_type}
AND ({stored.row_key}) = ({difference.row_key})
WHEN MATCHED AND difference.report_seconds IS NULL THEN
    DELETE
WHEN MATCHED THEN
    UPDATE SET watch_seconds = difference.report_seconds
WHEN NOT MATCHED THEN
    INSERT ({row_key}, report_date, report_type, watch_seconds)
    VALUES ({difference.row_key}, {start_date}, {start_type}, difference.report_seconds)
