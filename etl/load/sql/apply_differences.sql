-- The stored slice becomes the report: what vanished goes, what changed is changed, what is new comes, the rest is left
-- alone.
MERGE INTO watch_time AS stored
USING difference
ON stored.report_date = {start_date}
AND stored.report_type = {start_type}
AND stored.content_id = difference.content_id
AND stored.customer_id = difference.customer_id
AND stored.streaming_type = difference.streaming_type
WHEN MATCHED AND difference.report_seconds IS NULL THEN
    DELETE
WHEN MATCHED THEN
    UPDATE SET watch_seconds = difference.report_seconds
WHEN NOT MATCHED THEN
    INSERT (content_id, customer_id, streaming_type, report_date, report_type, watch_seconds)
    VALUES (
        difference.content_id,
        difference.customer_id,
        difference.streaming_type,
        {start_date},
        {start_type},
        difference.report_seconds
    )
