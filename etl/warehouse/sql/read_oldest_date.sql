-- The oldest date of which anything is known.
SELECT min(report_date) AS oldest
FROM report_slice
