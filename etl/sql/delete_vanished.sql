-- Rows of the stored slice that the new report does not have.
DELETE FROM watch_time AS stored
USING difference
WHERE difference.report_seconds IS NULL
  AND stored.report_date = %(report_date)s
  AND stored.report_type = %(report_type)s
  AND stored.content_id = difference.content_id
  AND stored.customer_id = difference.customer_id
  AND stored.streaming_type = difference.streaming_type
