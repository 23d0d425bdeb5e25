-- The slices whose report was found gone that was there before, and what was met then. A failed check tells nothing of the
-- report, so the latest other one decides.
SELECT report_date, report_type, message
FROM (
    SELECT DISTINCT ON (report_date, report_type) report_date, report_type, result, message
    FROM report_check
    WHERE result <> 'failed'
    ORDER BY report_date, report_type, first_at DESC
) AS latest
WHERE result = 'withdrawn'
