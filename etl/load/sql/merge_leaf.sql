-- Lines of one key become one row: into a second bare table, which takes the first one's place.
CREATE TABLE {merged} (
    LIKE watch_time INCLUDING CONSTRAINTS,
    CONSTRAINT {bound} CHECK (report_date = {start_date} AND report_type = {start_type})
) WITH (fillfactor = 95);
{distribute}
INSERT INTO {merged} (content_id, customer_id, streaming_type, report_date, report_type, watch_seconds)
SELECT content_id, customer_id, streaming_type, {start_date}, {start_type}, sum(watch_seconds)
FROM {partition}
GROUP BY content_id, customer_id, streaming_type;
DROP TABLE {partition};
ALTER TABLE {merged} RENAME TO {partition}
