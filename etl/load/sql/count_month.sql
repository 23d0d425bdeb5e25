-- Different identified customers of a month: in all, per report and streaming type, and per content. One statement, so that
-- facts and their versions are of the same moment. Whoever has counted newer facts keeps his count.
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
),
named AS NOT MATERIALIZED (
    SELECT customer_id,
           content_id,
           report_type,
           streaming_type
    FROM watch_time
    WHERE report_date >= %(start)s
      AND report_date < (%(start)s::date + interval '1 month')::date
      AND customer_id <> ''
)
INSERT INTO customer_count AS stored (
    period, start_date, report_type, streaming_type, content_id, customers, facts_version
)
SELECT 'month', %(start)s, '', '', '', count(*), (SELECT facts_version FROM month)
FROM (
    SELECT row_number() OVER (PARTITION BY customer_id) AS number
    FROM named
) AS numbered
WHERE number = 1
UNION ALL
SELECT 'month', %(start)s, kinds.report_type, kinds.streaming_type, '', coalesce(counted.customers, 0),
       (SELECT facts_version FROM month)
FROM (SELECT DISTINCT report_type, streaming_type FROM sums) AS kinds
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
UNION ALL
SELECT 'month', %(start)s, '', '', contents.content_id, coalesce(counted.customers, 0),
       (SELECT facts_version FROM month)
FROM (SELECT DISTINCT content_id FROM sums) AS contents
LEFT JOIN (
    SELECT content_id, count(*) AS customers
    FROM (
        SELECT content_id,
               row_number() OVER (PARTITION BY customer_id, content_id) AS number
        FROM named
    ) AS numbered
    WHERE number = 1
    GROUP BY content_id
) AS counted USING (content_id)
ON CONFLICT (period, start_date, report_type, streaming_type, content_id) DO UPDATE
SET customers = excluded.customers,
    facts_version = excluded.facts_version
WHERE stored.facts_version < excluded.facts_version
