-- What the loader needs to be allowed, and is not. Attaching a partition needs ownership of watch_time.
WITH tables ("order", name, privileges) AS (
    VALUES
        (4, 'content', ARRAY['SELECT', 'INSERT', 'UPDATE']),
        (5, 'report_slice', ARRAY['SELECT', 'INSERT', 'UPDATE']),
        (6, 'report_revision', ARRAY['SELECT', 'INSERT']),
        (7, 'report_reject', ARRAY['SELECT', 'INSERT', 'DELETE']),
        (8, 'report_check', ARRAY['SELECT', 'INSERT', 'UPDATE']),
        (9, 'warehouse', ARRAY['SELECT', 'INSERT']),
        (10, 'report_notice', ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']),
        (11, 'content_daily', ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']),
        (12, 'customer_count', ARRAY['SELECT', 'INSERT', 'UPDATE']),
        (13, 'watch_time_customers', ARRAY['SELECT'])
)
SELECT "right"
FROM (
    VALUES
        (1, 'create tables in the schema', has_schema_privilege(current_schema(), 'CREATE')),
        (2, 'make temporary tables', has_database_privilege(current_database(), 'TEMPORARY')),
        (3, 'attach partitions to watch_time', (
            SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'watch_time'::regclass
        ))
    UNION ALL
    -- One privilege at a time: of several in one call, any would do.
    SELECT "order", CASE WHEN privileges = ARRAY['SELECT'] THEN 'read ' ELSE 'write ' END || name, (
        SELECT bool_and(has_table_privilege(name, privilege)) FROM unnest(privileges) AS privilege
    )
    FROM tables
) AS needed ("order", "right", granted)
WHERE NOT granted
ORDER BY "order"
