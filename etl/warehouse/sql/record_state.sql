-- The outcome of a check that changed no facts: revision, counts and hash stay those of the stored report, if any.
INSERT INTO report_slice AS stored (
    report_date, report_type, state, revision, rows_stored, watch_seconds, checked_at, reason, error_code,
    held_sha256
)
VALUES (
    %(report_date)s, %(report_type)s, %(state)s, 0, 0, 0, now(), %(reason)s, %(error_code)s, %(held_sha256)s
)
ON CONFLICT (report_date, report_type) DO UPDATE
SET state = excluded.state,
    checked_at = excluded.checked_at,
    reason = excluded.reason,
    error_code = excluded.error_code,
    held_sha256 = excluded.held_sha256,
    last_check = NULL
