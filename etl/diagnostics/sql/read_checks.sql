-- What the checks of a slice met, oldest first.
SELECT first_at, last_at, times, result, message
FROM report_check
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
ORDER BY first_at
