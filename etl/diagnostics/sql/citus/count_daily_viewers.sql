-- Different named customers of each date, over both reports. In one go: Citus cannot ask its nodes date by date.
SELECT days.report_date,
       coalesce(viewers.customers, 0) AS customers
FROM (
    SELECT %(start)s::date + number AS report_date
    FROM generate_series(0, %(end)s::date - %(start)s::date) AS number
) AS days
LEFT JOIN (
    SELECT report_date,
           count(DISTINCT customer_id) AS customers
    FROM watch_time
    WHERE report_date >= %(start)s
      AND report_date <= %(end)s
      AND customer_id <> ''
    GROUP BY report_date
) AS viewers USING (report_date)
ORDER BY days.report_date
