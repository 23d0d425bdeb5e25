-- What Citus cannot send to its nodes as the migrations put it: a subquery for each month that does not group by content.
-- Columns and comments stay.
SET LOCAL client_min_messages = warning;
CREATE OR REPLACE VIEW watch_time_by_customer AS
SELECT date_trunc('month', report_date::timestamp)::date AS month,
       customer_id,
       count(DISTINCT report_date) AS days,
       count(DISTINCT content_id) AS contents,
       sum(watch_seconds) AS watch_seconds
FROM watch_time
WHERE customer_id <> ''
GROUP BY 1, 2
