-- As on a single server. Duplicates are looked for first: the nodes' own logs would show the doubled key, whatever is
-- caught here.
DO $build$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM {lines}
        GROUP BY {row_key}
        HAVING count(*) > 1
    ) THEN
        PERFORM set_config('watch_time.is_unique', 'no', TRUE);
    ELSE
        {query};
        PERFORM set_config('watch_time.is_unique', 'yes', TRUE);
    END IF;
END
$build$
