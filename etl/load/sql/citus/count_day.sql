-- As on a single server. Each node sends every customer of its shards once; of a common table expression, Citus would
-- fetch all rows of the day.
WITH slices AS (
    SELECT report_type,
           facts_version
    FROM report_slice
    WHERE report_date = %(start)s
      AND revision > 0
)
INSERT INTO customer_count AS stored (
    period, start_date, report_type, streaming_type, content_id, customers, facts_version
)
SELECT 'day', %(start)s, '', '', '', counted.customers, (SELECT sum(facts_version) FROM slices)
FROM (
    SELECT count(DISTINCT customer_id) AS customers
    FROM watch_time
    WHERE report_date = %(start)s
      AND report_type >= 'LIVE'
      AND customer_id <> ''
) AS counted
UNION ALL
SELECT 'day', %(start)s, kinds.report_type, kinds.streaming_type, '', coalesce(counted.customers, 0),
       slices.facts_version
FROM (
    SELECT DISTINCT report_type, streaming_type
    FROM content_daily
    WHERE report_date = %(start)s
) AS kinds
JOIN slices USING (report_type)
LEFT JOIN (
    SELECT report_type, streaming_type, count(DISTINCT customer_id) AS customers
    FROM watch_time
    WHERE report_date = %(start)s
      AND report_type >= 'LIVE'
      AND customer_id <> ''
    GROUP BY report_type, streaming_type
) AS counted USING (report_type, streaming_type)
ON CONFLICT (period, start_date, report_type, streaming_type, content_id) DO UPDATE
SET customers = excluded.customers,
    facts_version = excluded.facts_version
WHERE stored.facts_version < excluded.facts_version
