-- Days whose facts were changed since their customers were counted, newest first.
SELECT days.report_date AS start_date
FROM (
    SELECT report_date,
           sum(facts_version) AS facts_version
    FROM report_slice
    WHERE revision > 0
    GROUP BY report_date
) AS days
LEFT JOIN customer_count
    ON period = 'day'
   AND start_date = report_date
   AND (report_type, streaming_type, content_id) = ('', '', '')
WHERE customer_count.facts_version IS DISTINCT FROM days.facts_version
ORDER BY days.report_date DESC
