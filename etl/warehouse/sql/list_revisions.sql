-- Which revisions were ever accepted.
SELECT report_date, report_type, revision, report_sha256
FROM report_revision
ORDER BY report_date, report_type, revision
