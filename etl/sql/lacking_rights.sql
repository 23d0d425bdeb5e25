-- What the loader needs to be allowed, and is not. Attaching a partition needs ownership of watch_time.
SELECT "right"
FROM (
    VALUES
        (1, 'create tables in the schema', has_schema_privilege(current_schema(), 'CREATE')),
        (2, 'make temporary tables', has_database_privilege(current_database(), 'TEMPORARY')),
        (3, 'attach partitions to watch_time', (
            SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'watch_time'::regclass
        )),
        (4, 'write content', has_table_privilege('content', 'SELECT, INSERT, UPDATE')),
        (5, 'write report_slice', has_table_privilege('report_slice', 'SELECT, INSERT, UPDATE')),
        (6, 'write report_revision', has_table_privilege('report_revision', 'SELECT, INSERT')),
        (7, 'write report_reject', has_table_privilege('report_reject', 'SELECT, INSERT, DELETE')),
        (8, 'write warehouse', has_table_privilege('warehouse', 'SELECT, INSERT'))
) AS needed ("order", "right", granted)
WHERE NOT granted
ORDER BY "order"
