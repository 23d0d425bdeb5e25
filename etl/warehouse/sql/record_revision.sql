-- One more accepted revision; append-only. What comes from the archive was loaded then.
INSERT INTO report_revision (
    report_date, report_type, revision, report_sha256, report_bytes,
    rows_read, rows_merged, rows_repeated, rows_rejected,
    rows_inserted, rows_updated, rows_deleted, rows_unchanged,
    seconds_before, seconds_after, created_at_unread, unknown_types, overruled, code_version, loaded_at, load_duration
)
VALUES (
    %(report_date)s, %(report_type)s, %(revision)s, %(report_sha256)s, %(report_bytes)s,
    %(rows_read)s, %(rows_merged)s, %(rows_repeated)s, %(rows_rejected)s,
    %(rows_inserted)s, %(rows_updated)s, %(rows_deleted)s, %(rows_unchanged)s,
    %(seconds_before)s, %(seconds_after)s, %(created_at_unread)s, %(unknown_types)s, %(overruled)s, %(code_version)s,
    coalesce(%(loaded_at)s, now()), %(load_duration)s
)
