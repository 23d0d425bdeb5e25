-- The month's rows, from shard to shard on their nodes. Not frozen, as those of a single server: a transaction that began
-- to read before the swap takes its snapshot on a node when it first asks that node.
INSERT INTO {partition}
SELECT *
FROM watch_time
WHERE report_date >= {start_date}
  AND report_date < {end_date}
ORDER BY report_date, report_type
