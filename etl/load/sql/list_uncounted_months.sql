-- Months before a date whose facts were changed since their customers were counted, newest first.
SELECT months.month AS start_date,
       (months.month + interval '1 month')::date - 1 AS last_date
FROM (
    SELECT date_trunc('month', report_date::timestamp)::date AS month,
           sum(facts_version) AS facts_version
    FROM report_slice
    WHERE revision > 0
      AND report_date < %(before)s
    GROUP BY date_trunc('month', report_date::timestamp)::date
) AS months
LEFT JOIN customer_count
    ON period = 'month'
   AND start_date = month
   AND (report_type, streaming_type, content_id) = ('', '', '')
WHERE customer_count.facts_version IS DISTINCT FROM months.facts_version
ORDER BY months.month DESC
