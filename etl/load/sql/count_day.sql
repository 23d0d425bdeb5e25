-- Different identified customers of a day: over both reports, and per report and streaming type. One statement, so that
-- facts and their versions are of the same moment. Whoever has counted newer facts keeps his count.
-- The condition on report_type, true of every row, spares the partition that ends where the day begins.
WITH slices AS (
    SELECT report_type,
           facts_version
    FROM report_slice
    WHERE report_date = %(start)s
      AND revision > 0
),
named AS NOT MATERIALIZED (
    SELECT customer_id,
           report_type,
           streaming_type
    FROM watch_time
    WHERE report_date = %(start)s
      AND report_type >= 'LIVE'
      AND customer_id <> ''
)
INSERT INTO customer_count AS stored (
    period, start_date, report_type, streaming_type, content_id, customers, facts_version
)
SELECT 'day', %(start)s, '', '', '', count(*), (SELECT sum(facts_version) FROM slices)
FROM (
    SELECT row_number() OVER (PARTITION BY customer_id) AS number
    FROM named
) AS numbered
WHERE number = 1
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
    SELECT report_type, streaming_type, count(*) AS customers
    FROM (
        SELECT report_type,
               streaming_type,
               row_number() OVER (PARTITION BY customer_id, report_type, streaming_type) AS number
        FROM named
    ) AS numbered
    WHERE number = 1
    GROUP BY report_type, streaming_type
) AS counted USING (report_type, streaming_type)
ON CONFLICT (period, start_date, report_type, streaming_type, content_id) DO UPDATE
SET customers = excluded.customers,
    facts_version = excluded.facts_version
WHERE stored.facts_version < excluded.facts_version
