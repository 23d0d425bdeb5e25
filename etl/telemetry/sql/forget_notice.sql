-- People were told that a slice is fine again.
DELETE FROM report_notice
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
