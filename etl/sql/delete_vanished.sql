-- Rows of the stored slice that the new report does not have.
DELETE FROM watch_time AS stored
WHERE stored.report_date = %(report_date)s
  AND stored.report_type = %(report_type)s
  AND NOT EXISTS (
      SELECT
      FROM incoming_merged AS incoming
      WHERE incoming.content_id = stored.content_id
        AND incoming.customer_id = stored.customer_id
        AND incoming.streaming_type = stored.streaming_type
  )
