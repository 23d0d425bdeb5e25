-- How many lines of a report were rejected when it was accepted; if several times, the most.
SELECT max(rows_rejected)
FROM report_revision
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
  AND report_sha256 = %(report_sha256)s
