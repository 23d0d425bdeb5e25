-- Locks of several slices, as of one; who does not get all of them rolls back.
SELECT bool_and(pg_try_advisory_xact_lock(
    hashtextextended(format('watch_time %%s %%s', current_schema(), slice), 0)
))
FROM unnest(%(slices)s::text[]) AS slice
