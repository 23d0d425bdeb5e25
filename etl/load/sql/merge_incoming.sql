-- Lines of one key become one row: into a second table, which takes the first one's place. What was compared with the
-- first is void.
-- Reads: difference (load/compare_slice)
CREATE UNLOGGED TABLE {merged} (LIKE {lines});
{distribute}
INSERT INTO {merged} ({row_key}, watch_seconds)
SELECT {row_key}, sum(watch_seconds)
FROM {lines}
GROUP BY {row_key};
DROP TABLE {lines};
ALTER TABLE {merged} RENAME TO {lines};
DROP TABLE difference
