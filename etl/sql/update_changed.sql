-- Rows whose seconds changed; the others are left alone.
UPDATE watch_time AS stored
SET watch_seconds = difference.report_seconds
FROM difference
WHERE difference.report_seconds <> difference.table_seconds
  AND stored.report_date = %(report_date)s
  AND stored.report_type = %(report_type)s
  AND stored.content_id = difference.content_id
  AND stored.customer_id = difference.customer_id
  AND stored.streaming_type = difference.streaming_type
