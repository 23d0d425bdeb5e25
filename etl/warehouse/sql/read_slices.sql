-- What the ledger knows of the slices from one date to another, both included.
SELECT report_date,
       report_type,
       state,
       revision,
       report_sha256,
       read_as,
       rows_stored,
       watch_seconds,
       facts_version,
       checked_at,
       loaded_at,
       reason,
       error_code,
       last_check,
       held_sha256,
       report_source,
       report_etag
FROM report_slice
WHERE report_date BETWEEN %(start)s AND %(end)s
ORDER BY report_date, report_type
