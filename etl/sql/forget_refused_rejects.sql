-- Rejected lines are kept for accepted revisions and for the last refused report: make room for the one at hand.
DELETE FROM report_reject
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
  AND report_sha256 NOT IN (
      SELECT report_sha256
      FROM report_revision
      WHERE report_date = %(report_date)s
        AND report_type = %(report_type)s
  )
