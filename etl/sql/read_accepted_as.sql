-- The newest revision as which a report was accepted.
SELECT max(revision)
FROM report_revision
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
  AND report_sha256 = %(report_sha256)s
