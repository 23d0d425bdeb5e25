-- Lines of one key become one row: into a second table, which takes the first one's place. What was compared with the
-- first is void.
CREATE UNLOGGED TABLE {merged} (LIKE {incoming});
{distribute}
INSERT INTO {merged} (content_id, customer_id, streaming_type, watch_seconds)
SELECT content_id, customer_id, streaming_type, sum(watch_seconds)
FROM {incoming}
GROUP BY content_id, customer_id, streaming_type;
DROP TABLE {incoming};
ALTER TABLE {merged} RENAME TO {incoming};
DROP TABLE difference
