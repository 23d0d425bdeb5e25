-- As on a single server. The differences go to the nodes first, beside the facts: a table of the coordinator's cannot be
-- merged from. Citus would have two slices' changes wait for each other, so that copies of a shard stay equal; watch_time
-- has one copy of each.
CREATE UNLOGGED TABLE {difference} (
    content_id     text COLLATE "C" NOT NULL,
    customer_id    text COLLATE "C" NOT NULL,
    streaming_type text COLLATE "C" NOT NULL,
    report_seconds numeric
);
{distribute}
INSERT INTO {difference} (content_id, customer_id, streaming_type, report_seconds)
SELECT content_id, customer_id, streaming_type, report_seconds
FROM difference;
SET LOCAL citus.all_modifications_commutative = on;
MERGE INTO watch_time AS stored
USING {difference} AS difference
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
    );
SET LOCAL citus.all_modifications_commutative TO DEFAULT;
DROP TABLE {difference}
