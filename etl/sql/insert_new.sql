-- Rows that the stored slice does not have yet, in key order.
INSERT INTO watch_time (content_id, customer_id, streaming_type, report_date, report_type, watch_seconds)
SELECT content_id, customer_id, streaming_type, %(report_date)s, %(report_type)s, watch_seconds
FROM incoming_merged AS incoming
WHERE NOT EXISTS (
    SELECT
    FROM watch_time AS stored
    WHERE stored.report_date = %(report_date)s
      AND stored.report_type = %(report_type)s
      AND stored.content_id = incoming.content_id
      AND stored.customer_id = incoming.customer_id
      AND stored.streaming_type = incoming.streaming_type
)
ORDER BY content_id, customer_id, streaming_type
