-- Seconds watched from one date to another, both included, from the rollup: a row per slice that has any
-- (place 0), and a row per report of each of the most watched contents (place 1 and up).
WITH sums AS MATERIALIZED (
    SELECT report_date,
           report_type,
           content_id,
           sum(watch_seconds) AS watch_seconds
    FROM content_daily
    WHERE report_date BETWEEN %(start)s AND %(end)s
    GROUP BY report_date, report_type, content_id
),
top AS (
    SELECT content_id,
           row_number() OVER (ORDER BY sum(watch_seconds) DESC, content_id) AS place
    FROM sums
    GROUP BY content_id
    ORDER BY place
    LIMIT %(most)s
)
SELECT 0 AS place,
       report_date,
       report_type,
       NULL AS content_id,
       NULL AS title,
       sum(watch_seconds) AS watch_seconds
FROM sums
GROUP BY report_date, report_type
UNION ALL
SELECT top.place,
       NULL,
       sums.report_type,
       top.content_id,
       min(content.title),
       sum(sums.watch_seconds)
FROM top
JOIN sums USING (content_id)
LEFT JOIN content USING (content_id)
GROUP BY top.place, top.content_id, sums.report_type
ORDER BY place, report_date, report_type
