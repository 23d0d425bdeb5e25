-- The rollup becomes that of a small new partition, whatever it was before: in one step, since so few rows have no
-- parallel workers anyway, and a table for the sums costs more than summing.
DELETE FROM content_daily
WHERE report_date = {start_date}
  AND report_type = {start_type};
INSERT INTO content_daily (
    report_date, report_type, content_id, streaming_type, customers, watch_seconds, anonymous_seconds, has_anonymous
)
SELECT {start_date}, {start_type}, content_id, streaming_type, customers, watch_seconds, anonymous_seconds, has_anonymous
FROM {sums} AS sums
ORDER BY content_id, streaming_type
