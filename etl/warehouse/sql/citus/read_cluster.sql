-- What this server is in its cluster, and how many nodes take shards.
SELECT citus_is_coordinator() AS is_coordinator,
       (SELECT extversion FROM pg_extension WHERE extname = 'citus') AS version,
       (
           SELECT count(*)
           FROM pg_dist_node
           WHERE isactive
             AND shouldhaveshards
             AND noderole = 'primary'
       ) AS nodes
