-- As on a single server. Each node sends every customer of its shards once, and counts those of each content item itself;
-- of a common table expression, Citus would fetch all rows of the month.
WITH month AS (
    SELECT sum(facts_version) AS facts_version
    FROM report_slice
    WHERE report_date >= %(start)s
      AND report_date < (%(start)s::date + interval '1 month')::date
      AND revision > 0
),
sums AS (
    SELECT DISTINCT report_type, streaming_type, content_id
    FROM content_daily
    WHERE report_date >= %(start)s
      AND report_date < (%(start)s::date + interval '1 month')::date
)
INSERT INTO customer_count AS stored (
    period, start_date, report_type, streaming_type, content_id, customers, facts_version
)
SELECT 'month', %(start)s, '', '', '', counted.customers, (SELECT facts_version FROM month)
FROM (
    SELECT count(DISTINCT customer_id) AS customers
    FROM watch_time
    WHERE report_date >= %(start)s
      AND report_date < (%(start)s::date + interval '1 month')::date
      AND customer_id <> ''
) AS counted
UNION ALL
SELECT 'month', %(start)s, kinds.report_type, kinds.streaming_type, '', coalesce(counted.customers, 0),
       (SELECT facts_version FROM month)
FROM (SELECT DISTINCT report_type, streaming_type FROM sums) AS kinds
LEFT JOIN (
    SELECT report_type, streaming_type, count(DISTINCT customer_id) AS customers
    FROM watch_time
    WHERE report_date >= %(start)s
      AND report_date < (%(start)s::date + interval '1 month')::date
      AND customer_id <> ''
    GROUP BY report_type, streaming_type
) AS counted USING (report_type, streaming_type)
UNION ALL
SELECT 'month', %(start)s, '', '', contents.content_id, coalesce(counted.customers, 0),
       (SELECT facts_version FROM month)
FROM (SELECT DISTINCT content_id FROM sums) AS contents
LEFT JOIN (
    SELECT content_id, count(DISTINCT customer_id) AS customers
    FROM watch_time
    WHERE report_date >= %(start)s
      AND report_date < (%(start)s::date + interval '1 month')::date
      AND customer_id <> ''
    GROUP BY content_id
) AS counted USING (content_id)
ON CONFLICT (period, start_date, report_type, streaming_type, content_id) DO UPDATE
SET customers = excluded.customers,
    facts_version = excluded.facts_version
WHERE stored.facts_version < excluded.facts_version
