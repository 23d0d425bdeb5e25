-- The first few of them, in key order.
-- Reads: difference (load/compare_slice)
SELECT content_id, customer_id, streaming_type, report_seconds, table_seconds
FROM difference
ORDER BY content_id, customer_id, streaming_type
LIMIT %(most)s
