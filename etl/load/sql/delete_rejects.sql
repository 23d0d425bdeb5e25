-- Rejected lines are kept for accepted revisions and for the last refused report. Those of other refused reports make
-- room, and those of the report at hand (a former revision may come back), which is read again.
DELETE FROM report_reject
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
  AND (
      report_sha256 = %(report_sha256)s
      OR report_sha256 NOT IN (
          SELECT report_sha256
          FROM report_revision
          WHERE report_date = %(report_date)s
            AND report_type = %(report_type)s
      )
  )
