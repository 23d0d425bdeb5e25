-- All that ATTACH would otherwise make and check while it keeps readers out. The bound as a CHECK in the words of the
-- partition's own, so that nothing is scanned; foreign keys; every index of watch_time, the key and the owner's own among
-- them: a table partitioned likewise has them too, and attaching the month to it for a moment builds them. The last one,
-- of a few pages, finds a slice's rows again: they lie together.
ALTER TABLE {partition} ADD CONSTRAINT {bound} CHECK (
    (report_date > {start_date} OR (report_date = {start_date} AND report_type >= {start_type}))
    AND (report_date < {end_date} OR (report_date = {end_date} AND report_type < {end_type}))
);
CREATE TABLE {model} (LIKE watch_time INCLUDING INDEXES) PARTITION BY RANGE (report_date, report_type);
ALTER TABLE {model} ATTACH PARTITION {partition}
    FOR VALUES FROM ({start_date}, {start_type}) TO ({end_date}, {end_type});
ALTER TABLE {model} DETACH PARTITION {partition};
DROP TABLE {model};
DO $keys$
DECLARE
    add_key text;
BEGIN
    -- ATTACH asks for no right to name the other table, ADD does: without that right it is left to ATTACH.
    FOR add_key IN
        SELECT format('ALTER TABLE %I ADD CONSTRAINT %I %s', {partition_name}, conname, pg_get_constraintdef(oid))
        FROM pg_constraint
        WHERE conrelid = 'watch_time'::regclass
          AND contype = 'f'
          AND conparentid = 0
          AND has_table_privilege(confrelid, 'REFERENCES')
    LOOP
        EXECUTE add_key;
    END LOOP;
END
$keys$;
CREATE INDEX ON {partition} USING brin (report_date, report_type) WITH (pages_per_range = 16);
ANALYZE {partition}
