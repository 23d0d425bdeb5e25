-- What Citus cannot send to its nodes as the migrations put it: a subquery for each month that does not group by content.
-- Columns and comments stay.
SET LOCAL client_min_messages = warning;
CREATE OR REPLACE VIEW watch_time_monthly AS
SELECT date_trunc('month', report_date::timestamp)::date AS month,
       report_type,
       streaming_type,
       count(*) AS rows,
       count(DISTINCT customer_id) FILTER (WHERE customer_id <> '') AS customers,
       sum(watch_seconds) AS watch_seconds
FROM watch_time
GROUP BY 1, 2, 3;
CREATE OR REPLACE VIEW watch_time_by_customer AS
SELECT date_trunc('month', report_date::timestamp)::date AS month,
       customer_id,
       count(DISTINCT report_date) AS days,
       count(DISTINCT content_id) AS contents,
       sum(watch_seconds) AS watch_seconds
FROM watch_time
WHERE customer_id <> ''
GROUP BY 1, 2
