-- Every accepted revision of a slice, oldest first.
SELECT revision, report_sha256, report_bytes, rows_read, rows_merged, rows_rejected, rows_inserted, rows_updated,
       rows_deleted, rows_unchanged, seconds_before, seconds_after, overruled, code_version, loaded_at, load_duration
FROM report_revision
WHERE report_date = %(report_date)s
  AND report_type = %(report_type)s
ORDER BY revision
