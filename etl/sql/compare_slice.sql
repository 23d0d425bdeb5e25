-- The rows in which the report and the stored slice differ, each side's seconds beside the other's. Both in one pile,
-- added up by key: that makes one row of the report's lines of one key, too, and costs one pass where joins cost several.
CREATE TEMPORARY TABLE difference ON COMMIT DROP AS
SELECT content_id,
       customer_id,
       streaming_type,
       sum(report_seconds) AS report_seconds,
       sum(table_seconds) AS table_seconds
FROM (
    SELECT content_id, customer_id, streaming_type, watch_seconds AS report_seconds, NULL::numeric AS table_seconds
    FROM incoming
    UNION ALL
    SELECT content_id, customer_id, streaming_type, NULL, watch_seconds
    FROM watch_time
    WHERE report_date = {start_date}
      AND report_type = {start_type}
) AS both_sides
GROUP BY content_id, customer_id, streaming_type
HAVING sum(report_seconds) IS DISTINCT FROM sum(table_seconds);
ANALYZE difference
