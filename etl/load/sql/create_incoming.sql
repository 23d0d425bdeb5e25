-- Where a report waits beside the stored slice. Not temporary: parallel workers cannot read temporary tables.
CREATE UNLOGGED TABLE {lines} AS
SELECT {row}
FROM watch_time
WITH NO DATA;
{distribute}
