-- Different named customers of each date, over both reports. A date at a time, so that only its partitions are read and
-- never more than one date's customers are held. Without the condition on report_type, which is true of every row, the
-- partition that ends where the date begins would be read too.
SELECT days.report_date,
       viewers.customers
FROM (
    SELECT %(start)s::date + number AS report_date
    FROM generate_series(0, %(end)s::date - %(start)s::date) AS number
) AS days
CROSS JOIN LATERAL (
    SELECT count(*) AS customers
    FROM (
        SELECT DISTINCT customer_id
        FROM watch_time
        WHERE watch_time.report_date = days.report_date
          AND watch_time.report_type >= 'LIVE'
          AND watch_time.report_date >= %(start)s
          AND watch_time.report_date <= %(end)s
          AND customer_id <> ''
    ) AS named
) AS viewers
ORDER BY days.report_date
