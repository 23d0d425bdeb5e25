-- The slice as it is with the revision that this transaction brings; what comes from the archive was loaded then.
INSERT INTO report_slice AS stored (
    report_date, report_type, state, revision, report_sha256, read_as, rows_stored, watch_seconds,
    facts_version, checked_at, loaded_at, reason, report_source, report_etag
)
VALUES (
    %(report_date)s, %(report_type)s, %(state)s, %(revision)s, %(report_sha256)s, %(read_as)s, %(rows_stored)s,
    %(watch_seconds)s, 1, now(), coalesce(%(loaded_at)s, now()), %(reason)s, %(source)s, %(etag)s
)
ON CONFLICT (report_date, report_type) DO UPDATE
SET state = excluded.state,
    revision = excluded.revision,
    report_sha256 = excluded.report_sha256,
    read_as = excluded.read_as,
    rows_stored = excluded.rows_stored,
    watch_seconds = excluded.watch_seconds,
    facts_version = stored.facts_version + 1,
    checked_at = excluded.checked_at,
    loaded_at = excluded.loaded_at,
    reason = excluded.reason,
    report_source = excluded.report_source,
    report_etag = excluded.report_etag,
    error_code = NULL,
    held_sha256 = NULL,
    last_check = NULL
