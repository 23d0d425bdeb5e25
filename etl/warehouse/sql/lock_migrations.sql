-- Who migrates first makes the others wait, for as long as a migration may take.
WITH patience AS MATERIALIZED (
    SELECT set_config('lock_timeout', '10min', true)
)
SELECT pg_advisory_xact_lock(%(key)s)
FROM patience
