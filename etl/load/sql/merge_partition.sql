-- Lines of one key become one row: into a second bare table, which takes the first one's place.
CREATE TABLE {merged} (LIKE {partition} INCLUDING CONSTRAINTS) WITH (fillfactor = 95);
{distribute}
INSERT INTO {merged} ({row_key}, report_date, report_type, watch_seconds)
SELECT {row_key}, {start_date}, {start_type}, sum(watch_seconds)
FROM {partition}
GROUP BY {row_key};
DROP TABLE {partition};
ALTER TABLE {merged} RENAME TO {partition}
