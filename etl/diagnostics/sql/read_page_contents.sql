-- The most watched contents from one date to another, both included, from the rollup: per content its place, and the
-- seconds of each slice and streaming type from an earlier date on. `contents` is how many were watched in all.
WITH sums AS (
    SELECT content_id,
           sum(watch_seconds) AS watch_seconds
    FROM content_daily
    WHERE report_date BETWEEN %(start)s AND %(end)s
    GROUP BY content_id
),
top AS MATERIALIZED (
    SELECT content_id,
           row_number() OVER (ORDER BY watch_seconds DESC, content_id) AS place,
           count(*) OVER () AS contents
    FROM sums
    ORDER BY place
    LIMIT %(most)s
)
SELECT top.place,
       top.contents,
       top.content_id,
       content.title,
       daily.report_date,
       daily.report_type,
       daily.streaming_type,
       daily.watch_seconds,
       daily.anonymous_seconds
FROM top
JOIN content_daily AS daily
    ON daily.content_id = top.content_id
   AND daily.report_date BETWEEN %(since)s AND %(end)s
LEFT JOIN content
    ON content.content_id = top.content_id
ORDER BY top.place, daily.report_date, daily.report_type, daily.streaming_type
