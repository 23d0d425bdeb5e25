-- Rows that the stored slice does not have yet, in key order.
INSERT INTO watch_time (content_id, customer_id, streaming_type, report_date, report_type, watch_seconds)
SELECT content_id, customer_id, streaming_type, %(report_date)s, %(report_type)s, report_seconds
FROM difference
WHERE table_seconds IS NULL
ORDER BY content_id, customer_id, streaming_type
