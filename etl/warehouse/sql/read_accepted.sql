-- All that the ledger has of the accepted revisions of a slice, oldest first; how it was read and where it came from only
-- of the stored one.
SELECT revision.report_date, revision.report_type, revision.revision, revision.report_sha256, report_bytes,
       rows_read, rows_merged, rows_repeated, rows_rejected, rows_inserted, rows_updated, rows_deleted, rows_unchanged,
       seconds_before, seconds_after, created_at_unread, unknown_types, overruled, code_version, revision.loaded_at,
       load_duration, stored.report_source, stored.report_etag
FROM report_revision AS revision
LEFT JOIN report_slice AS stored USING (report_date, report_type, revision)
WHERE revision.report_date = %(report_date)s
  AND revision.report_type = %(report_type)s
ORDER BY revision.revision
