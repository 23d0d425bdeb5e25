-- What changed after first publication: every revision but a slice's first, newest change last.
SELECT report_date,
       report_type,
       revision,
       seconds_before,
       seconds_after,
       rows_inserted,
       rows_deleted,
       rows_updated,
       loaded_at,
       overruled
FROM report_revision
WHERE revision > 1
  AND report_date BETWEEN %(start)s AND %(end)s
ORDER BY report_date, report_type, revision
