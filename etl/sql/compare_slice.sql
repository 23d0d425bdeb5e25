-- The rows in which the report and the stored slice differ, each side's seconds beside the other's; nothing is changed.
CREATE TEMPORARY TABLE difference ON COMMIT DROP AS
SELECT content_id,
       customer_id,
       streaming_type,
       incoming.watch_seconds AS report_seconds,
       stored.watch_seconds AS table_seconds
FROM incoming_merged AS incoming
FULL JOIN (
    SELECT content_id, customer_id, streaming_type, watch_seconds
    FROM watch_time
    WHERE report_date = {start_date}
      AND report_type = {start_type}
) AS stored USING (content_id, customer_id, streaming_type)
WHERE incoming.watch_seconds IS DISTINCT FROM stored.watch_seconds
