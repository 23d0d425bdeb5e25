-- A check and what it met. The same answer again is counted on the last line, so that years of daily checks stay few.
WITH latest AS (
    SELECT first_at, result, message
    FROM report_check
    WHERE report_date = %(report_date)s
      AND report_type = %(report_type)s
    ORDER BY first_at DESC
    LIMIT 1
),
repeated AS (
    UPDATE report_check
    SET last_at = now(), times = times + 1
    FROM latest
    WHERE report_check.report_date = %(report_date)s
      AND report_check.report_type = %(report_type)s
      AND report_check.first_at = latest.first_at
      AND latest.result = %(result)s
      AND latest.message IS NOT DISTINCT FROM %(message)s
    RETURNING 1
)
INSERT INTO report_check (report_date, report_type, first_at, last_at, times, result, message)
SELECT %(report_date)s, %(report_type)s, now(), now(), 1, %(result)s, %(message)s
WHERE NOT EXISTS (SELECT FROM repeated)
