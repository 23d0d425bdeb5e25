-- The slices whose last check found a report gone that was there before.
SELECT report_date, report_type
FROM (
    SELECT DISTINCT ON (report_date, report_type) report_date, report_type, result
    FROM report_check
    ORDER BY report_date, report_type, first_at DESC
) AS latest
WHERE result = 'withdrawn'
