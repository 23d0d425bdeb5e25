-- Days whose facts were changed since their customers were counted, newest first: the view shows no count of them.
SELECT report_date AS start_date
FROM watch_time_customers
WHERE customers IS NULL
ORDER BY report_date DESC
