-- How long after the end of its date a report was first seen: median and 99th percentile per type. Only dates count that
-- were watched as they came: seen within a day and a half of the last 404, or of the beginning of the day they were due.
-- A backfill, or an outage of ours, says nothing of when a report was published.
-- When a date ends, and when its report is due, comes with the question: the server may know other time zones than we do.
WITH days AS (
    SELECT *
    FROM unnest(%(dates)s::date[], %(ended)s::timestamptz[], %(due)s::timestamptz[])
        AS day (report_date, ended_at, due_at)
),
seen AS (
    SELECT report_date, report_type, min(at) AS at
    FROM (
        SELECT report_date, report_type, loaded_at
        FROM report_revision
        WHERE revision = 1
          AND report_date >= %(since)s
        UNION ALL
        SELECT report_date, report_type, first_at
        FROM report_check
        WHERE result = 'held'
          AND report_date >= %(since)s
    ) AS answers (report_date, report_type, at)
    GROUP BY report_date, report_type
),
watched AS (
    SELECT report_type,
           at - ended_at AS lag,
           at - coalesce(
               (
                   SELECT max(least(last_at, seen.at))
                   FROM report_check
                   WHERE report_check.report_date = seen.report_date
                     AND report_check.report_type = seen.report_type
                     AND result IN ('unavailable', 'empty')
                     AND first_at < seen.at
               ),
               due_at
           ) AS unwatched
    FROM seen
    JOIN days USING (report_date)
)
SELECT report_type,
       count(*) AS dates,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY lag) AS median,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY lag) AS p99
FROM watched
WHERE unwatched <= interval '36 hours'
GROUP BY report_type
