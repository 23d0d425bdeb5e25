-- Slices of a month of which a table of facts and the ledger do not say the same.
SELECT report_date, report_type
FROM (
    SELECT report_date, report_type, count(*) AS rows, sum(watch_seconds) AS watch_seconds
    FROM {facts}
    WHERE report_date >= {start_date}
      AND report_date < {end_date}
    GROUP BY report_date, report_type
) AS facts
FULL JOIN (
    SELECT report_date, report_type, rows_stored AS rows, watch_seconds
    FROM report_slice
    WHERE report_date >= {start_date}
      AND report_date < {end_date}
      AND rows_stored > 0
) AS ledger USING (report_date, report_type)
WHERE (facts.rows, facts.watch_seconds) IS DISTINCT FROM (ledger.rows, ledger.watch_seconds)
ORDER BY report_date, report_type
