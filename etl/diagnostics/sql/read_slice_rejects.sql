-- The first rejected lines of each report of a slice, and how many there are.
SELECT report_sha256, line_number, reason, raw_text, count
FROM (
    SELECT report_sha256,
           line_number,
           reason,
           raw_text,
           count(*) OVER (PARTITION BY report_sha256) AS count,
           row_number() OVER (PARTITION BY report_sha256 ORDER BY line_number) AS place
    FROM report_reject
    WHERE report_date = %(report_date)s
      AND report_type = %(report_type)s
) AS placed
WHERE place <= %(most)s
ORDER BY report_sha256, line_number
