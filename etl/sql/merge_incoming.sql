-- Lines of one key become one row, in the table that the stored slice is compared with.
CREATE TEMPORARY TABLE incoming_merged ON COMMIT DROP AS
SELECT content_id, customer_id, streaming_type, sum(watch_seconds) AS watch_seconds
FROM incoming
GROUP BY content_id, customer_id, streaming_type;
ANALYZE incoming_merged
