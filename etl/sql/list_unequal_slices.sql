-- Slices of which the month's table and the ledger do not say the same.
SELECT count(*)
FROM (
    SELECT report_date, report_type, count(*) AS rows, sum(watch_seconds) AS watch_seconds
    FROM {partition}
    GROUP BY report_date, report_type
) AS month
FULL JOIN (
    SELECT report_date, report_type, rows_stored AS rows, watch_seconds
    FROM report_slice
    WHERE report_date >= {start_date}
      AND report_date < {end_date}
      AND rows_stored > 0
) AS ledger USING (report_date, report_type)
WHERE (month.rows, month.watch_seconds) IS DISTINCT FROM (ledger.rows, ledger.watch_seconds)
