-- A check and what it met. The same answer again is counted on the last line, so that years of daily checks stay few.
-- The clock, not now(): a transaction may have waited for the slice's lock while a later one went ahead.
WITH latest AS (
    SELECT first_at, last_at, result, message
    FROM report_check
    WHERE report_date = %(report_date)s
      AND report_type = %(report_type)s
    ORDER BY first_at DESC
    LIMIT 1
),
moment AS MATERIALIZED (
    SELECT greatest(clock_timestamp(), (SELECT last_at FROM latest) + interval '1 microsecond') AS at
),
repeated AS (
    UPDATE report_check
    SET last_at = moment.at, times = times + 1
    FROM latest, moment
    WHERE report_check.report_date = %(report_date)s
      AND report_check.report_type = %(report_type)s
      AND report_check.first_at = latest.first_at
      AND latest.result = %(result)s
      AND latest.message IS NOT DISTINCT FROM %(message)s
    RETURNING 1
)
INSERT INTO report_check (report_date, report_type, first_at, last_at, times, result, message)
SELECT %(report_date)s, %(report_type)s, moment.at, moment.at, 1, %(result)s, %(message)s
FROM moment
WHERE NOT EXISTS (SELECT FROM repeated)
