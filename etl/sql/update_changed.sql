-- Rows whose seconds changed; the others are left alone.
UPDATE watch_time AS stored
SET watch_seconds = incoming.watch_seconds
FROM incoming_merged AS incoming
WHERE stored.report_date = %(report_date)s
  AND stored.report_type = %(report_type)s
  AND stored.content_id = incoming.content_id
  AND stored.customer_id = incoming.customer_id
  AND stored.streaming_type = incoming.streaming_type
  AND stored.watch_seconds <> incoming.watch_seconds
