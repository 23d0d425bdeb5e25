-- Tables that are to be distributed and are not: content first, since watch_time is joined with it.
SELECT name
FROM (VALUES (1, 'content'), (2, 'watch_time')) AS tables ("order", name)
WHERE to_regclass(name) NOT IN (SELECT logicalrelid FROM pg_dist_partition)
ORDER BY "order"
